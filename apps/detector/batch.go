package detector

import (
	"encoding/binary"

	"mpbox/southbound/packet"
	"mpbox/southbound/packet/mptcp"
)

// batchLen is how many packets are looked at together: enough for their cache
// misses to overlap, few enough that what was fetched is still there when used.
const batchLen = 32

// batch is the workspace of ObserveFrames.
type batch struct {
	pkts  [batchLen]pkt
	views [batchLen]packet.View
	first [batchLen]ref // what seems to be the packet's record
	sink  uint64
}

// ObserveFrames takes in Ethernet frames, in order. It does what Observe does for
// each of them. Nearly all of its time would be spent waiting for memory, packet
// after packet; so the frames are first all read and hashed, then the index lines
// and the records that they will need are all asked for, and then the packets are
// dealt with one by one.
func (t *Tracker) ObserveFrames(frames []Frame) {
	for len(frames) > batchLen {
		t.observeBatch(frames[:batchLen])
		frames = frames[batchLen:]
	}
	t.observeBatch(frames)
}

func (t *Tracker) observeBatch(frames []Frame) {
	b := &t.batch
	n := 0
	for i := range frames {
		f := &frames[i]
		v := &b.views[n]
		if verdict := v.Parse(f.Data); verdict != packet.TCP {
			t.Reject(v, verdict)
			continue
		}
		if int(f.Place) >= len(t.places) {
			t.stats.Packets++
			t.stats.TCP++
			t.stats.UnknownPlace++
			continue
		}
		t.fill(&b.pkts[n], f.At, f.Place, v)
		n++
	}
	t.stats.Packets += uint64(n)
	t.stats.TCP += uint64(n)
	pkts := b.pkts[:n]
	sink := uint64(0)
	for i := range pkts {
		sink += t.tuples.touch(pkts[i].hash)
	}
	for i := range pkts {
		p := &pkts[i]
		b.first[i] = t.tuples.peek(p.hash)
		if r := b.first[i]; r != 0 {
			s := t.subs.at(r)
			sink += uint64(s.flags) + uint64(s.gen)
		}
		if p.v.Flags&(packet.SYN|packet.ACK|packet.RST) == packet.SYN && len(p.opt) == 12 && p.opt[2]>>4 == byte(mptcp.Join) {
			sink += t.touchToken(p.scope, binary.BigEndian.Uint32(p.opt[4:]))
		}
	}
	for i := range pkts {
		p, r := &pkts[i], b.first[i]
		switch {
		case p.v.Flags&(packet.SYN|packet.ACK|packet.RST) == packet.SYN|packet.ACK:
			if len(p.opt) == 12 {
				sink += t.prepareKey(p, r)
			}
		case p.v.Flags&(packet.FIN|packet.RST) != 0 && r != 0:
			sink += t.touchEnd(t.subs.at(r))
		}
	}
	b.sink = sink // or the compiler would leave the loads out
	for i := range pkts {
		t.p = &pkts[i]
		t.packet()
	}
	t.p = &t.own
}

// prepareKey computes the token of the key in an MP_CAPABLE SYN/ACK that is going
// to make a connection, and asks for the memory that this will need.
func (t *Tracker) prepareKey(p *pkt, r ref) uint64 {
	if p.opt[2] > 1 || r != 0 && t.subs.at(r).more&mSaid != 0 {
		return 0
	}
	p.key = binary.BigEndian.Uint64(p.opt[4:])
	p.token = mptcp.Token(p.opt[2], p.key)
	p.hasToken = true
	return t.touchToken(p.scope, p.token)
}

// touchEnd asks for what the end of a subflow will need: its connection, and its
// neighbours in the list that it leaves.
func (t *Tracker) touchEnd(s *subflow) (x uint64) {
	if s.conn != 0 {
		c := t.conns.at(s.conn)
		x = uint64(c.flags) + c.serverKey
	}
	if s.older != 0 {
		x += uint64(t.subs.at(s.older).gen)
	}
	if s.newer != 0 {
		x += uint64(t.subs.at(s.newer).gen)
	}
	return x
}

func (t *Tracker) touchToken(scope uint16, token uint32) uint64 {
	hash := t.h.token(scope, token)
	x := t.tokens.touch(hash)
	if t.waiting.n > 0 {
		x += t.waiting.touch(hash)
	}
	return x
}
