package config

import (
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The published schemas take the files that their readers take, and refuse
// unknown keys.
func TestSchemasOfOtherFiles(t *testing.T) {
	accept := map[string][]string{
		"lsps":    {"lsps: [{name: core, ingress: A, egress: B, route: [A, C, B], bandwidth: 20M, default: true}]"},
		"demands": {"demands: [{id: d1, from: A, to: B, slots: 2, disjoint: node, constraints: {max_delay: 10ms}}]"},
	}
	files, err := filepath.Glob("../../examples/topologies/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		accept["topology"] = append(accept["topology"], string(data))
	}
	refuse := map[string]string{
		"topology": "nodes: []\nlinks: []\nnods: []",
		"lsps":     "lsps: [{name: core, colour: red}]",
		"demands":  "demands: [{id: d1, disjoint: full}]",
		"config":   "mode: fast",
	}
	for _, kind := range Kinds() {
		raw, err := Schema(kind)
		if err != nil {
			t.Fatal(err)
		}
		s, err := compile(raw)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		value := func(text string) any {
			var n yaml.Node
			if err := yaml.Unmarshal([]byte(text), &n); err != nil {
				t.Fatal(err)
			}
			return plain(n.Content[0])
		}
		for _, text := range accept[kind] {
			if err := s.Validate(value(text)); err != nil {
				t.Errorf("%s: %v\n%s", kind, err, text)
			}
		}
		if err := s.Validate(value(refuse[kind])); err == nil {
			t.Errorf("%s takes %s", kind, refuse[kind])
		}
	}
	if _, err := Schema("nothing"); err == nil {
		t.Error("a schema of nothing")
	}
}
