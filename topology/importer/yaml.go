package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"mpbox/topology"
)

// File is a topology in mpbox's own format (YAML, or JSON).
type File struct {
	Nodes []FileNode `yaml:"nodes" json:"nodes" jsonschema:"description=The routers."`
	Links []FileLink `yaml:"links" json:"links" jsonschema:"description=The links between them."`
	// Lab is for the lab that emulates this network; it is not read here.
	Lab yaml.Node `yaml:"lab" json:"-"`
}

// FileNode is a router.
type FileNode struct {
	Name     string `yaml:"name" json:"name" jsonschema:"minLength=1"`
	RouterID Addr   `yaml:"router_id" json:"router_id,omitzero" jsonschema:"description=MPLS-TE router id (RFC 3630 2.4.1)."`
}

// FileLink is a link between two routers, in both directions unless OneWay. What
// ends in _ba is for the direction from b to a, and defaults to that from a to b.
type FileLink struct {
	Name        string   `yaml:"name" json:"name,omitempty" jsonschema:"description=Unique; a-b by default."`
	A           string   `yaml:"a" json:"a"`
	B           string   `yaml:"b" json:"b"`
	Metric      *uint32  `yaml:"metric" json:"metric,omitempty" jsonschema:"description=TE metric; the IGP metric by default or else 1."`
	TEMetric    *uint32  `yaml:"te_metric" json:"te_metric,omitempty" jsonschema:"description=Another word for metric."`
	MetricBA    *uint32  `yaml:"metric_ba" json:"metric_ba,omitempty"`
	IGPMetric   *uint32  `yaml:"igp_metric" json:"igp_metric,omitempty" jsonschema:"description=IGP metric; the TE metric by default."`
	IGPMetricBA *uint32  `yaml:"igp_metric_ba" json:"igp_metric_ba,omitempty"`
	Delay       Delay    `yaml:"delay" json:"delay,omitempty"`
	DelayBA     *Delay   `yaml:"delay_ba" json:"delay_ba,omitempty"`
	Bandwidth   Rate     `yaml:"bandwidth" json:"bandwidth,omitempty" jsonschema:"description=Of the link in each direction."`
	Reservable  *Rate    `yaml:"reservable" json:"reservable,omitempty" jsonschema:"description=What LSPs may reserve; the bandwidth by default."`
	Unreserved  *Rate    `yaml:"unreserved" json:"unreserved,omitempty" jsonschema:"description=What is left at every priority; what may be reserved by default."`
	AdminGroup  Groups   `yaml:"admin_group" json:"admin_group,omitempty"`
	SRLGs       []uint32 `yaml:"srlgs" json:"srlgs,omitempty" jsonschema:"description=Shared risk link groups (RFC 4203 1.3)."`
	AAddress    Addr     `yaml:"a_address" json:"a_address,omitzero" jsonschema:"description=Interface address at a."`
	BAddress    Addr     `yaml:"b_address" json:"b_address,omitzero" jsonschema:"description=Interface address at b."`
	AID         uint32   `yaml:"a_id" json:"a_id,omitempty" jsonschema:"description=Interface id at a of an unnumbered link (RFC 4203)."`
	BID         uint32   `yaml:"b_id" json:"b_id,omitempty"`
	OneWay      bool     `yaml:"oneway" json:"oneway,omitempty" jsonschema:"description=Only from a to b."`
	Down        bool     `yaml:"down" json:"down,omitempty"`
}

func (p *parser) yaml(data []byte) (*topology.TED, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&doc); err != nil {
		return nil, p.yamlError(err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, p.fail("", "it holds more than one document")
	}
	var f File
	if err := p.strict(doc.Content[0], &f); err != nil {
		return nil, err
	}
	return p.file(&f, doc.Content[0])
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s:(.*))`)

// yamlError turns the library's "yaml: line 3: …" into file:3: ….
func (p *parser) yamlError(err error) error {
	if errors.Is(err, io.EOF) {
		return p.fail("", "the file is empty")
	}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		return p.fail(m[1], "%s", strings.TrimSpace(m[2]))
	}
	return p.fail("", "%w", err)
}

// file builds the TED of a decoded file; the node is for places in errors.
func (p *parser) file(f *File, doc *yaml.Node) (*topology.TED, error) {
	b := &topology.Builder{}
	index := make(map[string]int, len(f.Nodes))
	for i, n := range f.Nodes {
		if n.Name == "" {
			return nil, p.fail(place(doc, "nodes", i), "a node needs a name")
		}
		if _, dup := index[n.Name]; dup {
			return nil, p.fail(place(doc, "nodes", i), "node %q is given twice", n.Name)
		}
		index[n.Name] = b.AddNode(topology.Node{Name: n.Name, RouterID: n.RouterID.Addr})
	}
	for i := range f.Links {
		l := &f.Links[i]
		for _, end := range []string{l.A, l.B} {
			if _, ok := index[end]; !ok {
				return nil, p.fail(place(doc, "links", i), "link %s: node %q is not among the nodes", l.label(), end)
			}
		}
		ab, ba, err := l.directions(index)
		if err != nil {
			return nil, p.fail(place(doc, "links", i), "link %s: %w", l.label(), err)
		}
		if l.OneWay {
			b.AddOneWay(ab)
		} else {
			b.AddPair(ab, ba)
		}
	}
	t, err := b.Build()
	if err != nil {
		return nil, p.fail("", "%w", err)
	}
	return t, nil
}

func (l *FileLink) label() string {
	if l.Name != "" {
		return l.Name
	}
	return l.A + "-" + l.B
}

// directions gives the link of each direction.
func (l *FileLink) directions(index map[string]int) (ab, ba topology.Link, err error) {
	if l.Metric != nil && l.TEMetric != nil && *l.Metric != *l.TEMetric {
		return ab, ba, fmt.Errorf("metric is %d and te_metric %d: give one of them", *l.Metric, *l.TEMetric)
	}
	if l.OneWay && (l.MetricBA != nil || l.IGPMetricBA != nil || l.DelayBA != nil) {
		return ab, ba, errors.New("it is oneway and has values from b to a")
	}
	first := func(vs ...*uint32) uint32 {
		for _, v := range vs {
			if v != nil {
				return *v
			}
		}
		return 1
	}
	ab = topology.Link{
		Name: l.Name, From: index[l.A], To: index[l.B],
		LocalAddr: l.AAddress.Addr, RemoteAddr: l.BAddress.Addr, LocalID: l.AID, RemoteID: l.BID,
		TEMetric: first(l.Metric, l.TEMetric, l.IGPMetric), IGPMetric: first(l.IGPMetric, l.Metric, l.TEMetric),
		Delay: time.Duration(l.Delay), MaxBandwidth: float64(l.Bandwidth), MaxReservable: float64(l.Bandwidth),
		AdminGroup: uint32(l.AdminGroup), SRLGs: l.SRLGs, Down: l.Down,
	}
	if l.Reservable != nil {
		ab.MaxReservable = float64(*l.Reservable)
	}
	left := ab.MaxReservable
	if l.Unreserved != nil {
		left = float64(*l.Unreserved)
	}
	for i := range ab.Unreserved {
		ab.Unreserved[i] = left
	}
	ba = ab
	ba.From, ba.To = ab.To, ab.From
	ba.LocalAddr, ba.RemoteAddr, ba.LocalID, ba.RemoteID = ab.RemoteAddr, ab.LocalAddr, ab.RemoteID, ab.LocalID
	ba.TEMetric = first(l.MetricBA, &ab.TEMetric)
	ba.IGPMetric = first(l.IGPMetricBA, l.IGPMetric, l.MetricBA, &ab.IGPMetric)
	if l.DelayBA != nil {
		ba.Delay = time.Duration(*l.DelayBA)
	}
	return ab, ba, nil
}
