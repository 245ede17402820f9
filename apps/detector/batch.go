package detector

import (
	"encoding/binary"
	"unsafe"

	"mpbox/southbound/packet"
	"mpbox/southbound/packet/mptcp"
)

// batchLen is how many packets are looked at together: enough for their cache
// misses to overlap, few enough that what was fetched is still there when used.
const batchLen = 16

// batch is the workspace of ObserveFrames.
type batch struct {
	pkts  [batchLen]pkt
	views [batchLen]packet.View
}

// ObserveFrames takes in Ethernet frames, in order. It does what Observe does for
// each of them. Nearly all of its time would be spent waiting for memory, packet
// after packet; so the frames of a batch are first all read and hashed, then looked
// up, then their tokens computed; each stage asks for the memory that the next one
// needs. At last the packets are dealt with one by one.
func (t *Tracker) ObserveFrames(frames []Frame) {
	for len(frames) > batchLen {
		t.observeBatch(frames[:batchLen])
		frames = frames[batchLen:]
	}
	t.observeBatch(frames)
}

func (t *Tracker) observeBatch(frames []Frame) {
	b := &t.batch
	n := 0
	for i := range frames {
		f := &frames[i]
		v := &b.views[n]
		if verdict := v.Parse(f.Data); verdict != packet.TCP {
			t.Reject(v, verdict)
			continue
		}
		if int(f.Place) >= len(t.places) {
			t.stats.Packets++
			t.stats.TCP++
			t.stats.UnknownPlace++
			continue
		}
		t.fill(&b.pkts[n], f.At, f.Place, v)
		t.tuples.prefetch(b.pkts[n].hash)
		n++
	}
	t.stats.Packets += uint64(n)
	t.stats.TCP += uint64(n)
	pkts := b.pkts[:n]
	t.tuples.changed = 0
	for i := range pkts {
		t.lookAhead(&pkts[i])
	}
	for i := range pkts {
		t.prepareKey(&pkts[i])
	}
	for i := range pkts {
		t.p = &pkts[i]
		t.packet()
	}
	t.p = &t.own
}

// lookAhead finds a packet's records before its turn, and asks for what is likely
// to be the one.
func (t *Tracker) lookAhead(p *pkt) {
	var refs [maxSame]uint32
	n := t.tuples.collect(p.hash, &refs)
	if n < 2 {
		p.known, p.inc.ref[0] = n, refs[0]
	}
	if n > 0 {
		s := t.subs.at(refs[0])
		prefetch(unsafe.Pointer(s))
		prefetch(unsafe.Pointer(&s.created)) // its second cache line
	}
	if p.v.Flags&(packet.SYN|packet.ACK|packet.RST) == packet.SYN && len(p.opt) == 12 && p.opt[2]>>4 == byte(mptcp.Join) {
		t.prefetchToken(p.scope, binary.BigEndian.Uint32(p.opt[4:]))
	}
}

// prepareKey computes the token of the key in an MP_CAPABLE SYN/ACK that is going
// to make a connection, and asks for the index lines that this will need.
func (t *Tracker) prepareKey(p *pkt) {
	if p.v.Flags&(packet.SYN|packet.ACK|packet.RST) != packet.SYN|packet.ACK || len(p.opt) != 12 || p.opt[2] > 1 {
		return
	}
	if p.known > 0 && t.subs.at(p.inc.ref[0]).more&mSaid != 0 {
		return
	}
	p.key = binary.BigEndian.Uint64(p.opt[4:])
	p.token = mptcp.Token(p.opt[2], p.key)
	p.hasToken = true
	t.prefetchToken(p.scope, p.token)
}

func (t *Tracker) prefetchToken(scope uint16, token uint32) {
	hash := t.h.token(scope, token)
	t.tokens.prefetch(hash)
	if t.waiting.n > 0 {
		t.waiting.prefetch(hash)
	}
}
