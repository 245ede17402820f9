package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mpbox/controller/api"
)

// fakeBox is a controller with 2,500 connections, two of them with one token.
type fakeBox struct {
	*api.Broker
	api.FlowReader
	api.Planner
	thresholds api.Thresholds
	mode       string
}

func (f *fakeBox) connection(i int) api.Connection {
	c := api.Connection{ID: fmt.Sprintf("c%04d", i), Token: fmt.Sprintf("%08x", i), VPN: "red", State: "established", Client: "10.1.0.1:40001", Server: "10.2.0.1:443"}
	if i == 7 {
		c.Token = "00000008"
	}
	wrong := false
	c.Subflows = []api.Subflow{
		{ID: c.ID + ".0", Kind: "initial", State: "established", Flows: api.Flows{C2S: api.Flow{Ingress: api.Place{PE: "pe1"}, Egress: api.Place{PE: "pe2"}, LSP: "mpbox/lab/pe1-pe2/1", BindingState: "verified", Route: []string{"pe1-p1", "p1-pe2"}}, S2C: api.Flow{BindingState: "none"}}},
		{ID: c.ID + ".1", Kind: "join", State: "established", Verified: &wrong, Flows: api.Flows{C2S: api.Flow{LSP: "x", BindingState: "failed"}, S2C: api.Flow{BindingState: "none"}}},
	}
	return c
}

func (f *fakeBox) Connections(_ context.Context, q api.Query) (api.Page[api.Connection], error) {
	var all []api.Connection
	for i := range 2500 {
		all = append(all, f.connection(i))
	}
	return api.Paginate(all, q, func(c api.Connection) string { return c.ID }, func(c api.Connection) bool { return q.VPN == "" || c.VPN == q.VPN }), nil
}

func (f *fakeBox) Connection(_ context.Context, id string) (api.Connection, error) {
	var i int
	if _, err := fmt.Sscanf(id, "c%d", &i); err != nil {
		return api.Connection{}, fmt.Errorf("connection %s: %w", id, api.ErrNotFound)
	}
	return f.connection(i), nil
}

func (f *fakeBox) Explain(ctx context.Context, id string) (api.Explanation, error) {
	c, err := f.Connection(ctx, id)
	return api.Explanation{Connection: c, Verdict: "not bound: too few connections", Facts: []api.Fact{{Question: "connections in the demand", Value: "2", Wanted: "at least 3 (min_connections)"}},
		Bindings: []api.Binding{{Subflow: c.ID + ".0", Direction: "c2s", PE: "pe1"}}, Changes: []api.Change{{ID: 1, Action: "wait"}}}, err
}

func (f *fakeBox) Bindings(context.Context, api.Query) (api.Page[api.Binding], error) {
	return api.Page[api.Binding]{Items: []api.Binding{{ID: "b1", State: "failed", Reason: "pe1 refused the row"}}}, nil
}

func (f *fakeBox) Datapaths(context.Context) ([]api.Datapath, error) {
	return []api.Datapath{{DPID: "0000000000000001", Name: "edge1", Connected: true, Attachments: []api.Attachment{{Name: "edge1-a", VLAN: []uint16{10, 20}}}}}, nil
}

func (f *fakeBox) Mirrors(context.Context) ([]api.Mirror, error) {
	return []api.Mirror{{Name: "span1", Interface: "ens5", State: "lost", Frames: 17, Error: &api.Problem{Step: "listen", Detail: "no such interface", Remedy: "create it"}}}, nil
}

func (f *fakeBox) PEs(context.Context) ([]api.PE, error) {
	return []api.PE{{Name: "pe1", RouterID: "10.255.0.1", Error: &api.Problem{Step: "connect", Detail: "wrong password", Remedy: "set snmp.auth_password"}}, {Name: "pe2", Reachable: true}}, nil
}

func (f *fakeBox) LSPs(context.Context, api.Query) (api.Page[api.LSP], error) {
	return api.Page[api.LSP]{Items: []api.LSP{{Name: "mpbox/lab/pe1-pe2/1", Owned: true, State: "up", Bandwidth: 20e6, Nodes: []string{"pe1", "p1", "pe2"}}, {Name: "core", State: "down", Reason: "no path"},
		{Name: "tunnel-te1", Ingress: "pe1", State: "up"}, {Name: "tunnel-te1", Ingress: "pe2", State: "down"}}}, nil
}

func (f *fakeBox) Topology(context.Context) (api.Topology, error) { return api.Topology{}, nil }

func (f *fakeBox) Plans(context.Context, api.Query) (api.Page[api.Plan], error) {
	return api.Page[api.Plan]{Items: []api.Plan{f.plan("proposed")}}, nil
}

