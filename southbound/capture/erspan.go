package capture

import "encoding/binary"

// Mirrored is a frame that a remote mirror sent in ERSPAN.
type Mirrored struct {
	// Frame is the mirrored Ethernet frame. It aliases the outer one.
	Frame []byte
	// Session is the mirror session's number (0 to 1023), VLAN the original tag that
	// the mirror may have removed (0: none).
	Session, VLAN uint16
	// Egress tells that the mirrored port sent the frame, as far as the header says
	// so: type III only.
	Egress bool
	// Type 1 (no header), 2 or 3.
	Type uint8
	// Truncated by the mirror.
	Truncated bool
}

const (
	greERSPAN2 = 0x88be // types I and II
	greERSPAN3 = 0x22eb
)

// Decapsulate finds the mirrored frame in an Ethernet frame with ERSPAN
// (draft-foschiano-erspan-03): IPv4 or IPv6, GRE (RFC 2784, RFC 2890), an ERSPAN
// header of type II or III, or none (type I). It reports false for all else.
func Decapsulate(frame []byte) (Mirrored, bool) {
	b := frame
	if len(b) < 14 {
		return Mirrored{}, false
	}
	t := binary.BigEndian.Uint16(b[12:])
	b = b[14:]
	if t == 0x8100 && len(b) >= 4 {
		t, b = binary.BigEndian.Uint16(b[2:]), b[4:]
	}
	switch t {
	case 0x0800:
		if len(b) < 20 || b[0]>>4 != 4 || b[9] != 47 || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return Mirrored{}, false
		}
		hl := int(b[0]&15) * 4
		total := int(binary.BigEndian.Uint16(b[2:]))
		if hl < 20 || total < hl || len(b) < hl {
			return Mirrored{}, false
		}
		b = b[hl:min(total, len(b))]
	case 0x86dd:
		if len(b) < 40 || b[0]>>4 != 6 || b[6] != 47 {
			return Mirrored{}, false
		}
		n := int(binary.BigEndian.Uint16(b[4:]))
		b = b[40:min(40+n, len(b))]
	default:
		return Mirrored{}, false
	}
	return gre(b)
}

func gre(b []byte) (Mirrored, bool) {
	const checksum, routing, key, sequence = 0x80, 0x40, 0x20, 0x10
	if len(b) < 4 || b[0]&routing != 0 || b[1]&7 != 0 {
		return Mirrored{}, false
	}
	flags, proto := b[0], binary.BigEndian.Uint16(b[2:])
	n := 4
	for _, f := range []byte{checksum, key, sequence} {
		if flags&f != 0 {
			n += 4
		}
	}
	if len(b) < n {
		return Mirrored{}, false
	}
	b = b[n:]
	switch {
	case proto == greERSPAN2 && flags&sequence == 0:
		return Mirrored{Frame: b, Type: 1}, len(b) >= 14
	case proto == greERSPAN2:
		return header(b, 2, 8)
	case proto == greERSPAN3:
		return header(b, 3, 12)
	}
	return Mirrored{}, false
}

// header reads an ERSPAN header: version (4 bits), VLAN (12), COS (3), two bits,
// truncated (1), session (10); in type III also flags, the last of which, O, says
// that a platform header of eight bytes follows, and D the direction.
func header(b []byte, kind uint8, n int) (Mirrored, bool) {
	if len(b) < n || b[0]>>4 != kind-1 {
		return Mirrored{}, false
	}
	w := binary.BigEndian.Uint16(b[2:])
	m := Mirrored{
		VLAN: binary.BigEndian.Uint16(b) & 0xfff, Session: w & 0x3ff, Truncated: w&0x400 != 0, Type: kind,
	}
	if kind == 3 {
		m.Egress = b[11]&8 != 0
		if b[11]&1 != 0 {
			n += 8
		}
	}
	if len(b) < n+14 {
		return Mirrored{}, false
	}
	m.Frame = b[n:]
	return m, true
}
