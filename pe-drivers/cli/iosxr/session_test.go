package iosxr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"mpbox/examples/lab/pe/router"
	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

func dynamic(name string) topology.LSP {
	return topology.LSP{Name: name, Egress: "pe2", SetupPriority: 7, HoldPriority: 7}
}

// Somebody else commits between the reading and the commit: what was planned is
// thrown away, and nothing of it comes with the next commit.
func TestConflict(t *testing.T) {
	_, cfg := startPE(t)
	d := newDriver(cfg)
	defer func() { _ = d.Close() }()
	if err := d.session.configure(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := New(cfg)
	defer func() { _ = other.Close() }()
	if err := other.Apply(t.Context(), driver.Signal{LSP: dynamic(owner + "other")}); err != nil {
		t.Fatal(err)
	}
	stale := []string{"interface tunnel-te60000", " signalled-name stale", "exit"}
	if err := d.session.commit(t.Context(), stale, "stale"); !errors.Is(err, errConflict) {
		t.Fatalf("commit = %v, want a conflict", err)
	}
	if err := d.Apply(t.Context(), driver.Signal{LSP: dynamic(owner + "mine")}); err != nil {
		t.Fatal(err)
	}
	s, err := d.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, l := range s.LSPs {
		all = append(all, l.Name)
	}
	got := strings.Join(all, " ")
	if !strings.Contains(got, owner+"mine") || !strings.Contains(got, owner+"other") || strings.Contains(got, "stale") {
		t.Errorf("LSPs %s", got)
	}
}

// Two instances of mpbox configure one router at the same time; a conflict has the
// change planned again on what is there by then.
func TestTwoInstances(t *testing.T) {
	_, cfg := startPE(t)
	var wg sync.WaitGroup
	for i, own := range []string{"mpbox/a/", "mpbox/b/"} {
		c := cfg
		c.Owner = own
		wg.Go(func() {
			d := New(c)
			defer func() { _ = d.Close() }()
			for n := range 4 {
				l := dynamic(fmt.Sprintf("%spe1-pe2/%d", own, n))
				var err error
				for range 10 { // the caller tries again as well
					err = d.Apply(t.Context(), driver.Signal{LSP: l})
					if err == nil || !errors.Is(err, driver.ErrRejected) {
						break
					}
				}
				if err != nil {
					t.Errorf("instance %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	d := New(cfg)
	defer func() { _ = d.Close() }()
	s, err := d.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n, ids := 0, make(map[uint32]bool)
	for _, l := range s.LSPs {
		if strings.HasPrefix(l.Name, "mpbox/") {
			n++
			ids[l.TunnelID] = true
		}
	}
	if n != 8 || len(ids) != 8 {
		t.Errorf("%d LSPs with %d numbers, want 8: %+v", n, len(ids), s.LSPs)
	}
}

// typed is the way to a router. It tells when a line has gone off that begins so.
type typed struct {
	io.WriteCloser
	line, begin string
	tell        func()
}

func (w *typed) Write(b []byte) (int, error) {
	n, err := w.WriteCloser.Write(b)
	if w.line += string(b[:n]); strings.HasSuffix(w.line, "\n") {
		if strings.HasPrefix(w.line, w.begin) {
			w.tell()
		}
		w.line = ""
	}
	return n, err
}

// A commit that takes long ends with its context; what became of it is read back,
// and the same operation completes it.
func TestCancelledCommit(t *testing.T) {
	p, cfg := startPE(t)
	d := newDriver(cfg)
	defer func() { _ = d.Close() }()
	commits := func() int {
		events, err := router.ReadEvents(p.Node.EventLog)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, e := range events {
			if e.Kind == "commit" {
				n++
			}
		}
		return n
	}
	if _, err := d.State(t.Context()); err != nil { // logged in
		t.Fatal(err)
	}
	p.Faults("slow-set=5s")
	// The deadline is when the router has the commit, however long that takes.
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	transport := d.session.open.transport
	transport.in = &typed{WriteCloser: transport.in, begin: "commit", tell: func() { cancel(context.DeadlineExceeded) }}
	err := d.Apply(ctx, driver.Signal{LSP: dynamic(owner + "slow")})
	var e *driver.Error
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, driver.ErrUnreachable) || !errors.As(err, &e) || !strings.HasPrefix(e.Step, "commit") {
		t.Errorf("Apply = %v, want the deadline at the commit", err)
	}
	if n := commits(); n != 0 {
		t.Errorf("Apply is over after %d commits, not before", n)
	}
	p.Faults("")
	if err := d.Apply(t.Context(), driver.Signal{LSP: dynamic(owner + "slow")}); err != nil {
		t.Fatal(err)
	}
	// The router goes on with the first commit, whoever still listens.
	for deadline := time.Now().Add(15 * time.Second); commits() < 1 && time.Now().Before(deadline); {
		<-time.After(20 * time.Millisecond)
	}
	s, err := d.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range s.LSPs {
		if l.Name == owner+"slow" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d LSPs of that name", n)
	}
}

// A line that the router does not know ends the change, with its words, and
// nothing of the lines before it stays.
func TestLineRefused(t *testing.T) {
	_, cfg := startPE(t)
	d := newDriver(cfg)
	defer func() { _ = d.Close() }()
	if err := d.session.configure(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := d.session.commit(t.Context(), []string{"interface tunnel-te60000", " destination 10.255.0.2", " make coffee"}, "x")
	var e *driver.Error
	if !errors.As(err, &e) || !errors.Is(err, driver.ErrRejected) || e.Step != " make coffee" || !strings.Contains(e.Detail, "% Invalid input detected") {
		t.Errorf("got %v", err)
	}
	// The next commit carries nothing of it.
	if err := d.Apply(t.Context(), driver.Signal{LSP: dynamic(owner + "next")}); err != nil {
		t.Fatal(err)
	}
	c, err := d.readConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, there := c.tunnels[60000]; there {
		t.Error("a line before it was committed")
	}
	if _, err := d.session.show(t.Context(), "show nonsense"); !errors.Is(err, driver.ErrRejected) {
		t.Errorf("show nonsense = %v, want rejected", err)
	}
}

// A commit is a command too: it may take what the configuration allows one.
func TestCommitMayTakeWhatACommandMay(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{10 * time.Second: time.Minute, 10 * time.Minute: 10 * time.Minute} {
		if got := newDriver(Config{Timeout: timeout}).cfg.CommitTimeout; got != want {
			t.Errorf("with %s for a command, %s for a commit, want %s", timeout, got, want)
		}
	}
}