func (f *fakeBox) plan(state string) api.Plan {
	return api.Plan{ID: "12", State: state, Trigger: "demand d1", Demands: []api.PlanDemand{{ID: "d1", Before: "none", After: "node"}}, Ops: []api.PlanOp{{N: 2, PE: "pe1", Op: "signal", LSP: "mpbox/lab/pe1-pe2/1", After: []int{1}},
		{N: 3, PE: "pe1", Op: "bind", LSP: "mpbox/lab/pe1-pe2/1", Demand: "d1", Direction: "forward", Slot: new(int), State: "failed", Error: &api.Problem{Step: "SET row", Detail: "no", Remedy: "make room"}}}}
}

func (f *fakeBox) Plan(_ context.Context, id string) (api.Plan, error) {
	if id != "12" {
		return api.Plan{}, fmt.Errorf("plan %s: %w", id, api.ErrNotFound)
	}
	return f.plan("proposed"), nil
}

func (f *fakeBox) Propose(_ context.Context, _, scope string) (api.Plan, error) {
	p := f.plan("proposed")
	p.Scope = scope
	return p, nil
}

func (f *fakeBox) Approve(_ context.Context, _, id string) (api.Plan, error) {
	if id != "12" {
		return api.Plan{}, fmt.Errorf("plan %s is done: %w", id, api.ErrConflict)
	}
	return f.plan("running"), nil
}

func (f *fakeBox) Thresholds(context.Context) (api.Thresholds, error) { return f.thresholds, nil }

func (f *fakeBox) SetThresholds(_ context.Context, _ string, t api.Thresholds) (api.Thresholds, error) {
	f.thresholds = t
	return t, nil
}

func (f *fakeBox) Mode(context.Context) (api.Mode, error) { return api.Mode{Mode: f.mode}, nil }

func (f *fakeBox) SetMode(_ context.Context, _ string, m api.Mode) (api.Mode, error) {
	f.mode = m.Mode
	return m, nil
}

func (f *fakeBox) Changes(context.Context, api.Query) (api.Page[api.Change], error) {
	return api.Page[api.Change]{Items: []api.Change{{ID: 3, Actor: "uid:0", Action: "bind", PE: "pe1", Result: "failed", Step: "SET x", Remedy: "look"}}}, nil
}

func (f *fakeBox) Status(context.Context) (api.Status, error) {
	return api.Status{Instance: "lab", Mode: f.mode, Datapaths: 1, PEs: 1, Topology: api.TopologyStatus{Source: "bgp-ls", Nodes: 100, Links: 398, BGPLS: &api.BGPLS{
		State: "in_use", Nodes: 100, Links: 398, Peers: []api.BGPLSPeer{{Address: "192.0.2.1", State: "up"}, {Address: "192.0.2.2", State: "down", Reason: "hold timer expired"}},
		Error: &api.Problem{Detail: "not in the topology that BGP-LS tells: pe9 (10.255.0.9)", Remedy: "set router_id"}}}}, nil
}
func (f *fakeBox) Ready(context.Context) error { return nil }

// box starts one and gives what --server is to be.
func box(t *testing.T, change ...func(*api.Options)) (*fakeBox, string) {
	t.Helper()
	f := &fakeBox{Broker: api.NewBroker(16), mode: "suggest", thresholds: api.Thresholds{MinConnections: 1, MinSubflows: 2, MinGain: 1.1, MaxOpsPerMinute: 600, Settle: api.Duration(500 * time.Millisecond)}}
	o := api.Options{Backend: api.Backend{Flows: f, Network: f, Plans: f, Control: f, System: f}}
	for _, c := range change {
		c(&o)
	}
	s, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Listen) == 0 {
		h := httptest.NewServer(s.Handler())
		t.Cleanup(h.Close)
		return f, h.URL
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan []net.Addr, 1), make(chan error, 1)
	go func() { done <- s.Run(ctx, func(a []net.Addr) { ready <- a }) }()
	<-ready
	t.Cleanup(func() { cancel(); <-done })
	return f, o.Listen[0]
}

