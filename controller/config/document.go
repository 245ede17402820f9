package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// document is a parsed YAML file that still knows where each value stands.
type document struct {
	name     string
	root     *yaml.Node // the top value; nil in an empty file
	problems Problems
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// parseDocument reads the one YAML document of a file.
func parseDocument(name string, data []byte) *document {
	d := &document{name: name}
	var n, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	err := dec.Decode(&n)
	if errors.Is(err, io.EOF) {
		err = nil // empty
	} else if err == nil {
		if err = dec.Decode(&more); err == nil {
			d.add(&more, "a second document", "remove it, and the line --- before it")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		what, line := err.Error(), 1
		if m := yamlLine.FindStringSubmatch(what); m != nil {
			what = m[2]
			if m[1] != "" {
				line, _ = strconv.Atoi(m[1])
			}
		}
		d.problems = append(d.problems, Problem{name, line, 1, "not YAML: " + what,
			"look at this line and the one before it: indentation with blanks only, a blank after each colon, quotes closed"})
		return d
	}
	if len(n.Content) > 0 {
		d.root = n.Content[0]
		d.checkKeys(d.root, 0)
	}
	return d
}

// maxDepth bounds nesting; the schema needs 8.
const maxDepth = 32

// checkKeys finds keys that are there twice, and what this file format has no use
// for: aliases would let a small file become a huge one.
func (d *document) checkKeys(n *yaml.Node, depth int) {
	if depth > maxDepth {
		d.add(n, "nested too deeply", "check the indentation")
		n.Content = nil
		return
	}
	switch n.Kind {
	case yaml.AliasNode:
		d.add(n, "alias *"+n.Value, "write the value out; aliases are not supported here")
		*n = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: n.Line, Column: n.Column}
	case yaml.MappingNode:
		seen := map[string]int{}
		kept := n.Content[:0:0]
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, v := n.Content[i], n.Content[i+1]
			if k.Kind != yaml.ScalarNode || k.ShortTag() == "!!merge" {
				d.add(k, "a key that is no name", "write it as key: value")
				continue
			}
			if first, twice := seen[k.Value]; twice {
				d.add(k, fmt.Sprintf("key %q is there twice", k.Value), fmt.Sprintf("remove this one or the one in line %d", first))
				continue
			}
			seen[k.Value] = k.Line
			d.checkKeys(v, depth+1)
			kept = append(kept, k, v)
		}
		n.Content = kept
	case yaml.SequenceNode:
		for _, v := range n.Content {
			d.checkKeys(v, depth+1)
		}
	default: // a scalar
	}
}

func (d *document) add(n *yaml.Node, what, remedy string) {
	p := Problem{File: d.name, What: what, Remedy: remedy}
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
	}
	d.problems = append(d.problems, p)
}

// find gives the key and the value at a path; where the path leads out of the
// file, the deepest value that is there, and false.
func (d *document) find(path ...string) (key, value *yaml.Node, ok bool) {
	n := d.root
	for _, step := range path {
		var k, v *yaml.Node
		switch {
		case n == nil:
		case n.Kind == yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == step {
					k, v = n.Content[i], n.Content[i+1]
				}
			}
		case n.Kind == yaml.SequenceNode:
			if i, err := strconv.Atoi(step); err == nil && i < len(n.Content) {
				v = n.Content[i]
			}
		}
		if v == nil {
			return key, n, false
		}
		key, n = k, v
	}
	return key, n, n != nil
}

// plain gives the values as encoding/json would, which is what a JSON schema
// speaks about.
func plain(n *yaml.Node) any {
	if n == nil {
		return map[string]any{}
	}
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			// "key:" without a value is as if it were not there.
			if v := plain(n.Content[i+1]); v != nil {
				m[n.Content[i].Value] = v
			}
		}
		return m
	case yaml.SequenceNode:
		s := make([]any, len(n.Content))
		for i, v := range n.Content {
			s[i] = plain(v)
		}
		return s
	default:
		switch n.ShortTag() {
		case "!!null":
			return nil
		case "!!bool", "!!int", "!!float":
			var v any
			if n.Decode(&v) == nil {
				return v
			}
		}
		return n.Value
	}
}

// blank turns the value at a path into null, so that what is known to be wrong is
// not complained about twice.
func (d *document) blank(path ...string) {
	if _, n, ok := d.find(path...); ok {
		*n = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: n.Line, Column: n.Column}
	}
}
