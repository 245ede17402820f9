package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// snapshot is the state without what moves by itself.
func (r *run) snapshot() driver.State {
	r.Helper()
	s := r.state()
	s.At = time.Time{}
	slices.SortFunc(s.LSPs, func(a, b topology.LSP) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.FTNs, func(a, b topology.FTN) int { return strings.Compare(a.Name, b.Name) })
	return s
}

func (r *run) same(before, after driver.State) {
	r.Helper()
	moving := cmpopts.IgnoreFields(topology.LSP{}, "Oper", "Reason", "RRO")
	if diff := cmp.Diff(before, after, moving, prefixes, cmpopts.EquateComparable(topology.Hop{}), cmpopts.EquateEmpty()); diff != "" {
		r.Errorf("the router's state changed (-before +after):\n%s", diff)
	}
}

func (r *run) refusedLSP() {
	kept := r.lsp(1)
	r.apply(driver.Signal{LSP: kept})
	r.up(kept.Name)
	before := r.snapshot()
	end := r.h.Refuse(r, "lsp")
	e := r.refusal(driver.ErrRejected, driver.Signal{LSP: r.lsp(2)})
	end()
	if e.Detail == "" {
		r.Errorf("error %q does not give the router's words", e)
	}
	r.same(before, r.snapshot())
	r.apply(driver.Signal{LSP: r.lsp(2)})
	r.up(r.lsp(2).Name)
}

func (r *run) refusedFTN() {
	l := r.lsp(1)
	r.apply(driver.Signal{LSP: l}, driver.Bind{FTN: r.ftn(1, l.Name)})
	before := r.snapshot()
	end := r.h.Refuse(r, "ftn")
	e := r.refusal(driver.ErrRejected, driver.Bind{FTN: r.ftn(2, l.Name)})
	end()
	if e.Detail == "" {
		r.Errorf("error %q does not give the router's words", e)
	}
	r.same(before, r.snapshot())
	r.apply(driver.Bind{FTN: r.ftn(2, l.Name)})
	r.bound(r.ftn(2, l.Name))
}

// notOurs: names without the owner's prefix are not written, neighbours' least of
// all.
func (r *run) notOurs() {
	neighbour := strings.TrimSuffix(r.h.Owner, "/") + "-2/"
	for _, prefix := range []string{"", "other/", neighbour} {
		l := r.lsp(1)
		l.Name = prefix + "pe1-pe2/1"
		f := r.ftn(1, l.Name)
		f.Name = prefix + "flow-1"
		for _, op := range []driver.Op{driver.Signal{LSP: l}, driver.Release{Name: l.Name}, driver.Bind{FTN: f}, driver.Unbind{Name: f.Name}} {
			if n := r.writes(func() { r.refused(driver.ErrUnsupported, op) }); n != 0 {
				r.Errorf("%s sent %d writes", op, n)
			}
		}
	}
}

// foreign: what others put on the router is told, can be used, and stays as it is.
func (r *run) foreign() {
	lsp, ftn := r.h.Foreign(r)
	before := r.snapshot()
	there := slices.ContainsFunc(before.LSPs, func(l topology.LSP) bool { return l.Name == lsp })
	if !there {
		r.Fatalf("LSP %s of somebody else is not told: %+v", lsp, before.LSPs)
	}
	if ftn != "" && !slices.ContainsFunc(before.FTNs, func(f topology.FTN) bool { return f.Name == ftn }) {
		r.Errorf("class %s of somebody else is not told: %+v", ftn, before.FTNs)
	}
	l := r.lsp(1)
	f := r.ftn(1, l.Name)
	r.apply(driver.Signal{LSP: l}, driver.Bind{FTN: f})
	r.bound(f)
	r.apply(driver.Unbind{Name: f.Name}, driver.Release{Name: l.Name})
	r.same(before, r.snapshot())
}

