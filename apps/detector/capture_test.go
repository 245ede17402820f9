package detector

import (
	"net/netip"
	"testing"
	"time"

	"mpbox/internal/frametest"
)

// What captures show, and live traffic hardly: the place has no side, and nothing
// is to be forgotten.

func newCapture(t *testing.T) *scene {
	return newScene(t, Config{Keep: true, MaxSubflowsPerConnection: 100})
}

func (f flow) again(n uint32) flow {
	f.isn, f.sisn = f.isn+n*100_000, f.sisn+n*100_000
	f.ck, f.sk, f.cn, f.sn = f.ck+uint64(n), f.sk+uint64(n), f.cn+n, f.sn+n
	return f
}

func (s *scene) whole(f flow) {
	s.see(f.SYN(), mirror)
	s.see(f.SYNACK(), mirror)
	s.see(f.ACK(), mirror)
}

func (s *scene) ended(f flow) {
	s.whole(f)
	for _, seg := range f.FINs() {
		s.see(seg, mirror)
	}
}

// A tuple that is used often: each use is told, in the order in which they came.
func TestTupleUsedOften(t *testing.T) {
	const uses = 20
	s := newCapture(t)
	for i := range uint32(uses) {
		s.ended(first.again(i))
	}
	all := s.all()
	if len(all) != uses {
		t.Fatalf("%d connections", len(all))
	}
	for i, c := range all {
		if c.Token != frametest.Token(1, first.again(uint32(i)).sk) || !c.Closed || c.Subflows[0].Verified != Verified {
			t.Errorf("connection %d: %+v", i, c)
		}
	}

	s = newCapture(t)
	s.whole(first)
	for i := range uint32(uses) {
		j := second.again(i)
		j.ck, j.sk = first.ck, first.sk
		s.ended(j)
	}
	if c := s.one(); len(c.Subflows) != 1+uses {
		t.Errorf("%d subflows", len(c.Subflows))
	}

	s = newCapture(t)
	for i := range uint32(uses) {
		s.ended(second.again(i))
	}
	if n := len(s.waiting()); n != uses {
		t.Errorf("%d orphans", n)
	}
}

// The same sequence number at each use, as in captures that were made by hand.
func TestTupleUsedWithTheSameNumber(t *testing.T) {
	s := newCapture(t)
	s.ended(first)
	later := first
	later.ck, later.sk = 77, 78
	s.ended(later)
	all := s.all()
	if len(all) != 2 || all[1].Token != frametest.Token(1, 78) || all[1].ClientToken != frametest.Token(1, 77) {
		t.Fatalf("%+v", all)
	}
	// Of a third use, only the last segment of the handshake was seen.
	third := first.again(2)
	s.see(third.ACK(), mirror)
	if all = s.all(); len(all) != 3 || all[2].Token != frametest.Token(1, third.sk) {
		t.Errorf("%+v", all)
	}
	// An echo of another key in the same use is no new one.
	s.see(flow{c: third.c, s: third.s, isn: third.isn, sisn: third.sisn, v: 1, ck: 5, sk: 6}.ACK(), mirror)
	if n := len(s.all()); n != 3 || s.Stats().WrongEcho != 1 {
		t.Errorf("%d connections, %d wrong echos", n, s.Stats().WrongEcho)
	}
}

// Of two files, one whose clock is late tells the end of a tuple's first use after
// the other has told the second.
func TestEndOfEarlierUse(t *testing.T) {
	s := newCapture(t)
	s.whole(first)
	later := first.again(1)
	s.whole(later)
	for _, seg := range first.FINs() {
		s.see(seg, mirror)
	}
	if all := s.all(); len(all) != 2 || !all[0].Closed || all[1].Closed {
		t.Errorf("%+v", all)
	}
}

