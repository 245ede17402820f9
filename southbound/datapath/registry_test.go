package datapath

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netrack/openflow/ofp"
	"go.uber.org/goleak"

	"mpbox/southbound/openflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func statusOf(t testing.TB, r *Registry, dpid uint64) Status {
	t.Helper()
	for _, s := range r.Snapshot() {
		if s.DPID == dpid {
			return s
		}
	}
	t.Fatalf("no datapath %x", dpid)
	return Status{}
}

// Switches that lack something: the tap does what is left, and says so.
func TestDialectIsFound(t *testing.T) {
	has := func(b []byte, hex string) bool { return bytes.Contains(b, unhex(t, hex)) }
	const (
		flowMod, meterMod, multipart = 14, 29, 18
		nxmFlags                     = "00014504"
		onfFlags                     = "ffff55084f4e4600"
		ctrl2                        = "000023200025"
		ct                           = "000023200023"
	)
	type refusal = func(typ byte, body []byte) (uint16, uint16, bool)
	noNXM := func(typ byte, b []byte) (uint16, uint16, bool) {
		return 4, 6, typ == flowMod && (has(b, nxmFlags) || has(b, "0001d308"))
	}
	for name, tc := range map[string]struct {
		refuse refusal
		third  ThirdACK
		state  State
		reason string
		punts  string // how a SYN is punted; "" not at all
		match  string
		meters bool
	}{
		"Open vSwitch": {state: Ready, punts: ctrl2, match: nxmFlags, meters: true},
		"no role":      {refuse: func(typ byte, _ []byte) (uint16, uint16, bool) { return 11, 1, typ == 24 }, state: Ready, punts: ctrl2, match: nxmFlags, meters: true},
		"no meters at all": {refuse: func(typ byte, b []byte) (uint16, uint16, bool) {
			return 1, 2, typ == multipart && (b[1] == 11 || b[1] == 10)
		}, state: Ready, reason: "punts are not limited", punts: "00000010fffffffd", match: nxmFlags},
		"meters refused": {refuse: func(typ byte, _ []byte) (uint16, uint16, bool) { return 12, 1, typ == meterMod },
			state: Ready, reason: "punts are not limited", punts: "00000010fffffffd", match: nxmFlags, meters: true},
		"no meter of punts": {refuse: func(typ byte, b []byte) (uint16, uint16, bool) { return 2, 2, typ == flowMod && has(b, ctrl2) },
			state: Ready, reason: "one limits all punts", punts: "00000010fffffffd", match: nxmFlags, meters: true},
		"ONF's flags": {refuse: noNXM, state: Ready, reason: "Nicira's match", punts: ctrl2, match: onfFlags, meters: true},
		"no flags": {refuse: func(typ byte, b []byte) (uint16, uint16, bool) {
			return 4, 6, typ == flowMod && (has(b, nxmFlags) || has(b, onfFlags))
		}, state: Degraded, reason: "mirror the port", meters: true},
		"no conntrack": {third: ThirdACKConntrack, refuse: func(typ byte, b []byte) (uint16, uint16, bool) { return 2, 2, typ == flowMod && has(b, ct) },
			state: Degraded, reason: "reactive", punts: ctrl2, match: nxmFlags, meters: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := newRegistry(t, Config{Tap: Tap{ThirdACK: tc.third, PuntRate: 5000}})
				f := &fakeSwitch{refuse: tc.refuse}
				leave := join(t, r, f)
				defer leave()
				synctest.Wait()
				s := statusOf(t, r, 1)
				if s.State != tc.state || !strings.Contains(s.Reason, tc.reason) || tc.reason == "" && s.Reason != "" {
					t.Errorf("%s, %q; want %s, %q", s.State, s.Reason, tc.state, tc.reason)
				}
				if s.Intended != s.Installed || s.Installed != len(f.list()) {
					t.Errorf("intended %d, installed %d, on the switch %d", s.Intended, s.Installed, len(f.list()))
				}
				if got := simulate(f.list(), packet{in: 1, ether: 0x0806}); !slices.Equal(got.out, []uint32{2}) {
					t.Errorf("forwarding: %+v", got)
				}
				got := simulate(f.list(), tcp4(1, FlagSYN))
				if (len(got.punts) == 1) != (tc.punts != "") || !slices.Equal(got.out, []uint32{2}) {
					t.Errorf("SYN: %+v", got)
				}
				found := tc.punts == ""
				f.mu.Lock()
				for _, b := range f.flows {
					found = found || b[16] == TableTap && has(b, tc.punts) && has(b, tc.match)
				}
				f.mu.Unlock()
				if !found {
					t.Errorf("no tap flow with %s and %s", tc.match, tc.punts)
				}
				if limits := tc.meters && !strings.Contains(tc.reason, "not limited"); s.Metered != limits {
					t.Errorf("metered %v, want %v", s.Metered, limits)
				}
				if (f.count(meterMod) > 0) != tc.meters {
					t.Errorf("%d meters set, want some: %v", f.count(meterMod), tc.meters)
				}
			})
		})
	}
}

