package controller

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mpbox/apps/detector"
	"mpbox/controller/api"
	"mpbox/controller/config"
	"mpbox/internal/frametest"
)

// testReader reads of connections of one join each in VPN red, behind pe1, and of joins
// without a connection: of blue, behind pe2, and after them of red.
func testReader(t *testing.T, connections, blue, red int) *flowReader {
	t.Helper()
	p := newPlaces(&config.Config{VPNs: []config.VPN{{Name: "red"}, {Name: "blue"}}, Bridges: []config.Bridge{{Name: "edge1", DPID: 1, Attachments: []config.Attachment{
		{Name: "red1", CEPort: 1, PEPort: 2, VPN: "red", PE: "pe1"}, {Name: "blue1", CEPort: 3, PEPort: 4, VPN: "blue", PE: "pe2"},
	}}}})
	r := &flowReader{tap: &tap{tracker: detector.New(detector.Config{Places: p.list, Events: detector.EventsAll})}, manager: newManager(t)}
	r.flows = &flows{places: p, tap: r.tap, manager: r.manager, listed: map[detector.SubflowID]time.Time{}}
	server := netip.MustParseAddrPort("10.200.0.1:443")
	n := 0
	see := func(attachment string, key uint64, options ...[]byte) {
		c := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 4000)
		n++
		for i, o := range options {
			seg := frametest.Segment{Src: c, Dst: server, Seq: 1, Flags: frametest.SYN, Options: o}
			side := detector.CE
			if i > 0 {
				seg = frametest.Segment{Src: server, Dst: c, Seq: 9, Ack: 2, Flags: frametest.SYN | frametest.ACK, Options: o}
				side = detector.PE
			}
			r.tap.tracker.ObserveFrames([]detector.Frame{{At: int64(n) * 1e9, Place: p.placeOf(attachment, side), Data: seg.Ethernet()}})
		}
	}
	for i := range connections {
		key := uint64(1 + i)
		see("red1", key, frametest.CapableSYN(1, 0), frametest.CapableSYNACK(1, key))
		see("red1", key, frametest.JoinSYN(1, false, frametest.Token(1, key), 5))
	}
	for i := range blue + red {
		key, attachment := uint64(1_000_000+i), "blue1"
		if i >= blue {
			attachment = "red1"
		}
		see(attachment, key, frametest.JoinSYN(1, false, frametest.Token(1, key), 5))
	}
	return r
}

// subflows follows the pages.
func subflows(t *testing.T, r *flowReader, q api.Query) (all []api.Subflow, pages int) {
	t.Helper()
	for {
		p, err := r.Subflows(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Items) > q.Limit+1 { // two subflows a connection
			t.Errorf("%d in a page of %d", len(p.Items), q.Limit)
		}
		all = append(all, p.Items...)
		if pages++; p.Next == "" {
			return all, pages
		}
		q.After = p.Next
	}
}

// Orphans follow the connections' subflows over as many pages as they need.
func TestPagesOfSubflows(t *testing.T) {
	r := testReader(t, 30, 250, 20)
	for _, limit := range []int{1, 7, 59, 60, 61, 100, 1000} {
		all, _ := subflows(t, r, api.Query{Limit: limit})
		seen := map[string]bool{}
		for i := range all {
			seen[all[i].ID] = true
			if orphan := all[i].Connection == ""; orphan != (i >= 60) {
				t.Fatalf("limit %d: %d is %+v", limit, i, all[i])
			}
		}
		if len(all) != 330 || len(seen) != 330 {
			t.Errorf("limit %d: %d subflows, %d of them differ", limit, len(all), len(seen))
		}
	}
	for _, after := range []string{"x", orphansAfter + "x"} {
		if _, err := r.Subflows(t.Context(), api.Query{After: after}); err == nil {
			t.Errorf("%q was taken", after)
		}
	}
}

// What a filter does not select takes no room in a page.
func TestFiltersOfSubflows(t *testing.T) {
	r := testReader(t, 30, 1000, 20)
	began := func(i int) time.Time { return time.Unix(int64(i), 0) }
	for _, tc := range []struct {
		q                           api.Query
		subflows, orphans, mostPage int
	}{
		{api.Query{VPN: "red", Limit: 100}, 60, 20, 1},
		{api.Query{PE: "pe1", Limit: 100}, 60, 20, 1},
		{api.Query{PE: "pe2", Limit: 500}, 0, 1000, 3},
		{api.Query{VPN: "blue", PE: "pe1", Limit: 10}, 0, 0, 1},
		{api.Query{State: "established", Limit: 100}, 30, 0, 1},
		{api.Query{State: "syn", VPN: "red", Limit: 100}, 30, 20, 1},
		{api.Query{Since: began(1061), Limit: 100}, 0, 20, 1},
		{api.Query{Since: began(59), Limit: 100, VPN: "red"}, 2, 20, 1},
	} {
		all, pages := subflows(t, r, tc.q)
		orphans := 0
		for i := range all {
			if all[i].Connection == "" {
				orphans++
			}
		}
		if len(all)-orphans != tc.subflows || orphans != tc.orphans || pages > tc.mostPage {
			t.Errorf("%+v: %d subflows of connections and %d orphans in %d pages; want %d, %d, %d", tc.q, len(all)-orphans, orphans, pages, tc.subflows, tc.orphans, tc.mostPage)
		}
	}
}

// A page of connections has all that a filter selects, however far behind.
func TestPagesOfConnections(t *testing.T) {
	r := testReader(t, 450, 0, 0)
	for _, tc := range []struct {
		q     api.Query
		items int
		next  bool
	}{
		{api.Query{Limit: 100}, 100, true},
		{api.Query{Limit: 1000}, 450, false},
		{api.Query{Limit: 10, Since: time.Unix(895, 0)}, 3, false},
		{api.Query{Limit: 10, VPN: "blue"}, 0, false},
		{api.Query{Limit: 10, State: "closed"}, 0, false},
	} {
		p, err := r.Connections(t.Context(), tc.q)
		if err != nil || len(p.Items) != tc.items || (p.Next != "") != tc.next {
			t.Errorf("%+v: %d connections, next %q, %v", tc.q, len(p.Items), p.Next, err)
		}
	}
}

// A request that finds nothing among very many ends, and the next one goes on there.
func TestWalkEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []detector.ConnID
		list := func(after detector.ConnID, _ int, _ detector.Filter) ([]detector.Connection, detector.ConnID, bool) {
			asked = append(asked, after)
			time.Sleep(walkTime/4 + time.Millisecond)
			return nil, after + 1, true
		}
		walked := func(ctx context.Context, after string) (string, error) {
			return walk(ctx, &tap{}, list, api.Query{After: after}, func(c *detector.Connection) detector.ConnID { return c.ID }, func(*detector.Connection) bool { return true })
		}
		next, err := walked(t.Context(), "")
		if next != "4" || err != nil {
			t.Errorf("next %q, %v", next, err)
		}
		if next, err = walked(t.Context(), next); next != "8" || err != nil || !slices.Equal(asked, []detector.ConnID{0, 1, 2, 3, 4, 5, 6, 7}) {
			t.Errorf("next %q, %v; asked %v", next, err, asked)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := walked(gone, ""); err == nil || len(asked) != 8 {
			t.Errorf("looks for one who has gone: %v, asked %v", err, asked)
		}
	})
}
