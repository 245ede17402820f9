package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var sameAddr = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, f := range files {
		if _, err := Load(f); err != nil {
			t.Errorf("%v", err)
		}
	}
}

func TestLoadExample(t *testing.T) {
	c, err := Load("../../examples/mpbox.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := []any{
		c.Instance, c.Mode, c.Bridges[1].DPID, c.Bridges[0].Attachments[0].Prefixes[1], c.Bridges[0].Attachments[1].VLAN,
		c.PEs[0].SNMP.Retries, c.PEs[0].Poll, c.PEs[1].TunnelIDs, c.Policies[0].LSP.Bandwidth, c.Policies[1].LSP.SetupPriority,
		c.Thresholds.HoldDown, c.Thresholds.Settle, c.Topology.Names[netip.MustParseAddr("10.255.1.2")],
	}
	want := []any{
		"example", "suggest", DPID(2), netip.MustParsePrefix("2001:db8:1::/48"), []uint16{100},
		2, Duration(time.Second), [2]uint32{50000, 50999}, BitRate(20e6), uint8(7),
		Duration(time.Minute), Duration(500 * time.Millisecond), "rome-core",
	}
	if d := cmp.Diff(want, got, sameAddr); d != "" {
		t.Error(d)
	}
}

// A daemon's working directory may be gone.
func TestNoWorkingDirectory(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := compile([]byte(`{}`)); err != nil {
		t.Error(err)
	}
}