// Two connections whose servers chose keys of the same token, with joins that only
// the HMAC tells apart, in whatever order the keys become known.
func TestCollisionsSettleLater(t *testing.T) {
	for _, v := range []uint8{0, 1} {
		one, two := first.version(v), first.version(v)
		one.sk, two.sk = sameToken(v)
		two.c, two.s, two.ck, two.isn = ap("10.7.0.1:1000"), ap("10.8.0.1:80"), 99, 7000
		join := second.version(v) // of two
		join.ck, join.sk, join.c, join.s = two.ck, two.sk, ap("10.66.0.1:3"), ap("10.66.0.2:443")
		for name, order := range map[string]func(*scene){
			"join between": func(s *scene) { s.whole(one); s.whole(join); s.whole(two) },
			"join first":   func(s *scene) { s.whole(join); s.whole(one); s.whole(two) },
			"client's key last": func(s *scene) {
				s.whole(one)
				s.see(two.SYN(), mirror)
				s.see(two.SYNACK(), mirror)
				s.whole(join)
				s.see(two.ACK(), mirror)
			},
		} {
			s := newCapture(t)
			order(s)
			var got netip.AddrPort
			verdict := Unknown
			for _, c := range s.all() {
				for _, f := range c.Subflows {
					if f.Join {
						got, verdict = c.Client, f.Verified
					}
				}
			}
			if got != two.c || verdict != Verified || s.Stats().JoinsForged != 0 || s.Stats().JoinsVerified != 1 {
				t.Errorf("version %d, %s: the join is of %v, verdict %v; %d forged", v, name, got, verdict, s.Stats().JoinsForged)
			}
		}
		// While the other one's keys are not known, nothing is called forged.
		s := newCapture(t)
		s.whole(one)
		s.see(two.seg(false, synack, frametest.CapableSYNACK(v, two.sk)), mirror)
		s.whole(join)
		if s.Stats().JoinsForged != 0 {
			t.Errorf("version %d: forged, though another connection may own the token", v)
		}
	}
}

// A wrong HMAC beside the right one, before the keys are known and after.
func TestRightAndWrongHMAC(t *testing.T) {
	wrong := second.seg(true, ack, frametest.JoinACK(make([]byte, 20)))
	for _, early := range []bool{true, false} {
		for _, rightFirst := range []bool{true, false} {
			s := newCapture(t)
			acks := []frametest.Segment{second.ACK(), wrong}
			if !rightFirst {
				acks[0], acks[1] = acks[1], acks[0]
			}
			if !early {
				s.whole(first)
			}
			s.see(second.SYN(), mirror)
			s.see(second.SYNACK(), mirror)
			for _, seg := range acks {
				s.see(seg, mirror)
			}
			if early {
				s.whole(first)
			}
			if c := s.one(); c.Subflows[len(c.Subflows)-1].Verified != Verified && c.Subflows[0].Verified != Verified || s.Stats().JoinsVerified != 1 {
				t.Errorf("before the keys %v, right one first %v: %+v", early, rightFirst, c.Subflows)
			}
		}
	}
}

// Data in the SYN (TCP Fast Open, RFC 8684 appendix B): the answer acknowledges it.
func TestDataInSYN(t *testing.T) {
	syn, answer := first.SYN(), first.SYNACK()
	syn.Payload = make([]byte, 300)
	answer.Ack += 300
	for _, order := range [][]frametest.Segment{{syn, answer}, {answer, syn}} {
		s := newCapture(t)
		for _, seg := range order {
			s.see(seg, mirror)
		}
		s.see(first.ACK(), mirror)
		if c := s.one(); len(c.Subflows) != 1 || c.Subflows[0].State != Established || c.Subflows[0].Verified != Verified {
			t.Errorf("%+v", c)
		}
	}
}

// A SYN that nobody answered, and a join from its target over the same ports.
func TestCrossingOfAnotherKind(t *testing.T) {
	s := newCapture(t)
	s.whole(first)
	stale := first
	stale.c = back.s
	stale.s = back.c
	stale.isn = 9000
	s.see(stale.SYN(), mirror)
	s.whole(back)
	if c := s.one(); len(c.Subflows) != 2 || c.Subflows[1].Verified != Verified {
		t.Errorf("%+v", c)
	}
}

// An answer that comes after the handshake was given up brings it back.
func TestLateAnswer(t *testing.T) {
	s := newScene(t, Config{})
	s.handshake(first, aCE, aPE, bCE, bPE)
	s.see(second.SYN(), aCE, bPE)
	s.pass(40 * time.Second)
	if c := s.one(); c.Subflows[1].State != Failed {
		t.Fatalf("%+v", c)
	}
	s.see(second.SYNACK(), bCE, aPE)
	s.see(second.ACK(), aCE, bPE)
	if c := s.one(); c.Subflows[1].State != Established || c.Subflows[1].Verified != Verified {
		t.Errorf("%+v", c)
	}
}
