package plan

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"mpbox/topology"
)

// testNet makes a TED of undirected links "A-B" or "A-B cost=3 cap=10 ms=5 srlg=7 down".
// Capacities are in Mbit/s. Every interface has an address.
func testNet(t testing.TB, links ...string) *topology.TED {
	t.Helper()
	var b topology.Builder
	index := map[string]int{}
	node := func(name string) int {
		i, ok := index[name]
		if !ok {
			i = b.AddNode(topology.Node{Name: name, RouterID: netip.AddrFrom4([4]byte{10, 255, byte(len(index) >> 8), byte(len(index) + 1)})})
			index[name] = i
		}
		return i
	}
	for n, s := range links {
		f := strings.Fields(s)
		ends := strings.Split(f[0], "-")
		l := topology.Link{TEMetric: 1, IGPMetric: 1, Name: f[0]}
		for _, o := range f[1:] {
			k, v, _ := strings.Cut(o, "=")
			x, _ := strconv.Atoi(v)
			switch k {
			case "cost":
				l.TEMetric = uint32(x)
			case "cap":
				l.MaxBandwidth, l.MaxReservable = float64(x)*1e6, float64(x)*1e6
				for i := range l.Unreserved {
					l.Unreserved[i] = l.MaxReservable
				}
			case "srlg":
				l.SRLGs = append(l.SRLGs, uint32(x))
			case "ms":
				l.Delay = time.Duration(x) * time.Millisecond
			case "down":
				l.Down = true
			case "name":
				l.Name = v
			default:
				t.Fatalf("link %q: unknown %q", s, k)
			}
		}
		l.From, l.To = node(ends[0]), node(ends[1])
		l.LocalAddr = netip.AddrFrom4([4]byte{10, 0, byte(n >> 7), byte(n<<1) & 255})
		l.RemoteAddr = l.LocalAddr.Next()
		r := l
		r.From, r.To, r.LocalAddr, r.RemoteAddr = l.To, l.From, l.RemoteAddr, l.LocalAddr
		b.AddPair(l, r)
	}
	ted, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return ted
}

// lspOver makes an LSP that is up over the nodes of "A B C".
func lspOver(t testing.TB, ted *topology.TED, name, nodes string) topology.LSP {
	t.Helper()
	f := strings.Fields(nodes)
	var links []int
	for i := range f[1:] {
		found := -1
		for li, l := range ted.Links() {
			if ted.Nodes()[l.From].Name == f[i] && ted.Nodes()[l.To].Name == f[i+1] {
				found = li
			}
		}
		if found < 0 {
			t.Fatalf("no link %s-%s", f[i], f[i+1])
		}
		links = append(links, found)
	}
	return topology.LSP{Name: name, Ingress: f[0], Egress: f[len(f)-1], RRO: ted.ERO(links), AdminUp: true, Oper: topology.OperUp}
}

// nodesOf gives the nodes that an LSP passes: "A B C".
func nodesOf(t testing.TB, ted *topology.TED, l topology.LSP) string {
	t.Helper()
	hops := l.RRO
	if len(hops) == 0 {
		hops = l.ERO
	}
	links, err := ted.Route(l.Ingress, hops)
	if err != nil {
		t.Fatal(err)
	}
	s := l.Ingress
	for _, li := range links {
		s += " " + ted.Nodes()[ted.Links()[li].To].Name
	}
	return s
}

// apply gives the input that holds once a result has been carried out.
func apply(in Input, res Result) Input {
	out := in
	out.LSPs = nil
	gone := map[topology.LSPKey]bool{}
	for _, id := range res.Release {
		gone[id] = true
	}
	for _, l := range in.LSPs {
		if !gone[l.Key()] {
			out.LSPs = append(out.LSPs, l)
		}
	}
	for _, l := range res.Signal {
		l.Oper, l.RRO = topology.OperUp, l.ERO
		out.LSPs = append(out.LSPs, l)
	}
	out.Current = map[string]Assignment{}
	for _, o := range res.Demands {
		out.Current[o.ID] = o.Assignment
	}
	return out
}

// routesOf gives for each slot the nodes its LSP passes, "" for none.
func routesOf(t testing.TB, in Input, res Result, names []string) []string {
	t.Helper()
	all := map[string]topology.LSP{}
	for _, l := range append(append([]topology.LSP{}, in.LSPs...), res.Signal...) {
		all[l.Name] = l
	}
	out := make([]string, len(names))
	for i, name := range names {
		if name == "" {
			continue
		}
		l, ok := all[name]
		if !ok {
			t.Fatalf("slot %d: LSP %q is neither there nor signalled", i, name)
		}
		out[i] = nodesOf(t, in.TED, l)
	}
	return out
}

func pairs(s ...string) []Pair {
	var out []Pair
	for _, p := range s {
		a, b, _ := strings.Cut(p, ">")
		out = append(out, Pair{a, b})
	}
	return out
}

func demand(id string, n int, from, to string) Demand {
	d := Demand{ID: id, VPN: "red", Policy: "default", Weight: 1}
	for range n {
		d.Forward = append(d.Forward, Pair{from, to})
		d.Reverse = append(d.Reverse, Pair{to, from})
	}
	return d
}

func mustPlan(t testing.TB, in Input) Result {
	t.Helper()
	res, err := Plan(in)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func show(res Result) string {
	var b strings.Builder
	for _, o := range res.Demands {
		fmt.Fprintf(&b, "%+v\n", o)
	}
	for _, l := range res.Signal {
		fmt.Fprintf(&b, "signal %s %v\n", l.Name, l.ERO)
	}
	fmt.Fprintf(&b, "release %v\n", res.Release)
	return b.String()
}
