package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"mpbox/topology"
)

// nodeLink reads node-link graphs as JSON: {"nodes": [{"id"}], "links" or "edges":
// [{"source", "target"}]}. SNDlib's networks are published so.
func (p *parser) nodeLink(data []byte) (*topology.TED, error) {
	var doc struct {
		Directed bool             `json:"directed"`
		Nodes    []map[string]any `json:"nodes"`
		Links    []map[string]any `json:"links"`
		Edges    []map[string]any `json:"edges"`
	}
	if err := p.json(data, &doc); err != nil {
		return nil, err
	}
	g := &rawGraph{}
	for i, n := range doc.Nodes {
		a := jsonAttrs(n)
		if a["id"] == "" {
			return nil, p.fail("", "node %d has no id", i+1)
		}
		label := "" // an id that is text is the name
		if _, number := n["id"].(json.Number); number {
			if label = a["label"]; label == "" {
				label = a["name"]
			}
		}
		g.nodes = append(g.nodes, rawNode{id: a["id"], label: label, attrs: a})
	}
	for i, e := range append(doc.Links, doc.Edges...) {
		a := jsonAttrs(e)
		if a["source"] == "" || a["target"] == "" {
			return nil, p.fail("", "link %d has no source or no target", i+1)
		}
		g.edges = append(g.edges, rawEdge{from: a["source"], to: a["target"], directed: doc.Directed, attrs: a})
	}
	return p.build(g)
}

// json decodes one document; errors tell the line and column.
func (p *parser) json(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	err := d.Decode(into)
	if err == nil {
		return nil
	}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return p.fail(lineCol(data, syntax.Offset), "JSON: %w", err)
	case errors.As(err, &kind):
		return p.fail(lineCol(data, kind.Offset), "%s: want %s, not %s", kind.Field, kind.Type, kind.Value)
	}
	return p.fail("", "JSON: %w", err)
}

func lineCol(data []byte, offset int64) string {
	before := data[:min(int64(len(data)), max(0, offset))]
	line := bytes.Count(before, []byte("\n")) + 1
	col := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Sprintf("%d:%d", line, col)
}

// jsonAttrs are the plain values of an object, and lists of plain values joined
// by commas.
func jsonAttrs(m map[string]any) map[string]string {
	a := make(map[string]string, len(m))
	for k, v := range m {
		if s, ok := plain(v); ok {
			a[k] = s
		} else if list, ok := v.([]any); ok {
			var all []string
			for _, e := range list {
				if s, ok := plain(e); ok {
					all = append(all, s)
				}
			}
			a[k] = strings.Join(all, ",")
		}
	}
	return a
}

func plain(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return fmt.Sprint(v), true
	}
	return "", false
}
