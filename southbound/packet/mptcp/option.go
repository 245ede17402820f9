package mptcp

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Kind is the TCP option kind of all MPTCP options (RFC 8684 section 8.1).
const Kind = 30

// Subtype of an MPTCP option (RFC 8684 section 8.2).
type Subtype uint8

// The subtypes.
const (
	Capable      Subtype = 0
	Join         Subtype = 1
	DSS          Subtype = 2
	AddAddr      Subtype = 3
	RemoveAddr   Subtype = 4
	Prio         Subtype = 5
	Fail         Subtype = 6
	FastClose    Subtype = 7
	TCPRst       Subtype = 8 // version 1 only
	Experimental Subtype = 15
)

var subtypeNames = [16]string{"MP_CAPABLE", "MP_JOIN", "DSS", "ADD_ADDR", "REMOVE_ADDR", "MP_PRIO", "MP_FAIL",
	"MP_FASTCLOSE", "MP_TCPRST", "9", "10", "11", "12", "13", "14", "MP_EXPERIMENTAL"}

func (s Subtype) String() string { return subtypeNames[s&15] }

// Segment is the kind of TCP segment that an option came with: the lengths of
// MP_CAPABLE and MP_JOIN depend on it.
type Segment uint8

// The kinds of segments.
const (
	SYN    Segment = iota // SYN without ACK
	SYNACK                // SYN with ACK
	ACK                   // anything else
)

// Errors of Decode and Next.
var (
	// ErrList: the TCP option list itself is broken (RFC 9293 section 3.1): an
	// option's length is below 2 or runs over the end of the header.
	ErrList = errors.New("broken TCP option list")
	// ErrLength: the option has a length that its subtype does not allow.
	ErrLength = errors.New("wrong length of MPTCP option")
	// ErrVersion: an MP_CAPABLE of a version that is not known; its layout cannot be
	// judged.
	ErrVersion = errors.New("unknown MPTCP version")
	// ErrSubtype: a subtype that is not assigned or has no defined layout.
	ErrSubtype = errors.New("unknown MPTCP subtype")
	// ErrIgnored: a sound MP_CAPABLE that a receiver must ignore (RFC 8684 section
	// 3.1): flag B is set, or no cryptographic algorithm is named.
	ErrIgnored = errors.New("MP_CAPABLE to be ignored")
)

// Flags of MP_CAPABLE.
const (
	FlagChecksum  = 0x80 // A
	FlagExtension = 0x40 // B
	FlagNoAddress = 0x20 // C: version 1 only; the initial address takes no joins
)

// Option is a decoded MPTCP option. Which fields are set depends on Subtype and
// on what is present; the others are zero. Slices alias the input.
type Option struct {
	Subtype Subtype
	// Version of an MP_CAPABLE; of the other options only where their layout tells
	// it (ADD_ADDR, MP_PRIO of four bytes, MP_TCPRST), see HasVersion.
	Version    uint8
	HasVersion bool
	// Flags: the flags byte of MP_CAPABLE; the four bits after the subtype of
	// MP_JOIN, ADD_ADDR and MP_PRIO; the flags byte of DSS.
	Flags uint8
	// Backup is flag B of MP_JOIN (SYN and SYN/ACK) and of MP_PRIO.
	Backup bool
	// AddrID is the address id of MP_JOIN (SYN and SYN/ACK), ADD_ADDR, and of a
	// version 0 MP_PRIO where HasAddrID.
	AddrID    uint8
	HasAddrID bool

	// HasKey: MP_CAPABLE carries the sender's key; HasPeerKey: and the receiver's.
	HasKey, HasPeerKey bool
	// Key is the sender's key (MP_CAPABLE), or the receiver's (MP_FASTCLOSE).
	Key uint64
	// PeerKey is the receiver's key.
	PeerKey uint64
	// HasData: MP_CAPABLE of a segment with data: its data-level length, and
	// perhaps its checksum, follow the keys.
	HasData bool

	// Token and Nonce of a joining SYN; Nonce of a joining SYN/ACK.
	Token, Nonce uint32
	// MAC is the HMAC: 8 bytes in a joining SYN/ACK and in an ADD_ADDR of version
	// 1, 20 in a joining ACK.
	MAC []byte

	// Addr, Port and Echo of ADD_ADDR. Port is 0 where none is given.
	Addr netip.Addr
	Port uint16
	Echo bool
	// IDs are the address ids of REMOVE_ADDR.
	IDs []byte

	// The fields of DSS (RFC 8684 section 3.3).
	DataAck            uint64
	DSN                uint64 // also of MP_FAIL
	SubflowSeq         uint32
	DataLen            uint16 // also of MP_CAPABLE with data
	Checksum           uint16
	HasDataAck, HasMap bool
	HasChecksum        bool
	DataFIN, LongAck   bool
	LongDSN            bool
	Reason             uint8 // MP_TCPRST (RFC 8684 section 3.6)
	Transient          bool
}

