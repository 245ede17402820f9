package agentx

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MaxSubIDs is the length limit of an object identifier (RFC 2741, section 5.1).
const MaxSubIDs = 128

// OID is an object identifier.
type OID []uint32

// ParseOID reads the dotted form, with or without a leading dot.
func ParseOID(s string) (OID, error) {
	s = strings.TrimPrefix(s, ".")
	if s == "" {
		return nil, nil
	}
	parts := strings.Split(s, ".")
	if len(parts) > MaxSubIDs {
		return nil, fmt.Errorf("object identifier has %d sub-identifiers: at most %d", len(parts), MaxSubIDs)
	}
	oid := make(OID, len(parts))
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("object identifier %q: %w", s, err)
		}
		oid[i] = uint32(n)
	}
	return oid, nil
}

// MustOID is ParseOID for constants; it panics on a bad one.
func MustOID(s string) OID {
	oid, err := ParseOID(s)
	if err != nil {
		panic(err)
	}
	return oid
}

func (o OID) String() string {
	var b strings.Builder
	for i, n := range o {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(strconv.FormatUint(uint64(n), 10))
	}
	return b.String()
}

// Compare orders identifiers lexicographically, as GetNext walks them.
func (o OID) Compare(p OID) int { return slices.Compare(o, p) }

// HasPrefix tells whether o lies in the subtree p.
func (o OID) HasPrefix(p OID) bool {
	return len(o) >= len(p) && slices.Equal(o[:len(p)], p)
}

// Append returns a new identifier with sub-identifiers added.
func (o OID) Append(sub ...uint32) OID {
	return append(slices.Clip(slices.Clone(o)), sub...)
}
