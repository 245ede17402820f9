package capture

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/net/bpf"

	"mpbox/internal/frametest"
	"mpbox/southbound/packet"
	"mpbox/southbound/packet/mptcp"
)

var (
	v4a = netip.MustParseAddrPort("10.1.0.1:4711")
	v4b = netip.MustParseAddrPort("10.2.0.2:443")
	v6a = netip.MustParseAddrPort("[2001:db8:1::1]:4711")
	v6b = netip.MustParseAddrPort("[2001:db8:2::2]:443")
)

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func vm(t *testing.T, o FilterOptions) func([]byte) bool {
	t.Helper()
	raw, err := Filter(o)
	if err != nil {
		t.Fatal(err)
	}
	prog, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the program does not disassemble")
	}
	m, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	return func(b []byte) bool {
		n, err := m.Run(b)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
}

// wrappings puts an IP packet behind headers that the filter knows.
var wrappings = map[string]func(ip []byte, ethertype uint16) []byte{
	"Ethernet": func(ip []byte, e uint16) []byte { return cat(frametest.MAC(e), ip) },
	"VLAN": func(ip []byte, e uint16) []byte {
		return cat(frametest.MAC(0x8100), []byte{0, 5, byte(e >> 8), byte(e)}, ip)
	},
	"QinQ": func(ip []byte, e uint16) []byte {
		return cat(frametest.MAC(0x88a8), []byte{0, 5, 0x81, 0, 0, 6, byte(e >> 8), byte(e)}, ip)
	},
	"three tags": func(ip []byte, e uint16) []byte {
		return cat(frametest.MAC(0x9100), []byte{0, 5, 0x88, 0xa8, 0, 6, 0x81, 0, 0, 7, byte(e >> 8), byte(e)}, ip)
	},
	"MPLS": func(ip []byte, _ uint16) []byte { return cat(frametest.MAC(0x8847), []byte{0, 1, 1, 64}, ip) },
	"MPLS stack behind VLAN": func(ip []byte, _ uint16) []byte {
		return cat(frametest.MAC(0x8100), []byte{0, 5, 0x88, 0x47}, []byte{0, 1, 0, 64, 0, 1, 0x20, 64, 0, 1, 0x41, 64}, ip)
	},
	"PPPoE": func(ip []byte, e uint16) []byte {
		proto := byte(0x21)
		if e == 0x86dd {
			proto = 0x57
		}
		return cat(frametest.MAC(0x8864), []byte{0x11, 0, 0, 1, 0, byte(len(ip) + 2), 0, proto}, ip)
	},
}

func TestFilter(t *testing.T) {
	two := vm(t, FilterOptions{})
	three := vm(t, FilterOptions{ThirdACK: true})
	ts := []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	for _, tc := range []struct {
		name        string
		flags       uint8
		opts        []byte
		pass, third bool
	}{
		{"SYN", frametest.SYN, frametest.CapableSYN(1, 0), true, true},
		{"SYN/ACK", frametest.SYN | frametest.ACK, frametest.CapableSYNACK(1, 7), true, true},
		{"plain SYN", frametest.SYN, nil, true, true},
		{"FIN", frametest.FIN | frametest.ACK, ts, true, true},
		{"RST", frametest.RST, nil, true, true},
		{"data", frametest.ACK | frametest.PSH, ts, false, false},
		{"bare ACK", frametest.ACK, nil, false, false},
		{"third ACK", frametest.ACK, cat(ts, frametest.CapableACK(1, 1, 2)), false, true},
		{"third ACK without timestamps", frametest.ACK, frametest.CapableACK(1, 1, 2), false, true},
		{"third ACK of a join", frametest.ACK, cat(ts, frametest.JoinACK(make([]byte, 20))), false, true},
		{"third ACK of a join without timestamps", frametest.ACK, frametest.JoinACK(make([]byte, 20)), false, true},
		{"DSS", frametest.ACK, cat(ts, []byte{30, 20, 0x20, 0x0c}, make([]byte, 16)), false, false},
		{"DSS without timestamps", frametest.ACK, cat([]byte{30, 20, 0x20, 0x0c}, make([]byte, 16)), false, false},
		{"selective acknowledgment", frametest.ACK, cat(ts, []byte{1, 1, 5, 18}, make([]byte, 16)), false, false},
	} {
		for name, wrap := range wrappings {
			for _, v6 := range []bool{false, true} {
				src, dst, e := v4a, v4b, uint16(0x0800)
				if v6 {
					src, dst, e = v6a, v6b, 0x86dd
				}
				frame := wrap(frametest.Segment{Src: src, Dst: dst, Flags: tc.flags, Options: tc.opts}.IP(), e)
				if got := two(frame); got != tc.pass {
					t.Errorf("%s, %s, v6 %v: %v, want %v", tc.name, name, v6, got, tc.pass)
				}
				if got := three(frame); got != tc.third {
					t.Errorf("%s with third ACKs, %s, v6 %v: %v, want %v", tc.name, name, v6, got, tc.third)
				}
			}
		}
	}
}

