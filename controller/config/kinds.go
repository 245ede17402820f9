package config

import (
	"fmt"

	"mpbox/apps/tunnelmanager/plan/planfile"
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
