package importer

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"time"

	"mpbox/topology"
)

// rawGraph is what graph formats (GML, GraphML, node-link JSON) have in common:
// nodes and edges with attributes that may or may not be there.
type rawGraph struct {
	nodes []rawNode
	edges []rawEdge
}

type rawNode struct {
	id, label string
	attrs     map[string]string
	where     string // place in the file
}

type rawEdge struct {
	from, to string // node ids
	directed bool
	attrs    map[string]string
	where    string
}

// names gives each node its name: its label, or its id where labels are missing
// or repeat. A label that is the id of a node named by its id gives way too.
func (g *rawGraph) names() []string {
	names := make([]string, len(g.nodes))
	byID := make([]bool, len(g.nodes))
	for again := true; again; {
		again = false
		count := map[string]int{}
		for i, n := range g.nodes {
			names[i] = n.label
			if byID[i] || n.label == "" {
				byID[i], names[i] = true, n.id
			}
			count[names[i]]++
		}
		for i := range g.nodes {
			if count[names[i]] > 1 && !byID[i] {
				byID[i], again = true, true
			}
		}
	}
	return names
}

func (p *parser) build(g *rawGraph) (*topology.TED, error) {
	b := &topology.Builder{}
	index := make(map[string]int, len(g.nodes))
	names := g.names()
	for i, n := range g.nodes {
		if _, dup := index[n.id]; dup {
			return nil, p.fail(n.where, "node id %q is given twice", n.id)
		}
		node := topology.Node{Name: names[i]}
		if s := n.attrs["router_id"]; s != "" {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return nil, p.fail(n.where, "node %s: router_id %q: want an IP address", names[i], s)
			}
			node.RouterID = a
		}
		index[n.id] = b.AddNode(node)
	}
	for i := range g.edges {
		e := &g.edges[i]
		from, ok := index[e.from]
		if !ok {
			return nil, p.fail(e.where, "edge %d: its source %q is no node", i+1, e.from)
		}
		to, ok := index[e.to]
		if !ok {
			return nil, p.fail(e.where, "edge %d: its target %q is no node", i+1, e.to)
		}
		label := names[from] + "-" + names[to]
		if from == to {
			p.note("edge %d %s: it leads to where it begins: left out", i+1, label)
			continue
		}
		l, err := e.link()
		if err != nil {
			return nil, p.fail(e.where, "edge %d %s: %w", i+1, label, err)
		}
		l.From, l.To = from, to
		if e.directed {
			b.AddLink(l)
			continue
		}
		back := l
		back.From, back.To = to, from
		b.AddPair(l, back)
	}
	t, err := b.Build()
	if err != nil {
		return nil, p.fail("", "%w", err)
	}
	return t, nil
}

// link reads the attributes of an edge.
func (e *rawEdge) link() (topology.Link, error) {
	l := topology.Link{TEMetric: 1}
	fail := func(key string, err error) (topology.Link, error) {
		return topology.Link{}, fmt.Errorf("%s %w", key, err)
	}
	var err error
	for _, key := range []string{"weight", "metric"} { // metric wins
		if s, ok := e.attrs[key]; ok {
			if l.TEMetric, err = parseMetric(s); err != nil {
				return fail(key, err)
			}
		}
	}
	l.IGPMetric = l.TEMetric
	if s, ok := e.attrs["igp_metric"]; ok {
		if l.IGPMetric, err = parseMetric(s); err != nil {
			return fail("igp_metric", err)
		}
	}
	if s, ok := e.attrs["delay"]; ok {
		d, err := parseDelay(s)
		if err != nil {
			return topology.Link{}, err
		}
		l.Delay = time.Duration(d)
	} else if s, ok := e.attrs["dist"]; ok { // kilometres
		if km, err := strconv.ParseFloat(s, 64); err == nil {
			l.Delay = distanceDelay(km)
		}
	}
	for _, key := range []string{"LinkSpeedRaw", "bandwidth"} { // bit/s
		s, ok := e.attrs[key]
		if !ok {
			continue
		}
		r, err := ParseRate(s)
		if err != nil {
			return topology.Link{}, err
		}
		setBandwidth(&l, float64(r))
	}
	if s, ok := e.attrs["srlgs"]; ok {
		if l.SRLGs, err = parseSRLGs(s); err != nil {
			return fail("srlgs", err)
		}
	}
	if s, ok := e.attrs["admin_group"]; ok {
		v, err := strconv.ParseUint(s, 0, 32)
		if err != nil {
			return topology.Link{}, fmt.Errorf("admin_group %q: want a mask of 32 bits", s)
		}
		l.AdminGroup = uint32(v)
	}
	if s, ok := e.attrs["down"]; ok {
		if l.Down, err = parseFlag(s); err != nil {
			return fail("down", err)
		}
	}
	return l, nil
}

// setBandwidth makes all of a link's bandwidth reservable at every priority.
func setBandwidth(l *topology.Link, bps float64) {
	l.MaxBandwidth, l.MaxReservable = bps, bps
	for i := range l.Unreserved {
		l.Unreserved[i] = bps
	}
}

// greatCircle is the distance in kilometres of two places in degrees.
func greatCircle(lon1, lat1, lon2, lat2 float64) float64 {
	const rad, radius = math.Pi / 180, 6371
	sin := func(x float64) float64 { s := math.Sin(x / 2); return s * s }
	h := sin((lat2-lat1)*rad) + math.Cos(lat1*rad)*math.Cos(lat2*rad)*sin((lon2-lon1)*rad)
	return 2 * radius * math.Asin(math.Sqrt(min(1, h)))
}
