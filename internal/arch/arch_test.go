// Package arch holds the shape of the repository: who may import whom, and why.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrows lists, for each part of the tree, which other parts its code may import.
// The first prefix that fits a folder counts. Tests may import more: see below.
var arrows = []struct {
	part  string
	may   []string
	cause string
}{
	{"cmd", []string{"controller", "apps", "southbound", "topology", "pe-drivers", "examples"}, "cmd wires; nothing imports it"},
	{"controller/config", []string{"apps/tunnelmanager/plan/planfile", "apps/tunnelmanager/threshold", "topology"}, "a configuration is a value: it knows vocabularies, not the parts that it configures"},
	{"controller/api", nil, "JSON types stay here; the controller fills them in through api.Backend"},
	{"controller/store", nil, "a store knows keys and values only"},
	{"controller", []string{"controller", "apps", "southbound", "topology", "pe-drivers"}, "the controller builds the parts and joins their events"},
	{"apps/detector", []string{"apps/detector", "southbound/packet"}, "apps do not import apps: the controller turns a detector event into a demand"},
	{"apps/tunnelmanager", []string{"apps/tunnelmanager", "topology", "pe-drivers/driver"}, "the tunnel manager knows no switch and no router protocol"},
	{"southbound/packet", []string{"southbound/packet"}, "packet views are pure"},
	{"southbound/capture", []string{"southbound/packet"}, "a capture is packets, without a switch"},
	{"southbound", []string{"southbound"}, "southbound does not know topology, apps or drivers"},
	{"pe-drivers/driver", []string{"topology"}, "the contract knows the vocabulary only"},
	{"pe-drivers", []string{"pe-drivers", "topology"}, "a driver knows its router, not who uses it"},
	{"topology", []string{"topology"}, "topology is vocabulary and arithmetic: it knows nothing else of mpbox"},
	{"examples", []string{"examples", "topology"}, "the lab shares no encoder with the product, or bugs would cancel out"},
	{"internal", nil, "helpers of tests"},
}

// testsMay lists what test files may import beyond that: real counterparts.
var testsMay = []string{"internal", "examples", "topology", "pe-drivers"}

func TestImportsFollowTheArrows(t *testing.T) {
	for file, imports := range goFiles(t) {
		dir := path.Dir(file)
		i := slices.IndexFunc(arrows, func(a struct {
			part  string
			may   []string
			cause string
		}) bool {
			return within(dir, a.part)
		})
		if i < 0 {
			t.Errorf("%s: lies in no part of the tree that this test knows", file)
			continue
		}
		may := arrows[i].may
		// drivertest, ovstest, petest: packages that only tests use.
		if strings.HasSuffix(file, "_test.go") || strings.HasSuffix(path.Base(dir), "test") {
			may = append(slices.Clone(may), append(testsMay, dir)...)
		}
		for _, imp := range imports {
			if imp != dir && !slices.ContainsFunc(may, func(p string) bool { return within(imp, p) }) {
				t.Errorf("%s imports %s: %s may import %v, since %s", file, imp, arrows[i].part, arrows[i].may, arrows[i].cause)
			}
		}
	}
}

func TestDriversFolderHasNoGoFilesOfItsOwn(t *testing.T) {
	for file := range goFiles(t) {
		if path.Dir(file) == "pe-drivers" {
			t.Errorf("%s: pe-drivers is no package name", file)
		}
	}
}

func TestEachPackageSaysOnceWhatItIs(t *testing.T) {
	comments := map[string][]string{}
	all := map[string]bool{}
	for file := range goFiles(t) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		dir := path.Dir(file)
		all[dir] = true
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if f.Doc != nil {
			comments[dir] = append(comments[dir], file)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(all)) {
		if n := len(comments[dir]); n != 1 {
			t.Errorf("%s: %d package comments, want one: %v", dir, n, comments[dir])
		}
	}
}

const root = "../.."

// within tells whether folder is part, or lies below it.
func within(folder, part string) bool {
	return folder == part || strings.HasPrefix(folder, part+"/")
}

// goFiles gives the Go files of the module by path, with the mpbox packages that
// each imports, without the module's name.
func goFiles(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); n != ".." && (strings.HasPrefix(n, ".") || n == "bin" || n == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		out[rel] = nil
		for _, s := range f.Imports {
			name, err := strconv.Unquote(s.Path.Value)
			if err != nil {
				return err
			}
			if rest, ok := strings.CutPrefix(name, "mpbox/"); ok {
				out[rel] = append(out[rel], rest)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("no Go files found")
	}
	return out
}
