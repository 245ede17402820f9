package api

import (
	"cmp"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// describe begins the description (OpenAPI 3.1) of what is served with these options.
func (s *Server) describe() huma.Config {
	c := huma.DefaultConfig("mpbox", cmp.Or(s.opts.Version, "0"))
	c.Info.Description = "MPTCP connections in a provider network, the LSPs that their subflows ride, and what mpbox does about it.\n\n" +
		"Lists are cut into pages: `next` of an answer is `after` of the next request, and absent at the end. " +
		"`since` is a time (RFC 3339) or how long ago (10m). Errors are RFC 9457 problems; 404 is an unknown path, too, 405 a method that a path does not take. " +
		"MPTCP keys and passwords are nowhere in this API."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.DocsPath, c.SchemasPath = "", ""
	c.CreateHooks = nil // no $schema in bodies
	c.RejectUnknownQueryParameters = true
	c.Tags = []*huma.Tag{
		{Name: "flows", Description: "Connections, subflows, and where they ride"},
		{Name: "network", Description: "Edge bridges, PEs, LSPs, topology"},
		{Name: "plans", Description: "Demands and plans"},
		{Name: "control", Description: "Thresholds, mode, audit"},
		{Name: "system", Description: "Events and state of mpbox itself"},
	}
	c.Components.SecuritySchemes, c.Security = s.credentials()
	c.OnAddOperation = append(c.OnAddOperation, s.refusals)
	return c
}

// credentials tells what clients show: all that one of the requirements names.
func (s *Server) credentials() (map[string]*huma.SecurityScheme, []map[string][]string) {
	schemes, all := map[string]*huma.SecurityScheme{}, map[string][]string{}
	if s.opts.Tokens != nil {
		schemes["token"] = &huma.SecurityScheme{Type: "http", Scheme: "bearer", Description: "A token of api.tokens_file. Not asked for at unix sockets."}
		all["token"] = []string{}
	}
	if s.opts.Certificate != "" && s.opts.ClientCA != "" {
		schemes["certificate"] = &huma.SecurityScheme{Type: "mutualTLS", Description: "A certificate by a CA of api.tls.client_ca. Not asked for at unix sockets."}
		all["certificate"] = []string{}
	}
	requirements := []map[string][]string{all}
	if len(all) > 0 && slices.ContainsFunc(s.opts.Listen, func(l string) bool { return strings.HasPrefix(l, "unix:") }) {
		requirements = append(requirements, map[string][]string{})
	}
	return schemes, requirements
}

// refusals adds the answers by which any route may refuse, the guard's and huma's.
func (s *Server) refusals(o *huma.OpenAPI, op *huma.Operation) {
	delete(op.Responses, "default")
	all := append(s.guarded(op.Method), http.StatusUnprocessableEntity, http.StatusInternalServerError, http.StatusServiceUnavailable)
	if op.RequestBody != nil {
		all = append(all, http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	refuse(o, op, all)
}

// guarded are the statuses by which the guard refuses.
func (s *Server) guarded(method string) []int {
	var all []int
	if s.opts.Tokens != nil {
		all = append(all, http.StatusUnauthorized)
	}
	if s.opts.Tokens == nil || method != http.MethodGet {
		all = append(all, http.StatusForbidden)
	}
	return all
}

func refuse(o *huma.OpenAPI, op *huma.Operation, all []int) {
	schema := o.Components.Schemas.Schema(reflect.TypeFor[huma.ErrorModel](), true, "Error")
	for _, status := range all {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema}}}
	}
}

// describePlain describes what plainRoutes serves for machines.
func (s *Server) describePlain() {
	o := s.huma.OpenAPI()
	add := func(path, id, summary string, answers map[string]string) *huma.Operation {
		op := &huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Tags: []string{"system"}, Summary: summary, Responses: map[string]*huma.Response{}}
		for status, what := range answers {
			op.Responses[status] = &huma.Response{Description: what, Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}
		}
		o.Paths[path] = &huma.PathItem{Get: op}
		return op
	}
	for _, op := range []*huma.Operation{
		add("/-/healthy", "healthy", "Is the process alive", map[string]string{"200": "It is"}),
		add("/-/ready", "ready", "Does it do its work", map[string]string{"200": "It does", "503": "What it waits for"}),
	} {
		// No token is asked for: see open.
		if s.opts.Tokens == nil {
			refuse(o, op, s.guarded(op.Method))
			continue
		}
		for _, all := range o.Security {
			all = maps.Clone(all)
			delete(all, "token")
			op.Security = append(op.Security, all)
		}
	}
	if s.opts.Metrics != nil {
		op := add("/metrics", "metrics", "Prometheus metrics", map[string]string{"200": "In the text format"})
		refuse(o, op, s.guarded(op.Method))
	}
}
