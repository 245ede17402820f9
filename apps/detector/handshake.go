package detector

import (
	"encoding/binary"

	"mpbox/southbound/packet"
	"mpbox/southbound/packet/mptcp"
)

// maxIncarnations of one tuple are kept side by side: a tuple may be used again
// while other edges still tell of its former use.
const maxIncarnations = 4

// incarnations are the records of the tuple of the packet at hand, and the
// packet's direction in each.
type incarnations struct {
	n   int
	ref [maxIncarnations]ref
	dir [maxIncarnations]uint8
}

// lookup finds the incarnations of the packet's tuple.
func (t *Tracker) lookup() {
	p := t.p
	var refs [maxSame]uint32
	n := p.known
	if n >= 0 && t.tuples.changed&changedBit(p.hash) == 0 {
		refs[0] = p.inc.ref[0]
	} else {
		n = t.tuples.collect(p.hash, &refs)
	}
	p.inc.n = 0
	for _, r := range refs[:n] {
		if dir, ok := t.subs.at(r).sentBy(p.scope, &p.src, &p.dst); ok && p.inc.n < maxIncarnations {
			p.inc.ref[p.inc.n], p.inc.dir[p.inc.n] = r, uint8(dir)
			p.inc.n++
		}
	}
}

// bySYN finds the incarnation whose client began with this sequence number, the
// newest of several.
func (t *Tracker) bySYN(isn uint32, dir uint8) (found ref) {
	inc := &t.p.inc
	for i, r := range inc.ref[:inc.n] {
		if inc.dir[i] == dir && t.subs.at(r).isn == isn && (found == 0 || t.subs.at(r).gen > t.subs.at(found).gen) {
			found = r
		}
	}
	return found
}

// byData finds the incarnation whose SYN carried data (TCP Fast Open, RFC 8684
// appendix B), to which the answer at hand acknowledges that too.
func (t *Tracker) byData() ref {
	inc := &t.p.inc
	for i, r := range inc.ref[:inc.n] {
		s := t.subs.at(r)
		if inc.dir[i] == toClient && s.flags&(fSYN|fSYNACK) == fSYN && !s.ended() && t.p.v.Ack-1-s.isn < 1<<11 {
			return r
		}
	}
	return 0
}

// current finds the incarnation that a packet without SYN belongs to: the newest
// that this place has seen, for what one place sees is in order; else the one whose
// sequence numbers it continues, else the newest.
func (t *Tracker) current() (r ref, dir int) {
	inc := &t.p.inc
	if inc.n == 0 {
		return 0, 0
	}
	best := 0
	for i := 1; i < inc.n; i++ {
		a, b := t.subs.at(inc.ref[best]), t.subs.at(inc.ref[i])
		as, bs := a.seenAt(t.p.place), b.seenAt(t.p.place)
		if !as && !bs {
			as, bs = t.continues(a, inc.dir[best]), t.continues(b, inc.dir[i])
		}
		if bs && !as || as == bs && b.created > a.created {
			best = i
		}
	}
	return inc.ref[best], int(inc.dir[best])
}

// continues tells whether the packet at hand comes soon after what a client began
// with, or acknowledges so much.
func (t *Tracker) continues(s *subflow, dir uint8) bool {
	n := t.p.v.Seq
	if dir == toClient {
		n = t.p.v.Ack
	}
	return n-s.isn < 1<<26
}

func (s *subflow) seenAt(place uint32) bool {
	return s.place[0] == place || s.place[1] == place || s.place[2] == place || s.place[3] == place
}

// touch notes where and when a packet of a subflow was seen; the CE side is its
// direction's ingress, the PE side its egress. It tells whether this place had
// been noted before.
func (t *Tracker) touch(r ref, s *subflow, dir int) (again bool) {
	p := t.p
	if p.tick > s.lastSeen {
		s.lastSeen = p.tick
	}
	if p.side == SideUnknown {
		return false
	}
	at := &s.place[2*dir+int(p.side-CE)]
	if *at == p.place {
		return true
	}
	*at = p.place
	if s.conn != 0 && s.class == classLive {
		t.changed(r, s)
	}
	return false
}

