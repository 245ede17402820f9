package datapath

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"mpbox/southbound/ovs"
	"mpbox/southbound/ovs/ovstest"
)

var (
	v4a = netip.MustParseAddrPort("10.1.0.1:40000")
	v4b = netip.MustParseAddrPort("10.2.0.1:80")
	v6a = netip.MustParseAddrPort("[2001:db8:1::1]:40000")
	v6b = netip.MustParseAddrPort("[2001:db8:2::1]:80")
)

// expect wants exactly this frame on w.
func expect(t *testing.T, w *ovstest.Wire, want []byte) {
	t.Helper()
	got := w.Receive(5 * time.Second)
	if !bytes.Equal(got, want) {
		t.Fatalf("on %s:\n got %x\nwant %x", w.Port, got, want)
	}
}

// silent wants no frame on any of the wires.
func silent(t *testing.T, wires ...*ovstest.Wire) {
	t.Helper()
	for _, w := range wires {
		if got := w.Receive(20 * time.Millisecond); got != nil {
			t.Errorf("on %s: %x, want nothing", w.Port, got)
		}
	}
}

// passes sends f until it comes out where it should: what the switch has cached (a
// drop, say) lives on for the milliseconds until it is revalidated. Each try has its own
// sequence number, for that of an earlier try may come late; after the last one's nothing does.
func (r *rig) passes(t *testing.T, in, out int, f tcpFrame) {
	t.Helper()
	r.sw.Until(fmt.Sprintf("port %d leads to port %d", in+1, out+1), func() bool {
		f.seq++
		want := f.bytes()
		r.wires[in].Send(want)
		for {
			got := r.wires[out].Receive(50 * time.Millisecond)
			if got == nil || bytes.Equal(got, want) {
				return got != nil
			}
		}
	})
}

// rig is a bridge with two attachments (ports 1-2 and 3-4), and its controller.
type rig struct {
	sw     *ovstest.Switch
	wires  []*ovstest.Wire
	cfg    Config
	starts int
	*controller
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := &rig{sw: ovstest.Start(t), cfg: cfg}
	r.wires = r.sw.AddBridge("br0", 1, 4)
	if r.cfg.Bridges == nil {
		r.cfg.Bridges = []Bridge{{Name: "br0", DPID: 1, Attachments: []Attachment{
			{Name: "a", CEPort: 1, PEPort: 2}, {Name: "b", CEPort: 3, PEPort: 4}}}}
	}
	r.sw.VSCtl("set", "Open_vSwitch", ".", "other_config:vlan-limit=2")
	r.restart(t)
	return r
}

// restart starts a controller; an old one is gone. It is at another address, for
// Open vSwitch takes up to 8 s until it looks for a controller again.
func (r *rig) restart(t *testing.T) {
	t.Helper()
	if r.controller != nil {
		r.stop()
	}
	r.starts++
	addr := fmt.Sprintf("unix:%s/of%d.sock", r.sw.Dir, r.starts)
	r.controller = startController(t, addr, r.cfg)
	r.sw.VSCtl("set-controller", "br0", addr)
	waitReady(r.sw, r.controller, 1)
}

func TestIntegrationTap(t *testing.T) {
	r := newRig(t, Config{})
	addrs := [][2]netip.AddrPort{{v4a, v4b}, {v6a, v6b}}
	for _, vlan := range [][]uint16{nil, {100}, {100, 200}} {
		for _, a := range addrs {
			for _, flags := range []uint16{FlagSYN, FlagSYN | FlagACK, FlagFIN | FlagACK, FlagRST, FlagACK, 0} {
				for in := range 4 {
					f := tcpFrame{src: a[0], dst: a[1], flags: flags, vlan: vlan, payload: 40}.bytes()
					r.wires[in].Send(f)
					expect(t, r.wires[in^1], f)
					if flags&(FlagSYN|FlagFIN|FlagRST) == 0 {
						continue
					}
					r.sw.Until("punt", func() bool { return r.rec.count() > 0 })
					p := r.rec.take()
					if len(p) != 1 || p[0].dpid != 1 || p[0].port != uint32(in+1) || !bytes.Equal(p[0].frame, f) {
						t.Fatalf("tags %v flags %#x port %d: punted %+v, want %x", vlan, flags, in+1, p, f)
					}
				}
			}
		}
	}
	silent(t, r.wires...)
	if n := r.rec.count(); n != 0 {
		t.Errorf("%d punts too many", n)
	}
	// A long frame may be cut (Open vSwitch does not), and is forwarded whole.
	f := tcpFrame{src: v4a, dst: v4b, flags: FlagSYN, payload: 1400}.bytes()
	r.wires[0].Send(f)
	expect(t, r.wires[1], f)
	r.sw.Until("punt", func() bool { return r.rec.count() > 0 })
	if p := r.rec.take(); len(p[0].frame) < 256 || !bytes.HasPrefix(f, p[0].frame) {
		t.Errorf("%d bytes punted, want the first 256 at least", len(p[0].frame))
	}
}

