package detector

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"mpbox/internal/frametest"
)

// gen makes the frames of connections, each a function of its number: version 1,
// three in ten over IPv6, every packet seen at its ingress and its egress edge.
type gen struct {
	edges int
	buf   []byte
	out   []Frame
	now   int64
}

func genPlaces(edges int) []Place {
	var p []Place
	for range edges {
		p = append(p, Place{Side: CE, Scope: "s", VPN: "red"}, Place{Side: PE, Scope: "s", VPN: "red"})
	}
	return p
}

func genHash(i, what uint64) uint64 {
	x := i*0x9e3779b97f4a7c15 + what*0xbf58476d1ce4e5b9
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (g *gen) keys(i int) (client, server uint64) {
	return genHash(uint64(i), 1), genHash(uint64(i), 2)
}

// ends of subflow j of connection i.
func (g *gen) ends(i, j int) (c, s netip.AddrPort) {
	x := genHash(uint64(i), 3)
	if x%10 < 3 {
		a := [16]byte{0x20, 1, 0xd, 0xb8, 1, byte(j)}
		binary.BigEndian.PutUint32(a[12:], uint32(i/16))
		b := [16]byte{0x20, 1, 0xd, 0xb8, 2}
		binary.BigEndian.PutUint16(b[14:], uint16(x>>8&4095))
		c, s = netip.AddrPortFrom(netip.AddrFrom16(a), 0), netip.AddrPortFrom(netip.AddrFrom16(b), 443)
	} else {
		c = netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(10 + 30*j), byte(i >> 20), byte(i >> 12), byte(i >> 4)}), 0)
		s = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, byte(x >> 16 & 15), byte(x >> 8)}), 443)
	}
	return netip.AddrPortFrom(c.Addr(), uint16(16384+i%16*3000+int(x>>32%3000))), s
}

func (g *gen) send(i, j int, toServer bool, seg frametest.Segment) {
	a, z := (i+j)%g.edges, int(genHash(uint64(i), 4)%uint64(g.edges))
	if a == z {
		z = (z + 1) % g.edges
	}
	if !toServer {
		a, z = z, a
	}
	g.emit(PlaceID(2*a), seg)
	if a != z {
		g.emit(PlaceID(2*z+1), seg)
	}
}

func (g *gen) emit(place PlaceID, seg frametest.Segment) {
	n := len(g.buf)
	f := seg.Ethernet()
	if cap(g.buf)-n < len(f) {
		g.buf, n = make([]byte, 0, 8<<20), 0
	}
	g.buf = append(g.buf, f...)
	g.now += 1000
	g.out = append(g.out, Frame{At: g.now, Place: place, Data: g.buf[n:len(g.buf):len(g.buf)]})
}

// handshake sends SYN and SYN/ACK of a subflow, and its third ACK if asked.
func (g *gen) handshake(i, j int, third bool) {
	c, s := g.ends(i, j)
	ck, sk := g.keys(i)
	isn, sisn := uint32(genHash(uint64(i), 10+uint64(j))), uint32(genHash(uint64(i), 20+uint64(j)))
	cn, sn := uint32(genHash(uint64(i), 30+uint64(j))), uint32(genHash(uint64(i), 40+uint64(j)))
	o1, o2, o3 := frametest.CapableSYN(1, 0), frametest.CapableSYNACK(1, sk), frametest.CapableACK(1, ck, sk)
	if j > 0 {
		o1 = frametest.JoinSYN(byte(j), false, frametest.Token(1, sk), cn)
		o2 = frametest.JoinSYNACK(byte(j), false, frametest.HMAC(1, sk, ck, sn, cn), sn)
		o3 = frametest.JoinACK(frametest.HMAC(1, ck, sk, cn, sn))
	}
	ts := []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	g.send(i, j, true, frametest.Segment{Src: c, Dst: s, Flags: frametest.SYN, Seq: isn, Options: append([]byte{2, 4, 5, 0xb4}, o1...)})
	g.send(i, j, false, frametest.Segment{Src: s, Dst: c, Flags: frametest.SYN | frametest.ACK, Seq: sisn, Ack: isn + 1, Options: append([]byte{2, 4, 5, 0xb4}, o2...)})
	if third {
		g.send(i, j, true, frametest.Segment{Src: c, Dst: s, Flags: frametest.ACK, Seq: isn + 1, Ack: sisn + 1, Options: append(ts, o3...)})
	}
}

func (g *gen) fin(i, j int) {
	c, s := g.ends(i, j)
	ts := []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	g.send(i, j, true, frametest.Segment{Src: c, Dst: s, Flags: frametest.FIN | frametest.ACK, Seq: 1000, Ack: 1, Options: ts})
	g.send(i, j, false, frametest.Segment{Src: s, Dst: c, Flags: frametest.FIN | frametest.ACK, Seq: 1000, Ack: 1001, Options: ts})
}

// take gives the frames made so far.
func (g *gen) take() []Frame {
	f := g.out
	g.out = nil
	g.buf = nil
	return f
}

func shuffled(n int) []int { return rand.New(rand.NewPCG(1, 1)).Perm(n) }
