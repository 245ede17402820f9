package importer

import (
	"html"
	"strconv"
	"strings"
	"unicode/utf8"

	"mpbox/topology"
)

// gml reads the graph modelling language (Himsolt 1996) as Internet Topology Zoo
// and networkx write it.
func (p *parser) gml(data []byte) (*topology.TED, error) {
	lx := &gmlLexer{p: p, text: latin1(data), line: 1}
	top, err := lx.list(0)
	if err != nil {
		return nil, err
	}
	g := &rawGraph{}
	graphs := 0
	for _, kv := range top {
		if kv.key != "graph" || kv.list == nil {
			continue
		}
		if graphs++; graphs > 1 {
			return nil, p.fail(strconv.Itoa(kv.line), "a second graph: want one")
		}
		if err := p.gmlGraph(g, kv.list); err != nil {
			return nil, err
		}
	}
	if graphs == 0 {
		return nil, p.fail("", "it has no graph [ … ]")
	}
	return p.build(g)
}

func (p *parser) gmlGraph(g *rawGraph, list []gmlPair) error {
	directed := false
	for _, kv := range list {
		if kv.key == "directed" && kv.list == nil {
			d, err := parseFlag(kv.value)
			if err != nil {
				return p.fail(strconv.Itoa(kv.line), "directed %w", err)
			}
			directed = d
		}
	}
	for _, kv := range list {
		where := strconv.Itoa(kv.line)
		switch {
		case kv.list == nil && (kv.key == "node" || kv.key == "edge"):
			return p.fail(where, "%s: want [ … ]", kv.key)
		case kv.key == "node":
			a := gmlAttrs(kv.list)
			if a["id"] == "" {
				return p.fail(where, "a node has no id")
			}
			g.nodes = append(g.nodes, rawNode{id: a["id"], label: a["label"], attrs: a, where: where})
		case kv.key == "edge":
			a := gmlAttrs(kv.list)
			if a["source"] == "" || a["target"] == "" {
				return p.fail(where, "an edge has no source or no target")
			}
			g.edges = append(g.edges, rawEdge{from: a["source"], to: a["target"], directed: directed, attrs: a, where: where})
		}
	}
	return nil
}

// gmlAttrs are the plain values of a list. networkx writes a list of values as
// one key several times: these are joined by commas.
func gmlAttrs(list []gmlPair) map[string]string {
	m := make(map[string]string, len(list))
	for _, kv := range list {
		if kv.list != nil {
			continue
		}
		if old, dup := m[kv.key]; dup {
			m[kv.key] = old + "," + kv.value
		} else {
			m[kv.key] = kv.value
		}
	}
	return m
}

type gmlPair struct {
	key, value string
	list       []gmlPair // not nil for [ … ]
	line       int
}

type gmlLexer struct {
	p    *parser
	text string
	line int
}

func (lx *gmlLexer) where() string { return strconv.Itoa(lx.line) }

// list reads keys and values up to the closing bracket, or the end at depth 0.
func (lx *gmlLexer) list(depth int) ([]gmlPair, error) {
	if depth > 32 {
		return nil, lx.p.fail(lx.where(), "lists are nested too deep")
	}
	pairs := []gmlPair{}
	for {
		key := lx.next()
		switch {
		case key == "" && depth == 0:
			return pairs, nil
		case key == "":
			return nil, lx.p.fail(lx.where(), "a [ is not closed")
		case key == "]" && depth > 0:
			return pairs, nil
		case key == "]" || key == "[" || key[0] == '"':
			return nil, lx.p.fail(lx.where(), "%s: want a key", key)
		}
		kv := gmlPair{key: key, line: lx.line}
		value := lx.next()
		switch {
		case value == "" || value == "]":
			return nil, lx.p.fail(lx.where(), "%s has no value", key)
		case value == "[":
			list, err := lx.list(depth + 1)
			if err != nil {
				return nil, err
			}
			kv.list = list
		case value[0] == '"':
			kv.value = html.UnescapeString(strings.Trim(value, `"`))
		default:
			kv.value = value
		}
		pairs = append(pairs, kv)
	}
}

// next gives the next token: a bracket, a quoted string with its quotes, or a
// word; "" at the end.
func (lx *gmlLexer) next() string {
	for lx.text != "" {
		switch c := lx.text[0]; {
		case c == '\n':
			lx.line++
			lx.text = lx.text[1:]
		case c == ' ' || c == '\t' || c == '\r':
			lx.text = lx.text[1:]
		case c == '#':
			end := strings.IndexByte(lx.text, '\n')
			if end < 0 {
				end = len(lx.text)
			}
			lx.text = lx.text[end:]
		case c == '[' || c == ']':
			lx.text = lx.text[1:]
			return string(c)
		case c == '"':
			end := strings.IndexByte(lx.text[1:], '"')
			if end < 0 {
				end = len(lx.text) - 2
			}
			tok := lx.text[:end+2]
			lx.line += strings.Count(tok, "\n")
			lx.text = lx.text[end+2:]
			return tok
		default:
			end := strings.IndexAny(lx.text, " \t\r\n[]")
			if end < 0 {
				end = len(lx.text)
			}
			tok := lx.text[:end]
			lx.text = lx.text[end:]
			return tok
		}
	}
	return ""
}

// latin1 makes text of bytes: UTF-8, or ISO 8859-1 where it is not.
func latin1(data []byte) string {
	if utf8.Valid(data) {
		return string(data)
	}
	var b strings.Builder
	for _, c := range data {
		b.WriteRune(rune(c))
	}
	return b.String()
}
