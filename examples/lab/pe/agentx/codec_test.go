package agentx

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden are PDUs and their bytes, after RFC 2741's diagrams. Each line of bytes
// is a field; what follows "--" is a comment.
var golden = []struct {
	name string
	pdu  PDU
	hex  string
}{
	{"open", PDU{Header{0, 0, 1, false}, "", &Open{Timeout: 5, Descr: "pe1"}}, `
		01 01 10 00 -- version, Open, NETWORK_BYTE_ORDER, reserved
		00000000 00000000 00000001 -- session, transaction, packet
		00000010 -- payload length
		05 000000 -- timeout, reserved
		00 00 00 00 -- o.id: the null identifier
		00000003 70653100 -- o.descr, padded to four`},
	{"close", PDU{Header{7, 0, 9, false}, "", &Close{Reason: CloseShutdown}}, `
		01 02 10 00 00000007 00000000 00000009 00000004
		05 000000 -- reason, reserved`},
	{"register in a context", PDU{Header{7, 0, 2, false}, "v", &Register{Timeout: 0, Priority: 50, Subtree: MustOID("1.3.6.1.2.1.10.166")}}, `
		01 03 18 00 -- NON_DEFAULT_CONTEXT too
		00000007 00000000 00000002 0000001c
		00000001 76000000 -- context
		00 32 00 00 -- timeout, priority, range_subid, reserved
		03 02 00 00 -- three sub-identifiers after the prefix 1.3.6.1.2
		00000001 0000000a 000000a6`},
	{"get, little endian", PDU{Header{7, 1, 2, true}, "", &Get{[]SearchRange{{Start: MustOID("0.0")}}}}, `
		01 05 00 00 07000000 01000000 02000000 10000000
		02 00 00 00 00000000 00000000 -- start: no prefix
		00 00 00 00 -- end: null`},
	{"getnext", PDU{Header{1, 2, 3, false}, "", &GetNext{[]SearchRange{{MustOID("1.3.6.1.2.1.10.166.3"), true, MustOID("1.3.6.1.2.1.10.167")}}}}, `
		01 06 10 00 00000001 00000002 00000003 00000024
		04 02 01 00 00000001 0000000a 000000a6 00000003 -- start, include
		03 02 00 00 00000001 0000000a 000000a7 -- end`},
	{"getbulk", PDU{Header{1, 2, 3, false}, "", &GetBulk{1, 20, []SearchRange{{Start: MustOID("1.3.6.1.2")}}}}, `
		01 07 10 00 00000001 00000002 00000003 0000000c
		0001 0014 -- non-repeaters, max-repetitions
		00 02 00 00 -- start: a prefix alone
		00 00 00 00`},
	{"testset", PDU{Header{1, 2, 3, false}, "", &TestSet{[]VarBind{
		{MustOID("1.3.6.1.2.1.1"), Int(-2)},
		{MustOID("1.3.6.1.2.1.1"), String("abcde")},
	}}}, `
		01 08 10 00 00000001 00000002 00000003 00000030
		0002 0000 -- Integer
		02 02 00 00 00000001 00000001 fffffffe
		0004 0000 -- Octet String
		02 02 00 00 00000001 00000001 00000005 61626364 65000000`},
	{"commitset", PDU{Header{1, 2, 4, false}, "", &CommitSet{}}, `01 09 10 00 00000001 00000002 00000004 00000000`},
	{"undoset", PDU{Header{1, 2, 4, false}, "", &UndoSet{}}, `01 0a 10 00 00000001 00000002 00000004 00000000`},
	{"cleanupset", PDU{Header{1, 2, 5, false}, "", &CleanupSet{}}, `01 0b 10 00 00000001 00000002 00000005 00000000`},
	{"ping", PDU{Header{1, 0, 5, false}, "", &Ping{}}, `01 0d 10 00 00000001 00000000 00000005 00000000`},
	{"response", PDU{Header{1, 2, 3, false}, "", &Response{SysUpTime: 256, Error: InconsistentValue, Index: 3, VarBinds: []VarBind{
		{MustOID("1.3.6.1.2.1.1"), Value{Type: Counter64, Num: 1 << 40}},
		{MustOID("1.3.6.1.2.1.1"), Pointer(OID{0, 0})},
		{MustOID("1.3.6.1.2.1.1"), Value{Type: IPAddress, Bytes: []byte{10, 0, 0, 1}}},
		{MustOID("1.3.6.1.2.1.1"), Value{Type: EndOfMibView}},
	}}}, `
		01 12 10 00 00000001 00000002 00000003 00000064
		00000100 000c 0003 -- sysUpTime, error, index
		0046 0000 02 02 00 00 00000001 00000001 00000100 00000000 -- Counter64
		0006 0000 02 02 00 00 00000001 00000001 02 00 00 00 00000000 00000000 -- Object Identifier
		0040 0000 02 02 00 00 00000001 00000001 00000004 0a000001 -- IpAddress
		0082 0000 02 02 00 00 00000001 00000001 -- endOfMibView`},
}

