package topology

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// square is a - b - d, a - c - d, and two parallel links b = c, all numbered.
func square(t *testing.T) *TED {
	t.Helper()
	b := &Builder{Version: 7}
	for i, n := range []string{"a", "b", "c", "d"} {
		b.AddNode(Node{Name: n, RouterID: netip.AddrFrom4([4]byte{10, 255, 0, byte(i + 1)})})
	}
	pair := func(from, to int, x, y string, metric uint32) {
		b.AddLink(Link{From: from, To: to, LocalAddr: addr(x), RemoteAddr: addr(y), TEMetric: metric})
		b.AddLink(Link{From: to, To: from, LocalAddr: addr(y), RemoteAddr: addr(x), TEMetric: metric})
	}
	pair(0, 1, "10.0.1.1", "10.0.1.2", 10)
	pair(0, 2, "10.0.2.1", "10.0.2.3", 20)
	pair(1, 3, "10.0.3.2", "10.0.3.4", 10)
	pair(2, 3, "10.0.4.3", "10.0.4.4", 10)
	pair(1, 2, "10.0.5.2", "10.0.5.3", 5)
	pair(1, 2, "10.0.6.2", "10.0.6.3", 5)
	ted, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return ted
}

func linkNames(t *TED, links []int) string {
	var s []string
	for _, l := range links {
		s = append(s, t.Links()[l].Name)
	}
	return strings.Join(s, " ")
}

func TestBuildPairsAndNames(t *testing.T) {
	ted := square(t)
	for i, l := range ted.Links() {
		r := ted.Links()[l.Reverse]
		if r.Reverse != i || r.From != l.To || r.LocalAddr != l.RemoteAddr || r.Name != l.Name {
			t.Errorf("link %d %q is paired with %d %q", i, l.Name, l.Reverse, r.Name)
		}
	}
	if got := linkNames(ted, []int{0, 2, 4, 6, 8, 10}); got != "a-b a-c b-d c-d b-c b-c#2" {
		t.Errorf("names are %s", got)
	}
}

func TestBuildPairsByWhatThereIs(t *testing.T) {
	b := &Builder{}
	x, y := b.AddNode(Node{Name: "x"}), b.AddNode(Node{Name: "y"})
	u1 := b.AddLink(Link{From: x, To: y, LocalID: 1, RemoteID: 12})
	u2 := b.AddLink(Link{From: x, To: y, LocalID: 2, RemoteID: 11})
	v1 := b.AddLink(Link{From: y, To: x, LocalID: 11, RemoteID: 2})
	v2 := b.AddLink(Link{From: y, To: x, LocalID: 12, RemoteID: 1})
	half := b.AddLink(Link{From: x, To: y, LocalAddr: addr("10.0.0.1")})
	full := b.AddLink(Link{From: y, To: x, LocalAddr: addr("10.0.0.2"), RemoteAddr: addr("10.0.0.1")})
	only := b.AddOneWay(Link{From: x, To: y, Name: "only"})
	alone := b.AddLink(Link{From: y, To: x, Name: "alone"})
	ted, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]int{u1: v2, v2: u1, u2: v1, v1: u2, half: full, full: half, only: -1, alone: -1} {
		if got := ted.Links()[i].Reverse; got != want {
			t.Errorf("link %d is paired with %d, want %d", i, got, want)
		}
	}
	if got := ted.Links()[half].RemoteAddr; got != addr("10.0.0.2") {
		t.Errorf("the remote address is %v: not taken from the opposite direction", got)
	}
}

func TestBuildRefusesNamingTheElement(t *testing.T) {
	two := func(l ...Link) *Builder {
		b := &Builder{}
		b.AddNode(Node{Name: "x"})
		b.AddNode(Node{Name: "y"})
		b.AddNode(Node{Name: "z"})
		for _, l := range l {
			b.AddLink(l)
		}
		return b
	}
	for name, c := range map[string]struct {
		b    *Builder
		want []string
	}{
		"nameless":  {&Builder{nodes: []Node{{}}}, []string{"node 0", "no name"}},
		"twice":     {&Builder{nodes: []Node{{Name: "x"}, {Name: "x"}}}, []string{`"x"`, "twice"}},
		"router id": {&Builder{nodes: []Node{{Name: "x", RouterID: addr("1.1.1.1")}, {Name: "y", RouterID: addr("1.1.1.1")}}}, []string{`"y"`, `"x"`, "1.1.1.1"}},
		"end":       {two(Link{From: 0, To: 9, Name: "l9"}), []string{`"l9"`, "end"}},
		"loop":      {two(Link{From: 1, To: 1, Name: "l1"}), []string{`"l1"`, "y"}},
		"bandwidth": {two(Link{From: 0, To: 1, MaxBandwidth: -1}), []string{"x->y", "-1"}},
		"delay":     {two(Link{From: 0, To: 1, Delay: -1}), []string{"x->y", "delay"}},
		"same name": {two(Link{From: 0, To: 1, Name: "l"}, Link{From: 0, To: 2, Name: "l"}), []string{`"l"`, "x->z", "x->y"}},
		"address":   {two(Link{From: 0, To: 1, LocalAddr: addr("10.0.0.1")}, Link{From: 2, To: 1, LocalAddr: addr("10.0.0.1")}), []string{"10.0.0.1", `"z"`, `"x"`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.b.Build()
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not name %q", err, w)
				}
			}
		})
	}
}

