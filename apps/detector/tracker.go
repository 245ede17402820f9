package detector

import (
	"errors"
	"math/rand/v2"
	"unsafe"

	"mpbox/southbound/packet"
	"mpbox/southbound/packet/mptcp"
)

// Tracker follows handshakes and connections. See the package comment.
type Tracker struct {
	cfg    Config
	places []place
	scopes []string
	scope  map[string]uint16

	h hasher
	// tuples finds subflows by tuple, tokens connections by scope and token, waiting
	// the newest orphan of a scope and token.
	tuples, tokens, waiting *table

	subs               slab[subflow]
	conns              slab[connection]
	addrs              slab[address]
	freeSub, freeConn  ref
	freeAddr           ref
	addrCount          int
	oldAddr, newAddr   ref
	lists              [classes]list
	pending            map[ref]pendingMACs
	gen                uint32
	base               int64 // time of tick 0
	started, steerable bool

	events []Event
	stats  Stats
	batch  batch

	opt mptcp.Option
	p   *pkt // the packet at hand, or own
	own pkt
	// otherCapable: the packet has a sound MP_CAPABLE that is not acted on.
	otherCapable bool
}

// place is what the hot path needs of a Place.
type place struct {
	scope     uint16
	side      Side
	steerable bool
	Place
}

