package detector

import "time"

// newSub gives a record for a subflow.
func (t *Tracker) newSub() ref {
	if r := t.freeSub; r != 0 {
		t.freeSub = t.subs.at(r).next
		return r
	}
	return t.subs.extend()
}

// newConnection makes a connection of a subflow's scope, and makes room for it:
// closed connections go first, then unproven ones, oldest first.
func (t *Tracker) newConnection(s *subflow, version uint8, token, hash uint32) ref {
	l := &t.lists
	if l[classIdle].n+l[classUnproven].n+l[classProven].n >= t.cfg.MaxConnections {
		victim := l[classIdle].oldest
		if victim == 0 {
			victim = l[classUnproven].oldest
		}
		if victim == 0 {
			t.stats.RefusedConnections++
			return 0
		}
		t.stats.EvictedConnections++
		t.dropConn(victim)
	}
	k := t.freeConn
	if k != 0 {
		t.freeConn = t.conns.at(k).first
	} else {
		k = t.conns.extend()
	}
	c := t.conns.at(k)
	t.gen++
	*c = connection{
		serverToken: token, created: s.created, scope: s.scope, version: version, gen: t.gen, lastSeen: s.lastSeen,
	}
	if !t.tokens.insert(hash, k) {
		t.stats.IndexFull++
		*c = connection{first: t.freeConn}
		t.freeConn = k
		return 0
	}
	t.pushConn(classUnproven, k, c)
	return k
}

// classify tells the list that a subflow belongs into.
func (s *subflow) classify() class {
	switch {
	case s.conn == 0 && s.flags&fJoin != 0 && s.flags&fSYN != 0 && s.more&mBeside == 0:
		if s.flags&fSYNACK != 0 {
			return classOrphanAnswered
		}
		return classOrphanAsked
	case s.ended(), s.conn == 0 && s.flags&fPlain != 0, s.more&mBeside != 0 && s.flags&fSYNACK != 0:
		return classClosed
	case s.conn != 0 && s.flags&fSYNACK != 0:
		return classLive
	}
	return classHalfOpen
}

// settle moves a subflow to the list that it belongs into now, and keeps the caps.
func (t *Tracker) settle(r ref, s *subflow) {
	if s.gen == 0 {
		return // dropped meanwhile
	}
	was, now := s.class, s.classify()
	if was == now {
		if s.conn != 0 {
			t.settleConn(s.conn, t.conns.at(s.conn)) // it may be new to it
		}
		return
	}
	if was != classNone {
		t.pullSub(s)
	}
	t.pushSub(now, r, s)
	if now == classClosed {
		s.lastSeen = max(s.lastSeen, t.p.tick) // it lingers from here on
	}
	if s.conn != 0 {
		k := s.conn
		c := t.conns.at(k)
		switch {
		case now == classLive:
			c.live++
			if s.flags&fJoin != 0 {
				c.flags |= cProven // the server took a token that only its key gives
			}
			t.settleConn(k, c)
			t.established(k, c, r, s)
		case s.more&mLive != 0:
			c.live--
			t.emit(EventSubflowClosed, k, r)
			t.settleConn(k, c)
		default:
			t.settleConn(k, c)
		}
	}
	s.more &^= mLive
	if now == classLive && s.conn != 0 {
		s.more |= mLive
	}
	t.keepCaps(now, r, s)
}

// keepCaps evicts when a list has grown too long.
func (t *Tracker) keepCaps(now class, r ref, s *subflow) {
	l := &t.lists
	switch now {
	case classHalfOpen:
		if l[now].n > t.cfg.MaxHalfOpen {
			t.stats.EvictedHalfOpen++
			t.drop(l[now].oldest)
		}
	case classOrphanAsked, classOrphanAnswered:
		asked, answered := &l[classOrphanAsked], &l[classOrphanAnswered]
		if asked.n+answered.n > t.cfg.MaxOrphans {
			t.stats.EvictedOrphans++
			if asked.n > 0 && answered.n <= t.cfg.MaxOrphans*3/4 {
				t.drop(asked.oldest)
			} else {
				t.drop(answered.oldest)
			}
		}
	case classLive, classClosed:
		for l[classLive].n+l[classClosed].n > t.cfg.MaxSubflows && s.gen != 0 {
			t.evictSubflow(r, s)
		}
	}
}