// Without a limit nothing is metered, and an expectation names no meter.
func TestWithoutPuntRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Bridge{Name: "e", DPID: 1, Attachments: []Attachment{{CEPort: 1, PEPort: 2}, {CEPort: 1, PEPort: 2, VLAN: []uint16{5}}}}
		r, _ := newRegistry(t, Config{Bridges: []Bridge{b}})
		f := &fakeSwitch{}
		leave := join(t, r, f)
		synctest.Wait()
		if s := statusOf(t, r, 1); s.State != Ready || s.Metered || f.count(29) != 0 {
			t.Errorf("%s, metered %v, %d meters set", s.State, s.Metered, f.count(29))
		}
		if meter := r.known[1].meterOf(Expectation{InPort: 1, VLAN: []uint16{5}}, DialectOVS); meter != 0 {
			t.Errorf("an expectation's meter %#x", meter)
		}
		leave()
		b.Attachments[1].PuntRate = 7
		r, _ = newRegistry(t, Config{Bridges: []Bridge{b}})
		leave = join(t, r, f)
		synctest.Wait()
		if s := statusOf(t, r, 1); !s.Metered {
			t.Error("not metered though an attachment has a limit")
		}
		leave()
		if s := statusOf(t, r, 1); s.Metered {
			t.Error("metered without a switch")
		}
	})
}

// A flow that has to be there and is refused: the state says which, and it is tried
// again.
func TestSyncIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, rec := newRegistry(t, Config{})
		full := true
		f := &fakeSwitch{refuse: func(typ byte, b []byte) (uint16, uint16, bool) {
			return 5, 1, full && typ == 14 && b[16] == TableForward
		}}
		leave := join(t, r, f)
		defer leave()
		synctest.Wait()
		s := statusOf(t, r, 1)
		if s.State != Degraded || !strings.Contains(s.Reason, "table=2") || !strings.Contains(s.Reason, "TableFull") || s.LastError == "" {
			t.Errorf("%s, %q", s.State, s.Reason)
		}
		if err := r.SetEdgeRules(t.Context(), 1, nil); !errors.Is(err, ErrNotConnected) {
			t.Errorf("edge rules meanwhile: %v", err)
		}
		f.mu.Lock()
		full = false
		f.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s := statusOf(t, r, 1); s.State != Ready {
			t.Errorf("%s, %q", s.State, s.Reason)
		}
		if want := []State{Syncing, Degraded, Ready}; !slices.Equal(rec.states, want) {
			t.Errorf("states %v, want %v", rec.states, want)
		}
	})
}

func addrPort(a netip.AddrPort, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr(), port)
}

func edge(id uint64, port uint16, a Action) EdgeRule {
	r := EdgeRule{ID: id, InPort: 1, Src: v4a, Dst: v4b, Action: a}
	r.Src = addrPort(r.Src, port)
	return r
}

