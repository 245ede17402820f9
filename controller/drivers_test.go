package controller

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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

// protocols gives the values that the configuration's schema has for a key of snmp.
func protocols(t *testing.T, key string) []string {
	t.Helper()
	raw, err := config.Schema("config")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct {
			Properties map[string]struct{ Enum []string }
		} `json:"$defs"`
	}
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	values := schema.Defs["SNMP"].Properties[key].Enum
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
			if err := pe.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil { // all are there
				t.Fatal(err)
			}
			n := 0
			for buf := make([]byte, 2000); ; n++ {
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
