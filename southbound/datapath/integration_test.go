package datapath

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"mpbox/southbound/ovs/ovstest"
)

var (
	v4a = netip.MustParseAddrPort("10.1.0.1:40000")
	v4b = netip.MustParseAddrPort("10.2.0.1:80")
	v6a = netip.MustParseAddrPort("[2001:db8:1::1]:40000")
	v6b = netip.MustParseAddrPort("[2001:db8:2::1]:80")
)

const arrival = 500 * time.Millisecond

// expect wants exactly this frame on w.
func expect(t *testing.T, w *ovstest.Wire, want []byte) {
	t.Helper()
	got := w.Receive(5 * time.Second)
	if !bytes.Equal(got, want) {
		t.Fatalf("on %s:\n got %x\nwant %x", w.Port, got, want)
	}
}

func TestIntegrationTap(t *testing.T) {
	sw := ovstest.Start(t)
	wires := sw.AddBridge("br0", 1, 4)
	addr := "unix:" + sw.Dir + "/openflow.sock"
	c := startController(t, addr, Config{Bridges: []Bridge{{Name: "br0", DPID: 1, Attachments: []Attachment{
		{Name: "a", CEPort: 1, PEPort: 2}, {Name: "b", CEPort: 3, PEPort: 4},
	}}}})
	sw.VSCtl("set-controller", "br0", addr)
	waitReady(sw, c, 1)
	t.Log(sw.OFCtl("dump-flows", "br0"))
	t.Log(sw.OFCtl("dump-meters", "br0"))
	f := tcpFrame{src: v4a, dst: v4b, flags: FlagSYN}.bytes()
	wires[0].Send(f)
	expect(t, wires[1], f)
	sw.Until("SYN punted", func() bool { return c.rec.count() == 1 })
	t.Logf("%+v", c.rec.take())
	t.Logf("%+v", c.Snapshot())
}
