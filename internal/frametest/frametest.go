// Package frametest builds frames for tests, byte by byte, sharing no code with
// what reads them. Tests only.
package frametest

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6824
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
)

// TCP flags.
const (
	FIN = 1
	SYN = 2
	RST = 4
	PSH = 8
	ACK = 16
)

// Segment is a TCP segment to build.
type Segment struct {
	Src, Dst netip.AddrPort
	Flags    uint8
	Seq, Ack uint32
	// Options are padded to a multiple of four bytes with end-of-list.
	Options []byte
	Payload []byte
}

// TCP gives the segment's header, options and payload; the checksum is left 0.
func (s Segment) TCP() []byte {
	opts := append([]byte(nil), s.Options...)
	for len(opts)%4 != 0 {
		opts = append(opts, 0)
	}
	b := binary.BigEndian.AppendUint16(nil, s.Src.Port())
	b = binary.BigEndian.AppendUint16(b, s.Dst.Port())
	b = binary.BigEndian.AppendUint32(b, s.Seq)
	b = binary.BigEndian.AppendUint32(b, s.Ack)
	b = append(b, byte((20+len(opts))/4)<<4, s.Flags, 0xff, 0xff, 0, 0, 0, 0)
	b = append(b, opts...)
	return append(b, s.Payload...)
}

// IP gives the segment in an IPv4 or IPv6 packet.
func (s Segment) IP() []byte {
	tcp := s.TCP()
	if s.Src.Addr().Is4() {
		return append(IPv4(s.Src.Addr(), s.Dst.Addr(), 6, nil, 0, len(tcp)), tcp...)
	}
	return append(IPv6(s.Src.Addr(), s.Dst.Addr(), 6, len(tcp)), tcp...)
}

// Ethernet gives the segment in an Ethernet frame.
func (s Segment) Ethernet() []byte {
	if s.Src.Addr().Is4() {
		return append(MAC(0x0800), s.IP()...)
	}
	return append(MAC(0x86dd), s.IP()...)
}

// MAC gives an Ethernet header.
func MAC(ethertype uint16) []byte {
	return append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, byte(ethertype>>8), byte(ethertype))
}

// IPv4 gives a header for n bytes of payload; frag is the flags and offset word.
func IPv4(src, dst netip.Addr, proto uint8, options []byte, frag uint16, n int) []byte {
	hl := 20 + len(options)
	b := []byte{0x40 | byte(hl/4), 0}
	b = binary.BigEndian.AppendUint16(b, uint16(hl+n))
	b = append(b, 0, 1)
	b = binary.BigEndian.AppendUint16(b, frag)
	b = append(b, 64, proto, 0, 0)
	b = append(b, src.AsSlice()...)
	b = append(b, dst.AsSlice()...)
	b = append(b, options...)
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return b
}

// IPv6 gives a header for n bytes of payload.
func IPv6(src, dst netip.Addr, next uint8, n int) []byte {
	b := []byte{0x60, 0, 0, 0, byte(n >> 8), byte(n), next, 64}
	b = append(b, src.AsSlice()...)
	return append(b, dst.AsSlice()...)
}

// Options of MPTCP handshakes. The layouts are those of RFC 8684 and RFC 6824.

// CapableSYN is the client's first option; the key is sent in version 0 only.
func CapableSYN(version uint8, key uint64) []byte {
	if version == 0 {
		return binary.BigEndian.AppendUint64([]byte{30, 12, 0, 1}, key)
	}
	return []byte{30, 4, version, 1}
}

// CapableSYNACK is the server's answer.
func CapableSYNACK(version uint8, key uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{30, 12, version, 1}, key)
}

// CapableACK is the client's third ACK.
func CapableACK(version uint8, client, server uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{30, 20, version, 1}, client)
	return binary.BigEndian.AppendUint64(b, server)
}

// JoinSYN asks to join the connection of a token.
func JoinSYN(id uint8, backup bool, token, nonce uint32) []byte {
	b := binary.BigEndian.AppendUint32([]byte{30, 12, 0x10 | bit(backup), id}, token)
	return binary.BigEndian.AppendUint32(b, nonce)
}

// JoinSYNACK answers it.
func JoinSYNACK(id uint8, backup bool, mac []byte, nonce uint32) []byte {
	b := append([]byte{30, 16, 0x10 | bit(backup), id}, mac[:8]...)
	return binary.BigEndian.AppendUint32(b, nonce)
}

// JoinACK is the third ACK of a join.
func JoinACK(mac []byte) []byte { return append([]byte{30, 24, 0x10, 0}, mac[:20]...) }

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// Token of a key.
func Token(version uint8, key uint64) uint32 {
	k := binary.BigEndian.AppendUint64(nil, key)
	if version == 0 {
		d := sha1.Sum(k) //nolint:gosec // RFC 6824
		return binary.BigEndian.Uint32(d[:])
	}
	d := sha256.Sum256(k)
	return binary.BigEndian.Uint32(d[:])
}

// HMAC of a join: the sender's key and nonce first.
func HMAC(version uint8, own, peer uint64, ownNonce, peerNonce uint32) []byte {
	k := binary.BigEndian.AppendUint64(nil, own)
	k = binary.BigEndian.AppendUint64(k, peer)
	m := binary.BigEndian.AppendUint32(nil, ownNonce)
	m = binary.BigEndian.AppendUint32(m, peerNonce)
	h := hmac.New(sha256.New, k)
	if version == 0 {
		h = hmac.New(sha1.New, k)
	}
	h.Write(m)
	return h.Sum(nil)
}
