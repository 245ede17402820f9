package topology

import (
	"net/netip"
	"strconv"
	"strings"
)

// FEC is a forwarding equivalence class as a label edge router classifies it
// (MPLS-FTN-STD-MIB, RFC 3814): the packets that enter by one interface and
// match every field that is set.
type FEC struct {
	// Interface is the PE's interface towards the customer, by the PE's own name.
	Interface string
	// Src and Dst are matched where valid. Both are of one family.
	Src, Dst netip.Prefix
	// Protocol is the IP protocol number; 0 matches any.
	Protocol uint8
	// SrcPort and DstPort are matched where not 0.
	SrcPort, DstPort uint16
	// DSCP is matched when HasDSCP; 0 to 63.
	DSCP    uint8
	HasDSCP bool
}

func (f FEC) String() string {
	var b strings.Builder
	b.WriteString(f.Interface)
	add := func(k, v string) { b.WriteString(" " + k + "=" + v) }
	if f.Src.IsValid() {
		add("src", f.Src.String())
	}
	if f.Dst.IsValid() {
		add("dst", f.Dst.String())
	}
	if f.Protocol != 0 {
		add("proto", strconv.Itoa(int(f.Protocol)))
	}
	if f.SrcPort != 0 {
		add("sport", strconv.Itoa(int(f.SrcPort)))
	}
	if f.DstPort != 0 {
		add("dport", strconv.Itoa(int(f.DstPort)))
	}
	if f.HasDSCP {
		add("dscp", strconv.Itoa(int(f.DSCP)))
	}
	return b.String()
}

// FTN is an entry of a LER's FEC-to-NHLFE table: this class goes onto this LSP.
type FTN struct {
	// Name identifies the entry on its PE; "mpbox/<instance>/…" is owned.
	Name string
	FEC  FEC
	// LSP is the name of the LSP whose NHLFE the class is mapped to.
	LSP string
}