// open makes a record for a handshake. fromClient tells who sent the packet at
// hand. It gives 0 when the tuple has too many incarnations.
func (t *Tracker) open(fromClient bool, isn uint32, flags uint16) (ref, *subflow) {
	p := t.p
	if !t.roomForIncarnation() {
		t.stats.RefusedHandshakes++
		return 0, nil
	}
	r := t.newSub()
	if r == 0 {
		t.stats.RefusedHandshakes++
		return 0, nil
	}
	s := t.subs.at(r)
	c, d := &p.src, &p.dst
	if !fromClient {
		c, d = d, c
	}
	t.gen++
	*s = subflow{
		addr: [4]uint64{c.hi, c.lo, d.hi, d.lo}, port: [2]uint16{c.port, d.port},
		scope: p.scope, flags: flags, isn: isn, created: p.at, lastSeen: p.tick, gen: t.gen,
	}
	if !t.tuples.insert(p.hash, r) {
		t.stats.IndexFull++
		s.next, t.freeSub = t.freeSub, r
		return 0, nil
	}
	return r, s
}

// roomForIncarnation makes room when the tuple has too many: the oldest that has
// ended or was not answered goes. A capture keeps it, but finds it no more by its
// tuple.
func (t *Tracker) roomForIncarnation() bool {
	inc := &t.p.inc
	if inc.n < maxIncarnations {
		return true
	}
	victim, done := -1, false
	for i, r := range inc.ref {
		s := t.subs.at(r)
		over := s.ended()
		if !over && !t.cfg.Keep && (s.class == classLive || s.class == classOrphanAnswered) {
			continue
		}
		if victim < 0 || over && !done || over == done && s.created < t.subs.at(inc.ref[victim]).created {
			victim, done = i, over
		}
	}
	if victim < 0 {
		return false
	}
	if r := inc.ref[victim]; t.cfg.Keep {
		t.tuples.remove(t.p.hash, r)
	} else {
		t.drop(r)
	}
	inc.n--
	inc.ref[victim], inc.dir[victim] = inc.ref[inc.n], inc.dir[inc.n]
	return true
}

// onSYN: RFC 8684 sections 3.1 and 3.2, the first packet.
func (t *Tracker) onSYN() ref {
	p := t.p
	sub, ok := t.option(mptcp.SYN)
	if !ok {
		// A SYN sent again without the option leaves its handshake as it is: the
		// answer tells what came of it.
		if t.otherCapable {
			t.stats.CapableSYN++
		} else {
			t.stats.PlainSYN++
		}
		return t.bySYN(p.v.Seq, toServer)
	}
	join := sub == mptcp.Join
	if join {
		t.stats.JoinSYN++
	} else {
		t.stats.CapableSYN++
	}
	r := t.bySYN(p.v.Seq, toServer)
	if r == 0 && p.v.PayloadLen > 0 {
		// The answer, seen first, acknowledged the SYN's data as well.
		if r = t.bySYN(p.v.Seq+p.v.PayloadLen, toServer); r != 0 {
			t.subs.at(r).isn = p.v.Seq
		}
	}
	if r == 0 {
		if r = t.crossing(join); r != 0 {
			return r
		}
		return t.firstSYN(join)
	}
	s := t.subs.at(r)
	if s.flags&fJoin != 0 != join {
		t.stats.Mismatched++
		return r
	}
	if again := t.touch(r, s, toServer); again && s.flags&fSYN != 0 {
		t.stats.Retransmissions++
	}
	if s.flags&fSYN == 0 {
		// The answer was seen first, at another edge.
		if p.at < s.created {
			s.created = p.at
		}
		t.readSYN(r, s, s.flags&fSYNACK == 0)
	}
	return r
}

// crossing handles a simultaneous open (RFC 9293 section 3.5): a SYN against one
// that has no answer yet. The sender of the first SYN stays the client.
func (t *Tracker) crossing(join bool) ref {
	inc := &t.p.inc
	for i, r := range inc.ref[:inc.n] {
		s := t.subs.at(r)
		if inc.dir[i] == toClient && s.flags&(fSYN|fSYNACK) == fSYN && s.flags&fJoin != 0 == join && !s.ended() {
			s.more |= mSimultaneous
			t.touch(r, s, toClient)
			return r
		}
	}
	return 0
}

