package api

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

var (
	routeText  = regexp.MustCompile(`/v1/[a-z0-9/{}-]+|/metrics\b|/-/[a-z]+`)
	routeTable = regexp.MustCompile("(?m)^\\| `(?:GET|PUT|PATCH|POST|DELETE).*?\\|")
	methodText = regexp.MustCompile(`\b(GET|PUT|PATCH|POST|DELETE)\b`)
)

// Each route that a document names is there, and docs/rest.md's table names all of
// them with their methods.
func TestRoutesInDocuments(t *testing.T) {
	type route struct{ method, path string }
	want := map[route]bool{}
	paths := map[string]bool{}
	for path, item := range newServer(t, newFake()).OpenAPI().Paths {
		paths[path] = true
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "PUT": item.Put, "PATCH": item.Patch, "POST": item.Post, "DELETE": item.Delete} {
			if op != nil {
				want[route{method, path}] = true
			}
		}
	}
	err := filepath.WalkDir("../..", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(file) != ".md" {
			return err
		}
		text, err := os.ReadFile(file)
		for _, p := range routeText.FindAllString(string(text), -1) {
			if p = strings.TrimRight(p, "/"); !paths[p] {
				t.Errorf("%s: there is no %s", file, p)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../docs/rest.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[route]bool{}
	for _, row := range routeTable.FindAllString(string(text), -1) {
		for _, m := range methodText.FindAllString(row, -1) {
			for _, p := range routeText.FindAllString(row, -1) {
				named[route{m, p}] = true
			}
		}
	}
	for r := range want {
		if !named[r] {
			t.Errorf("docs/rest.md does not name %s %s", r.method, r.path)
		}
	}
	for r := range named {
		if !want[r] {
			t.Errorf("docs/rest.md names %s %s, which is not there", r.method, r.path)
		}
	}
}
