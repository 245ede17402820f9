package packet

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"mpbox/internal/frametest"
)

var (
	v4a = netip.MustParseAddrPort("10.1.0.1:4711")
	v4b = netip.MustParseAddrPort("10.2.0.2:443")
	v6a = netip.MustParseAddrPort("[2001:db8:1::1]:4711")
	v6b = netip.MustParseAddrPort("[2001:db8:2::2]:443")
)

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func seg(src, dst netip.AddrPort) frametest.Segment {
	return frametest.Segment{Src: src, Dst: dst, Flags: frametest.SYN, Seq: 0x01020304, Ack: 0x05060708,
		Options: []byte{2, 4, 5, 0xb4, 30, 4, 1, 1}}
}

// golden is written out byte by byte: nothing here comes from code under test.
var golden = []byte{
	0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, // MAC addresses
	0x88, 0xa8, 0x00, 0x64, // 802.1ad tag, VLAN 100
	0x81, 0x00, 0x20, 0x0a, // 802.1Q tag, priority 1, VLAN 10
	0x88, 0x47, 0x00, 0x3e, 0x80, 0x40, // MPLS label 1000, not bottom
	0x00, 0x00, 0x21, 0x40, // label 2, bottom
	0x46, 0, 0, 60, 0, 1, 0x40, 0, 64, 6, 0, 0, // IPv4, 24 byte header, total 60, DF, TTL, TCP
	10, 1, 0, 1, 10, 2, 0, 2, // addresses
	0x94, 4, 0, 0, // router alert
	0x12, 0x67, 0x01, 0xbb, // ports 4711, 443
	1, 2, 3, 4, 5, 6, 7, 8, // sequence and acknowledgment
	0x70, 0x12, 0xff, 0xff, 0, 0, 0, 0, // 28 byte header, SYN ACK
	2, 4, 5, 0xb4, 30, 4, 1, 1, // MSS, MP_CAPABLE
	'd', 'a', 't', 'a', '.', '.', '.', '.',
	0, 0, // Ethernet padding
}

func TestGolden(t *testing.T) {
	var v View
	if got := v.Parse(golden); got != TCP {
		t.Fatalf("verdict %v", got)
	}
	if v.Src() != v4a || v.Dst() != v4b || v.IPv6() {
		t.Errorf("addresses %v %v", v.Src(), v.Dst())
	}
	if v.Seq != 0x01020304 || v.Ack != 0x05060708 || v.Flags != SYN|ACK {
		t.Errorf("seq %x ack %x flags %x", v.Seq, v.Ack, v.Flags)
	}
	if v.VLANs != 2 || v.VLAN != [2]uint16{100, 10} || v.Labels != 2 {
		t.Errorf("tags %d %v labels %d", v.VLANs, v.VLAN, v.Labels)
	}
	if !bytes.Equal(v.Options, []byte{2, 4, 5, 0xb4, 30, 4, 1, 1}) || v.OptionsCut || v.PayloadLen != 8 {
		t.Errorf("options %x payload %d", v.Options, v.PayloadLen)
	}
	// Cut anywhere, it is never misread: up to the TCP header it is truncated, then
	// the header is there and the options may be cut.
	tcp := len(golden) - 2 - 8 - 28
	for n := range len(golden) {
		got := v.Parse(golden[:n])
		want := Truncated
		if n >= tcp+20 {
			want = TCP
			if v.OptionsCut != (n < tcp+28) {
				t.Errorf("%d bytes: options cut %v", n, v.OptionsCut)
			}
		}
		if got != want {
			t.Errorf("%d bytes: %v, want %v", n, got, want)
		}
	}
}

