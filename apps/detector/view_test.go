package detector

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mpbox/internal/frametest"
)

func (s *scene) events() (kinds []EventKind) {
	s.Drain(func(e Event) {
		if e.Kind != EventsLost && e.Connection == 0 || e.At == 0 {
			s.Errorf("event without connection or time: %+v", e)
		}
		kinds = append(kinds, e.Kind)
	})
	return kinds
}

func TestEvents(t *testing.T) {
	s := newScene(t, Config{Events: EventsAll})
	s.see(first.SYN(), aCE, bPE)
	if e := s.events(); len(e) != 0 {
		t.Errorf("a SYN alone: %v", e)
	}
	expect := func(what string, want ...EventKind) {
		t.Helper()
		if diff := cmp.Diff(want, s.events(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	s.see(first.SYNACK(), bCE)
	expect("key", EventSubflowEstablished, EventConnectionNew)
	s.see(first.SYNACK(), aPE)
	expect("seen where it leaves", EventSubflowChanged)
	s.see(first.ACK(), aCE)
	expect("echo", EventSubflowVerified)
	s.see(second.SYN(), aCE, bPE)
	expect("join", EventSubflowNew)
	s.see(second.SYNACK(), bCE, aPE)
	expect("accepted", EventSubflowEstablished, EventSubflowChanged)
	s.see(second.ACK(), aCE, bPE)
	expect("verified", EventSubflowVerified)
	s.see(second.seg(true, ack, []byte{30, 3, 0x51}), aCE, bPE)
	expect("backup", EventSubflowChanged)
	s.see(second.seg(true, ack), cCE)
	expect("enters elsewhere", EventSubflowChanged)
	s.close(second)
	expect("closed, and seen to enter where it did before", EventSubflowChanged, EventSubflowClosed)
	s.close(first)
	expect("all closed", EventSubflowClosed, EventConnectionClosed)
}

func TestEventsOfMultipathOnly(t *testing.T) {
	s := newScene(t, Config{Events: EventsMultipath})
	s.handshake(first, aCE, aPE, bCE, bPE)
	if e := s.events(); len(e) != 0 {
		t.Errorf("one subflow: %v", e)
	}
	s.see(second.SYN(), aCE, bPE)
	if e := s.events(); len(e) != 0 {
		t.Errorf("a second one that is not accepted: %v", e)
	}
	s.see(second.SYNACK(), bCE)
	if e := s.events(); len(e) == 0 || e[0] != EventConnectionNew {
		t.Errorf("the second subflow: %v", e)
	}
	s.close(second)
	if e := s.events(); !cmp.Equal(e, []EventKind{EventSubflowClosed}) {
		t.Errorf("its end: %v", e)
	}
	// Where nobody can steer there is nothing to tell.
	s.handshake(first, xCE, xPE, xCE, xPE)
	s.handshake(second, xCE, xPE, xCE, xPE)
	if e := s.events(); len(e) != 0 {
		t.Errorf("places without a PE: %v", e)
	}
	// A subflow that is forged does not count, until the right HMAC comes.
	s = newScene(t, Config{Events: EventsMultipath})
	s.handshake(first, aCE, aPE, bCE, bPE)
	bad := second
	bad.sk++
	wrong := bad.SYNACK()
	s.see(second.SYN(), aCE)
	s.see(wrong, aPE)
	s.see(second.SYNACK(), aPE)
	third := second
	third.c, third.cn, third.id = ap("10.1.0.3:5"), 77, 3
	if e := s.events(); len(e) == 0 {
		t.Log("told before the HMAC could be judged") // live already: the server's HMAC is judged right after
	}
	s.see(second.ACK(), aCE)
	if e := s.events(); len(e) == 0 {
		t.Errorf("nothing told of a verified one")
	}
}

func TestEventsLost(t *testing.T) {
	s := newScene(t, Config{Events: EventsAll, MaxEvents: 10})
	for i := range 50 {
		f := numbered(first, i)
		s.see(f.SYN(), aCE)
		s.see(f.SYNACK(), aPE)
	}
	e := s.events()
	if len(e) != 10 || e[9] != EventsLost || s.Stats().EventsLost != 91 {
		t.Errorf("%v, %d lost", e, s.Stats().EventsLost)
	}
	if e := s.events(); len(e) != 0 {
		t.Errorf("%v", e)
	}
}

func TestRestore(t *testing.T) {
	s := newScene(t, Config{})
	s.handshake(first, aCE, aPE, bCE, bPE)
	s.handshake(second, cCE, cPE, bCE, bPE)
	s.see(second.seg(true, ack, []byte{30, 3, 0x51}), cCE)
	s.FlowEnded(s.now, aCE, first.c, first.s, 10, false)
	before := s.one()

	s = newScene(t, Config{Events: EventsMultipath})
	id := s.Restore(before)
	if id == 0 {
		t.Fatal("not restored")
	}
	want := before
	want.Restored = true
	if diff := cmp.Diff(want, s.one(), ignoreTimes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := s.one(); got.Created != before.Created || got.Subflows[1].Created != before.Subflows[1].Created {
		t.Error("the times are not kept")
	}
	if e := s.events(); len(e) == 0 {
		t.Error("not told")
	}
	// A later join finds it, from either side; it cannot be verified.
	third := second
	third.c, third.cn, third.id = ap("10.1.0.3:5"), 77, 3
	s.handshake(third, aCE, aPE, bCE, bPE)
	s.handshake(back, bCE, bPE, aCE, aPE)
	c := s.one()
	if len(c.Subflows) != 4 || c.Subflows[2].Verified != Unknown || !c.Subflows[3].Reverse || s.Stats().JoinsMatched != 2 {
		t.Errorf("%+v", c)
	}
	// Ends are seen.
	s.close(first)
	s.close(second)
	s.close(third)
	s.see(back.seg(true, rst), bCE)
	if c := s.one(); !c.Closed {
		t.Errorf("%+v", c)
	}
	s.pass(5 * time.Minute)
	if len(s.all()) != 0 {
		t.Error("stays")
	}
	// A join that came before.
	s = newScene(t, Config{})
	s.handshake(third, aCE, aPE, bCE, bPE)
	s.Restore(before)
	if c := s.one(); len(c.Subflows) != 3 || s.Stats().JoinsMatchedLate != 1 {
		t.Errorf("%+v", c)
	}
	// The handshake itself, late from an edge: the keys are known again.
	s.see(first.SYN(), bPE)
	s.see(first.SYNACK(), bCE)
	s.see(first.ACK(), bPE)
	if c := s.one(); len(c.Subflows) != 3 || s.Stats().JoinsVerified != 1 || s.Stats().Connections[1] != 0 {
		t.Errorf("%+v\n%+v", c, s.Stats())
	}
	// What cannot be restored.
	other := before
	other.Scope = "elsewhere"
	if s.Restore(other) != 0 || s.Restore(Connection{Scope: "red"}) != 0 {
		t.Error("restored from nothing")
	}
}

func TestPaging(t *testing.T) {
	s := newScene(t, Config{})
	const n = 1000
	for i := range n {
		f := numbered(first, i)
		s.see(f.SYN(), aCE)
		s.see(f.SYNACK(), aPE)
	}
	// Connections come and go between two pages: those that stay are all seen once.
	seen := map[uint32]int{}
	gone := 0
	for after, more := ConnID(0), true; more; {
		var page []Connection
		page, after, more = s.Connections(after, 7, Filter{})
		if len(page) > 7 {
			t.Fatalf("%d in a page", len(page))
		}
		for _, c := range page {
			seen[c.Token]++
		}
		f := numbered(first, 2*gone)
		s.see(f.seg(true, rst), aCE)
		gone++
		s.pass(time.Minute)
		f = numbered(first, 10_000+gone)
		s.see(f.SYN(), aCE)
		s.see(f.SYNACK(), aPE)
	}
	for i := 2 * gone; i < n; i++ {
		if got := seen[firstToken(i)]; got != 1 {
			t.Fatalf("connection %d seen %d times", i, got)
		}
	}
	if _, ok := s.Connection(12345 << 32); ok {
		t.Error("a connection that is not there")
	}
	c := s.all()[3]
	if got, ok := s.Connection(c.ID); !ok || got.Token != c.Token {
		t.Errorf("%+v", got)
	}
	if _, ok := s.Connection(c.ID + 1); ok {
		t.Error("another use of the record")
	}
	if got, _, _ := s.Connections(0, 10, Filter{Token: c.Token, HasToken: true}); len(got) != 1 || got[0].ID != c.ID {
		t.Errorf("by token: %+v", got)
	}
	if got, _, _ := s.Connections(0, 10, Filter{Match: func(x *Connection) bool { return x.Client == c.Client }}); len(got) != 1 {
		t.Errorf("by match: %+v", got)
	}
	if got, _, _ := s.Connections(0, 10, Filter{MinSubflows: 2}); len(got) != 0 {
		t.Errorf("by number of subflows: %+v", got)
	}
	if s.ConnectionOf(c.Subflows[0].ID) != c.ID || s.ConnectionOf(c.Subflows[0].ID+1) != 0 || s.ConnectionOf(0) != 0 {
		t.Error("connection of a subflow")
	}
}

func firstToken(i int) uint32 {
	return tokenOfKey(numbered(first, i).sk)
}

func tokenOfKey(k uint64) uint32 { return frametest.Token(1, k) }
