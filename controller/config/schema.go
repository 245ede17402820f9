package config

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v3"
)

// reflectSchema makes the JSON schema (draft 2020-12) of a struct with yaml tags.
// defaults are values of struct types, from which the defaults are taken.
func reflectSchema(v any, title string, defaults ...any) ([]byte, error) {
	r := &jsonschema.Reflector{
		Anonymous:                  true,
		RequiredFromJSONSchemaTags: true,
		ExpandedStruct:             true,
		FieldNameTag:               "yaml",
		Mapper:                     mapType,
	}
	s := r.Reflect(v)
	s.Title = title
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	defs, _ := m["$defs"].(map[string]any)
	for _, d := range defaults {
		target := m
		if t := reflect.TypeOf(d); t != reflect.TypeOf(v) {
			target, _ = defs[t.Name()].(map[string]any)
		}
		if target == nil {
			return nil, fmt.Errorf("write schema: no definition of %T", d)
		}
		if err := addDefaults(target, d); err != nil {
			return nil, err
		}
	}
	return json.MarshalIndent(m, "", "  ")
}

// addDefaults writes the scalar fields of v that are not empty as defaults.
func addDefaults(schema map[string]any, v any) error {
	raw, err := yaml.Marshal(v)
	if err != nil {
		return fmt.Errorf("write schema: %w", err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(raw, &values); err != nil {
		return fmt.Errorf("write schema: %w", err)
	}
	props, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	for key, value := range values {
		p, ok := props[key].(map[string]any)
		if !ok || p["$ref"] != nil || slices.Contains(required, any(key)) {
			continue
		}
		switch x := value.(type) {
		case nil, map[string]any:
		case string:
			if x != "" {
				p["default"] = x
			}
		case []any:
			if _, isStruct := first(x).(map[string]any); len(x) > 0 && !isStruct {
				p["default"] = x
			}
		default:
			p["default"] = x
		}
	}
	return nil
}

func first(x []any) any {
	if len(x) == 0 {
		return nil
	}
	return x[0]
}

var (
	typeDuration = reflect.TypeFor[Duration]()
	typeBitRate  = reflect.TypeFor[BitRate]()
	typeDPID     = reflect.TypeFor[DPID]()
	typeAddr     = reflect.TypeFor[netip.Addr]()
	typePrefix   = reflect.TypeFor[netip.Prefix]()
)

// mapType gives the schema of types that YAML writes in a form of their own.
func mapType(t reflect.Type) *jsonschema.Schema {
	str := func(format string, example any) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "string", Format: format, Examples: []any{example}}
	}
	switch t {
	case typeDuration:
		return str("duration-go", "10s")
	case typeBitRate:
		return &jsonschema.Schema{
			AnyOf:    []*jsonschema.Schema{{Type: "number", Minimum: "0"}, {Type: "string", Format: "bit-rate"}},
			Examples: []any{"20M"},
		}
	case typeDPID:
		return str("dpid", "0000000000000001")
	case typeAddr:
		return str("address", "10.255.0.1")
	case typePrefix:
		return str("prefix", "10.1.0.0/24")
	}
	switch t.Kind() {
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return &jsonschema.Schema{Type: "integer", Minimum: "0", Maximum: json.Number(fmt.Sprint(uint64(1)<<t.Bits() - 1))}
	case reflect.Uint64, reflect.Uint:
		return &jsonschema.Schema{Type: "integer", Minimum: "0"}
	default:
		return nil
	}
}

// configSchema is the schema of a configuration file.
func configSchema() ([]byte, error) {
	d := Default()
	return reflectSchema(Config{}, "mpbox configuration", d, d.OpenFlow, d.OpenFlow.Observe, d.Tap, d.Detector,
		d.Topology, d.Thresholds, d.API, d.Store, d.Log, defaultPE(), defaultSNMP(), defaultSSH(),
		defaultPolicy(), Match{VPN: "*"}, defaultPolicy().LSP, defaultAttachment(), defaultMirror(), defaultMirrorAttachment(),
		defaultBGPLS(), defaultBGPLSPeer())
}
