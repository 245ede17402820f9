package detector

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"mpbox/internal/frametest"
	"mpbox/southbound/packet"
)

// numbered gives a flow of its own for a number.
func numbered(f flow, i int) flow {
	f.c = netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, byte(i >> 16), byte(i >> 8), byte(i)}), 1024)
	f.isn, f.cn = uint32(genHash(uint64(i), 1)), uint32(genHash(uint64(i), 2))
	if !f.join {
		f.ck, f.sk = genHash(uint64(i), 3), genHash(uint64(i), 4)
	}
	return f
}

// smallCaps are reached quickly.
var smallCaps = Config{MaxConnections: 80, MaxSubflows: 200, MaxHalfOpen: 50, MaxOrphans: 60, MaxPendingMACs: 20,
	MaxSubflowsPerConnection: 8, MaxAddresses: 20, MaxEvents: 100}

// victims makes connections that a flood must not harm: verified ones, each with
// an accepted join.
func victims(s *scene, n int) []ConnID {
	var ids []ConnID
	for i := range n {
		f := numbered(first, 1_000_000+i)
		f.s = ap("10.200.0.1:443")
		j := numbered(second, 2_000_000+i)
		j.ck, j.sk, j.s = f.ck, f.sk, f.s
		s.handshake(f, aCE, aPE, bCE, bPE)
		s.handshake(j, aCE, aPE, bCE, bPE)
	}
	for _, c := range s.all() {
		if c.Proven {
			ids = append(ids, c.ID)
		}
	}
	if len(ids) != n {
		s.Fatalf("%d connections of %d", len(ids), n)
	}
	return ids
}

func (s *scene) unharmed(ids []ConnID) {
	s.Helper()
	for _, id := range ids {
		c, ok := s.Connection(id)
		if !ok || len(c.Subflows) < 2 || c.Subflows[0].State != Established || c.Subflows[1].State != Established {
			s.Fatalf("connection %x: %v %+v", id, ok, c)
		}
	}
}

func TestFloods(t *testing.T) {
	const n = 3000
	for _, tc := range []struct {
		name  string
		flood func(s *scene, i int)
		count func(Stats) uint64
	}{
		{"SYNs", func(s *scene, i int) { s.see(numbered(first, i).SYN(), cCE) },
			func(s Stats) uint64 { return s.EvictedHalfOpen }},
		{"answered SYNs", func(s *scene, i int) {
			f := numbered(first, i)
			s.see(f.SYN(), cCE)
			s.see(f.SYNACK(), cPE)
		}, func(s Stats) uint64 { return s.EvictedConnections }},
		{"answered and reset", func(s *scene, i int) {
			f := numbered(first, i)
			s.see(f.SYN(), cCE)
			s.see(f.SYNACK(), cPE)
			s.see(f.seg(true, rst), cCE)
		}, func(s Stats) uint64 { return s.EvictedConnections }},
		{"joins with tokens of nobody", func(s *scene, i int) {
			f := numbered(second, i)
			f.sk = uint64(i)
			s.see(f.SYN(), cCE)
		}, func(s Stats) uint64 { return s.EvictedOrphans }},
		{"answered joins with tokens of nobody", func(s *scene, i int) {
			f := numbered(second, i)
			f.sk = uint64(i)
			s.handshake(f, cCE, cPE, bCE, bPE)
		}, func(s Stats) uint64 { return s.EvictedOrphans }},
		{"joins with one token of nobody", func(s *scene, i int) {
			f := numbered(second, i)
			f.sk = 42
			s.see(f.SYN(), cCE)
		}, func(s Stats) uint64 { return s.EvictedHalfOpen }},
		{"answered joins with one token of nobody", func(s *scene, i int) {
			f := numbered(second, i)
			f.sk = 42
			s.handshake(f, cCE, cPE, bCE, bPE)
		}, func(s Stats) uint64 { return s.EvictedClosed }},
		{"joins with the token of a victim", func(s *scene, i int) {
			f := numbered(second, i)
			f.sk = numbered(first, 1_000_000).sk
			s.see(f.SYN(), cCE)
		}, func(s Stats) uint64 { return s.EvictedHalfOpen }},
		{"answered joins with the token of a victim", func(s *scene, i int) {
			f := numbered(second, i)
			f.sk = numbered(first, 1_000_000).sk
			s.see(f.SYN(), cCE)
			s.see(f.SYNACK(), cPE)
		}, func(s Stats) uint64 { return s.RefusedJoins }},
		{"refused SYNs", func(s *scene, i int) {
			f := numbered(first, i)
			s.see(f.SYN(), cCE)
			s.see(f.seg(false, rst|ack), cPE)
		}, func(s Stats) uint64 { return s.EvictedClosed }},
		{"SYN/ACKs", func(s *scene, i int) { s.see(numbered(first, i).SYNACK(), cPE) },
			func(s Stats) uint64 { return s.EvictedConnections }},
		{"SYN/ACKs of joins", func(s *scene, i int) { s.see(numbered(second, i).SYNACK(), cPE) },
			func(s Stats) uint64 { return s.EvictedHalfOpen }},
		{"third ACKs", func(s *scene, i int) { s.see(numbered(first, i).ACK(), cCE) },
			func(s Stats) uint64 { return s.EvictedConnections }},
		{"addresses", func(s *scene, i int) {
			s.see(numbered(first, 1_000_000+i%30).seg(true, ack, []byte{30, 16, 0x30, byte(i / 30), 10, 9, byte(i >> 8), byte(i), 1, 2, 3, 4, 5, 6, 7, 8}), aCE)
		}, func(s Stats) uint64 { return s.AddAddr }},
		{"proven connections", func(s *scene, i int) {
			// These are as good as the victims: the oldest go. Nothing to be unharmed.
			s.handshake(numbered(first, i), cCE, cPE, bCE, bPE)
		}, func(s Stats) uint64 { return s.EvictedConnections }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScene(t, smallCaps)
			ids := victims(s, 30)
			memory := 0
			for i := range n {
				tc.flood(s, i)
				if i%500 == 0 {
					s.check()
					s.Drain(func(Event) {})
				}
				if i == n/2 {
					memory = s.Stats().Memory
				}
				if i%100 == 0 && tc.name != "proven connections" {
					// A real one in between is found, and its join, though packets of the
					// flood come between its own.
					f, j := numbered(first, 3_000_000+i), numbered(second, 4_000_000+i)
					f.s = ap("10.201.0.1:443")
					j.ck, j.sk, j.s = f.ck, f.sk, f.s
					for k, seg := range []frametest.Segment{f.SYN(), f.SYNACK(), f.ACK(), j.SYN(), j.SYNACK(), j.ACK()} {
						s.see(seg, aCE, bPE)
						for m := range 5 {
							tc.flood(s, 10_000+10*i+5*k+m)
						}
					}
					found := false
					for _, c := range s.all() {
						if c.Token == frametest.Token(1, f.sk) && len(c.Subflows) == 2 {
							found = c.Subflows[1].Verified == Verified
						}
					}
					if !found {
						t.Fatalf("the connection at %d was not found: %+v", i, s.Stats())
					}
					s.see(f.seg(true, rst), aCE)
					s.see(j.seg(true, rst), aCE)
				}
			}
			if tc.name != "proven connections" {
				s.unharmed(ids)
			}
			st := s.Stats()
			if tc.count(st) < n/4 {
				t.Errorf("not counted: %+v", st)
			}
			if st.Memory != memory {
				t.Errorf("memory went from %d to %d bytes", memory, st.Memory)
			}
		})
	}
}

// FuzzTracker shows packets that a fuzzer composes to a Tracker with small caps:
// indexes, lists and counts must agree afterwards.
func FuzzTracker(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x10\x11\x12\x13\x20\x21\x22\x23"))
	seed := make([]byte, 4000)
	r := rand.New(rand.NewPCG(8, 9))
	for i := range seed {
		seed[i] = byte(r.Uint32())
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, program []byte) {
		s := newScene(t, Config{MaxConnections: 12, MaxSubflows: 30, MaxHalfOpen: 8, MaxOrphans: 10, MaxPendingMACs: 4,
			MaxSubflowsPerConnection: 5, MaxAddresses: 6, MaxEvents: 20, IdleTimeout: 20 * time.Minute})
		s.random(program)
	})
}

