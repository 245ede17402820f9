package snmp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"

	"mpbox/pe-drivers/driver"
	"mpbox/pe-drivers/drivertest"
	"mpbox/topology"
)

const owner = "mpbox/lab/"

var (
	pe1 = netip.MustParseAddr("10.255.0.1")
	pe2 = netip.MustParseAddr("10.255.0.2")

	testNames = driver.NewNames(map[netip.Addr]string{pe1: "pe1", pe2: "pe2"})
)

func hops(addrs ...string) []topology.Hop {
	out := make([]topology.Hop, 0, len(addrs))
	for _, a := range addrs {
		loose := strings.HasSuffix(a, "~")
		out = append(out, topology.Hop{Addr: netip.MustParseAddr(strings.TrimSuffix(a, "~")), Loose: loose})
	}
	return out
}

// harness runs the suite on the fake agent.
func harness(a *agent) drivertest.Harness {
	return drivertest.Harness{
		New:   func(testing.TB) driver.Driver { return New(a.config()) },
		Owner: owner, Ingress: "pe1", Egress: "pe2", Interface: "GigabitEthernet0/0/0/1",
		Routes: [][]topology.Hop{
			hops("10.0.1.2", "10.0.2.2", "10.0.3.2"),
			hops("10.1.1.2", "10.1.2.2", "10.1.3.2", "10.1.4.2", "10.1.5.2", "10.1.6.2", "10.1.7.2"),
		},
		Writes: drivertest.WritesOf(a.setCount),
		Unreachable: func(testing.TB) driver.Driver {
			cfg := a.config()
			cfg.dial, cfg.Address, cfg.Timeout = nil, "127.0.0.1:1", 50*time.Millisecond
			cfg.AuthProtocol, cfg.AuthPassword, cfg.PrivProtocol, cfg.PrivPassword, cfg.User = "sha256", "password-1", "aes128", "password-2", "mpbox"
			return New(cfg)
		},
		Refuse: func(_ testing.TB, what string) func() {
			entry := map[string]string{"lsp": tunnelEntry, "ftn": ftnEntry}[what]
			a.with(func() {
				a.refuse = func(v gosnmp.SnmpPDU) gosnmp.SNMPError {
					if strings.HasPrefix(v.Name, entry+".") && v.Value != rowDestroy {
						return gosnmp.ResourceUnavailable
					}
					return gosnmp.NoError
				}
			})
			return func() { a.with(func() { a.refuse = nil }) }
		},
		HalfMade: func(_ testing.TB, lsp, class string) {
			for _, r := range encodeHops(77, lsp, hops("10.0.1.2", "10.0.2.2")) {
				a.put(settled(r, rowActive)...)
			}
			a.put(settled(encodeFTN(66, class, topology.FEC{Protocol: 6}, "0.0"), 3)...)
		},
		Foreign: func(testing.TB) (string, string) {
			t := tunnel{id: 7, instance: 1, ingress: lsrID(pe1), egress: lsrID(pe2), name: "noc-1", setup: 7, hold: 7}
			a.put(settled(encodeTunnel(t), rowActive)...)
			a.put(intVar(tunnelEntry, tunOper, t.index(), operUp))
			// Without a name, and between two other routers: not this PE's business.
			transit := tunnel{id: 8, instance: 1, ingress: lsrID(pe2), egress: 99, name: "transit"}
			a.put(settled(encodeTunnel(transit), rowActive)...)
			f := topology.FEC{Dst: netip.MustParsePrefix("0.0.0.0/0")}
			a.put(settled(encodeFTN(5, "noc-class", f, t.pointer()), rowActive)...)
			a.put(intVar(mapEntry, mapRowStatus, mapRow{ifIndex: 101, curr: 5}.index(), rowActive))
			return "noc-1", "noc-class"
		},
	}
}

// settled is a row as it stands in the agent: with a state instead of an action.
func settled(row []gosnmp.SnmpPDU, status int) []gosnmp.SnmpPDU {
	for i, v := range row {
		if v.Value == rowCreateAndGo {
			row[i].Value = status
		}
	}
	return row
}

func TestConformance(t *testing.T) { drivertest.Run(t, harness(newAgent(t))) }

// An agent that does not see rows which the same SET makes, answers in small
// pieces and takes small messages.
func TestConformanceOldAgent(t *testing.T) {
	a := newAgent(t)
	a.with(func() { a.separate, a.bulkLimit = true, 7 })
	h := harness(a)
	h.New = func(testing.TB) driver.Driver {
		cfg := a.config()
		cfg.MaxMessage = 484 // the least that every agent takes (RFC 3417)
		return New(cfg)
	}
	h.Many = 10
	drivertest.Run(t, h)
	for entry, name := range map[string]string{tunnelEntry: "tunnel", hopEntry: "hop", resEntry: "resource"} {
		want := map[string]int{tunnelEntry: 2, hopEntry: 0}[entry] // the foreign ones
		if n := a.rows(entry); n != want {
			t.Errorf("%d %s rows are left, want %d", n, name, want)
		}
	}
}