// Next finds the first MPTCP option of a TCP option list. It gives the option,
// from its kind byte on, and the list that follows; nil when there is none. On
// ErrList the list is unusable from that point on.
func Next(list []byte) (opt, rest []byte, err error) {
	for len(list) > 0 {
		switch list[0] {
		case 0: // end of the list
			return nil, nil, nil
		case 1: // padding
			list = list[1:]
			continue
		}
		if len(list) < 2 {
			return nil, nil, ErrList
		}
		n := int(list[1])
		if n < 2 || n > len(list) {
			return nil, nil, ErrList
		}
		if list[0] == Kind {
			return list[:n:n], list[n:], nil
		}
		list = list[n:]
	}
	return nil, nil, nil
}

// Decode reads one option, from its kind byte on, as Next gives it, that came
// with a segment of the given kind. On an error only Subtype (and for ErrIgnored
// and ErrVersion the version and flags) is to be relied on.
func (o *Option) Decode(b []byte, seg Segment) error {
	*o = Option{}
	if len(b) < 3 || int(b[1]) != len(b) {
		return ErrLength
	}
	o.Subtype = Subtype(b[2] >> 4)
	switch o.Subtype {
	case Capable:
		return o.capable(b, seg)
	case Join:
		return o.join(b, seg)
	case DSS:
		return o.dss(b)
	case AddAddr:
		return o.addAddr(b)
	case RemoveAddr:
		return o.removeAddr(b)
	case Prio:
		return o.prio(b)
	case Fail:
		// RFC 8684 section 3.7: four reserved bits and flags, the failed DSN.
		if len(b) != 12 {
			return ErrLength
		}
		o.DSN = be64(b[4:])
		return nil
	case FastClose:
		// RFC 8684 section 3.5: the receiver's key.
		if len(b) != 12 {
			return ErrLength
		}
		o.Key = be64(b[4:])
		return nil
	case TCPRst:
		// RFC 8684 section 3.6.
		if len(b) != 4 {
			return ErrLength
		}
		o.Version, o.HasVersion = 1, true
		o.Flags = b[2] & 15
		o.Transient, o.Reason = b[2]&1 != 0, b[3]
		return nil
	}
	return ErrSubtype
}

// capable reads MP_CAPABLE (RFC 8684 section 3.1; RFC 6824 section 3.1). Version 0
// has the sender's key in SYN and SYN/ACK, both in the ACK; version 1 has none in
// the SYN, and in the first data segment what a DSS mapping would hold.
func (o *Option) capable(b []byte, seg Segment) error {
	if len(b) < 4 {
		return ErrLength
	}
	o.Version, o.HasVersion, o.Flags = b[2]&15, true, b[3]
	if o.Version > 1 {
		return ErrVersion
	}
	switch {
	case seg == SYN && o.Version == 1:
		if len(b) != 4 {
			return ErrLength
		}
	case seg == SYN, seg == SYNACK:
		if len(b) != 12 {
			return ErrLength
		}
		o.HasKey, o.Key = true, be64(b[4:])
	default:
		n := len(b)
		if n != 20 && (o.Version == 0 || n != 22 && n != 24) {
			return ErrLength
		}
		o.HasKey, o.HasPeerKey = true, true
		o.Key, o.PeerKey = be64(b[4:]), be64(b[12:])
		if n >= 22 {
			o.HasData, o.DataLen = true, be16(b[20:])
		}
		if n == 24 {
			o.HasChecksum, o.Checksum = true, be16(b[22:])
		}
	}
	// C is one of version 0's algorithm bits, and a flag of its own in version 1.
	algorithms := uint8(0x1f)
	if o.Version == 0 {
		algorithms = 0x3f
	}
	if o.Flags&FlagExtension != 0 || o.Flags&algorithms == 0 {
		return ErrIgnored
	}
	return nil
}

