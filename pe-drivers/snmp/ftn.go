package snmp

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/gosnmp/gosnmp"

	"mpbox/topology"
)

// ftnRow is a row of mplsFTNTable (RFC 3814, section 7).
type ftnRow struct {
	id        uint32
	name      string
	fec       topology.FEC // Interface is not part of the row
	pointer   string
	rowStatus int
	// foreign says what of the row a topology.FEC cannot hold (ranges, actions).
	foreign string
}

var ftnColumns = []int{
	ftnRowStatus, ftnDescr, ftnMask, ftnAddrType, ftnSrcMin, ftnSrcMax, ftnDstMin, ftnDstMax,
	ftnSrcPortMin, ftnSrcPortMax, ftnDstPortMin, ftnDstPortMax, ftnProtocol, ftnDSCP, ftnActionType, ftnPointer,
}

func decodeFTNs(t table) []ftnRow {
	out := make([]ftnRow, 0, len(t))
	for _, r := range t {
		if len(r.index) != 1 {
			continue
		}
		f := ftnRow{id: r.index[0], name: r.text(ftnDescr), rowStatus: r.int(ftnRowStatus)}
		if r.int(ftnActionType) == redirectTunnel {
			f.pointer = r.oid(ftnPointer)
		}
		f.fec, f.foreign = decodeFEC(r)
		out = append(out, f)
	}
	return out
}

// decodeFEC reads what mplsFTNMask says is matched. A range that is no prefix, or
// more than one port, is left out of the FEC and told in words.
func decodeFEC(r row) (fec topology.FEC, foreign string) {
	mask := byte(0)
	if b := r.bytes(ftnMask); len(b) > 0 {
		mask = b[0]
	}
	prefix := func(bit byte, lo, hi int) netip.Prefix {
		if mask&bit == 0 {
			return netip.Prefix{}
		}
		p, ok := rangePrefix(r.addr(lo), r.addr(hi))
		if !ok {
			foreign = "address range that is no prefix"
		}
		return p
	}
	port := func(bit byte, lo, hi int) uint16 {
		if mask&bit == 0 {
			return 0
		}
		if r.uint32(lo) != r.uint32(hi) {
			foreign = "port range"
			return 0
		}
		return uint16(r.uint32(lo)) // #nosec G115 -- InetPortNumber has 16 bits
	}
	fec.Src = prefix(maskSrcAddr, ftnSrcMin, ftnSrcMax)
	fec.Dst = prefix(maskDstAddr, ftnDstMin, ftnDstMax)
	fec.SrcPort = port(maskSrcPort, ftnSrcPortMin, ftnSrcPortMax)
	fec.DstPort = port(maskDstPort, ftnDstPortMin, ftnDstPortMax)
	if mask&maskProtocol != 0 {
		fec.Protocol = uint8(r.uint32(ftnProtocol)) // #nosec G115 -- 0 to 255
	}
	if mask&maskDSCP != 0 {
		fec.DSCP, fec.HasDSCP = uint8(r.uint32(ftnDSCP)&63), true // #nosec G115 -- 6 bits
	}
	return fec, foreign
}

// rangePrefix gives the prefix that covers exactly the addresses from lo to hi.
func rangePrefix(lo, hi netip.Addr) (netip.Prefix, bool) {
	if !lo.IsValid() || lo.BitLen() != hi.BitLen() {
		return netip.Prefix{}, false
	}
	a, b := lo.AsSlice(), hi.AsSlice()
	bits := 0
	for bits < lo.BitLen() && bit(a, bits) == bit(b, bits) {
		bits++
	}
	p := netip.PrefixFrom(lo, bits)
	if p.Masked().Addr() != lo || lastAddr(p) != hi {
		return netip.Prefix{}, false
	}
	return p, true
}

func bit(b []byte, i int) byte { return b[i/8] >> (7 - i%8) & 1 }

