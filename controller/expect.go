package controller

import (
	"net/netip"
	"sync"

	"go.uber.org/zap"

	"mpbox/apps/detector"
	"mpbox/southbound/datapath"
	"mpbox/southbound/openflow"
	"mpbox/southbound/packet"
	"mpbox/southbound/packet/mptcp"
)

// expecter has the third ACK of each MPTCP handshake punted (third_ack reactive). The
// rule has to be there before the ACK comes, one round trip after the SYN: so it is
// asked for before anything else is done with the SYN, and at both edges at once where
// it is known behind which edge the server is. The far edge's rule then has half a
// round trip more.
type expecter struct {
	registry *datapath.Registry
	places   *places
	log      *zap.Logger

	mu sync.Mutex
	// homes are the edges at which servers' packets came in from the CE.
	homes map[host]edgePort
	// asked are the handshakes whose far edge was asked before their SYN came there.
	asked map[handshake]struct{}
}

// Limits of what an expecter remembers. What is forgotten costs half a round trip.
const (
	maxHomes = 65536
	maxAsked = 4096
)

// host is an address in a scope: VPNs may use the same ones.
type host struct {
	scope string
	addr  netip.Addr
}

// edgePort is the PE-facing port of an attachment, where packets to its CE come in.
type edgePort struct {
	dpid uint64
	port uint32
	vlan [2]uint16
}

type handshake struct {
	at       edgePort
	src, dst netip.AddrPort
}

func newExpecter(r *datapath.Registry, p *places, log *zap.Logger) *expecter {
	return &expecter{registry: r, places: p, log: log, homes: map[host]edgePort{}, asked: map[handshake]struct{}{}}
}

// see asks for the third ACKs of the handshakes that begin in a batch.
func (x *expecter) see(dpid uint64, batch []openflow.Punt) {
	ports := x.places.byDatapath[dpid]
	for i := range batch {
		var v packet.View
		if v.Parse(batch[i].Frame) != packet.TCP || !v.Flags.Has(packet.SYN) || !mptcpSYN(v.Options, v.Flags.Has(packet.ACK)) {
			continue
		}
		here := edgePort{dpid: dpid, port: batch[i].InPort}
		copy(here.vlan[:], v.VLAN[:v.VLANs])
		id := ports[batch[i].InPort].of(batch[i].Frame)
		if v.Flags.Has(packet.ACK) {
			x.learn(id, v.Src().Addr())
			continue
		}
		k := handshake{here, v.Src(), v.Dst()}
		if x.wasAsked(k) {
			continue
		}
		x.ask(k)
		if far, ok := x.far(id, v.Dst().Addr()); ok {
			k.at = far
			if x.ask(k) {
				x.remember(k)
			}
		}
	}
}

func (x *expecter) ask(k handshake) bool {
	e := datapath.Expectation{InPort: k.at.port, VLAN: k.at.tags(), Src: k.src, Dst: k.dst}
	err := x.registry.Expect(k.at.dpid, e)
	if err != nil {
		x.log.Debug("third ACK not expected", zap.String("dpid", datapath.DPIDString(k.at.dpid)), zap.Error(err))
	}
	return err == nil
}

func (e *edgePort) tags() []uint16 {
	n := 0
	for n < len(e.vlan) && e.vlan[n] != 0 {
		n++
	}
	return e.vlan[:n]
}

// learn takes a server that answers from behind an attachment.
func (x *expecter) learn(id detector.PlaceID, addr netip.Addr) {
	pl, at, ok := x.places.peSide(id)
	if !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.homes) >= maxHomes {
		clear(x.homes)
	}
	x.homes[host{pl.Scope, addr}] = at
}

// far gives the edge behind which a server was last seen.
func (x *expecter) far(id detector.PlaceID, server netip.Addr) (edgePort, bool) {
	if id == detector.NoPlace || x.places.list[id].Side != detector.CE {
		return edgePort{}, false // this is the far edge itself
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	at, ok := x.homes[host{x.places.list[id].Scope, server}]
	return at, ok
}

func (x *expecter) remember(k handshake) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.asked) >= maxAsked {
		clear(x.asked)
	}
	x.asked[k] = struct{}{}
}

func (x *expecter) wasAsked(k handshake) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, ok := x.asked[k]
	delete(x.asked, k)
	return ok
}

// mptcpSYN tells whether the options of a SYN, or SYN/ACK, hold one of MPTCP.
func mptcpSYN(list []byte, ack bool) bool {
	kind := mptcp.SYN
	if ack {
		kind = mptcp.SYNACK
	}
	for len(list) > 0 {
		opt, rest, err := mptcp.Next(list)
		if err != nil || opt == nil {
			return false
		}
		var o mptcp.Option
		if o.Decode(opt, kind) == nil && (o.Subtype == mptcp.Capable || o.Subtype == mptcp.Join) {
			return true
		}
		list = rest
	}
	return false
}
