package detector

import "mpbox/southbound/packet/mptcp"

// serverKey: the key of a connection's server became known by its initial subflow
// r. said tells that the server itself said it, in its SYN/ACK; else the client
// echoed it. This is what makes a connection.
func (t *Tracker) serverKey(r ref, s *subflow, version uint8, key uint64, said bool) {
	if s.conn != 0 {
		c := t.conns.at(s.conn)
		switch {
		case c.flags&cServerKey == 0:
			if mptcp.Token(version, key) != c.serverToken {
				t.stats.Mismatched++
				return
			}
			c.serverKey, c.version = key, version
			c.flags |= cServerKey
		case c.serverKey != key:
			t.stats.Mismatched++
			return
		}
		t.heard(s.conn, c, r, s, said)
		return
	}
	token := t.tokenOf(version, key)
	hash := t.h.token(s.scope, token)
	k, twin := t.twin(hash, s, version, key, token)
	fresh := k == 0
	if fresh {
		if k = t.newConnection(s, version, token, hash); k == 0 {
			t.settle(r, s)
			return
		}
		c := t.conns.at(k)
		c.serverKey = key
		c.flags |= cServerKey
		c.initial = r
		t.stats.Connections[version&1]++
		if s.flags&fSYN != 0 {
			t.stats.Detected.add(t.p.at - s.created)
		}
	} else if twin {
		s.flags |= fAlias
		t.stats.Translated++
	}
	c := t.conns.at(k)
	if !t.attach(k, c, r, s) {
		return
	}
	if old := c.initial; !fresh && !twin {
		// Restored without numbers: now the handshake itself was seen.
		c.initial = r
		t.drop(old)
	}
	if s.flags&fV1 != 0 && version == 0 {
		t.stats.Downgrade++
	}
	clientKey, hasClient := s.secret[0], s.flags&fSecret != 0
	s.flags |= fSYNACK
	t.settle(r, s)
	if s.gen == 0 {
		return // there was no room for it
	}
	if fresh {
		t.emit(EventConnectionNew, k, 0)
	}
	t.heard(k, c, r, s, said)
	t.adopt(k, s.scope, token)
	if hasClient {
		t.learnClientKey(k, clientKey)
	}
}

// tokenOf gives a key's token, which the batch may have computed in advance.
func (t *Tracker) tokenOf(version uint8, key uint64) uint32 {
	if p := t.p; p.hasToken && p.key == key && t.opt.Version == version {
		return p.token
	}
	return mptcp.Token(version, key)
}

// heard notes who has told the server's key. Told by the server and echoed by the
// client, it verifies the initial subflow (RFC 8684 section 3.1).
func (t *Tracker) heard(k ref, c *connection, r ref, s *subflow, said bool) {
	if said {
		c.flags |= cSaid
	} else {
		c.flags |= cEchoed
	}
	if c.flags&(cSaid|cEchoed) != cSaid|cEchoed || s.flags&fVerified != 0 {
		return
	}
	s.flags |= fVerified
	if c.initial == 0 || r == c.initial {
		t.stats.ConnectionsVerified++
	} else if i := t.subs.at(c.initial); i.flags&fVerified == 0 {
		i.flags |= fVerified
		t.stats.ConnectionsVerified++
	}
	t.prove(k, c)
	t.emit(EventSubflowVerified, k, r)
}

// prove: the client is known to have got the server's key, so it is no forged SYN.
func (t *Tracker) prove(k ref, c *connection) {
	if c.flags&cProven == 0 {
		c.flags |= cProven
		t.settleConn(k, c)
	}
}

// twin finds the connection of the same key, which a NAT made look like another
// (twin true), or one restored without keys to which this subflow belongs.
func (t *Tracker) twin(hash uint32, s *subflow, version uint8, key uint64, token uint32) (k ref, twin bool) {
	var refs [maxSame]uint32
	for _, k := range refs[:t.tokens.collect(hash, &refs)] {
		c := t.conns.at(k)
		if c.scope != s.scope || c.serverToken != token {
			continue
		}
		if c.flags&cServerKey != 0 && c.serverKey == key && c.version == version {
			return k, true
		}
		if c.flags&(cServerKey|cRestored) == cRestored && c.initial != 0 {
			if i := t.subs.at(c.initial); i.addr == s.addr && i.port == s.port {
				c.serverKey, c.version = key, version
				c.flags |= cServerKey
				return k, false
			}
		}
	}
	return 0, false
}

