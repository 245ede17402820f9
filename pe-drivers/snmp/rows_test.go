package snmp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gosnmp/gosnmp"
	"pgregory.net/rapid"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// words are varbinds as operators read them.
func words(vars []gosnmp.SnmpPDU) []string {
	var out []string
	for _, v := range vars {
		out = append(out, describeSet(v))
	}
	return out
}

func TestEncodeTunnel(t *testing.T) {
	tun := tunnel{
		id: 50000, instance: 1, ingress: lsrID(pe1), egress: lsrID(pe2), name: "mpbox/lab/pe1-pe2/1",
		setup: 7, hold: 6, hopList: 4, pathInUse: 1, excludeAny: 0x10, resource: col(resEntry, resMaxRate) + ".9",
	}
	// 184483841 is 10.255.0.1 (RFC 3811, MplsLsrIdentifier).
	idx := ".50000.1.184483841.184483842"
	want := []string{
		"mplsTunnelName" + idx + " = mpbox/lab/pe1-pe2/1",
		"mplsTunnelIsIf" + idx + " = false(2)",
		"mplsTunnelRole" + idx + " = head(1)",
		"mplsTunnelSignallingProto" + idx + " = rsvp(2)",
		"mplsTunnelSetupPrio" + idx + " = 7",
		"mplsTunnelHoldingPrio" + idx + " = 6",
		"mplsTunnelSessionAttributes" + idx + " = 0x08", // BITS: recordRoute(4)
		"mplsTunnelResourcePointer" + idx + " = mplsTunnelResourceMaxRate.9",
		"mplsTunnelHopTableIndex" + idx + " = 4",
		"mplsTunnelPathInUse" + idx + " = 1",
		"mplsTunnelExcludeAnyAffinity" + idx + " = 16",
		"mplsTunnelAdminStatus" + idx + " = up(1)",
		"mplsTunnelRowStatus" + idx + " = createAndGo(4)",
	}
	if diff := cmp.Diff(want, words(encodeTunnel(tun))); diff != "" {
		t.Error(diff)
	}
	for _, v := range encodeTunnel(tun) {
		if !strings.HasPrefix(v.Name, "1.3.6.1.2.1.10.166.3.2.2.1.") {
			t.Errorf("%s is no column of mplsTunnelTable", v.Name)
		}
	}
}

func TestEncodeHops(t *testing.T) {
	rows := encodeHops(4, "mpbox/lab/pe1-pe2/1", hops("10.0.1.2", "10.255.0.2~"))
	want := []string{
		"mplsTunnelHopAddrType.4.1.1 = ipv4(1)",
		"mplsTunnelHopIpAddr.4.1.1 = 0x0a000102",
		"mplsTunnelHopIpPrefixLen.4.1.1 = 32",
		"mplsTunnelHopType.4.1.1 = strict(1)",
		"mplsTunnelHopInclude.4.1.1 = true(1)",
		"mplsTunnelHopPathOptionName.4.1.1 = mpbox/lab/pe1-pe2/1",
		"mplsTunnelHopEntryPathComp.4.1.1 = explicit(2)",
		"mplsTunnelHopRowStatus.4.1.1 = createAndGo(4)",
	}
	if diff := cmp.Diff(want, words(rows[0])); diff != "" {
		t.Error(diff)
	}
	if got := words(rows[1]); got[1] != "mplsTunnelHopIpAddr.4.1.2 = 0x0aff0002" || got[3] != "mplsTunnelHopType.4.1.2 = loose(2)" {
		t.Errorf("second hop %q", got)
	}
	if got := rows[0][1].Name; got != "1.3.6.1.2.1.10.166.3.2.4.1.5.4.1.1" {
		t.Errorf("mplsTunnelHopIpAddr is %s", got)
	}
}

