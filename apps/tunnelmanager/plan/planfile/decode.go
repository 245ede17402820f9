package planfile

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is something wrong in a file, and where.
type Problem struct {
	File      string
	Line, Col int // 0 where it is the file as a whole
	What      string
}

func (p Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.What
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Col, p.What)
}

// Problems is all that is wrong in a file, in its order.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// maxFile bounds a file: a million demands take less.
const maxFile = 256 << 20

// decoder reads YAML (and so JSON) into structs with yaml tags. Unlike the
// library's own it refuses unknown and repeated keys with their place, and goes on
// to find all that is wrong.
type decoder struct {
	file     string
	problems Problems
	// at remembers the place of each list item: "demands[3]".
	at map[string]*yaml.Node
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, Problem{File: path, What: fmt.Sprintf("cannot be read: %v", errors.Unwrap(err))}
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, Problem{File: path, What: fmt.Sprintf("cannot be read: %v", errors.Unwrap(err))}
	}
	if len(data) > maxFile {
		return nil, Problem{File: path, What: fmt.Sprintf("is larger than %d MiB", maxFile>>20)}
	}
	return data, nil
}

func (d *decoder) add(n *yaml.Node, format string, args ...any) {
	p := Problem{File: d.file, What: fmt.Sprintf(format, args...)}
	if n != nil {
		p.Line, p.Col = n.Line, n.Column
	}
	d.problems = append(d.problems, p)
}

func (d *decoder) decode(data []byte, into any) {
	d.at = map[string]*yaml.Node{}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		d.add(syntaxAt(err), "%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	if len(doc.Content) == 0 {
		d.add(nil, "is empty")
		return
	}
	d.value(doc.Content[0], reflect.ValueOf(into).Elem(), "")
}

// syntaxAt finds the line that the YAML library names in a syntax error.
func syntaxAt(err error) *yaml.Node {
	s := err.Error()
	if i := strings.Index(s, "line "); i >= 0 {
		digits := s[i+5:]
		if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end > 0 {
			if n, err := strconv.Atoi(digits[:end]); err == nil {
				return &yaml.Node{Line: n, Column: 1}
			}
		}
	}
	return nil
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.at[path] = n
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if n.Kind != yaml.ScalarNode {
			d.add(n, "%s: want one value", path)
		} else if err := u.UnmarshalText([]byte(n.Value)); err != nil {
			d.add(n, "%s: %q: %v", path, n.Value, err)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, path)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.add(n, "%s: want a list", path)
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, c := range n.Content {
			d.value(c, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path)
	default:
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Decode(v.Addr().Interface()) != nil {
			d.add(n, "%s: want %s", path, kindName(v.Kind()))
		}
	}
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.add(n, "%s: want keys and values", orTop(path))
		return
	}
	fields := map[string]reflect.Value{}
	var names []string
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		fields[name] = v.Field(i)
		names = append(names, name)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		f, ok := fields[k.Value]
		switch {
		case !ok:
			d.add(k, "%s: unknown key %q: want one of %s", orTop(path), k.Value, strings.Join(names, ", "))
		case seen[k.Value]:
			d.add(k, "%s: key %q is given twice", orTop(path), k.Value)
		default:
			d.value(n.Content[i+1], f, strings.TrimPrefix(path+"."+k.Value, "."))
		}
		seen[k.Value] = true
	}
}

func orTop(path string) string {
	if path == "" {
		return "top level"
	}
	return path
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// err gives the problems in the order of the file; nil where there are none.
func (d *decoder) err() error {
	if len(d.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	return d.problems
}
