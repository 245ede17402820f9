package controller

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"mpbox/apps/detector"
	"mpbox/controller/config"
)

// frame is a TCP SYN over IPv4 with the given VLAN tags (outer first) and DSCP.
func frame(dscp uint8, tags ...uint16) []byte {
	b := make([]byte, 12)
	for i, t := range tags {
		kind := uint16(0x8100)
		if i < len(tags)-1 {
			kind = 0x88a8
		}
		b = binary.BigEndian.AppendUint16(b, kind)
		b = binary.BigEndian.AppendUint16(b, 5<<13|t) // priority bits are no part of the id
	}
	b = append(b, 0x08, 0x00,
		0x45, dscp<<2|1, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 1, 0, 1, 10, 2, 0, 1, // ECT(1)
		0x0f, 0xa0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0)
	return b
}

func testPlaces() *places {
	return newPlaces(&config.Config{
		VPNs: []config.VPN{{Name: "red"}, {Name: "blue", Scope: "shared"}, {Name: "green", Scope: "shared"}},
		Bridges: []config.Bridge{{Name: "edge1", DPID: 1, Attachments: []config.Attachment{
			{Name: "plain", CEPort: 1, PEPort: 2, VPN: "red", PE: "pe1", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
			{Name: "tagged", CEPort: 1, PEPort: 2, VLAN: []uint16{100}, VPN: "blue", PE: "pe1", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}},
			{Name: "qinq", CEPort: 1, PEPort: 2, VLAN: []uint16{100, 7}, VPN: "green", PE: "pe1", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.2.1.0/24")}},
		}}},
	})
}

func TestPlaceOfAPacketIsPortAndTags(t *testing.T) {
	p := testPlaces()
	for _, tc := range []struct {
		port uint32
		tags []uint16
		want string
		side detector.Side
	}{
		{1, nil, "plain", detector.CE},
		{2, nil, "plain", detector.PE},
		{1, []uint16{100}, "tagged", detector.CE},
		{2, []uint16{100, 7}, "qinq", detector.PE},
		{1, []uint16{100, 8}, "tagged", detector.CE},
		{3, nil, "", detector.SideUnknown},
	} {
		got := p.place(p.byDatapath[1][tc.port].of(frame(0, tc.tags...)))
		if got.Attachment != tc.want || got.Side != tc.side {
			t.Errorf("port %d tags %v: %s %v, want %s %v", tc.port, tc.tags, got.Attachment, got.Side, tc.want, tc.side)
		}
	}
}

// A rule that a switch holds is at the attachment of just its tags, or at none.
func TestAttachmentOfARuleIsPortAndJustItsTags(t *testing.T) {
	p := testPlaces()
	for _, tc := range []struct {
		dpid   uint64
		port   uint32
		tags   []uint16
		want   string
		fromPE bool
	}{
		{1, 1, nil, "plain", false},
		{1, 2, nil, "plain", true},
		{1, 2, []uint16{100}, "tagged", true},
		{1, 1, []uint16{100, 7}, "qinq", false},
		{1, 1, []uint16{100, 8}, "", false},
		{1, 1, []uint16{9}, "", false},
		{1, 3, nil, "", false},
		{2, 1, nil, "", false},
	} {
		if got, fromPE := p.at(tc.dpid, tc.port, tc.tags); got != tc.want || fromPE != tc.fromPE {
			t.Errorf("dpid %d port %d tags %v: %q %v, want %q %v", tc.dpid, tc.port, tc.tags, got, fromPE, tc.want, tc.fromPE)
		}
	}
	tagged := portPlaces{}
	tagged.set(1, [2]uint16{5}, 0)
	p.byDatapath[7] = tagged
	if got, _ := p.at(7, 1, nil); got != "" {
		t.Errorf("untagged where all are tagged: %q", got)
	}
}

func TestEgressByLongestPrefixOfTheScope(t *testing.T) {
	p := testPlaces()
	for _, tc := range []struct{ scope, addr, want string }{
		{"red", "10.1.2.3", "plain"},
		{"red", "10.2.1.3", ""}, // another VPN's
		{"shared", "10.2.9.9", "tagged"},
		{"shared", "10.2.1.9", "qinq"},
		{"shared", "192.0.2.1", ""},
	} {
		if got := p.byPrefix(tc.scope, netip.MustParseAddr(tc.addr)); got != tc.want {
			t.Errorf("%s in %s: %q, want %q", tc.addr, tc.scope, got, tc.want)
		}
	}
}

func TestCustomersDSCPIsRemembered(t *testing.T) {
	d := dscps{}
	for _, f := range [][]byte{frame(0), frame(46), frame(0, 100), frame(10, 100, 7)} {
		d.see("red", f)
	}
	k := dscpKey{"red", netip.MustParseAddrPort("10.1.0.1:4000"), netip.MustParseAddrPort("10.2.0.1:80")}
	if d[k] != 10 || len(d) != 1 {
		t.Errorf("%v, want DSCP 10 for one flow", d)
	}
	for n := range frame(46) {
		dscpOf(frame(46)[:n]) // must not read past the end
	}
}
