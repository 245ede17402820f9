package topology

import (
	"slices"
	"testing"
	"time"
)

// written is what a person may write of square, with or without addresses.
func written(t *testing.T, addresses bool) *TED {
	t.Helper()
	b := &Builder{}
	for _, n := range []Node{{Name: "Amsterdam", RouterID: addr("10.255.0.1")}, {Name: "b"}, {Name: "c"}, {Name: "d"}, {Name: "elsewhere"}} {
		b.AddNode(n)
	}
	add := func(l Link, x, y string) {
		if addresses {
			l.LocalAddr, l.RemoteAddr = addr(x), addr(y)
		}
		back := l
		back.From, back.To, back.LocalAddr, back.RemoteAddr = l.To, l.From, l.RemoteAddr, l.LocalAddr
		b.AddPair(l, back)
	}
	add(Link{From: 0, To: 1, Name: "A-B cable", TEMetric: 99, Delay: time.Millisecond, SRLGs: []uint32{7}, AdminGroup: 3, MaxBandwidth: 1e9}, "10.0.1.1", "10.0.1.2")
	add(Link{From: 1, To: 3, TEMetric: 1, Down: true}, "10.0.3.2", "10.0.3.4")
	add(Link{From: 1, To: 2, TEMetric: 1, SRLGs: []uint32{1}}, "10.0.6.2", "10.0.6.3")
	add(Link{From: 1, To: 2, TEMetric: 1, SRLGs: []uint32{2}}, "10.0.5.2", "10.0.5.3")
	add(Link{From: 3, To: 4, TEMetric: 1}, "10.0.9.1", "10.0.9.2")
	ted, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return ted
}

func TestComplete(t *testing.T) {
	live := square(t)
	live.links[0].SRLGs = []uint32{9}
	was := *live
	was.nodes, was.links = slices.Clone(live.nodes), slices.Clone(live.links)
	for _, addresses := range []bool{true, false} {
		got, unused := Complete(live, written(t, addresses))
		want := []string{
			`link "a-b" (a->b) at 10.0.1.1: delay 0s -> 1ms, max bandwidth 0 -> 1e+09, admin group 0 -> 3, srlgs [9] -> [7 9]`,
			`link "a-b" (b->a) at 10.0.1.2: delay 0s -> 1ms, max bandwidth 0 -> 1e+09, admin group 0 -> 3, srlgs [] -> [7]`,
			`link "b-d" (b->d) at 10.0.3.2: down false -> true`,
			`link "b-d" (d->b) at 10.0.3.4: down false -> true`,
		}
		left := []string{`"d-elsewhere" (d->elsewhere)`}
		if addresses {
			want = append(want,
				`link "b-c" (b->c) at 10.0.5.2: srlgs [] -> [2]`, `link "b-c" (c->b) at 10.0.5.3: srlgs [] -> [2]`,
				`link "b-c#2" (b->c) at 10.0.6.2: srlgs [] -> [1]`, `link "b-c#2" (c->b) at 10.0.6.3: srlgs [] -> [1]`)
			left[0] += " at 10.0.9.1"
		} else { // which of the two is meant?
			left = append([]string{`"b-c" (b->c)`, `"b-c#2" (b->c)`}, left...)
		}
		slices.Sort(want)
		if i, ok := got.NodeIndex("Amsterdam"); !ok || i != 0 || got.Version() != live.Version() {
			t.Errorf("node a has the index %d, %v, version %d", i, ok, got.Version())
		}
		if got.links[0].Name != "A-B cable" || got.links[1].Name != "A-B cable" {
			t.Errorf("the first link is %q, %q", got.links[0].Name, got.links[1].Name)
		}
		if at, ok := got.NodeByAddr(addr("10.0.1.1")); !ok || at != 0 {
			t.Errorf("the address of an interface is at node %d, %v", at, ok)
		}
		got.nodes[0].Name = "a"
		got.byName["a"] = 0
		if d := Diff(live, got); !slices.Equal(d, want) {
			t.Errorf("addresses %v: diff is\n%q, want\n%q", addresses, d, want)
		}
		if !slices.Equal(unused, left) {
			t.Errorf("addresses %v: unused are %q, want %q", addresses, unused, left)
		}
	}
	if !Equal(&was, live) {
		t.Errorf("the live topology was changed: %q", Diff(&was, live))
	}
}

// A file takes no name from a node that has it, and does not turn one into another.
func TestCompleteKeepsNodesApart(t *testing.T) {
	b := &Builder{}
	b.AddNode(Node{Name: "b", RouterID: addr("10.255.0.1")}) // a's router id, b's name
	b.AddNode(Node{Name: "c", RouterID: addr("10.9.9.9")})   // nobody's
	b.AddLink(Link{From: 0, To: 1, SRLGs: []uint32{1}})
	file, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	live := square(t)
	got, unused := Complete(live, file)
	if !Equal(live, got) || len(unused) != 1 {
		t.Errorf("diff %q, unused %q", Diff(live, got), unused)
	}
}
