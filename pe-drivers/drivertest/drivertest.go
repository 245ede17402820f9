// Package drivertest is the conformance suite of PE drivers: what the contract in
// pe-drivers/driver says, checked through the driver against a router, emulated
// or real. Every driver's tests call Run; what a driver cannot do, by its
// Capabilities, is not asked of it. Tests only.
package drivertest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// Harness is the router under test and the way to it. The PE begins without
// anything owned by Owner, and each test cleans up behind itself.
type Harness struct {
	// New gives a driver with a session of its own.
	New func(t testing.TB) driver.Driver
	// Owner is the name prefix of what the driver may change: "mpbox/lab/".
	Owner string
	// Ingress is the PE's node name, Egress that of another PE.
	Ingress, Egress string
	// Routes are at least two explicit routes from Ingress to Egress that come up.
	Routes [][]topology.Hop
	// Interface is a customer-facing interface of the PE.
	Interface string
	// Writes counts the writes (SET requests, commits) that the router received; it
	// is what shows that nothing was sent.
	Writes func(t testing.TB) int

	// What follows may be nil; the tests that need it are then not run.

	// WrongPassword and Unreachable give drivers that cannot get in.
	WrongPassword, Unreachable func(t testing.TB) driver.Driver
	// Refuse has the router refuse new LSPs (what = "lsp") or classes ("ftn") until
	// the function that it gives is called.
	Refuse func(t testing.TB, what string) (end func())
	// HalfMade leaves on the router what a driver leaves behind that dies between
	// two writes of setting up the LSP, or the FTN, of that name. For drivers whose
	// writes are atomic it is nil.
	HalfMade func(t testing.TB, lsp, ftn string)
	// Foreign puts an LSP and a class of somebody else on the router; class may be
	// "" where the router has no names for these.
	Foreign func(t testing.TB) (lsp, ftn string)
	// Many is how many LSPs are set up at once; 100 by default.
	Many int
	// Up is how long an LSP may take to come up; 5 s by default.
	Up time.Duration
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	if h.Many == 0 {
		h.Many = 100
	}
	if h.Up == 0 {
		h.Up = 5 * time.Second
	}
	if len(h.Routes) < 2 {
		t.Fatal("the suite needs two routes")
	}
	c := h.New(t).Capabilities()
	for _, test := range []struct {
		name string
		if_  bool
		run  func(*run)
	}{
		{"empty", true, (*run).empty},
		{"signal", c.Write, (*run).signal},
		{"signal computed route", c.Write, (*run).signalDynamic},
		{"signal with bandwidth", c.Write && c.Bandwidth, (*run).signalBandwidth},
		{"signal another route", c.Write && c.ExplicitRoute, (*run).signalOther},
		{"bind 5-tuple IPv4", c.Write && c.FTN, (*run).bind4},
		{"bind 5-tuple IPv6", c.Write && c.FTN, (*run).bind6},
		{"bind DSCP with prefix", c.Write && c.Class, (*run).bindClass},
		{"bind two classes", c.Write && c.FTN, (*run).bindTwo},
		{"bind another class of that name", c.Write && c.FTN, (*run).bindOther},
		{"bind without LSP", c.Write && c.FTN, (*run).bindNothing},
		{"bind on unknown interface", c.Write && c.FTN, (*run).bindNowhere},
		{"re-point", c.Write && c.FTN, (*run).repoint},
		{"idempotence", c.Write && c.FTN, (*run).idempotence},
		{"release bound", c.Write && c.FTN, (*run).releaseBound},
		{"atomic", c.Write && c.Atomic, (*run).atomic},
		{"slots", c.Write && c.FTN && c.MaxSlots > 0, (*run).slots},
		{"refused LSP", c.Write && h.Refuse != nil, (*run).refusedLSP},
		{"refused FTN", c.Write && c.FTN && h.Refuse != nil, (*run).refusedFTN},
		{"not ours", c.Write, (*run).notOurs},
		{"foreign", c.Write && h.Foreign != nil, (*run).foreign},
		{"half-made", c.Write && h.HalfMade != nil, (*run).halfMade},
		{"restart", c.Write && c.FTN, (*run).restart},
		{"cancelled", true, (*run).cancelled},
		{"wrong password", h.WrongPassword != nil, (*run).wrongPassword},
		{"unreachable", h.Unreachable != nil, (*run).unreachable},
		{"many", c.Write, (*run).many},
	} {
		if !test.if_ {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			d := h.New(t)
			r := &run{T: t, h: h, d: d, caps: c}
			t.Cleanup(func() {
				r.clean()
				if err := d.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test.run(r)
		})
	}
}

// run is one test on one driver.
type run struct {
	*testing.T
	h    Harness
	d    driver.Driver
	caps driver.Capabilities
}

func (r *run) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	r.Cleanup(cancel)
	return ctx
}

// lsp is the n-th LSP of the test, on one of the routes.
func (r *run) lsp(n int) topology.LSP {
	l := topology.LSP{
		Name:    fmt.Sprintf("%s%s-%s/%d", r.h.Owner, r.h.Ingress, r.h.Egress, n),
		Ingress: r.h.Ingress, Egress: r.h.Egress, AdminUp: true,
		SetupPriority: 7, HoldPriority: 7,
	}
	if r.caps.ExplicitRoute {
		l.ERO = r.h.Routes[n%len(r.h.Routes)]
	}
	return l
}

func (r *run) tuple4(n int) topology.FEC {
	return topology.FEC{
		Interface: r.h.Interface, Protocol: 6, SrcPort: uint16(40000 + n), DstPort: 80,
		Src: netip.MustParsePrefix("10.1.0.1/32"), Dst: netip.MustParsePrefix("10.2.0.1/32"),
	}
}