func TestClients(t *testing.T) {
	_, server := box(t)
	for _, tt := range []struct {
		args  string
		code  int
		wants []string // in stdout, or in stderr where the code is not 0
	}{
		{"status", 0, []string{"instance", "edge bridges  1 of 1\n", "PEs           1 of 2\n", "lab", "suggest", "bgp-ls, 100 nodes, 398 links\n", "in use", "pe9 (10.255.0.9): set router_id\n", "192.0.2.1 up\n", "192.0.2.2 down: hold timer expired\n"}},
		{"flow --limit 2", 0, []string{"TOKEN", "c0001", "pe1>pe2", "mpbox/lab/pe1-pe2/1", "x (failed)"}},
		{"flow list --limit 2 --vpn blue", 0, []string{"TOKEN"}},
		{"flow show c0003", 0, []string{"00000003", "pe1-p1 p1-pe2", "verified"}},
		{"flow show 00000003", 0, []string{"c0003"}},
		{"flow show 00000008", 1, []string{"several connections", "c0007", "c0008"}},
		{"flow show deadbeef", 1, []string{"mpbox flow list shows them"}},
		{"flow bindings", 0, []string{"pe1 refused the row"}},
		{"explain 00000003", 0, []string{"not bound: too few", "at least 3 (min_connections)"}},
		{"lsp", 0, []string{"20M", "pe1 p1 pe2", "no path"}},
		{"lsp show core", 0, []string{"no path"}},
		{"lsp show tunnel-te1", 2, []string{"2 LSPs are called tunnel-te1"}},
		{"lsp show tunnel-te1 --pe pe2", 0, []string{"pe2", "down"}},
		{"lsp show none", 1, []string{"there is no LSP none"}},
		{"pe", 0, []string{"wrong password (set snmp.auth_password)"}},
		{"pe show 10.255.0.1", 0, []string{"what to do", "set snmp.auth_password"}},
		{"tap", 0, []string{"edge1"}},
		{"tap mirrors", 0, []string{"span1", "lost", "17", "no such interface", "create it"}},
		{"tap show edge1", 0, []string{"edge1-a", "10.20"}},
		{"threshold", 0, []string{"min_connections", "500ms"}},
		{"threshold set min-connections=3 settle=2s", 0, []string{"2s"}},
		{"threshold set min_gain=0.2", 1, []string{"min_gain: expected number >= 1"}},
		{"threshold set --vpn red --ingress pe1 --egress pe2 min_connections=3 min-bytes=2000000", 0, []string{"VPN", "red  *       pe1      pe2     min_connections=3 min_bytes=2000000"}},
		{"threshold set --vpn red --ingress pe1 --egress pe2 hold_down=1m", 0, []string{"min_connections=3 min_bytes=2000000 hold_down=1m0s"}},
		{"threshold list", 0, []string{"min_connections     3\n", "hold_down=1m0s"}},
		{"threshold set --vpn red max_ops_per_minute=3", 1, []string{"max_ops_per_minute: it is counted for all demands together"}},
		{"threshold set --vpn= min_connections=9", 2, []string{"--vpn is empty"}},
		{"threshold remove --vpn red", 1, []string{"a rule for just these demands: not found"}},
		{"threshold set colour=red", 1, []string{"colour: unexpected property"}},
		{"mode", 0, []string{"suggest"}},
		{"mode auto", 0, []string{"auto"}},
		{"plan list", 0, []string{"12", "proposed", "demand d1"}},
		{"plan show 12", 0, []string{"signal", "mpbox/lab/pe1-pe2/1", "none", "node", "d1, forward slot 1", "SET row: no (make room)"}},
		{"plan show 13", 1, []string{"plan 13: not found"}},
		{"plan approve 12", 0, []string{"running"}},
		{"plan approve 13", 1, []string{"plan 13 is done: conflict"}},
		{"plan propose --scope evaluate", 0, []string{"evaluate"}},
		{"plan propose --scope all", 1, []string{"scope: expected value to be one of"}},
		{"change", 0, []string{"SET x: look", "uid:0"}},
		{"flow list --state open", 1, []string{"want syn, established"}},
		{"events --type flow", 1, []string{"type"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			code, stdout, stderr := mpbox(t, append(strings.Fields(tt.args), "--server", server)...)
			text := stdout
			if tt.code != 0 {
				text = stderr
			}
			if code != tt.code {
				t.Errorf("exit %d\n%s%s", code, stdout, stderr)
			}
			for _, w := range tt.wants {
				if !strings.Contains(text, w) {
					t.Errorf("no %q in\n%s%s", w, stdout, stderr)
				}
			}
			if code != 0 {
				return
			}
			// The same as one JSON document.
			_, stdout, _ = mpbox(t, append(strings.Fields(tt.args), "-o", "json", "--server", server)...)
			if !json.Valid([]byte(stdout)) || strings.TrimSpace(stdout) == "" {
				t.Errorf("not one JSON document: %s", stdout)
			}
		})
	}
}