// random carries out a program: three bytes choose flow, packet and place.
func (s *scene) random(program []byte) {
	places := []PlaceID{aCE, aPE, bCE, bPE, cCE, xCE, xPE, mirror}
	for ; len(program) >= 3; program = program[3:] {
		a, b, c := program[0], program[1], program[2]
		i := int(a & 7)
		fl := numbered(first, i)
		if b&1 != 0 {
			// A join of one of the connections, perhaps from the server's side, perhaps of
			// nobody's.
			of := numbered(first, int(a>>3&7))
			fl = numbered(second, 100+i)
			fl.ck, fl.sk, fl.id = of.ck, of.sk, a&3
			fl.back = a&64 != 0
			if a&128 != 0 {
				fl.c = numbered(first, i).c // the tuple of an initial subflow
			}
		}
		if b&2 != 0 {
			fl.v = 0
		}
		if c&16 != 0 {
			fl.isn += uint32(a >> 6)
		}
		place := places[c&7]
		switch b >> 2 & 15 {
		case 0, 1, 2:
			s.see(fl.SYN(), place)
		case 3, 4, 5:
			s.see(fl.SYNACK(), place)
		case 6, 7:
			s.see(fl.ACK(), place)
		case 8:
			s.see(fl.FINs()[c>>3&1], place)
		case 9:
			s.see(fl.seg(c&8 != 0, rst|ack*(c>>7)), place)
		case 10:
			s.see(fl.seg(c&8 != 0, ack, []byte{30, 4, 0x50 | c>>7, a & 3}), place)
		case 11:
			s.see(fl.seg(c&8 != 0, ack, []byte{30, 8, 0x34, a & 3, 10, 1, 0, c}), place)
		case 12:
			key := fl.sk
			if c&8 != 0 {
				key = fl.ck
			}
			s.see(fl.seg(c&8 != 0, ack, binary.BigEndian.AppendUint64([]byte{30, 12, 0x70, 0}, key)), place)
		case 13:
			s.pass(time.Duration(c) * time.Second / 4)
		case 14:
			switch c >> 5 {
			case 0:
				s.FlowEnded(s.now, place, fl.c, fl.s, 100, a&8 != 0)
			case 1:
				s.see(fl.seg(c&8 != 0, synack), place)
			case 2:
				s.see(fl.seg(c&8 != 0, syn), place)
			case 3:
				for _, x := range s.all() {
					if x.Subflows[0].Created&1 == int64(a&1) {
						s.Restore(x)
						break
					}
				}
			case 4:
				s.see(fl.seg(c&8 != 0, ack, []byte{30, 5, 0x40, a & 3, c & 3}), place)
			case 5:
				s.Drain(func(Event) {})
			case 6:
				s.see(fl.seg(c&8 != 0, ack, []byte{30, 12, 0x60, 0, 0, 0, 0, 0, 0, 0, 0, 0}), place)
			}
		case 15:
			wrong := frametest.HMAC(fl.v, fl.ck, fl.sk, 1, 2)
			s.see(fl.seg(true, ack, frametest.JoinACK(wrong)), place)
		}
	}
}

func TestRandomPrograms(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 11))
	n := 100
	if testing.Short() {
		n = 30
	}
	for k := range n {
		s := newScene(t, Config{MaxConnections: 4 + k%20, MaxSubflows: 10 + k%40, MaxHalfOpen: 1 + k%9, MaxOrphans: 2 + k%9,
			MaxPendingMACs: 1 + k%5, MaxSubflowsPerConnection: 1 + k%6, MaxAddresses: 1 + k%6, MaxEvents: 1 + k%30, IdleTimeout: 20 * time.Minute})
		for range 20 {
			program := make([]byte, 300)
			for i := range program {
				program[i] = byte(r.Uint32())
			}
			s.random(program)
			s.check()
			if t.Failed() {
				t.Fatalf("program %d", k)
			}
		}
	}
}

