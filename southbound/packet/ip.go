package packet

const (
	protoHopByHop = 0
	protoTCP      = 6
	protoRouting  = 43
	protoFragment = 44
	protoAH       = 51
	protoDestOpt  = 60
	protoMobility = 135
	protoHIP      = 139
	protoShim6    = 140

	// maxExtensions bounds the extension headers that are walked (RFC 8200 section
	// 4.1 knows seven places for them).
	maxExtensions = 16
)

// ipv4 reads an IPv4 header (RFC 791) and what follows.
func (v *View) ipv4(b []byte) Verdict {
	if len(b) < 20 {
		return Truncated
	}
	hl := int(b[0]&15) * 4
	if b[0]>>4 != 4 || hl < 20 {
		return Malformed
	}
	v.IsTCP = b[9] == protoTCP
	total := int(be16(b[2:]))
	if total == 0 {
		// Segmentation offload: a packet above 64 KiB is captured with length 0.
		total = len(b)
	}
	if total < hl {
		return Malformed
	}
	v.Addrs = b[12:20:20]
	if !v.IsTCP && b[9] != protoAH {
		return Other
	}
	frag := be16(b[6:])
	if frag&0x1fff != 0 {
		return Fragment
	}
	if hl > len(b) {
		return Truncated
	}
	seg := b[hl:]
	if total < len(b) {
		seg = b[hl:total]
	}
	if !v.IsTCP {
		return v.extensions(protoAH, seg, total-hl, frag&0x2000 != 0)
	}
	return tiny(v.tcp(seg, total-hl), frag&0x2000 != 0)
}

// tiny excuses the first fragment of a packet that was cut inside the TCP header
// (RFC 1858): its lengths do not contradict each other.
func tiny(verdict Verdict, fragmented bool) Verdict {
	if fragmented && verdict == Malformed {
		return Fragment
	}
	return verdict
}

// ipv6 reads an IPv6 header and its extension headers (RFC 8200 section 4).
func (v *View) ipv6(b []byte) Verdict {
	if len(b) < 40 {
		return Truncated
	}
	if b[0]>>4 != 6 {
		return Malformed
	}
	v.Addrs = b[8:40:40]
	next := b[6]
	rest := int(be16(b[4:])) // bytes after the fixed header, as announced
	b = b[40:]
	if rest == 0 {
		rest = len(b) // a jumbogram (RFC 2675), or segmentation offload
	}
	if len(b) > rest {
		b = b[:rest]
	}
	return v.extensions(next, b, rest, false)
}

// extensions reads what is under an IP header: the header next and those behind it,
// of IPv4 an Authentication Header (RFC 4302). b is what was captured of rest bytes.
func (v *View) extensions(next uint8, b []byte, rest int, fragmented bool) Verdict {
	for range maxExtensions {
		var n int
		switch next {
		case protoTCP:
			v.IsTCP = true
			return tiny(v.tcp(b, rest), fragmented)
		case protoHopByHop, protoRouting, protoDestOpt, protoMobility, protoHIP, protoShim6:
			if len(b) < 2 {
				return cut(b, rest)
			}
			n = int(b[1])*8 + 8
		case protoAH:
			if len(b) < 2 {
				return cut(b, rest)
			}
			n = int(b[1])*4 + 8
		case protoFragment:
			if len(b) < 8 {
				return cut(b, rest)
			}
			if be16(b[2:])&^7 != 0 {
				v.IsTCP = b[0] == protoTCP
				return Fragment
			}
			fragmented = b[3]&1 != 0
			n = 8
		default:
			return Other
		}
		if n > rest {
			return Malformed
		}
		if n > len(b) {
			return Truncated
		}
		next, b, rest = b[0], b[n:], rest-n
	}
	return Other
}

// cut tells why b is too short: the capture's fault, or the packet's.
func cut(b []byte, announced int) Verdict {
	if len(b) < announced {
		return Truncated
	}
	return Malformed
}

// tcp reads a TCP header (RFC 9293 section 3.1). b is what was captured of a
// segment of n bytes.
func (v *View) tcp(b []byte, n int) Verdict {
	if n < 20 {
		return Malformed
	}
	if len(b) < 20 {
		return Truncated
	}
	hl := int(b[12]>>4) * 4
	if hl < 20 || hl > n {
		return Malformed
	}
	v.SrcPort, v.DstPort = be16(b), be16(b[2:])
	v.Seq, v.Ack = be32(b[4:]), be32(b[8:])
	v.Flags = Flags(b[13])
	v.PayloadLen = uint32(n - hl)
	if hl > len(b) {
		v.OptionsCut = true
		hl = len(b)
	}
	v.Options = b[20:hl:hl]
	return TCP
}
