package importer

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"mpbox/topology"
)

// newXML is a decoder that also reads ISO 8859-1, which SNDlib uses.
func newXML(data []byte) *xml.Decoder {
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		switch strings.ToLower(label) {
		case "utf-8", "us-ascii":
			return in, nil
		case "iso-8859-1", "latin1", "iso_8859-1", "windows-1252":
			raw, err := io.ReadAll(in)
			if err != nil {
				return nil, err
			}
			var b strings.Builder
			for _, c := range raw {
				b.WriteRune(rune(c))
			}
			return strings.NewReader(b.String()), nil
		}
		return nil, fmt.Errorf("encoding %q is not read: convert the file to UTF-8", label)
	}
	return d
}

func (p *parser) xmlError(err error) error {
	if s := (*xml.SyntaxError)(nil); errors.As(err, &s) {
		return p.fail(fmt.Sprint(s.Line), "XML: %s", s.Msg)
	}
	return p.fail("", "XML: %w", err)
}

// graphML reads what Internet Topology Zoo and networkx write.
func (p *parser) graphML(data []byte) (*topology.TED, error) {
	r := &graphMLReader{p: p, d: newXML(data), keys: map[string]graphMLKey{}}
	if err := r.read(); err != nil {
		return nil, err
	}
	if r.graphs == 0 {
		return nil, p.fail("", "it has no <graph>")
	}
	return p.build(&r.g)
}

type graphMLKey struct {
	forWhat, name string
	fallback      *string
}

type graphMLReader struct {
	p        *parser
	d        *xml.Decoder
	g        rawGraph
	keys     map[string]graphMLKey
	graphs   int
	directed bool
}

func (r *graphMLReader) read() error {
	for {
		tok, err := r.d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return r.p.xmlError(err)
		}
		e, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if err := r.element(e); err != nil {
			return err
		}
	}
}

func (r *graphMLReader) where() string {
	line, _ := r.d.InputPos()
	return fmt.Sprint(line)
}

func (r *graphMLReader) element(e xml.StartElement) error {
	where := r.where()
	switch e.Name.Local {
	case "graph":
		if r.graphs++; r.graphs > 1 {
			return r.p.fail(where, "a second or nested <graph>: want one")
		}
		r.directed = attr(e, "edgedefault") == "directed"
	case "hyperedge":
		return r.p.fail(where, "<hyperedge %s>: only links of two nodes are read", attr(e, "id"))
	case "key":
		return r.key(e)
	case "node":
		id := attr(e, "id")
		if id == "" {
			return r.p.fail(where, "a <node> has no id")
		}
		a, err := r.data(e, "node")
		if err != nil {
			return err
		}
		r.g.nodes = append(r.g.nodes, rawNode{id: id, label: a["label"], attrs: a, where: where})
	case "edge":
		a, err := r.data(e, "edge")
		if err != nil {
			return err
		}
		edge := rawEdge{from: attr(e, "source"), to: attr(e, "target"), directed: r.directed, attrs: a, where: where}
		if edge.from == "" || edge.to == "" {
			return r.p.fail(where, "an <edge> has no source or no target")
		}
		if s := attr(e, "directed"); s != "" {
			edge.directed = s == "true"
		}
		r.g.edges = append(r.g.edges, edge)
	}
	return nil
}

func (r *graphMLReader) key(e xml.StartElement) error {
	var body struct {
		Default *string `xml:"default"`
	}
	if err := r.d.DecodeElement(&body, &e); err != nil {
		return r.p.xmlError(err)
	}
	k := graphMLKey{forWhat: attr(e, "for"), name: attr(e, "attr.name"), fallback: body.Default}
	if k.name == "" {
		k.name = attr(e, "id")
	}
	r.keys[attr(e, "id")] = k
	return nil
}

// data reads the attributes of a node or an edge, with the keys' defaults.
func (r *graphMLReader) data(e xml.StartElement, what string) (map[string]string, error) {
	where := r.where()
	var body struct {
		Data []struct {
			Key  string `xml:"key,attr"`
			Text string `xml:",chardata"`
		} `xml:"data"`
		Graph []struct{} `xml:"graph"`
	}
	if err := r.d.DecodeElement(&body, &e); err != nil {
		return nil, r.p.xmlError(err)
	}
	if len(body.Graph) > 0 {
		return nil, r.p.fail(where, "a second or nested <graph>: want one")
	}
	a := map[string]string{}
	for _, k := range r.keys {
		if k.fallback != nil && (k.forWhat == what || k.forWhat == "all" || k.forWhat == "") {
			a[k.name] = strings.TrimSpace(*k.fallback)
		}
	}
	for _, d := range body.Data {
		k, ok := r.keys[d.Key]
		if !ok {
			return nil, r.p.fail(where, "<data key=%q>: there is no such <key>", d.Key)
		}
		a[k.name] = strings.TrimSpace(d.Text)
	}
	return a, nil
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
