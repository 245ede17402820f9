package planfile

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// square has nodes a, b, c, d in a ring and a second link from a to b.
func square(t *testing.T, addrs bool) *topology.TED {
	t.Helper()
	var b topology.Builder
	for _, n := range []string{"a", "b", "c", "d"} {
		b.AddNode(topology.Node{Name: n})
	}
	for i, e := range [][2]int{{0, 1}, {1, 2}, {2, 3}, {3, 0}, {0, 1}} {
		l := topology.Link{From: e[0], To: e[1], TEMetric: 1}
		r := topology.Link{From: e[1], To: e[0], TEMetric: 1}
		if addrs {
			l.LocalAddr = netip.AddrFrom4([4]byte{10, 0, byte(i), 1})
			l.RemoteAddr = netip.AddrFrom4([4]byte{10, 0, byte(i), 2})
			r.LocalAddr, r.RemoteAddr = l.RemoteAddr, l.LocalAddr
		}
		b.AddPair(l, r)
	}
	ted, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return ted
}

func TestParse(t *testing.T) {
	for _, addrs := range []bool{true, false} {
		in, err := Parse(square(t, addrs), "l.yaml", []byte(`
lsps:
  - {name: igp, route: [d, a], default: true}
  - {name: mpbox/lab/a-c/1, links: ["a-b#2", b-c], bandwidth: 10M}
  - {name: broken, ingress: a, egress: c, state: down}
  - {name: igp, route: [c, d], default: true}
`), "d.yaml", []byte(`{"demands": [
  {"id": "x", "from": "a", "to": "c", "slots": 3, "disjoint": "link", "strict": true, "weight": 7, "bandwidth": "1.5G",
   "lsp": {"bandwidth": 2000000, "setup_priority": 3}, "constraints": {"max_delay": "10ms", "avoid_nodes": ["d"]},
   "current": {"forward": ["mpbox/lab/a-c/1"]}},
  {"id": "y", "forward": [{"from": "a", "to": "c"}, {"from": "b", "to": "c"}], "metric": "te", "hold": true}
]}`), "", disjoint.MetricDelay)
		if err != nil {
			t.Fatal(err)
		}
		if in.Owner != "mpbox/lab/" {
			t.Errorf("owner %q: want that of the first LSP under mpbox/", in.Owner)
		}
		if name, ok := in.Default(plan.Pair{Ingress: "d", Egress: "a"}); !ok || name != "igp" {
			t.Errorf("default LSP %q", name)
		}
		l := in.LSPs[1]
		links, err := in.TED.Route(l.Ingress, l.RRO)
		if err != nil || l.Ingress != "a" || l.Egress != "c" || l.Bandwidth != 10e6 || l.Oper != topology.OperUp {
			t.Fatalf("%+v: %v", l, err)
		}
		if got := in.TED.Links()[links[0]].Name; got != "a-b#2" {
			t.Errorf("first link %s: want the parallel one", got)
		}
		if in.LSPs[2].Oper != topology.OperDown || in.LSPs[2].RRO != nil {
			t.Errorf("%+v", in.LSPs[2])
		}
		x, y := in.Demands[0], in.Demands[1]
		if len(x.Forward) != 3 || x.Reverse[2] != (plan.Pair{Ingress: "c", Egress: "a"}) || x.Level != disjoint.Link || !x.Strict || x.Weight != 7 ||
			x.Bandwidth != 1.5e9 || x.Template.Bandwidth != 2e6 || x.Template.SetupPriority != 3 || x.Template.HoldPriority != 7 ||
			x.Constraints.MaxDelay.String() != "10ms" || x.Metric != disjoint.MetricDelay || in.Current["x"].Forward[0] != l.Name {
			t.Errorf("%+v", x)
		}
		if y.Level != disjoint.NodeSRLG || y.Weight != 1 || !y.Hold || y.Metric != disjoint.MetricTE || !reflect.DeepEqual(y.Reverse, []plan.Pair{{Ingress: "c", Egress: "a"}, {Ingress: "c", Egress: "b"}}) {
			t.Errorf("%+v", y)
		}
		if _, err := plan.Plan(in); err != nil {
			t.Error(err)
		}
	}
}

