package openflow

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/netrack/openflow/ofp"
)

// unhex reads hex digits; what follows a # is a comment.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	punt1 = `
		04 0a 0036 00000000   # OpenFlow 1.3, PACKET_IN, 54 bytes, xid 0
		ffffffff              # not buffered
		003c 01 00            # 60 bytes on the wire, reason action, table 0
		6d70010100000000      # cookie
		0001 000c             # OXM match, 12 bytes
		80000004 00000002     # in_port 2
		00000000              # padding of the match to 16
		0000                  # padding
		020000000002 020000000001  # frame, cut`
	// As Open vSwitch sends it when conntrack was at work: fields before in_port.
	punt2 = `
		04 0a 0042 00000000
		ffffffff
		003c 01 03
		6d70010200000007
		0001 001a
		0001d204 00000022     # NXM ct_state
		0001 d4 02 0005       # NXM ct_zone
		80000004 00000101     # in_port 257
		000000000000 0000     # padding
		0a0b0c0d0e0f10111213`
)

// A match that needs no padding.
const punt3 = `
	04 0a 0000 00000000
	ffffffff 003c 00 fe 0000000000000000
	0001 0018
	80000004 00000007
	80000c02 1064         # vlan_vid
	0001d402 0005         # ct_zone
	0000
	77`

func TestDecodePacketIn(t *testing.T) {
	for name, tc := range map[string]struct {
		hex  string
		want Punt
	}{
		"in_port first": {punt1, Punt{InPort: 2, Reason: 1, Table: 0, Cookie: 0x6d70010100000000,
			Frame: []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}}},
		"in_port last": {punt2, Punt{InPort: 257, Reason: 1, Table: 3, Cookie: 0x6d70010200000007,
			Frame: []byte{10, 11, 12, 13, 14, 15, 16, 17, 18, 19}}},
		"no padding": {punt3, Punt{InPort: 7, Reason: 0, Table: 254, Frame: []byte{0x77}}},
	} {
		t.Run(name, func(t *testing.T) {
			m := fixLength(unhex(t, tc.hex))
			var p Punt
			if !decodePacketIn(m, &p) {
				t.Fatal("refused")
			}
			if p.InPort != tc.want.InPort || p.Reason != tc.want.Reason || p.Table != tc.want.Table ||
				p.Cookie != tc.want.Cookie || !bytes.Equal(p.Frame, tc.want.Frame) {
				t.Errorf("got %+v\nwant %+v", p, tc.want)
			}
			// Cut anywhere before the frame it is refused; never read beyond its end.
			head := len(m) - len(tc.want.Frame)
			for n := range m {
				short := slices.Clone(m[:n])
				if ok := decodePacketIn(short, &p); ok != (n >= head) {
					t.Errorf("cut at %d of %d: accepted %v", n, len(m), ok)
				}
			}
		})
	}
}

// fixLength writes the true length, so that test data need not count.
func fixLength(m []byte) []byte {
	m[2], m[3] = byte(len(m)>>8), byte(len(m))
	return m
}

func TestDecodePacketInRefuses(t *testing.T) {
	for name, at := range map[string]struct {
		offset int
		value  byte
	}{
		"match type 0":           {25, 0},
		"match longer than all":  {26, 0x10},
		"match without fields":   {27, 4},
		"another field":          {30, 2}, // in_phy_port
		"field beyond the match": {31, 200},
		"field beyond by two":    {31, 6},
	} {
		m := fixLength(unhex(t, punt1))
		m[at.offset] = at.value
		var p Punt
		if decodePacketIn(m, &p) {
			t.Errorf("%s: accepted as %+v", name, p)
		}
	}
}

// FuzzDecodePacketIn: no message panics, and what is accepted is what netrack's
// decoder (slow, allocating) reads.
func FuzzDecodePacketIn(f *testing.F) {
	f.Add(fixLength(unhex(f, punt1)))
	f.Add(fixLength(unhex(f, punt2)))
	f.Add(fixLength(unhex(f, punt3)))
	f.Add(fixLength(unhex(f, punt1))[:40])
	f.Fuzz(func(t *testing.T, m []byte) {
		var p Punt
		if !decodePacketIn(m, &p) {
			return
		}
		var want ofp.PacketIn
		if err := decode(m[headerLen:], &want); err != nil {
			return // nonsense behind in_port, which is not looked at
		}
		if p.Reason != uint8(want.Reason) || p.Table != uint8(want.Table) || p.Cookie != want.Cookie {
			t.Errorf("got %+v, netrack %+v", p, want)
		}
		if len(p.Frame) > len(m) || !bytes.HasSuffix(m, p.Frame) {
			t.Errorf("frame of %d bytes is not the message's end", len(p.Frame))
		}
		for _, x := range want.Match.Fields {
			if x.Class == ofp.XMClassOpenflowBasic && x.Type == ofp.XMTypeInPort && len(x.Mask) == 0 && len(x.Value) == 4 {
				if x.Value.UInt32() != p.InPort {
					t.Errorf("in_port %d, netrack %d", p.InPort, x.Value.UInt32())
				}
				break
			}
		}
	})
}
