package packet

import (
	"encoding/binary"
	"net/netip"
)

// Verdict is what became of a frame.
type Verdict uint8

// The verdicts. Only with TCP is the whole View set.
const (
	// TCP: a TCP header was found.
	TCP Verdict = iota
	// Other: neither IPv4 nor IPv6, or another protocol than TCP, or TCP that
	// cannot be seen (ESP).
	Other
	// Fragment: a piece of an IP packet without its TCP header.
	Fragment
	// Truncated: the capture ends before the TCP header does; the packet itself
	// may be sound.
	Truncated
	// Malformed: lengths contradict each other. When IsTCP is set, the packet said
	// that it carries TCP.
	Malformed
)

func (v Verdict) String() string {
	switch v {
	case TCP:
		return "tcp"
	case Other:
		return "other"
	case Fragment:
		return "fragment"
	case Truncated:
		return "truncated"
	default:
		return "malformed"
	}
}

// Flags are the TCP flags (RFC 9293 section 3.1).
type Flags uint8

// The flags that matter here.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// Has tells whether all of f are set.
func (v Flags) Has(f Flags) bool { return v&f == f }

// View is what the headers of one frame say. Slices alias the frame: a View is
// good as long as the frame's buffer is.
type View struct {
	// Addrs holds source and destination address, one after the other: 8 bytes for
	// IPv4, 32 for IPv6.
	Addrs []byte
	// Options are the TCP options, as far as they were captured.
	Options []byte
	// Seq and Ack are the TCP sequence and acknowledgment numbers.
	Seq, Ack uint32
	// SrcPort and DstPort are the TCP ports.
	SrcPort, DstPort uint16
	// PayloadLen is the number of TCP payload bytes that the IP header announces.
	PayloadLen uint32
	// VLAN holds the tags' VLAN identifiers, outermost first, as many as VLANs says
	// (deeper tags are skipped).
	VLAN  [2]uint16
	VLANs uint8
	// Labels is the number of MPLS labels that were skipped.
	Labels uint8
	// Flags are the TCP flags.
	Flags Flags
	// IsTCP tells that the IP header announces TCP, whatever the verdict.
	IsTCP bool
	// OptionsCut tells that the capture ends inside the options.
	OptionsCut bool
}

// IPv6 tells the address family.
func (v *View) IPv6() bool { return len(v.Addrs) == 32 }

// Src gives the source address and port.
func (v *View) Src() netip.AddrPort { return v.addrPort(0, v.SrcPort) }

// Dst gives the destination address and port.
func (v *View) Dst() netip.AddrPort { return v.addrPort(1, v.DstPort) }

func (v *View) addrPort(i int, port uint16) netip.AddrPort {
	switch len(v.Addrs) {
	case 8:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(v.Addrs[4*i:4*i+4])), port)
	case 32:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(v.Addrs[16*i:16*i+16])), port)
	}
	return netip.AddrPort{}
}

// be16 and be32 read in network order; the caller has checked the length.
func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