func TestEdgeRulesAreDiffed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, rec := newRegistry(t, Config{})
		rules := []EdgeRule{edge(1, 1001, Count), edge(2, 1002, MarkDSCP(8)), edge(3, 1003, Count)}
		// Declared before the switch is there: remembered.
		if err := r.SetEdgeRules(t.Context(), 1, rules); !errors.Is(err, ErrNotConnected) {
			t.Errorf("without a switch: %v", err)
		}
		var broken uint16
		f := &fakeSwitch{refuse: func(typ byte, b []byte) (uint16, uint16, bool) {
			return 5, 1, broken != 0 && typ == 14 && b[17] == 0 && bytes.Contains(b, []byte{0x80, 0, 0x1a, 2, byte(broken >> 8), byte(broken)})
		}}
		leave := join(t, r, f)
		synctest.Wait()
		edges := func() (ids []uint64) {
			for _, f := range f.list() {
				if h, ok := r.known[1].edge.lookup(f.Cookie); ok && kindOf(f.Cookie) == kindEdge {
					ids = append(ids, h.id)
				}
			}
			slices.Sort(ids)
			return ids
		}
		if got := edges(); !slices.Equal(got, []uint64{1, 2, 3}) {
			t.Errorf("after connecting: %v", got)
		}
		n := f.count(14)
		if err := r.SetEdgeRules(t.Context(), 1, rules); err != nil || f.count(14) != n {
			t.Errorf("the same again: %v, %d messages", err, f.count(14)-n)
		}
		// One changed, one new, one gone: three messages.
		rules = []EdgeRule{edge(1, 1001, MarkDSCP(1)), edge(2, 1002, MarkDSCP(8)), edge(4, 1004, Count)}
		if err := r.SetEdgeRules(t.Context(), 1, rules); err != nil || f.count(14) != n+3 || !slices.Equal(edges(), []uint64{1, 2, 4}) {
			t.Errorf("%v, %d messages, rules %v", err, f.count(14)-n, edges())
		}
		// A rule that takes the packets of another over: it is replaced, never removed.
		n = f.count(14)
		rules[2] = edge(5, 1004, Count)
		if err := r.SetEdgeRules(t.Context(), 1, rules); err != nil || f.count(14) != n+1 || !slices.Equal(edges(), []uint64{1, 2, 5}) {
			t.Errorf("%v, %d messages, rules %v", err, f.count(14)-n, edges())
		}
		// One is refused: it is named, the others are in force, and it is tried again.
		f.mu.Lock()
		broken = 1007
		f.mu.Unlock()
		rules = append(rules, edge(6, 1006, Count), edge(7, 1007, Count))
		err := r.SetEdgeRules(t.Context(), 1, rules)
		var e *openflow.SwitchError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), "edge rule 7") || !slices.Equal(edges(), []uint64{1, 2, 5, 6}) {
			t.Errorf("%v, rules %v", err, edges())
		}
		if s := statusOf(t, r, 1); s.Intended-s.Installed != 1 || s.State != Ready {
			t.Errorf("intended %d, installed %d, %s", s.Intended, s.Installed, s.State)
		}
		f.mu.Lock()
		broken = 0
		f.mu.Unlock()
		if err := r.SetEdgeRules(t.Context(), 1, rules); err != nil || !slices.Equal(edges(), []uint64{1, 2, 5, 6, 7}) {
			t.Errorf("%v, rules %v", err, edges())
		}
		// One ends by itself: it is told, and not installed again.
		var over Flow
		for _, fl := range f.list() {
			if fl.Match.Src.Port() == 1006 {
				over = fl
			}
		}
		f.mu.Lock()
		for k, b := range f.flows {
			if be.Uint64(b) == over.Cookie {
				delete(f.flows, k)
			}
		}
		removed := be.AppendUint64(nil, over.Cookie)
		removed = append(removed, 3, 0xe8, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0)
		removed = append(removed, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 4, 0, 0, 0, 0)
		stale := slices.Clone(removed)
		be.PutUint64(stale, cookie(kindEdge, generationOf(over.Cookie)+7, handleOf(over.Cookie)))
		stale[31] = 99
		f.msg(11, 0, stale) // of an earlier run: another rule
		f.msg(11, 0, removed)
		f.mu.Unlock()
		synctest.Wait()
		if want := []End{{ID: 6, Reason: EndIdle, Packets: 5, Bytes: 256, Age: 9 * time.Second}}; !slices.Equal(rec.ends, want) {
			t.Errorf("ends %+v, want %+v", rec.ends, want)
		}
		leave()
		leave = join(t, r, f) // the switch comes back with its flows
		synctest.Wait()
		if got := edges(); !slices.Equal(got, []uint64{1, 2, 5, 7}) {
			t.Errorf("after reconnecting: %v", got)
		}
		gens := map[uint8]bool{}
		for _, fl := range f.list() {
			gens[generationOf(fl.Cookie)] = true
		}
		if len(gens) != 1 || gens[1] {
			t.Errorf("generations %v, want one new", gens)
		}
		leave()
	})
}

