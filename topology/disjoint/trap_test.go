package disjoint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mpbox/topology"
)

// network builds a TED of lines "A-B cost [srlg…]"; "A>B" is one way.
func network(t *testing.T, lines string) *topology.TED {
	t.Helper()
	b := &topology.Builder{}
	index := map[string]int{}
	node := func(name string) int {
		i, ok := index[name]
		if !ok {
			i = b.AddNode(topology.Node{Name: name})
			index[name] = i
		}
		return i
	}
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		from, to, both := strings.Cut(f[0], "-")
		if !both {
			from, to, _ = strings.Cut(f[0], ">")
		}
		l := topology.Link{From: node(from), To: node(to)}
		var n uint32
		for i, s := range f[1:] {
			if _, err := fmt.Sscan(s, &n); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				l.TEMetric, l.IGPMetric, l.Delay = n, n, time.Duration(n)*time.Millisecond
			} else {
				l.SRLGs = append(l.SRLGs, n)
			}
		}
		back := l
		back.From, back.To = l.To, l.From
		if both {
			b.AddPair(l, back)
		} else {
			b.AddOneWay(l)
		}
	}
	ted, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return ted
}

// ways writes paths as names of nodes.
func ways(ted *topology.TED, r Result) []string {
	var s []string
	for _, p := range r.Paths {
		w := ted.Nodes()[ted.Links()[p.Links[0]].From].Name
		for _, l := range p.Links {
			w += ted.Nodes()[ted.Links()[l].To].Name
		}
		s = append(s, w)
	}
	return s
}

func TestTraps(t *testing.T) {
	for name, c := range map[string]struct {
		net      string
		q        Query
		want     []string // paths
		achieved Level
		shared   string
	}{
		"the shortest path blocks every other": {
			// Without A-C-D-B there is no second path; A-C-B and A-D-B are disjoint.
			net:  "A-C 1\nC-D 1\nD-B 1\nA-D 4\nC-B 4",
			q:    Query{K: 2, Level: Link, Strict: true},
			want: []string{"ACB", "ADB"}, achieved: Link,
		},
		"the shortest path blocks every other, in nodes": {
			net:  "A-C 1\nC-D 1\nD-B 1\nA-D 4\nC-B 4\nA-E 9\nE-B 9",
			q:    Query{K: 2, Level: Node, Strict: true},
			want: []string{"ACB", "ADB"}, achieved: Node,
		},
		"link-disjoint is not node-disjoint": {
			net:  "A-C 1\nA-C 1\nC-B 1\nC-B 1\nA-D 9\nD-B 9",
			q:    Query{K: 2, Level: Link},
			want: []string{"ACB", "ACB"}, achieved: Link, shared: "[C] [] []",
		},
		"node-disjoint where asked for": {
			net:  "A-C 1\nA-C 1\nC-B 1\nC-B 1\nA-D 9\nD-B 9",
			q:    Query{K: 2, Level: Node},
			want: []string{"ACB", "ADB"}, achieved: Node,
		},
		"two links in one duct": {
			net:  "A-C 1 7\nC-B 1\nA-D 2 7\nD-B 2\nA-E 5\nE-B 5",
			q:    Query{K: 2, Level: SRLG, Strict: true},
			want: []string{"ACB", "AEB"}, achieved: SRLG,
		},
		"the shortest path is in a duct with every other": {
			// A-C-B meets both others in a duct; these do not meet.
			net:  "A-C 1 7\nC-B 1 8\nA-D 3 7\nD-B 3\nA-E 4\nE-B 4 8",
			q:    Query{K: 2, Level: NodeSRLG, Strict: true},
			want: []string{"ADB", "AEB"}, achieved: NodeSRLG,
		},
		"the third path must not reuse the first": {
			// After ACB and ADB, greedily the cheapest third path is ACB's links again.
			net:  "A-C 1\nC-B 1\nA-D 2\nD-B 2\nA-E 50\nE-B 50\nC-D 1",
			q:    Query{K: 3, Level: Link, Strict: true},
			want: []string{"ACB", "ADB", "AEB"}, achieved: Link,
		},
		"the third path is distinct where only two are disjoint": {
			net:  "A-C 1\nC-B 1\nA-D 2\nD-B 2\nC-D 1",
			q:    Query{K: 3, Level: Link},
			want: []string{"ACB", "ADB", "ACDB"}, achieved: None, shared: "[C D] [A-C D-B] []",
		},
		"the two directions of a link are one risk": {
			// A-C-D-B and A-D-C-B would be disjoint if they were not.
			net:  "A-C 1\nC>D 1\nD-B 1\nA-D 1\nC-B 1\nC-D 1",
			q:    Query{K: 2, Level: Link, Strict: true},
			want: []string{"ACB", "ADB"}, achieved: Link,
		},
		"only a bridge is shared": {
			net:  "A-C 1\nA-C 2\nC-D 5\nD-B 1\nD-E 1\nE-B 1",
			q:    Query{K: 2, Level: Link},
			want: []string{"ACDB", "ACDEB"}, achieved: None, shared: "[C D] [C-D] []",
		},
		"of two detours the one that shares the cheaper link": {
			net:  "A-C 5\nA-C 1\nC-D 9\nC-E 2\nE-D 2\nD-B 3",
			q:    Query{K: 2, Level: Link},
			want: []string{"ACEDB", "ACDB"}, achieved: None, shared: "[C D] [D-B] []",
		},
		"fewer shared nodes before fewer shared links": {
			// By F both links and one node are shared; by C and D two nodes.
			net:  "A-C 1\nA-C 1\nC-D 1\nC-D 1\nD-B 1\nD-B 1\nA-F 1\nF-B 1\nF-B 1",
			q:    Query{K: 2, Level: Node},
			want: []string{"AFB", "ACDB"}, achieved: Node,
		},
		"links of cost 0 are not shared for nothing": {
			net:  "A-C 0\nC-B 0\nA-D 7\nD-B 7\nA-C 3",
			q:    Query{K: 2, Level: Link, Strict: true},
			want: []string{"ACB", "ADB"}, achieved: Link,
		},
		"parallel links": {
			net:  "A-B 5\nA-B 6\nA-C 1\nC-B 1",
			q:    Query{K: 3, Level: NodeSRLG, Strict: true},
			want: []string{"ACB", "AB", "AB"}, achieved: NodeSRLG,
		},
		"one way": {
			net:  "A>C 1\nB>C 1\nA>D 1\nD>B 1\nC>E 1\nE>B 1",
			q:    Query{K: 2, Level: Node, Strict: true},
			want: []string{"ADB", "ACEB"}, achieved: Node,
		},
		"the k shortest": {
			net:  "A-C 1\nC-B 1\nA-D 2\nD-B 2\nC-D 0",
			q:    Query{K: 4, Level: None},
			want: []string{"ACB", "ACDB", "ADCB", "ADB"}, achieved: None, shared: "[C D] [A-C A-D C-B C-D D-B] []",
		},
	} {
		t.Run(name, func(t *testing.T) {
			ted := network(t, c.net)
			c.q.From, c.q.To = []string{"A"}, []string{"B"}
			r, err := Find(ted, c.q)
			if err != nil {
				t.Fatal(err)
			}
			got := ways(ted, r)
			if !slices.Equal(got, c.want) || r.Achieved != c.achieved || !r.Exact {
				t.Errorf("%v %s exact=%v, want %v %s", got, r.Achieved, r.Exact, c.want, c.achieved)
			}
			if c.shared == "" {
				return
			}
			if s := fmt.Sprint(r.Shared.Nodes, r.Shared.Links, r.Shared.SRLGs); s != c.shared {
				t.Errorf("shared %s, want %s", s, c.shared)
			}
		})
	}
}