func (r *run) ftn(n int, lsp string) topology.FTN {
	return topology.FTN{Name: fmt.Sprintf("%sflow-%d", r.h.Owner, n), FEC: r.tuple4(n), LSP: lsp}
}

func (r *run) apply(ops ...driver.Op) {
	r.Helper()
	if err := r.d.Apply(r.ctx(), ops...); err != nil {
		r.Fatalf("Apply(%v): %v", ops, err)
	}
}

// refused applies an operation that must fail with kind, and checks that the error
// tells an operator what happened.
func (r *run) refused(kind error, ops ...driver.Op) {
	r.Helper()
	_ = r.refusal(kind, ops...)
}

// refusal does the same and gives the error.
func (r *run) refusal(kind error, ops ...driver.Op) *driver.Error {
	r.Helper()
	err := r.d.Apply(r.ctx(), ops...)
	var e *driver.Error
	if !errors.As(err, &e) || !errors.Is(err, kind) {
		r.Fatalf("Apply(%v) = %v, want a driver.Error of kind %q", ops, err, kind)
	}
	r.checkError(e)
	return e
}

func (r *run) checkError(e *driver.Error) {
	r.Helper()
	if e.PE == "" || e.Step == "" || e.Remedy == "" {
		r.Errorf("error %q: PE %q, step %q, remedy %q: an operator needs all three", e, e.PE, e.Step, e.Remedy)
	}
}

func (r *run) state() driver.State {
	r.Helper()
	s, err := r.d.State(r.ctx())
	if err != nil {
		r.Fatalf("State: %v", err)
	}
	if s.At.IsZero() || time.Since(s.At) > time.Minute {
		r.Errorf("State.At = %v, want now", s.At)
	}
	return s
}

func (r *run) find(name string) (topology.LSP, bool) {
	r.Helper()
	for _, l := range r.state().LSPs {
		if l.Name == name {
			return l, true
		}
	}
	return topology.LSP{}, false
}

func (r *run) findFTN(name string) (topology.FTN, bool) {
	r.Helper()
	var found []topology.FTN
	for _, f := range r.state().FTNs {
		if f.Name == name {
			found = append(found, f)
		}
	}
	if len(found) > 1 {
		r.Errorf("%d classes are called %s: %v", len(found), name, found)
	}
	if len(found) == 0 {
		return topology.FTN{}, false
	}
	return found[0], true
}

// up waits until the LSP is up.
func (r *run) up(name string) topology.LSP {
	r.Helper()
	deadline := time.Now().Add(r.h.Up)
	for {
		l, ok := r.find(name)
		if ok && l.Oper == topology.OperUp {
			// A reading is not of one moment: that during which an LSP came up may lack
			// its recorded route.
			l, _ = r.find(name)
			return l
		}
		if time.Now().After(deadline) {
			r.Fatalf("%s is not up after %v: found %t, %+v", name, r.h.Up, ok, l)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// bound checks that the class is mapped as asked for.
func (r *run) bound(want topology.FTN) {
	r.Helper()
	got, ok := r.findFTN(want.Name)
	if !ok {
		r.Fatalf("%s is not there", want.Name)
	}
	if diff := cmp.Diff(want, got, prefixes, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		r.Errorf("class read back differs (-want +got):\n%s", diff)
	}
}

var prefixes = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

// gone checks that nothing of that name is left.
func (r *run) gone(names ...string) {
	r.Helper()
	s := r.state()
	for _, name := range names {
		for _, l := range s.LSPs {
			if l.Name == name {
				r.Errorf("LSP %s is still there: %+v", name, l)
			}
		}
		for _, f := range s.FTNs {
			if f.Name == name {
				r.Errorf("class %s is still there: %+v", name, f)
			}
		}
	}
}

// writes counts what f sends to the router. Routers may note a write after they
// answered it, but before they answer the next request: hence the reading.
func (r *run) writes(f func()) int {
	r.Helper()
	r.state()
	before := r.h.Writes(r)
	f()
	r.state()
	return r.h.Writes(r) - before
}

// clean removes all that the test left, and fails it if that cannot be done:
// whatever State shows under the owner's prefix must be removable.
func (r *run) clean() {
	r.Helper()
	if !r.caps.Write {
		return
	}
	d := r.h.New(r)
	defer func() { _ = d.Close() }() // the test is over
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s, err := d.State(ctx)
	if err != nil {
		r.Fatalf("clean up: %v", err)
	}
	var ops []driver.Op
	for _, f := range s.FTNs {
		if strings.HasPrefix(f.Name, r.h.Owner) {
			ops = append(ops, driver.Unbind{Name: f.Name})
		}
	}
	for _, l := range s.LSPs {
		if strings.HasPrefix(l.Name, r.h.Owner) {
			ops = append(ops, driver.Release{Name: l.Name})
		}
	}
	if err := d.Apply(ctx, ops...); err != nil {
		r.Fatalf("clean up: %v", err)
	}
	if s, err = d.State(ctx); err != nil {
		r.Fatalf("clean up: %v", err)
	}
	for _, l := range s.LSPs {
		if strings.HasPrefix(l.Name, r.h.Owner) {
			r.Errorf("after clean-up LSP %s is left: %+v", l.Name, l)
		}
	}
	for _, f := range s.FTNs {
		if strings.HasPrefix(f.Name, r.h.Owner) {
			r.Errorf("after clean-up class %s is left: %+v", f.Name, f)
		}
	}
}
