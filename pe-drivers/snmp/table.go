package snmp

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// table is what a walk brought: index ("50000.1.1.2", in OID order) and the
// columns of that row. Values are gosnmp's: int, uint, []byte, string (OID).
type table []row

type row struct {
	index []uint32
	cols  map[int]any
}

// parseIndex reads the part of an OID behind the column.
func parseIndex(s string) ([]uint32, bool) {
	out := make([]uint32, 0, 4)
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return nil, false
		}
		out = append(out, uint32(n))
	}
	return out, true
}

// index writes sub-identifiers as the part of an OID behind the column.
func index(ids ...uint32) string {
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(strconv.FormatUint(uint64(id), 10))
	}
	return b.String()
}

// rowSet collects the cells of a walk by row.
type rowSet struct {
	rows map[string]*row
}

func (s *rowSet) add(idx string, column int, value any) bool {
	r, ok := s.rows[idx]
	if !ok {
		ids, valid := parseIndex(idx)
		if !valid {
			return false
		}
		if s.rows == nil {
			s.rows = make(map[string]*row)
		}
		r = &row{index: ids, cols: make(map[int]any)}
		s.rows[idx] = r
	}
	r.cols[column] = value
	return true
}

// table gives the rows in OID order.
func (s *rowSet) table() table {
	t := make(table, 0, len(s.rows))
	for _, r := range s.rows {
		t = append(t, *r)
	}
	slices.SortFunc(t, func(a, b row) int { return slices.Compare(a.index, b.index) })
	return t
}

// uint32 reads a cell as an unsigned number; 0 where it is missing.
func (r row) uint32(column int) uint32 {
	switch v := r.cols[column].(type) {
	case int:
		return uint32(max(v, 0)) // #nosec G115 -- SNMP integers have 32 bits
	case uint:
		return uint32(v) // #nosec G115 -- SNMP integers have 32 bits
	case uint32:
		return v
	}
	return 0
}

func (r row) int(column int) int { return int(r.uint32(column)) }

func (r row) bytes(column int) []byte {
	b, _ := r.cols[column].([]byte)
	return b
}

// text reads a DisplayString; some agents end it with a NUL.
func (r row) text(column int) string {
	return strings.TrimRight(string(r.bytes(column)), "\x00")
}

// oid reads a RowPointer without its leading dot.
func (r row) oid(column int) string {
	s, _ := r.cols[column].(string)
	return strings.TrimPrefix(s, ".")
}

// addr reads an address of 4 or 16 octets; invalid for anything else.
func (r row) addr(column int) netip.Addr {
	a, _ := netip.AddrFromSlice(r.bytes(column))
	return a
}

// lsrID is a MplsLsrIdentifier as one sub-identifier (RFC 3811).
func lsrID(a netip.Addr) uint32 {
	if !a.Is4() {
		return 0
	}
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func lsrAddr(id uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)})
}

// compareOID orders OIDs as SNMP does: by sub-identifier, not by character.
func compareOID(a, b string) int {
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if x == y {
			continue
		}
		// Longer text is a larger number: OIDs carry no leading zeros.
		if c := cmp.Compare(len(x), len(y)); c != 0 {
			return c
		}
		return cmp.Compare(x, y)
	}
	return cmp.Compare(len(a), len(b))
}