// learnClientKey: the key of a connection's client became known. Joins towards the
// client can be matched now, and HMACs be checked.
func (t *Tracker) learnClientKey(k ref, key uint64) {
	c := t.conns.at(k)
	if c.flags&cClientKey != 0 {
		return
	}
	token := mptcp.Token(c.version, key)
	if c.flags&cClientToken != 0 && c.clientToken != token {
		t.stats.Mismatched++
		return
	}
	c.clientKey = key
	c.flags |= cClientKey
	t.setClientToken(k, c, token)
	for r := c.first; r != 0; {
		s := t.subs.at(r)
		r2 := s.next
		if s.flags&fJoin != 0 {
			t.verify(r, s)
		}
		r = r2
	}
	t.recheck(k, c)
	t.adopt(k, c.scope, c.clientToken)
}

func (t *Tracker) setClientToken(k ref, c *connection, token uint32) {
	if c.flags&cClientToken != 0 {
		return
	}
	if token != c.serverToken && !t.tokens.insert(t.h.token(c.scope, token), k) {
		t.stats.IndexFull++
		return
	}
	c.clientToken = token
	c.flags |= cClientToken
}

// adopt gives the orphans of a token to the connection that owns it.
func (t *Tracker) adopt(k ref, scope uint16, token uint32) {
	hash := t.h.token(scope, token)
	head := t.orphans(hash, scope, token)
	if head == 0 {
		return
	}
	t.waiting.remove(hash, head)
	for r := head; r != 0; {
		s := t.subs.at(r)
		next := s.next
		s.next = 0
		if owner := t.choose(hash, s, k); owner != 0 {
			t.match(r, s, owner)
		} else {
			// Evicted meanwhile, to make room for those before.
			t.wait(r, s, hash)
			t.settle(r, s)
		}
		r = next
	}
}

// correlate finds the connection of a join by its token (RFC 8684 section 3.2), or
// lets it wait for one.
func (t *Tracker) correlate(r ref, s *subflow) {
	hash := t.h.token(s.scope, s.token)
	if k := t.choose(hash, s, 0); k != 0 {
		t.match(r, s, k)
		return
	}
	t.wait(r, s, hash)
}

// wait puts a join among the orphans of its token. Those are limited as a
// connection's subflows are: a flood of joins with one token would make a long
// list. What is too much stands beside until it is answered, for a server does
// not answer to a token that it does not know.
func (t *Tracker) wait(r ref, s *subflow, hash uint32) {
	if s.more&mOrphaned == 0 {
		s.more |= mOrphaned
		t.stats.JoinsOrphaned++
	}
	head := t.orphans(hash, s.scope, s.token)
	if head == 0 {
		if !t.waiting.insert(hash, r) {
			t.stats.IndexFull++
		}
		return
	}
	n, unanswered := 0, ref(0)
	for x := head; x != 0; {
		o := t.subs.at(x)
		n++
		if o.flags&fSYNACK == 0 && x != head {
			unanswered = x
		}
		x = o.next
	}
	if n >= t.cfg.MaxSubflowsPerConnection {
		if s.flags&fSYNACK == 0 || unanswered == 0 {
			s.more |= mBeside
			return
		}
		t.stats.EvictedOrphans++
		t.drop(unanswered)
	}
	// Behind the head, which the index refers to.
	h := t.subs.at(head)
	s.next, h.next = h.next, r
}

// orphans finds the first of the joins that wait for a token.
func (t *Tracker) orphans(hash uint32, scope uint16, token uint32) ref {
	if t.waiting.n == 0 {
		return 0
	}
	var refs [maxSame]uint32
	for _, head := range refs[:t.waiting.collect(hash, &refs)] {
		if s := t.subs.at(head); s.scope == scope && s.token == token {
			return head
		}
	}
	return 0
}

// maxUnanswered joins stand in the list of one connection, so that a flood of
// them does not drive out each other before the server has answered.
const maxUnanswered = 16

// match makes a join a subflow of a connection.
func (t *Tracker) match(r ref, s *subflow, k ref) {
	c := t.conns.at(k)
	if s.more&mOrphaned != 0 {
		s.more &^= mOrphaned
		t.stats.JoinsOrphaned--
		t.stats.JoinsMatchedLate++
	}
	if s.more&mMatched == 0 {
		s.more |= mMatched
		t.stats.JoinsMatched++
		t.stats.Correlated.add(t.p.at - s.created)
	}
	if s.token != c.serverToken {
		s.flags |= fReverse
	}
	if unanswered := t.compare(c, s); s.flags&fSYNACK == 0 && unanswered >= maxUnanswered && !t.cfg.Keep {
		s.more |= mBeside
		return
	}
	if !t.attach(k, c, r, s) {
		return
	}
	t.emit(EventSubflowNew, k, r)
	t.settle(r, s)
	t.verify(r, s)
}