// evictSubflow makes room for subflow r, or drops r.
func (t *Tracker) evictSubflow(r ref, s *subflow) {
	if x := t.lists[classClosed].oldest; x != 0 && x != r {
		t.stats.EvictedClosed++
		t.forget(x)
		return
	}
	lists := []class{classUnproven}
	if s.conn != 0 && t.conns.at(s.conn).flags&cProven != 0 {
		lists = append(lists, classProven)
	}
	for _, l := range lists {
		k := t.lists[l].oldest
		if k != 0 && k == s.conn {
			k = t.conns.at(k).newer
		}
		if k != 0 {
			t.stats.EvictedConnections++
			t.dropConn(k)
			return
		}
	}
	t.stats.RefusedJoins++
	t.drop(r)
}

// forget lets go of a closed subflow. The one that its connection began with stays
// as long as the connection does: it names the ends.
func (t *Tracker) forget(r ref) {
	s := t.subs.at(r)
	if s.conn == 0 {
		t.drop(r)
		return
	}
	c := t.conns.at(s.conn)
	switch {
	case c.initial != r:
		t.drop(r)
	case c.live == 0 && c.subs == 1 && !t.cfg.Keep:
		t.stats.EvictedConnections++
		t.dropConn(s.conn)
	default:
		t.pullSub(s)
	}
}

// settleConn moves a connection to the list that it belongs into now.
func (t *Tracker) settleConn(k ref, c *connection) {
	now := classUnproven
	switch {
	case c.live == 0:
		now = classIdle
	case c.flags&cProven != 0:
		now = classProven
	}
	if c.class == now {
		return
	}
	t.pullConn(c)
	t.pushConn(now, k, c)
	if now == classProven && t.lists[now].n > t.cfg.maxProven() && t.lists[now].oldest != k {
		t.stats.EvictedConnections++
		t.dropConn(t.lists[now].oldest)
	}
	if now == classIdle {
		c.lastSeen = max(c.lastSeen, t.p.tick)
		if c.flags&cCounted == 0 {
			c.flags |= cCounted
			t.stats.ConnectionsClosed++
		}
		t.emit(EventConnectionClosed, k, 0)
	}
}

// drop frees a subflow's record, and takes it out of all indexes and lists.
func (t *Tracker) drop(r ref) {
	s := t.subs.at(r)
	if s.gen == 0 {
		return
	}
	if s.conn == 0 && s.flags&fJoin != 0 && s.flags&fSYN != 0 && s.more&mBeside == 0 {
		t.dropWaiting(r, s)
	}
	if s.class != classNone {
		t.pullSub(s)
	}
	if s.flags&fPending != 0 {
		delete(t.pending, r)
	}
	client, server := s.client(), s.server()
	t.tuples.remove(t.h.tuple(s.scope, &client, &server), r)
	if k := s.conn; k != 0 {
		t.detach(k, r, s)
	}
	*s = subflow{next: t.freeSub}
	t.freeSub = r
}

// dropWaiting takes an orphan out of the list of its token.
func (t *Tracker) dropWaiting(r ref, s *subflow) {
	hash := t.h.token(s.scope, s.token)
	head := t.orphans(hash, s.scope, s.token)
	if head == r {
		t.waiting.remove(hash, r)
		if s.next != 0 {
			t.waiting.insert(hash, s.next)
		}
		return
	}
	for x := head; x != 0; {
		o := t.subs.at(x)
		if o.next == r {
			o.next = s.next
			return
		}
		x = o.next
	}
}

// detach takes a subflow out of its connection; the last one takes the connection
// with it.
func (t *Tracker) detach(k, r ref, s *subflow) {
	c := t.conns.at(k)
	if c.first == r {
		c.first = s.next
	} else {
		for x := c.first; x != 0; {
			o := t.subs.at(x)
			if o.next == r {
				o.next = s.next
				break
			}
			x = o.next
		}
	}
	c.subs--
	if c.initial == r {
		c.initial = 0
	}
	if s.more&mLive != 0 {
		c.live--
		t.emit(EventSubflowClosed, k, r)
	}
	if c.subs == 0 {
		t.freeConnection(k, c)
		return
	}
	t.settleConn(k, c)
}

