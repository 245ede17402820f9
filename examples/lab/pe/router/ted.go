package router

import (
	"fmt"
	"math"
	"net/netip"
	"slices"

	"mpbox/examples/lab/fabric"
)

// Edge is one direction of a core link, as the IGP floods it.
type Edge struct {
	Link       string
	From, To   int // indexes into TED.Nodes
	Local      netip.Addr
	Remote     netip.Addr
	Interface  string // From's name of its interface
	TE, IGP    uint32
	AdminGroup uint32
	SRLGs      []uint32
	Kbps       uint32 // capacity, all of it reservable
}

// TED is the traffic engineering database: the provider network without the
// state of its links. It never changes.
type TED struct {
	Nodes []fabric.Router
	Edges []Edge
	Out   [][]int // indexes into Edges, by Nodes

	byAddr map[netip.Addr]int // router ids and interface addresses
	byName map[string]int
}

func newTED(n fabric.Node) (*TED, error) {
	t := &TED{Nodes: n.Nodes, Out: make([][]int, len(n.Nodes)), byAddr: map[netip.Addr]int{}, byName: map[string]int{}}
	for i, r := range n.Nodes {
		t.byName[r.Name], t.byAddr[r.RouterID] = i, i
	}
	for _, l := range n.Links {
		for _, at := range []string{l.A.Node, l.B.Node} {
			near, far, _ := l.End(at)
			from, ok1 := t.byName[near.Node]
			to, ok2 := t.byName[far.Node]
			if !ok1 || !ok2 {
				return nil, fmt.Errorf("read topology: link %s ends at an unknown router", l.Name)
			}
			t.Out[from] = append(t.Out[from], len(t.Edges))
			t.byAddr[near.Address.Addr()] = from
			t.Edges = append(t.Edges, Edge{
				Link: l.Name, From: from, To: to, Interface: near.Interface,
				Local: near.Address.Addr(), Remote: far.Address.Addr(),
				TE: l.TEMetric, IGP: l.IGPMetric, AdminGroup: l.AdminGroup, SRLGs: l.SRLGs,
				Kbps: uint32(min(l.RateBPS/1000, math.MaxUint32)),
			})
		}
	}
	return t, nil
}

// Node gives the index of the router that has the address, -1 if none has.
func (t *TED) Node(a netip.Addr) int {
	if i, ok := t.byAddr[a]; ok {
		return i
	}
	return -1
}

// hop is a hop of an explicit route.
type hop struct {
	Addr    netip.Addr
	Loose   bool
	Exclude bool
}

// constraints of a path computation.
type constraints struct {
	IncludeAny, IncludeAll, ExcludeAny uint32
	Kbps                               uint32
	Setup                              uint8
}

// linkState is what a path computation sees of the links at one time.
type linkState struct {
	up func(link string) bool
	// free is the bandwidth in kbit/s that a setup priority can have on an edge.
	free func(edge int, prio uint8) uint32
}

func (t *TED) usable(e int, c constraints, s linkState) bool {
	g := t.Edges[e].AdminGroup
	return s.up(t.Edges[e].Link) &&
		(c.IncludeAny == 0 || g&c.IncludeAny != 0) && g&c.IncludeAll == c.IncludeAll && g&c.ExcludeAny == 0 &&
		(c.Kbps == 0 || s.free(e, c.Setup) >= c.Kbps)
}

// explicit walks an explicit route from one router to another: a strict hop is
// the next router by one link, a loose one may be anywhere (RFC 3209, section
// 4.3.4). The words of errors are IOS's.
func (t *TED) explicit(from, to int, hops []hop, c constraints, s linkState) ([]int, error) {
	var path []int
	cur, out := from, -1 // out: the outgoing link that the route demands
	seen := map[int]bool{from: true}
	excluded := t.excluded(hops)
	loose := false
	for _, h := range hops {
		if h.Exclude {
			continue
		}
		loose = loose || h.Loose
		next := t.Node(h.Addr)
		switch {
		case next < 0:
			return nil, saidf("Explicit path has unknown address, %s", h.Addr)
		case next == cur:
			out = t.outgoing(cur, h.Addr, path)
			continue
		case h.Loose:
			leg, ok := t.shortest(cur, next, seen, excluded, c, s)
			if !ok {
				return nil, noPath(t.Nodes[to].RouterID, "loose hop unreachable")
			}
			path = append(path, leg...)
		default:
			e := t.adjacent(cur, next, h.Addr, out, c, s)
			if e < 0 {
				return nil, saidf("Can't reach %s on %s, from node %s", h.Addr, t.Nodes[next].RouterID, t.Nodes[cur].RouterID)
			}
			if seen[next] {
				return nil, noPath(t.Nodes[to].RouterID, "loop")
			}
			path = append(path, e)
		}
		out = -1
		for _, e := range path {
			seen[t.Edges[e].To] = true
		}
		cur = next
	}
	if cur == to {
		return path, nil
	}
	if !loose && len(path) > 0 {
		return nil, noPath(t.Nodes[to].RouterID, "explicit path ends at "+t.Nodes[cur].RouterID.String())
	}
	leg, ok := t.shortest(cur, to, seen, excluded, c, s)
	if !ok {
		return nil, noPath(t.Nodes[to].RouterID, "unreachable")
	}
	return append(path, leg...), nil
}