func TestRoute(t *testing.T) {
	ted := square(t)
	hops := func(a ...string) []Hop {
		var h []Hop
		for _, s := range a {
			h = append(h, Hop{Addr: addr(s)})
		}
		return h
	}
	for name, c := range map[string]struct {
		hops []Hop
		want string // link names, or the error's words
	}{
		"entered by":                    {hops("10.0.1.2", "10.0.3.4"), "a-b b-d"},
		"router ids":                    {hops("10.255.0.2", "10.255.0.4"), "a-b b-d"},
		"parallel by interface":         {hops("10.0.1.2", "10.0.6.3", "10.0.4.4"), "a-b b-c#2 c-d"},
		"left by":                       {hops("10.0.1.1", "10.0.6.2", "10.0.4.3", "10.255.0.4"), "a-b b-c#2 c-d"},
		"both sides of each link":       {hops("10.0.1.1", "10.0.1.2", "10.0.5.2", "10.0.5.3", "10.0.4.3", "10.0.4.4"), "a-b b-c c-d"},
		"node ids between interfaces":   {hops("10.255.0.2", "10.0.1.2", "10.255.0.3", "10.0.6.3"), "a-b b-c#2"},
		"egress router id at the end":   {hops("10.0.1.2", "10.0.3.4", "10.255.0.4"), "a-b b-d"},
		"ambiguous parallel":            {hops("10.0.1.2", "10.255.0.3"), "2 parallel links from b to c"},
		"not a neighbour":               {hops("10.255.0.4"), "no neighbour of a"},
		"unknown address":               {hops("192.0.2.1"), "192.0.2.1 is not in the topology"},
		"loose":                         {[]Hop{{Addr: addr("10.255.0.4"), Loose: true}}, "loose"},
		"nothing":                       {nil, ""},
		"zero hop (no address at all)":  {[]Hop{{}}, "not in the topology"},
		"outgoing wins over router ids": {hops("10.0.1.2", "10.0.6.2", "10.255.0.3"), "a-b b-c#2"},
	} {
		t.Run(name, func(t *testing.T) {
			links, err := ted.Route("a", c.hops)
			got := linkNames(ted, links)
			if err != nil {
				got = err.Error()
			}
			if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	links := []int{0, 10, 6}
	back, err := ted.Route("a", ted.ERO(links))
	if err != nil || !slices.Equal(back, links) {
		t.Errorf("the ERO of %v is resolved as %v, %v", links, back, err)
	}
	if _, err := ted.Route("nowhere", nil); err == nil {
		t.Error("an unknown ingress is accepted")
	}
}

func TestMerge(t *testing.T) {
	whole := square(t)
	if m, err := Merge(whole, nil, whole); err != nil || !Equal(m, whole) || m.Version() != 14 {
		t.Fatalf("merged with itself: %v %v", err, Diff(whole, m))
	}

	// A view without the second b-c link, with d under another name, and with a newer metric.
	less := without(t, whole, "b-c#2", func(n *Node) {
		if n.Name == "d" {
			n.Name = "10.255.0.4"
		}
	})
	less.links[0].TEMetric = 99
	less = less.WithVersion(8)
	m, err := Merge(whole, less)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`link "a-b" (a->b) at 10.0.1.1: te metric 10 -> 99`,
		`link "b-c#2" (b->c) at 10.0.6.2: down false -> true`,
		`link "b-c#2" (c->b) at 10.0.6.3: down false -> true`,
	}
	if d := Diff(whole, m); !slices.Equal(d, want) {
		t.Errorf("diff is %q", d)
	}

	// Names of parallel links that are numbered in another order do not clash.
	first := without(t, whole, "b-c", nil)
	for i := range first.links {
		if first.links[i].Name == "b-c#2" {
			first.links[i].Name = "b-c"
		}
	}
	m, err = Merge(first, whole)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Links()) != len(whole.Links()) {
		t.Errorf("%d links, want %d", len(m.Links()), len(whole.Links()))
	}

	other := without(t, whole, "", func(n *Node) {
		if n.Name == "d" {
			n.RouterID = addr("9.9.9.9")
		}
	})
	if _, err := Merge(whole, other); err == nil || !strings.Contains(err.Error(), `"d"`) {
		t.Errorf("two router ids of one node: %v", err)
	}
}

// without rebuilds a TED without the links of one name.
func without(t *testing.T, ted *TED, link string, change func(*Node)) *TED {
	t.Helper()
	b := &Builder{Version: ted.Version()}
	for _, n := range ted.Nodes() {
		if change != nil {
			change(&n)
		}
		b.AddNode(n)
	}
	for _, l := range ted.Links() {
		if l.Name != link {
			b.AddLink(l)
		}
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDiffSeesEveryAttribute(t *testing.T) {
	a := square(t)
	for what, change := range map[string]func(*Link){
		"te metric":                func(l *Link) { l.TEMetric++ },
		"igp metric":               func(l *Link) { l.IGPMetric++ },
		"delay":                    func(l *Link) { l.Delay++ },
		"max bandwidth":            func(l *Link) { l.MaxBandwidth++ },
		"max reservable bandwidth": func(l *Link) { l.MaxReservable++ },
		"unreserved bandwidth":     func(l *Link) { l.Unreserved[3]++ },
		"admin group":              func(l *Link) { l.AdminGroup++ },
		"srlgs":                    func(l *Link) { l.SRLGs = []uint32{4} },
		"down":                     func(l *Link) { l.Down = true },
	} {
		b := square(t)
		change(&b.links[3])
		if measured := what == "delay" || what == "unreserved bandwidth"; Reshaped(a, b) == measured {
			t.Errorf("%s: reshaped %v", what, !measured)
		}
		if d := Diff(a, b); len(d) != 1 || !strings.Contains(d[0], what) {
			t.Errorf("%s: diff is %q", what, d)
		}
	}
}