func TestLayers(t *testing.T) {
	s4, s6 := seg(v4a, v4b), seg(v6a, v6b)
	tcp4, tcp6 := s4.TCP(), s6.TCP()
	ext := func(next byte, words byte) []byte { // an extension header of 8*(words+1) bytes
		return append([]byte{next, words}, make([]byte, 6+8*int(words))...)
	}
	ip6 := func(next uint8, payload ...[]byte) []byte {
		p := cat(payload...)
		return cat(frametest.MAC(0x86dd), frametest.IPv6(v6a.Addr(), v6b.Addr(), next, len(p)), p)
	}
	ip4 := func(proto uint8, opts []byte, frag uint16, p []byte) []byte {
		return cat(frametest.MAC(0x0800), frametest.IPv4(v4a.Addr(), v4b.Addr(), proto, opts, frag, len(p)), p)
	}
	set := func(b []byte, at int, to ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], to)
		return b
	}
	label := func(n uint32, bottom bool) []byte {
		x := n<<12 | 64
		if bottom {
			x |= 1 << 8
		}
		return binary.BigEndian.AppendUint32(nil, x)
	}
	tests := []struct {
		name  string
		frame []byte
		want  Verdict
	}{
		{"IPv4", s4.Ethernet(), TCP},
		{"IPv6", s6.Ethernet(), TCP},
		{"IPv4 options", ip4(6, make([]byte, 40), 0, tcp4), TCP},
		{"IPv4 UDP", ip4(17, nil, 0, tcp4), Other},
		{"IPv4 first fragment", ip4(6, nil, 0x2000, tcp4), TCP},
		{"IPv4 first fragment without a whole header", ip4(6, nil, 0x2000, tcp4[:16]), Fragment},
		{"IPv4 later fragment", ip4(6, nil, 3, tcp4), Fragment},
		{"IPv4 authentication header", ip4(51, nil, 0, cat([]byte{6, 4}, make([]byte, 22), tcp4)), TCP},
		{"IPv4 authentication header, first fragment", ip4(51, nil, 0x2000, cat([]byte{6, 4}, make([]byte, 22), tcp4)), TCP},
		{"IPv4 authentication header, first fragment without a whole TCP header", ip4(51, nil, 0x2000, cat([]byte{6, 4}, make([]byte, 22), tcp4[:16])), Fragment},
		{"IPv4 authentication header, later fragment", ip4(51, nil, 3, tcp4), Fragment},
		{"IPv4 authentication header over the end", ip4(51, nil, 0, cat([]byte{6, 40}, make([]byte, 22), tcp4)), Malformed},
		{"IPv4 authentication header, UDP", ip4(51, nil, 0, cat([]byte{17, 4}, make([]byte, 22), tcp4)), Other},
		{"IPv4 ESP", ip4(50, nil, 0, tcp4), Other},
		{"IPv4 header length 4", set(s4.Ethernet(), 14, 0x41), Malformed},
		{"IPv4 wrong version", set(s4.Ethernet(), 14, 0x65), Malformed},
		{"IPv4 total length below header", set(s4.Ethernet(), 16, 0, 19), Malformed},
		{"IPv4 total length ends in TCP header", set(s4.Ethernet(), 16, 0, 39), Malformed},
		{"IPv4 total length ends in TCP options", set(s4.Ethernet(), 16, 0, 44), Malformed},
		{"IPv4 total length 0, offloaded", set(s4.Ethernet(), 16, 0, 0), TCP},
		{"TCP header length 4", set(s4.Ethernet(), 14+20+12, 0x10), Malformed},
		{"TCP header length beyond the packet", set(s4.Ethernet(), 14+20+12, 0xf0), Malformed},
		{"IPv6 all extensions", ip6(0, ext(43, 0), ext(44, 1), []byte{60, 0, 0, 1, 0, 0, 0, 1}, ext(51, 0),
			append([]byte{135, 4}, make([]byte, 22)...), ext(6, 0), tcp6), TCP},
		{"IPv6 hop-by-hop, routing, destination", ip6(0, ext(43, 0), ext(60, 2), ext(6, 1), tcp6), TCP},
		{"IPv6 mobility, HIP, shim6", ip6(135, ext(139, 0), ext(140, 0), ext(6, 0), tcp6), TCP},
		{"IPv6 authentication header", ip6(51, append([]byte{6, 4}, make([]byte, 22)...), tcp6), TCP},
		{"IPv6 ESP", ip6(50, tcp6), Other},
		{"IPv6 no next header", ip6(59, tcp6), Other},
		{"IPv6 first fragment", ip6(44, []byte{6, 0, 0, 1, 0, 0, 0, 1}, tcp6), TCP},
		{"IPv6 atomic fragment", ip6(44, []byte{6, 0, 0, 0, 0, 0, 0, 1}, tcp6), TCP},
		{"IPv6 later fragment", ip6(44, []byte{6, 0, 0, 0x08, 0, 0, 0, 1}, tcp6), Fragment},
		{"IPv6 extension over the end", ip6(0, []byte{6, 200, 0, 0, 0, 0, 0, 0}, tcp6), Malformed},
		{"IPv6 wrong version", set(s6.Ethernet(), 14, 0x45), Malformed},
		{"IPv6 payload length 0, jumbo", set(s6.Ethernet(), 18, 0, 0), TCP},
		{"IPv6 endless extensions", ip6(60, bytes.Repeat(ext(60, 0), 40), tcp6), Other},
		{"VLAN", cat(frametest.MAC(0x8100), []byte{0, 7, 8, 0}, s4.IP()), TCP},
		{"QinQ", cat(frametest.MAC(0x88a8), []byte{0, 7, 0x81, 0, 0, 8, 0x86, 0xdd}, s6.IP()), TCP},
		{"three tags", cat(frametest.MAC(0x9100), []byte{0, 7, 0x92, 0, 0, 8, 0x81, 0, 0, 9, 8, 0}, s4.IP()), TCP},
		{"endless tags", cat(frametest.MAC(0x8100), bytes.Repeat([]byte{0, 1, 0x81, 0}, 100)), Other},
		{"MPLS", cat(frametest.MAC(0x8847), label(16, true), s4.IP()), TCP},
		{"MPLS stack, IPv6", cat(frametest.MAC(0x8847), label(16, false), label(17, false), label(2, true), s6.IP()), TCP},
		{"MPLS without bottom", cat(frametest.MAC(0x8847), bytes.Repeat(label(16, false), 40)), Other},
		{"MPLS pseudowire with control word", cat(frametest.MAC(0x8847), label(16, true), []byte{0, 0, 0, 0}, s4.Ethernet()), TCP},
		{"MPLS, not IP", cat(frametest.MAC(0x8847), label(16, true), []byte{0x10, 0, 0, 0}), Other},
		{"PPPoE", cat(frametest.MAC(0x8864), []byte{0x11, 0, 0, 1, 0, 40, 0, 0x21}, s4.IP()), TCP},
		{"PPPoE IPv6", cat(frametest.MAC(0x8864), []byte{0x11, 0, 0, 1, 0, 60, 0, 0x57}, s6.IP()), TCP},
		{"SNAP", cat(frametest.MAC(50), []byte{0xaa, 0xaa, 3, 0, 0, 0, 8, 0}, s4.IP()), TCP},
		{"ARP", cat(frametest.MAC(0x0806), make([]byte, 28)), Other},
		{"STP", cat(frametest.MAC(38), []byte{0x42, 0x42, 3}, make([]byte, 35)), Other},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var v View
			if got := v.Parse(tc.frame); got != tc.want {
				t.Fatalf("%v, want %v", got, tc.want)
			}
			if tc.want != TCP {
				return
			}
			src, dst := v4a, v4b
			if v.IPv6() {
				src, dst = v6a, v6b
			}
			if v.Src() != src || v.Dst() != dst || v.Seq != 0x01020304 || !v.Flags.Has(SYN) || !v.IsTCP ||
				!bytes.Equal(v.Options, []byte{2, 4, 5, 0xb4, 30, 4, 1, 1}) {
				t.Errorf("misread: %+v", v)
			}
			n := testing.AllocsPerRun(10, func() { v.Parse(tc.frame) })
			if n != 0 {
				t.Errorf("%v allocations", n)
			}
			for i := range len(tc.frame) {
				v.Parse(tc.frame[:i]) // must not panic
			}
		})
	}
}