// Who asks for edge rules does not wait for a sync or an audit, however slow the
// switch; they are declared when that is over, without being asked for again.
func TestEdgeRulesDoNotWaitForASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newRegistry(t, Config{})
		var gate atomic.Pointer[chan struct{}]
		shut := func() (open func()) {
			c := make(chan struct{})
			gate.Store(&c)
			return func() { gate.Store(nil); close(c) }
		}
		f := &fakeSwitch{refuse: func(typ byte, b []byte) (uint16, uint16, bool) {
			if c := gate.Load(); c != nil && typ == 18 && b[1] == 1 { // the flows are asked for
				<-*c
			}
			return 0, 0, false
		}}
		ask := func(ids ...uint64) {
			t.Helper()
			var rules []EdgeRule
			for _, id := range ids {
				rules = append(rules, edge(id, 1000+uint16(id), Count))
			}
			began := time.Now()
			if err := r.SetEdgeRules(t.Context(), 1, rules); !errors.Is(err, ErrNotConnected) || time.Since(began) > 0 {
				t.Errorf("%v after %s", err, time.Since(began))
			}
		}
		want := func(ports ...uint16) {
			t.Helper()
			synctest.Wait()
			var got []uint16
			for _, fl := range f.list() {
				if h, ok := r.known[1].edge.lookup(fl.Cookie); ok && kindOf(fl.Cookie) == kindEdge && h.id+1000 == uint64(fl.Match.Src.Port()) {
					got = append(got, fl.Match.Src.Port())
				}
			}
			if slices.Sort(got); !slices.Equal(got, ports) {
				t.Errorf("rules of ports %v, want %v", got, ports)
			}
		}
		open := shut()
		leave := join(t, r, f)
		synctest.Wait() // in its first sync
		ask(1, 2)
		ask(1, 3) // takes the place of what nobody came to
		open()
		want(1001, 1003)

		open = shut()
		time.Sleep(auditInterval + time.Second)
		ask(3, 4)
		open()
		want(1003, 1004)

		// One session ends in a sync; the next one finds what was asked for meanwhile.
		open = shut()
		signal(r.known[1].conn.resync)
		synctest.Wait()
		ask(5)
		left := make(chan struct{})
		go func() { leave(); close(left) }()
		synctest.Wait()
		open()
		<-left
		leave = join(t, r, f)
		want(1005)
		leave()
	})
}

// A new run finds the edge rules of the one before: they stay until rules are
// declared, then what is not declared goes.
func TestEdgeRulesOutliveARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSwitch{}
		edges := func() (ports []uint16) {
			for _, fl := range f.list() {
				if kindOf(fl.Cookie) == kindEdge {
					ports = append(ports, fl.Match.Src.Port())
				}
			}
			slices.Sort(ports)
			return ports
		}
		r, _ := newRegistry(t, Config{})
		leave := join(t, r, f)
		if err := waitSet(t, r, edge(1, 1001, Count), edge(2, 1002, Count)); err != nil {
			t.Fatal(err)
		}
		leave()
		r, rec := newRegistry(t, Config{})
		leave = join(t, r, f)
		synctest.Wait()
		if got := edges(); !slices.Equal(got, []uint16{1001, 1002}) {
			t.Errorf("after the restart: %v", got)
		}
		installed, err := r.InstalledEdgeRules(t.Context(), 1)
		if err != nil || len(installed) != 2 || installed[0].Known || installed[0].ID != 0 {
			t.Errorf("installed %+v, %v", installed, err)
		}
		if err := r.SetEdgeRules(t.Context(), 1, []EdgeRule{edge(7, 1002, Count), edge(8, 1003, MarkDSCP(3))}); err != nil {
			t.Fatal(err)
		}
		if got := edges(); !slices.Equal(got, []uint16{1002, 1003}) {
			t.Errorf("after rules were declared: %v", got)
		}
		if installed, err = r.InstalledEdgeRules(t.Context(), 1); err != nil || len(installed) != 2 || !installed[0].Known || !installed[1].Known {
			t.Errorf("installed %+v, %v", installed, err)
		}
		if len(rec.ends) != 0 {
			t.Errorf("ends %+v", rec.ends)
		}
		leave()
	})
}

