package config

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v3"
)

// formats are the forms of strings that the schema names.
var formats = map[string]func(string) error{
	"duration-go": func(s string) error { return new(Duration).UnmarshalText([]byte(s)) },
	"bit-rate":    func(s string) error { return new(BitRate).UnmarshalText([]byte(s)) },
	"dpid":        func(s string) error { return new(DPID).UnmarshalText([]byte(s)) },
	"endpoint":    checkEndpoint,
	"hostport": func(s string) error {
		if strings.HasPrefix(s, "unix:") || checkEndpoint(s) != nil || strings.HasPrefix(s, ":") {
			return fmt.Errorf("want host:port or [address]:port, like 192.0.2.1:161")
		}
		return nil
	},
	"address": func(s string) error {
		if _, err := netip.ParseAddr(s); err != nil {
			return fmt.Errorf("want an IP address, like 10.255.0.1")
		}
		return nil
	},
	"prefix": func(s string) error {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return fmt.Errorf("want address/length, like 10.1.0.0/24 or 2001:db8::/48")
		}
		if p.Masked() != p {
			return fmt.Errorf("bits are set behind the length; did you mean %s?", p.Masked())
		}
		return nil
	},
}

// schemaURL names the schema. A relative name would be looked for in the working
// directory, which need not exist.
const schemaURL = "mpbox:///mpbox.json"

// compile makes a validator of a schema.
func compile(schema []byte) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	for name, check := range formats {
		c.RegisterFormat(&jsonschema.Format{Name: name, Validate: func(v any) error {
			if s, ok := v.(string); ok {
				return check(s)
			}
			return nil
		}})
	}
	c.AssertFormat()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	s, err := c.Compile(schemaURL)
	if err != nil {
		return nil, fmt.Errorf("compile schema: %w", err)
	}
	return s, nil
}

// validate holds the document against a schema. What is wrong is noted, and taken
// out of the document, so that the rest can be read and checked too.
func (d *document) validate(s *jsonschema.Schema) {
	if d.root != nil && d.root.Kind != yaml.MappingNode && d.root.ShortTag() != "!!null" {
		d.add(d.root, "the file holds no keys", "write it as key: value; see mpbox config schema")
		d.root = nil
	}
	v := plain(d.root)
	if v == nil {
		v = map[string]any{} // nothing but a ---
	}
	var err *jsonschema.ValidationError
	if !errors.As(s.Validate(v), &err) {
		return
	}
	var bad [][]string
	for _, leaf := range leaves(err, nil) {
		bad = append(bad, d.explain(leaf, s)...)
	}
	for _, path := range bad {
		d.blank(path...)
	}
}

// leaves gives the errors that have no further cause. Of alternatives, only the
// last is kept: it is the most general form.
func leaves(e *jsonschema.ValidationError, out []*jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return append(out, e)
	}
	if _, alternatives := e.ErrorKind.(*kind.AnyOf); alternatives {
		return leaves(e.Causes[len(e.Causes)-1], out)
	}
	for _, c := range e.Causes {
		out = leaves(c, out)
	}
	return out
}