func TestEncodeResource(t *testing.T) {
	want := []string{
		"mplsTunnelResourceMaxRate.9 = 2001", // in 1,000 bit/s, rounded up
		"mplsTunnelResourceMeanRate.9 = 2001",
		"mplsTunnelResourceMaxBurstSize.9 = 2500",
		"mplsTunnelResourceRowStatus.9 = createAndGo(4)",
	}
	if diff := cmp.Diff(want, words(encodeResource(9, 2000001))); diff != "" {
		t.Error(diff)
	}
	if got := encodeResource(9, 1)[0].Value; got != uint32(1) {
		t.Errorf("1 bit/s reserves %v kbit/s, want 1", got)
	}
}

func TestEncodeFTN(t *testing.T) {
	pointer := tunnel{id: 50000, instance: 1, ingress: 1, egress: 2}.pointer()
	for _, c := range []struct {
		name string
		fec  topology.FEC
		want []string
	}{
		{"5-tuple", topology.FEC{
			Protocol: 6, SrcPort: 4711, DstPort: 80,
			Src: netip.MustParsePrefix("10.1.0.1/32"), Dst: netip.MustParsePrefix("10.2.0.1/32"),
		}, []string{
			"mplsFTNDescr.3 = n",
			"mplsFTNMask.3 = 0xf8", // BITS 0 to 4
			"mplsFTNAddrType.3 = ipv4(1)",
			"mplsFTNSourceAddrMin.3 = 0x0a010001",
			"mplsFTNSourceAddrMax.3 = 0x0a010001",
			"mplsFTNDestAddrMin.3 = 0x0a020001",
			"mplsFTNDestAddrMax.3 = 0x0a020001",
			"mplsFTNSourcePortMin.3 = 4711",
			"mplsFTNSourcePortMax.3 = 4711",
			"mplsFTNDestPortMin.3 = 80",
			"mplsFTNDestPortMax.3 = 80",
			"mplsFTNProtocol.3 = 6",
			"mplsFTNActionType.3 = redirectTunnel(2)",
			"mplsFTNActionPointer.3 = mplsTunnelName.50000.1.1.2",
			"mplsFTNRowStatus.3 = createAndGo(4)",
		}},
		{"DSCP with prefix", topology.FEC{Dst: netip.MustParsePrefix("10.2.0.0/23"), DSCP: 46, HasDSCP: true}, []string{
			"mplsFTNDescr.3 = n",
			"mplsFTNMask.3 = 0x44", // destAddr(1), dscp(5)
			"mplsFTNAddrType.3 = ipv4(1)",
			"mplsFTNDestAddrMin.3 = 0x0a020000",
			"mplsFTNDestAddrMax.3 = 0x0a0201ff",
			"mplsFTNDscp.3 = 46",
			"mplsFTNActionType.3 = redirectTunnel(2)",
			"mplsFTNActionPointer.3 = mplsTunnelName.50000.1.1.2",
			"mplsFTNRowStatus.3 = createAndGo(4)",
		}},
		{"IPv6", topology.FEC{Src: netip.MustParsePrefix("2001:db8::1/128"), Protocol: 6}, []string{
			"mplsFTNDescr.3 = n",
			"mplsFTNMask.3 = 0x88",
			"mplsFTNAddrType.3 = ipv6(2)",
			"mplsFTNSourceAddrMin.3 = 0x20010db8000000000000000000000001",
			"mplsFTNSourceAddrMax.3 = 0x20010db8000000000000000000000001",
			"mplsFTNProtocol.3 = 6",
			"mplsFTNActionType.3 = redirectTunnel(2)",
			"mplsFTNActionPointer.3 = mplsTunnelName.50000.1.1.2",
			"mplsFTNRowStatus.3 = createAndGo(4)",
		}},
	} {
		if diff := cmp.Diff(c.want, words(encodeFTN(3, "n", c.fec, pointer))); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	if want := "1.3.6.1.2.1.10.166.3.2.2.1.5.50000.1.1.2"; pointer != want {
		t.Errorf("pointer %s, want %s", pointer, want)
	}
}

// Rows are as gosnmp gives them: numbers as int or uint, text as octets.
func TestDecodeFTN(t *testing.T) {
	r := row{index: []uint32{3}, cols: map[int]any{
		2: 1, 3: []byte("mpbox/lab/flow-1"), 4: []byte{0xfc}, 5: 1,
		6: []byte{10, 1, 0, 1}, 7: []byte{10, 1, 0, 1}, 8: []byte{10, 2, 0, 0}, 9: []byte{10, 2, 0, 255},
		10: uint(4711), 11: uint(4711), 12: uint(80), 13: uint(80), 14: 6, 15: 10, 16: 2, 17: ".1.3.6.1.2.1.10.166.3.2.2.1.5.1.2.3.4",
	}}
	want := ftnRow{
		id: 3, name: "mpbox/lab/flow-1", rowStatus: 1, pointer: "1.3.6.1.2.1.10.166.3.2.2.1.5.1.2.3.4",
		fec: topology.FEC{
			Src: netip.MustParsePrefix("10.1.0.1/32"), Dst: netip.MustParsePrefix("10.2.0.0/24"),
			Protocol: 6, SrcPort: 4711, DstPort: 80, DSCP: 10, HasDSCP: true,
		},
	}
	if got := decodeFTNs(table{r}); got[0] != want {
		t.Errorf("got %+v, want %+v", got[0], want)
	}
	// What the mask does not name is not matched, whatever the columns hold.
	r.cols[4] = []byte{0x08}
	if got := decodeFTNs(table{r})[0].fec; got != (topology.FEC{Protocol: 6}) {
		t.Errorf("mask protocol only: %+v", got)
	}
	// Ranges that a FEC cannot say are told as foreign, never as something else.
	r.cols[4], r.cols[9] = []byte{0x40}, []byte{10, 2, 0, 254}
	if got := decodeFTNs(table{r})[0]; got.foreign == "" || got.fec.Dst.IsValid() {
		t.Errorf("address range: %+v", got)
	}
	r.cols[4], r.cols[11] = []byte{0x20}, uint(4800)
	if got := decodeFTNs(table{r})[0]; got.foreign == "" || got.fec.SrcPort != 0 {
		t.Errorf("port range: %+v", got)
	}
	// Rows with cells missing, as a row that is being made has, do not panic.
	for c := range r.cols {
		short := row{index: r.index, cols: map[int]any{c: r.cols[c]}}
		decodeFTNs(table{short})
	}
}

func TestDecodeTunnels(t *testing.T) {
	r := row{index: []uint32{50000, 1, lsrID(pe1), lsrID(pe2)}, cols: map[int]any{
		5: []byte("mpbox/lab/pe1-pe2/1\x00"), 13: 5, 14: 4, 17: ".0.0", 20: uint(4), 21: uint(1), 22: uint(9),
		24: uint(1), 25: uint(2), 26: uint(0xffffffff), 34: 1, 35: 1, 36: 1,
	}}
	hopRows := table{
		{index: []uint32{4, 1, 1}, cols: map[int]any{5: []byte{10, 0, 1, 2}, 10: 1}},
		{index: []uint32{4, 1, 5}, cols: map[int]any{5: []byte{10, 0, 2, 2}, 10: 2}},
		{index: []uint32{4, 2, 1}, cols: map[int]any{5: []byte{10, 9, 9, 9}, 10: 1}}, // another option
	}
	inv := &inventory{
		routerID: pe1, owner: owner, tunnels: decodeTunnels(table{r}), hops: decodeHops(hopRows),
		arHops: decodeARHops(table{{index: []uint32{9, 1}, cols: map[int]any{4: []byte{10, 0, 1, 2}}}, {index: []uint32{9, 2}, cols: map[int]any{4: []byte{10, 0, 7, 2}}}}),
	}
	want := topology.LSP{
		Name: "mpbox/lab/pe1-pe2/1", Ingress: "pe1", Egress: "pe2",
		ERO: hops("10.0.1.2", "10.0.2.2~"), RRO: hops("10.0.1.2", "10.0.7.2"),
		AdminUp: true, Oper: topology.OperUp, SetupPriority: 5, HoldPriority: 4,
		IncludeAny: 1, IncludeAll: 2, ExcludeAny: 0xffffffff, TunnelID: 50000,
	}
	got, half := inv.lsps(testNames)
	if len(half) != 0 {
		t.Errorf("half-made: %v", half)
	}
	if diff := cmp.Diff([]topology.LSP{want}, got, cmpopts.EquateComparable(topology.Hop{})); diff != "" {
		t.Error(diff)
	}
	if rows := inv.hops[4].rows(4); !slices.Equal(rows, []string{"4.1.1", "4.1.5", "4.2.1"}) {
		t.Errorf("rows of the list %v", rows)
	}
	for v, want := range map[int]topology.OperState{0: topology.OperUnknown, 1: topology.OperUp, 2: topology.OperDown, 4: topology.OperUnknown, 7: topology.OperDown} {
		if got := operState(v); got != want {
			t.Errorf("mplsTunnelOperStatus %d is %v, want %v", v, got, want)
		}
	}
	inv.tunnels[0].oper = 7
	if got := inv.lsp(inv.tunnels[0], driver.Names{}); got.Reason != "mplsTunnelOperStatus is lowerLayerDown(7)" || got.RRO != nil || got.Egress != "10.255.0.2" {
		t.Errorf("down: %+v", got)
	}
}

// RFC 3814, mplsFTNMapTable: rows are a linked list for each interface.
func TestMapList(t *testing.T) {
	rows := []mapRow{{1, 0, 5}, {1, 5, 6}, {2, 0, 9}, {1, 6, 7}}
	if got := applied(rows, 1); !slices.Equal(got, []uint32{5, 6, 7}) {
		t.Errorf("applied %v", got)
	}
	rows = inserted(rows, mapRow{1, 5, 8})
	if got := applied(rows, 1); !slices.Equal(got, []uint32{5, 8, 6, 7}) {
		t.Errorf("after the insertion %v", got)
	}
	rows = removed(rows, mapRow{1, 0, 5})
	if got := applied(rows, 1); !slices.Equal(got, []uint32{8, 6, 7}) {
		t.Errorf("after the removal %v", got)
	}
	if got := applied(rows, 2); !slices.Equal(got, []uint32{9}) {
		t.Errorf("the other interface has %v", got)
	}
	// A list that an agent broke is no endless loop.
	if got := applied([]mapRow{{1, 0, 5}, {1, 5, 6}, {1, 6, 5}}, 1); len(got) > 3 {
		t.Errorf("loop gave %v", got)
	}
}

func TestPlace(t *testing.T) {
	tuple := specificity(topology.FEC{Src: netip.MustParsePrefix("10.1.0.1/32"), Dst: netip.MustParsePrefix("10.2.0.1/32"), Protocol: 6, SrcPort: 1, DstPort: 2})
	class := specificity(topology.FEC{Dst: netip.MustParsePrefix("10.2.0.0/24"), HasDSCP: true})
	if tuple <= class {
		t.Fatalf("a 5-tuple (%d) is not more specific than a class (%d)", tuple, class)
	}
	own := map[uint32]int{5: tuple, 6: class}
	rows := []mapRow{{1, 0, 5}, {1, 5, 6}, {1, 6, 99}} // 99 is somebody else's
	for _, c := range []struct {
		specific int
		prev     uint32
	}{{tuple, 5}, {tuple + 1, 0}, {class, 6}, {class - 1, 6}} {
		if got := place(rows, 1, own, c.specific); got != c.prev {
			t.Errorf("specificity %d goes behind %d, want %d", c.specific, got, c.prev)
		}
	}
	if got := place(rows, 2, own, class); got != 0 {
		t.Errorf("on an empty interface behind %d", got)
	}
}

func TestRangePrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "addr")
		if rapid.Bool().Draw(t, "v6") {
			b = append(b, rapid.SliceOfN(rapid.Byte(), 12, 12).Draw(t, "more")...)
		}
		a, _ := netip.AddrFromSlice(b)
		p := netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")).Masked()
		hi := lastAddr(p)
		if !p.Contains(hi) || p.Contains(hi.Next()) {
			t.Fatalf("%v ends at %v", p, hi)
		}
		got, ok := rangePrefix(p.Addr(), hi)
		if !ok || got != p {
			t.Fatalf("%v to %v = %v %t, want %v", p.Addr(), hi, got, ok, p)
		}
	})
	for _, c := range [][2]string{{"10.0.0.1", "10.0.0.2"}, {"10.0.0.0", "10.0.0.254"}, {"10.0.0.9", "10.0.0.1"}, {"10.0.0.0", "::1"}} {
		if p, ok := rangePrefix(netip.MustParseAddr(c[0]), netip.MustParseAddr(c[1])); ok {
			t.Errorf("%s to %s is %v, want no prefix", c[0], c[1], p)
		}
	}
	if _, ok := rangePrefix(netip.Addr{}, netip.Addr{}); ok {
		t.Error("no addresses are a prefix")
	}
}