func TestEdgeRulesAreChecked(t *testing.T) {
	r, _ := newRegistry(t, Config{})
	good := edge(1, 1001, Count)
	for name, tc := range map[string]struct {
		edit func(*EdgeRule)
		text string
	}{
		"no port":          {func(e *EdgeRule) { e.InPort = 0 }, "in_port 0"},
		"no address":       {func(e *EdgeRule) { e.Src = addrPort(v4a, 0) }, "both ports"},
		"two families":     {func(e *EdgeRule) { e.Dst = v6b }, "one family"},
		"DSCP":             {func(e *EdgeRule) { e.Action = MarkDSCP(64) }, "DSCP 64"},
		"time-out":         {func(e *EdgeRule) { e.IdleTimeout = 20 * time.Hour }, "time-out"},
		"twice the ID":     {func(e *EdgeRule) { e.Src = addrPort(v4a, 7) }, "twice"},
		"twice the packet": {func(e *EdgeRule) { e.ID = 2 }, "same packets"},
		"inner tag alone":  {func(e *EdgeRule) { e.ID = 2; e.VLAN = nil }, "same packets"},
	} {
		bad := good
		tc.edit(&bad)
		if err := r.SetEdgeRules(t.Context(), 1, []EdgeRule{good, bad}); err == nil || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v, want %q", name, err, tc.text)
		}
	}
	if err := r.SetEdgeRules(t.Context(), 99, nil); !errors.Is(err, ErrUnknownDatapath) {
		t.Errorf("unknown: %v", err)
	}
}

// Somebody removes flows behind our back: they are put back.
func TestAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newRegistry(t, Config{})
		f := &fakeSwitch{}
		leave := join(t, r, f)
		defer leave()
		if err := waitSet(t, r, edge(1, 1001, Count)); err != nil {
			t.Fatal(err)
		}
		want := len(f.list())
		time.Sleep(2 * auditInterval)
		synctest.Wait()
		if n := f.count(14); n > want+2 {
			t.Errorf("%d messages though nothing changed", n)
		}
		f.mu.Lock()
		for k, b := range f.flows {
			if b[16] != TableForward {
				delete(f.flows, k)
			}
		}
		f.mu.Unlock()
		time.Sleep(2 * auditInterval)
		synctest.Wait()
		if n := len(f.list()); n != want {
			t.Errorf("%d flows, want %d", n, want)
		}
	})
}

