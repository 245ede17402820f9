package store

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

type value struct{ A, B int }

var things = Bucket{Name: "things", Version: 2}

func open4test(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func keys(t *testing.T, s *Store, b Bucket, from string) string {
	t.Helper()
	var out []string
	err := s.Scan(b, from, func(k string, decode func(any) error) (bool, error) {
		var v value
		if err := decode(&v); err != nil {
			return false, err
		}
		out = append(out, fmt.Sprintf("%s=%d/%d", k, v.A, v.B))
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

func TestKeepsOverReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "mpbox.db")
	s := open4test(t, path)
	if err := s.Put(things, Item{"b", value{3, 4}}, Item{"a", value{1, 2}}, Item{"c", value{5, 6}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(things, Item{"c", nil}, Item{"nothing", nil}, Item{"d", value{7, 8}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open4test(t, path)
	if got := keys(t, s, things, ""); got != "a=1/2 b=3/4 d=7/8" {
		t.Error(got)
	}
	if got := keys(t, s, things, "b"); got != "b=3/4 d=7/8" {
		t.Error(got)
	}
	var v value
	if ok, err := s.Get(things, "b", &v); !ok || err != nil || v != (value{3, 4}) {
		t.Error(ok, err, v)
	}
	for _, b := range []Bucket{things, {Name: "none", Version: 1}} {
		if ok, err := s.Get(b, "x", &v); ok || err != nil {
			t.Error(ok, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
}

func TestPutIsAllOrNone(t *testing.T) {
	s := open4test(t, "")
	if err := s.Put(things, Item{"a", value{}}, Item{"", value{}}); err == nil {
		t.Error("an empty key was taken")
	}
	if err := s.Put(things, Item{"a", func() {}}); err == nil {
		t.Error("a function was taken")
	}
	if got := keys(t, s, things, ""); got != "" {
		t.Error(got)
	}
	if err := s.Put(things, Item{"a", value{1, 2}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(things, Item{"a", nil}, Item{"b", value{}}, Item{"", value{}}); err == nil {
		t.Error("an empty key was taken")
	}
	if got := keys(t, s, things, ""); got != "a=1/2" {
		t.Error("half of a refused change was made:", got)
	}
}

func TestVersions(t *testing.T) {
	s := open4test(t, "")
	old, newer := Bucket{Name: "things", Version: 1}, Bucket{Name: "things", Version: 3}
	if err := s.Put(old, Item{"a", []int{1, 2}}); err != nil {
		t.Fatal(err)
	}
	var v value
	if ok, err := s.Get(things, "a", &v); ok || err != nil {
		t.Error("an old value without migration is left out:", ok, err)
	}
	migrating := things
	migrating.Migrate = func(version int, old []byte) ([]byte, error) {
		return []byte(fmt.Sprintf(`{"A":%d,"B":%d}`, version, len(old))), nil
	}
	if ok, err := s.Get(migrating, "a", &v); !ok || err != nil || v != (value{1, 5}) {
		t.Error(ok, err, v)
	}
	if err := s.Put(newer, Item{"b", value{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(things, "b", &v); !errors.Is(err, ErrNewer) {
		t.Error(err)
	}
}

// Two processes, one file: run as a child, this test only tries to open it.
func TestLocked(t *testing.T) {
	if path := os.Getenv("MPBOX_TEST_STORE"); path != "" {
		_, err := Open(path)
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "another mpbox is running") {
			t.Fatalf("got %v", err)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "mpbox.db")
	open4test(t, path)
	cmd := exec.Command(os.Args[0], "-test.run=^TestLocked$")
	cmd.Env = append(os.Environ(), "MPBOX_TEST_STORE="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), dir+" is a folder: set store.path") {
		t.Error(err)
	}
}

// Whatever has happened to a file, opening it ends with an error that says so.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.db")
	s := open4test(t, good)
	for i := range 200 {
		if err := s.Put(things, Item{fmt.Sprintf("key%05d", i), strings.Repeat("x", 500)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	damage := map[string][]byte{
		"text":      []byte("this is no database\n"),
		"zeros":     make([]byte, len(data)),
		"short":     data[:3000],
		"truncated": data[:len(data)/4],
		"half":      data[:len(data)/2],
	}
	scrambled := append([]byte(nil), data...)
	for i := 3 * 4096; i < len(scrambled); i += 7 {
		scrambled[i] ^= 0x5a
	}
	damage["scrambled"] = scrambled
	for name, bytes := range damage {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name+".db")
			if err := os.WriteFile(path, bytes, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path)
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "move the file away") {
				t.Errorf("got %v", err)
			}
		})
	}
	if s, err := Open(good); err != nil {
		t.Error(err)
	} else {
		_ = s.Close()
	}
}
