package mptcp

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6824
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math/rand/v2"
	"testing"
)

// Values of a connection of a Linux 6.18 host, as tshark showed them: keys of the
// third ACK, token and nonces of a join, and both HMACs.
func TestKernelValues(t *testing.T) {
	const (
		client, server = 0xb301fe4aa12f6be4, 0x5a1edbaeffe9d42b
		clientToken    = 0x57a270e5 // a join towards the client
		serverNonce    = 0x5f2e7b63 // the server opens that join
		clientNonce    = 0xa42fafa5
	)
	if got := Token(1, client); got != clientToken {
		t.Errorf("token %08x, want %08x", got, clientToken)
	}
	m := JoinMAC(1, client, server, clientNonce, serverNonce)
	if !m.Matches([]byte{0xdf, 0xb3, 0xf8, 0x3b, 0x4a, 0xf4, 0x04, 0x3a}) {
		t.Errorf("HMAC of the SYN/ACK: %x", m)
	}
	m = JoinMAC(1, server, client, serverNonce, clientNonce)
	want := []byte{0x2b, 0x69, 0x56, 0x48, 0xae, 0xe4, 0xa9, 0x96, 0xc0, 0x0c, 0x61, 0x27, 0x04, 0x93, 0x6b, 0xaa, 0x5b, 0x3e, 0x15, 0x97}
	if !m.Matches(want) {
		t.Errorf("HMAC of the ACK: %x", m)
	}
	want[19] ^= 1
	if m.Matches(want) || m.Matches(nil) || m.Matches(make([]byte, 21)) {
		t.Error("a wrong HMAC matches")
	}
}

func TestAgainstStandardLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		a, b, na, nb := r.Uint64(), r.Uint64(), r.Uint32(), r.Uint32()
		key := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, a), b)
		msg := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, na), nb)
		for version, f := range []func() hash.Hash{sha1.New, sha256.New} {
			h := hmac.New(f, key)
			h.Write(msg)
			m := JoinMAC(uint8(version), a, b, na, nb)
			if !m.Matches(h.Sum(nil)[:20]) {
				t.Fatalf("version %d", version)
			}
			d := f()
			d.Write(key[:8])
			if Token(uint8(version), a) != binary.BigEndian.Uint32(d.Sum(nil)) {
				t.Fatalf("token of version %d", version)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { _ = JoinMAC(1, 1, 2, 3, 4); _ = Token(1, 1); _ = JoinMAC(0, 1, 2, 3, 4); _ = Token(0, 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkToken(b *testing.B) {
	for _, v := range []uint8{0, 1} {
		b.Run(string('0'+rune(v)), func(b *testing.B) {
			for b.Loop() {
				Token(v, 12345)
			}
		})
	}
}

func BenchmarkJoinMAC(b *testing.B) {
	for _, v := range []uint8{0, 1} {
		b.Run(string('0'+rune(v)), func(b *testing.B) {
			for b.Loop() {
				JoinMAC(v, 1, 2, 3, 4)
			}
		})
	}
}
