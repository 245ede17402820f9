package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// planFiles writes an LSP and a demand file and gives the arguments that name them.
func planFiles(t *testing.T, topology, lsps, demands string) []string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"plan", "--topology", "../../examples/topologies/" + topology + ".yaml"}
	for flag, text := range map[string]string{"--lsps": lsps, "--demands": demands} {
		path := filepath.Join(dir, strings.TrimPrefix(flag, "--")+".yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, flag, path)
	}
	return args
}

func TestPlanOnFiles(t *testing.T) {
	args := planFiles(t, "two-path", "lsps:\n  - {name: igp, route: [pe1, p1, pe2], default: true}\n  - {name: mpbox/lab/pe2-pe1/1, route: [pe2, p2, pe1]}",
		"demands:\n  - {id: web, from: pe1, to: pe2, disjoint: node}\n  - {id: old, forward: [{from: pe1, to: pe2}, {from: pe1, to: pe2}, {from: pe1, to: pe2}], disjoint: link}")
	code, stdout, stderr := mpbox(t, append(args, "--json")...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var doc struct {
		Demands []struct{ ID, Requested, Before, After, Unmet string }
		Ops     []struct {
			N           int
			PE, Op, LSP string
			Route       []string
			After       []int
		}
		LSPs []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil {
		t.Fatal(err)
	}
	web, old := doc.Demands[0], doc.Demands[1]
	if web.ID != "web" || web.Requested != "node" || web.Before != "none" || web.After != "node" || web.Unmet != "" {
		t.Errorf("%+v", web)
	}
	if old.ID != "old" || old.After != "none" || !strings.Contains(old.Unmet, "would cure it") {
		t.Errorf("%+v", old)
	}
	// An LSP is signalled before anything is bound to it, by what After says.
	signalled := map[string]int{}
	for i, o := range doc.Ops {
		if o.N != i+1 || o.After == nil || o.Route == nil {
			t.Errorf("op %d: %+v", i, o)
		}
		switch o.Op {
		case "signal":
			signalled[o.LSP] = o.N
			if o.PE != o.Route[0] {
				t.Errorf("signalled at %s: %v", o.PE, o.Route)
			}
		case "bind":
			if n, ok := signalled[o.LSP]; ok != slices.Contains(o.After, n) {
				t.Errorf("op %d does not wait for op %d: %+v", o.N, n, o)
			}
		}
	}
	if len(signalled) == 0 || signalled["mpbox/lab/pe1-pe2/1"] == 0 {
		t.Errorf("signalled %v: want the first free name under the owner's prefix", signalled)
	}
	if code, stdout, _ := mpbox(t, append(args, "--metric", "delay")...); code != 0 || !strings.Contains(stdout, "is not known: path cost is the TE metric instead") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	if code, stdout, _ := mpbox(t, append(args, "--scope", "evaluate")...); code != 0 || !strings.Contains(stdout, "nothing to do") {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

func TestPlanMistakes(t *testing.T) {
	good := "demands:\n  - {id: web, from: pe1, to: pe2}"
	for _, tt := range []struct {
		demands string
		more    []string
		code    int
		stderr  string
	}{
		{good, []string{"--scope", "all"}, 2, "--scope all: want evaluate, incremental or redesign"},
		{good, []string{"--metric", "km"}, 2, "--metric km"},
		{good, []string{"-o", "xml"}, 2, "want table or json"},
		{"demands:\n  - {id: web, from: pe1, to: pe7}", nil, 1, `demands.yaml:2:30: demands[0].to: node "pe7" is not in the topology`},
	} {
		code, _, stderr := mpbox(t, append(planFiles(t, "two-path", "lsps: []", tt.demands), tt.more...)...)
		if code != tt.code || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%s %v: exit %d, want %d: %s", tt.demands, tt.more, code, tt.code, stderr)
		}
	}
	if code, _, stderr := mpbox(t, "plan"); code != 2 || !strings.Contains(stderr, "required flag") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
