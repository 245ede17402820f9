package ovs

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"mpbox/southbound/ovs/ovstest"
)

func frame(n byte) []byte {
	f := make([]byte, 60)
	copy(f, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, n})
	return f
}

func TestIntegrationProvision(t *testing.T) {
	sw := ovstest.Start(t)
	ctx := t.Context()
	sw.NewWire("ce")
	sw.NewWire("pe")
	s := Spec{Name: "br0", DPID: 0x11, Controller: "unix:" + sw.Dir + "/none.sock", Pairs: []Pair{{A: 5, B: 6}},
		Interfaces: map[uint32]string{5: "ce", 6: "pe"}, DatapathType: "netdev"}
	changes, err := Provision(ctx, sw.DB(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(changes)
	sw.Until("dpid in force", func() bool { return sw.VSCtl("get", "bridge", "br0", "datapath_id") == `"0000000000000011"` })
	for _, q := range [][2]string{
		{"fail_mode", "secure"}, {"datapath_type", "netdev"}, {"other_config:disable-in-band", `"true"`}, {"other_config:controller-queue-size", `"512"`},
		{"protocols", "[OpenFlow13]"}, {"external_ids:mpbox-pairs", `"5-6"`},
	} {
		if got := sw.VSCtl("get", "bridge", "br0", q[0]); got != q[1] {
			t.Errorf("%s is %s, want %s", q[0], got, q[1])
		}
	}
	if got := sw.VSCtl("get", "Open_vSwitch", ".", "other_config:vlan-limit"); got != `"2"` {
		t.Errorf("vlan-limit %s", got)
	}
	for ifname, want := range map[string]string{"ce": "5", "pe": "6"} {
		if got := sw.VSCtl("get", "interface", ifname, "ofport"); got != want {
			t.Errorf("port %s has number %s, want %s", ifname, got, want)
		}
	}
	if got := sw.VSCtl("get-controller", "br0"); got != s.Controller {
		t.Errorf("controller %s", got)
	}
	if changes, err = Provision(ctx, sw.DB(), s); err != nil || len(changes) > 0 {
		t.Errorf("second time: changed %v, %v", changes, err)
	}
	sw.VSCtl("set-fail-mode", "br0", "standalone")
	if changes, err = Provision(ctx, sw.DB(), s); err != nil || len(changes) != 1 {
		t.Errorf("after fail mode was spoiled: changed %v, %v", changes, err)
	}

	// A bridge with a port that nobody named stays as it is.
	sw.AddBridge("br1", 2, 3)
	// What Provision could write; the rest is Open vSwitch's own to change.
	columns := "--columns=fail_mode,protocols,controller,ports,other_config,external_ids"
	before := sw.VSCtl(columns, "list", "bridge", "br1")
	_, err = Provision(ctx, sw.DB(), Spec{Name: "br1", DPID: 0x99, Controller: s.Controller, Pairs: []Pair{{A: 1, B: 2}}})
	if !errors.Is(err, ErrForeign) {
		t.Errorf("error %v, want ErrForeign", err)
	}
	if after := sw.VSCtl(columns, "list", "bridge", "br1"); after != before {
		t.Errorf("refused, but changed:\n%s\n%s", before, after)
	}
}

func TestIntegrationGuard(t *testing.T) {
	sw := ovstest.Start(t)
	wires := sw.AddBridge("br0", 1, 4)
	g := Guard{DB: sw.DB()}
	once := func(want int) {
		t.Helper()
		restored, err := g.Once(t.Context())
		if err != nil || len(restored) != want {
			t.Fatalf("restored %v, %v; want %d", restored, err, want)
		}
	}
	once(0) // not mpbox's
	sw.VSCtl("set", "bridge", "br0", "external_ids:mpbox-pairs=\"1-2,3-4\"")
	once(1)
	once(0)
	reaches := func(n byte) {
		t.Helper()
		for i, w := range wires {
			f := frame(n*10 + byte(i))
			w.Send(f)
			if got := wires[i^1].Receive(5 * time.Second); !bytes.Equal(got, f) {
				t.Fatalf("%s to %s: got %x", w.Port, wires[i^1].Port, got)
			}
		}
		for _, w := range wires {
			if got := w.Receive(50 * time.Millisecond); got != nil {
				t.Errorf("%s got %x across pairs", w.Port, got)
			}
		}
	}
	reaches(1)
	sw.KillVswitchd()
	if restored, err := g.Once(t.Context()); err == nil || len(restored) > 0 {
		t.Errorf("without ovs-vswitchd: %v, %v", restored, err)
	}
	sw.StartVswitchd()

	// As a daemon.
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	g.Interval = 50 * time.Millisecond
	go func() { done <- g.Run(ctx) }()
	try := byte(100)
	sw.Until("port pairs are back", func() bool {
		try++
		f := frame(try)
		wires[0].Send(f)
		for { // that of an earlier try may come late; after the last one's nothing does
			got := wires[1].Receive(100 * time.Millisecond)
			if got == nil || bytes.Equal(got, f) {
				return got != nil
			}
		}
	})
	reaches(2)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	// A bridge with a flow is left alone, whatever the flow.
	sw.OFCtl("del-flows", "br0")
	sw.OFCtl("add-flow", "br0", "table=7,priority=3,tcp,tcp_flags=+syn,actions=drop")
	once(0)
}
