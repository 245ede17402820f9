package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// reader reads one event stream.
type reader struct {
	t     *testing.T
	lines *bufio.Scanner
}

func openStream(t *testing.T, base, query, last string) *reader {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", base+"/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	if kind := answer.Header.Get("Content-Type"); answer.StatusCode != 200 || kind != "text/event-stream" {
		t.Fatal(answer.Status, kind)
	}
	s := &reader{t, bufio.NewScanner(answer.Body)}
	if got := s.block()[0]; got != "retry: 2000" { // also: the server has subscribed
		t.Fatal(got)
	}
	return s
}

// block gives the lines up to the next empty one.
func (s *reader) block() []string {
	s.t.Helper()
	var out []string
	for s.lines.Scan() {
		if s.lines.Text() == "" {
			return out
		}
		out = append(out, s.lines.Text())
	}
	s.t.Fatal("stream ended", s.lines.Err())
	return nil
}

func (s *reader) event() Event {
	s.t.Helper()
	b := s.block()
	var e Event
	if len(b) != 3 || json.Unmarshal([]byte(strings.TrimPrefix(b[2], "data: ")), &e) != nil {
		s.t.Fatal(b)
	}
	if b[0] != fmt.Sprintf("id: %d", e.ID) || b[1] != "event: "+e.Type {
		s.t.Fatal(b)
	}
	return e
}

func TestEvents(t *testing.T) {
	f := newFake()
	base := "http://" + start(t, newServer(t, f, func(o *Options) { o.Listen = []string{"127.0.0.1:0"} }))[0].String()
	all := openStream(t, base, "", "")
	red := openStream(t, base, "?vpn=red&type=binding,lsp", "")
	f.Publish(Event{Type: "connection", Action: "added", Subject: "c1", VPN: "red", Data: f.connections()[1]})
	f.Publish(Event{Type: "binding", Action: "changed", Subject: "b0", VPN: "blue"})
	f.Publish(Event{Type: "binding", Action: "changed", Subject: "b1", VPN: "red", State: "verified"})
	first := all.event()
	if first.Subject != "c1" || first.Data.(map[string]any)["token"] != "7f3a9c01" {
		t.Errorf("%+v", first)
	}
	for _, want := range []string{"b0", "b1"} {
		if e := all.event(); e.Subject != want {
			t.Errorf("%+v, want %s", e, want)
		}
	}
	if e := red.event(); e.Subject != "b1" || e.State != "verified" {
		t.Errorf("filtered stream: %+v", e)
	}
	// A client that comes back goes on where it was.
	again := openStream(t, base, "", fmt.Sprint(first.ID))
	for _, want := range []string{"b0", "b1"} {
		if e := again.event(); e.Subject != want {
			t.Errorf("%+v, want %s", e, want)
		}
	}
	// One that was away for too long is told so.
	if e := openStream(t, base, "", "17").event(); e.Type != "lost" {
		t.Errorf("%+v", e)
	}
	// What the API does is an event, too.
	call(t, newServer(t, f), "PUT", "/v1/mode", `{"mode":"auto"}`)
	if e := all.event(); e.Type != "change" || e.Data.(map[string]any)["actor"] != "local" {
		t.Errorf("%+v", e)
	}
	s := newServer(t, f)
	for _, bad := range []string{"?type=flow", "?typ=pe"} {
		if status, _, body := call(t, s, "GET", "/v1/events"+bad, ""); status != 422 {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
	if status, _, _ := call(t, s, "GET", "/v1/events", "", "Last-Event-ID", "x"); status != 422 {
		t.Errorf("bad id: %d", status)
	}
}

func drain(ch <-chan Event) (subjects []string, closed bool) {
	for {
		select {
		case e, ok := <-ch:
			if !ok {
				return subjects, true
			}
			subjects = append(subjects, strings.TrimSpace(e.Type+" "+e.Subject))
		default:
			return subjects, false
		}
	}
}

func TestBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBroker(4)
		if b.Wanted() {
			t.Error("wanted by nobody")
		}
		b.Publish(Event{Type: "pe", Subject: "unseen"})
		ctx, cancel := context.WithCancel(t.Context())
		ch := b.Subscribe(ctx, 0)
		var last uint64
		for i := range 20 {
			b.Publish(Event{Type: "pe", Subject: fmt.Sprint(i)})
		}
		got, _ := drain(ch)
		if len(got) != 20 || got[0] != "pe 0" {
			t.Error(got)
		}
		b.mu.Lock()
		last = b.last
		b.mu.Unlock()
		cancel()
		synctest.Wait()
		if _, closed := drain(ch); !closed {
			t.Error("not closed with its context")
		}
		// Within the time in which a client comes back, nothing is missed.
		if !b.Wanted() {
			t.Error("not kept for replay")
		}
		b.Publish(Event{Type: "pe", Subject: "20"})
		replay := func(after uint64) string {
			ctx, cancel := context.WithCancel(t.Context())
			defer synctest.Wait()
			defer cancel()
			got, _ := drain(b.Subscribe(ctx, after))
			return strings.Join(got, ",")
		}
		for after, want := range map[uint64]string{last: "pe 20", last - 2: "pe 18,pe 19,pe 20", last + 1: "", last + 9: "lost", last - 15: "lost", 1: "lost", 0: ""} {
			if got := replay(after); got != want {
				t.Errorf("after last%+d: %s, want %s", int64(after-last), got, want)
			}
		}
		// After it, a client is told that it missed something.
		time.Sleep(replayFor + time.Second)
		if b.Wanted() {
			t.Error("still wanted")
		}
		b.Publish(Event{Type: "pe", Subject: "21"})
		if got := replay(last + 1); got != "lost" {
			t.Errorf("after a gap: %s", got)
		}
	})
}

// A subscriber that does not read is dropped, and holds up nobody.
func TestBrokerSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBroker(4)
		slow := b.Subscribe(t.Context(), 0)
		for i := range 3 * subBuffer {
			b.Publish(Event{Type: "pe", Subject: fmt.Sprint(i)})
		}
		got, closed := drain(slow)
		if !closed || len(got) < subBuffer || len(got) > subBuffer+2 {
			t.Errorf("%d events, closed %v", len(got), closed)
		}
	})
}
