package ovs

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/digitalocean/go-openvswitch/ovsdb"
)

const database = "Open_vSwitch"

// dialDB connects to an OVSDB server at "unix:/path" or "tcp:host:port".
func dialDB(ctx context.Context, addr string) (*ovsdb.Client, error) {
	network, address, ok := strings.Cut(addr, ":")
	if !ok || network != "unix" && network != "tcp" {
		return nil, fmt.Errorf("connect to OVSDB at %q: unix:/path or tcp:host:port", addr)
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("connect to OVSDB: %w (does ovsdb-server run, and listen there?)", err)
	}
	client, err := ovsdb.New(c)
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("connect to OVSDB: %w", err)
	}
	return client, nil
}

// mutate is RFC 7047's mutate operation (section 5.2.4), which the module lacks: it
// sets keys of a map column in all rows that match.
type mutate struct {
	table, column string
	where         []ovsdb.Cond
	set           map[string]string
}

func (m mutate) MarshalJSON() ([]byte, error) {
	var keys []string
	var pairs [][2]string
	for k, v := range m.set {
		keys = append(keys, k)
		pairs = append(pairs, [2]string{k, v})
	}
	return json.Marshal(map[string]any{
		"op": "mutate", "table": m.table, "where": conds(m.where),
		"mutations": []any{
			[]any{m.column, "delete", []any{"set", keys}},
			[]any{m.column, "insert", []any{"map", pairs}},
		},
	})
}

// update is RFC 7047's update operation (section 5.2.3).
type update struct {
	table string
	where []ovsdb.Cond
	row   map[string]any
}

func (u update) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"op": "update", "table": u.table, "where": conds(u.where), "row": u.row})
}

func conds(c []ovsdb.Cond) []ovsdb.Cond {
	if c == nil {
		return []ovsdb.Cond{}
	}
	return c
}

// Values in a row are strings, numbers, or ["set", [...]], ["map", [[k, v]...]],
// ["uuid", "…"] (RFC 7047 section 5.1).

func str(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return "" // ["set", []] where the column is not set
}

func strs(v any) []string {
	var out []string
	for _, e := range elements(v) {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func uuids(v any) []string {
	var out []string
	for _, e := range elements(v) {
		if u, ok := tagged(e, "uuid").(string); ok {
			out = append(out, u)
		}
	}
	return out
}

// elements of a set; a set of one is written as that one.
func elements(v any) []any {
	if set, ok := tagged(v, "set").([]any); ok {
		return set
	}
	return []any{v}
}

func tagged(v any, tag string) any {
	if a, ok := v.([]any); ok && len(a) == 2 && a[0] == tag {
		return a[1]
	}
	return nil
}

func stringMap(v any) map[string]string {
	out := map[string]string{}
	pairs, _ := tagged(v, "map").([]any)
	for _, p := range pairs {
		if kv, ok := p.([]any); ok && len(kv) == 2 {
			out[str(kv[0])] = str(kv[1])
		}
	}
	return out
}

func number(v any) (int64, bool) {
	f, ok := v.(float64)
	return int64(f), ok
}
