package drivertest

import (
	"net/netip"
	"slices"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

func (r *run) empty() {
	for _, l := range r.state().LSPs {
		if l.Ingress != r.h.Ingress {
			r.Errorf("LSP %s begins at %q, want %s: State tells LSPs that begin at this PE", l.Name, l.Ingress, r.h.Ingress)
		}
	}
	if n := r.writes(func() { r.state(); r.apply() }); n != 0 {
		r.Errorf("reading sent %d writes", n)
	}
}

// addrs are the addresses of a route.
func addrs(hops []topology.Hop) []netip.Addr {
	var out []netip.Addr
	for _, h := range hops {
		out = append(out, h.Addr)
	}
	return out
}

func (r *run) signal() {
	want := r.lsp(1)
	r.apply(driver.Signal{LSP: want})
	got := r.up(want.Name)
	if got.Ingress != want.Ingress || got.Egress != want.Egress || !got.AdminUp {
		r.Errorf("read back %+v, want %+v", got, want)
	}
	if got.SetupPriority != 7 || got.HoldPriority != 7 {
		r.Errorf("priorities %d %d, want 7 7", got.SetupPriority, got.HoldPriority)
	}
	if got.TunnelID == 0 {
		r.Error("the LSP has no tunnel number")
	}
	if r.caps.ExplicitRoute && !slices.Equal(got.ERO, want.ERO) {
		r.Errorf("ERO %v, want %v", got.ERO, want.ERO)
	}
	if r.caps.RecordRoute && !slices.Equal(addrs(got.RRO), addrs(want.ERO)) {
		r.Errorf("RRO %v, want the addresses of %v", got.RRO, want.ERO)
	}
	r.apply(driver.Release{Name: want.Name})
	r.gone(want.Name)
}

func (r *run) signalDynamic() {
	l := r.lsp(1)
	l.ERO = nil
	r.apply(driver.Signal{LSP: l})
	got, ok := r.find(l.Name)
	if !ok || len(got.ERO) != 0 {
		r.Errorf("found %t, ERO %v, want none: the head end computes the route", ok, got.ERO)
	}
	if n := r.writes(func() { r.apply(driver.Signal{LSP: l}) }); n != 0 {
		r.Errorf("signalling it again sent %d writes", n)
	}
}

func (r *run) signalBandwidth() {
	l := r.lsp(1)
	l.Bandwidth, l.SetupPriority, l.HoldPriority = 2e6, 5, 4
	r.apply(driver.Signal{LSP: l})
	got := r.up(l.Name)
	if got.Bandwidth != 2e6 || got.SetupPriority != 5 || got.HoldPriority != 4 {
		r.Errorf("bandwidth %g, priorities %d %d, want 2e6, 5 4", got.Bandwidth, got.SetupPriority, got.HoldPriority)
	}
	if n := r.writes(func() { r.apply(driver.Signal{LSP: l}) }); n != 0 {
		r.Errorf("signalling it again sent %d writes", n)
	}
	l.Bandwidth = 3e6
	r.refused(driver.ErrRejected, driver.Signal{LSP: l})
}

func (r *run) signalOther() {
	l := r.lsp(1)
	r.apply(driver.Signal{LSP: l})
	other := l
	other.ERO = r.h.Routes[0]
	n := r.writes(func() { r.refused(driver.ErrRejected, driver.Signal{LSP: other}) })
	if n != 0 {
		r.Errorf("the refused operation sent %d writes", n)
	}
	if got, _ := r.find(l.Name); !slices.Equal(got.ERO, l.ERO) {
		r.Errorf("route is now %v, want %v as before", got.ERO, l.ERO)
	}
}

func (r *run) bindFEC(fec topology.FEC) {
	l := r.lsp(1)
	f := topology.FTN{Name: r.h.Owner + "flow-1", FEC: fec, LSP: l.Name}
	r.apply(driver.Signal{LSP: l}, driver.Bind{FTN: f})
	r.bound(f)
	r.apply(driver.Unbind{Name: f.Name}, driver.Release{Name: l.Name})
	r.gone(f.Name, l.Name)
}

func (r *run) bind4() { r.bindFEC(r.tuple4(1)) }

func (r *run) bind6() {
	r.bindFEC(topology.FEC{
		Interface: r.h.Interface, Protocol: 6, SrcPort: 4711, DstPort: 443,
		Src: netip.MustParsePrefix("2001:db8:1::1/128"), Dst: netip.MustParsePrefix("2001:db8:2::2/128"),
	})
}

func (r *run) bindClass() {
	r.bindFEC(topology.FEC{
		Interface: r.h.Interface, Dst: netip.MustParsePrefix("10.2.0.0/24"), DSCP: 10, HasDSCP: true,
	})
	r.bindFEC(topology.FEC{
		Interface: r.h.Interface, Dst: netip.MustParsePrefix("2001:db8:2::/64"), DSCP: 46, HasDSCP: true,
	})
}

// bindTwo: classes come and go without disturbing each other.
func (r *run) bindTwo() {
	a, b := r.lsp(1), r.lsp(2)
	fs := []topology.FTN{r.ftn(1, a.Name), r.ftn(2, b.Name), r.ftn(3, a.Name)}
	r.apply(driver.Signal{LSP: a}, driver.Signal{LSP: b})
	for _, f := range fs {
		r.apply(driver.Bind{FTN: f})
	}
	for _, f := range fs {
		r.bound(f)
	}
	r.apply(driver.Unbind{Name: fs[1].Name})
	r.gone(fs[1].Name)
	r.bound(fs[0])
	r.bound(fs[2])
	r.apply(driver.Bind{FTN: fs[1]}, driver.Unbind{Name: fs[0].Name}, driver.Unbind{Name: fs[2].Name})
	r.bound(fs[1])
	r.gone(fs[0].Name, fs[2].Name)
}

func (r *run) bindOther() {
	l := r.lsp(1)
	f := r.ftn(1, l.Name)
	r.apply(driver.Signal{LSP: l}, driver.Bind{FTN: f})
	other := f
	other.FEC = r.tuple4(2)
	r.refused(driver.ErrRejected, driver.Bind{FTN: other})
	r.bound(f)
}

func (r *run) bindNothing() {
	r.refused(driver.ErrRejected, driver.Bind{FTN: r.ftn(1, r.h.Owner+"nowhere/1")})
	r.gone(r.ftn(1, "").Name)
}

func (r *run) bindNowhere() {
	l := r.lsp(1)
	f := r.ftn(1, l.Name)
	f.FEC.Interface = "GigabitEthernet0/7/0/99"
	r.apply(driver.Signal{LSP: l})
	r.refused(driver.ErrRejected, driver.Bind{FTN: f})
	r.gone(f.Name)
}

func (r *run) repoint() {
	a, b := r.lsp(1), r.lsp(2)
	f := r.ftn(1, a.Name)
	r.apply(driver.Signal{LSP: a}, driver.Signal{LSP: b}, driver.Bind{FTN: f})
	r.bound(f)
	f.LSP = b.Name
	// One write: there is no moment in which the class is not mapped.
	if n := r.writes(func() { r.apply(driver.Bind{FTN: f}) }); n != 1 {
		r.Errorf("re-pointing took %d writes, want 1", n)
	}
	r.bound(f)
	// The LSP that it left can go now.
	r.apply(driver.Release{Name: a.Name})
	r.gone(a.Name)
	r.bound(f)
}

func (r *run) idempotence() {
	l := r.lsp(1)
	f := r.ftn(1, l.Name)
	ops := []driver.Op{driver.Signal{LSP: l}, driver.Bind{FTN: f}}
	r.apply(ops...)
	r.up(l.Name)
	if n := r.writes(func() { r.apply(ops...) }); n != 0 {
		r.Errorf("the same again sent %d writes", n)
	}
	r.bound(f)
	end := []driver.Op{driver.Unbind{Name: f.Name}, driver.Release{Name: l.Name}}
	r.apply(end...)
	if n := r.writes(func() { r.apply(end...) }); n != 0 {
		r.Errorf("removing what is gone sent %d writes", n)
	}
}

func (r *run) releaseBound() {
	l := r.lsp(1)
	f := r.ftn(1, l.Name)
	r.apply(driver.Signal{LSP: l}, driver.Bind{FTN: f})
	n := r.writes(func() { r.refused(driver.ErrRejected, driver.Release{Name: l.Name}) })
	if n != 0 {
		r.Errorf("the refused operation sent %d writes", n)
	}
	r.up(l.Name)
	r.bound(f)
}

// atomic: of operations that fail none took effect.
func (r *run) atomic() {
	l := r.lsp(1)
	r.refused(driver.ErrRejected, driver.Signal{LSP: l}, driver.Bind{FTN: r.ftn(1, r.h.Owner+"nowhere/1")})
	r.gone(l.Name)
}

// slots: one more LSP to an egress than the PE can tell apart is refused, and a
// slot is free again when the last class has left it.
func (r *run) slots() {
	var ops []driver.Op
	for i := range r.caps.MaxSlots {
		l := r.lsp(i)
		ops = append(ops, driver.Signal{LSP: l}, driver.Bind{FTN: r.ftn(i, l.Name)})
	}
	r.apply(ops...)
	for i := range r.caps.MaxSlots {
		r.bound(r.ftn(i, r.lsp(i).Name))
	}
	last := r.lsp(r.caps.MaxSlots)
	f := r.ftn(r.caps.MaxSlots, last.Name)
	r.apply(driver.Signal{LSP: last})
	r.refused(driver.ErrRejected, driver.Bind{FTN: f})
	r.apply(driver.Unbind{Name: r.ftn(0, "").Name}, driver.Bind{FTN: f})
	r.bound(f)
}
