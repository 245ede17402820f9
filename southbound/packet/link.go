package packet

// Ethertypes and the like that are understood.
const (
	typeIPv4      = 0x0800
	typeIPv6      = 0x86dd
	typeVLAN      = 0x8100 // IEEE 802.1Q
	typeQinQ      = 0x88a8 // IEEE 802.1ad
	typeQinQOld1  = 0x9100
	typeQinQOld2  = 0x9200
	typeMPLS      = 0x8847 // RFC 5332
	typeMPLSMulti = 0x8848
	typePPPoE     = 0x8864 // RFC 2516

	pppIPv4      = 0x0021 // RFC 1332
	pppIPv6      = 0x0057 // RFC 5072
	pppMPLS      = 0x0281 // RFC 3032 section 4.3
	pppMPLSMulti = 0x0283

	// maxTags and maxLabels bound the work on one frame; real stacks are shorter.
	maxTags   = 8
	maxLabels = 32
)

// Parse reads an Ethernet frame.
func (v *View) Parse(frame []byte) Verdict {
	*v = View{}
	return v.ethernet(frame)
}

func (v *View) ethernet(b []byte) Verdict {
	if len(b) < 14 {
		return Truncated
	}
	// The plain cases first: they are nearly all of the traffic.
	switch t := be16(b[12:]); t {
	case typeIPv4:
		return v.ipv4(b[14:])
	case typeIPv6:
		return v.ipv6(b[14:])
	default:
		return v.payload(t, b[14:])
	}
}

// payload reads what an ethertype announces.
func (v *View) payload(t uint16, b []byte) Verdict {
	for range maxTags {
		switch t {
		case typeIPv4:
			return v.ipv4(b)
		case typeIPv6:
			return v.ipv6(b)
		case typeVLAN, typeQinQ, typeQinQOld1, typeQinQOld2:
			if len(b) < 4 {
				return Truncated
			}
			if int(v.VLANs) < len(v.VLAN) {
				v.VLAN[v.VLANs] = be16(b) & 0xfff
				v.VLANs++
			}
			t, b = be16(b[2:]), b[4:]
		case typeMPLS, typeMPLSMulti:
			return v.mpls(b)
		case typePPPoE:
			// Version and type 0x11, code 0 (data), session, length.
			if len(b) < 6 {
				return Truncated
			}
			if b[0] != 0x11 || b[1] != 0 {
				return Other
			}
			return v.ppp(b[6:])
		default:
			// A length instead of a type: IEEE 802.2 with SNAP (RFC 1042).
			if t < 0x600 && len(b) >= 8 && b[0] == 0xaa && b[1] == 0xaa && b[2] == 3 && b[3]|b[4]|b[5] == 0 {
				t, b = be16(b[6:]), b[8:]
				continue
			}
			return Other
		}
	}
	return Other
}

// mpls skips a label stack (RFC 3032 section 2.1) and reads what is under it. The
// stack does not tell what that is: as routers do for load sharing, the first
// nibble decides (RFC 4928).
func (v *View) mpls(b []byte) Verdict {
	for {
		if len(b) < 4 {
			return Truncated
		}
		if v.Labels == maxLabels {
			return Other
		}
		v.Labels++
		bottom := b[2]&1 != 0
		b = b[4:]
		if bottom {
			break
		}
	}
	if len(b) == 0 {
		return Truncated
	}
	switch b[0] >> 4 {
	case 4:
		return v.ipv4(b)
	case 6:
		return v.ipv6(b)
	case 0:
		// A pseudowire's control word (RFC 4385), then an Ethernet frame.
		if len(b) < 4+14 {
			return Other
		}
		switch t := be16(b[4+12:]); t {
		case typeIPv4, typeIPv6, typeVLAN, typeQinQ:
			return v.payload(t, b[4+14:])
		}
	}
	return Other
}

