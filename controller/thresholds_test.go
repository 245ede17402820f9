package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"mpbox/controller/config"
)

// Rules of the file are in force, can be set by REST, are audited, and what was set
// is there after a restart, in place of the file's.
func TestThresholdRulesFromFileToRESTAndBack(t *testing.T) {
	dir := t.TempDir()
	file := fmt.Sprintf(`
openflow: {listen: ["unix:%[1]s/of.sock"]}
api: {listen: ["unix:%[1]s/api.sock"]}
store: {path: %[1]s/mpbox.db}
vpns: [{name: red}, {name: blue}]
pes:
  - {name: pe1, router_id: 10.255.0.1, driver: snmp, snmp: {address: "127.0.0.1:1", user: u, auth_password: authauth, priv_password: privpriv}}
thresholds:
  min_gain: 1.2
  rules:
    - {vpn: red, policy: default, ingress: pe1, min_connections: 3, hold_down: 1m}
`, filepath.ToSlash(dir))
	cfg, err := config.Parse(filepath.Join(dir, "mpbox.yaml"), []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	// run starts it and gives what sends requests; stop ends all.
	core, logs := observer.New(zap.InfoLevel)
	run := func() (ask func(method, path, body string, status int) string, stop func()) {
		c, err := New(cfg, "test", zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		ask = func(method, path, body string, status int) string {
			t.Helper()
			r := httptest.NewRequest(method, path, strings.NewReader(body))
			r.Host = "localhost"
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			c.api.Handler().ServeHTTP(w, r)
			if w.Code != status {
				t.Errorf("%s %s %s: %d %s", method, path, body, w.Code, w.Body)
			}
			return w.Body.String()
		}
		return ask, func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	want := func(got string, wants ...string) {
		t.Helper()
		for _, w := range wants {
			if !strings.Contains(got, w) {
				t.Errorf("no %s in %s", w, got)
			}
		}
	}
	const path = "/v1/thresholds"

	ask, stop := run()
	want(ask("GET", path, "", 200), `"min_gain":1.2`, `"rules":[{"vpn":"red","policy":"default","ingress":"pe1","min_connections":3,"hold_down":"1m0s"}]`)
	want(ask("PATCH", path+"?vpn=rde", `{"min_gain":2}`, 422), `"location":"query.vpn"`, `want one of default, red, blue`)
	want(ask("PATCH", path+"?ingress=pe1&egress=pe9", `{"min_gain":2}`, 422), `"location":"query.egress"`, `want one of pe1`)
	want(ask("PATCH", path, `{"rules":[{"policy":"gold","min_gain":2}]}`, 422), `"location":"body.rules[0].policy"`)
	want(ask("PATCH", path+"?vpn=red", `{"min_subflows":1}`, 422), `"location":"body.min_subflows"`)
	want(ask("PATCH", path+"?vpn=red", `{}`, 422), `"location":"body"`, "sets no threshold")
	want(ask("PATCH", path+"?vpn=blue", `{"min_gain":2,"settle":"2s"}`, 200), `{"vpn":"blue","min_gain":2,"settle":"2s"}]`)
	want(ask("PATCH", path+"?vpn=blue", `{"min_gain":3}`, 200), `{"vpn":"blue","min_gain":3,"settle":"2s"}]`)
	want(ask("DELETE", path+"?vpn=red&policy=default&ingress=pe1", "", 200), `"rules":[{"vpn":"blue",`)
	var audit struct {
		Items []struct{ Action, Subject, VPN, PE string }
	}
	if err := json.Unmarshal([]byte(ask("GET", "/v1/changes?limit=100", "", 200)), &audit); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range audit.Items {
		if c.Action == "threshold" {
			lines = append(lines, c.Subject)
		}
	}
	if got, w := strings.Join(lines, "\n"), `vpn=red policy=default ingress=pe1: hold_down 1m0s -> none
vpn=red policy=default ingress=pe1: min_connections 3 -> none
vpn=blue: min_gain 2 -> 3
vpn=blue: settle none -> 2s
vpn=blue: min_gain none -> 2`; got != w {
		t.Errorf("audit:\n%s\nwant\n%s", got, w)
	}
	want(ask("GET", "/v1/changes?vpn=red", "", 200), "hold_down 1m0s")
	ask("PUT", "/v1/mode", `{"mode":"auto"}`, 200)
	stop()
	if l := logs.FilterMessageSnippet("at run time"); l.Len() > 0 || logs.FilterField(zap.String("mode", "observe")).Len() != 1 {
		t.Errorf("told while the file holds: %v", logs.All())
	}

	// What the store has wins, and is told of.
	ask, stop = run()
	if l := logs.FilterMessageSnippet("at run time").All(); len(l) != 2 || l[0].ContextMap()["mode"] != "auto" || l[0].ContextMap()["configured"] != "observe" ||
		!strings.Contains(fmt.Sprint(l[1].ContextMap()["differ"]), "vpn=blue: min_gain none -> 3") {
		t.Errorf("told %v", l)
	}
	want(ask("GET", path, "", 200), `"rules":[{"vpn":"blue","min_gain":3,"settle":"2s"}]`)
	ask("PATCH", path, `{"rules":[]}`, 200)
	stop()
	if logs.FilterMessage("mpbox starts").FilterField(zap.String("mode", "auto")).Len() != 1 {
		t.Errorf("the mode in force is not told: %v", logs.All())
	}
	ask, stop = run()
	want(ask("GET", path, "", 200), `"rules":[]`)
	stop()
}