func TestNoPaths(t *testing.T) {
	ring := "A-C 1\nC-B 1\nB-D 1\nD-A 1"
	for name, c := range map[string]struct {
		net  string
		q    Query
		want error
		says string
	}{
		"a ring has two":        {ring, Query{K: 3, Level: Link}, ErrTooFew, "from A to B: fewer paths"},
		"a ring has two, plain": {ring, Query{K: 3}, ErrTooFew, "2 of 3"},
		"apart":                 {"A-C 1\nD-B 1", Query{K: 1, Level: Link}, ErrTooFew, "there is no path"},
		"the wrong way":         {"B>A 1", Query{K: 1, Level: Link}, ErrTooFew, "there is no path"},
		"strict":                {"A-C 1\nC-B 1\nC-B 2", Query{K: 2, Level: Link, Strict: true}, ErrStrict, "links [A-C]"},
		"strict srlg":           {"A-C 1\nC-B 1 4\nA-D 1\nD-B 1 4", Query{K: 2, Level: SRLG, Strict: true}, ErrStrict, "SRLGs [4]"},
		"hops":                  {ring, Query{K: 1, Level: Link, Constraints: Constraints{MaxHops: 1}}, ErrTooFew, "within the constraints"},
		"spread":                {"A-C 1\nC-B 1\nA-D 9\nD-B 9", Query{K: 2, Level: Link, Constraints: Constraints{MaxDelaySpread: time.Millisecond}}, ErrTooFew, "constraints"},
		"unknown":               {ring, Query{K: 1, To: []string{"X"}}, nil, `node "X" is not in the topology`},
		"to itself":             {ring, Query{K: 1, To: []string{"A"}}, nil, `both "A"`},
		"none":                  {ring, Query{}, nil, "cannot find 0 paths"},
		"avoid an end":          {ring, Query{K: 1, Constraints: Constraints{AvoidNodes: []string{"B"}}}, nil, "is an end"},
		"avoid unknown":         {ring, Query{K: 1, Constraints: Constraints{AvoidNodes: []string{"X"}}}, nil, `"X"`},
		"require unknown":       {ring, Query{K: 1, Constraints: Constraints{RequireNodes: []string{"X"}}}, nil, `"X"`},
		"ends do not match":     {ring, Query{From: []string{"A", "C", "D"}, To: []string{"B", "D"}}, nil, "3 ingress nodes do not match 2"},
		"no delay":              {"A-C 1\nC-B 0", Query{K: 1, Metric: MetricDelay}, nil, "link C-B from C to B: its delay is not known"},
		"no delay, bounded":     {"A-C 1\nC-B 0", Query{K: 1, Constraints: Constraints{MaxDelay: 1}}, nil, "link C-B"},
		"priority":              {ring, Query{K: 1, Constraints: Constraints{Priority: 8}}, nil, "priority 8"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.q.From == nil {
				c.q.From = []string{"A"}
			}
			if c.q.To == nil {
				c.q.To = []string{"B"}
			}
			r, err := Find(network(t, c.net), c.q)
			if err == nil {
				t.Fatalf("found %+v", r)
			}
			if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v: want %v saying %q", err, c.want, c.says)
			}
		})
	}
}