func unhex(t testing.TB, s string) []byte {
	var b strings.Builder
	for _, l := range strings.Split(s, "\n") {
		l, _, _ = strings.Cut(l, "--")
		b.WriteString(strings.Join(strings.Fields(l), ""))
	}
	out, err := hex.DecodeString(b.String())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestGolden(t *testing.T) {
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			want := unhex(t, g.hex)
			if d := cmp.Diff(hex.Dump(want), hex.Dump(Marshal(&g.pdu))); d != "" {
				t.Error("encoded (-want +got):", d)
			}
			got, err := Unmarshal(want)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(&g.pdu, got); d != "" {
				t.Error("decoded (-want +got):", d)
			}
			read, err := Read(bytes.NewReader(append(want, 1, 2, 3)))
			if err != nil || !cmp.Equal(got, read) {
				t.Errorf("read from a stream: %v, %v", read, err)
			}
		})
	}
}

// Every prefix of a PDU is an error, also where its header says that it is whole.
func TestTruncated(t *testing.T) {
	for _, g := range golden {
		whole := unhex(t, g.hex)
		for n := range whole {
			if _, err := Unmarshal(whole[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut to %d bytes: %v", g.name, n, err)
			}
			if n < headerLen || n%4 != 0 || n == headerLen {
				continue
			}
			cut := bytes.Clone(whole[:n])
			order(cut[2]).PutUint32(cut[16:], uint32(n-headerLen))
			p, err := Unmarshal(cut)
			// A list may end early between two of its items.
			if err == nil && !bytes.Equal(Marshal(p), cut) {
				t.Errorf("%s cut to %d bytes reads as %+v", g.name, n, p.Body)
			}
		}
	}
}

func TestMalformed(t *testing.T) {
	for name, h := range map[string]string{
		"version 2":             `02 0d 10 00 00000001 00000000 00000005 00000000`,
		"unknown type":          `01 63 10 00 00000001 00000000 00000005 00000000`,
		"payload not padded":    `01 0d 10 00 00000001 00000000 00000005 00000003 000000`,
		"huge payload":          `01 0d 10 00 00000001 00000000 00000005 7ffffffc`,
		"too much":              `01 0d 10 00 00000001 00000000 00000005 00000004 00000000`,
		"identifier too long":   `01 05 10 00 00000001 00000000 00000005 00000004 ff 00 00 00`,
		"string longer":         `01 08 10 00 00000001 00000000 00000005 00000014 0004 0000 00 02 00 00 ffffffff 00000000 00000000`,
		"unknown value type":    `01 08 10 00 00000001 00000000 00000005 00000008 0003 0000 00 02 00 00`,
		"IpAddress of 5 bytes":  `01 08 10 00 00000001 00000000 00000005 00000014 0040 0000 00 02 00 00 00000005 01020304 05000000`,
		"range registration":    `01 03 10 00 00000001 00000000 00000005 00000008 00 7f 01 00 00 02 00 00`,
		"context where none is": `01 09 18 00 00000001 00000000 00000005 00000008 00000001 76000000`,
	} {
		if p, err := Unmarshal(unhex(t, h)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, g := range golden {
		f.Add(unhex(f, g.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Unmarshal(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal("not ErrMalformed:", err)
			}
			return
		}
		again, err := Unmarshal(Marshal(p))
		if err != nil || !cmp.Equal(p, again) {
			t.Fatalf("%+v came back as %+v, %v", p, again, err)
		}
	})
}

func TestOID(t *testing.T) {
	o := MustOID(".1.3.6.1.4294967295")
	if o.String() != "1.3.6.1.4294967295" {
		t.Error(o)
	}
	for _, bad := range []string{"1..2", "1.x", "1.4294967296", strings.Repeat("1.", 128) + "1"} {
		if _, err := ParseOID(bad); err == nil {
			t.Errorf("%.20s… is no object identifier", bad)
		}
	}
	a := MustOID("1.3.6")
	b, c := a.Append(1), a.Append(2)
	if b.String() != "1.3.6.1" || c.String() != "1.3.6.2" || b.Compare(c) >= 0 || a.Compare(b) >= 0 || !b.HasPrefix(a) || a.HasPrefix(b) {
		t.Error("append, order or prefix", a, b, c)
	}
}
