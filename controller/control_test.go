package controller

import (
	"context"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap/zaptest"

	"mpbox/controller/config"
)

// What is set and cannot be kept is in force, and the answer says both.
func TestWhatIsNotKeptIsAnswered(t *testing.T) {
	dir := t.TempDir()
	cfg, err := config.Parse(filepath.Join(dir, "mpbox.yaml"), []byte(`store: {path: `+filepath.ToSlash(dir)+`/mpbox.db}`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(cfg, "test", zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.manager.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	if err := c.store.Close(); err != nil { // from now on it takes nothing
		t.Fatal(err)
	}
	for path, body := range map[string]string{"PUT /v1/mode": `{"mode":"suggest"}`, "PATCH /v1/thresholds": `{"min_gain":7}`} {
		method, path, _ := strings.Cut(path, " ")
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		c.api.Handler().ServeHTTP(w, r)
		for _, want := range []string{"in force, but not kept", "tried every 5s", "make room where store.path is"} {
			if w.Code != 500 || w.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: %d %s, want %q", path, w.Code, w.Body, want)
			}
		}
	}
	if v := c.manager.View(); v.Mode != "suggest" || v.Limits.MinGain != 7 {
		t.Errorf("not in force: %s, %+v", v.Mode, v.Limits)
	}
}