func TestLinks(t *testing.T) {
	ip4, ip6 := seg(v4a, v4b).IP(), seg(v6a, v6b).IP()
	sll := func(arphrd, proto uint16) []byte {
		b := []byte{0, 4}
		b = binary.BigEndian.AppendUint16(b, arphrd)
		b = append(b, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0)
		return binary.BigEndian.AppendUint16(b, proto)
	}
	sll2 := func(arphrd, proto uint16) []byte {
		b := binary.BigEndian.AppendUint16(nil, proto)
		b = append(b, 0, 0, 0, 0, 0, 3)
		b = binary.BigEndian.AppendUint16(b, arphrd)
		return append(b, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0)
	}
	for _, tc := range []struct {
		name  string
		link  Link
		frame []byte
		want  Verdict
	}{
		{"Ethernet", LinkEthernet, seg(v4a, v4b).Ethernet(), TCP},
		{"cooked", LinkSLL, cat(sll(1, 0x0800), ip4), TCP},
		{"cooked IPv6", LinkSLL, cat(sll(1, 0x86dd), ip6), TCP},
		{"cooked VLAN", LinkSLL, cat(sll(1, 0x8100), []byte{0, 5, 8, 0}, ip4), TCP},
		{"cooked MPLS", LinkSLL, cat(sll(1, 0x8847), []byte{0, 1, 1, 64}, ip4), TCP},
		{"cooked PPP", LinkSLL, cat(sll(512, 0), ip4), TCP},
		{"cooked tun", LinkSLL, cat(sll(0xfffe, 0), ip6), TCP},
		{"cooked ARP", LinkSLL, cat(sll(1, 0x0806), ip4), Other},
		{"cooked 2", LinkSLL2, cat(sll2(1, 0x0800), ip4), TCP},
		{"cooked 2 IPv6", LinkSLL2, cat(sll2(1, 0x86dd), ip6), TCP},
		{"raw", LinkRaw, ip4, TCP},
		{"raw IPv6", LinkRaw, ip6, TCP},
		{"raw, BSD's number", LinkRawBSD, ip4, TCP},
		{"raw, OpenBSD's number", LinkRawOBSD, ip6, TCP},
		{"IPv4 only", LinkIPv4, ip4, TCP},
		{"IPv6 only", LinkIPv6, ip6, TCP},
		{"raw, neither", LinkRaw, []byte{0x10, 1}, Other},
		{"PPP", LinkPPP, cat([]byte{0xff, 3, 0, 0x21}, ip4), TCP},
		{"PPP without address", LinkPPP, cat([]byte{0, 0x57}, ip6), TCP},
		{"PPP short protocol", LinkPPP, cat([]byte{0x21}, ip4), TCP},
		{"PPP MPLS", LinkPPP, cat([]byte{0xff, 3, 0x02, 0x81, 0, 1, 1, 64}, ip4), TCP},
		{"PPP LCP", LinkPPP, cat([]byte{0xff, 3, 0xc0, 0x21}, ip4), Other},
		{"PPP in HDLC", LinkPPPHDLC, cat([]byte{0xff, 3, 0, 0x21}, ip4), TCP},
		{"PPP with direction", LinkPPPDir, cat([]byte{1, 0xff, 3, 0, 0x21}, ip4), TCP},
		{"PPPoE session", LinkPPPoE, cat([]byte{0x11, 0, 0, 1, 0, 40, 0, 0x21}, ip4), TCP},
		{"BSD loopback", LinkNull, cat([]byte{2, 0, 0, 0}, ip4), TCP},
		{"OpenBSD loopback", LinkLoop, cat([]byte{0, 0, 0, 24}, ip6), TCP},
		{"unknown", Link(147), ip4, Other},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var v View
			if got := v.ParseLink(tc.link, tc.frame); got != tc.want {
				t.Fatalf("%v, want %v", got, tc.want)
			}
			if tc.want == TCP && (v.SrcPort != 4711 || v.Seq != 0x01020304) {
				t.Errorf("misread: %+v", v)
			}
			if tc.link.Known() == (tc.name == "unknown") {
				t.Errorf("Known is %v", tc.link.Known())
			}
			for i := range len(tc.frame) {
				if v.ParseLink(tc.link, tc.frame[:i]) == TCP && !v.OptionsCut && i < len(tc.frame) {
					t.Errorf("%d bytes of %d: whole", i, len(tc.frame))
				}
			}
		})
	}
}

