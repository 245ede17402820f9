package detector

import (
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

// Filter selects connections; zero fields select all.
type Filter struct {
	// Scope of the connection.
	Scope string
	// Live: only those with a live subflow.
	Live bool
	// MinSubflows that live, aliases included.
	MinSubflows int
	// Token of the server or the client, when HasToken.
	Token    uint32
	HasToken bool
	// Match decides last, on the whole view.
	Match func(*Connection) bool
}

// Connections gives up to limit connections whose ids are greater than after, in
// order of their ids. It looks at some 100,000 records at most: more tells that
// there may be further ones behind next, even when less than limit came.
func (t *Tracker) Connections(after ConnID, limit int, f Filter) (page []Connection, next ConnID, more bool) {
	const work = 100_000
	k := ref(after>>32) + 1
	for end := k + work; k < t.conns.end; k++ {
		if k == end || len(page) >= limit {
			return page, ConnID(k-1)<<32 | 0xffffffff, true
		}
		c := t.conns.at(k)
		if c.gen == 0 || f.Live && c.live == 0 || int(c.live) < f.MinSubflows ||
			f.Scope != "" && t.scopes[c.scope] != f.Scope ||
			f.HasToken && !c.owns(f.Token) {
			continue
		}
		v := t.viewConn(k, c)
		if f.Match == nil || f.Match(&v) {
			page = append(page, v)
		}
	}
	return page, 0, false
}

func (t *Tracker) viewConn(k ref, c *connection) Connection {
	v := Connection{
		ID: connID(k, c), Token: c.serverToken, Version: c.version, ClientToken: c.clientToken,
		HasClientToken: c.flags&cClientToken != 0, Scope: t.scopes[c.scope], Closed: c.live == 0,
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
	// That of the client; where it is not tapped, that of where packets were seen.
	for which := 0; which < 4 && v.VPN == ""; which++ {
		for i := range v.Subflows {
			s := &v.Subflows[i]
			at := [4]PlaceID{s.ToServer.Ingress, s.ToClient.Egress, s.ToClient.Ingress, s.ToServer.Egress}[which]
			if v.VPN == "" && at != NoPlace {
				v.VPN = t.places[at].VPN
			}
		}
	}
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
	Subflow
}

// Orphans gives up to limit joins that wait for their connection, those that were
// answered first, oldest first.
func (t *Tracker) Orphans(limit int) []Orphan {
	var out []Orphan
	for _, c := range [...]class{classOrphanAnswered, classOrphanAsked} {
		for r := t.lists[c].oldest; r != 0 && len(out) < limit; {
			s := t.subs.at(r)
			out = append(out, Orphan{Token: s.token, Scope: t.scopes[s.scope], Subflow: t.viewSub(r, s)})
			r = s.newer
		}
	}
	return out
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
