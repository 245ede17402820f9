package config

import (
	"encoding/json"
	"fmt"

	"github.com/invopop/jsonschema"

	"mpbox/apps/tunnelmanager/plan/planfile"
	"mpbox/topology/importer"
)

// Kinds are the kinds of files that have a schema.
func Kinds() []string {
	out := make([]string, len(kinds))
	for i, k := range kinds {
		out[i] = k.name
	}
	return out
}

var kinds = []struct {
	name   string
	schema func() ([]byte, error)
}{
	{"config", configSchema},
	{"topology", topologySchema},
	{"lsps", func() ([]byte, error) { return reflectSchema(planfile.LSPs{}, "mpbox LSPs") }},
	{"demands", func() ([]byte, error) { return reflectSchema(planfile.Demands{}, "mpbox demands") }},
}

// Schema gives the JSON schema (draft 2020-12) of a kind of file.
func Schema(kind string) ([]byte, error) {
	for _, k := range kinds {
		if k.name == kind {
			return k.schema()
		}
	}
	return nil, fmt.Errorf("no schema of %q", kind)
}

// topologySchema is made of the importer's structs, whose json tags say what is
// required. What stands under lab is the lab's own.
func topologySchema() ([]byte, error) {
	r := &jsonschema.Reflector{Anonymous: true, ExpandedStruct: true, FieldNameTag: "json"}
	s := r.Reflect(importer.File{})
	s.Title = "mpbox topology"
	s.Properties.Set("lab", &jsonschema.Schema{Description: "For the lab that emulates this network; not read otherwise."})
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	return raw, nil
}