// said is an error in the router's own words.
type said string

func (s said) Error() string { return string(s) }

func saidf(format string, a ...any) error { return said(fmt.Sprintf(format, a...)) }

func noPath(dest netip.Addr, why string) error {
	return saidf("No path to destination, %s (%s)", dest, why)
}

// outgoing gives the link of router cur with that local address, unless it is
// the one that was just taken to cur: then the address only names the router.
func (t *TED) outgoing(cur int, a netip.Addr, path []int) int {
	if len(path) > 0 && t.Edges[path[len(path)-1]].Remote == a {
		return -1
	}
	for _, e := range t.Out[cur] {
		if t.Edges[e].Local == a {
			return e
		}
	}
	return -1
}

// adjacent gives the best link from cur to next that is entered by the address,
// or any link where the address is next's router id.
func (t *TED) adjacent(cur, next int, a netip.Addr, out int, c constraints, s linkState) int {
	best := -1
	for _, e := range t.Out[cur] {
		ed := t.Edges[e]
		if ed.To != next || !t.usable(e, c, s) || (out >= 0 && e != out) {
			continue
		}
		if a != t.Nodes[next].RouterID && a != ed.Remote {
			continue
		}
		if best < 0 || ed.TE < t.Edges[best].TE {
			best = e
		}
	}
	return best
}

// exclusion is what exclude-address hops forbid: routers and links.
type exclusion struct{ nodes, edges map[int]bool }

func (t *TED) excluded(hops []hop) exclusion {
	x := exclusion{map[int]bool{}, map[int]bool{}}
	for _, h := range hops {
		n := t.Node(h.Addr)
		if !h.Exclude || n < 0 {
			continue
		}
		if t.Nodes[n].RouterID == h.Addr {
			x.nodes[n] = true
			continue
		}
		for i, e := range t.Edges {
			if e.Local == h.Addr || e.Remote == h.Addr {
				x.edges[i] = true
			}
		}
	}
	return x
}

// shortest is Dijkstra by TE metric; equal paths are told apart by their number
// of hops, then by the order of links, so that the answer is always the same.
func (t *TED) shortest(from, to int, avoid map[int]bool, x exclusion, c constraints, s linkState) ([]int, bool) {
	type label struct {
		cost uint64
		hops int
		via  int
	}
	best := make([]label, len(t.Nodes))
	done := make([]bool, len(t.Nodes))
	for i := range best {
		best[i] = label{math.MaxUint64, 0, -1}
	}
	best[from] = label{0, 0, -1}
	for {
		n := -1
		for i, b := range best {
			if !done[i] && b.cost < math.MaxUint64 && (n < 0 || b.cost < best[n].cost || b.cost == best[n].cost && b.hops < best[n].hops) {
				n = i
			}
		}
		if n < 0 {
			return nil, false
		}
		if n == to {
			break
		}
		done[n] = true
		for _, e := range t.Out[n] {
			ed := t.Edges[e]
			if avoid[ed.To] || x.nodes[ed.To] || x.edges[e] || !t.usable(e, c, s) {
				continue
			}
			cost, hops := best[n].cost+uint64(ed.TE), best[n].hops+1
			if b := best[ed.To]; cost < b.cost || cost == b.cost && (hops < b.hops || hops == b.hops && e < b.via) {
				best[ed.To] = label{cost, hops, e}
			}
		}
	}
	var path []int
	for n := to; n != from; n = t.Edges[best[n].via].From {
		path = append(path, best[n].via)
	}
	slices.Reverse(path)
	return path, true
}
