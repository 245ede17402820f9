package controller

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"go.uber.org/zap"

	"mpbox/apps/detector"
	"mpbox/controller/config"
	"mpbox/internal/frametest"
	"mpbox/southbound/datapath"
	"mpbox/southbound/openflow"
)

// The readers of several switches, one of them not configured, see handshakes at the
// same time: the far edge is known by where the server answered, in its own scope.
func TestServersAreLearntByManyReaders(t *testing.T) {
	cfg := &config.Config{VPNs: []config.VPN{{Name: "red"}, {Name: "blue"}}, Bridges: []config.Bridge{
		{Name: "edge1", DPID: 1, Attachments: []config.Attachment{{Name: "paris", CEPort: 1, PEPort: 2, VPN: "red"}, {Name: "lyon", CEPort: 3, PEPort: 4, VPN: "blue"}}},
		{Name: "edge2", DPID: 2, Attachments: []config.Attachment{{Name: "rome", CEPort: 1, PEPort: 2, VLAN: []uint16{7}, VPN: "red"}}},
	}}
	p := newPlaces(cfg)
	r, err := datapath.NewRegistry(datapath.Config{Tap: datapath.Tap{ThirdACK: datapath.ThirdACKReactive}, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	x := newExpecter(r, p, zap.NewNop())
	server := netip.MustParseAddrPort("10.2.0.1:80")
	punt := func(port uint32, tagged bool, s frametest.Segment) openflow.Punt {
		f := s.Ethernet()
		if tagged {
			f = append(append(append([]byte(nil), f[:12]...), 0x81, 0, 0, 7), f[12:]...)
		}
		return openflow.Punt{InPort: port, Frame: f}
	}
	var readers sync.WaitGroup
	for dpid := uint64(1); dpid <= 3; dpid++ {
		readers.Go(func() {
			for i := range 200 {
				client := netip.MustParseAddrPort(fmt.Sprintf("10.1.0.1:%d", 1000+i))
				syn := frametest.Segment{Src: client, Dst: server, Seq: 1, Flags: frametest.SYN, Options: frametest.CapableSYN(1, 0)}
				answer := frametest.Segment{Src: server, Dst: client, Seq: 9, Ack: 2, Flags: frametest.SYN | frametest.ACK, Options: frametest.CapableSYNACK(1, 77)}
				x.see(dpid, []openflow.Punt{punt(1, dpid == 2, syn), punt(1, dpid == 2, answer), punt(2, dpid == 2, answer)})
			}
		})
	}
	readers.Wait()
	delete(x.homes, host{"red", server.Addr()})
	plain := frametest.Segment{Src: server, Dst: netip.MustParseAddrPort("10.1.0.1:1"), Seq: 9, Ack: 2, Flags: frametest.SYN | frametest.ACK}
	x.see(2, []openflow.Punt{punt(1, true, plain)})
	if at, ok := x.far(p.placeOf("paris", detector.CE), server.Addr()); ok {
		t.Errorf("learnt from an answer without MPTCP: %+v", at)
	}
	plain.Options = frametest.CapableSYNACK(1, 77)
	x.see(2, []openflow.Punt{punt(2, true, plain)})
	if at, ok := x.far(p.placeOf("paris", detector.CE), server.Addr()); ok {
		t.Errorf("learnt at the PE's side: %+v", at)
	}
	x.see(2, []openflow.Punt{punt(1, true, plain)})
	if at, ok := x.far(p.placeOf("paris", detector.CE), server.Addr()); !ok || at != (edgePort{dpid: 2, port: 2, vlan: [2]uint16{7}}) {
		t.Errorf("%+v, %v", at, ok)
	}
	if at, ok := x.far(p.placeOf("lyon", detector.CE), server.Addr()); ok {
		t.Errorf("in another scope: %+v", at)
	}
}