func (t *Tracker) firstSYN(join bool) ref {
	flags := uint16(0)
	if join {
		flags |= fJoin
	}
	r, s := t.open(true, t.p.v.Seq, flags)
	if r == 0 {
		return 0
	}
	t.touch(r, s, toServer)
	t.readSYN(r, s, true)
	return r
}

// readSYN takes in what a SYN's option says, once.
func (t *Tracker) readSYN(r ref, s *subflow, backup bool) {
	o := &t.opt
	s.flags |= fSYN
	if s.flags&fJoin == 0 {
		if o.Version == 1 {
			s.flags |= fV1
		}
		switch {
		case s.conn == 0 && o.HasKey:
			s.secret[0] = o.Key
			s.flags |= fSecret
		case o.HasKey:
			t.learnClientKey(s.conn, o.Key)
		case s.conn != 0 && t.conns.at(s.conn).version == 0:
			t.stats.Downgrade++
		}
		t.settle(r, s)
		return
	}
	s.token, s.clientID = o.Token, o.AddrID
	s.secret[0] = s.secret[0]&0xffffffff | uint64(o.Nonce)<<32
	if backup && o.Backup {
		s.flags |= fBackup
	}
	t.correlate(r, s)
	t.settle(r, s)
}

// onSYNACK: the server's answer.
func (t *Tracker) onSYNACK() ref {
	p := t.p
	sub, ok := t.option(mptcp.SYNACK)
	isn := p.v.Ack - 1
	r := t.bySYN(isn, toClient)
	if r == 0 {
		// In a simultaneous open the client answers as well.
		if r = t.simultaneous(); r != 0 {
			if ok && sub == mptcp.Capable {
				t.stats.CapableSYNACK++
				s := t.subs.at(r)
				t.touch(r, s, toServer)
				if s.conn != 0 {
					t.learnClientKey(s.conn, t.opt.Key)
				} else {
					s.secret[0] = t.opt.Key
					s.flags |= fSecret
				}
			}
			return r
		}
		r = t.byData()
	}
	switch {
	case !ok:
		t.stats.PlainSYNACK++
		return t.plainSYNACK(r)
	case sub == mptcp.Capable:
		t.stats.CapableSYNACK++
	default:
		t.stats.JoinSYNACK++
	}
	flags := uint16(0)
	if sub == mptcp.Join {
		flags = fJoin
	}
	var s *subflow
	if r == 0 {
		if r, s = t.open(false, isn, flags); r == 0 {
			return 0
		}
	} else if s = t.subs.at(r); s.flags&fJoin != flags {
		t.stats.Mismatched++
		return r
	}
	if sub == mptcp.Capable && s.more&mSaid != 0 && s.ended() && t.otherKey(s) {
		// The tuple is used again, with the same number by chance or habit.
		if r, s = t.open(false, isn, flags); r == 0 {
			return 0
		}
	}
	t.touch(r, s, toClient)
	if s.answered == 0 {
		s.answered = micros(p.at - s.created)
		if s.flags&(fSYNACK|fGone|fRST|fFINClient|fFINServer) == fGone && p.inc.n == 1 {
			s.flags &^= fGone // given up too soon
		}
		t.replace(r)
	}
	if sub == mptcp.Capable {
		if s.more&mSaid != 0 {
			return r // seen at another edge, or sent again
		}
		s.more |= mSaid
		t.serverKey(r, s, t.opt.Version, t.opt.Key, true)
	} else {
		t.acceptJoin(r, s)
	}
	return r
}

// otherKey tells whether the server's key at hand is not that of a subflow's
// connection.
func (t *Tracker) otherKey(s *subflow) bool {
	return s.conn != 0 && t.conns.at(s.conn).serverKey != t.opt.Key
}

func micros(ns int64) uint32 {
	us := ns/1000 + 1
	if us < 1 {
		return 1
	}
	if us > 1<<32-1 {
		return 1<<32 - 1
	}
	return uint32(us)
}

