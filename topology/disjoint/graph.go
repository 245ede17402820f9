package disjoint

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"mpbox/topology"
)

// arc is a usable link, as the search walks it.
type arc struct {
	from, to int32
	link     int32 // index in TED.Links
	risk     int32 // the same for both directions of a link
	cost     int64
	share    int64 // what an extra use adds to cost.share
	delay    time.Duration
}

// graph is the part of a TED that a query may use. Arcs are sorted by their
// from node, then by cost, then by link, so that searches are deterministic.
type graph struct {
	ted   *topology.TED
	arcs  []arc
	first []int32 // first[v]..first[v+1] are the arcs out of v
	risks int
	// srlgs of each arc as dense numbers; srlgIDs translates back.
	srlgs   [][]int32
	srlgIDs []uint32
	// twin is the arc of the opposite direction, -1 if it is not usable.
	twin []int32
	// in[v] are the arcs into v.
	in [][]int32
	// scale multiplies link costs into shares: above 1 where links of cost 0 exist,
	// so that sharing these still counts, after all that has a cost.
	scale int64
}

func newGraph(t *topology.TED, metric Metric, c *Constraints, k int) (*graph, error) {
	g := &graph{ted: t, scale: 1}
	avoid, err := nodeSet(t, c.AvoidNodes, "avoid")
	if err != nil {
		return nil, err
	}
	if c.Priority > 7 {
		return nil, fmt.Errorf("find paths: priority %d: want 0 to 7", c.Priority)
	}
	links := t.Links()
	var most int64
	dense := map[uint32]int32{}
	riskOf := make([]int32, len(links))
	for i := range links {
		l := &links[i]
		if l.Reverse >= 0 && l.Reverse < i {
			riskOf[i] = riskOf[l.Reverse]
		} else {
			riskOf[i] = int32(g.risks)
			g.risks++
		}
		if !usable(l, c) || avoid[l.From] || avoid[l.To] {
			continue
		}
		if l.Delay == 0 && (metric == MetricDelay || c.MaxDelay > 0 || c.MaxDelaySpread > 0) {
			return nil, fmt.Errorf("find paths: link %s from %s to %s: its delay is not known: give it one, or leave delay out of the question",
				l.Name, t.Nodes()[l.From].Name, t.Nodes()[l.To].Name)
		}
		a := arc{from: int32(l.From), to: int32(l.To), link: int32(i), risk: riskOf[i], delay: l.Delay, cost: linkCost(l, metric)}
		if a.cost == 0 {
			g.scale = int64(len(t.Nodes())*k + 1)
		}
		most = max(most, a.cost)
		g.arcs = append(g.arcs, a)
	}
	if float64(most)*float64(g.scale)*float64(len(t.Nodes()))*float64(k) > math.MaxInt64/4 {
		return nil, errors.New("find paths: link costs are too large to be summed")
	}
	slices.SortFunc(g.arcs, func(a, b arc) int {
		if a.from != b.from {
			return int(a.from) - int(b.from)
		}
		if a.cost != b.cost {
			if a.cost < b.cost {
				return -1
			}
			return 1
		}
		return int(a.link) - int(b.link)
	})
	g.first = make([]int32, len(t.Nodes())+1)
	g.in = make([][]int32, len(t.Nodes()))
	g.srlgs = make([][]int32, len(g.arcs))
	for i := range g.arcs {
		a := &g.arcs[i]
		a.share = a.cost * g.scale
		if a.cost == 0 {
			a.share = 1
		}
		g.first[a.from+1]++
		g.in[a.to] = append(g.in[a.to], int32(i))
		for _, s := range links[a.link].SRLGs {
			d, ok := dense[s]
			if !ok {
				d = int32(len(g.srlgIDs))
				dense[s] = d
				g.srlgIDs = append(g.srlgIDs, s)
			}
			g.srlgs[i] = append(g.srlgs[i], d)
		}
	}
	for v := range t.Nodes() {
		g.first[v+1] += g.first[v]
	}
	at := make(map[int32]int32, len(g.arcs)) // arc by link
	for i := range g.arcs {
		at[g.arcs[i].link] = int32(i)
	}
	g.twin = make([]int32, len(g.arcs))
	for i := range g.arcs {
		g.twin[i] = -1
		if r := links[g.arcs[i].link].Reverse; r >= 0 {
			if j, ok := at[int32(r)]; ok {
				g.twin[i] = j
			}
		}
	}
	return g, nil
}

func (g *graph) n() int { return len(g.in) }

func (g *graph) out(v int32) (from, to int32) { return g.first[v], g.first[v+1] }

func nodeSet(t *topology.TED, names []string, what string) (map[int]bool, error) {
	set := make(map[int]bool, len(names))
	for _, name := range names {
		n, ok := t.NodeIndex(name)
		if !ok {
			return nil, fmt.Errorf("find paths: %s node %q: it is not in the topology", what, name)
		}
		set[n] = true
	}
	return set, nil
}

// usable tells whether a path may use a link (RFC 3209, section 4.7.4, for the
// admin groups).
func usable(l *topology.Link, c *Constraints) bool {
	return !l.Down &&
		l.AdminGroup&c.ExcludeAny == 0 &&
		(c.IncludeAny == 0 || l.AdminGroup&c.IncludeAny != 0) &&
		l.AdminGroup&c.IncludeAll == c.IncludeAll &&
		(c.Bandwidth == 0 || l.Unreserved[c.Priority&7] >= c.Bandwidth)
}

// linkCost is a link's cost in a metric.
func linkCost(l *topology.Link, m Metric) int64 {
	switch m {
	case MetricIGP:
		return int64(l.IGPMetric)
	case MetricDelay:
		return l.Delay.Microseconds()
	case MetricHops:
		return 1
	}
	return int64(l.TEMetric)
}