// join reads MP_JOIN (RFC 8684 section 3.2; the same in RFC 6824).
func (o *Option) join(b []byte, seg Segment) error {
	switch seg {
	case SYN:
		if len(b) != 12 {
			return ErrLength
		}
		o.Token, o.Nonce = be32(b[4:]), be32(b[8:])
	case SYNACK:
		if len(b) != 16 {
			return ErrLength
		}
		o.MAC, o.Nonce = b[4:12:12], be32(b[12:])
	default:
		if len(b) != 24 {
			return ErrLength
		}
		o.MAC = b[4:24:24]
		return nil
	}
	o.Flags = b[2] & 15
	o.Backup = b[2]&1 != 0
	o.AddrID, o.HasAddrID = b[3], true
	return nil
}

// dss reads a data sequence signal (RFC 8684 section 3.3; the same in RFC 6824).
func (o *Option) dss(b []byte) error {
	const (
		flagFin, flagLongDSN, flagMap, flagLongAck, flagAck = 0x10, 0x08, 0x04, 0x02, 0x01
	)
	if len(b) < 4 {
		return ErrLength
	}
	f := b[3]
	o.Flags = f
	o.DataFIN = f&flagFin != 0
	want := 4
	ack, dsn := 0, 0
	if f&flagAck != 0 {
		o.HasDataAck, ack = true, 4
		if f&flagLongAck != 0 {
			o.LongAck, ack = true, 8
		}
	}
	if f&flagMap != 0 {
		o.HasMap, dsn = true, 4
		if f&flagLongDSN != 0 {
			o.LongDSN, dsn = true, 8
		}
		want += 6
	}
	want += ack + dsn
	o.HasChecksum = o.HasMap && len(b) == want+2
	if len(b) != want && !o.HasChecksum {
		return ErrLength
	}
	p := b[4:]
	o.DataAck, p = number(p, ack)
	if o.HasMap {
		o.DSN, p = number(p, dsn)
		o.SubflowSeq, o.DataLen = be32(p), be16(p[4:])
		if o.HasChecksum {
			o.Checksum = be16(p[6:])
		}
	}
	return nil
}

// number reads a number of n bytes (0, 4 or 8) whose presence was checked.
func number(b []byte, n int) (uint64, []byte) {
	switch n {
	case 4:
		return uint64(be32(b)), b[4:]
	case 8:
		return be64(b), b[8:]
	}
	return 0, b
}

// addAddr reads ADD_ADDR. Version 1 (RFC 8684 section 3.4.1) has an echo flag, an
// HMAC unless it is an echo, and its length tells the family; version 0 (RFC 6824
// section 3.4.1) has the family, 4 or 6, in the place of the flags.
func (o *Option) addAddr(b []byte) error {
	if len(b) < 8 {
		return ErrLength
	}
	o.Flags, o.HasVersion = b[2]&15, true
	o.AddrID, o.HasAddrID = b[3], true
	n, addr := len(b), 4
	switch o.Flags {
	case 4:
	case 6:
		addr = 16
	default:
		o.Version = 1
		o.Echo = o.Flags&1 != 0
		if !o.Echo {
			if n -= 8; n < 8 {
				return ErrLength
			}
			o.MAC = b[n:len(b):len(b)]
		}
		if n >= 20 {
			addr = 16
		}
	}
	switch n - 4 - addr {
	case 0:
	case 2:
		o.Port = be16(b[n-2:])
	default:
		return ErrLength
	}
	if addr == 4 {
		o.Addr = netip.AddrFrom4([4]byte(b[4:8]))
	} else {
		o.Addr = netip.AddrFrom16([16]byte(b[4:20]))
	}
	return nil
}

// removeAddr reads REMOVE_ADDR: one or more address ids (RFC 8684 section 3.4.2).
func (o *Option) removeAddr(b []byte) error {
	if len(b) < 4 {
		return ErrLength
	}
	o.IDs = b[3:]
	return nil
}

// prio reads MP_PRIO (RFC 8684 section 3.3.8); version 0 may name an address id
// (RFC 6824 section 3.3.8).
func (o *Option) prio(b []byte) error {
	switch len(b) {
	case 3:
	case 4:
		o.HasVersion = true
		o.AddrID, o.HasAddrID = b[3], true
	default:
		return ErrLength
	}
	o.Flags = b[2] & 15
	o.Backup = b[2]&1 != 0
	return nil
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
func be64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }
