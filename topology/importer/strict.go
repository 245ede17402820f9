package importer

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// strict decodes a YAML node and refuses unknown and repeated keys and wrong
// values, each with its line and column: the library itself tells no columns.
func (p *parser) strict(n *yaml.Node, into any) error {
	return p.decode(n, reflect.ValueOf(into).Elem(), "")
}

var yamlNodeType = reflect.TypeFor[yaml.Node]()

func (p *parser) decode(n *yaml.Node, v reflect.Value, path string) error {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	t := v.Type()
	switch {
	case t == yamlNodeType:
		v.Set(reflect.ValueOf(*n))
		return nil
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return nil
	case v.CanAddr() && v.Addr().Type().Implements(reflect.TypeFor[yaml.Unmarshaler]()):
		if err := v.Addr().Interface().(yaml.Unmarshaler).UnmarshalYAML(n); err != nil {
			return p.fail(spot(n), "%s: %w", path, err)
		}
		return nil
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		return p.decode(n, v.Elem(), path)
	case t.Kind() == reflect.Struct:
		return p.decodeStruct(n, v, path)
	case t.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			return p.fail(spot(n), "%s: want a list", path)
		}
		v.Set(reflect.MakeSlice(t, len(n.Content), len(n.Content)))
		for i, c := range n.Content {
			if err := p.decode(c, v.Index(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		return nil
	}
	if n.Kind != yaml.ScalarNode || n.Decode(v.Addr().Interface()) != nil {
		return p.fail(spot(n), "%s: %q: want %s", path, n.Value, kindWords[t.Kind()])
	}
	return nil
}

var kindWords = map[reflect.Kind]string{
	reflect.String: "text", reflect.Uint32: "a whole number from 0 to 4294967295", reflect.Bool: "true or false",
}

func (p *parser) decodeStruct(n *yaml.Node, v reflect.Value, path string) error {
	if n.Kind != yaml.MappingNode {
		if path == "" {
			return p.fail(spot(n), "this is no topology: want the keys nodes and links")
		}
		return p.fail(spot(n), "%s: want keys and values", path)
	}
	t := v.Type()
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if seen[k.Value] {
			return p.fail(spot(k), "key %q is given twice", join(path, k.Value))
		}
		seen[k.Value] = true
		field, known := -1, []string{}
		for f := range t.NumField() {
			tag := t.Field(f).Tag.Get("yaml")
			if tag == k.Value {
				field = f
			}
			known = append(known, tag)
		}
		if field < 0 {
			slices.Sort(known)
			return p.fail(spot(k), "unknown key %q: want one of %s", join(path, k.Value), strings.Join(known, ", "))
		}
		if err := p.decode(n.Content[i+1], v.Field(field), join(path, k.Value)); err != nil {
			return err
		}
	}
	return nil
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func spot(n *yaml.Node) string { return fmt.Sprintf("%d:%d", n.Line, n.Column) }

// place finds the line and column of an element of a list at the top.
func place(doc *yaml.Node, key string, i int) string {
	for j := 0; j+1 < len(doc.Content); j += 2 {
		if doc.Content[j].Value != key {
			continue
		}
		list := doc.Content[j+1]
		for list.Kind == yaml.AliasNode {
			list = list.Alias
		}
		if i < len(list.Content) {
			return spot(list.Content[i])
		}
	}
	return ""
}