// explain notes one error in the operator's words, and gives the paths of values
// that cannot be used.
func (d *document) explain(e *jsonschema.ValidationError, s *jsonschema.Schema) [][]string {
	path := e.InstanceLocation
	_, node, _ := d.find(path...)
	name := dotted(path)
	what := func(format string, args ...any) string { return name + ": " + fmt.Sprintf(format, args...) }
	got := ""
	if node != nil && node.Kind == yaml.ScalarNode {
		got = strconv.Quote(node.Value)
	}
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		var bad [][]string
		for _, prop := range k.Properties {
			p := append(slices.Clone(path), prop)
			key, _, _ := d.find(p...)
			remedy := "remove it; see mpbox config schema"
			if near := nearest(prop, knownKeys(s, path)); near != "" {
				remedy = "did you mean " + near + "?"
			}
			d.add(key, fmt.Sprintf("unknown key %q", prop), remedy)
			bad = append(bad, p)
		}
		return bad
	case *kind.Required:
		for _, m := range k.Missing {
			at := node
			if at == nil {
				at = d.root
			}
			d.add(at, fmt.Sprintf("%s: %s is missing", name, m), "add "+m+": …")
		}
		return nil
	case *kind.Type:
		want := strings.Join(k.Want, " or ")
		remedy := "write " + typeWords(k.Want)
		if slices.Contains(k.Want, "string") && node != nil && node.Kind == yaml.ScalarNode {
			remedy = "put it in quotes: " + got
			if sub := at(s, path); sub != nil && sub.Format != nil {
				if err := sub.Format.Validate(node.Value); err != nil {
					remedy = err.Error()
				}
			}
		}
		d.add(node, what("is %s %s, not %s", article(k.Got), k.Got, want), remedy)
	case *kind.Enum:
		words := make([]string, len(k.Want))
		for i, w := range k.Want {
			words[i] = fmt.Sprint(w)
		}
		d.add(node, what("unknown value %s", got), "use "+orList(words))
	case *kind.Format:
		d.add(node, what("bad value %s", got), k.Err.Error())
	case *kind.Minimum, *kind.Maximum:
		d.add(node, what("%s is out of range", node.Value), rangeOf(s, path))
	case *kind.Pattern:
		d.add(node, what("bad name %s", got), "use letters, digits, '-', and where names of routers are meant also '.' and '_'; it must match "+k.Want)
	case *kind.MinLength:
		remedy := fmt.Sprintf("write at least %d characters", k.Want)
		if k.Want == 1 {
			remedy = "write something"
		}
		d.add(node, what("is too short"), remedy)
	case *kind.MinItems:
		d.add(node, what("has %d entries", k.Got), fmt.Sprintf("write at least %d", k.Want))
	case *kind.MaxItems:
		d.add(node, what("has %d entries", k.Got), fmt.Sprintf("write at most %d", k.Want))
	default:
		d.add(node, what("%v", e.ErrorKind), "see mpbox config schema")
	}
	return [][]string{path}
}

// dotted writes a path as operators do: bridges[0].attachments[1].pe.
func dotted(path []string) string {
	var b strings.Builder
	for i, p := range path {
		if _, err := strconv.Atoi(p); err == nil && i > 0 {
			b.WriteString("[" + p + "]")
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(p)
	}
	if b.Len() == 0 {
		return "the file"
	}
	return b.String()
}

// at walks a schema to the part that a path is under.
func at(s *jsonschema.Schema, path []string) *jsonschema.Schema {
	for _, step := range path {
		for s != nil && s.Ref != nil {
			s = s.Ref
		}
		if s == nil {
			return nil
		}
		switch {
		case s.Properties[step] != nil:
			s = s.Properties[step]
		case s.Items2020 != nil:
			s = s.Items2020
		default:
			return nil
		}
	}
	for s != nil && s.Ref != nil {
		s = s.Ref
	}
	return s
}

func knownKeys(s *jsonschema.Schema, path []string) []string {
	s = at(s, path)
	if s == nil {
		return nil
	}
	var keys []string
	for k := range s.Properties {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func rangeOf(s *jsonschema.Schema, path []string) string {
	s = at(s, path)
	switch {
	case s == nil || s.Minimum == nil && s.Maximum == nil:
		return "see mpbox config schema"
	case s.Maximum == nil:
		return "use at least " + s.Minimum.RatString()
	case s.Minimum == nil:
		return "use at most " + s.Maximum.RatString()
	default:
		return "use " + s.Minimum.RatString() + " to " + s.Maximum.RatString()
	}
}

func typeWords(want []string) string {
	words := map[string]string{
		"object": "keys and values below it, indented", "array": "a list: [a, b], or lines that begin with -",
		"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
	}
	out := make([]string, len(want))
	for i, w := range want {
		out[i] = words[w]
	}
	return orList(out)
}

func article(word string) string {
	if strings.ContainsAny(word[:1], "aeiou") {
		return "an"
	}
	return "a"
}

func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// nearest gives the candidate that s was probably meant to be; "" if none is near.
func nearest(s string, candidates []string) string {
	best, bestDist := "", max(2, len(s)/3)+1
	for _, c := range candidates {
		if d := distance(s, c); d < bestDist {
			best, bestDist = c, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diag, row[j] = row[j], min(row[j]+1, row[j-1]+1, diag+cost)
		}
	}
	return row[len(b)]
}