func FuzzView(f *testing.F) {
	f.Add(uint16(1), golden)
	for _, l := range []Link{LinkNull, LinkEthernet, LinkPPP, LinkRaw, LinkSLL, LinkSLL2, LinkPPPoE, LinkPPPDir} {
		f.Add(uint16(l), seg(v4a, v4b).IP())
		f.Add(uint16(l), seg(v6a, v6b).Ethernet())
	}
	s := seg(v4a, v4b)
	tcp := s.TCP()
	f.Add(uint16(LinkIPv4), cat(frametest.IPv4(v4a.Addr(), v4b.Addr(), 51, nil, 0, 24+len(tcp)), []byte{6, 4}, make([]byte, 22), tcp))
	f.Fuzz(func(t *testing.T, link uint16, frame []byte) {
		var v View
		verdict := v.ParseLink(Link(link), frame)
		if verdict != TCP {
			return
		}
		if n := len(v.Addrs); n != 8 && n != 32 {
			t.Fatalf("%d bytes of addresses", n)
		}
		if len(v.Options) > 40 || len(v.Options)%4 != 0 && !v.OptionsCut || !v.IsTCP {
			t.Fatalf("options %x", v.Options)
		}
		// What is found is in the frame, and the rest of the frame has no say.
		if !v.OptionsCut && !bytes.Contains(frame, v.Addrs) {
			t.Fatal("addresses are not from the frame")
		}
		if !v.Src().IsValid() || !v.Dst().IsValid() {
			t.Fatal("no addresses")
		}
		_ = verdict.String()
	})
}

func BenchmarkParse(b *testing.B) {
	frame := seg(v4a, v4b).Ethernet()
	var v View
	for b.Loop() {
		v.Parse(frame)
	}
}