// lastAddr is the highest address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// encodeFTN gives the row of a class. Fields that the mask does not name keep
// their defaults.
func encodeFTN(id uint32, name string, fec topology.FEC, pointer string) []gosnmp.SnmpPDU {
	idx := index(id)
	var mask byte
	var fields []gosnmp.SnmpPDU
	kind := addrIPv4
	prefix := func(bit byte, lo, hi int, p netip.Prefix) {
		if !p.IsValid() {
			return
		}
		if p.Addr().Is6() {
			kind = addrIPv6
		}
		mask |= bit
		fields = append(fields,
			octetVar(ftnEntry, lo, idx, p.Masked().Addr().AsSlice()...),
			octetVar(ftnEntry, hi, idx, lastAddr(p).AsSlice()...))
	}
	port := func(bit byte, lo, hi int, p uint16) {
		if p != 0 {
			mask |= bit
			fields = append(fields, uintVar(ftnEntry, lo, idx, uint32(p)), uintVar(ftnEntry, hi, idx, uint32(p)))
		}
	}
	prefix(maskSrcAddr, ftnSrcMin, ftnSrcMax, fec.Src)
	prefix(maskDstAddr, ftnDstMin, ftnDstMax, fec.Dst)
	port(maskSrcPort, ftnSrcPortMin, ftnSrcPortMax, fec.SrcPort)
	port(maskDstPort, ftnDstPortMin, ftnDstPortMax, fec.DstPort)
	if fec.Protocol != 0 {
		mask |= maskProtocol
		fields = append(fields, intVar(ftnEntry, ftnProtocol, idx, int(fec.Protocol)))
	}
	if fec.HasDSCP {
		mask |= maskDSCP
		fields = append(fields, intVar(ftnEntry, ftnDSCP, idx, int(fec.DSCP)))
	}
	head := []gosnmp.SnmpPDU{
		textVar(ftnEntry, ftnDescr, idx, name),
		octetVar(ftnEntry, ftnMask, idx, mask),
		intVar(ftnEntry, ftnAddrType, idx, kind),
	}
	return slices.Concat(head, fields, []gosnmp.SnmpPDU{
		intVar(ftnEntry, ftnActionType, idx, redirectTunnel),
		pointerVar(ftnEntry, ftnPointer, idx, pointer),
		intVar(ftnEntry, ftnRowStatus, idx, rowCreateAndGo),
	})
}

// normalFEC is the FEC as a row would give it back, without the interface.
func normalFEC(f topology.FEC) topology.FEC {
	f.Interface = ""
	f.Src, f.Dst = f.Src.Masked(), f.Dst.Masked()
	if !f.HasDSCP {
		f.DSCP = 0
	}
	return f
}

// checkFEC says why a class cannot be written as a row.
func checkFEC(f topology.FEC) error {
	switch {
	case f.Interface == "":
		return fmt.Errorf("the class names no interface")
	case f.Src.IsValid() && f.Dst.IsValid() && f.Src.Addr().Is4() != f.Dst.Addr().Is4():
		return fmt.Errorf("source and destination are of different families")
	case f.DSCP > 63:
		return fmt.Errorf("DSCP %d is above 63", f.DSCP)
	}
	return nil
}

// specificity orders rules of one list: RFC 3814 compares a packet with them in
// the order in which they are applied, so the more specific must come first.
func specificity(f topology.FEC) int {
	n := 0
	for _, p := range []netip.Prefix{f.Src, f.Dst} {
		if p.IsValid() {
			n += p.Bits() + 1
		}
	}
	for _, set := range []bool{f.SrcPort != 0, f.DstPort != 0, f.Protocol != 0, f.HasDSCP} {
		if set {
			n++
		}
	}
	return n
}

// mapRow is a row of mplsFTNMapTable: FTN curr is applied to an interface right
// behind FTN prev (0: at the head of the list).
type mapRow struct {
	ifIndex, prev, curr uint32
}

func decodeMap(t table) []mapRow {
	out := make([]mapRow, 0, len(t))
	for _, r := range t {
		if len(r.index) == 3 {
			out = append(out, mapRow{ifIndex: r.index[0], prev: r.index[1], curr: r.index[2]})
		}
	}
	return out
}

func (m mapRow) index() string { return index(m.ifIndex, m.prev, m.curr) }

// applied gives the FTNs of an interface in the order in which packets are
// compared with them.
func applied(rows []mapRow, ifIndex uint32) []uint32 {
	next := make(map[uint32]uint32)
	for _, r := range rows {
		if r.ifIndex == ifIndex {
			next[r.prev] = r.curr
		}
	}
	var out []uint32
	for at, ok := next[0]; ok && len(out) < len(next); at, ok = next[at] {
		out = append(out, at)
	}
	return out
}

// inserted and removed give the rows as they are after the agent adjusted the
// neighbours (RFC 3814, mplsFTNMapTable: the previous index "is self-adjusting").
func inserted(rows []mapRow, n mapRow) []mapRow {
	rows = slices.Clone(rows)
	for i, r := range rows {
		if r.ifIndex == n.ifIndex && r.prev == n.prev {
			rows[i].prev = n.curr
		}
	}
	return append(rows, n)
}

func removed(rows []mapRow, gone mapRow) []mapRow {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r mapRow) bool { return r == gone })
	for i, r := range rows {
		if r.ifIndex == gone.ifIndex && r.prev == gone.curr {
			rows[i].prev = gone.prev
		}
	}
	return rows
}

// place finds where in an interface's list a class goes: behind our own rules that
// are at least as specific, before all others. What it overtakes stays in effect
// for every packet that the class does not match.
func place(rows []mapRow, ifIndex uint32, own map[uint32]int, specific int) (prev uint32) {
	for _, id := range applied(rows, ifIndex) {
		if s, ok := own[id]; !ok || s < specific {
			break
		}
		prev = id
	}
	return prev
}