func TestSeveralEnds(t *testing.T) {
	// The client is homed at A and D; by default both meet at C.
	ted := network(t, "A-C 1\nD-C 1\nC-B 1\nA-E 2\nD-E 2\nE-B 2")
	r, err := Find(ted, Query{From: []string{"A", "D"}, To: []string{"B"}, Level: Node, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := ways(ted, r); !slices.Equal(got, []string{"ACB", "DEB"}) && !slices.Equal(got, []string{"AEB", "DCB"}) {
		t.Errorf("from both: %v", got)
	}
	r, err = Find(ted, Query{From: []string{"B"}, To: []string{"D", "A"}, Level: Node, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := ways(ted, r); r.Cost != 6 || got[0][len(got[0])-1] != 'D' || got[1][len(got[1])-1] != 'A' {
		t.Errorf("to both: %v", got)
	}
	// A path through the other ingress shares it: if that fails, so do both.
	ted = network(t, "A-D 1\nD-B 1\nD-B 2\nA-E 9\nE-B 9")
	r, err = Find(ted, Query{From: []string{"A", "D"}, To: []string{"B"}, Level: Node})
	if err != nil {
		t.Fatal(err)
	}
	if got := ways(ted, r); !slices.Equal(got, []string{"AEB", "DB"}) || r.Achieved != Node {
		t.Errorf("not through the other ingress: %v %s", got, r.Achieved)
	}
}

func TestDeterministic(t *testing.T) {
	ted := network(t, "A-C 1\nC-B 1\nA-D 1\nD-B 1\nA-E 1\nE-B 1\nA-F 1\nF-B 1\nC-D 1\nE-F 1")
	for _, level := range []Level{None, Link, SRLG, Node, NodeSRLG} {
		q := Query{From: []string{"A"}, To: []string{"B"}, K: 3, Level: level}
		first, err := Find(ted, q)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if r, err := Find(ted, q); err != nil || fmt.Sprint(r) != fmt.Sprint(first) {
				t.Fatalf("%s: %v, then %v", level, first, r)
			}
		}
	}
}

func TestLevels(t *testing.T) {
	for _, l := range []Level{None, Link, SRLG, Node, NodeSRLG} {
		text, _ := l.MarshalText()
		var back Level
		if err := back.UnmarshalText(text); err != nil || back != l {
			t.Errorf("%s is read as %v, %v", text, back, err)
		}
	}
	if err := new(Level).UnmarshalText([]byte("diverse")); err == nil {
		t.Error("an unknown level is read")
	}
	// Rows: what a set has; columns: what was asked for.
	for has, want := range map[Level][]Level{
		None:     {None, None, None, None, None},
		Link:     {None, Link, Link, Link, Link},
		SRLG:     {None, Link, SRLG, Link, SRLG},
		Node:     {None, Link, Link, Node, Node},
		NodeSRLG: {None, Link, SRLG, Node, NodeSRLG},
	} {
		for asked, w := range want {
			if got := capped(has, Level(asked)); got != w {
				t.Errorf("has %s, asked for %s: %s, want %s", has, Level(asked), got, w)
			}
		}
	}
}