// TestGarbage shows frames of random bytes, and sound ones with random bits wrong.
func TestGarbage(t *testing.T) {
	s := newScene(t, smallCaps)
	r := rand.New(rand.NewPCG(12, 13))
	g := gen{edges: 1}
	for i := range 200 {
		g.handshake(i, 0, true)
		g.handshake(i, 1, true)
		g.fin(i, 0)
	}
	frames := g.take()
	for range 5 {
		for i := range frames {
			b := append([]byte(nil), frames[i].Data...)
			for range r.IntN(4) {
				b[12+r.IntN(len(b)-12)] ^= 1 << r.IntN(8)
			}
			if r.IntN(3) == 0 {
				b = b[:r.IntN(len(b))]
			}
			s.now += 1000
			s.ObserveFrames([]Frame{{At: s.now, Place: PlaceID(r.IntN(12)), Data: b}})
		}
	}
	st := s.Stats()
	if st.Packets != uint64(5*len(frames)) || st.Malformed == 0 || st.Truncated == 0 || st.UnknownPlace == 0 || st.OptionLength == 0 || st.NotTCP == 0 {
		t.Errorf("%+v", st)
	}
	var v packet.View
	if s.Observe(1, 4711, &v) != 0 {
		t.Error("an unknown place")
	}
}

// TestBatches: frames in batches give what they give one by one.
func TestBatches(t *testing.T) {
	g := gen{edges: 3}
	for i := range 300 {
		g.handshake(i, 0, i%2 == 0)
		g.handshake(i, 1, i%3 == 0)
		if i > 20 {
			g.fin(i-20, i%2)
		}
	}
	frames := g.take()
	r := rand.New(rand.NewPCG(14, 15))
	cfg := Config{Places: genPlaces(3), Seed: 3, MaxConnections: 100, MaxSubflows: 150}
	one, many := New(cfg), New(cfg)
	for i := range frames {
		one.ObserveFrames(frames[i : i+1])
	}
	for rest := frames; len(rest) > 0; {
		n := min(1+r.IntN(100), len(rest))
		many.ObserveFrames(rest[:n])
		rest = rest[n:]
	}
	if a, b := one.Stats(), many.Stats(); a != b {
		t.Errorf("one by one %+v\nin batches %+v", a, b)
	}
	if n := testing.AllocsPerRun(20, func() { many.ObserveFrames(frames) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTable(t *testing.T) {
	tab := newTable()
	want := map[uint64]bool{}
	r := rand.New(rand.NewPCG(16, 17))
	var list []uint64
	verify := func() {
		t.Helper()
		if tab.n != len(want) {
			t.Fatalf("%d entries, want %d", tab.n, len(want))
		}
		for x := range want {
			n := 0
			for _, ref := range collect(tab, uint32(x>>32)) {
				if ref == uint32(x) {
					n++
				}
			}
			if n != 1 {
				t.Fatalf("%x found %d times", x, n)
			}
		}
	}
	for step := range 400_000 {
		grow := step/100_000%2 == 0
		if p := r.IntN(10); len(list) == 0 || grow && p < 8 || !grow && p < 2 {
			hash := r.Uint32()
			if r.IntN(20) == 0 && len(list) > 0 {
				hash = uint32(list[r.IntN(len(list))] >> 32) // the same once more
				if len(collect(tab, hash)) > 8 {
					continue
				}
			}
			if r.IntN(50) == 0 {
				hash &= 0xff // a crowded bucket
			}
			x := uint64(hash)<<32 | uint64(step+1)
			if !tab.insert(hash, uint32(x)) {
				t.Fatal("refused")
			}
			want[x] = true
			list = append(list, x)
		} else {
			i := r.IntN(len(list))
			x := list[i]
			list[i] = list[len(list)-1]
			list = list[:len(list)-1]
			tab.remove(uint32(x>>32), uint32(x))
			delete(want, x)
		}
		if step%50_000 == 0 {
			verify()
		}
		if step == 99_999 {
			if per := tab.bytes() / tab.n; per < 8 || per > 20 {
				t.Errorf("%d bytes for an entry", per)
			}
		}
	}
	verify()
	// Entries of one hash alone: refused at some point, never an endless loop.
	tab = newTable()
	refused := false
	for i := range uint32(10_000) {
		refused = refused || !tab.insert(0x12345678, i+1)
	}
	if !refused {
		t.Error("ten thousand entries of one hash")
	}
}