func (t *Tracker) simultaneous() ref {
	inc := &t.p.inc
	for i, r := range inc.ref[:inc.n] {
		if s := t.subs.at(r); s.more&mSimultaneous != 0 && s.isn == t.p.v.Seq && inc.dir[i] == toServer {
			return r
		}
	}
	return 0
}

// plainSYNACK is an answer without MPTCP: to MP_CAPABLE it means plain TCP (RFC
// 8684 section 3.7), to MP_JOIN that the join failed (section 3.2).
func (t *Tracker) plainSYNACK(r ref) ref {
	if r == 0 {
		t.replace(0) // by plain TCP
		return 0
	}
	s := t.subs.at(r)
	t.touch(r, s, toClient)
	if s.flags&(fSYNACK|fPlain) == 0 {
		s.flags |= fPlain
		if s.flags&fJoin == 0 {
			t.stats.Fallback++
		} else {
			t.stats.JoinsRefused++
		}
		t.settle(r, s)
	}
	return r
}

// replace ends the other incarnations of a tuple: the server has answered to a new
// one. r is that one, 0 if it is not tracked.
func (t *Tracker) replace(r ref) {
	inc := &t.p.inc
	for _, x := range inc.ref[:inc.n] {
		s := t.subs.at(x)
		if x == r || s.gen == 0 || s.ended() || r != 0 && s.created > t.subs.at(r).created {
			continue
		}
		t.stats.Replaced++
		s.flags |= fGone
		t.settle(x, s)
	}
}

// acceptJoin: the SYN/ACK of a join, RFC 8684 section 3.2.
func (t *Tracker) acceptJoin(r ref, s *subflow) {
	o := &t.opt
	if s.flags&fSYNACK != 0 {
		return // seen before
	}
	s.flags |= fSYNACK | fSecret
	s.serverID = o.AddrID
	s.secret[0] = s.secret[0]&^0xffffffff | uint64(o.Nonce)
	s.secret[1] = binary.BigEndian.Uint64(o.MAC)
	if o.Backup {
		s.flags |= fBackup
	} else {
		s.flags &^= fBackup
	}
	t.stats.JoinsAccepted++
	if s.more&mBeside != 0 {
		s.more &^= mBeside
		if s.class != classNone {
			t.pullSub(s)
		}
		t.correlate(r, s)
	}
	t.settle(r, s)
	if s.conn != 0 {
		t.verify(r, s)
	}
}

// onSegment: whatever has neither SYN nor RST.
func (t *Tracker) onSegment() ref {
	p := t.p
	r, dir := t.current()
	var s *subflow
	if r != 0 {
		s = t.subs.at(r)
		t.touch(r, s, dir)
	}
	r = t.segmentOptions(r, dir)
	if r != 0 {
		s = t.subs.at(r)
	}
	if p.v.Flags.Has(packet.FIN) {
		t.stats.FIN++
		if s != nil {
			t.onFIN(r, s, dir)
		}
	}
	if r == 0 {
		t.stats.Unmatched++
	}
	return r
}

func (t *Tracker) onFIN(r ref, s *subflow, dir int) {
	was := s.ended()
	if dir == toServer {
		s.flags |= fFINClient
	} else {
		s.flags |= fFINServer
	}
	if s.ended() && !was {
		t.stats.ClosedFIN++
		t.settle(r, s)
	}
}

func (t *Tracker) onRST() ref {
	p := t.p
	r, dir := t.current()
	if r == 0 {
		t.stats.Unmatched++
		return 0
	}
	s := t.subs.at(r)
	if dir == toClient && s.flags&fSYNACK == 0 && p.v.Flags.Has(packet.ACK) && p.v.Ack != s.isn+1 {
		// Not the answer to this SYN (RFC 9293 section 3.10.7.3).
		t.stats.Mismatched++
		return r
	}
	t.touch(r, s, dir)
	t.segmentOptions(r, dir)
	if !s.ended() {
		t.stats.ClosedRST++
		if s.flags&(fJoin|fSYNACK|fPlain) == fJoin {
			t.stats.JoinsRefused++
		}
		s.flags |= fRST
		t.settle(r, s)
	}
	return r
}
