package mptcp

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
)

// Golden bytes of every layout, written out by hand from the RFCs' figures.
var golden = []struct {
	name string
	seg  Segment
	b    []byte
	want Option
}{
	{"MP_CAPABLE v1 SYN (8684 3.1)", SYN,
		[]byte{30, 4, 0x01, 0x81},
		Option{Subtype: Capable, Version: 1, HasVersion: true, Flags: 0x81}},
	{"MP_CAPABLE v1 SYN/ACK", SYNACK,
		[]byte{30, 12, 0x01, 0x01, 1, 2, 3, 4, 5, 6, 7, 8},
		Option{Subtype: Capable, Version: 1, HasVersion: true, Flags: 1, HasKey: true, Key: 0x0102030405060708}},
	{"MP_CAPABLE v1 ACK", ACK,
		[]byte{30, 20, 0x01, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		Option{Subtype: Capable, Version: 1, HasVersion: true, Flags: 1, HasKey: true, Key: 0x0102030405060708,
			HasPeerKey: true, PeerKey: 0x090a0b0c0d0e0f10}},
	{"MP_CAPABLE v1 with data", ACK,
		[]byte{30, 22, 0x01, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0x05, 0xb4},
		Option{Subtype: Capable, Version: 1, HasVersion: true, Flags: 1, HasKey: true, Key: 0x0102030405060708,
			HasPeerKey: true, PeerKey: 0x090a0b0c0d0e0f10, HasData: true, DataLen: 1460}},
	{"MP_CAPABLE v1 with data and checksum", ACK,
		[]byte{30, 24, 0x01, 0x81, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0x05, 0xb4, 0xab, 0xcd},
		Option{Subtype: Capable, Version: 1, HasVersion: true, Flags: 0x81, HasKey: true, Key: 0x0102030405060708,
			HasPeerKey: true, PeerKey: 0x090a0b0c0d0e0f10, HasData: true, DataLen: 1460, HasChecksum: true, Checksum: 0xabcd}},
	{"MP_CAPABLE v0 SYN (6824 3.1)", SYN,
		[]byte{30, 12, 0x00, 0x81, 1, 2, 3, 4, 5, 6, 7, 8},
		Option{Subtype: Capable, HasVersion: true, Flags: 0x81, HasKey: true, Key: 0x0102030405060708}},
	{"MP_CAPABLE v0 ACK", ACK,
		[]byte{30, 20, 0x00, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		Option{Subtype: Capable, HasVersion: true, Flags: 1, HasKey: true, Key: 0x0102030405060708,
			HasPeerKey: true, PeerKey: 0x090a0b0c0d0e0f10}},
	{"MP_JOIN SYN (8684 3.2)", SYN,
		[]byte{30, 12, 0x11, 7, 0xde, 0xad, 0xbe, 0xef, 0x01, 0x02, 0x03, 0x04},
		Option{Subtype: Join, Flags: 1, Backup: true, AddrID: 7, HasAddrID: true, Token: 0xdeadbeef, Nonce: 0x01020304}},
	{"MP_JOIN SYN/ACK", SYNACK,
		[]byte{30, 16, 0x10, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0x0a, 0x0b, 0x0c, 0x0d},
		Option{Subtype: Join, AddrID: 9, HasAddrID: true, MAC: []byte{1, 2, 3, 4, 5, 6, 7, 8}, Nonce: 0x0a0b0c0d}},
	{"MP_JOIN ACK", ACK,
		[]byte{30, 24, 0x10, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20},
		Option{Subtype: Join, MAC: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}}},
	{"DSS, nothing in it", ACK, []byte{30, 4, 0x20, 0}, Option{Subtype: DSS}},
	{"DSS acknowledgment of 4 bytes", ACK,
		[]byte{30, 8, 0x20, 0x01, 1, 2, 3, 4},
		Option{Subtype: DSS, Flags: 1, HasDataAck: true, DataAck: 0x01020304}},
	{"DSS acknowledgment of 8 bytes", ACK,
		[]byte{30, 12, 0x20, 0x03, 1, 2, 3, 4, 5, 6, 7, 8},
		Option{Subtype: DSS, Flags: 3, HasDataAck: true, LongAck: true, DataAck: 0x0102030405060708}},
	{"DSS everything, with checksum", ACK,
		[]byte{30, 28, 0x20, 0x1f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0, 0, 0, 5, 0, 6, 0xab, 0xcd},
		Option{Subtype: DSS, Flags: 0x1f, HasDataAck: true, LongAck: true, DataAck: 0x0102030405060708, HasMap: true,
			LongDSN: true, DSN: 0x090a0b0c0d0e0f10, SubflowSeq: 5, DataLen: 6, HasChecksum: true, Checksum: 0xabcd, DataFIN: true}},
	{"DSS mapping of 4 bytes", ACK,
		[]byte{30, 14, 0x20, 0x04, 9, 10, 11, 12, 0, 0, 0, 5, 0, 6},
		Option{Subtype: DSS, Flags: 4, HasMap: true, DSN: 0x090a0b0c, SubflowSeq: 5, DataLen: 6}},
	{"ADD_ADDR v1 IPv4 (8684 3.4.1)", ACK,
		[]byte{30, 16, 0x30, 3, 10, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8},
		Option{Subtype: AddAddr, Version: 1, HasVersion: true, AddrID: 3, HasAddrID: true,
			Addr: netip.MustParseAddr("10.0.0.1"), MAC: []byte{1, 2, 3, 4, 5, 6, 7, 8}}},
	{"ADD_ADDR v1 IPv4 and port", ACK,
		[]byte{30, 18, 0x30, 3, 10, 0, 0, 1, 0x13, 0x89, 1, 2, 3, 4, 5, 6, 7, 8},
		Option{Subtype: AddAddr, Version: 1, HasVersion: true, AddrID: 3, HasAddrID: true,
			Addr: netip.MustParseAddr("10.0.0.1"), Port: 5001, MAC: []byte{1, 2, 3, 4, 5, 6, 7, 8}}},
	{"ADD_ADDR v1 IPv4 echo", ACK,
		[]byte{30, 8, 0x31, 3, 10, 0, 0, 1},
		Option{Subtype: AddAddr, Version: 1, HasVersion: true, Flags: 1, AddrID: 3, HasAddrID: true,
			Addr: netip.MustParseAddr("10.0.0.1"), Echo: true}},
	{"ADD_ADDR v1 IPv6 and port", ACK,
		append(append([]byte{30, 30, 0x30, 3}, netip.MustParseAddr("2001:db8::1").AsSlice()...), 0x13, 0x89, 1, 2, 3, 4, 5, 6, 7, 8),
		Option{Subtype: AddAddr, Version: 1, HasVersion: true, AddrID: 3, HasAddrID: true,
			Addr: netip.MustParseAddr("2001:db8::1"), Port: 5001, MAC: []byte{1, 2, 3, 4, 5, 6, 7, 8}}},
	{"ADD_ADDR v1 IPv6 echo", ACK,
		append([]byte{30, 20, 0x31, 3}, netip.MustParseAddr("2001:db8::1").AsSlice()...),
		Option{Subtype: AddAddr, Version: 1, HasVersion: true, Flags: 1, AddrID: 3, HasAddrID: true,
			Addr: netip.MustParseAddr("2001:db8::1"), Echo: true}},
	{"ADD_ADDR v0 IPv4 (6824 3.4.1)", ACK,
		[]byte{30, 10, 0x34, 3, 10, 0, 0, 1, 0x13, 0x89},
		Option{Subtype: AddAddr, HasVersion: true, Flags: 4, AddrID: 3, HasAddrID: true,
			Addr: netip.MustParseAddr("10.0.0.1"), Port: 5001}},
	{"ADD_ADDR v0 IPv6", ACK,
		append([]byte{30, 20, 0x36, 3}, netip.MustParseAddr("2001:db8::1").AsSlice()...),
		Option{Subtype: AddAddr, HasVersion: true, Flags: 6, AddrID: 3, HasAddrID: true, Addr: netip.MustParseAddr("2001:db8::1")}},
	{"REMOVE_ADDR (8684 3.4.2)", ACK, []byte{30, 6, 0x40, 1, 2, 3}, Option{Subtype: RemoveAddr, IDs: []byte{1, 2, 3}}},
	{"MP_PRIO (8684 3.3.8)", ACK, []byte{30, 3, 0x51}, Option{Subtype: Prio, Flags: 1, Backup: true}},
	{"MP_PRIO v0 with address id (6824 3.3.8)", ACK,
		[]byte{30, 4, 0x50, 5}, Option{Subtype: Prio, HasVersion: true, AddrID: 5, HasAddrID: true}},
	{"MP_FAIL (8684 3.7)", ACK,
		[]byte{30, 12, 0x60, 0, 1, 2, 3, 4, 5, 6, 7, 8}, Option{Subtype: Fail, DSN: 0x0102030405060708}},
	{"MP_FASTCLOSE (8684 3.5)", ACK,
		[]byte{30, 12, 0x70, 0, 1, 2, 3, 4, 5, 6, 7, 8}, Option{Subtype: FastClose, Key: 0x0102030405060708}},
	{"MP_TCPRST (8684 3.6)", ACK,
		[]byte{30, 4, 0x81, 2}, Option{Subtype: TCPRst, Version: 1, HasVersion: true, Flags: 1, Transient: true, Reason: 2}},
}

func TestGolden(t *testing.T) {
	for _, tc := range golden {
		t.Run(tc.name, func(t *testing.T) {
			o := Option{Key: 1, Token: 1, MAC: []byte{1}, Echo: true} // left over from before
			if err := o.Decode(tc.b, tc.seg); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(o, tc.want) {
				t.Errorf("got  %+v\nwant %+v", o, tc.want)
			}
			if n := testing.AllocsPerRun(10, func() { _ = o.Decode(tc.b, tc.seg) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
			for n := range len(tc.b) {
				if err := o.Decode(tc.b[:n], tc.seg); err == nil {
					t.Errorf("accepted with %d bytes of %d", n, len(tc.b))
				}
				// Shorter and with a length that says so: DSS, REMOVE_ADDR, ADD_ADDR and
				// MP_CAPABLE with data have several lengths; the rule table judges those.
				if n > 2 {
					short := append([]byte{30, byte(n)}, tc.b[2:n]...)
					if got, want := verdict(o.Decode(short, tc.seg)), judge(short, tc.seg); got != want {
						t.Errorf("length %d: %v, want %v", n, got, want)
					}
				}
			}
		})
	}
}

// The rule table: which lengths each option may have, independent of the code.
// A rule holds for a subtype and kinds of segments where both masked bytes match:
// the low nibble of byte 2 and byte 3. The first rule that holds decides.
type rule struct {
	sub          Subtype
	seg          string // of S, A (SYN/ACK), D (ACK)
	nibble, nval byte
	flags, fval  byte
	lengths      []int // those allowed; nil: none, the option is not known
	outcome      string
}

const (
	valid, badLength, version, ignored, subtype = "valid", "length", "version", "ignored", "subtype"
)

var rules = func() []rule {
	var r []rule
	add := func(sub Subtype, seg string, nibble, nval, flags, fval byte, outcome string, lengths ...int) {
		r = append(r, rule{sub, seg, nibble, nval, flags, fval, lengths, outcome})
	}
	// MP_CAPABLE. For version 0, flags C to H (0x3f) name algorithms; for version 1,
	// D to H (0x1f). Flag B (0x40) or no algorithm: ignored.
	for _, v := range []struct {
		version byte
		alg     byte
		syn     []int
		ack     []int
	}{{0, 0x3f, []int{12}, []int{20}}, {1, 0x1f, []int{4}, []int{20, 22, 24}}} {
		for _, s := range []struct {
			seg string
			len []int
		}{{"S", v.syn}, {"A", []int{12}}, {"D", v.ack}} {
			add(Capable, s.seg, 15, v.version, 0x40, 0x40, ignored, s.len...)
			add(Capable, s.seg, 15, v.version, v.alg, 0, ignored, s.len...)
			add(Capable, s.seg, 15, v.version, 0, 0, valid, s.len...)
		}
	}
	anyOf := func(from, to int) (l []int) {
		for n := from; n <= to; n++ {
			l = append(l, n)
		}
		return l
	}
	add(Capable, "SAD", 0, 0, 0, 0, version, anyOf(4, 255)...)
	add(Join, "S", 0, 0, 0, 0, valid, 12)
	add(Join, "A", 0, 0, 0, 0, valid, 16)
	add(Join, "D", 0, 0, 0, 0, valid, 24)
	// DSS: flags A (1), a (2), M (4), m (8). No mapping, then with: with or without
	// checksum.
	add(DSS, "SAD", 0, 0, 0x05, 0x00, valid, 4)
	add(DSS, "SAD", 0, 0, 0x07, 0x01, valid, 8)
	add(DSS, "SAD", 0, 0, 0x07, 0x03, valid, 12)
	add(DSS, "SAD", 0, 0, 0x0d, 0x04, valid, 14, 16)
	add(DSS, "SAD", 0, 0, 0x0d, 0x0c, valid, 18, 20)
	add(DSS, "SAD", 0, 0, 0x0f, 0x05, valid, 18, 20)
	add(DSS, "SAD", 0, 0, 0x0f, 0x07, valid, 22, 24)
	add(DSS, "SAD", 0, 0, 0x0f, 0x0d, valid, 22, 24)
	add(DSS, "SAD", 0, 0, 0x0f, 0x0f, valid, 26, 28)
	// ADD_ADDR: version 0 has 4 or 6 in the nibble; version 1 an echo flag (1).
	add(AddAddr, "SAD", 15, 4, 0, 0, valid, 8, 10)
	add(AddAddr, "SAD", 15, 6, 0, 0, valid, 20, 22)
	add(AddAddr, "SAD", 1, 1, 0, 0, valid, 8, 10, 20, 22)
	add(AddAddr, "SAD", 1, 0, 0, 0, valid, 16, 18, 28, 30)
	add(RemoveAddr, "SAD", 0, 0, 0, 0, valid, anyOf(4, 255)...)
	add(Prio, "SAD", 0, 0, 0, 0, valid, 3, 4)
	add(Fail, "SAD", 0, 0, 0, 0, valid, 12)
	add(FastClose, "SAD", 0, 0, 0, 0, valid, 12)
	add(TCPRst, "SAD", 0, 0, 0, 0, valid, 4)
	for s := Subtype(9); s <= 15; s++ {
		add(s, "SAD", 0, 0, 0, 0, subtype, anyOf(3, 255)...)
	}
	return r
}()

// judge applies the rule table.
func judge(b []byte, seg Segment) string {
	if len(b) < 3 || int(b[1]) != len(b) {
		return badLength
	}
	b3 := byte(0)
	if len(b) > 3 {
		b3 = b[3]
	}
	for _, r := range rules {
		if r.sub != Subtype(b[2]>>4) || !bytes.ContainsRune([]byte(r.seg), rune("SAD"[seg])) ||
			b[2]&r.nibble != r.nval || b3&r.flags != r.fval {
			continue
		}
		for _, n := range r.lengths {
			if n == len(b) {
				return r.outcome
			}
		}
		return badLength
	}
	return "no rule"
}

func verdict(err error) string {
	switch {
	case err == nil:
		return valid
	case errors.Is(err, ErrLength):
		return badLength
	case errors.Is(err, ErrVersion):
		return version
	case errors.Is(err, ErrIgnored):
		return ignored
	case errors.Is(err, ErrSubtype):
		return subtype
	}
	return err.Error()
}

// TestDifferential judges a million option fields, mangled at random from sound
// ones or wholly random, as a list parser would meet them, against the rule table.
func TestDifferential(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	n := 1_000_000
	if testing.Short() {
		n = 50_000
	}
	var o Option
	tally := map[string]int{}
	list := make([]byte, 40)
	for i := range n {
		// A field of up to 40 bytes: several options one after the other, some bits
		// flipped, perhaps cut.
		list = list[:0]
		for len(list) < 24 && r.IntN(8) != 0 {
			g := golden[r.IntN(len(golden))].b
			if r.IntN(6) == 0 {
				g = make([]byte, 2+r.IntN(30))
				for j := range g {
					g[j] = byte(r.Uint32())
				}
				g[0], g[1] = Kind, byte(len(g))
			}
			if len(list)+len(g) > 40 {
				break
			}
			list = append(list, g...)
			if r.IntN(3) == 0 {
				list = append(list, 1)
			}
		}
		for range r.IntN(4) {
			if len(list) > 0 {
				list[r.IntN(len(list))] ^= 1 << r.IntN(8)
			}
		}
		if len(list) > 0 && r.IntN(4) == 0 {
			list = list[:r.IntN(len(list)+1)]
		}
		seg := Segment(r.IntN(3))
		got, want := walk(&o, list, seg), walkByTable(list, seg)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("field %d %x in %d:\ngot  %v\nwant %v", i, list, seg, got, want)
		}
		for _, v := range got {
			tally[v]++
		}
	}
	t.Log(tally)
	for _, v := range []string{valid, badLength, version, ignored, subtype, "list"} {
		if tally[v] < n/1000 {
			t.Errorf("only %d fields were %s", tally[v], v)
		}
	}
}

// walk gives the verdict on each MPTCP option of a list.
func walk(o *Option, list []byte, seg Segment) (out []string) {
	for len(list) > 0 {
		opt, rest, err := Next(list)
		if err != nil {
			return append(out, "list")
		}
		if opt == nil {
			return out
		}
		out = append(out, verdict(o.Decode(opt, seg)))
		list = rest
	}
	return out
}

// walkByTable is the same, written apart from Next: RFC 9293 section 3.1.
func walkByTable(list []byte, seg Segment) (out []string) {
	for i := 0; i < len(list); {
		kind := list[i]
		if kind == 0 {
			return out
		}
		if kind == 1 {
			i++
			continue
		}
		if i+1 >= len(list) || list[i+1] < 2 || i+int(list[i+1]) > len(list) {
			return append(out, "list")
		}
		n := int(list[i+1])
		if kind == 30 {
			out = append(out, judge(list[i:i+n], seg))
		}
		i += n
	}
	return out
}

func FuzzOption(f *testing.F) {
	for _, g := range golden {
		f.Add(g.b, uint8(g.seg))
	}
	f.Add([]byte{2, 4, 5, 0xb4, 1, 1, 30, 4, 1, 1, 0}, uint8(0))
	f.Add([]byte{30, 1}, uint8(2))
	f.Fuzz(func(t *testing.T, list []byte, s uint8) {
		seg := Segment(s % 3)
		var o Option
		if got, want := walk(&o, list, seg), walkByTable(list, seg); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		_ = o.Subtype.String()
	})
}

func BenchmarkDecode(b *testing.B) {
	var o Option
	for b.Loop() {
		for i := range golden {
			_ = o.Decode(golden[i].b, golden[i].seg)
		}
	}
}
