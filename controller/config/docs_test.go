package config

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const docFile = "../../docs/configuration.md"

// docs/configuration.md is made of the structs: go test ./controller/config -update.
func TestReferenceIsUpToDate(t *testing.T) {
	got := reference(t)
	if *update {
		if err := os.WriteFile(docFile, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("run go test ./controller/config -update\n-file +structs:\n%s", d)
	}
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// What the page shows can be loaded.
func TestReferenceExamplesLoad(t *testing.T) {
	text, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	blocks := yamlBlock.FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Fatal("no examples")
	}
	for _, b := range blocks {
		if _, err := Parse("docs.yaml", []byte(b[1])); err != nil {
			t.Errorf("%v in\n%s", err, b[1])
		}
	}
}

const intro = `# Configuration

mpbox reads one YAML file: ` + "`mpbox run --config FILE`" + `. Check it first:

    mpbox config check FILE     each error with file:line:column and what to do; exit 1 if there is one
    mpbox config dump FILE      the configuration in force, defaults filled in, secrets left out
    mpbox config schema         its JSON schema, for editors: # yaml-language-server: $schema=mpbox.schema.json

Unknown keys are refused. Every key but those marked *required* may be left out. Names of files
are relative to the configuration's folder. Files with secrets must not be readable by others
(chmod 600); of this file itself, with passwords in it, that is a warning. Durations are written like ` + "`500ms`, `10s`, `2m`" + `, bit rates like ` + "`100k`, `20M`, `1.5G`" + `.
Thresholds and the mode can be changed at run time; what was set there is kept and wins over the file.

A whole example is in [examples/mpbox.yaml](../examples/mpbox.yaml); one that reads mirror ports, without
any bridge, in [examples/mirror.yaml](../examples/mirror.yaml). The smallest one that steers:

` + "```yaml" + `
instance: lab
mode: auto
bridges:
  - name: edge1
    dpid: "0000000000000001"
    attachments:
      - {name: paris, ce_port: 1, pe_port: 2, pe: pe1, pe_interface: GigabitEthernet0/0/0/1}
  - name: edge2
    dpid: "0000000000000002"
    attachments:
      - {name: rome, ce_port: 1, pe_port: 2, pe: pe2, pe_interface: GigabitEthernet0/0/0/1}
pes:
  - name: pe1
    router_id: 10.255.0.1
    driver: iosxr
    topology: iosxr
    ssh: {address: "192.0.2.1:22", user: mpbox, password: change-me, host_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChOEYVAVlIAFB6FTGm6h8m5eVkoKNMYqwDJbZMCW"}
  - name: pe2
    router_id: 10.255.0.2
    driver: iosxr
    topology: iosxr
    ssh: {address: "192.0.2.2:22", user: mpbox, password: change-me, host_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChOEYVAVlIAFB6FTGm6h8m5eVkoKNMYqwDJbZMCW"}
` + "```" + `

What follows is made of the program's own structs.
`

func reference(t *testing.T) string {
	t.Helper()
	raw, err := configSchema()
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(intro)
	section(&b, schema, reflect.TypeFor[Config](), "")
	return b.String()
}

// section writes the keys of a struct, and then those of the structs in it.
func section(b *strings.Builder, schema map[string]any, typ reflect.Type, path string) {
	def := schema
	if path != "" {
		def = schema["$defs"].(map[string]any)[typ.Name()].(map[string]any)
		fmt.Fprintf(b, "\n## %s\n", path)
	} else {
		b.WriteString("\n## Top level\n")
	}
	b.WriteString("\n| key | value | default | meaning |\n|---|---|---|---|\n")
	required := fmt.Sprint(def["required"])
	type sub struct {
		typ  reflect.Type
		path string
	}
	var subs []sub
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "-" {
			continue
		}
		p := def["properties"].(map[string]any)[name].(map[string]any)
		value, inner := valueOf(f.Type, p)
		where := strings.TrimPrefix(path+"."+name, ".")
		if inner != nil {
			if f.Type.Kind() == reflect.Slice {
				where += "[]"
			}
			subs = append(subs, sub{inner, where})
		}
		fallback := ""
		if d, ok := p["default"]; ok {
			j, _ := json.Marshal(d)
			fallback = "`" + strings.Trim(string(j), `"`) + "`"
		}
		if regexp.MustCompile(`\b` + name + `\b`).MatchString(required) {
			fallback = "*required*"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, value, fallback, strings.ReplaceAll(f.Tag.Get("jsonschema_description"), "|", "\\|"))
	}
	for _, s := range subs {
		section(b, schema, s.typ, s.path)
	}
}

// valueOf says what a key takes, and which struct is below it.
func valueOf(typ reflect.Type, p map[string]any) (string, reflect.Type) {
	list := ""
	if typ.Kind() == reflect.Slice {
		list = "list of "
		typ = typ.Elem()
		if items, ok := p["items"].(map[string]any); ok {
			p = items
		}
	}
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if enum, ok := p["enum"].([]any); ok {
		words := make([]string, len(enum))
		for i, w := range enum {
			words[i] = fmt.Sprintf("`%v`", w)
		}
		return list + strings.Join(words, ", "), nil
	}
	switch typ {
	case typeDuration:
		return list + "duration", nil
	case typeBitRate:
		return list + "bit rate", nil
	case typeDPID:
		return list + "16 hex digits", nil
	case typeAddr:
		return list + "address", nil
	case typePrefix:
		return list + "prefix", nil
	case reflect.TypeFor[Secret]():
		return "secret", nil
	case reflect.TypeFor[Endpoint]():
		return list + "host:port or unix:/path", nil
	}
	switch typ.Kind() {
	case reflect.Struct:
		return list + "keys", typ
	case reflect.Map:
		return "names by address", nil
	case reflect.Bool:
		return "true, false", nil
	case reflect.String:
		return list + "text", nil
	case reflect.Array:
		return "[first, last]", nil
	default: // numbers
	}
	lo, hi := p["minimum"], p["maximum"]
	switch {
	case hi != nil && lo != nil:
		return list + fmt.Sprintf("%v to %v", number(lo), number(hi)), nil
	case lo != nil:
		return list + fmt.Sprintf("number, at least %v", number(lo)), nil
	default:
		return list + "number", nil
	}
}

func number(v any) string { return fmt.Sprintf("%.0f", v) }