// New makes a Tracker.
func New(cfg Config) *Tracker {
	cfg = cfg.withDefaults()
	t := &Tracker{
		cfg: cfg, scope: map[string]uint16{},
		tuples: newTable(), tokens: newTable(), waiting: newTable(),
		subs: newSlab[subflow](), conns: newSlab[connection](), addrs: newSlab[address](),
		pending: map[ref]pendingMACs{},
	}
	r := rand.New(rand.NewPCG(cfg.Seed, ^cfg.Seed))
	if cfg.Seed == 0 {
		r = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	for i := range t.h.k {
		t.h.k[i] = r.Uint64() | 1
	}
	t.p = &t.own
	t.own.known = -1
	for _, p := range cfg.Places {
		t.AddPlace(p)
	}
	return t
}

// AddPlace makes a further place known.
func (t *Tracker) AddPlace(p Place) PlaceID {
	t.places = append(t.places, place{})
	id := PlaceID(len(t.places) - 1)
	t.SetPlace(id, p)
	return id
}

// SetPlace changes what a place is, for packets to come.
func (t *Tracker) SetPlace(id PlaceID, p Place) {
	n, ok := t.scope[p.Scope]
	if !ok {
		n = uint16(len(t.scopes))
		t.scope[p.Scope] = n
		t.scopes = append(t.scopes, p.Scope)
	}
	t.places[id] = place{scope: n, side: p.Side, steerable: p.PE != "", Place: p}
	t.steerable = t.steerable || p.PE != ""
}

// Place gives what AddPlace or Config made known; the zero Place for others.
func (t *Tracker) Place(id PlaceID) Place {
	if int(id) >= len(t.places) {
		return Place{}
	}
	return t.places[id].Place
}

// pkt is the packet at hand.
type pkt struct {
	at       int64
	tick     uint32
	place    uint32 // PlaceID + 1
	side     Side
	scope    uint16
	hash     uint32
	v        *packet.View
	src, dst endpoint
	// opt is the first MPTCP option, rest the options behind it; broken when the
	// list cannot be read that far.
	opt, rest []byte
	broken    bool
	// hasToken: token is that of key, an MP_CAPABLE SYN/ACK's, computed in advance.
	hasToken bool
	token    uint32
	key      uint64
	// known is how many records of the tuple's hash were found in advance: none, or the one
	// in inc.ref; -1 when they have to be looked up.
	known int
	inc   incarnations
}

// Frame is a frame as a tap or mirror hands it over.
type Frame struct {
	At    int64 // unix ns
	Place PlaceID
	Data  []byte
}

// Observe takes in one packet, whose headers the caller has read, that was seen
// at a place and time (unix ns). It gives the subflow that the packet belongs to,
// 0 for none. The view is not kept.
func (t *Tracker) Observe(at int64, id PlaceID, v *packet.View) SubflowID {
	t.stats.Packets++
	t.stats.TCP++
	if int(id) >= len(t.places) {
		t.stats.UnknownPlace++
		return 0
	}
	t.p = &t.own
	t.fill(t.p, at, id, v)
	return t.subflowID(t.packet())
}

func (t *Tracker) fill(p *pkt, at int64, id PlaceID, v *packet.View) {
	pl := &t.places[id]
	p.at, p.tick, p.place, p.side, p.scope, p.v = at, t.tick(at), uint32(id)+1, pl.side, pl.scope, v
	endpoints(v, &p.src, &p.dst)
	p.hash = t.h.tuple(p.scope, &p.src, &p.dst)
	p.hasToken, p.known = false, -1
	var err error
	p.opt, p.rest, err = mptcp.Next(v.Options)
	p.broken = err != nil
}

// nextOption gives the packet's MPTCP options, one per call, nil at the end.
func (p *pkt) nextOption() []byte {
	opt := p.opt
	if opt != nil {
		var err error
		p.opt, p.rest, err = mptcp.Next(p.rest)
		p.broken = p.broken || err != nil
	}
	return opt
}

// Reject counts a frame that holds no TCP header to observe.
func (t *Tracker) Reject(v *packet.View, verdict packet.Verdict) {
	t.stats.Packets++
	if v.IsTCP && (verdict == packet.Malformed || verdict == packet.Truncated) {
		t.stats.TCP++
	}
	switch verdict {
	case packet.Malformed:
		t.stats.Malformed++
	case packet.Truncated:
		t.stats.Truncated++
	case packet.Fragment:
		t.stats.Fragments++
	default:
		t.stats.NotTCP++
	}
}

// tickBits: a tick is 2^27 ns, 134 ms.
const tickBits = 27

// tick is a coarse time that fits the records.
func (t *Tracker) tick(at int64) uint32 {
	if !t.started {
		t.started = true
		t.base = at - 1<<tickBits
	}
	d := at - t.base
	if d < 0 {
		return 0
	}
	return uint32(d >> tickBits)
}

func (t *Tracker) timeOf(tick uint32) int64 { return t.base + int64(tick)<<tickBits }

// packet decides by the TCP flags what to do. It gives the record that the packet
// belongs to.
func (t *Tracker) packet() ref {
	t.lookup()
	f := t.p.v.Flags
	switch {
	case f.Has(packet.RST):
		t.stats.RST++
		return t.onRST()
	case f.Has(packet.SYN | packet.ACK):
		return t.onSYNACK()
	case f.Has(packet.SYN):
		return t.onSYN()
	default:
		return t.onSegment()
	}
}

// option finds the first MP_CAPABLE or MP_JOIN of a handshake segment that is
// valid, and counts what is not.
func (t *Tracker) option(seg mptcp.Segment) (sub mptcp.Subtype, ok bool) {
	bad := false
	t.otherCapable = false
	for opt := t.p.nextOption(); opt != nil; opt = t.p.nextOption() {
		if err := t.opt.Decode(opt, seg); err != nil {
			if t.optionError(err) {
				bad = true
			} else if t.opt.Subtype == mptcp.Capable {
				t.otherCapable = true
			}
			continue
		}
		if t.opt.Subtype == mptcp.Capable || t.opt.Subtype == mptcp.Join {
			ok = true
			break
		}
	}
	for opt := t.p.nextOption(); opt != nil; opt = t.p.nextOption() {
		var behind mptcp.Option // it does not count, but may be malformed
		if err := behind.Decode(opt, seg); err != nil {
			bad = t.optionError(err) || bad
		}
	}
	if bad || t.p.broken && !t.p.v.OptionsCut {
		t.stats.Malformed++
	}
	return t.opt.Subtype, ok
}

// optionError counts, and tells whether the packet is malformed.
func (t *Tracker) optionError(err error) bool {
	switch {
	case errors.Is(err, mptcp.ErrLength):
		t.stats.OptionLength++
		return true
	case errors.Is(err, mptcp.ErrIgnored):
		t.stats.OptionIgnored++
	case errors.Is(err, mptcp.ErrVersion):
		t.stats.OptionVersion++
	default:
		t.stats.OptionSubtype++
	}
	return false
}

func (t *Tracker) memory() int {
	n := len(t.subs.chunks)*chunkLen*int(unsafe.Sizeof(subflow{})) +
		len(t.conns.chunks)*chunkLen*int(unsafe.Sizeof(connection{})) +
		len(t.addrs.chunks)*chunkLen*int(unsafe.Sizeof(address{}))
	return n + t.tuples.bytes() + t.tokens.bytes() + t.waiting.bytes() + cap(t.events)*int(unsafe.Sizeof(Event{}))
}
