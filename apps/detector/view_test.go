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
	s.pass(time.Minute)
	expect("kept long enough", EventConnectionGone)
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
	if got, _, _ := s.Connections(0, 10, Filter{MinSubflows: 2}); len(got) != 0 {
		t.Errorf("by number of subflows: %+v", got)
	}
	if s.ConnectionOf(c.Subflows[0].ID) != c.ID || s.ConnectionOf(c.Subflows[0].ID+1) != 0 || s.ConnectionOf(0) != 0 {
		t.Error("connection of a subflow")
	}
}

// lost gives a join of a connection of its own, which nobody knows.
func lost(i int) flow {
	f := numbered(second, 1<<20+i)
	f.sk = genHash(uint64(i), 5)
	return f
}

func TestPagesOfOrphans(t *testing.T) {
	s := newScene(t, Config{})
	const n = 1000
	for i := range n {
		s.see(lost(i).SYN(), aCE)
		s.now += int64(20 * time.Millisecond)
	}
	// Some are answered, some go, and others come into their records: those that stay
	// are all seen once.
	seen := map[uint32]int{}
	pages := 0
	for after, more := SubflowID(0), true; more; pages++ {
		var page []Orphan
		page, after, more = s.Orphans(after, 7, Filter{})
		if len(page) > 7 {
			t.Fatalf("%d in a page", len(page))
		}
		for _, o := range page {
			seen[o.Token]++
		}
		s.see(lost(n-1-pages).SYNACK(), bCE)
		s.see(lost(pages).seg(false, rst|ack), bCE)
		s.pass(50 * time.Millisecond)
		s.see(lost(10_000+pages).SYN(), aCE)
	}
	early := map[uint32]bool{}
	for i := range n {
		early[frametest.Token(1, lost(i).sk)] = true
	}
	left := 0
	for _, o := range s.waiting() {
		if early[o.Token] {
			left++
			if seen[o.Token] != 1 {
				t.Fatalf("%08x seen %d times", o.Token, seen[o.Token])
			}
		}
	}
	if left < n/2 || pages < 100 {
		t.Errorf("%d of the first are left after %d pages", left, pages)
	}
}

// What a filter selects are those of which the view says so.
func TestFilters(t *testing.T) {
	s := newScene(t, Config{})
	at := [][]PlaceID{{aCE, bPE}, {bPE}, {cCE}, {cPE, aCE}, {xCE}, {mirror}, {xPE, xCE}}
	for i := range 70 {
		ways := [2][]PlaceID{at[i%len(at)], at[i/len(at)%len(at)]}
		if ways[0][0] >= xCE || ways[1][0] >= xCE {
			ways[1] = ways[0] // another scope
		}
		f, j := numbered(first, i), numbered(second, 1000+i)
		j.ck, j.sk = f.ck, f.sk
		s.see(f.SYN(), ways[0]...)
		s.see(f.SYNACK(), ways[1]...)
		s.see(j.SYN(), ways[1]...)
		s.see(j.SYNACK(), ways[0]...)
		s.see(lost(i).SYN(), ways[0]...)
		s.see(lost(i).SYNACK(), ways[1]...)
		other := lost(100 + i) // of the same token, elsewhere
		other.sk = lost(i).sk
		s.see(other.SYN(), at[(i+2)%len(at)]...)
	}
	since := s.all()[35].Created
	vpn := func(x Subflow) string {
		for _, id := range []PlaceID{x.ToServer.Ingress, x.ToClient.Egress, x.ToClient.Ingress, x.ToServer.Egress} {
			if v := s.Place(id).VPN; v != "" {
				return v
			}
		}
		return ""
	}
	touches := func(pe string, subflows ...Subflow) bool {
		for _, x := range subflows {
			for _, id := range []PlaceID{x.ToServer.Ingress, x.ToServer.Egress, x.ToClient.Ingress, x.ToClient.Egress} {
				if s.Place(id).PE == pe {
					return true
				}
			}
		}
		return false
	}
	for _, f := range []Filter{{}, {VPN: "red"}, {VPN: "pink"}, {VPN: "blue"}, {VPN: "none"}, {PE: "pe1"}, {PE: "pe3"}, {PE: "none"}, {Scope: "blue"}, {Since: since},
		{VPN: "red", PE: "pe3", Since: since}} {
		var want, got []uint32
		for _, c := range s.all() {
			if (f.VPN == "" || c.VPN == f.VPN) && (f.PE == "" || touches(f.PE, c.Subflows...)) && (f.Scope == "" || c.Scope == f.Scope) && c.Created >= f.Since {
				want = append(want, c.Token)
			}
		}
		page, _, _ := s.Connections(0, 1000, f)
		for i := range page {
			got = append(got, page[i].Token)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("connections by %+v (-want +got):\n%s", f, diff)
		}
		want, got = nil, nil
		for _, o := range s.waiting() {
			if (f.VPN == "" || vpn(o.Subflow) == f.VPN) && (f.PE == "" || touches(f.PE, o.Subflow)) && (f.Scope == "" || o.Scope == f.Scope) && o.Created >= f.Since {
				want = append(want, o.Token)
			}
		}
		orphans, _, _ := s.Orphans(0, 1000, f)
		for i := range orphans {
			got = append(got, orphans[i].Token)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("orphans by %+v (-want +got):\n%s", f, diff)
		}
		if none := f.VPN == "none" || f.PE == "none"; none != (len(got) == 0) {
			t.Errorf("%+v: %d orphans", f, len(got))
		}
	}
	token := frametest.Token(1, lost(3).sk)
	if got, _, _ := s.Orphans(0, 10, Filter{Token: token, HasToken: true}); len(got) != 2 || got[0].Token != token {
		t.Errorf("orphans by token: %+v", got)
	}
}