// Another controller takes the switch over: mpbox says so, and touches nothing until
// it is master again or the switch connects again. It takes nothing back.
func TestAnotherMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const flowMod, portMod = 14, 16
		r, rec := newRegistry(t, Config{})
		f := &fakeSwitch{claim: 1 << 62} // of a controller whose clock was ahead
		leave := join(t, r, f)
		role := func(now ofp.ControllerRole) (was ofp.ControllerRole) {
			f.mu.Lock()
			defer f.mu.Unlock()
			was, f.role = ofp.ControllerRole(f.role), uint32(now)
			f.claim++
			return was
		}
		is := func(when string, want State) {
			t.Helper()
			time.Sleep(auditInterval)
			synctest.Wait()
			if s := statusOf(t, r, 1); s.State != want || s.State.InOrder() != (want == Ready) || want == Degraded && !strings.Contains(s.Reason, "ovs-vsctl get-controller edge1") {
				t.Errorf("%s: %s, %q; want %s", when, s.State, s.Reason, want)
			}
		}
		is("connected", Ready)
		if was := role(ofp.ControllerRoleSlave); was != ofp.ControllerRoleMaster {
			t.Errorf("role %d, want master", was)
		}
		flows, ports := f.count(flowMod), f.count(portMod)
		is("another master", Degraded)
		if err := r.SetEdgeRules(t.Context(), 1, []EdgeRule{edge(1, 1001, Count)}); !errors.Is(err, ErrNotConnected) {
			t.Errorf("edge rules meanwhile: %v", err)
		}
		f.mu.Lock()
		f.flows = nil
		down := make([]byte, 8+64) // PORT_STATUS: port 1 has no link
		down[0], down[11], down[8+39] = 2, 1, 1
		f.msg(12, 0, down)
		f.mu.Unlock()
		time.Sleep(time.Hour)
		is("for long", Degraded)
		if n, m := f.count(flowMod)-flows, f.count(portMod)-ports; n != 0 || m != 0 {
			t.Errorf("%d flows and %d ports changed on somebody else's switch", n, m)
		}
		if was := role(ofp.ControllerRoleMaster); was != ofp.ControllerRoleSlave {
			t.Errorf("role %d, want slave", was)
		}
		is("master again", Ready)
		if s := statusOf(t, r, 1); s.EdgeRules != 1 || s.Installed != len(f.list()) {
			t.Errorf("%d edge rules; %d flows, installed %d", s.EdgeRules, len(f.list()), s.Installed)
		}
		role(ofp.ControllerRoleSlave)
		is("lost again", Degraded)
		leave()
		leave = join(t, r, f)
		is("connected again", Ready)
		leave()
		if want := []State{Syncing, Ready, Degraded, Ready, Degraded, Disconnected, Syncing, Ready, Disconnected}; !slices.Equal(rec.states, want) {
			t.Errorf("states %v, want %v", rec.states, want)
		}
	})
}

func waitSet(t *testing.T, r *Registry, rules ...EdgeRule) error {
	synctest.Wait()
	return r.SetEdgeRules(t.Context(), 1, rules)
}

// The same switch connects again before its old connection is known to be dead.
func TestReplacedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, rec := newRegistry(t, Config{})
		leave1 := join(t, r, &fakeSwitch{})
		synctest.Wait()
		leave2 := join(t, r, &fakeSwitch{})
		synctest.Wait()
		leave1()
		synctest.Wait()
		if s := statusOf(t, r, 1); s.State != Ready {
			t.Errorf("%s, %q", s.State, s.Reason)
		}
		if slices.Contains(rec.states, Disconnected) {
			t.Errorf("states %v", rec.states)
		}
		leave2()
		if s := statusOf(t, r, 1); s.State != Disconnected || s.Reason == "" {
			t.Errorf("%s, %q", s.State, s.Reason)
		}
	})
}

func TestUnknownDatapaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newRegistry(t, Config{})
		for range 3 {
			leave := join(t, r, &fakeSwitch{dpid: 0xbeef})
			synctest.Wait()
			leave()
		}
		s := statusOf(t, r, 0xbeef)
		if s.State != Refused || s.Errors != 3 || s.Name != "000000000000beef" || !strings.Contains(s.Reason, "unknown_datapaths") {
			t.Errorf("%+v", s)
		}
		for dpid := range uint64(maxRefused + 50) { // strangers do not fill the memory
			leave := join(t, r, &fakeSwitch{dpid: 0xbad0000 + dpid})
			synctest.Wait()
			leave()
		}
		if n := len(r.Snapshot()); n > maxRefused+1 {
			t.Errorf("%d datapaths remembered", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r, rec := newRegistry(t, Config{Unknown: Observe})
		f := &fakeSwitch{dpid: 0xbeef}
		leave := join(t, r, f)
		time.Sleep(time.Minute) // silent, so asked whether it lives
		synctest.Wait()
		if s := statusOf(t, r, 0xbeef); s.State != Observed {
			t.Errorf("%+v", s)
		}
		if n := f.count(2); n == 0 || n != len(f.seen) {
			t.Errorf("messages of types %v, want echo requests only", f.seen)
		}
		f.mu.Lock()
		punt := unhex(t, "ffffffff 0001 01 00 0000000000000000 0001 000c 80000004 00000064 00000000 0000 aa")
		f.msg(10, 0, punt)
		f.mu.Unlock()
		synctest.Wait()
		if p := rec.take(); len(p) != 1 || p[0].port != 100 || p[0].dpid != 0xbeef {
			t.Errorf("punts %+v", p)
		}
		if s := statusOf(t, r, 0xbeef); s.Punts != 1 || !slices.Equal(s.PuntsByPort, []PortPunts{{100, 1}}) {
			t.Errorf("%+v", s)
		}
		if err := r.SetEdgeRules(t.Context(), 0xbeef, nil); !errors.Is(err, ErrObserved) {
			t.Errorf("edge rules: %v", err)
		}
		leave()
		if n := len(r.Snapshot()); n != 1 {
			t.Errorf("%d datapaths after it left", n)
		}
	})
}

