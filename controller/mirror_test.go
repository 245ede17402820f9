package controller

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"go.uber.org/zap"

	"mpbox/apps/detector"
	"mpbox/controller/api"
	"mpbox/controller/config"
	"mpbox/internal/frametest"
	"mpbox/southbound/capture"
)

func prefixes(p ...string) (out []netip.Prefix) {
	for _, s := range p {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// testMirrors are three mirror ports: of a bridge's attachment and others by VLAN,
// of each direction by ERSPAN session, and of both by ERSPAN's header.
func testMirrors(t *testing.T) ([]*mirror, *places) {
	t.Helper()
	cfg := &config.Config{
		VPNs: []config.VPN{{Name: "red"}, {Name: "blue"}},
		Bridges: []config.Bridge{{Name: "edge1", DPID: 1, Attachments: []config.Attachment{
			{Name: "paris", CEPort: 1, PEPort: 2, VPN: "red", PE: "pe1", Prefixes: prefixes("10.1.0.0/16")},
		}}},
		Mirrors: []config.Mirror{
			{Name: "vlans", Attachments: []config.MirrorAttachment{
				{Name: "paris", Direction: "prefixes"},
				{Name: "hub", Direction: "prefixes", VLAN: []uint16{100}, VPN: "red", PE: "pe2", Prefixes: prefixes("0.0.0.0/0", "2001:db8::/32")},
				{Name: "blue", Direction: "prefixes", VLAN: []uint16{100, 7}, VPN: "blue", Prefixes: prefixes("10.1.0.0/16")},
			}},
			{Name: "sessions", ERSPAN: true, Attachments: []config.MirrorAttachment{
				{Name: "rome", Direction: "from_ce", Session: 11, VPN: "red", PE: "pe3"},
				{Name: "rome", Direction: "to_ce", Session: 12},
				{Name: "oslo", Direction: "header", VLAN: []uint16{30}, VPN: "red"},
			}},
		},
	}
	p := newPlaces(cfg)
	mirrors := newMirrors(cfg, p)
	for _, m := range mirrors {
		m.log = zap.NewNop()
		m.tap = &tap{places: p, news: make(chan struct{}, 1), tracker: detector.New(detector.Config{Places: p.list})}
	}
	return mirrors, p
}

func TestPlaceOfMirroredFrame(t *testing.T) {
	mirrors, p := testMirrors(t)
	syn := func(src, dst string, tags ...uint16) []byte {
		f := frametest.Segment{Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst), Flags: frametest.SYN}.Ethernet()
		for i := len(tags) - 1; i >= 0; i-- {
			f = append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(append([]byte(nil), f[:12]...), 0x8100), tags[i]), f[12:]...)
		}
		return f
	}
	type m = capture.Mirrored
	for name, tc := range map[string]struct {
		mirror int
		frame  []byte
		header m
		want   string
	}{
		"from the prefix":                 {0, syn("10.1.0.1:1", "10.2.0.1:2"), m{}, "paris/ce"},
		"to the prefix":                   {0, syn("10.2.0.1:2", "10.1.0.1:1"), m{}, "paris/pe"},
		"neither end is behind it":        {0, syn("10.2.0.1:2", "10.3.0.1:1"), m{}, "paris/vlans"},
		"both ends are behind it":         {0, syn("10.1.0.1:2", "10.1.0.2:1"), m{}, "paris/vlans"},
		"the longest prefix counts":       {0, syn("10.9.0.1:2", "10.1.0.1:1", 100), m{}, "hub/ce"},
		"and the other way":               {0, syn("10.1.0.1:1", "10.9.0.1:2", 100), m{}, "hub/pe"},
		"IPv6":                            {0, syn("[2001:db9::1]:1", "[2001:db8::1]:2", 100), m{}, "hub/pe"},
		"another VPN's prefix":            {0, syn("10.1.0.1:1", "10.9.0.1:2", 100, 7), m{}, "blue/ce"},
		"untagged session, from":          {1, syn("10.1.0.1:1", "10.2.0.1:2"), m{Type: 2, Session: 11}, "rome/ce"},
		"untagged session, to":            {1, syn("10.1.0.1:1", "10.2.0.1:2"), m{Type: 2, Session: 12}, "rome/pe"},
		"unknown session":                 {1, syn("10.1.0.1:1", "10.2.0.1:2"), m{Type: 2, Session: 13}, ""},
		"any session, tag":                {1, syn("10.1.0.1:1", "10.2.0.1:2", 30), m{Type: 3, Session: 13}, "oslo/ce"},
		"any session, tag in the header":  {1, syn("10.1.0.1:1", "10.2.0.1:2"), m{Type: 3, Session: 13, VLAN: 30, Egress: true}, "oslo/pe"},
		"type II does not tell direction": {1, syn("10.1.0.1:1", "10.2.0.1:2", 30), m{Type: 2, Session: 13}, "oslo/sessions"},
	} {
		var n mirrorCounts
		got := p.place(mirrors[tc.mirror].place(&capture.Frame{Data: tc.frame, Mirror: tc.header}, &n))
		if got.Name != tc.want || n.handshakes != 1 {
			t.Errorf("%s: %q, want %q; %+v", name, got.Name, tc.want, n)
		}
		if unknown := got.Name != "" && got.Side == detector.SideUnknown; (n.undirected == 1) != unknown || (n.unplaced == 1) != (tc.want == "") {
			t.Errorf("%s: counted %+v", name, n)
		}
	}
	for _, a := range p.managerAttachments() {
		if a.NoBridge != (a.Name != "paris") {
			t.Errorf("%s: NoBridge %v", a.Name, a.NoBridge)
		}
	}
}