// compare looks at the other subflows of the connection: a join with the same
// nonce is the same join behind a NAT, one with the same address id and another
// address is noted (RFC 8684 section 3.2: an id is unique for an address of a
// host). It gives the number of unanswered ones.
func (t *Tracker) compare(c *connection, s *subflow) (unanswered int) {
	nonce, _ := s.nonces()
	duplicate := false
	for r := c.first; r != 0; {
		o := t.subs.at(r)
		r = o.next
		if o.class == classHalfOpen {
			unanswered++
		}
		if !s.sameAddressID(o) {
			continue
		}
		if n, _ := o.nonces(); n == nonce {
			if s.flags&fAlias == 0 {
				s.flags |= fAlias
				t.stats.Translated++
			}
		} else if !o.ended() && (o.addr[0] != s.addr[0] || o.addr[1] != s.addr[1]) {
			duplicate = true
		}
	}
	if duplicate {
		t.stats.DuplicateAddressIDs++
	}
	return unanswered
}

// sameAddressID tells whether two joins name the same address id of the same end.
func (s *subflow) sameAddressID(o *subflow) bool {
	return s.flags&fJoin != 0 && o.flags&(fJoin|fSYN) == fJoin|fSYN && o.flags&fReverse == s.flags&fReverse && o.clientID == s.clientID
}

// choose finds the connection whose token a join carries. Several may have it: the
// one goes first that is known to be at the address that the join is sent to, then
// the one whose peer is known to be at its source; among equals, hint or the
// newest.
func (t *Tracker) choose(hash uint32, s *subflow, hint ref) ref {
	var best ref
	var bestScore int
	n := 0
	var refs [maxSame]uint32
	for _, k := range refs[:t.tokens.collect(hash, &refs)] {
		c := t.conns.at(k)
		if c.scope != s.scope || !c.owns(s.token) {
			continue
		}
		n++
		if best == 0 {
			best, bestScore = k, -1
			continue
		}
		if bestScore < 0 {
			bestScore = t.score(best, s, hint)
		}
		if score := t.score(k, s, hint); score > bestScore {
			best, bestScore = k, score
		}
	}
	if n > 1 {
		t.stats.TokenCollisions++
	}
	return best
}

func (t *Tracker) score(k ref, s *subflow, hint ref) int {
	c := t.conns.at(k)
	score := 0
	reverse := s.token != c.serverToken
	for r := c.first; r != 0; {
		o := t.subs.at(r)
		r = o.next
		server, client := [2]uint64(o.addr[2:]), [2]uint64(o.addr[:2])
		if reverse != (o.flags&fReverse != 0) {
			server, client = client, server
		}
		if server == [2]uint64(s.addr[2:]) {
			score |= 16
		}
		if client == [2]uint64(s.addr[:2]) {
			score |= 8
		}
	}
	if t.advertised(c, s.addr[2], s.addr[3], reverse) {
		score |= 16
	}
	if c.class != classIdle {
		score |= 4
	}
	if k == hint {
		score |= 2
	}
	if c.flags&cProven != 0 {
		score |= 1
	}
	return score
}

// attach puts a subflow into a connection's list. When there is no room, the
// subflow is dropped.
func (t *Tracker) attach(k ref, c *connection, r ref, s *subflow) bool {
	if int(c.subs) >= t.cfg.MaxSubflowsPerConnection && !t.shed(k, c) {
		t.stats.RefusedJoins++
		t.drop(r)
		return false
	}
	s.conn = k
	s.next, c.first = c.first, r
	c.subs++
	if s.lastSeen > c.lastSeen {
		c.lastSeen = s.lastSeen
	}
	return true
}

// shed makes room in a connection: its oldest subflow goes that is closed or was
// not answered.
func (t *Tracker) shed(k ref, c *connection) bool {
	var victim ref
	for r := c.first; r != 0; {
		s := t.subs.at(r)
		if r != c.initial && s.class != classLive && s.conn == k {
			victim = r
		}
		r = s.next
	}
	if victim == 0 {
		return false
	}
	t.stats.EvictedHalfOpen++
	t.drop(victim)
	return true
}

// owns tells whether a token is one of the connection's.
func (c *connection) owns(token uint32) bool {
	return c.serverToken == token || c.flags&cClientToken != 0 && c.clientToken == token
}