// Every mistake is told with its place, and all of a file at once.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ lsps, demands, want string }{
		{"lsps:\n  - {name: x, route: [a, z]}", "", `l:2:26: lsps[0].route[1]: node "z" is not in the topology`},
		{"lsps:\n  - {name: x, route: [a, c]}", "", `l:2:26: lsps[0].route[1]: a has no link to c`},
		{"lsps:\n  - {name: x, route: [a, b]}", "", `l:2:26: lsps[0].route[1]: a and b have several links: name these in links instead of route`},
		{"lsps:\n  - {name: x, route: [a]}", "", `l:2:22: lsps[0].route: want at least two nodes`},
		{"lsps:\n  - {name: x, links: [a-b, c-d]}", "", `l:2:22: lsps[0].links: these links do not follow each other`},
		{"lsps:\n  - {name: x, links: [a-z]}", "", `l:2:23: lsps[0].links[0]: link "a-z" is not in the topology`},
		{"lsps:\n  - {name: x, links: [b-c], egress: d}", "", `l:2:37: lsps[0].egress: "d", but the route has "c" there`},
		{"lsps:\n  - {name: x}", "", "l:2:5: lsps[0].ingress is missing\nl:2:5: lsps[0].egress is missing"},
		{"lsps:\n  - {route: [b, c]}", "", `l:2:5: lsps[0].name is missing`},
		{"lsps:\n  - {name: x, route: [b, c], state: dead}", "", `l:2:37: lsps[0].state: "dead": want up, down or unknown`},
		{"lsps:\n  - {name: x, route: [b, c]}\n  - {name: x, route: [b, c]}", "", `l:3:12: lsps[1]: LSP "x" of b is there already`},
		{"lsps:\n  - {name: x, color: red}", "", `l:2:15: lsps[0]: unknown key "color": want one of name, ingress, egress, route, links, state, default, bandwidth`},
		{"lsps:\n  - {name: x, route: [b, c], bandwidth: 10Q}", "", `l:2:41: lsps[0].bandwidth: "10Q": want bit/s with or without a unit, like 100k, 20M or 1.5G`},
		{"lsps: [", "", "l:1:1: line 1: did not find expected node content"},
		{"", "", "l: is empty"},
		{"lsps: 3", "", "l:1:7: lsps: want a list"},
		{"", "demands:\n  - {id: d, from: a}", "d:2:5: demands[0].to is missing"},
		{"", "demands:\n  - {id: d, from: a, to: a}", `d:2:26: demands[0]: from and to are both "a"`},
		{"", "demands:\n  - {id: d, from: a, to: z}", `d:2:26: demands[0].to: node "z" is not in the topology`},
		{"", "demands:\n  - {from: a, to: c}", "d:2:5: demands[0].id is missing"},
		{"", "demands:\n  - {id: d, from: a, to: c}\n  - {id: d, from: a, to: c}", `d:3:10: demands[1]: demand "d" is there already`},
		{"", "demands:\n  - {id: d, from: a, to: c, disjoint: total}", `d:2:39: demands[0].disjoint: "total": want none, link, srlg, node or node-srlg`},
		{"", "demands:\n  - {id: d, from: a, to: c, metric: km}", `d:2:37: demands[0].metric: "km": want te, igp, delay or hops`},
		{"", "demands:\n  - {id: d, from: a, to: c, slots: two}", `d:2:36: demands[0].slots: want a whole number`},
		{"", "demands:\n  - {id: d, from: a, to: c, slots: 0, weight: 0}", "d:2:36: demands[0].slots: 0: want 1 to 64\nd:2:47: demands[0].weight: 0: want at least 1"},
		{"", "demands:\n  - {id: d, from: a, to: c, lsp: {setup_priority: 8}}", `d:2:51: demands[0].lsp.setup_priority: 8: want 0 to 7`},
		{"", "demands:\n  - {id: d, forward: [{from: a, to: c}], reverse: [{from: c, to: a}, {from: c, to: a}]}", `d:2:51: demands[0].reverse: 2 slots, but forward has 1: each subflow has both directions`},
		{"", "demands:\n  - {id: d, forward: [{from: a, to: c}], from: a}", `d:2:22: demands[0]: give forward, or from, to and slots, not both`},
		{"", "demands:\n  - {id: d, id: d, from: a, to: c}", `d:2:13: demands[0]: key "id" is given twice`},
		{"", "demands:\n  - {id: d, from: a, to: c, current: {forward: [x, y, z]}}", `d:2:48: demands[0].current.forward: 3 LSPs for 2 slots`},
		{"", "demands:\n  - {id: d, from: a, to: c, constraints: {avoid_nodes: [q]}}", `d:2:57: demands[0].constraints.avoid_nodes[0]: node "q" is not in the topology`},
		{"", "demands:\n  - {id: d, from: a, to: c, strict: maybe}", "d:2:37: demands[0].strict: want true or false"},
	} {
		l, d := tt.lsps, tt.demands
		if l == "" && d != "" {
			l = "lsps: []"
		}
		_, err := Parse(square(t, true), "l", []byte(l), "d", []byte(d), "", disjoint.MetricTE)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s%s:\n got %v\nwant %s", tt.lsps, tt.demands, err, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("lsps:\n  - {name: x, links: [a-b, b-c], default: true}", "demands:\n  - {id: d, from: a, to: c}")
	f.Add("lsps: [&a {name: x, route: [b, c]}, *a]", "demands:\n  - {id: d, forward: [{from: a, to: c}]}")
	f.Fuzz(func(t *testing.T, lsps, demands string) {
		in, err := Parse(square(t, false), "l", []byte(lsps), "d", []byte(demands), "", disjoint.MetricTE)
		if err != nil || len(in.Demands) > 4 {
			return
		}
		if _, err := plan.Plan(in); err != nil {
			t.Errorf("what was read cannot be planned: %v", err)
		}
	})
}