// halfMade: what an interrupted write left is told by name, can be removed, and can
// be completed.
func (r *run) halfMade() {
	l := r.lsp(1)
	f := r.ftn(1, l.Name)
	r.h.HalfMade(r, l.Name, f.Name)
	if got, ok := r.find(l.Name); !ok || got.Oper == topology.OperUp || got.Reason == "" {
		r.Errorf("half-made LSP: found %t, %+v; want it told as down, with a reason", ok, got)
	}
	if half := r.state().HalfMade; !slices.Equal(half, []string{l.Name}) {
		r.Errorf("half-made LSPs %v, want %s", half, l.Name)
	}
	if got, ok := r.findFTN(f.Name); r.caps.FTN && (!ok || got.FEC.Interface != "" && got.LSP != "") {
		r.Errorf("half-made class: found %t, %+v; want it told as not in effect", ok, got)
	}
	r.apply(driver.Unbind{Name: f.Name}, driver.Release{Name: l.Name})
	r.gone(f.Name, l.Name)

	r.h.HalfMade(r, l.Name, f.Name)
	r.apply(driver.Signal{LSP: l})
	r.up(l.Name)
	if half := r.state().HalfMade; len(half) != 0 {
		r.Errorf("half-made LSPs %v, want none any more", half)
	}
	if r.caps.FTN {
		r.apply(driver.Bind{FTN: f})
		r.bound(f)
	}
}

// restart: a new driver sees what the last one made, and goes on with it.
func (r *run) restart() {
	l, m := r.lsp(1), r.lsp(2)
	f := r.ftn(1, l.Name)
	r.apply(driver.Signal{LSP: l}, driver.Signal{LSP: m}, driver.Bind{FTN: f})
	r.up(l.Name)
	r.up(m.Name)
	before := r.snapshot()
	if err := r.d.Close(); err != nil {
		r.Errorf("Close: %v", err)
	}
	r.d = r.h.New(r)
	r.same(before, r.snapshot())
	f.LSP = m.Name
	if n := r.writes(func() { r.apply(driver.Signal{LSP: l}, driver.Bind{FTN: f}) }); n != 1 {
		r.Errorf("going on sent %d writes, want the one that re-points", n)
	}
	r.bound(f)
	if err := r.d.Close(); err != nil {
		r.Errorf("Close: %v", err)
	}
	// A closed driver connects again.
	r.bound(f)
}

func (r *run) cancelled() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	start := time.Now()
	_, err := r.d.State(ctx)
	if !errors.Is(err, context.Canceled) {
		r.Errorf("State = %v, want context.Canceled", err)
	}
	if took := time.Since(start); took > 8*time.Second { // less than a driver's time-outs
		r.Errorf("a cancelled State took %v", took)
	}
	r.state() // and it is not broken by that
}

func (r *run) wrongPassword() { r.fails(r.h.WrongPassword(r), driver.ErrAuth) }

func (r *run) unreachable() { r.fails(r.h.Unreachable(r), driver.ErrUnreachable) }

func (r *run) fails(d driver.Driver, kind error) {
	defer func() { _ = d.Close() }() // there is no session
	_, stateErr := d.State(r.ctx())
	applyErr := d.Apply(r.ctx(), driver.Signal{LSP: r.lsp(1)})
	for _, err := range []error{stateErr, applyErr} {
		var e *driver.Error
		if !errors.Is(err, kind) || !errors.As(err, &e) {
			r.Fatalf("got %v, want a driver.Error of kind %q", err, kind)
		}
		r.checkError(e)
	}
	r.gone(r.lsp(1).Name)
}

// many LSPs are set up, read and released.
func (r *run) many() {
	var signal, release []driver.Op
	for i := range r.h.Many {
		signal = append(signal, driver.Signal{LSP: r.lsp(i)})
		release = append(release, driver.Release{Name: r.lsp(i).Name})
	}
	start := time.Now()
	r.apply(signal...)
	took := time.Since(start)
	start = time.Now()
	s := r.state()
	r.Logf("%d LSPs: signalled in %v, read in %v", r.h.Many, took.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
	ids := make(map[uint32]string)
	n := 0
	for _, l := range s.LSPs {
		if !strings.HasPrefix(l.Name, r.h.Owner) {
			continue
		}
		n++
		if other, dup := ids[l.TunnelID]; dup {
			r.Errorf("%s and %s have tunnel number %d", l.Name, other, l.TunnelID)
		}
		ids[l.TunnelID] = l.Name
	}
	if n != r.h.Many {
		r.Errorf("%d LSPs, want %d", n, r.h.Many)
	}
	start = time.Now()
	r.apply(release...)
	r.Logf("released in %v", time.Since(start).Round(time.Millisecond))
	r.gone(r.lsp(0).Name, r.lsp(r.h.Many-1).Name)
}

// WritesOf counts writes in process: for fakes that count with a function.
func WritesOf(count func() int) func(testing.TB) int {
	return func(testing.TB) int { return count() }
}

// String names the harness in messages.
func (h Harness) String() string { return fmt.Sprintf("%s to %s", h.Ingress, h.Egress) }
