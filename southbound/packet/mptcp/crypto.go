package mptcp

import (
	"crypto/sha1" //nolint:gosec // RFC 6824 prescribes it
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
)

// Token gives the token that names a connection in joins: the first 32 bits of
// the hash of a key, SHA-256 in version 1 (RFC 8684 section 3.2), SHA-1 in version
// 0 (RFC 6824 section 3.2).
func Token(version uint8, key uint64) uint32 {
	var k [8]byte
	binary.BigEndian.PutUint64(k[:], key)
	if version == 0 {
		d := sha1.Sum(k[:]) //nolint:gosec // see above
		return binary.BigEndian.Uint32(d[:])
	}
	d := sha256.Sum256(k[:])
	return binary.BigEndian.Uint32(d[:])
}

// MAC is the HMAC of a join, cut to 160 bits.
type MAC [20]byte

// JoinMAC computes the HMAC that one end of a join sends (RFC 8684 section 3.2):
// its own key and nonce come first. HMAC-SHA256 in version 1, HMAC-SHA1 in version
// 0. The SYN/ACK carries the first 64 bits, the ACK 160.
func JoinMAC(version uint8, ownKey, peerKey uint64, ownNonce, peerNonce uint32) MAC {
	var key [16]byte
	var msg [8]byte
	binary.BigEndian.PutUint64(key[:], ownKey)
	binary.BigEndian.PutUint64(key[8:], peerKey)
	binary.BigEndian.PutUint32(msg[:], ownNonce)
	binary.BigEndian.PutUint32(msg[4:], peerNonce)

	// RFC 2104, written out: crypto/hmac would allocate.
	const block = 64
	var in [block + 8]byte
	var out [block + sha256.Size]byte
	for i := range block {
		var k byte
		if i < len(key) {
			k = key[i]
		}
		in[i], out[i] = k^0x36, k^0x5c
	}
	copy(in[block:], msg[:])
	if version == 0 {
		d := sha1.Sum(in[:])                        //nolint:gosec // RFC 6824
		copy(out[block:], d[:])                     //
		return MAC(sha1.Sum(out[:block+sha1.Size])) //nolint:gosec // RFC 6824
	}
	d := sha256.Sum256(in[:])
	copy(out[block:], d[:])
	d = sha256.Sum256(out[:])
	return MAC(d[:20])
}

// Matches tells whether what was received, 8 or 20 bytes, is the start of m.
func (m *MAC) Matches(received []byte) bool {
	return len(received) > 0 && len(received) <= len(m) && subtle.ConstantTimeCompare(m[:len(received)], received) == 1
}