// dropConn frees a connection with all its subflows.
func (t *Tracker) dropConn(k ref) {
	c := t.conns.at(k)
	gen := c.gen
	for c.gen == gen && c.first != 0 {
		t.drop(c.first)
	}
}

func (t *Tracker) freeConnection(k ref, c *connection) {
	if c.class != classIdle {
		t.emit(EventConnectionClosed, k, 0)
	}
	t.emit(EventConnectionGone, k, 0)
	t.tokens.remove(t.h.token(c.scope, c.serverToken), k)
	if c.flags&cClientToken != 0 && c.clientToken != c.serverToken {
		t.tokens.remove(t.h.token(c.scope, c.clientToken), k)
	}
	for c.addrs != 0 {
		t.dropAddress(c.addrs)
	}
	t.pullConn(c)
	*c = connection{first: t.freeConn}
	t.freeConn = k
}

// expireBatch bounds the records of each list that one Expire looks at.
const expireBatch = 512

// Expire gives up what waits too long at time at (unix ns). Work per call is
// bounded; call it some ten times a second.
func (t *Tracker) Expire(at int64) {
	now := t.tick(at)
	t.p.at, t.p.tick = at, now
	cfg := &t.cfg
	t.expireSubs(classHalfOpen, now, cfg.HalfOpenTimeout, t.unanswered)
	if !cfg.Keep {
		for _, c := range [...]class{classOrphanAsked, classOrphanAnswered} {
			t.expireSubs(c, now, cfg.OrphanTimeout, func(r ref, _ *subflow) {
				t.stats.ExpiredOrphans++
				t.drop(r)
			})
		}
		t.expireSubs(classClosed, now, cfg.Linger, func(r ref, s *subflow) {
			if s.conn != 0 && t.conns.at(s.conn).initial == r {
				t.pullSub(s) // goes with its connection
				return
			}
			t.drop(r)
		})
		t.expireConns(now)
	}
	if cfg.IdleTimeout > 0 {
		t.expireSubs(classLive, now, cfg.IdleTimeout, func(r ref, s *subflow) {
			t.stats.ClosedIdle++
			s.flags |= fGone
			t.settle(r, s)
		})
	}
}

// unanswered: nobody answered the SYN.
func (t *Tracker) unanswered(r ref, s *subflow) {
	t.stats.ExpiredHalfOpen++
	if s.flags&(fJoin|fSYN) == fJoin|fSYN {
		t.stats.JoinsUnanswered++
	}
	if s.conn == 0 {
		t.drop(r)
		return
	}
	s.flags |= fGone
	t.settle(r, s)
}

func ticks(d time.Duration) uint32 { return uint32((int64(d) + 1<<tickBits - 1) >> tickBits) }

// expireSubs gives the records of a list to f that have not been seen for a time.
// A list is in the order in which its records came; one that was seen since goes
// to its end.
func (t *Tracker) expireSubs(c class, now uint32, after time.Duration, f func(ref, *subflow)) {
	wait := ticks(after)
	for range expireBatch {
		r := t.lists[c].oldest
		if r == 0 {
			return
		}
		s := t.subs.at(r)
		if s.lastSeen+wait >= now {
			// Seen since it came here: later ones may be due.
			if s.newer == 0 || t.subs.at(s.newer).lastSeen >= s.lastSeen {
				return
			}
			t.pullSub(s)
			t.pushSub(c, r, s)
			continue
		}
		f(r, s)
	}
}

func (t *Tracker) expireConns(now uint32) {
	wait := ticks(t.cfg.Linger)
	for range expireBatch {
		k := t.lists[classIdle].oldest
		if k == 0 {
			return
		}
		c := t.conns.at(k)
		if c.lastSeen+wait >= now {
			return
		}
		t.dropConn(k)
	}
}

// Finish ends a capture: what has no answer by now has failed.
func (t *Tracker) Finish(at int64) {
	t.p.at, t.p.tick = at, t.tick(at)
	for t.lists[classHalfOpen].n > 0 {
		r := t.lists[classHalfOpen].oldest
		t.unanswered(r, t.subs.at(r))
	}
	for r := t.lists[classOrphanAsked].oldest; r != 0; {
		s := t.subs.at(r)
		s.flags |= fGone
		r = s.newer
	}
}
