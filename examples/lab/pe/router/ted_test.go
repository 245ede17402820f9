package router

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"mpbox/examples/lab/fabric"
)

// testTED builds a TED of links "a-b metric"; router n has the id 10.255.0.n, and
// link i the addresses 10.0.i.1 and 10.0.i.2. All routers are PEs.
func testTED(t testing.TB, routers int, links ...string) *TED {
	var n fabric.Node
	for i := range routers {
		n.Nodes = append(n.Nodes, fabric.Router{Name: fmt.Sprint(i + 1), RouterID: netip.AddrFrom4([4]byte{10, 255, 0, byte(i + 1)}), PE: true})
	}
	for i, l := range links {
		var a, b string
		var metric, group uint32
		if _, err := fmt.Sscan(strings.ReplaceAll(l, "-", " ")+" 0", &a, &b, &metric, &group); err != nil {
			t.Fatal(l, err)
		}
		end := func(r string, h byte) fabric.LinkEnd {
			return fabric.LinkEnd{Node: r, Address: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i + 1), h}), 30)}
		}
		n.Links = append(n.Links, fabric.Link{Name: a + "-" + b, A: end(a, 1), B: end(b, 2), TEMetric: metric, AdminGroup: group, RateBPS: 10e6})
	}
	ted, err := newTED(n)
	if err != nil {
		t.Fatal(err)
	}
	return ted
}

func allUp() linkState {
	return linkState{up: func(string) bool { return true }, free: func(int, uint8) uint32 { return 10000 }}
}

func hops(words string) []hop {
	var hs []hop
	for _, w := range strings.Fields(words) {
		h := hop{Loose: strings.HasPrefix(w, "~"), Exclude: strings.HasPrefix(w, "!")}
		h.Addr = netip.MustParseAddr(strings.TrimLeft(w, "~!"))
		hs = append(hs, h)
	}
	return hs
}

func TestExplicit(t *testing.T) {
	//	1 --1-- 2 --2-- 3      links 1..5, 4 and 5 in parallel between 1 and 4;
	//	 \4,5         /        link 3 is coloured 0x1
	//	  4 ----3----+
	ted := testTED(t, 5, "1-2 10", "2-3 10", "4-3 5 1", "1-4 10", "1-4 7")
	down := func(name string) linkState {
		s := allUp()
		s.up = func(l string) bool { return l != name }
		return s
	}
	for _, c := range []struct {
		name, hops string
		c          constraints
		s          linkState
		want       string // links by number, or the error
	}{
		{"dynamic", "", constraints{}, allUp(), "5 3"},
		{"strict by interface", "10.0.1.2 10.0.2.2", constraints{}, allUp(), "1 2"},
		{"ending in the router id", "10.0.1.2 10.0.2.2 10.255.0.3", constraints{}, allUp(), "1 2"},
		{"outgoing interfaces too", "10.0.1.1 10.0.1.2 10.0.2.1 10.0.2.2", constraints{}, allUp(), "1 2"},
		{"router id, then the interface by which it was entered", "10.255.0.2 10.0.1.2 10.0.2.2", constraints{}, allUp(), "1 2"},
		{"strict by router id takes the cheaper link", "10.255.0.4 10.255.0.3", constraints{}, allUp(), "5 3"},
		{"outgoing interface chooses the parallel link", "10.0.4.1 10.255.0.4 10.255.0.3", constraints{}, allUp(), "4 3"},
		{"interface chooses the parallel link", "10.0.4.2 10.0.3.2", constraints{}, allUp(), "4 3"},
		{"loose", "~10.255.0.2", constraints{}, allUp(), "1 2"},
		{"loose, then strict", "~10.255.0.2 10.0.2.2", constraints{}, allUp(), "1 2"},
		{"exclude a router", "!10.255.0.4", constraints{}, allUp(), "1 2"},
		{"exclude a link", "!10.0.5.1", constraints{}, allUp(), "4 3"},
		{"not adjacent", "10.0.2.2", constraints{}, allUp(), "Can't reach 10.0.2.2 on 10.255.0.3, from node 10.255.0.1"},
		{"far end's address", "10.0.2.1", constraints{}, allUp(), "Can't reach 10.0.2.1 on 10.255.0.2, from node 10.255.0.1"},
		{"unknown address", "10.9.9.9", constraints{}, allUp(), "Explicit path has unknown address, 10.9.9.9"},
		{"too short", "10.0.1.2", constraints{}, allUp(), "No path to destination, 10.255.0.3 (explicit path ends at 10.255.0.2)"},
		{"back again", "10.0.1.2 10.0.1.1 10.0.4.2 10.0.3.2", constraints{}, allUp(), "No path to destination, 10.255.0.3 (loop)"},
		{"link down, strict", "10.0.1.2 10.0.2.2", constraints{}, down("2-3"), "Can't reach 10.0.2.2 on 10.255.0.3, from node 10.255.0.2"},
		{"link down, dynamic", "", constraints{}, down("4-3"), "1 2"},
		{"colour excluded", "", constraints{ExcludeAny: 1}, allUp(), "1 2"},
		{"colour excluded, strict", "10.0.5.2 10.0.3.2", constraints{ExcludeAny: 1}, allUp(), "Can't reach 10.0.3.2 on 10.255.0.3, from node 10.255.0.4"},
		{"colour wanted", "", constraints{IncludeAny: 1}, allUp(), "No path to destination, 10.255.0.3 (unreachable)"},
		{"too wide", "", constraints{Kbps: 10001}, allUp(), "No path to destination, 10.255.0.3 (unreachable)"},
	} {
		path, err := ted.explicit(0, 2, hops(c.hops), c.c, c.s)
		got := ""
		for _, e := range path {
			got += fmt.Sprint(" ", e/2+1)
		}
		if err != nil {
			got = " " + err.Error()
		}
		if got != " "+c.want {
			t.Errorf("%s: got%s, want %s", c.name, got, c.want)
		}
	}
}

