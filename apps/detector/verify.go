package detector

import (
	"encoding/binary"

	"mpbox/southbound/packet/mptcp"
)

// verify checks the HMACs of a join as far as keys and HMACs are known (RFC 8684
// section 3.2). Right is what the client's third ACK shows; wrong, either's.
func (t *Tracker) verify(r ref, s *subflow) {
	if s.conn == 0 || s.flags&(fSYN|fSYNACK) != fSYN|fSYNACK || s.flags&fVerified != 0 || !t.conns.at(s.conn).keyed() {
		return
	}
	t.checkMACs(r, s)
}

func (t *Tracker) checkMACs(r ref, s *subflow) {
	if s.flags&fSecret != 0 {
		if t.proveOwner(r, s, func(c *connection) bool { return s.serverMAC(c) == s.secret[1] }) {
			s.flags &^= fSecret // checked once
		}
		if s.gen == 0 {
			return
		}
	}
	if s.flags&fPending == 0 || !t.conns.at(s.conn).keyed() {
		return
	}
	got := t.pending[r]
	delete(t.pending, r)
	s.flags &^= fPending
	for _, mac := range got.macs[:got.n] {
		t.checkACK(r, s, mac[:])
		if s.gen == 0 || s.flags&fVerified != 0 {
			return
		}
	}
}

// keyed tells whether both keys of a connection are known.
func (c *connection) keyed() bool {
	return c.flags&(cServerKey|cClientKey) == cServerKey|cClientKey
}

// proveOwner has a join in the connection for which an HMAC is right: two hosts may
// choose the same token. False: there is none, or it is not known yet. A join is
// forged when the HMAC is wrong for all that own its token.
func (t *Tracker) proveOwner(r ref, s *subflow, right func(*connection) bool) bool {
	if c := t.conns.at(s.conn); c.keyed() && right(c) {
		return true
	}
	open := !t.conns.at(s.conn).keyed()
	var refs [maxSame]uint32
	for _, k := range refs[:t.tokens.collect(t.h.token(s.scope, s.token), &refs)] {
		c := t.conns.at(k)
		if k == s.conn || c.scope != s.scope || !c.owns(s.token) {
			continue
		}
		if !c.keyed() {
			open = true
		} else if right(c) {
			t.reassign(r, s, k)
			return s.gen != 0
		}
	}
	if !open {
		t.forged(r, s)
	}
	return false
}

// recheck looks at the joins of other connections with a token of this one, whose
// keys are known now.
func (t *Tracker) recheck(k ref, c *connection) {
	for _, token := range [2]uint32{c.serverToken, c.clientToken} {
		if !c.keyed() || !c.owns(token) {
			continue
		}
		var refs [maxSame]uint32
		n := t.tokens.collect(t.h.token(c.scope, token), &refs)
		if n < 2 {
			continue // nearly always: nobody else has it
		}
		for _, other := range refs[:n] {
			o := t.conns.at(other)
			if other == k || o.scope != c.scope || !o.owns(token) {
				continue
			}
			var joins []ref
			for r := o.first; r != 0; r = t.subs.at(r).next {
				if s := t.subs.at(r); s.flags&(fJoin|fSYN|fSYNACK|fVerified) == fJoin|fSYN|fSYNACK && s.token == token {
					joins = append(joins, r)
				}
			}
			for _, r := range joins {
				if s := t.subs.at(r); s.gen != 0 && s.flags&fVerified == 0 {
					t.checkMACs(r, s)
				}
			}
		}
	}
}

// clientMAC is the HMAC that the client of a join has to send.
func (s *subflow) clientMAC(c *connection) mptcp.MAC {
	from, to := c.clientKey, c.serverKey
	if s.token != c.serverToken {
		from, to = to, from
	}
	cn, sn := s.nonces()
	return mptcp.JoinMAC(c.version, from, to, cn, sn)
}

// serverMAC is the part of its HMAC that the server of a join has to send.
func (s *subflow) serverMAC(c *connection) uint64 {
	from, to := c.serverKey, c.clientKey
	if s.token != c.serverToken {
		from, to = to, from
	}
	cn, sn := s.nonces()
	m := mptcp.JoinMAC(c.version, from, to, sn, cn)
	return binary.BigEndian.Uint64(m[:])
}

