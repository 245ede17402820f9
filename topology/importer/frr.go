package importer

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"mpbox/topology"
)

// frrTED is what FRR prints for "show ip ospf mpls-te database json" and "show
// isis mpls-te database json". Bandwidths are in bytes/s, delays in microseconds.
type frrTED struct {
	TED struct {
		Vertices []frrVertex `json:"vertices"`
		Edges    []frrEdge   `json:"edges"`
	} `json:"ted"`
}

type frrVertex struct {
	ID       json.Number `json:"vertex-id"`
	Status   string      `json:"status"`
	Name     string      `json:"name"`
	RouterID string      `json:"router-id"`
}

type frrEdge struct {
	ID     any         `json:"edge-id"` // a number, or text in later versions
	Status string      `json:"status"`
	Local  json.Number `json:"local-vertex-id"`
	Remote json.Number `json:"remote-vertex-id"`
	Metric json.Number `json:"metric"`
	Attrs  struct {
		TEMetric   json.Number `json:"te-metric"`
		AdminGroup json.Number `json:"admin-group"`
		LocalAddr  string      `json:"local-address"`
		RemoteAddr string      `json:"remote-address"`
		LocalAddr6 string      `json:"local-address-v6"`
		RemAddr6   string      `json:"remote-address-v6"`
		LocalID    json.Number `json:"local-identifier"`
		RemoteID   json.Number `json:"remote-identifier"`

		MaxBW      *float64             `json:"max-link-bandwidth"`
		MaxResvBW  *float64             `json:"max-resv-link-bandwidth"`
		Unreserved []map[string]float64 `json:"unreserved-bandwidth"`
		Delay      json.Number          `json:"delay"`
		MinDelay   json.Number          `json:"min-delay"`
		SRLGs      *[]json.RawMessage   `json:"srlgs"`
	} `json:"edge-attributes"`
}

func (p *parser) frr(data []byte) (*topology.TED, error) {
	var doc frrTED
	if err := p.json(data, &doc); err != nil {
		return nil, err
	}
	b := &topology.Builder{TwoWay: true}
	index, err := p.frrNodes(b, doc.TED.Vertices)
	if err != nil {
		return nil, err
	}
	for i := range doc.TED.Edges {
		e := &doc.TED.Edges[i]
		label := "edge " + strconv.Itoa(i+1)
		if s, ok := plain(e.ID); ok {
			label = "edge " + s
		}
		from, ok1 := index[e.Local.String()]
		to, ok2 := index[e.Remote.String()]
		if !ok1 || !ok2 || e.Remote == "" || e.Remote == "0" {
			// One end has not been heard of yet, or no more.
			p.note("%s: an end of it is unknown: left out", label)
			continue
		}
		if from == to {
			p.note("%s: it leads to where it begins: left out", label)
			continue
		}
		l, err := p.frrLink(e, label)
		if err != nil {
			return nil, err
		}
		l.From, l.To = from, to
		b.AddLink(l)
	}
	t, err := b.Build()
	if err != nil {
		return nil, p.fail("", "%w", err)
	}
	return t, nil
}

// frrNodes names routers by their host name; by their router id, or at last their
// number, where names are missing or repeat (OSPF has none).
func (p *parser) frrNodes(b *topology.Builder, vertices []frrVertex) (map[string]int, error) {
	g := &rawGraph{}
	for i, v := range vertices {
		if v.ID == "" {
			return nil, p.fail("", "vertex %d has no vertex-id", i+1)
		}
		id := v.RouterID
		if id == "" || id == "0.0.0.0" {
			id = v.ID.String()
		}
		g.nodes = append(g.nodes, rawNode{id: id, label: v.Name})
	}
	names := g.names()
	index := map[string]int{}
	for i, v := range vertices {
		n := topology.Node{Name: names[i]}
		if v.RouterID != "" && v.RouterID != "0.0.0.0" {
			a, err := netip.ParseAddr(v.RouterID)
			if err != nil {
				return nil, p.fail("", "vertex %s: router-id %q: want an IP address", v.ID, v.RouterID)
			}
			n.RouterID = a
		}
		if _, dup := index[v.ID.String()]; dup {
			return nil, p.fail("", "vertex %s is given twice", v.ID)
		}
		index[v.ID.String()] = b.AddNode(n)
	}
	return index, nil
}

func (p *parser) frrLink(e *frrEdge, label string) (topology.Link, error) {
	a := &e.Attrs
	var l topology.Link
	fail := func(key, value, want string) (topology.Link, error) {
		return l, p.fail("", "%s: %s %q: want %s", label, key, value, want)
	}
	whole := func(n json.Number, to *uint32) bool {
		if n == "" {
			return true
		}
		v, err := strconv.ParseUint(n.String(), 10, 32)
		*to = uint32(v)
		return err == nil
	}
	var delay, least uint32
	for _, f := range []struct {
		key  string
		text json.Number
		to   *uint32
	}{
		{"metric", e.Metric, &l.IGPMetric}, {"admin-group", a.AdminGroup, &l.AdminGroup},
		{"local-identifier", a.LocalID, &l.LocalID}, {"remote-identifier", a.RemoteID, &l.RemoteID},
		{"delay", a.Delay, &delay}, {"min-delay", a.MinDelay, &least},
	} {
		if !whole(f.text, f.to) {
			return fail(f.key, f.text.String(), "a whole number of 32 bits")
		}
	}
	if l.IGPMetric == 0 {
		// FRR has the link from a TE LSA and has not heard its router LSA.
		p.note("%s: it has no IGP metric yet: import it again when FRR has heard it", label)
	}
	l.TEMetric = l.IGPMetric // where no TE metric is given (RFC 3630, section 2.5.5)
	if !whole(a.TEMetric, &l.TEMetric) {
		return fail("te-metric", a.TEMetric.String(), "a whole number of 32 bits")
	}
	if delay == 0 {
		delay = least
	}
	l.Delay = time.Duration(delay) * time.Microsecond
	for _, f := range []struct {
		key, v4, v6 string
		to          *netip.Addr
	}{{"local-address", a.LocalAddr, a.LocalAddr6, &l.LocalAddr}, {"remote-address", a.RemoteAddr, a.RemAddr6, &l.RemoteAddr}} {
		s := f.v4
		if s == "" || s == "0.0.0.0" {
			s = f.v6
		}
		if s == "" {
			continue
		}
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return fail(f.key, s, "an IP address")
		}
		*f.to = addr
	}
	if err := p.frrBandwidth(a.MaxBW, a.MaxResvBW, a.Unreserved, &l, label); err != nil {
		return l, err
	}
	if a.SRLGs != nil {
		if err := p.frrSRLGs(*a.SRLGs, &l, label); err != nil {
			return l, err
		}
	}
	switch e.Status {
	case "Delete", "Orphan":
		l.Down = true
	}
	return l, nil
}

// frrBandwidth turns bytes/s into bit/s. What is missing is taken from what is
// there: all of the link may be reserved, and nothing is.
func (p *parser) frrBandwidth(most, reservable *float64, unreserved []map[string]float64, l *topology.Link, label string) error {
	if most != nil {
		setBandwidth(l, *most*8)
	}
	if reservable != nil {
		setBandwidth(l, *reservable*8)
		if most != nil {
			l.MaxBandwidth = *most * 8
		}
	}
	for _, m := range unreserved {
		for key, v := range m {
			n, err := strconv.Atoi(strings.TrimPrefix(key, "class-type-"))
			if err != nil || n < 0 || n >= len(l.Unreserved) {
				return p.fail("", "%s: unreserved-bandwidth %q: want class-type-0 to class-type-7", label, key)
			}
			l.Unreserved[n] = v * 8
		}
	}
	return nil
}

// frrSRLGs reads a list of numbers or of {"srlg": number}.
func (p *parser) frrSRLGs(list []json.RawMessage, l *topology.Link, label string) error {
	for _, raw := range list {
		var one struct {
			SRLG *uint32 `json:"srlg"`
		}
		var v uint32
		if json.Unmarshal(raw, &v) == nil {
			l.SRLGs = append(l.SRLGs, v)
		} else if json.Unmarshal(raw, &one) == nil && one.SRLG != nil {
			l.SRLGs = append(l.SRLGs, *one.SRLG)
		} else {
			return p.fail("", "%s: srlgs: %s: want a number", label, raw)
		}
	}
	// FRR's printer begins with the second of a link's groups.
	p.note("%s: it has SRLGs, of which FRR does not print the first", label)
	return nil
}
