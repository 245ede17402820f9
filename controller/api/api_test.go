package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(t *testing.T, f *fake, change ...func(*Options)) *Server {
	t.Helper()
	o := Options{Backend: f.backend(), Version: "1.2.3", Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "mpbox_up 1") })}
	for _, c := range change {
		c(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// call makes one request and gives status, headers and body.
func call(t *testing.T, s *Server, method, target, body string, header ...string) (int, http.Header, []byte) {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "localhost:8080"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w.Code, w.Header(), w.Body.Bytes()
}

// schemas compiles parts of the API's own description.
func schemas(t *testing.T, s *Server) func(pointer string) *jsonschema.Schema {
	t.Helper()
	_, _, raw := call(t, s, "GET", "/openapi.json", "")
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return func(pointer string) *jsonschema.Schema {
		sch, err := c.Compile("openapi.json#" + pointer)
		if err != nil {
			t.Fatalf("%s: %v", pointer, err)
		}
		return sch
	}
}

func escape(path string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(path)
}

// Each route answers with what the description says, good and bad.
func TestRoutes(t *testing.T) {
	for _, tt := range []struct {
		method, target, route, body string
		status                      int
		want                        string // in the body
	}{
		{"GET", "/v1/connections", "/v1/connections", "", 200, `"token":"7f3a9c00"`},
		{"GET", "/v1/connections/c1", "/v1/connections/{id}", "", 200, `"verified":null`},
		{"GET", "/v1/connections/none", "/v1/connections/{id}", "", 404, "connection none: not found"},
		{"GET", "/v1/subflows", "/v1/subflows", "", 200, `"kind":"join"`},
		{"GET", "/v1/bindings?state=verified", "/v1/bindings", "", 200, `"dscp":3`},
		{"GET", "/v1/bindings?state=failed", "/v1/bindings", "", 200, `"items":[]`},
		{"GET", "/v1/explain/c0", "/v1/explain/{id}", "", 200, `"verdict":"bound`},
		{"GET", "/v1/explain/none", "/v1/explain/{id}", "", 404, "not found"},
		{"GET", "/v1/datapaths", "/v1/datapaths", "", 200, `"edge2"`},
		{"GET", "/v1/datapaths?pe=pe1", "/v1/datapaths", "", 200, `"edge1"`},
		{"GET", "/v1/mirrors", "/v1/mirrors", "", 200, `"handshakes":4`},
		{"GET", "/v1/mirrors?pe=pe2", "/v1/mirrors", "", 200, `"items":[{"name":"span2"`},
		{"GET", "/v1/mirrors?state=lost", "/v1/mirrors", "", 200, `"items":[{"name":"span2"`},
		{"GET", "/v1/mirrors?state=gone", "/v1/mirrors", "", 422, "listening, down, lost"},
		{"GET", "/v1/pes", "/v1/pes", "", 200, `"sets_sent":7`},
		{"GET", "/v1/pes?state=unreachable", "/v1/pes", "", 200, `"name":"pe2"`},
		{"GET", "/v1/lsps?state=down", "/v1/lsps", "", 200, `"no path"`},
		{"GET", "/v1/topology", "/v1/topology", "", 200, `"delay":"1ms"`},
		{"GET", "/v1/demands", "/v1/demands", "", 200, `"achieved":"node"`},
		{"GET", "/v1/plans", "/v1/plans", "", 200, `"proposed"`},
		{"GET", "/v1/plans/p1", "/v1/plans/{id}", "", 200, `"after":[1]`},
		{"GET", "/v1/plans/p2", "/v1/plans/{id}", "", 404, "plan p2"},
		{"POST", "/v1/plans/p1/approve", "/v1/plans/{id}/approve", "", 200, `"actor":"local"`},
		{"POST", "/v1/plans/p2/approve", "/v1/plans/{id}/approve", "", 404, "plan p2"},
		{"POST", "/v1/plans", "/v1/plans", `{"scope":"incremental"}`, 201, `"ops":[`},
		{"POST", "/v1/plans", "/v1/plans", `{"scope":"redesign"}`, 501, "not supported"},
		{"POST", "/v1/plans", "/v1/plans", `{"scope":"all"}`, 422, "body.scope"},
		{"GET", "/v1/thresholds", "/v1/thresholds", "", 200, `"settle":"500ms"`},
		{"PATCH", "/v1/thresholds", "/v1/thresholds", `{"min_connections":3,"hold_down":"2m"}`, 200, `"min_connections":3`},
		{"PATCH", "/v1/thresholds", "/v1/thresholds", `{"min_gain":0.5}`, 422, "body.min_gain"},
		{"PATCH", "/v1/thresholds", "/v1/thresholds", `{"settle":"2m"}`, 422, "want 0s to 1m"},
		{"PATCH", "/v1/thresholds", "/v1/thresholds", `{"settle":"soon"}`, 422, "body.settle"},
		{"PATCH", "/v1/thresholds", "/v1/thresholds", `{"min_bytes":13}`, 422, "bad luck"},
		{"PATCH", "/v1/thresholds", "/v1/thresholds", `{"min_conections":3}`, 422, "min_conections"},
		{"PUT", "/v1/thresholds", "/v1/thresholds", `{"min_connections":3}`, 422, "required"},
		{"PUT", "/v1/thresholds", "/v1/thresholds", `{"min_connections":2,"min_subflows":2,"min_gain":1,"min_age":"0s","min_bytes":0,"settle":"0s","hold_down":"0s","max_ops_per_minute":1,"release_delay":"0s"}`, 200, `"max_ops_per_minute":1`},
		{"GET", "/v1/thresholds", "/v1/thresholds", ``, 200, `"rules":[{"vpn":"red","ingress":"pe1","min_connections":5}]`},
		{"PUT", "/v1/thresholds", "/v1/thresholds", `{"min_connections":2,"min_subflows":2,"min_gain":1,"min_age":"0s","min_bytes":0,"settle":"0s","hold_down":"0s","max_ops_per_minute":1,"release_delay":"0s"}`, 200, `"rules":[{"vpn":"red","ingress":"pe1","min_connections":5}]`},
		{"PUT", "/v1/thresholds", "/v1/thresholds", `{"min_connections":2,"min_subflows":2,"min_gain":1,"min_age":"0s","min_bytes":0,"settle":"0s","hold_down":"0s","max_ops_per_minute":1,"release_delay":"0s","rules":[]}`, 200, `"rules":[]`},
		{"PUT", "/v1/thresholds", "/v1/thresholds", `{"min_connections":2,"min_subflows":2,"min_gain":1,"min_age":"0s","min_bytes":0,"settle":"0s","hold_down":"0s","max_ops_per_minute":1,"release_delay":"0s","rules":null}`, 200, `"rules":[{"vpn":"red"`},
		{"PATCH", "/v1/thresholds", "/v1/thresholds", `{"rules":[{"policy":"video","min_gain":2}]}`, 200, `"rules":[{"policy":"video","min_gain":2}]`},
		{"PATCH", "/v1/thresholds", "/v1/thresholds", `{"rules":[{"policy":"video","min_gain":0.5}]}`, 422, `body.rules[0].min_gain`},
		{"PATCH", "/v1/thresholds", "/v1/thresholds", `{"rules":[{"policy":"video","settle":"2m"}]}`, 422, `body.rules[0].settle`},
		{"PATCH", "/v1/thresholds", "/v1/thresholds", `{"rules":[{"policy":"video","max_ops_per_minute":2}]}`, 422, `body.rules[0]`},
		{"PATCH", "/v1/thresholds", "/v1/thresholds", `{"rules":[{"vpn":"rde","min_gain":2}]}`, 422, `body.rules[0].vpn`},
		{"PATCH", "/v1/thresholds?ingress=pe1&vpn=red", "/v1/thresholds", `{"hold_down":"2m"}`, 200, `"rules":[{"vpn":"red","ingress":"pe1","min_connections":5,"hold_down":"2m0s"}]`},
		{"PATCH", "/v1/thresholds?vpn=red", "/v1/thresholds", `{"hold_down":"2m"}`, 200, `"min_connections":5},{"vpn":"red","hold_down":"2m0s"}]`},
		{"PATCH", "/v1/thresholds?vpn=rde", "/v1/thresholds", `{"hold_down":"2m"}`, 422, `query.vpn`},
		{"PATCH", "/v1/thresholds?vpn=red", "/v1/thresholds", `{"settle":"2m"}`, 422, `"location":"body.settle"`},
		{"PATCH", "/v1/thresholds?vpn=red", "/v1/thresholds", `{}`, 422, `"location":"body"`},
		{"PATCH", "/v1/thresholds?vpn=red", "/v1/thresholds", `{"rules":[]}`, 422, `body.rules`},
		{"PATCH", "/v1/thresholds?vpn=red", "/v1/thresholds", `{"max_ops_per_minute":2}`, 422, `body.max_ops_per_minute`},
		{"PATCH", "/v1/thresholds?pe=pe1", "/v1/thresholds", `{"hold_down":"2m"}`, 422, `query.pe`},
		{"PATCH", "/v1/thresholds?vnp=red", "/v1/thresholds", `{"hold_down":"2m"}`, 422, `query.vnp`},
		{"PATCH", "/v1/thresholds?vpn=", "/v1/thresholds", `{"hold_down":"2m"}`, 422, `query.vpn`},
		{"PUT", "/v1/thresholds?vpn=red", "/v1/thresholds", `{"min_connections":2,"min_subflows":2,"min_gain":1,"min_age":"0s","min_bytes":0,"settle":"0s","hold_down":"0s","max_ops_per_minute":1,"release_delay":"0s"}`, 422, `query.vpn`},
		{"DELETE", "/v1/thresholds?vpn=red&ingress=pe1", "/v1/thresholds", ``, 200, `"rules":[]`},
		{"DELETE", "/v1/thresholds?vpn=red", "/v1/thresholds", ``, 404, `a rule for just these demands`},
		{"DELETE", "/v1/thresholds", "/v1/thresholds", ``, 422, `query.vpn`},
		{"GET", "/v1/mode", "/v1/mode", "", 200, `"suggest"`},
		{"PUT", "/v1/mode", "/v1/mode", `{"mode":"auto"}`, 200, `"auto"`},
		{"PUT", "/v1/mode", "/v1/mode", `{"mode":"fast"}`, 422, "body.mode"},
		{"PUT", "/v1/mode", "/v1/mode", `{`, 400, ""},
		{"GET", "/v1/changes", "/v1/changes", "", 200, `"items":[]`},
		{"GET", "/v1/status", "/v1/status", "", 200, `"instance":"lab"`},
		{"GET", "/v1/connections?state=open", "/v1/connections", "", 422, "want syn, established"},
		{"GET", "/v1/connections?vpm=red", "/v1/connections", "", 422, "vpm"},
		{"GET", "/v1/connections?limit=0", "/v1/connections", "", 422, "query.limit"},
		{"GET", "/v1/connections?limit=5000", "/v1/connections", "", 422, "query.limit"},
		{"GET", "/v1/connections?since=yesterday", "/v1/connections", "", 422, "how long ago"},
		{"GET", "/v1/connections?after=zzz", "/v1/connections", "", 422, "query.after"},
		{"GET", "/v1/topology?state=up", "/v1/topology", "", 422, "state"},
	} {
		t.Run(tt.method+" "+tt.target+" "+tt.body, func(t *testing.T) {
			s := newServer(t, newFake())
			status, header, body := call(t, s, tt.method, tt.target, tt.body)
			if status != tt.status || !strings.Contains(string(body), tt.want) {
				t.Fatalf("%d %s\nwant %d with %s", status, body, tt.status, tt.want)
			}
			kind, key := "application/json", fmt.Sprint(status)
			if status >= 400 {
				kind = "application/problem+json"
			}
			if got := header.Get("Content-Type"); got != kind {
				t.Errorf("content type %s, want %s", got, kind)
			}
			at := "/paths/" + escape(tt.route) + "/" + strings.ToLower(tt.method) + "/responses/" + key + "/content/" + escape(kind) + "/schema"
			v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
			if err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if err := schemas(t, s)(at).Validate(v); err != nil {
				t.Errorf("not as described: %v\n%s", err, body)
			}
		})
	}
}

// Each status by which the server refuses is in the description of its route.
func TestRefusalsAreDescribed(t *testing.T) {
	open, locked := newServer(t, newFake()), newServer(t, newFake(), withTokens)
	empty, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		s                           *Server
		method, target, route, body string
		header                      []string
		status                      int
	}{
		{locked, "GET", "/v1/mode", "/v1/mode", "", nil, 401},
		{locked, "GET", "/metrics", "/metrics", "", nil, 401},
		{locked, "GET", "/v1/events", "/v1/events", "", nil, 401},
		{locked, "GET", "/v1/pes", "/v1/pes", "", nil, 401},
		{locked, "PUT", "/v1/mode", "/v1/mode", `{"mode":"auto"}`, []string{"Authorization", "Bearer " + secret, "Sec-Fetch-Site", "cross-site"}, 403},
		{open, "GET", "/v1/lsps", "/v1/lsps", "", []string{"Host", "evil.example"}, 403},
		{open, "GET", "/-/ready", "/-/ready", "", []string{"Host", "evil.example"}, 403},
		{open, "PUT", "/v1/mode", "/v1/mode", "", nil, 400},
		{open, "PUT", "/v1/mode", "/v1/mode", strings.Repeat(" ", 2<<20) + `{"mode":"auto"}`, nil, 413},
		{open, "PUT", "/v1/mode", "/v1/mode", "mode: auto", []string{"Content-Type", "application/yaml"}, 415},
		{empty, "GET", "/v1/status", "/v1/status", "", nil, 503},
		{empty, "GET", "/v1/lsps", "/v1/lsps", "", nil, 503},
		{empty, "GET", "/v1/events", "/v1/events", "", nil, 503},
		{empty, "GET", "/-/ready", "/-/ready", "", nil, 503},
	} {
		status, _, body := call(t, tt.s, tt.method, tt.target, tt.body, tt.header...)
		item := tt.s.OpenAPI().Paths[tt.route]
		op := map[string]*huma.Operation{"GET": item.Get, "PUT": item.Put}[tt.method]
		if status != tt.status || op.Responses[fmt.Sprint(status)] == nil {
			t.Errorf("%s %s: %d, want %d, described\n%s", tt.method, tt.target, status, tt.status, body)
		}
	}
}

// The description asks for what the server asks for.
func TestDescribedCredentials(t *testing.T) {
	certs := func(o *Options) { o.Certificate, o.Key, o.ClientCA = "c", "k", "ca" }
	socket := func(o *Options) { o.Listen = []string{"127.0.0.1:1", "unix:/run/mpbox/api.sock"} }
	for want, change := range map[string][]func(*Options){
		`[] [{}] healthy null`:                            nil,
		`[token] [{"token":[]}] healthy [{}]`:             {withTokens},
		`[certificate] [{"certificate":[]}] healthy null`: {certs},
		`[certificate token] [{"certificate":[],"token":[]},{}] healthy [{"certificate":[]},{}]`: {certs, withTokens, socket},
	} {
		o := newServer(t, newFake(), change...).OpenAPI()
		all, err := json.Marshal(o.Security)
		if err != nil {
			t.Fatal(err)
		}
		healthy, err := json.Marshal(o.Paths["/-/healthy"].Get.Security)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%v %s healthy %s", slices.Sorted(maps.Keys(o.Components.SecuritySchemes)), all, healthy); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}

// Every route of the description is in TestRoutes or has a test of its own.
func TestDescription(t *testing.T) {
	s := newServer(t, newFake())
	status, _, raw := call(t, s, "GET", "/openapi.json", "")
	var doc struct {
		OpenAPI string `json:"openapi"`
		Info    struct{ Title, Version string }
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Summary     string
			Tags        []string
		}
	}
	if err := json.Unmarshal(raw, &doc); err != nil || status != 200 {
		t.Fatal(status, err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Info.Title != "mpbox" || doc.Info.Version != "1.2.3" {
		t.Errorf("%+v", doc.Info)
	}
	for _, p := range []string{"/v1/connections", "/v1/connections/{id}", "/v1/subflows", "/v1/bindings", "/v1/datapaths", "/v1/mirrors", "/v1/pes", "/v1/lsps", "/v1/topology",
		"/v1/demands", "/v1/plans", "/v1/plans/{id}", "/v1/plans/{id}/approve", "/v1/thresholds", "/v1/mode", "/v1/changes", "/v1/explain/{id}", "/v1/events", "/v1/status", "/metrics", "/-/healthy", "/-/ready"} {
		ops := doc.Paths[p]
		delete(doc.Paths, p)
		if len(ops) == 0 {
			t.Errorf("%s is not described", p)
		}
		for m, op := range ops {
			if op.OperationID == "" || op.Summary == "" || len(op.Tags) != 1 {
				t.Errorf("%s %s: %+v", m, p, op)
			}
		}
	}
	for p := range doc.Paths {
		t.Errorf("%s is described and not tested", p)
	}
}

// Following next gives each item once, whatever the size of a page.
func TestPagination(t *testing.T) {
	s := newServer(t, newFake())
	for _, limit := range []int{1, 2, 5, 100} {
		var got []string
		target, pages := fmt.Sprintf("/v1/connections?limit=%d", limit), 0
		for target != "" {
			pages++
			status, header, body := call(t, s, "GET", target, "")
			var page ListBody[Connection]
			if err := json.Unmarshal(body, &page); err != nil || status != 200 || len(page.Items) > limit {
				t.Fatalf("%d %v %s", status, err, body)
			}
			for _, c := range page.Items {
				got = append(got, c.ID)
			}
			link := header.Get("Link")
			if (link == "") != (page.Next == "") {
				t.Errorf("next %q, link %q", page.Next, link)
			}
			target, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
		}
		if strings.Join(got, " ") != "c0 c1 c2 c3 c4" || pages != (5+limit-1)/limit {
			t.Errorf("limit %d: %v in %d pages", limit, got, pages)
		}
	}
	// The filters go with the link.
	_, header, _ := call(t, s, "GET", "/v1/connections?limit=1&vpn=red&since=2026-01-02T03:05:00Z", "")
	target, _, _ := strings.Cut(strings.TrimPrefix(header.Get("Link"), "<"), ">")
	if _, _, body := call(t, s, "GET", target, ""); !strings.Contains(string(body), `"id":"c4"`) {
		t.Errorf("%s: %s", target, body)
	}
	// A cursor of another list is refused.
	if status, _, _ := call(t, s, "GET", "/v1/subflows?after="+cursor("list-connections", "c1"), ""); status != 422 {
		t.Errorf("foreign cursor: %d", status)
	}
}

func TestFilters(t *testing.T) {
	s := newServer(t, newFake())
	for query, want := range map[string]string{
		"vpn=blue": "c1 c3", "state=closed": "c4", "vpn=red&state=established": "c0 c2", "since=2026-01-02T03:07:00Z": "c3 c4", "since=1s": "", "pe=pe9": "", "pe=pe1&limit=2": "c0 c1",
	} {
		_, _, body := call(t, s, "GET", "/v1/connections?"+query, "")
		var page ListBody[Connection]
		if err := json.Unmarshal(body, &page); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range page.Items {
			got = append(got, c.ID)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", query, got, want)
		}
	}
}

func TestApproveTwiceConflicts(t *testing.T) {
	s := newServer(t, newFake())
	if status, _, _ := call(t, s, "POST", "/v1/plans/p1/approve", ""); status != 200 {
		t.Fatal(status)
	}
	if status, _, body := call(t, s, "POST", "/v1/plans/p1/approve", ""); status != 409 || !strings.Contains(string(body), "plan p1 is running") {
		t.Errorf("%d %s", status, body)
	}
}

func TestChangesAreTheNewestFirst(t *testing.T) {
	f := newFake()
	s := newServer(t, f)
	for i := range 12 {
		f.audit("local", "mode", fmt.Sprint(i))
	}
	var got []string
	after := ""
	for range 4 {
		_, _, body := call(t, s, "GET", "/v1/changes?limit=5&after="+after, "")
		var page ListBody[Change]
		if err := json.Unmarshal(body, &page); err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Items {
			got = append(got, c.Subject)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if strings.Join(got, " ") != "11 10 9 8 7 6 5 4 3 2 1 0" {
		t.Error(got)
	}
}

func TestNotRunningYet(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/v1/connections", "/v1/connections/x", "/v1/pes", "/v1/topology", "/v1/plans", "/v1/thresholds", "/v1/mode", "/v1/events", "/v1/status", "/-/ready"} {
		if status, _, body := call(t, s, "GET", target, ""); status != 503 {
			t.Errorf("%s: %d %s", target, status, body)
		}
	}
	if status, _, _ := call(t, s, "GET", "/-/healthy", ""); status != 200 {
		t.Error(status)
	}
}

func TestHealthAndPage(t *testing.T) {
	f := newFake()
	s := newServer(t, f)
	for target, want := range map[string]string{"/-/healthy": "ok", "/-/ready": "ready", "/metrics": "mpbox_up 1", "/": "<title>mpbox"} {
		if status, _, body := call(t, s, "GET", target, ""); status != 200 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %s", target, status, body)
		}
	}
	f.notReady = fmt.Errorf("PE pe2 has not been read")
	if status, _, body := call(t, s, "GET", "/-/ready", ""); status != 503 || !strings.Contains(string(body), "pe2") {
		t.Errorf("%d %s", status, body)
	}
}

func TestUnknownPathAndMethod(t *testing.T) {
	s := newServer(t, newFake())
	status, header, body := call(t, s, "GET", "/v2/flows", "")
	if status != 404 || header.Get("Content-Type") != "application/problem+json" || !strings.Contains(string(body), "/openapi.json") {
		t.Errorf("%d %v %s", status, header, body)
	}
	status, header, body = call(t, s, "DELETE", "/v1/mode", "")
	if status != 405 || !strings.Contains(header.Get("Allow"), "PUT") || header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %v %s", status, header, body)
	}
}

// The page and what it loads come from this server alone.
func TestPageLoadsNothingFromElsewhere(t *testing.T) {
	s := newServer(t, newFake())
	_, header, _ := call(t, s, "GET", "/", "")
	if csp := header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") || strings.Contains(csp, "unsafe") {
		t.Error(csp)
	}
	files, err := web.ReadDir("web")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		status, _, served := call(t, s, "GET", "/ui/"+file.Name(), "")
		if file.Name() != "index.html" && status != 200 {
			t.Errorf("%s: %d", file.Name(), status)
		}
		f, err := web.Open("web/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, outside := range []string{"https://", "//cdn", "@import"} {
			if strings.Contains(string(text), outside) {
				t.Errorf("%s holds %s", file.Name(), outside)
			}
		}
		if file.Name() != "index.html" && !bytes.Equal(text, served) {
			t.Errorf("%s is served otherwise", file.Name())
		}
	}
}
