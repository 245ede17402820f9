package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// maxFile bounds a configuration file; 1,000 bridges take less than 1 MB.
const maxFile = 16 << 20

var compiledConfig = sync.OnceValues(func() (*jsonschema.Schema, error) {
	s, err := configSchema()
	if err != nil {
		return nil, err
	}
	return compile(s)
})

// Load reads and checks a file. What is wrong in it comes as Problems, all of them.
// Files that it names are looked for next to it, and those with passwords are read.
func Load(path string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, Problems{{File: path, What: err.Error(), Remedy: "check the path and who may read it"}}
	}
	return Parse(path, data)
}

// readFile reads a plain file or a pipe, to a limit.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", errors.Unwrap(err))
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("is a folder")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("is larger than %d MiB", maxFile>>20)
	}
	return data, nil
}

// Parse checks a configuration that has been read; name is that of its file.
func Parse(name string, data []byte) (*Config, error) {
	schema, err := compiledConfig()
	if err != nil {
		return nil, err
	}
	d := parseDocument(name, data)
	if d.root == nil && len(d.problems) > 0 {
		return nil, d.problems
	}
	d.validate(schema)
	d.checkNames()
	c := Default()
	if d.root != nil {
		if err := d.root.Decode(&c); err != nil {
			// The schema has let through what the types do not take: say so plainly.
			var te *yaml.TypeError
			if !errors.As(err, &te) {
				te = &yaml.TypeError{Errors: []string{err.Error()}}
			}
			for _, e := range te.Errors {
				d.add(nil, e, "see mpbox config schema")
			}
		}
	}
	k := &checker{document: d, c: &c, dir: filepath.Dir(name)}
	k.run()
	if len(d.problems) > 0 {
		return nil, d.problems.sorted()
	}
	return &c, nil
}

// checkNames takes keys out of topology.names that are no router ids; a schema
// cannot tell their place.
func (d *document) checkNames() {
	_, names, ok := d.find("topology", "names")
	if !ok || names.Kind != yaml.MappingNode {
		return
	}
	kept := names.Content[:0:0]
	for i := 0; i+1 < len(names.Content); i += 2 {
		k := names.Content[i]
		if err := formats["address"](k.Value); err != nil {
			d.add(k, fmt.Sprintf("topology.names: %q is no router id", k.Value), err.Error())
			continue
		}
		kept = append(kept, k, names.Content[i+1])
	}
	names.Content = kept
}
