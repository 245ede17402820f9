package detector

import (
	"cmp"
	"net/netip"
	"slices"
)

// ConnID names a connection as long as the Tracker lives; 0 is none. Greater ids
// come later in Connections.
type ConnID uint64

// SubflowID names a subflow, likewise.
type SubflowID uint64

func connID(k ref, c *connection) ConnID { return ConnID(k)<<32 | ConnID(c.gen) }

func (t *Tracker) subflowID(r ref) SubflowID {
	if r == 0 {
		return 0
	}
	s := t.subs.at(r)
	if s.gen == 0 {
		return 0
	}
	return SubflowID(r)<<32 | SubflowID(s.gen)
}

// State of a subflow.
type State uint8

// The states.
const (
	Syn         State = iota // a SYN was seen
	Established              // and the SYN/ACK that accepts it
	Closed                   // FIN both ways, RST, MP_FASTCLOSE, idle, or its tuple used anew
	Failed                   // refused or not answered
)

func (s State) String() string { return [...]string{"syn", "established", "closed", "failed"}[s] }

// Verdict on who a subflow's client is.
type Verdict uint8

// The verdicts.
const (
	Unknown Verdict = iota // not enough was seen
	Verified
	Forged // a HMAC was wrong
)

// Path is where the packets of one direction enter and leave the provider's
// network; NoPlace where that was not seen.
type Path struct{ Ingress, Egress PlaceID }

// Subflow as it is now.
type Subflow struct {
	ID SubflowID
	// Join, or initial.
	Join           bool
	Client, Server netip.AddrPort // the client is the sender of the SYN
	State          State
	Verified       Verdict
	Backup         bool
	// AddressID of the client's end, ServerAddressID of the server's; 0 for the
	// initial subflow.
	AddressID, ServerAddressID uint8
	// Reverse: the connection's server is this subflow's client.
	Reverse bool
	// Alias: it is the same subflow as AliasOf of the connection, whose addresses a
	// NAT between the edges changed. Both tuples are needed to steer it, and each has
	// only a part of the places.
	Alias              bool
	AliasOf            SubflowID
	ToServer, ToClient Path
	// Created and Established: unix ns of the first packet and of the SYN/ACK; 0 for
	// the latter when it was not seen. LastSeen to some 0.13 s.
	Created, Established, LastSeen int64
}

// Address is one that an end advertised with ADD_ADDR.
type Address struct {
	Addr   netip.AddrPort // port 0 where none was given
	ID     uint8
	Client bool // of the connection's client
}

// Connection as it is now.
type Connection struct {
	ID      ConnID
	Token   uint32 // the server's
	Version uint8
	// ClientToken, where the client's key is known.
	ClientToken    uint32
	HasClientToken bool
	Scope          string
	// VPN of the place where the client's packets enter, where that was seen.
	VPN            string
	Client, Server netip.AddrPort
	// Closed: no subflow lives.
	Closed bool
	// Proven: the client is known to have got the server's key.
	Proven bool
	// Restored from before a restart, Fallback to plain TCP (MP_FAIL).
	Restored, Fallback bool
	Created, LastSeen  int64     // unix ns
	Bytes              [2]uint64 // that ended subflows carried, to server and to client
	Subflows           []Subflow // oldest first
	Addresses          []Address
}

// Connection tells of one connection; false when it is gone.
func (t *Tracker) Connection(id ConnID) (Connection, bool) {
	k := ref(id >> 32)
	if k == 0 || k >= t.conns.end {
		return Connection{}, false
	}
	c := t.conns.at(k)
	if c.gen == 0 || connID(k, c) != id {
		return Connection{}, false
	}
	return t.viewConn(k, c), true
}

// Filter selects connections and orphans; zero fields select all.
type Filter struct {
	// Scope, VPN as shown.
	Scope, VPN string
	// PE of a place that it enters or leaves at, in either direction.
	PE string
	// Since: only what was created then (unix ns) or later.
	Since int64
	// Live: only connections with a live subflow.
	Live bool
	// MinSubflows of a connection that live, aliases included.
	MinSubflows int
	// Token of the server or the client, when HasToken.
	Token    uint32
	HasToken bool
}

// Connections and Orphans are asked for while no packet can be taken in: each call
// looks at pageWork records at most (and the rest of one connection), and one that it
// gives costs viewWork times as much as one that it only looks at.
const (
	pageWork = 20_000
	viewWork = 10
)

// Connections gives up to limit connections whose ids are greater than after, in
// order of their ids. The work of a call is bounded: more tells that there may be
// further ones behind next, even when less than limit came.
func (t *Tracker) Connections(after ConnID, limit int, f Filter) (page []Connection, next ConnID, more bool) {
	work := pageWork
	for k := uint64(after>>32) + 1; k < uint64(t.conns.end); k++ {
		if work <= 0 || len(page) >= limit {
			return page, ConnID(k-1)<<32 | 0xffffffff, true
		}
		c := t.conns.at(ref(k))
		records := 1 + int(c.subs)
		work -= records
		if c.gen == 0 || f.Live && c.live == 0 || int(c.live) < f.MinSubflows || f.HasToken && !c.owns(f.Token) ||
			!t.selects(&f, c.scope, c.created, t.subs.at(c.first)) {
			continue
		}
		work -= viewWork * records
		page = append(page, t.viewConn(ref(k), c))
	}
	return page, 0, false
}

// selects tells what a filter says of a connection, given its newest subflow, or of an
// orphan.
func (t *Tracker) selects(f *Filter, scope uint16, created int64, s *subflow) bool {
	return (f.Scope == "" || t.scopes[scope] == f.Scope) && (f.Since == 0 || created >= f.Since) &&
		(f.VPN == "" || t.vpnOf(s) == f.VPN) && (f.PE == "" || t.touches(s, f.PE))
}

// older gives the next older subflow of the same connection, nil where there is none.
func (t *Tracker) older(s *subflow) *subflow {
	if s.conn == 0 || s.next == 0 {
		return nil
	}
	return t.subs.at(s.next)
}

// vpnOf gives the VPN of a subflow and the older ones of its connection, the oldest
// first: that of the client; where it is not tapped, that of where packets were seen.
func (t *Tracker) vpnOf(s *subflow) string {
	var vpn [4]string // as subflow.place
	for ; s != nil; s = t.older(s) {
		for i, at := range s.place {
			if at != 0 && t.places[at-1].VPN != "" {
				vpn[i] = t.places[at-1].VPN
			}
		}
	}
	return cmp.Or(vpn[0], vpn[3], vpn[2], vpn[1])
}

// touches tells whether a subflow, or an older one of its connection, was seen at a
// place of a PE.
func (t *Tracker) touches(s *subflow, pe string) bool {
	for ; s != nil; s = t.older(s) {
		for _, at := range s.place {
			if at != 0 && t.places[at-1].PE == pe {
				return true
			}
		}
	}
	return false
}

func (t *Tracker) viewConn(k ref, c *connection) Connection {
	v := Connection{
		ID: connID(k, c), Token: c.serverToken, Version: c.version, ClientToken: c.clientToken,
		HasClientToken: c.flags&cClientToken != 0, Scope: t.scopes[c.scope], VPN: t.vpnOf(t.subs.at(c.first)), Closed: c.live == 0,
		Proven: c.flags&cProven != 0, Restored: c.flags&cRestored != 0, Fallback: c.flags&cFallback != 0,
		Created: c.created, LastSeen: t.timeOf(c.lastSeen), Bytes: c.bytes,
	}
	for r := c.first; r != 0; {
		s := t.subs.at(r)
		f := t.viewSub(r, s)
		if s.flags&fAlias != 0 {
			f.AliasOf = t.subflowID(t.original(c, s))
		}
		v.Subflows = append(v.Subflows, f)
		v.LastSeen = max(v.LastSeen, t.timeOf(s.lastSeen))
		r = s.next
	}
	slices.Reverse(v.Subflows)
	if c.initial != 0 {
		s := t.subs.at(c.initial)
		v.Client, v.Server = s.client().addrPort(), s.server().addrPort()
	} else if len(v.Subflows) > 0 {
		s := &v.Subflows[0]
		v.Client, v.Server = s.Client, s.Server
		if s.Reverse {
			v.Client, v.Server = v.Server, v.Client
		}
	}
	for x := c.addrs; x != 0; {
		a := t.addrs.at(x)
		v.Addresses = append(v.Addresses, Address{Addr: endpoint{a.hi, a.lo, a.port}.addrPort(), ID: a.id, Client: a.client})
		x = a.next
	}
	slices.Reverse(v.Addresses)
	return v
}