// What is no TCP passes too, also what a switch would keep for itself or flood; and
// nothing ever crosses from one pair to another.
func TestIntegrationWire(t *testing.T) {
	r := newRig(t, Config{})
	check := func(when string) {
		t.Helper()
		for _, dst := range []string{"ffffffffffff", "0180c2000000", "0180c2000003", "01000ccccccc", "3333000000fb", "020000000009"} {
			for in := range 4 {
				f := make([]byte, 60)
				copy(f, unhex(t, dst+"02000000000188cc"))
				f[20] = byte(in)
				r.wires[in].Send(f)
				expect(t, r.wires[in^1], f)
			}
		}
		silent(t, r.wires...)
		if t.Failed() {
			t.Fatal(when)
		}
	}
	check("with the controller")
	r.stop()
	r.sw.Until("controller gone", func() bool { return r.sw.VSCtl("get", "controller", "br0", "is_connected") == "false" })
	check("with a dead controller")
	r.restart(t)
	check("with a new controller")
	if n := r.rec.count(); n != 0 {
		t.Errorf("%d punts", n)
	}
}

// Frames run while controllers come and go: none is lost, none comes twice.
func TestIntegrationResyncWithoutLoss(t *testing.T) {
	r := newRig(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	sent, arrived := make(chan int, 1), make(chan error, 1)
	total := make(chan int, 1)
	// Fewer are under way than fit into the socket from which the switch reads: what a
	// switch that is away for a while does not read in time is not what is asked here.
	window := make(chan struct{}, 100)
	go func() {
		n := 0
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		send := func() {
			f := tcpFrame{src: v4a, dst: v4b, flags: FlagACK, payload: 20}.bytes()
			binary.BigEndian.PutUint32(f[38:], uint32(n)) // the sequence number
			select {
			case window <- struct{}{}:
			case <-t.Context().Done(): // failed
			}
			r.wires[0].Send(f)
			n++
		}
		for ctx.Err() == nil {
			<-tick.C
			send()
			send()
		}
		total <- n + 1 // known before the last one comes
		send()
		sent <- n
	}()
	go func() {
		n := -1 // as long as frames are sent
		for i := 0; i != n; i++ {
			f := r.wires[1].Receive(5 * time.Second)
			if f == nil {
				arrived <- fmt.Errorf("frame %d is lost", i)
				return
			}
			if got := binary.BigEndian.Uint32(f[38:]); got != uint32(i) {
				arrived <- fmt.Errorf("frame %d arrived in place of %d", got, i)
				return
			}
			<-window
			select {
			case n = <-total:
			default:
			}
		}
		arrived <- nil
	}()
	gens := map[uint8]bool{}
	for i := range 5 {
		r.cfg.Tap.MaxLen = uint16(100 + i) // each controller has other flows
		r.restart(t)
		gens[r.status(1).Generation] = true
		if n := strings.Count(r.sw.OFCtl("dump-flows", "br0"), "cookie=0x6d70"); n != r.status(1).Installed {
			t.Errorf("%d flows on the switch, %d installed", n, r.status(1).Installed)
		}
	}
	cancel()
	n := <-sent
	if err := <-arrived; err != nil {
		t.Fatalf("of %d frames: %v", n, err)
	}
	silent(t, r.wires...)
	if len(gens) < 2 {
		t.Errorf("generations %v", gens)
	}
	t.Logf("%d frames while 5 controllers came and went", n)
}

// One attachment's flood is cut, in punts only; the other attachment's handshakes
// are all seen.
func TestIntegrationMeters(t *testing.T) {
	const rate, flood = 50, 3000
	b := Bridge{Name: "br0", DPID: 1, Attachments: []Attachment{
		{Name: "a", CEPort: 1, PEPort: 2, PuntRate: rate}, {Name: "b", CEPort: 3, PEPort: 4}}}
	r := newRig(t, Config{Bridges: []Bridge{b}})
	syn := tcpFrame{src: v4a, dst: v4b, flags: FlagSYN}.bytes()
	began := time.Now()
	for i := range flood {
		r.wires[0].Send(syn)
		if i%30 == 0 {
			r.wires[2].Send(syn)
		}
		if i%100 == 99 { // as fast as the switch takes them: none may be lost on the way
			for range 100 {
				expect(t, r.wires[1], syn)
			}
		}
	}
	took := time.Since(began)
	r.sw.Until("all handshakes of the other attachment", func() bool {
		n := 0
		r.rec.mu.Lock()
		defer r.rec.mu.Unlock()
		for _, p := range r.rec.punts {
			if p.port == 3 {
				n++
			}
		}
		return n == flood/30
	})
	n := 0
	for _, p := range r.rec.take() {
		if p.port == 1 {
			n++
		}
	}
	// The meter's bucket holds a second's worth.
	if most := rate*2 + int(took.Seconds()*rate); n > most || n < rate/2 {
		t.Errorf("%d of %d punted in %s, want at most %d", n, flood, took, most)
	}
	t.Logf("flood of %d SYNs in %s at %d/s: %d punted; the other attachment: %d of %d", flood, took, rate, n, flood/30, flood/30)
	conn, err := r.known[1].connected()
	if err != nil {
		t.Fatal(err)
	}
	var got uint64
	r.sw.Until("what was not punted is counted", func() bool {
		conn.readDrops(t.Context())
		got = r.status(1).Drops["meter"]
		return got+uint64(n+r.rec.count()) >= flood-10
	})
	if got > flood {
		t.Errorf("meter dropped %d, want about %d", got, flood-n)
	}
}

func TestIntegrationEdgeRules(t *testing.T) {
	r := newRig(t, Config{})
	frame := func(tos uint8, vlan ...uint16) []byte {
		return tcpFrame{src: v4a, dst: v4b, flags: FlagACK, tos: tos, vlan: vlan, payload: 30}.bytes()
	}
	six := func(tos uint8) []byte {
		return tcpFrame{src: v6a, dst: v6b, flags: FlagACK, tos: tos, payload: 30}.bytes()
	}
	rules := []EdgeRule{
		{ID: 11, InPort: 1, Src: v4a, Dst: v4b, Action: MarkDSCP(10)}, // mark
		{ID: 12, InPort: 4, Src: v4a, Dst: v4b, Action: MarkDSCP(46)}, // restore at the far edge
		{ID: 13, InPort: 1, Src: v6a, Dst: v6b, Action: MarkDSCP(63)},
		{ID: 14, InPort: 3, VLAN: []uint16{100, 200}, Src: v4a, Dst: v4b, Action: MarkDSCP(1)},
		{ID: 15, InPort: 2, Src: v4b, Dst: v4a, Action: Count, IdleTimeout: 4500 * time.Millisecond},
	}
	if err := r.SetEdgeRules(t.Context(), 1, rules); err != nil {
		t.Fatal(err)
	}
	for ecn := range uint8(4) {
		r.wires[0].Send(frame(46<<2 | ecn))
		expect(t, r.wires[1], frame(10<<2|ecn))
		r.wires[3].Send(frame(10<<2 | ecn))
		expect(t, r.wires[2], frame(46<<2|ecn))
		r.wires[0].Send(six(0 | ecn))
		expect(t, r.wires[1], six(63<<2|ecn))
		r.wires[2].Send(frame(ecn, 100, 200))
		expect(t, r.wires[3], frame(1<<2|ecn, 100, 200))
		r.wires[2].Send(frame(ecn)) // not tagged: another customer
		expect(t, r.wires[3], frame(ecn))
	}
	back := tcpFrame{src: v4b, dst: v4a, flags: FlagACK, tos: 0xff, payload: 100}.bytes()
	for range 3 {
		r.wires[1].Send(back)
		expect(t, r.wires[0], back)
	}
	read := func() map[uint64]InstalledEdgeRule {
		t.Helper()
		installed, err := r.InstalledEdgeRules(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		out := map[uint64]InstalledEdgeRule{}
		for _, i := range installed {
			if !i.Known {
				t.Errorf("unknown rule %+v", i)
			}
			out[i.ID] = i
		}
		return out
	}
	// Open vSwitch brings its counters up to date twice a second.
	var got map[uint64]InstalledEdgeRule
	r.sw.Until("counters", func() bool {
		got = read()
		return got[11].Packets == 4 && got[12].Packets == 4 && got[13].Packets == 4 && got[14].Packets == 4 && got[15].Packets == 3
	})
	for _, want := range rules {
		i := got[want.ID]
		if i.InPort != want.InPort || !slices.Equal(i.VLAN, want.VLAN) || i.Src != want.Src || i.Dst != want.Dst || i.Action != want.Action {
			t.Errorf("rule %d is installed as %+v", want.ID, i)
		}
	}
	if got[15].Bytes != 3*uint64(len(back)) {
		t.Errorf("counted %+v and %+v", got[11], got[15])
	}
	// The idle one ends, with its bytes.
	r.sw.Until("idle rule ended", func() bool { r.rec.mu.Lock(); defer r.rec.mu.Unlock(); return len(r.rec.ends) == 1 })
	if e := r.rec.ends[0]; e.ID != 15 || e.Reason != EndIdle || e.Packets != 3 || e.Bytes != 3*uint64(len(back)) || e.Age < time.Second {
		t.Errorf("end %+v", e)
	}
	// One is changed in place, keeps its counters, and one withdrawn.
	rules[0].Action = MarkDSCP(20)
	if err := r.SetEdgeRules(t.Context(), 1, rules[:3]); err != nil {
		t.Fatal(err)
	}
	r.sw.Until("withdrawn rule ended", func() bool { r.rec.mu.Lock(); defer r.rec.mu.Unlock(); return len(r.rec.ends) == 2 })
	if r.rec.ends[1].ID != 14 || r.rec.ends[1].Reason != EndDeleted || r.rec.ends[1].Packets != 4 || r.rec.ends[1].Bytes != got[14].Bytes || got[14].Bytes == 0 {
		t.Errorf("ends %+v", r.rec.ends)
	}
	// The rule is in the table; the switch's cache follows within milliseconds.
	becomes := func(sent, want []byte) {
		t.Helper()
		r.sw.Until("rules in force", func() bool {
			r.wires[0].Send(sent)
			return bytes.Equal(r.wires[1].Receive(5*time.Second), want)
		})
	}
	becomes(frame(3), frame(20<<2|3))
	r.sw.Until("counters are kept", func() bool { g := read(); return len(g) == 3 && g[11].Packets > 4 })
	kept := read()[11].Packets
	// The ID of a rule outlives a controller, and so does what it does meanwhile.
	r.stop()
	r.wires[0].Send(frame(0))
	expect(t, r.wires[1], frame(20<<2))
	r.restart(t)
	r.wires[0].Send(frame(0)) // nobody has declared rules yet: the old ones stay
	expect(t, r.wires[1], frame(20<<2))
	if installed, err := r.InstalledEdgeRules(t.Context(), 1); err != nil || len(installed) != 3 || installed[0].Known {
		t.Errorf("before rules are declared: %+v, %v", installed, err)
	}
	if err := r.SetEdgeRules(t.Context(), 1, rules[:2]); err != nil {
		t.Fatal(err)
	}
	if got = read(); len(got) != 2 || got[11].Packets < kept {
		t.Errorf("adopted %+v", got)
	}
	if err := r.SetEdgeRules(t.Context(), 1, nil); err != nil {
		t.Fatal(err)
	}
	if got = read(); len(got) != 0 {
		t.Errorf("left over: %+v", got)
	}
	becomes(frame(0), frame(0))
	r.sw.Until("the ends of rules are heard", func() bool { return r.status(1).EdgeRules == 0 })
	if s := r.status(1); s.Intended != s.Installed || s.EdgeRules != 0 || s.Errors != 0 {
		t.Errorf("status %+v", s)
	}
}

// ovs-vswitchd is killed while the controller is dead: the guard lets traffic pass
// again, and a controller takes over from it, without a frame lost or astray.
func TestIntegrationGuardAndController(t *testing.T) {
	r := newRig(t, Config{})
	r.sw.VSCtl("set", "bridge", "br0", `external_ids:mpbox-pairs="1-2,3-4"`)
	g := ovs.Guard{DB: r.sw.DB()}
	if restored, err := g.Once(t.Context()); err != nil || len(restored) != 0 {
		t.Errorf("with a controller the guard restored %v, %v", restored, err)
	}
	r.stop()
	r.sw.KillVswitchd()
	r.sw.StartVswitchd()
	syn := tcpFrame{src: v4a, dst: v4b, flags: FlagSYN}
	// The guard asks the database, which learns of a lost controller every few seconds.
	r.sw.Until("controller gone", func() bool { return r.sw.VSCtl("get", "controller", "br0", "is_connected") == "false" })
	r.wires[0].Send(syn.bytes())
	silent(t, r.wires...) // secure: nothing passes, nothing floods
	if restored, err := g.Once(t.Context()); err != nil || len(restored) != 1 {
		t.Fatalf("restored %v, %v", restored, err)
	}
	for in := range 4 {
		r.passes(t, in, in^1, syn)
	}
	silent(t, r.wires...)
	r.restart(t)
	if flows := r.sw.OFCtl("dump-flows", "br0"); strings.Contains(flows, "cookie=0x6d70010000000000") {
		t.Errorf("the guard's flows are still there:\n%s", flows)
	}
	for in := range 4 {
		r.passes(t, in, in^1, syn)
	}
	r.sw.Until("tap works", func() bool { return r.rec.count() >= 4 })
	// With the controller alive, it needs no guard.
	r.sw.KillVswitchd()
	r.sw.StartVswitchd()
	r.sw.Until("resync", func() bool {
		s := r.status(1)
		return s.State == Ready && strings.Count(r.sw.OFCtl("dump-flows", "br0"), "cookie=0x6d70") == s.Installed
	})
	r.passes(t, 2, 3, syn)
}

func TestIntegrationLinkLoss(t *testing.T) {
	r := newRig(t, Config{})
	up := func(i int) bool { return strings.Contains(r.sw.IP("link", "show", r.wires[i].Far), "LOWER_UP") }
	for _, side := range []int{0, 1} {
		other := side ^ 1
		r.sw.IP("link", "set", r.wires[side].Far, "down")
		r.sw.Until("loss is shown on the other side", func() bool { return !up(other) })
		if !up(2) || !up(3) {
			t.Error("another pair is affected")
		}
		r.sw.IP("link", "set", r.wires[side].Far, "up")
		r.sw.Until("link is back on both sides", func() bool { return up(side) && up(other) })
	}
	// It also comes back when the controller was away meanwhile.
	r.sw.IP("link", "set", r.wires[2].Far, "down")
	r.sw.Until("loss is shown", func() bool { return !up(3) })
	r.stop()
	r.sw.IP("link", "set", r.wires[2].Far, "up")
	r.restart(t)
	r.sw.Until("link is back after a restart", func() bool { return up(3) })
	f := tcpFrame{src: v4a, dst: v4b, flags: FlagACK}.bytes()
	r.wires[2].Drain()
	r.wires[3].Drain()
	r.wires[2].Send(f)
	expect(t, r.wires[3], f)
}

// Flows that were there before mpbox.
func TestIntegrationAdoption(t *testing.T) {
	sw := ovstest.Start(t)
	wires := sw.AddBridge("br0", 1, 4)
	addr := "unix:" + sw.Dir + "/of.sock"
	sw.VSCtl("set-controller", "br0", addr+".later") // the first controller empties the tables
	for _, f := range []string{
		"in_port=1,actions=output:2", "in_port=2,actions=output:1", // plain wires, at a higher priority than ours
		"priority=0,actions=NORMAL",                                   // Open vSwitch's own
		"table=5,priority=9,udp,actions=drop",                         // out of our way
		"table=0,priority=60000,udp,in_port=3,tp_dst=53,actions=drop", // somebody's filter
	} {
		sw.OFCtl("add-flow", "br0", f)
	}
	c := startController(t, addr, Config{Bridges: []Bridge{two}})
	sw.VSCtl("set-controller", "br0", addr)
	sw.Until("synchronised", func() bool { return c.status(1).State == Degraded })
	if s := c.status(1); s.Foreign != 1 || !strings.Contains(s.Reason, "priority=60000") {
		t.Errorf("status %+v", s)
	}
	flows := sw.OFCtl("dump-flows", "br0")
	if strings.Contains(flows, "NORMAL") || strings.Count(flows, "cookie=0x0") != 2 {
		t.Errorf("flows:\n%s", flows)
	}
	syn := tcpFrame{src: v4a, dst: v4b, flags: FlagSYN}.bytes()
	wires[0].Send(syn)
	expect(t, wires[1], syn)
	sw.Until("punt", func() bool { return c.rec.count() == 1 })
}

// Two controllers on one bridge: the one that connected first is told, and leaves the
// bridge to the other until that is removed.
func TestIntegrationAnotherMaster(t *testing.T) {
	sw := ovstest.Start(t)
	wires := sw.AddBridge("br0", 1, 4)
	addr := "unix:" + sw.Dir + "/of"
	two := two
	two.Name = "br0"
	a, b := startController(t, addr+"a", Config{Bridges: []Bridge{two}}), startController(t, addr+"b", Config{Bridges: []Bridge{two}})
	sw.VSCtl("set-controller", "br0", addr+"a")
	waitReady(sw, a, 1)
	sw.VSCtl("set-controller", "br0", addr+"a", addr+"b")
	waitReady(sw, b, 1)
	look := func(c *controller) {
		d := c.known[1]
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.conn != nil {
			signal(d.conn.resync)
		}
	}
	syn := func(c *controller) {
		t.Helper()
		f := tcpFrame{src: v4a, dst: v4b, flags: FlagSYN}.bytes()
		wires[0].Send(f)
		expect(t, wires[1], f)
		sw.Until("punt", func() bool { return c.rec.count() == 1 })
	}
	look(a)
	sw.Until("the first knows", func() bool { return a.status(1).State == Degraded })
	if reason := a.status(1).Reason; !strings.Contains(reason, "get-controller br0") {
		t.Error(reason)
	}
	for range 3 {
		look(a)
		look(b)
	}
	syn(b)
	if n := a.rec.count(); n != 0 {
		t.Errorf("%d punts to both", n)
	}
	if s := b.status(1); s.State != Ready {
		t.Errorf("%s, %q", s.State, s.Reason)
	}
	// What the reason asks for.
	sw.VSCtl("set-controller", "br0", addr+"a")
	if _, err := sw.Try("ovs-appctl", "-t", sw.Dir+"/vswitchd.ctl", "bridge/reconnect", "br0"); err != nil {
		t.Fatal(err)
	}
	waitReady(sw, a, 1)
	syn(a)
}

func TestIntegrationUnknown(t *testing.T) {
	sw := ovstest.Start(t)
	wires := sw.AddBridge("br0", 0xbad, 2)
	addr := "unix:" + sw.Dir + "/of.sock"
	c := startController(t, addr, Config{Bridges: []Bridge{two}})
	sw.VSCtl("set-controller", "br0", addr)
	sw.Until("refused", func() bool { return c.status(0xbad).State == Refused })
	if s := c.status(0xbad); !strings.Contains(s.Reason, "configuration") || s.Errors == 0 {
		t.Errorf("status %+v", s)
	}
	c.stop()
	// Observed: it is listened to, and nothing on it changes.
	sw.OFCtl("add-flow", "br0", "priority=9,tcp,in_port=1,tcp_flags=+syn,actions=controller:128,output:2")
	before := sw.OFCtl("dump-flows", "br0", "--no-stats")
	c = startController(t, addr+"2", Config{Unknown: Observe})
	sw.VSCtl("set-controller", "br0", addr+"2")
	sw.Until("observed", func() bool { return c.status(0xbad).State == Observed })
	syn := tcpFrame{src: v4a, dst: v4b, flags: FlagSYN}.bytes()
	wires[0].Send(syn)
	expect(t, wires[1], syn)
	sw.Until("punt", func() bool { return c.rec.count() == 1 })
	if after := sw.OFCtl("dump-flows", "br0", "--no-stats"); after != before {
		t.Errorf("flows were\n%s\nand are\n%s", before, after)
	}
	if err := c.SetEdgeRules(t.Context(), 0xbad, nil); err == nil {
		t.Error("edge rules on an observed datapath")
	}
}

// The third packet of a handshake is punted once; what follows is not.
func TestIntegrationThirdACK(t *testing.T) {
	for _, mode := range []ThirdACK{ThirdACKReactive, ThirdACKConntrack} {
		t.Run(mode.String(), func(t *testing.T) {
			r := newRig(t, Config{Tap: Tap{ThirdACK: mode}})
			for _, a := range [][2]netip.AddrPort{{v4a, v4b}, {v6a, v6b}} {
				// The bridge stands at the client's edge (ports 1, 2), then at the server's (4, 3).
				for _, side := range [][2]int{{0, 1}, {3, 2}} {
					client, server := r.wires[side[0]], r.wires[side[1]]
					var want [][]byte
					say := func(from, to *ovstest.Wire, f tcpFrame, punted bool) {
						t.Helper()
						b := f.bytes()
						from.Send(b)
						expect(t, to, b)
						if punted {
							want = append(want, b)
						}
					}
					up := func(flags uint16, seq, ack uint32, n int) tcpFrame {
						return tcpFrame{src: a[0], dst: a[1], flags: flags, seq: seq, ack: ack, payload: n}
					}
					down := func(flags uint16, seq, ack uint32, n int) tcpFrame {
						return tcpFrame{src: a[1], dst: a[0], flags: flags, seq: seq, ack: ack, payload: n}
					}
					say(client, server, up(FlagSYN, 100, 0, 0), true)
					if mode == ThirdACKReactive {
						err := r.Expect(1, Expectation{InPort: uint32(side[0] + 1), Src: a[0], Dst: a[1]})
						if err != nil {
							t.Fatal(err)
						}
						r.sw.Until("expectation is set", func() bool { return strings.Contains(r.sw.OFCtl("dump-flows", "br0"), "0x6d7003") })
					}
					say(server, client, down(FlagSYN|FlagACK, 500, 101, 0), true)
					say(client, server, up(FlagACK, 101, 501, 0), true)
					if mode == ThirdACKReactive {
						r.sw.Until("expectation is removed", func() bool { return !strings.Contains(r.sw.OFCtl("dump-flows", "br0"), "0x6d7003") })
						r.sw.Revalidate() // what the switch has cached of it is gone, too
					}
					say(client, server, up(FlagACK, 101, 501, 200), false)
					say(server, client, down(FlagACK, 501, 301, 700), false)
					say(client, server, up(FlagACK, 301, 1201, 0), false)
					say(client, server, up(FlagFIN|FlagACK, 301, 1201, 0), true)
					r.sw.Until("punts", func() bool { return r.rec.count() >= len(want) })
					silent(t, r.wires...)
					got := r.rec.take()
					var frames [][]byte
					for _, p := range got {
						frames = append(frames, p.frame)
					}
					if !slices.EqualFunc(frames, want, bytes.Equal) {
						t.Fatalf("%v: %d punts, want %d:\n%x", side, len(frames), len(want), frames)
					}
				}
				a[0] = netip.AddrPortFrom(a[0].Addr(), a[0].Port()+1)
			}
		})
	}
}

// Two VPNs with the same addresses: conntrack keeps them apart.
func TestIntegrationConntrackZones(t *testing.T) {
	r := newRig(t, Config{Tap: Tap{ThirdACK: ThirdACKConntrack}})
	for _, pair := range [][2]int{{0, 1}, {2, 3}} {
		for i, f := range []tcpFrame{
			{src: v4a, dst: v4b, flags: FlagSYN, seq: 100},
			{src: v4b, dst: v4a, flags: FlagSYN | FlagACK, seq: 500, ack: 101},
			{src: v4a, dst: v4b, flags: FlagACK, seq: 101, ack: 501},
		} {
			from, to := r.wires[pair[i%2]], r.wires[pair[1-i%2]]
			from.Send(f.bytes())
			expect(t, to, f.bytes())
			r.sw.Until("punt", func() bool { return r.rec.count() == 1 })
			r.rec.take()
		}
	}
}