// The shortest path costs what the best of all simple paths costs.
func TestShortestAgainstBruteForce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		n := 3 + rng.IntN(5)
		var links []string
		for range 2 + rng.IntN(12) {
			a, b := 1+rng.IntN(n), 1+rng.IntN(n)
			if a != b {
				links = append(links, fmt.Sprintf("%d-%d %d", a, b, 1+rng.IntN(20)))
			}
		}
		ted := testTED(t, n, links...)
		var best func(at int, seen uint) (uint64, bool)
		best = func(at int, seen uint) (uint64, bool) {
			if at == n-1 {
				return 0, true
			}
			low, found := uint64(0), false
			for _, e := range ted.Out[at] {
				to := ted.Edges[e].To
				if seen>>to&1 == 1 {
					continue
				}
				if c, ok := best(to, seen|1<<to); ok && (!found || c+uint64(ted.Edges[e].TE) < low) {
					low, found = c+uint64(ted.Edges[e].TE), true
				}
			}
			return low, found
		}
		want, reachable := best(0, 1)
		path, ok := ted.shortest(0, n-1, nil, exclusion{}, constraints{}, allUp())
		cost, at := uint64(0), 0
		for _, e := range path {
			if ted.Edges[e].From != at {
				t.Fatalf("round %d: path %v is no walk", round, path)
			}
			cost, at = cost+uint64(ted.Edges[e].TE), ted.Edges[e].To
		}
		if ok != reachable || (ok && (cost != want || at != n-1)) {
			t.Fatalf("round %d, links %v: cost %d (%v), want %d (%v)", round, links, cost, ok, want, reachable)
		}
	}
}

func TestRangePrefix(t *testing.T) {
	for _, c := range []struct{ lo, hi, want string }{
		{"10.0.0.1", "10.0.0.1", "10.0.0.1/32"},
		{"10.0.0.0", "10.0.0.255", "10.0.0.0/24"},
		{"0.0.0.0", "255.255.255.255", "0.0.0.0/0"},
		{"2001:db8::", "2001:db8::ffff", "2001:db8::/112"},
		{"10.0.0.1", "10.0.0.2", "error"},
		{"10.0.0.2", "10.0.0.1", "error"},
		{"10.0.0.0", "2001:db8::", "error"},
	} {
		p, err := rangePrefix(netip.MustParseAddr(c.lo).AsSlice(), netip.MustParseAddr(c.hi).AsSlice())
		got := p.String()
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%s to %s: %s, want %s", c.lo, c.hi, got, c.want)
		}
	}
	if _, err := rangePrefix(nil, nil); err == nil {
		t.Error("a range without addresses")
	}
}