func TestOneDocumentOnly(t *testing.T) {
	for text, want := range map[string]int{"---\nmode: auto\n": 0, "mode: auto\n---\nmode: observe\n": 1, "mode: auto\n---\na: [\n": 1, "--- \n": 0, "# nothing\n": 0} {
		_, err := Parse("f.yaml", []byte(text))
		if got := len(ProblemsOf(err)); got != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestSubflowsFollowConnections(t *testing.T) {
	c, err := Parse("f.yaml", []byte("detector: {max_connections: 8000000}"))
	if err != nil || c.Detector.MaxSubflows != 16000000 {
		t.Error(c, err)
	}
}

// Of BGP-LS peers, what is left out follows from the rest, and is the same once it was
// dumped.
func TestBGPLSDefaults(t *testing.T) {
	c, err := Parse("f.yaml", []byte(`bgp_ls: {asn: 65000, router_id: 10.0.0.1, listen: "[::1]:1179", peers: [{address: 192.0.2.1, passive: true}, {address: "2001:db8::1", asn: 65001, port: 1790}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &BGPLS{ASN: 65000, RouterID: netip.MustParseAddr("10.0.0.1"), Listen: "[::1]:1179", FallBack: Duration(time.Minute), Peers: []BGPLSPeer{
		{Address: netip.MustParseAddr("192.0.2.1"), ASN: 65000, Port: 179, Passive: true}, {Address: netip.MustParseAddr("2001:db8::1"), ASN: 65001, Port: 1790}}}
	if d := cmp.Diff(want, c.BGPLS, sameAddr); d != "" {
		t.Error(d)
	}
	dump, err := c.Dump()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("f.yaml", dump)
	if err != nil {
		t.Fatalf("%v\n%s", err, dump)
	}
	if d := cmp.Diff(want, again.BGPLS, sameAddr); d != "" {
		t.Error(d)
	}
}

func TestEmptyFileIsDefault(t *testing.T) {
	c, err := Parse("empty.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Default(), *c, sameAddr); d != "" {
		t.Error(d)
	}
}

// What is dumped can be loaded, and is the same; secrets are not in it.
func TestDump(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"auth", "priv", "ssh"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("hidden-"+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile("../../examples/mpbox.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("auth_password: change-me-auth ", "auth_password_file: auth ",
		"priv_password: change-me-priv", "priv_password_file: priv", " password: change-me\n", " password_file: ssh\n").Replace(string(data))
	c, err := Parse(filepath.Join(dir, "mpbox.yaml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(c.PEs[0].SNMP.AuthPassword); got != "hidden-auth" {
		t.Fatalf("password from file: %q", got)
	}
	dump, err := c.Dump()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(dump, []byte("hidden")) {
		t.Errorf("a secret was dumped:\n%s", dump)
	}
	again, err := Parse(filepath.Join(dir, "dump.yaml"), dump)
	if err != nil {
		t.Fatalf("%v\n%s", err, dump)
	}
	if d := cmp.Diff(c, again, sameAddr, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("-config +dumped and loaded:\n%s", d)
	}
	// Inline secrets are hidden too.
	c, err = Parse("mpbox.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	if dump, err = c.Dump(); err != nil || bytes.Contains(dump, []byte("change-me")) || !bytes.Contains(dump, []byte(redacted)) {
		t.Errorf("dump of inline secrets: %v\n%s", err, dump)
	}
	if s := fmt.Sprintf("%v %+v %#v", c.PEs[1].SSH, c.PEs[1].SSH, *c.PEs[1].SSH); strings.Contains(s, "change-me") {
		t.Errorf("printed: %s", s)
	}
}

func TestSchema(t *testing.T) {
	raw, err := configSchema()
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Schema     string `json:"$schema"`
		Additional *bool  `json:"additionalProperties"`
		Properties map[string]struct {
			Default any `json:"default"`
		} `json:"properties"`
		Defs map[string]struct {
			Additional *bool          `json:"additionalProperties"`
			Required   []string       `json:"required"`
			Properties map[string]any `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	if s.Schema != "https://json-schema.org/draft/2020-12/schema" || s.Properties["mode"].Default != "observe" {
		t.Errorf("%s, mode %v", s.Schema, s.Properties["mode"])
	}
	if s.Additional == nil || *s.Additional {
		t.Error("unknown keys are allowed at the top")
	}
	for name, d := range s.Defs {
		if d.Additional == nil || *d.Additional {
			t.Errorf("unknown keys are allowed in %s", name)
		}
	}
	if d := cmp.Diff([]string{"name", "router_id", "driver"}, s.Defs["PE"].Required); d != "" {
		t.Error(d)
	}
	if got := s.Defs["PE"].Properties["poll"].(map[string]any)["default"]; got != "1s" {
		t.Errorf("default of poll: %v", got)
	}
}

func TestScalars(t *testing.T) {
	rates := map[string]float64{"0": 0, "20M": 20e6, "1.5G": 1.5e9, "100k": 1e5, "64 kbit/s": 64e3, "2.5e6": 2.5e6, "1T": 1e12}
	for in, want := range rates {
		var r BitRate
		if err := r.UnmarshalText([]byte(in)); err != nil || float64(r) != want {
			t.Errorf("%s: %v, %v", in, r, err)
		}
		var back BitRate
		if err := back.UnmarshalText([]byte(r.String())); err != nil || back != r {
			t.Errorf("%s is written as %s, read as %v", in, r, float64(back))
		}
	}
	for _, in := range []string{"", "M", "20MB", "-1", "inf", "NaN", "1 2"} {
		if err := new(BitRate).UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q was taken", in)
		}
	}
	for in, want := range map[Duration]string{0: "0s", Duration(2 * time.Minute): "2m", Duration(90 * time.Second): "1m30s", Duration(24 * time.Hour): "24h", Duration(time.Hour + 30*time.Second): "1h0m30s"} {
		if in.String() != want {
			t.Errorf("%s, want %s", in, want)
		}
	}
	for in, want := range map[Endpoint]bool{
		"127.0.0.1:1": true, "[::1]:1": true, "localhost:1": true, "unix:/x": true, "tcp:127.0.0.1:6653": true,
		"0.0.0.0:1": false, ":1": false, "[::]:1": false, "192.0.2.1:1": false, "example.net:1": false,
	} {
		if in.Local() != want {
			t.Errorf("%s local: %v", in, !want)
		}
	}
}

// Whatever a file holds, there is an answer, and it has a place.
func FuzzParse(f *testing.F) {
	for _, dir := range []string{"testdata/broken", "../../examples"} {
		files, _ := filepath.Glob(dir + "/*.yaml")
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? [x]\n: y"))
	f.Add([]byte("- 1"))
	f.Add([]byte("bridges: [~, {dpid: ~}]"))
	f.Add([]byte("pes: [~]\npolicies: [~]\nvpns: [~]\napi: {listen: [~]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("fuzz.yaml", data)
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
		for _, p := range ProblemsOf(err) {
			if p.Line < 1 || p.Remedy == "" {
				t.Errorf("%q", p)
			}
		}
	})
}