// original finds the subflow that another one is an alias of.
func (t *Tracker) original(c *connection, s *subflow) ref {
	if s.flags&fJoin == 0 {
		return c.initial
	}
	nonce, _ := s.nonces()
	for r := c.first; r != 0; {
		o := t.subs.at(r)
		if n, _ := o.nonces(); n == nonce && o.flags&fAlias == 0 && s.sameAddressID(o) {
			return r
		}
		r = o.next
	}
	return 0
}

func (t *Tracker) viewSub(r ref, s *subflow) Subflow {
	path := func(i int) Path { return Path{PlaceID(s.place[i] - 1), PlaceID(s.place[i+1] - 1)} }
	v := Subflow{
		ID: t.subflowID(r), Join: s.flags&fJoin != 0, Client: s.client().addrPort(), Server: s.server().addrPort(),
		State: s.state(), Backup: s.flags&fBackup != 0, AddressID: s.clientID, ServerAddressID: s.serverID,
		Reverse: s.flags&fReverse != 0, Alias: s.flags&fAlias != 0, ToServer: path(0), ToClient: path(2),
		Created: s.created, LastSeen: t.timeOf(s.lastSeen),
	}
	switch {
	case s.flags&fVerified != 0:
		v.Verified = Verified
	case s.flags&fForged != 0:
		v.Verified = Forged
	}
	if s.answered != 0 {
		v.Established = s.created + int64(s.answered-1)*1000
	}
	return v
}

// Orphan is a join without a connection.
type Orphan struct {
	Token uint32
	Scope string
	// VPN as that of a connection.
	VPN string
	Subflow
}

// Orphans gives up to limit joins that wait for their connection and whose ids are
// greater than after, in order of their ids. More is as with Connections; Live and
// MinSubflows of the filter do not matter.
func (t *Tracker) Orphans(after SubflowID, limit int, f Filter) (page []Orphan, next SubflowID, more bool) {
	if t.lists[classOrphanAsked].n+t.lists[classOrphanAnswered].n == 0 {
		return nil, 0, false
	}
	work := pageWork
	for k := uint64(after>>32) + 1; k < uint64(t.subs.end); k++ {
		if work <= 0 || len(page) >= limit {
			return page, SubflowID(k-1)<<32 | 0xffffffff, true
		}
		work--
		s := t.subs.at(ref(k))
		if s.class != classOrphanAsked && s.class != classOrphanAnswered || f.HasToken && s.token != f.Token ||
			!t.selects(&f, s.scope, s.created, s) {
			continue
		}
		work -= viewWork
		page = append(page, Orphan{Token: s.token, Scope: t.scopes[s.scope], VPN: t.vpnOf(s), Subflow: t.viewSub(ref(k), s)})
	}
	return page, 0, false
}

// ConnectionOf tells which connection a subflow belongs to; 0 for none.
func (t *Tracker) ConnectionOf(id SubflowID) ConnID {
	r := ref(id >> 32)
	if r == 0 || r >= t.subs.end || t.subflowID(r) != id {
		return 0
	}
	k := t.subs.at(r).conn
	if k == 0 {
		return 0
	}
	return connID(k, t.conns.at(k))
}
