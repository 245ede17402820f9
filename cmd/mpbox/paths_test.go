package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const trapTopology = "../../examples/topologies/trap.yaml"

// bridgeGML has one link that every path uses.
const bridgeGML = `graph [
 node [ id 0 label "A" ] node [ id 1 label "C" ] node [ id 2 label "B" ] node [ id 3 label "D" ]
 edge [ source 0 target 1 metric 5 ]
 edge [ source 1 target 2 metric 1 srlgs "7" ]
 edge [ source 1 target 3 ] edge [ source 3 target 2 srlgs "7" ]
]`

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPathsJSON(t *testing.T) {
	gml := writeFile(t, "net.gml", bridgeGML)
	code, stdout, stderr := mpbox(t, "paths", "--topology", gml, "--from", "A", "--to", "B", "--json")
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	want := `{
  "requested": "node",
  "achieved": "none",
  "cost": 13,
  "shared_cost": 5,
  "exact": true,
  "paths": [
    {"nodes": ["A", "C", "B"], "links": ["A-C", "C-B"], "cost": 6},
    {"nodes": ["A", "C", "D", "B"], "links": ["A-C", "C-D", "D-B"], "cost": 7}
  ],
  "shared": {"nodes": ["C"], "links": ["A-C"], "srlgs": [7]}
}`
	var got, compact bytes.Buffer
	if json.Compact(&got, []byte(stdout)) != nil || json.Compact(&compact, []byte(want)) != nil || got.String() != compact.String() {
		t.Errorf("got\n%s\nwant\n%s", got.String(), compact.String())
	}
	d := json.NewDecoder(strings.NewReader(stdout))
	var doc any
	if d.Decode(&doc) != nil || d.More() {
		t.Error("not exactly one document")
	}

	// Lists are never null, and both words for JSON mean the same.
	code, stdout, _ = mpbox(t, "paths", "--topology", trapTopology, "--from", "pe1", "--to", "pe2", "-k", "1", "-o", "json")
	if code != 0 || strings.Contains(stdout, "null") || !strings.Contains(stdout, `"srlgs": []`) {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

func TestPathsCommand(t *testing.T) {
	gml := writeFile(t, "net.gml", bridgeGML)
	broken := writeFile(t, "net.yaml", "nodes: [{name: A}]\nlinks: [{a: A, b: A}]\n")
	for _, tt := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"--topology " + trapTopology + " --from pe1 --to pe2", 0, "requested node, achieved node; total cost 80", ""},
		{"--topology " + trapTopology + " --from pe1 --to pe2 -k 3 --disjoint link --metric hops", 0, "pe1 > p1", ""},
		{"--topology " + gml + " --from A --to B --disjoint node-srlg", 0, "shared risk groups: 7", ""},
		{"--topology " + gml + " --from A --from C --to B --disjoint link", 0, "C > ", ""},
		{"--topology " + gml + " --from A --to B --strict", 1, "", "cannot be had"},
		{"--topology " + gml + " --from A --to B --disjoint srlg --strict", 1, "", "SRLGs [7]"},
		{"--topology " + gml + " --from A --to B -k 3", 1, "", "fewer paths than asked for"},
		{"--topology " + gml + " --from A --to X", 1, "", `node "X" is not in the topology`},
		{"--topology " + gml + " --from A --to B --avoid C", 1, "", "there is no path"},
		{"--topology " + gml + " --from A --to B --bandwidth 1M", 1, "", "there is no path"},
		{"--topology " + gml + " --from A --to B --metric delay", 1, "", "its delay is not known"},
		{"--topology " + broken + " --from A --to B", 1, "", "net.yaml"},
		{"--topology /nonexistent --from A --to B", 1, "", "/nonexistent"},
		{"--from A --to B", 2, "", `"topology"`},
		{"--topology " + gml + " --from A", 2, "", `"to"`},
		{"--topology " + gml + " --from A --to A", 2, "", `both "A"`},
		{"--topology " + gml + " --from A --to B --disjoint very", 2, "", "want node, link, srlg or node-srlg"},
		{"--topology " + gml + " --from A --to B --metric money", 2, "", "want te, igp, delay or hops"},
		{"--topology " + gml + " --from A --to B -k 0", 2, "", "-k 0"},
		{"--topology " + gml + " --from A --to B -k two", 2, "", "invalid argument"},
		{"--topology " + gml + " --from A --from C --to B -k 3", 2, "", "2 ends are given"},
		{"--topology " + gml + " --from A --from C --to B --to D --to D", 2, "", "as many of both"},
		{"--topology " + gml + " --from A --to B --priority 9", 2, "", "--priority 9"},
		{"--topology " + gml + " --from A --to B --bandwidth lots", 2, "", "--bandwidth"},
		{"--topology " + gml + " --from A --to B --max-hops -1", 2, "", "negative"},
		{"--topology " + gml + " --from A --to B -o xml", 2, "", "want table or json"},
		{"--topology " + gml + " --from A --to B more", 2, "", "unknown command"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			code, stdout, stderr := mpbox(t, append([]string{"paths"}, strings.Fields(tt.args)...)...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit %d, want %d\nstdout: %s\nstderr: %s", code, tt.code, stdout, stderr)
			}
			if tt.code != 0 && stdout != "" {
				t.Errorf("stdout: %s", stdout)
			}
		})
	}
}