func TestRegistryRefusesConfig(t *testing.T) {
	b := two
	for name, cfg := range map[string]Config{
		"dpid 0":     {Bridges: []Bridge{{Name: "x", Attachments: two.Attachments}}},
		"dpid twice": {Bridges: []Bridge{two, b}},
		"bad bridge": {Bridges: []Bridge{{Name: "x", DPID: 1}}},
	} {
		if _, err := NewRegistry(cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestExpect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newRegistry(t, Config{Tap: Tap{ThirdACK: ThirdACKReactive, PuntRate: 5000}})
		e := Expectation{InPort: 3, Src: v4a, Dst: v4b}
		if err := r.Expect(1, e); !errors.Is(err, ErrNotConnected) {
			t.Errorf("without a switch: %v", err)
		}
		f := &fakeSwitch{}
		leave := join(t, r, f)
		defer leave()
		synctest.Wait()
		n, mods := len(f.list()), f.count(14)
		six := Expectation{InPort: 2, VLAN: []uint16{7, 8}, Src: v6a, Dst: v6b}
		for _, e := range []Expectation{e, six} {
			if err := r.Expect(1, e); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		var got []Flow
		for _, fl := range f.list() {
			if kindOf(fl.Cookie) == kindExpect {
				got = append(got, fl)
			}
		}
		if len(got) != 2 || len(f.list()) != n+2 {
			t.Fatalf("expectations %v", got)
		}
		for _, fl := range got {
			want, meter := e, uint32(meterBase+1)
			if fl.Match.InPort == 2 {
				want, meter = six, meterBase
			}
			w := expectFlow(want, r.cfg.Tap, meter)
			if w.Cookie = fl.Cookie; fl != w {
				t.Errorf("installed %s\n     want %s", &fl, &w)
			}
			// It is met once, and removed once, though more packets were on their way.
			b := append(unhex(t, "ffffffff 0001 01 00"), be.AppendUint64(nil, fl.Cookie)...)
			f.mu.Lock()
			b = append(b, unhex(t, "0001 000c 80000004 00000001 00000000 0000 aa")...)
			f.msg(10, 0, b)
			f.msg(10, 0, b)
			f.mu.Unlock()
		}
		synctest.Wait()
		if m := f.count(14); m != mods+4 {
			t.Errorf("%d messages for two expectations", m-mods)
		}
		if len(f.list()) != n {
			t.Errorf("%d flows after the third ACKs, want %d", len(f.list()), n)
		}
		if err := r.Expect(1, Expectation{InPort: 1, Src: v4a, Dst: v6b}); err == nil {
			t.Error("two families are accepted")
		}
		// A flood is limited, and the limit passes.
		var err error
		for i := range maxExpected + 1 {
			e.Src = addrPort(v4a, uint16(i+1))
			if err = r.Expect(1, e); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrTooMany) {
			t.Errorf("flood: %v", err)
		}
		time.Sleep(5 * time.Second)
		if err := r.Expect(1, e); err != nil {
			t.Errorf("after the flood: %v", err)
		}
	})
	r, _ := newRegistry(t, Config{})
	if err := r.Expect(1, Expectation{}); err != nil {
		t.Errorf("when it is off: %v", err)
	}
}

func TestMeterOf(t *testing.T) {
	r, _ := newRegistry(t, Config{Tap: Tap{PuntRate: 5000}, Bridges: []Bridge{{Name: "e", DPID: 1, Attachments: []Attachment{
		{CEPort: 1, PEPort: 2, VLAN: []uint16{5}}, {CEPort: 1, PEPort: 2}, {CEPort: 1, PEPort: 2, VLAN: []uint16{6, 1}}, {CEPort: 3, PEPort: 4}}}}})
	for _, tc := range []struct {
		port uint32
		vlan []uint16
		want uint32
	}{
		{1, []uint16{5}, 0}, {2, []uint16{5, 9}, 0}, {2, nil, 1}, {1, []uint16{6, 1}, 2}, {1, []uint16{7}, 1}, {4, nil, 3}, {3, []uint16{1}, 3},
	} {
		got := r.known[1].meterOf(Expectation{InPort: tc.port, VLAN: tc.vlan}, DialectOVS)
		if got != meterBase+tc.want {
			t.Errorf("port %d tags %v: meter %#x, want that of attachment %d", tc.port, tc.vlan, got, tc.want)
		}
	}
}

func TestPortCounters(t *testing.T) {
	var p portCounters
	var batch []openflow.Punt
	for _, port := range []uint32{1, 1, 2, 63, 64, 64, 64, 1, 500} {
		batch = append(batch, openflow.Punt{InPort: port})
	}
	p.add(batch)
	p.add(batch[:3])
	want := []PortPunts{{1, 5}, {2, 2}, {63, 1}, {64, 3}, {500, 1}}
	if got := p.snapshot(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for port := range uint32(5000) { // ports that a stranger makes up do not fill the memory
		p.add([]openflow.Punt{{InPort: 1000 + port}})
	}
	if n := len(p.high); n > 1024 {
		t.Errorf("%d ports", n)
	}
}

func TestLinkChanges(t *testing.T) {
	port := func(no uint32, state string) openflow.Port {
		p := openflow.Port{No: no}
		switch state {
		case "lost":
			p.State = 1
		case "off":
			p.State, p.Config = 1, 1
		}
		return p
	}
	for _, tc := range []struct{ a, b, want string }{
		{"up", "up", ""},
		{"lost", "up", "2 off"},
		{"up", "lost", "1 off"},
		{"lost", "lost", ""}, // both sides see it
		{"lost", "off", ""},  // shown
		{"up", "off", "2 on"},
		{"off", "up", "1 on"},
		{"off", "lost", ""},
		{"off", "off", ""}, // somebody else's doing, or the machine's restart: wait
	} {
		var got []string
		for _, ch := range linkChanges(port(1, tc.a), port(2, tc.b)) {
			s := map[uint32]string{1: "1", 2: "2"}[ch.port.No] + " on"
			if ch.down {
				s = s[:1] + " off"
			}
			got = append(got, s)
		}
		if strings.Join(got, ",") != tc.want {
			t.Errorf("%s, %s: %v, want %q", tc.a, tc.b, got, tc.want)
		}
	}
}

func TestNextGeneration(t *testing.T) {
	for _, tc := range []struct {
		last uint8
		used []uint8
		want uint8
	}{{0, nil, 1}, {1, []uint8{1}, 2}, {0, []uint8{0, 1, 2}, 3}, {255, []uint8{255}, 1}, {254, []uint8{255, 1}, 2}} {
		used := map[uint8]bool{}
		for _, u := range tc.used {
			used[u] = true
		}
		if got := nextGeneration(tc.last, used); got != tc.want {
			t.Errorf("after %d, with %v used: %d, want %d", tc.last, tc.used, got, tc.want)
		}
	}
}
