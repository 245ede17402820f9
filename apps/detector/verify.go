package detector

import (
	"encoding/binary"

	"mpbox/southbound/packet/mptcp"
)

// verify checks the HMACs of a join as far as keys and HMACs are known (RFC 8684
// section 3.2). Right is what the client's third ACK shows; wrong, either's.
func (t *Tracker) verify(r ref, s *subflow) {
	if s.conn == 0 || s.flags&(fSYN|fSYNACK) != fSYN|fSYNACK || s.flags&fVerified != 0 {
		return
	}
	c := t.conns.at(s.conn)
	if c.flags&(cServerKey|cClientKey) != cServerKey|cClientKey {
		return
	}
	if s.flags&fSecret != 0 {
		s.flags &^= fSecret // checked once
		if s.serverMAC(c) != s.secret[1] {
			if k := t.namesake(s, func(c *connection) bool { return s.serverMAC(c) == s.secret[1] }); k != 0 {
				t.reassign(r, s, k)
			} else {
				t.forged(r, s)
			}
			if s.gen == 0 {
				return
			}
		}
	}
	if s.flags&fPending == 0 {
		return
	}
	got := t.pending[r]
	delete(t.pending, r)
	s.flags &^= fPending
	t.checkACK(r, s, got[:])
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
	if !right(t.conns.at(s.conn)) {
		k := t.namesake(s, right)
		if k == 0 {
			t.forged(r, s)
			return
		}
		if t.reassign(r, s, k); s.gen == 0 {
			return
		}
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

// namesake finds another connection with the token of a join, of which both keys
// are known and the join's HMAC is right: two hosts may choose the same token.
func (t *Tracker) namesake(s *subflow, right func(*connection) bool) ref {
	const both = cServerKey | cClientKey
	var refs [maxSame]uint32
	for _, k := range refs[:t.tokens.collect(t.h.token(s.scope, s.token), &refs)] {
		c := t.conns.at(k)
		if k != s.conn && c.scope == s.scope && c.flags&both == both && c.owns(s.token) && right(c) {
			return k
		}
	}
	return 0
}

// reassign moves a join to the connection that it really belongs to.
func (t *Tracker) reassign(r ref, s *subflow, k ref) {
	t.stats.Reassigned++
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
	if s.conn != 0 && s.flags&(fSYN|fSYNACK) == fSYN|fSYNACK {
		if c := t.conns.at(s.conn); c.flags&(cServerKey|cClientKey) == cServerKey|cClientKey {
			t.checkACK(r, s, mac)
			return
		}
	}
	if s.flags&fPending == 0 && len(t.pending) >= t.cfg.MaxPendingMACs {
		t.stats.UncheckedMACs++
		return
	}
	t.pending[r] = mptcp.MAC(mac)
	s.flags |= fPending
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
