package controller

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"mpbox/apps/tunnelmanager"
	"mpbox/controller/config"
	"mpbox/internal/itest"
	"mpbox/pe-drivers/driver"
)

// connectSNMP makes the sessions to a PE at that address, with these keys under snmp.
func connectSNMP(t *testing.T, address, keys string) tunnelmanager.Conn {
	t.Helper()
	cfg, err := config.Parse("mpbox.yaml", fmt.Appendf(nil, `
instance: lab
pes:
  - name: pe1
    router_id: 10.255.0.1
    driver: snmp
    snmp: {address: %q, auth_password: auth-secret, priv_password: priv-secret, %s}
`, address, keys))
	if err != nil {
		t.Fatal(err)
	}
	c, err := connect(cfg, &cfg.PEs[0], names(cfg), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Driver.Close() })
	return c
}

// schemaKeys gives the keys of each part of a configuration ("SNMP", "SSH"), as the
// schema has them.
func schemaKeys(t *testing.T) map[string]map[string]struct{ Enum []any } {
	t.Helper()
	raw, err := config.Schema("config")
	if err != nil {
		t.Fatal(err)
	}
	type part struct {
		Properties map[string]struct{ Enum []any }
	}
	var schema struct {
		part
		Defs map[string]part `json:"$defs"`
	}
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	keys := map[string]map[string]struct{ Enum []any }{"": schema.Properties}
	for name, p := range schema.Defs {
		keys[name] = p.Properties
	}
	return keys
}

// protocols gives the values that the schema has for a key of snmp.
func protocols(t *testing.T, key string) []string {
	t.Helper()
	var values []string
	for _, v := range schemaKeys(t)["SNMP"][key].Enum {
		values = append(values, v.(string))
	}
	if len(values) < 2 {
		t.Fatalf("%s has the values %v", key, values)
	}
	return values
}

// What the configuration says of SNMP is what a PE that does not answer is asked.
func TestSNMPSettingsAreObeyed(t *testing.T) {
	type test struct {
		keys     string
		messages int
	}
	tests := []test{{"context: blue, retries: 0", 1}, {"context: blue, retries: 3", 4}}
	for _, key := range []string{"auth", "priv"} {
		for _, value := range protocols(t, key) {
			tests = append(tests, test{"context: blue, retries: 0, " + key + ": " + value, 1})
		}
	}
	for _, tt := range tests {
		t.Run(tt.keys, func(t *testing.T) {
			t.Parallel()
			pe, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = pe.Close() }()
			c := connectSNMP(t, pe.LocalAddr().String(), "user: u, timeout: 100ms, "+tt.keys)
			if _, err := c.Driver.State(t.Context()); !errors.Is(err, driver.ErrUnreachable) || !strings.Contains(err.Error(), `context "blue"`) {
				t.Errorf("State = %v, want unreachable, with the context", err)
			}
			n := 0
			for buf := make([]byte, 2000); ; n++ {
				wait := 2 * time.Second
				if n >= tt.messages {
					wait = 10 * time.Millisecond // if more were sent, they are there
				}
				if err := pe.SetReadDeadline(time.Now().Add(wait)); err != nil {
					t.Fatal(err)
				}
				size, err := pe.Read(buf)
				if err != nil {
					break
				}
				if !bytes.Contains(buf[:size], []byte("\x04\x04blue")) {
					t.Errorf("message %x is for no context blue", buf[:size])
				}
			}
			if n != tt.messages {
				t.Errorf("%d messages were sent, want %d", n, tt.messages)
			}
		})
	}
}

// Each protocol that the configuration can name is what net-snmp knows by that name,
// with keys that are extended and with keys that need not be.
func TestIntegrationSNMPProtocols(t *testing.T) {
	itest.Need(t, "snmpd")
	port, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := port.LocalAddr().String()
	_ = port.Close()
	conf := "agentAddress udp:" + address + "\n"
	var users []string
	for _, auth := range protocols(t, "auth") {
		for _, priv := range protocols(t, "priv") {
			user := auth + "-" + priv
			users = append(users, fmt.Sprintf("user: %s, auth: %s, priv: %s", user, auth, priv))
			conf += fmt.Sprintf("createUser %s SHA%s auth-secret AES%s priv-secret\nrouser %s priv\n", user,
				strings.TrimSuffix("-"+strings.TrimPrefix(auth, "sha"), "-1"), strings.TrimSuffix("-"+strings.TrimPrefix(priv, "aes"), "-128"), user)
		}
	}
	file := filepath.Join(t.TempDir(), "snmpd.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	snmpd := exec.Command("snmpd", "-f", "-C", "-c", file, "-Lf", "/dev/null")
	snmpd.Env = append(os.Environ(), "SNMP_PERSISTENT_DIR="+file+".d")
	if err := snmpd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = snmpd.Process.Kill(); _ = snmpd.Wait() })
	for _, keys := range users {
		c := connectSNMP(t, address, keys+", retries: 10")
		for deadline := time.Now().Add(10 * time.Second); ; { // until it listens
			_, err := c.Driver.State(t.Context())
			if err != nil && strings.Contains(err.Error(), "the SNMP agent answers, but does not serve MPLS-TE-STD-MIB") {
				break
			}
			if !errors.Is(err, driver.ErrUnreachable) || time.Now().After(deadline) {
				t.Errorf("%s: %v", keys, err)
				break
			}
			<-time.After(20 * time.Millisecond)
		}
	}
}

// A PE that is written by SNMP may have its view of the network read by its CLI.
func TestTopologyByAnotherSession(t *testing.T) {
	for topology, want := range map[string]bool{"none": false, "iosxr": true} {
		cfg := &config.Config{PEs: []config.PE{{Name: "pe1", Driver: "snmp", Topology: topology, SNMP: &config.SNMP{}, SSH: &config.SSH{}}}}
		c, err := connect(cfg, &cfg.PEs[0], names(cfg), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if _, same := c.Driver.(driver.TopologyReader); (c.Topology != nil) != want || same {
			t.Errorf("topology %s: read by %T beside %T", topology, c.Topology, c.Driver)
		}
	}
}

// keyInText is how the keys of a configuration look that are no plain word.
var keyInText = regexp.MustCompile(`\b[a-z]+(_[a-z]+)+\b`)

// What drivers tell an operator to correct is there.
func TestDriversNameKeysThatExist(t *testing.T) {
	exists := map[string]bool{}
	for _, keys := range schemaKeys(t) {
		for key := range keys {
			exists[key] = true
		}
	}
	named := 0
	for _, dir := range []string{"../pe-drivers/snmp", "../pe-drivers/cli/iosxr"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(tree, func(n ast.Node) bool {
				text, ok := n.(*ast.BasicLit)
				if !ok || text.Kind != token.STRING || !strings.Contains(text.Value, " ") {
					return true
				}
				for _, key := range keyInText.FindAllString(text.Value, -1) {
					if named++; !exists[key] {
						t.Errorf("%s: no configuration has the key %s: %s", file, key, text.Value)
					}
				}
				return true
			})
		}
	}
	if named < 10 {
		t.Errorf("%d keys were found", named)
	}
}