func TestThresholdRuleIsRemoved(t *testing.T) {
	f, server := box(t)
	f.thresholds.Rules = []api.ThresholdRule{{RuleMatch: api.RuleMatch{VPN: "red"}}, {RuleMatch: api.RuleMatch{VPN: "red", Egress: "pe2"}}}
	code, out, stderr := mpbox(t, "threshold", "remove", "--vpn", "red", "--server", server)
	if code != 0 || len(f.thresholds.Rules) != 1 || f.thresholds.Rules[0].Egress != "pe2" || !strings.Contains(out, "red  *       *        pe2") {
		t.Errorf("exit %d, %+v\n%s%s", code, f.thresholds.Rules, out, stderr)
	}
}

// Where TLS fails, what is missing is named.
func TestTLSRemedies(t *testing.T) {
	h := httptest.NewUnstartedServer(http.NotFoundHandler())
	h.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	h.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.StartTLS()
	t.Cleanup(h.Close)
	ca := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--server", h.URL}, "--ca FILE"},
		{[]string{"--server", h.URL, "--ca", ca}, "--cert FILE --key FILE"},
		{[]string{"--server", strings.Replace(h.URL, "127.0.0.1", "localhost", 1), "--ca", ca}, "a name of its certificate"},
	} {
		if code, _, stderr := mpbox(t, append([]string{"mode"}, tt.args...)...); code != 1 || !strings.Contains(stderr, tt.want) {
			t.Errorf("%v: exit %d, want %s\n%s", tt.args, code, tt.want, stderr)
		}
	}
}

// A list follows pages, and says when there is more.
func TestListFollowsPages(t *testing.T) {
	_, server := box(t)
	for limit, want := range map[string]int{"0": 2500, "2500": 2500, "3000": 2500, "1001": 1001, "7": 7} {
		_, out, _ := mpbox(t, "flow", "list", "--limit", limit, "--json", "--server", server)
		var page api.ListBody[api.Connection]
		if err := json.Unmarshal([]byte(out), &page); err != nil {
			t.Fatal(err)
		}
		if len(page.Items) != want || (page.Next != "") != (want < 2500) {
			t.Errorf("limit %s: %d items, next %q", limit, len(page.Items), page.Next)
		}
	}
	if _, _, stderr := mpbox(t, "flow", "list", "--limit", "7", "--server", server); !strings.Contains(stderr, "There are more") {
		t.Error(stderr)
	}
}

func TestServerByEnvironmentAndSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, server := box(t, func(o *api.Options) { o.Listen = []string{"unix:" + path} })
	t.Setenv("MPBOX_SERVER", server)
	if code, out, stderr := mpbox(t, "mode"); code != 0 || out != "suggest\n" {
		t.Error(code, out, stderr)
	}
}

func TestTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("# ours\nanna 0123456789abcdef0123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, server := box(t, func(o *api.Options) {
		o.Tokens = []api.Token{{Name: "anna", Hash: sha256.Sum256([]byte("0123456789abcdef0123"))}}
	})
	if code, _, stderr := mpbox(t, "mode", "--server", server); code != 1 || !strings.Contains(stderr, "--token-file") {
		t.Error(code, stderr)
	}
	if code, _, stderr := mpbox(t, "mode", "--server", server, "--token-file", file); code != 0 {
		t.Error(code, stderr)
	}
	t.Setenv("MPBOX_TOKEN_FILE", file)
	if code, _, stderr := mpbox(t, "mode", "--server", server); code != 0 {
		t.Error(code, stderr)
	}
}

func TestEvents(t *testing.T) {
	f, server := box(t)
	type result struct {
		code   int
		out    string
		stderr string
	}
	for _, format := range []string{"table", "json"} {
		done := make(chan result, 1)
		go func() {
			code, out, stderr := mpbox(t, "events", "--count", "2", "--type", "lsp", "-o", format, "--server", server)
			done <- result{code, out, stderr}
		}()
		// Publish until the client has both: it subscribes when it gets there.
		// Slowly: a stream that is held up while 256 wait for it is dropped.
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		var r result
		for open := true; open; {
			select {
			case r = <-done:
				open = false
			case <-tick.C:
				f.Publish(api.Event{Type: "pe", Action: "changed", Subject: "pe1"})
				f.Publish(api.Event{Type: "lsp", Action: "added", Subject: "mpbox/lab/x", State: "up"})
			}
		}
		if r.code != 0 || strings.Count(r.out, "\n") != 2 || strings.Count(r.out, "mpbox/lab/x") != 2 || strings.Contains(r.out, "pe1") {
			t.Errorf("%+v", r)
		}
	}
}