// Where the client's packets enter counts; if that is not tapped, where others were
// seen, and the oldest subflow before the others.
func TestVPNOfAConnection(t *testing.T) {
	for name, tc := range map[string]struct {
		syn, synack, join []PlaceID
		want              string
	}{
		"client's":           {[]PlaceID{cCE, bPE}, []PlaceID{bCE, aPE}, []PlaceID{aCE}, "pink"},
		"where it gets":      {[]PlaceID{bPE}, []PlaceID{bCE, cPE}, nil, "pink"},
		"the server's":       {[]PlaceID{aPE}, []PlaceID{cCE}, nil, "pink"},
		"of a later subflow": {[]PlaceID{mirror}, []PlaceID{aPE}, []PlaceID{cCE}, "pink"},
		"nowhere":            {[]PlaceID{mirror}, []PlaceID{mirror}, nil, ""},
	} {
		s := newScene(t, Config{})
		s.see(first.SYN(), tc.syn...)
		s.see(first.SYNACK(), tc.synack...)
		s.see(second.SYN(), tc.join...)
		if c := s.one(); c.VPN != tc.want {
			t.Errorf("%s: %q, want %q", name, c.VPN, tc.want)
		}
	}
}

// No packet is taken in meanwhile: a call ends, whatever it finds.
func TestWorkOfAPage(t *testing.T) {
	s := newScene(t, Config{Places: testPlaces})
	const n = pageWork * 3 / 4
	for i := range n {
		f, j := numbered(first, i), numbered(second, n+i)
		j.ck, j.sk = f.ck, f.sk
		s.see(f.SYN(), aCE)
		s.see(f.SYNACK(), aPE)
		s.see(j.SYN(), aCE)
		s.see(lost(i).SYN(), aCE)
	}
	for name, f := range map[string]Filter{"all": {}, "none": {VPN: "blue"}, "none of the PE": {PE: "pe3"}, "no token": {HasToken: true}} {
		most, want := pageWork, 0
		if name == "all" {
			most, want = pageWork/viewWork, n
		}
		got, last := 0, ConnID(0)
		for after, more := ConnID(0), true; more; {
			var page []Connection
			page, after, more = s.Connections(after, n, f)
			got += len(page)
			if !more {
				after = ConnID(s.conns.end-1) << 32
			}
			if looked := 3 * int(after>>32-last>>32); looked > most+3 || more && looked < most/2 {
				t.Errorf("connections, %s: %d records looked at, want %d", name, looked, most)
			}
			last = after
		}
		if got != want {
			t.Errorf("connections, %s: %d, want %d", name, got, want)
		}
		gotten, at := 0, SubflowID(0)
		for after, more := SubflowID(0), true; more; {
			var page []Orphan
			page, after, more = s.Orphans(after, n, f)
			gotten += len(page)
			if !more {
				after = SubflowID(s.subs.end-1) << 32
			}
			if looked := int(after>>32 - at>>32); looked > pageWork || len(page) > pageWork/viewWork {
				t.Errorf("orphans, %s: %d records looked at, %d given", name, looked, len(page))
			}
			at = after
		}
		if gotten != want {
			t.Errorf("orphans, %s: %d, want %d", name, gotten, want)
		}
	}
}

// Ids come from others.
func TestPagesBehindTheEnd(t *testing.T) {
	s := newScene(t, Config{})
	for range 2 {
		for _, after := range []uint64{1 << 32, 1 << 40, 1<<64 - 1} {
			c, _, more := s.Connections(ConnID(after), 10, Filter{})
			o, _, also := s.Orphans(SubflowID(after), 10, Filter{})
			if len(c) > 0 || more || len(o) > 0 || also {
				t.Errorf("behind %x: %v %v", after, c, o)
			}
		}
		s.handshake(first, aCE, aPE, bCE, bPE)
	}
}

func firstToken(i int) uint32 {
	return tokenOfKey(numbered(first, i).sk)
}

func tokenOfKey(k uint64) uint32 { return frametest.Token(1, k) }
