package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// mpbox runs one command line.
func mpbox(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	for _, tt := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"--help", 0, "Examples:", ""},
		{"--version", 0, "mpbox version ", ""},
		{"tap guard --server x", 2, "", "unknown flag: --server"},
		{"", 2, "", "a command is needed"},
		{"bogus", 2, "", `unknown command "bogus"`},
		{"--bogus", 2, "", "unknown flag"},
		{"config", 2, "", "a command is needed"},
		{"config bogus", 2, "", `unknown command "bogus"`},
		{"config check", 2, "", "mpbox config check: requires at least 1 arg"},
		{"config check -o yaml ../../examples/mpbox.yaml", 2, "", "want table or json"},
		{"config check ../../examples/load.yaml", 0, "../../examples/load.yaml: ok", ""},
		{"config check ../../controller/config/testdata/broken/exposed.yaml", 1, "exposed.yaml:3:12: ", ""},
		{"config check /nonexistent.yaml", 1, "/nonexistent.yaml: cannot be read", ""},
		{"config dump ../../controller/config/testdata/broken/exposed.yaml", 1, "", "exposed.yaml:5:12: "},
		{"config dump", 0, "mode: observe", ""},
		{"config schema --for nothing", 2, "", "want one of config"},
		{"plan", 2, "", "required flag"},
		{"plan bogus", 2, "", `unknown command "bogus"`},
		{"run", 2, "", "required flag"},
		{"run --config ../../controller/config/testdata/broken/exposed.yaml", 1, "", "exposed.yaml:3:12: "},
		{"events --count -1", 2, "", "--count -1: want 0 or more"},
		{"help", 0, "Examples:", ""},
		{"help config check", 0, "mpbox config check FILE", ""},
		{"help bogus", 2, "", `unknown command "bogus"`},
		{"help config bogus", 2, "", `unknown command "config bogus"`},
		{"flow bogus", 2, "", `unknown command "bogus"`},
		{"flow show", 2, "", "accepts 1 arg"},
		{"flow list --limit -1", 2, "", "--limit -1"},
		{"paths --topology x.yaml --from a --to b -k 1000000000", 2, "", "want 1 to 1000"},
		{"flow list --server ftp://x", 2, "", "want http://host:port"},
		{"flow list --cert x", 2, "", "--cert and --key go together"},
		{"threshold set min_gain", 2, "", "want NAME=VALUE"},
		{"threshold set --vpn red", 2, "", "requires at least 1 arg"},
		{"threshold remove", 2, "", "name the rule: --vpn"},
		{"mode fast", 2, "", "want observe, suggest or auto"},
		{"flow list --server http://127.0.0.1:1", 1, "", "mpbox is not running there; start it with mpbox run --config FILE"},
		{"events --server unix:/nonexistent.sock", 1, "", "mpbox is not running there"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			code, stdout, stderr := mpbox(t, strings.Fields(tt.args)...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit %d, want %d\nstdout: %s\nstderr: %s", code, tt.code, stdout, stderr)
			}
			if tt.stdout == "" && stdout != "" {
				t.Errorf("stdout: %s", stdout)
			}
			if tt.stderr == "" && stderr != "" {
				t.Errorf("stderr: %s", stderr)
			}
		})
	}
}

// Passwords in a configuration that everybody may read are warned of, once.
func TestExposedPasswords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mpbox.yaml")
	text := "pes: [{name: pe1, router_id: 10.255.0.1, driver: snmp, snmp: {address: '127.0.0.1:1', user: u, auth_password: authauth, priv_password: privpriv}}]\n"
	for mode, want := range map[os.FileMode]string{0o600: "", 0o640: "", 0o644: "warning: " + file + ":1:111: pes[0].snmp.auth_password: everybody may read the password in this file (mode 0644): chmod 600 " + file + ", or use auth_password_file\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if code, out, stderr := mpbox(t, "config", "check", file); code != 0 || out != file+": ok\n" || stderr != want {
			t.Errorf("mode %o: exit %d\n%s%s", mode, code, out, stderr)
		}
	}
}

func TestInterruptedIsAFailure(t *testing.T) {
	var out, errs bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range []string{"flow list --server http://127.0.0.1:1", "paths --topology ../../examples/topologies/trap.yaml --from pe1 --to pe2"} {
		errs.Reset()
		if code := execute(ctx, strings.Fields(args), nil, &out, &errs); code != 1 || !strings.Contains(errs.String(), "interrupted") {
			t.Error(args, code, errs.String())
		}
	}
	// What computes for long ends when it is told to.
	ctx, cancel = context.WithCancel(t.Context())
	never := make(chan int)
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := interruptible(ctx, func() (int, error) { return <-never, nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(never)
}

func TestConfigJSON(t *testing.T) {
	code, out, _ := mpbox(t, "config", "check", "-o", "json", "../../examples/mpbox.yaml", "../../controller/config/testdata/broken/exposed.yaml")
	var v struct {
		Files []struct {
			File     string
			OK       bool
			Problems []struct{ Line, Column int }
		}
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 1 {
		t.Fatal(code, err, out)
	}
	if len(v.Files) != 2 || !v.Files[0].OK || v.Files[1].OK || len(v.Files[1].Problems) != 2 || v.Files[1].Problems[0].Line != 3 {
		t.Errorf("%+v", v)
	}
	for _, args := range [][]string{{"config", "dump", "--json", "../../examples/mpbox.yaml"}, {"config", "schema"}} {
		code, out, _ := mpbox(t, args...)
		if !json.Valid([]byte(out)) || code != 0 {
			t.Errorf("%v: exit %d: %s", args, code, out)
		}
	}
}

// Each command says what it does, and shows how it is used.
func TestHelp(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		if c.Short == "" {
			t.Errorf("%s: no description", c.CommandPath())
		}
		if c.Example == "" && c.Parent() != nil && c.Parent().Parent() == nil {
			t.Errorf("%s: no example", c.CommandPath())
		}
		if c.GroupID == "" && c.Parent() != nil && c.Parent().Parent() == nil {
			t.Errorf("%s: in no group", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
}