// An agent that dies after each possible number of SETs, or whose answer is lost:
// when it is back, the same operations complete the work, or the reverse leaves
// nothing.
func TestDiesBetweenSets(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for after := range 5 {
			name := fmt.Sprintf("after %d, answer lost %t", after, lost)
			t.Run(name+", complete", func(t *testing.T) { dieBetweenSets(t, after, lost, true) })
			t.Run(name+", undo", func(t *testing.T) { dieBetweenSets(t, after, lost, false) })
		}
	}
}

func dieBetweenSets(t *testing.T, after int, lost, complete bool) {
	a := newAgent(t)
	a.with(func() { a.separate, a.dieAfter, a.loseAnswer = true, after, lost })
	cfg := a.config()
	cfg.MaxMessage = 700
	d := New(cfg)
	lsp := topology.LSP{Name: owner + "pe1-pe2/1", Egress: "pe2", ERO: hops("10.1.1.2", "10.1.2.2", "10.1.3.2")}
	class := topology.FTN{Name: owner + "flow-1", LSP: lsp.Name, FEC: topology.FEC{Interface: "GigabitEthernet0/0/0/1", Protocol: 6}}
	ops := []driver.Op{driver.Signal{LSP: lsp}, driver.Bind{FTN: class}}
	if err := d.Apply(t.Context(), ops...); !errors.Is(err, driver.ErrUnreachable) {
		t.Fatalf("Apply = %v, want unreachable", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	a.with(func() {
		if a.conn != nil {
			t.Fatal("the agent lives")
		}
	})
	a.start(t)
	d = New(a.config())
	defer func() { _ = d.Close() }()
	if !complete {
		if err := d.Apply(t.Context(), driver.Unbind{Name: class.Name}, driver.Release{Name: lsp.Name}); err != nil {
			t.Fatal(err)
		}
		for entry := range agentTables {
			if n := a.rows(entry); n != 0 {
				t.Errorf("%d rows are left in %s", n, entry)
			}
		}
		return
	}
	if err := d.Apply(t.Context(), ops...); err != nil {
		t.Fatal(err)
	}
	s, err := d.State(t.Context())
	if err != nil || len(s.LSPs) != 1 || s.LSPs[0].Oper != topology.OperUp || len(s.FTNs) != 1 || s.FTNs[0] != class {
		t.Errorf("State = %+v, %v", s, err)
	}
	for entry, want := range map[string]int{hopEntry: 3, tunnelEntry: 1, ftnEntry: 1, mapEntry: 1} {
		if n := a.rows(entry); n != want {
			t.Errorf("%d rows in %s, want %d", n, entry, want)
		}
	}
}

// A refusal after part of the rows was accepted takes these back at once.
func TestRefusedLeavesNothing(t *testing.T) {
	a := newAgent(t)
	cfg := a.config()
	cfg.MaxMessage = 484
	d := New(cfg)
	defer func() { _ = d.Close() }()
	end := harness(a).Refuse(t, "lsp")
	defer end()
	err := d.Apply(t.Context(), driver.Signal{LSP: topology.LSP{Name: owner + "pe1-pe2/1", Egress: "pe2", ERO: hops("10.1.1.2", "10.1.2.2")}})
	var e *driver.Error
	if !errors.As(err, &e) || !errors.Is(e.Kind, driver.ErrRejected) {
		t.Fatalf("Apply = %v", err)
	}
	if want := `SET mplsTunnelName.50000.1.184483841.184483842 = mpbox/lab/pe1-pe2/1`; e.Step != want {
		t.Errorf("step %q, want %q", e.Step, want)
	}
	if e.Detail != "resourceUnavailable(13)" {
		t.Errorf("detail %q", e.Detail)
	}
	if n := a.rows(hopEntry); n != 0 {
		t.Errorf("%d hops are left", n)
	}
}

// A PE that restarts may number its interfaces anew (RFC 2863, section 3.1.5): what is
// told and what is made then is of the names, on a session that saw the old numbers.
func TestInterfacesAreRenumbered(t *testing.T) {
	const gi1, gi2 = "GigabitEthernet0/0/0/1", "GigabitEthernet0/0/0/2"
	a := newAgent(t)
	d := New(a.config())
	defer func() { _ = d.Close() }()
	lsp := topology.LSP{Name: owner + "pe1-pe2/1", Egress: "pe2", ERO: hops("10.1.1.2", "10.1.2.2")}
	class := topology.FTN{Name: owner + "flow-1", LSP: lsp.Name, FEC: topology.FEC{Interface: gi1, Protocol: 6}}
	for _, step := range []struct {
		name  string
		lost  bool // the PE forgets its rows
		table string
		names map[uint32]string
		told  string // where the class is told to be then
		index uint32 // of gi1
	}{
		{"first", true, ifXEntry, map[uint32]string{101: gi1, 102: gi2}, "", 101},
		{"swapped, rows lost", true, ifXEntry, map[uint32]string{101: gi2, 102: gi1}, "", 102},
		{"swapped back, rows kept", false, ifXEntry, map[uint32]string{101: gi1, 102: gi2}, gi2, 101},
		{"the old number is gone", false, ifXEntry, map[uint32]string{201: gi1, 202: gi2}, "", 201},
		{"no ifXTable any more", false, ifEntry, map[uint32]string{201: gi2, 202: gi1}, gi2, 202},
	} {
		a.with(func() {
			for oid := range a.cells {
				if entry, _, _ := split(oid); step.lost && entry != "" || strings.HasPrefix(oid, ifXEntry+".1.") || strings.HasPrefix(oid, ifEntry+".") {
					delete(a.cells, oid)
				}
			}
		})
		for i, name := range step.names {
			a.put(textVar(step.table, map[string]int{ifXEntry: ifName, ifEntry: ifDescr}[step.table], index(i), name))
		}
		s, err := d.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if step.lost != (len(s.FTNs) == 0) || !step.lost && s.FTNs[0].FEC.Interface != step.told {
			t.Errorf("%s: told %+v, want interface %q", step.name, s.FTNs, step.told)
		}
		if err := d.Apply(t.Context(), driver.Signal{LSP: lsp}, driver.Bind{FTN: class}); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		s, err = d.State(t.Context())
		if err != nil || len(s.FTNs) != 1 || s.FTNs[0] != class {
			t.Errorf("%s: %+v, %v", step.name, s.FTNs, err)
		}
		a.with(func() {
			if n := a.status(a.cells, mapEntry, mapRow{ifIndex: step.index, curr: 1}.index()); n != rowActive {
				t.Errorf("%s: the row of interface %d is %d", step.name, step.index, n)
			}
		})
	}
}

// An agent whose MPLS part is gone must not look like a PE without LSPs.
func TestMIBNotServed(t *testing.T) {
	a := newAgent(t)
	a.with(func() { delete(a.cells, ftnIndexNext) })
	d := New(a.config())
	defer func() { _ = d.Close() }()
	_, err := d.State(t.Context())
	if !errors.Is(err, driver.ErrUnreachable) || !strings.Contains(err.Error(), "MPLS-FTN-STD-MIB") {
		t.Errorf("State = %v, want an error that names the MIB", err)
	}
}

// Cisco shows the heads of its tunnels with instance 0 and LSR id 0, and an instance
// that is signalled besides: that is one LSP.
func TestHeadAndItsInstance(t *testing.T) {
	a := newAgent(t)
	head := tunnel{id: 9, egress: lsrID(pe2), name: "tunnel-te9", hopList: 3}
	a.put(settled(encodeTunnel(head), rowActive)...)
	a.put(intVar(tunnelEntry, tunOper, head.index(), 2))
	live := tunnel{id: 9, instance: 4, ingress: lsrID(pe1), egress: lsrID(pe2), name: "tunnel-te9", arHopList: 3}
	a.put(settled(encodeTunnel(live), rowActive)...)
	a.put(intVar(tunnelEntry, tunOper, live.index(), operUp), uintVar(tunnelEntry, tunARHopList, live.index(), 3))
	a.put(octetVar(arHopEntry, arHopAddr, "3.1", 10, 0, 0, 9))
	d := New(a.config())
	defer func() { _ = d.Close() }()
	s, err := d.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.LSPs) != 1 {
		t.Fatalf("told %+v, want one LSP", s.LSPs)
	}
	if l := s.LSPs[0]; l.Name != "tunnel-te9" || l.Oper != topology.OperUp || len(l.RRO) != 1 || l.Egress != "pe2" || l.Ingress != "pe1" {
		t.Errorf("told %+v", l)
	}
}

// A context that ends while the agent is silent ends the call at once.
func TestCancelWhileWaiting(t *testing.T) {
	a := newAgent(t)
	a.with(func() { a.silent = true })
	cfg := a.config()
	d := New(cfg)
	defer func() { _ = d.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	start := time.Now()
	_, err := d.State(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("State = %v, want context.Canceled", err)
	}
	if took := time.Since(start); took > 8*time.Second { // it is less than the time-out
		t.Errorf("it took %v", took)
	}
	a.with(func() { a.silent = false })
	if _, err := d.State(t.Context()); err != nil {
		t.Errorf("after that: %v", err)
	}
}