func TestCompareOID(t *testing.T) {
	order := []string{"1.3.6.1.2.1.2", "1.3.6.1.2.1.2.2.1", "1.3.6.1.2.1.10", "1.3.6.1.2.1.10.1.4294967295", "1.3.6.1.2.1.10.2"}
	for i, a := range order {
		for j, b := range order {
			if got := compareOID(a, b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("compareOID(%s, %s) = %d", a, b, got)
			}
		}
	}
}

// Messages keep to the limit: what varbindSize says is never less than what gosnmp
// encodes.
func TestPack(t *testing.T) {
	long := hops("10.1.1.2", "10.1.2.2", "10.1.3.2", "10.1.4.2", "10.1.5.2", "10.1.6.2", "10.1.7.2", "10.1.8.2", "10.1.9.2", "10.1.10.2")
	rows := encodeHops(4294967295, "mpbox/lab/pe1-pe2/1", long)
	rows = append(rows, encodeTunnel(tunnel{id: 50000, instance: 1, ingress: lsrID(pe1), egress: lsrID(pe2), name: "mpbox/lab/pe1-pe2/1", hopList: 4294967295}))
	packed := pack(rows, 1400)
	var flat [][]gosnmp.SnmpPDU
	for i, m := range packed {
		flat = append(flat, m...)
		p := gosnmp.SnmpPacket{Version: gosnmp.Version2c, PDUType: gosnmp.SetRequest, Variables: slices.Concat(m...)}
		b, err := p.MarshalMsg()
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 1400-messageOverhead+64 {
			t.Errorf("message %d has %d octets", i, len(b))
		}
		sum := 0
		for _, v := range p.Variables {
			sum += varbindSize(v)
		}
		if sum < len(b)-64 {
			t.Errorf("message %d: %d octets, thought %d", i, len(b), sum)
		}
	}
	if len(packed) != 3 {
		t.Errorf("%d messages, want 3", len(packed))
	}
	if diff := cmp.Diff(len(rows), len(flat)); diff != "" {
		t.Errorf("rows: %s", diff)
	}
	// Twelve varbinds and more go in one message; a short route needs one SET.
	if got := pack(append(encodeHops(4, "mpbox/lab/pe1-pe2/1", long[:3]), encodeTunnel(tunnel{name: "mpbox/lab/pe1-pe2/1"})), 1400); len(got) != 1 || len(slices.Concat(got[0]...)) < 12 {
		t.Errorf("a route of three hops takes %d messages", len(got))
	}
	if got := pack(rows, 1); len(got) != len(rows) {
		t.Errorf("rows larger than the limit take %d messages, want %d", len(got), len(rows))
	}
}

func TestDescribe(t *testing.T) {
	for oid, want := range map[string]string{
		"1.3.6.1.2.1.10.166.3.2.2.1.36.50000.1.2.3": "mplsTunnelRowStatus.50000.1.2.3",
		"1.3.6.1.2.1.10.166.8.1.5.1.4.7.0.3":        "mplsFTNMapRowStatus.7.0.3",
		"1.3.6.1.4.1.9":                             "1.3.6.1.4.1.9",
	} {
		if got, _ := describe(oid); got != want {
			t.Errorf("describe(%s) = %s, want %s", oid, got, want)
		}
	}
	if got := describeSet(intVar(mapEntry, mapRowStatus, "7.0.3", rowDestroy)); got != "mplsFTNMapRowStatus.7.0.3 = destroy(6)" {
		t.Error(got)
	}
}