// checkACK judges a client's HMAC; both keys are known.
func (t *Tracker) checkACK(r ref, s *subflow, got []byte) {
	right := func(c *connection) bool {
		m := s.clientMAC(c)
		return m.Matches(got)
	}
	if !t.proveOwner(r, s, right) {
		if t.cfg.Keep && s.gen != 0 {
			t.keepMAC(r, s, got) // for a connection of the same token
		}
		return
	}
	s.flags |= fVerified
	s.flags &^= fForged
	t.stats.JoinsVerified++
	t.prove(s.conn, t.conns.at(s.conn))
	t.emit(EventSubflowVerified, s.conn, r)
	t.announce(s.conn, t.conns.at(s.conn))
}

func (t *Tracker) forged(r ref, s *subflow) {
	if s.flags&(fForged|fVerified) != 0 {
		return
	}
	s.flags |= fForged
	t.stats.JoinsForged++
	t.emit(EventSubflowForged, s.conn, r)
}

// reassign moves a join to the connection that it really belongs to.
func (t *Tracker) reassign(r ref, s *subflow, k ref) {
	t.stats.Reassigned++
	if s.flags&fForged != 0 {
		t.stats.JoinsForged--
	}
	if s.class != classNone {
		t.pullSub(s)
	}
	t.detach(s.conn, r, s)
	s.conn, s.next = 0, 0
	s.more &^= mLive
	s.flags &^= fReverse | fAlias | fForged
	t.match(r, s, k)
}

// onJoinACK: the third ACK of a join.
func (t *Tracker) onJoinACK(r ref, s *subflow, mac []byte) {
	if s.flags&fJoin == 0 {
		t.stats.Mismatched++
		return
	}
	if s.flags&fVerified != 0 {
		return
	}
	if s.conn != 0 && s.flags&(fSYN|fSYNACK) == fSYN|fSYNACK && t.conns.at(s.conn).keyed() {
		t.checkACK(r, s, mac)
		return
	}
	t.keepMAC(r, s, mac)
}

// pendingMACs are HMACs of third ACKs of one join that wait for keys: the first two
// that differ.
type pendingMACs struct {
	n    int
	macs [2]mptcp.MAC
}

func (t *Tracker) keepMAC(r ref, s *subflow, mac []byte) {
	if s.flags&fPending == 0 && len(t.pending) >= t.cfg.MaxPendingMACs {
		t.stats.UncheckedMACs++
		return
	}
	p, m := t.pending[r], mptcp.MAC(mac)
	if p.n < len(p.macs) && (p.n == 0 || p.macs[0] != m) {
		p.macs[p.n] = m
		p.n++
		t.pending[r] = p
		s.flags |= fPending
	}
}

// onCapableACK: the third ACK of an initial subflow, or version 1's first data,
// which repeats it: both keys.
func (t *Tracker) onCapableACK(r ref, dir int) ref {
	o := t.opt
	p := t.p
	if r == 0 {
		// The handshake was missed. The client's number stands one before.
		var s *subflow
		if r, s = t.open(true, p.v.Seq-1, 0); r == 0 {
			return 0
		}
		t.touch(r, s, toServer)
		dir = toServer
	}
	s := t.subs.at(r)
	if s.flags&fJoin != 0 {
		t.stats.Mismatched++
		return r
	}
	if dir == toClient {
		o.Key, o.PeerKey = o.PeerKey, o.Key
	}
	if s.conn == 0 {
		t.serverKey(r, s, o.Version, o.PeerKey, false)
		if s = t.subs.at(r); s.conn == 0 {
			return r
		}
	} else {
		c := t.conns.at(s.conn)
		if c.flags&cServerKey != 0 && c.serverKey != o.PeerKey {
			if s.ended() && p.v.Seq-1 != s.isn && dir == toServer {
				return t.onCapableACK(0, toServer) // of a later use of the tuple
			}
			t.stats.WrongEcho++
			return r
		}
		t.serverKey(r, s, o.Version, o.PeerKey, false)
		if c.flags&cServerKey == 0 {
			return r
		}
	}
	t.learnClientKey(s.conn, o.Key)
	return r
}