// ppp reads a PPP frame, with or without address and control field, its protocol
// number of one byte or two (RFC 1661 sections 2 and 6.5, RFC 1662).
func (v *View) ppp(b []byte) Verdict {
	if len(b) >= 2 && b[0] == 0xff && b[1] == 3 {
		b = b[2:]
	}
	if len(b) < 2 {
		return Truncated
	}
	var proto uint16
	if b[0]&1 != 0 {
		proto, b = uint16(b[0]), b[1:]
	} else {
		proto, b = be16(b), b[2:]
	}
	switch proto {
	case pppIPv4:
		return v.ipv4(b)
	case pppIPv6:
		return v.ipv6(b)
	case pppMPLS, pppMPLSMulti:
		return v.mpls(b)
	}
	return Other
}

// Link is a link layer type as capture files number them
// (https://www.tcpdump.org/linktypes.html).
type Link uint16

// The link types that are understood.
const (
	LinkNull     Link = 0   // BSD loopback
	LinkEthernet Link = 1   //
	LinkPPP      Link = 9   //
	LinkRawBSD   Link = 12  // raw IP as some systems number it
	LinkRawOBSD  Link = 14  //
	LinkPPPHDLC  Link = 50  //
	LinkPPPoE    Link = 51  // PPPoE session without Ethernet header
	LinkRaw      Link = 101 // raw IP
	LinkLoop     Link = 108 // OpenBSD loopback
	LinkSLL      Link = 113 // Linux cooked
	LinkPPPDir   Link = 204 // PPP behind a byte that tells the direction
	LinkIPv4     Link = 228 //
	LinkIPv6     Link = 229 //
	LinkSLL2     Link = 276 // Linux cooked, version 2
)

// Known tells whether ParseLink understands the link type.
func (l Link) Known() bool {
	switch l {
	case LinkNull, LinkEthernet, LinkPPP, LinkRawBSD, LinkRawOBSD, LinkPPPHDLC, LinkPPPoE, LinkRaw,
		LinkLoop, LinkSLL, LinkPPPDir, LinkIPv4, LinkIPv6, LinkSLL2:
		return true
	}
	return false
}

// ParseLink reads a frame of a link type; one that is not Known is Other.
func (v *View) ParseLink(l Link, b []byte) Verdict {
	*v = View{}
	switch l {
	case LinkEthernet:
		return v.ethernet(b)
	case LinkSLL:
		// type, ARPHRD, address length, address, protocol: 16 bytes.
		if len(b) < 16 {
			return Truncated
		}
		return v.cooked(be16(b[2:]), be16(b[14:]), b[16:])
	case LinkSLL2:
		// protocol, reserved, interface, ARPHRD, type, address length, address: 20 bytes.
		if len(b) < 20 {
			return Truncated
		}
		return v.cooked(be16(b[8:]), be16(b), b[20:])
	case LinkRaw, LinkRawBSD, LinkRawOBSD, LinkIPv4, LinkIPv6:
		return v.rawIP(b)
	case LinkPPP, LinkPPPHDLC:
		return v.ppp(b)
	case LinkPPPDir:
		if len(b) == 0 {
			return Truncated
		}
		return v.ppp(b[1:])
	case LinkPPPoE:
		return v.payload(typePPPoE, b)
	case LinkNull, LinkLoop:
		if len(b) < 4 {
			return Truncated
		}
		return v.rawIP(b[4:])
	}
	return Other
}

// cooked reads what is under a Linux cooked header. The protocol is no ethertype
// for some devices: there it may be 0 or a number of another space.
func (v *View) cooked(arphrd, proto uint16, b []byte) Verdict {
	const (
		arphrdPPP  = 512
		arphrdNone = 0xfffe
	)
	if proto < 0x600 && (arphrd == arphrdPPP || arphrd == arphrdNone) {
		return v.rawIP(b)
	}
	return v.payload(proto, b)
}

func (v *View) rawIP(b []byte) Verdict {
	if len(b) == 0 {
		return Truncated
	}
	switch b[0] >> 4 {
	case 4:
		return v.ipv4(b)
	case 6:
		return v.ipv6(b)
	}
	return Other
}
