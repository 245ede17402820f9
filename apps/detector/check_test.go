package detector

// check verifies that indexes, lists and counts agree.
func (s *scene) check() {
	t := s.Tracker
	s.Helper()
	fail := func(format string, args ...any) {
		s.Helper()
		s.Errorf(format, args...)
	}
	// Lists.
	inList := map[ref]class{}
	connInList := map[ref]class{}
	for c := classHalfOpen; c < classes; c++ {
		l := t.lists[c]
		n, last := 0, ref(0)
		for r := l.oldest; r != 0; n++ {
			if n > 1<<24 {
				fail("list %d is a circle", c)
				return
			}
			if c < classUnproven {
				x := t.subs.at(r)
				if x.class != c || x.older != last || x.gen == 0 {
					fail("subflow %d in list %d: %+v", r, c, *x)
				}
				inList[r] = c
				last, r = r, x.newer
			} else {
				x := t.conns.at(r)
				if x.class != c || x.older != last || x.gen == 0 {
					fail("connection %d in list %d: %+v", r, c, x.class)
				}
				connInList[r] = c
				last, r = r, x.newer
			}
		}
		if n != l.n || l.newest != last {
			fail("list %d: %d records, counted %d", c, n, l.n)
		}
	}
	// Subflows.
	used := 0
	orphaned := 0
	for r := ref(1); r < t.subs.end; r++ {
		x := t.subs.at(r)
		if x.gen == 0 {
			continue
		}
		used++
		client, server := x.client(), x.server()
		found := 0
		for _, i := range collect(t.tuples, t.h.tuple(x.scope, &client, &server)) {
			if i == r {
				found++
			}
		}
		// A capture keeps records of tuples that were used too often.
		if found != 1 && !(t.cfg.Keep && found == 0) {
			fail("subflow %d: %d times in the index", r, found)
		}
		if x.class == classNone {
			if x.conn == 0 || t.conns.at(x.conn).initial != r {
				fail("subflow %d in no list: %+v", r, *x)
			}
		} else if inList[r] != x.class || x.classify() != x.class {
			fail("subflow %d: class %d, list %d, should be %d", r, x.class, inList[r], x.classify())
		}
		if _, ok := t.pending[r]; ok != (x.flags&fPending != 0) {
			fail("subflow %d: pending HMAC %v", r, ok)
		}
		if x.conn != 0 {
			n := 0
			for y := t.conns.at(x.conn).first; y != 0; y = t.subs.at(y).next {
				if y == r {
					n++
				}
			}
			if n != 1 {
				fail("subflow %d: %d times in its connection", r, n)
			}
		} else if x.flags&(fJoin|fSYN) == fJoin|fSYN && x.more&mBeside == 0 {
			orphaned++
			n := 0
			for y := t.orphans(t.h.token(x.scope, x.token), x.scope, x.token); y != 0; y = t.subs.at(y).next {
				if y == r {
					n++
				}
			}
			if n != 1 {
				fail("orphan %d: %d times among those of its token", r, n)
			}
		}
		if (x.more&mLive != 0) != (x.class == classLive) {
			fail("subflow %d: live %v in class %d", r, x.more&mLive != 0, x.class)
		}
	}
	if t.tuples.n != used && !t.cfg.Keep {
		fail("index of tuples has %d entries for %d records", t.tuples.n, used)
	}
	if l := t.lists[classOrphanAsked].n + t.lists[classOrphanAnswered].n; l != orphaned {
		fail("%d orphans in lists, %d records", l, orphaned)
	}
	// Connections.
	tokens := 0
	addrs := 0
	for k := ref(1); k < t.conns.end; k++ {
		c := t.conns.at(k)
		if c.gen == 0 {
			continue
		}
		subs, live := 0, 0
		hasInitial := c.initial == 0
		for r := c.first; r != 0; {
			x := t.subs.at(r)
			subs++
			if x.class == classLive {
				live++
			}
			if x.conn != k || x.gen == 0 {
				fail("connection %d lists subflow %d of %d", k, r, x.conn)
			}
			hasInitial = hasInitial || r == c.initial
			r = x.next
		}
		if subs != int(c.subs) || live != int(c.live) || subs == 0 || !hasInitial {
			fail("connection %d: %d subflows, %d live; counted %d, %d", k, subs, live, c.subs, c.live)
		}
		if connInList[k] != c.class || (c.class == classIdle) != (live == 0) || (c.class == classProven) != (live > 0 && c.flags&cProven != 0) {
			fail("connection %d: class %d, list %d, %d live, flags %x", k, c.class, connInList[k], live, c.flags)
		}
		want := []uint32{c.serverToken}
		if c.flags&cClientToken != 0 && c.clientToken != c.serverToken {
			want = append(want, c.clientToken)
		}
		for _, token := range want {
			tokens++
			n := 0
			for _, i := range collect(t.tokens, t.h.token(c.scope, token)) {
				if i == k {
					n++
				}
			}
			if n != 1 {
				fail("connection %d: token %d times in the index", k, n)
			}
		}
		for x := c.addrs; x != 0; x = t.addrs.at(x).next {
			addrs++
			if t.addrs.at(x).conn != k {
				fail("address %d", x)
			}
		}
	}
	if t.tokens.n != tokens {
		fail("index of tokens has %d entries for %d", t.tokens.n, tokens)
	}
	if addrs != t.addrCount {
		fail("%d addresses, counted %d", addrs, t.addrCount)
	}
	cfg := t.cfg
	if t.lists[classHalfOpen].n > cfg.MaxHalfOpen || orphaned > cfg.MaxOrphans || t.addrCount > cfg.MaxAddresses ||
		t.lists[classLive].n+t.lists[classClosed].n > cfg.MaxSubflows ||
		t.lists[classUnproven].n+t.lists[classProven].n+t.lists[classIdle].n > cfg.MaxConnections ||
		len(t.pending) > cfg.MaxPendingMACs || len(t.events) > cfg.MaxEvents {
		fail("a cap is exceeded: %+v", t.Stats())
	}
}

func collect(t *table, hash uint32) []uint32 {
	var out [maxSame]uint32
	return append([]uint32(nil), out[:t.collect(hash, &out)]...)
}