// Frames reach the detector as punts do; those of no attachment are counted only.
func TestMirroredFramesReachTheDetector(t *testing.T) {
	mirrors, _ := testMirrors(t)
	m := mirrors[0]
	c, s := netip.MustParseAddrPort("10.1.0.1:4000"), netip.MustParseAddrPort("10.2.0.1:80")
	m.frames([]capture.Frame{
		{At: 1, Data: frametest.Segment{Src: c, Dst: s, Seq: 1, Flags: frametest.SYN, Options: frametest.CapableSYN(1, 0)}.Ethernet()},
		{At: 2, Data: frametest.Segment{Src: s, Dst: c, Seq: 9, Ack: 2, Flags: frametest.SYN | frametest.ACK, Options: frametest.CapableSYNACK(1, 77)}.Ethernet()},
	})
	all, _, _ := m.tap.tracker.Connections(0, 10, detector.Filter{})
	if len(all) != 1 {
		t.Fatalf("%d connections", len(all))
	}
	sub := all[0].Subflows[0]
	for name, got := range map[string]detector.PlaceID{"paris/ce": sub.ToServer.Ingress, "paris/pe": sub.ToClient.Egress} {
		if x := m.tap.tracker.Place(got).Name; x != name {
			t.Errorf("%s, want %s", x, name)
		}
	}
	if all[0].VPN != "red" || m.view().Handshakes != 2 {
		t.Errorf("VPN %q, %+v", all[0].VPN, m.view())
	}
}

// A connection has a VPN where only its server's side is mirrored.
func TestVPNWhereTheClientIsNotSeen(t *testing.T) {
	mirrors, _ := testMirrors(t)
	m := mirrors[1]
	c, s := netip.MustParseAddrPort("10.8.0.1:4000"), netip.MustParseAddrPort("10.2.0.1:80")
	m.frames([]capture.Frame{
		{At: 1, Mirror: capture.Mirrored{Session: 12}, Data: frametest.Segment{Src: c, Dst: s, Seq: 1, Flags: frametest.SYN, Options: frametest.CapableSYN(1, 0)}.Ethernet()},
		{At: 2, Mirror: capture.Mirrored{Session: 11}, Data: frametest.Segment{Src: s, Dst: c, Seq: 9, Ack: 2, Flags: frametest.SYN | frametest.ACK, Options: frametest.CapableSYNACK(1, 77)}.Ethernet()},
	})
	all, _, _ := m.tap.tracker.Connections(0, 10, detector.Filter{})
	if len(all) != 1 || all[0].VPN != "red" {
		t.Errorf("%+v", all)
	}
}

// Each change of state is told of once, with what to do.
func TestMirrorTellsOfItsState(t *testing.T) {
	mirrors, _ := testMirrors(t)
	m := mirrors[0]
	var told []string
	m.changed = func(v api.Mirror) {
		s := v.State
		if v.Error != nil && v.Error.Remedy != "" {
			s += " with remedy"
		}
		told = append(told, s)
	}
	for range 2 {
		m.become(mirrorLost, capture.ErrGone)
		m.become(mirrorLost, capture.ErrGone)
		m.become(mirrorListening, nil)
		m.become(mirrorListening, nil)
		m.become(mirrorDown, errors.New("no link"))
	}
	m.become(mirrorLost, &os.SyscallError{Syscall: "socket", Err: syscall.EPERM})
	want := []string{"lost with remedy", "listening", "down with remedy", "lost with remedy", "listening", "down with remedy", "lost with remedy"}
	if len(told) != len(want) {
		t.Fatalf("%q", told)
	}
	for i := range want {
		if told[i] != want[i] {
			t.Errorf("%d: %s, want %s", i, told[i], want[i])
		}
	}
}