func TestFilterIsNoObstacleToAuthenticationHeaders(t *testing.T) {
	tcp := frametest.Segment{Src: v4a, Dst: v4b, Flags: frametest.SYN, Options: frametest.CapableSYN(1, 0)}.TCP()
	ah := cat([]byte{6, 4}, make([]byte, 22), tcp)
	for name, frame := range map[string][]byte{
		"IPv4": cat(frametest.MAC(0x0800), frametest.IPv4(v4a.Addr(), v4b.Addr(), 51, nil, 0, len(ah)), ah),
		"IPv6": cat(frametest.MAC(0x86dd), frametest.IPv6(v6a.Addr(), v6b.Addr(), 51, len(ah)), ah),
	} {
		var v packet.View
		if v.Parse(frame) != packet.TCP || !vm(t, FilterOptions{})(frame) {
			t.Errorf("%s: a handshake is dropped", name)
		}
	}
}

// TestFilterAgainstView: what the packet view takes for a handshake passes the
// filter, also when bits are wrong; and nothing passes without a reason.
func TestFilterAgainstView(t *testing.T) {
	run := vm(t, FilterOptions{ThirdACK: true})
	r := rand.New(rand.NewPCG(1, 2))
	var names []string
	for n := range wrappings {
		names = append(names, n)
	}
	passed, kept := 0, 0
	for range 200_000 {
		src, dst, e := v4a, v4b, uint16(0x0800)
		if r.IntN(2) == 0 {
			src, dst, e = v6a, v6b, 0x86dd
		}
		opts := [][]byte{nil, {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, frametest.CapableACK(1, 1, 2), frametest.JoinACK(make([]byte, 20)), {2, 4, 5, 0xb4}}
		frame := wrappings[names[r.IntN(len(names))]](frametest.Segment{
			Src: src, Dst: dst, Flags: uint8(1 << r.IntN(6)), Options: opts[r.IntN(len(opts))]}.IP(), e)
		for range r.IntN(3) {
			frame[12+r.IntN(len(frame)-12)] ^= 1 << r.IntN(8)
		}
		var v packet.View
		verdict := v.Parse(frame)
		handshake := verdict == packet.TCP && v.Flags&(packet.SYN|packet.FIN|packet.RST) != 0
		if verdict == packet.TCP && !handshake {
			// A third ACK, if its option stands where the filter looks.
			if opt, _, _ := mptcp.Next(v.Options); len(opt) >= 20 && opt[2]>>4 <= 1 {
				at := bytes.Index(v.Options, opt)
				handshake = at == 0 || at == 12
			}
		}
		got := run(frame)
		if handshake && !got {
			t.Fatalf("a handshake is dropped: %x", frame)
		}
		if got {
			passed++
			if handshake {
				kept++
			}
		}
	}
	if kept*10 < passed*9 {
		t.Errorf("of %d that passed only %d were handshakes", passed, kept)
	}
}

// erspan wraps a frame; kind 1 to 3.
func erspan(frame []byte, kind int, session uint16, greFlags byte, platform bool) []byte {
	proto := uint16(greERSPAN2)
	var h []byte
	switch kind {
	case 1:
	case 2:
		greFlags |= 0x10
		h = []byte{0x10, 0x2a, byte(session >> 8), byte(session), 0, 0, 0, 7} // version 1, VLAN 42
	case 3:
		greFlags |= 0x10
		proto = greERSPAN3
		h = []byte{0x20, 0x2a, byte(session >> 8), byte(session), 0, 0, 0, 1, 0, 0, 0, 0x08} // egress
		if platform {
			h[11] |= 1
			h = append(h, 0xc0, 0, 0, 0, 0, 0, 0, 0)
		}
	}
	gre := []byte{greFlags, 0}
	gre = binary.BigEndian.AppendUint16(gre, proto)
	for _, f := range []byte{0x80, 0x20, 0x10} {
		if greFlags&f != 0 {
			gre = append(gre, 1, 2, 3, 4)
		}
	}
	return cat(gre, h, frame)
}

func TestERSPAN(t *testing.T) {
	inner := frametest.Segment{Src: v4a, Dst: v4b, Flags: frametest.SYN, Options: frametest.CapableSYN(1, 0)}.Ethernet()
	data := frametest.Segment{Src: v4a, Dst: v4b, Flags: frametest.ACK}.Ethernet()
	run := vm(t, FilterOptions{ERSPAN: true})
	out4, out6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, tc := range []struct {
		name string
		wrap func(inner []byte) []byte
		want Mirrored
	}{
		{"type I", func(b []byte) []byte { return erspan(b, 1, 0, 0, false) }, Mirrored{Type: 1}},
		{"type II", func(b []byte) []byte { return erspan(b, 2, 700, 0, false) }, Mirrored{Type: 2, Session: 700, VLAN: 42}},
		{"type II with key and checksum", func(b []byte) []byte { return erspan(b, 2, 5, 0xa0, false) },
			Mirrored{Type: 2, Session: 5, VLAN: 42}},
		{"type II, truncated", func(b []byte) []byte { return erspan(b, 2, 5|0x400, 0, false) },
			Mirrored{Type: 2, Session: 5, VLAN: 42, Truncated: true}},
		{"type III", func(b []byte) []byte { return erspan(b, 3, 1023, 0, false) },
			Mirrored{Type: 3, Session: 1023, VLAN: 42, Egress: true}},
		{"type III with platform header", func(b []byte) []byte { return erspan(b, 3, 9, 0, true) },
			Mirrored{Type: 3, Session: 9, VLAN: 42, Egress: true}},
	} {
		for _, outer := range []string{"IPv4", "IPv4 options", "VLAN IPv4", "IPv6"} {
			wrap := func(inner []byte) []byte {
				p := tc.wrap(inner)
				switch outer {
				case "IPv4":
					return cat(frametest.MAC(0x0800), frametest.IPv4(out4, out4, 47, nil, 0, len(p)), p)
				case "IPv4 options":
					return cat(frametest.MAC(0x0800), frametest.IPv4(out4, out4, 47, make([]byte, 8), 0, len(p)), p)
				case "VLAN IPv4":
					return cat(frametest.MAC(0x8100), []byte{0, 9, 8, 0}, frametest.IPv4(out4, out4, 47, nil, 0, len(p)), p)
				default:
					return cat(frametest.MAC(0x86dd), frametest.IPv6(out6, out6, 47, len(p)), p)
				}
			}
			frame := wrap(inner)
			m, ok := Decapsulate(frame)
			if !ok || !bytes.Equal(m.Frame, inner) {
				t.Fatalf("%s in %s: %v %x", tc.name, outer, ok, m.Frame)
			}
			m.Frame = nil
			want := tc.want
			if m.Session != want.Session || m.VLAN != want.VLAN || m.Egress != want.Egress || m.Type != want.Type || m.Truncated != want.Truncated {
				t.Errorf("%s in %s: %+v", tc.name, outer, m)
			}
			if !run(frame) || run(wrap(data)) {
				t.Errorf("%s in %s: filter passes SYN %v, data %v", tc.name, outer, run(frame), run(wrap(data)))
			}
			for n := range len(frame) {
				if m, ok := Decapsulate(frame[:n]); ok && len(m.Frame) > len(inner) {
					t.Errorf("%d bytes", n)
				}
			}
		}
	}
	for name, b := range map[string][]byte{
		"plain TCP":     inner,
		"another GRE":   cat(frametest.MAC(0x0800), frametest.IPv4(out4, out4, 47, nil, 0, 8), []byte{0, 0, 8, 0, 1, 2, 3, 4}),
		"GRE routing":   cat(frametest.MAC(0x0800), frametest.IPv4(out4, out4, 47, nil, 0, 50), []byte{0x50, 0, 0x88, 0xbe}, make([]byte, 46)),
		"wrong version": cat(frametest.MAC(0x0800), frametest.IPv4(out4, out4, 47, nil, 0, 50), []byte{0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x30}, make([]byte, 41)),
		"a fragment":    cat(frametest.MAC(0x0800), frametest.IPv4(out4, out4, 47, nil, 5, len(inner)+4), []byte{0, 0, 0x88, 0xbe}, inner),
	} {
		if _, ok := Decapsulate(b); ok {
			t.Errorf("%s is taken for ERSPAN", name)
		}
	}
}

func FuzzDecapsulate(f *testing.F) {
	out4 := netip.MustParseAddr("192.0.2.1")
	inner := frametest.Segment{Src: v4a, Dst: v4b, Flags: frametest.SYN}.Ethernet()
	for kind := 1; kind <= 3; kind++ {
		p := erspan(inner, kind, 3, 0, true)
		f.Add(cat(frametest.MAC(0x0800), frametest.IPv4(out4, out4, 47, nil, 0, len(p)), p))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if m, ok := Decapsulate(frame); ok && (len(m.Frame) < 14 || m.Session > 1023 || m.Type < 1 || m.Type > 3 || !bytes.Contains(frame, m.Frame)) {
			t.Fatalf("%+v", m)
		}
	})
}