// What a file leaves out is told on stderr and does not disturb the answer.
func TestPathsNotes(t *testing.T) {
	gml := writeFile(t, "net.gml", strings.Replace(bridgeGML, "\n]", "\n edge [ source 0 target 0 ]\n]", 1))
	code, stdout, stderr := mpbox(t, "paths", "--topology", gml, "--from", "A", "--to", "B", "--json")
	if code != 0 || !strings.Contains(stderr, "note: net.gml: edge 5 A-A") || !json.Valid([]byte(stdout)) {
		t.Errorf("exit %d\n%s\n%s", code, stdout, stderr)
	}
}

func TestBenchPaths(t *testing.T) {
	graph := writeFile(t, "g", "4 5\n0 1 1\n1 2 1\n0 2 4\n1 3 9\n2 3 1\n")
	pairs := writeFile(t, "p", "0 3\n3 0\n0 1\n")
	for _, extra := range [][]string{nil, {"--single"}} {
		args := append([]string{"bench", "paths", graph, pairs, "--seconds", "0.01", "--json"}, extra...)
		code, stdout, stderr := mpbox(t, args...)
		var r benchResult
		if err := json.Unmarshal([]byte(stdout), &r); code != 0 || err != nil {
			t.Fatalf("exit %d %v\n%s", code, err, stderr)
		}
		// 0-3: 0-2-3 and 0-1-3 cost 15, 0-1-2-3 with 0-2-…: none cheaper. 0-1: 1 and 5.
		if r.Found != 3 || r.None != 0 || r.Cost != 15+15+6 || r.Hops != 4+4+3 || r.PerSecond <= 0 {
			t.Errorf("%+v", r)
		}
	}
	for _, tt := range []struct{ graph, pairs, want string }{
		{"2 1\n0 5 1\n", "0 1\n", "link 1"},
		{"x", "0 1\n", "numbers of nodes and links"},
		{"2 1\n0 1 1\n", "0 9\n", "question 1"},
		{"2 1\n0 1 1\n", "", "no questions"},
	} {
		code, _, stderr := mpbox(t, "bench", "paths", writeFile(t, "g", tt.graph), writeFile(t, "p", tt.pairs), "--seconds", "0.01")
		if code != 1 || !strings.Contains(stderr, tt.want) {
			t.Errorf("%q %q: exit %d %s", tt.graph, tt.pairs, code, stderr)
		}
	}
	if code, _, _ := mpbox(t, "bench", "paths", graph); code != 2 {
		t.Errorf("one argument: exit %d", code)
	}
}
