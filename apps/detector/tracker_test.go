package detector

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mpbox/internal/frametest"
	"mpbox/southbound/packet"
)

// Places of the tests: three attachments of two VPNs that share a scope, and one
// of a VPN with a scope of its own.
const (
	aCE, aPE = PlaceID(0), PlaceID(1)
	bCE, bPE = PlaceID(2), PlaceID(3)
	cCE, cPE = PlaceID(4), PlaceID(5)
	xCE, xPE = PlaceID(6), PlaceID(7)
	mirror   = PlaceID(8) // no side
)

var testPlaces = []Place{
	{Name: "a/ce", Attachment: "a", Side: CE, Scope: "red", VPN: "red", PE: "pe1"},
	{Name: "a/pe", Attachment: "a", Side: PE, Scope: "red", VPN: "red", PE: "pe1"},
	{Name: "b/ce", Attachment: "b", Side: CE, Scope: "red", VPN: "red", PE: "pe2"},
	{Name: "b/pe", Attachment: "b", Side: PE, Scope: "red", VPN: "red", PE: "pe2"},
	{Name: "c/ce", Attachment: "c", Side: CE, Scope: "red", VPN: "pink", PE: "pe3"},
	{Name: "c/pe", Attachment: "c", Side: PE, Scope: "red", VPN: "pink", PE: "pe3"},
	{Name: "x/ce", Attachment: "x", Side: CE, Scope: "blue", VPN: "blue"},
	{Name: "x/pe", Attachment: "x", Side: PE, Scope: "blue", VPN: "blue"},
	{Name: "mirror", Scope: "red"},
}

const (
	syn, ack, fin, rst = frametest.SYN, frametest.ACK, frametest.FIN, frametest.RST
	synack             = syn | ack
)

type scene struct {
	testing.TB
	*Tracker
	now int64
}

func newScene(t testing.TB, cfg Config) *scene {
	if cfg.Places == nil {
		cfg.Places = testPlaces
	}
	if cfg.Seed == 0 {
		cfg.Seed = 7
	}
	if cfg.Events == EventsNone {
		cfg.Events = EventsAll
	}
	s := &scene{TB: t, Tracker: New(cfg), now: 1_700_000_000_000_000_000}
	t.Cleanup(func() { s.check() })
	return s
}

// see shows a segment at places, one microsecond apart.
func (s *scene) see(seg frametest.Segment, at ...PlaceID) {
	s.Helper()
	var v packet.View
	if verdict := v.Parse(seg.Ethernet()); verdict != packet.TCP {
		s.Fatalf("frame of the test: %v", verdict)
	}
	for _, place := range at {
		s.now += 1000
		s.Observe(s.now, place, &v)
	}
}

func (s *scene) pass(d time.Duration) {
	s.now += int64(d)
	for range 20 {
		s.Expire(s.now)
	}
}

// all gives all connections, ids and times left out.
func (s *scene) all() []Connection {
	var all []Connection
	for after, more := ConnID(0), true; more; {
		var page []Connection
		page, after, more = s.Connections(after, 3, Filter{})
		all = append(all, page...)
	}
	return all
}

// waiting gives all orphans.
func (s *scene) waiting() []Orphan {
	var all []Orphan
	for after, more := SubflowID(0), true; more; {
		var page []Orphan
		page, after, more = s.Orphans(after, 3, Filter{})
		all = append(all, page...)
	}
	return all
}

func (s *scene) one() Connection {
	s.Helper()
	all := s.all()
	if len(all) != 1 {
		s.Fatalf("%d connections: %+v", len(all), all)
	}
	return all[0]
}

// flow is a subflow to be: two ends and how its packets look.
type flow struct {
	c, s       netip.AddrPort
	isn, sisn  uint32
	v          uint8 // version
	ck, sk     uint64
	cn, sn     uint32 // nonces
	id, sid    uint8
	join, back bool // back: towards the client of the connection
}

func (f flow) seg(fromClient bool, flags uint8, opts ...[]byte) frametest.Segment {
	seg := frametest.Segment{Src: f.c, Dst: f.s, Flags: flags, Seq: f.isn + 1, Ack: f.sisn + 1}
	if !fromClient {
		seg = frametest.Segment{Src: f.s, Dst: f.c, Flags: flags, Seq: f.sisn + 1, Ack: f.isn + 1}
	}
	seg.Options = []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	for _, o := range opts {
		seg.Options = append(seg.Options, o...)
	}
	if flags&syn != 0 {
		seg.Seq--
		if flags&ack == 0 {
			seg.Ack = 0
		}
	}
	return seg
}

// from and to give the keys of the joining host and of the other.
func (f flow) from() uint64 {
	if f.back {
		return f.sk
	}
	return f.ck
}

func (f flow) to() uint64 {
	if f.back {
		return f.ck
	}
	return f.sk
}

func (f flow) SYN() frametest.Segment {
	if f.join {
		return f.seg(true, syn, frametest.JoinSYN(f.id, false, frametest.Token(f.v, f.to()), f.cn))
	}
	return f.seg(true, syn, frametest.CapableSYN(f.v, f.ck))
}

func (f flow) SYNACK() frametest.Segment {
	if f.join {
		return f.seg(false, synack, frametest.JoinSYNACK(f.sid, false, frametest.HMAC(f.v, f.to(), f.from(), f.sn, f.cn), f.sn))
	}
	return f.seg(false, synack, frametest.CapableSYNACK(f.v, f.sk))
}

func (f flow) ACK() frametest.Segment {
	if f.join {
		return f.seg(true, ack, frametest.JoinACK(frametest.HMAC(f.v, f.from(), f.to(), f.cn, f.sn)))
	}
	return f.seg(true, ack, frametest.CapableACK(f.v, f.ck, f.sk))
}

func (f flow) FINs() [2]frametest.Segment {
	return [2]frametest.Segment{f.seg(true, fin|ack), f.seg(false, fin|ack)}
}

var (
	first = flow{c: ap("10.1.0.1:4711"), s: ap("10.2.0.1:443"), isn: 100, sisn: 200, v: 1,
		ck: 0x1111222233334444, sk: 0x5555666677778888}
	second = flow{c: ap("10.1.0.2:4712"), s: ap("10.2.0.1:443"), isn: 300, sisn: 400, v: 1,
		ck: first.ck, sk: first.sk, cn: 0xaaaa, sn: 0xbbbb, id: 2, sid: 0, join: true}
	// back is opened by the server.
	back = flow{c: ap("10.2.0.9:5000"), s: ap("10.1.0.1:4711"), isn: 500, sisn: 600, v: 1,
		ck: first.ck, sk: first.sk, cn: 0xcccc, sn: 0xdddd, id: 4, sid: 0, join: true, back: true}
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func (f flow) version(v uint8) flow { f.v = v; return f }

// between shows a flow's handshake where it enters and leaves: from x to y.
func (s *scene) handshake(f flow, xCE, xPE, yCE, yPE PlaceID) {
	s.Helper()
	s.see(f.SYN(), xCE, yPE)
	s.see(f.SYNACK(), yCE, xPE)
	s.see(f.ACK(), xCE, yPE)
}

func (s *scene) close(f flow) {
	s.see(f.FINs()[0], aCE, bPE)
	s.see(f.FINs()[1], bCE, aPE)
}

var ignoreTimes = cmp.Options{
	cmpopts.IgnoreFields(Connection{}, "ID", "Created", "LastSeen"),
	cmpopts.IgnoreFields(Subflow{}, "ID", "Created", "Established", "LastSeen"),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

func TestHandshake(t *testing.T) {
	for _, v := range []uint8{0, 1} {
		s := newScene(t, Config{})
		s.handshake(first.version(v), aCE, aPE, bCE, bPE)
		s.handshake(second.version(v), cCE, cPE, bCE, bPE)
		s.handshake(back.version(v), bCE, bPE, aCE, aPE)
		want := Connection{
			Token: frametest.Token(v, first.sk), Version: v, ClientToken: frametest.Token(v, first.ck), HasClientToken: true,
			Scope: "red", VPN: "red", Client: first.c, Server: first.s, Proven: true,
			Subflows: []Subflow{
				{Client: first.c, Server: first.s, State: Established, Verified: Verified,
					ToServer: Path{aCE, bPE}, ToClient: Path{bCE, aPE}},
				{Join: true, Client: second.c, Server: second.s, State: Established, Verified: Verified, AddressID: 2,
					ToServer: Path{cCE, bPE}, ToClient: Path{bCE, cPE}},
				{Join: true, Client: back.c, Server: back.s, State: Established, Verified: Verified, AddressID: 4, Reverse: true,
					ToServer: Path{bCE, aPE}, ToClient: Path{aCE, bPE}},
			},
		}
		if diff := cmp.Diff(want, s.one(), ignoreTimes); diff != "" {
			t.Errorf("version %d (-want +got):\n%s", v, diff)
		}
		st := s.Stats()
		if st.Connections[v] != 1 || st.ConnectionsVerified != 1 || st.JoinsMatched != 2 || st.JoinsVerified != 2 || st.JoinsForged != 0 ||
			st.Live != 3 || st.Detected.Count != 1 || st.Correlated.Count != 2 {
			t.Errorf("counters: %+v", st)
		}
	}
}

// TestOrder: whatever order the packets of two edges come in, as long as each
// edge's own is kept, the result is the same. Joins may so precede the keys that
// they need, answers their questions, and the end of a flow at one edge its
// beginning at the other.
func TestOrder(t *testing.T) {
	var atA, atB []func(*scene)
	say := func(f flow, seg frametest.Segment, toServer bool) {
		fwd := toServer != f.back
		a, b := aCE, bPE
		if !fwd {
			a, b = aPE, bCE
		}
		atA = append(atA, func(s *scene) { s.see(seg, a) })
		atB = append(atB, func(s *scene) { s.see(seg, b) })
	}
	flows := []flow{first, second, back}
	for _, f := range flows {
		say(f, f.SYN(), true)
		say(f, f.SYNACK(), false)
		say(f, f.ACK(), true)
	}
	for _, f := range flows[1:] {
		say(f, f.FINs()[0], true)
		say(f, f.FINs()[1], false)
	}
	play := func(order []bool) (Connection, Stats) {
		s := newScene(t, Config{})
		a, b := atA, atB
		for _, fromA := range order {
			if fromA {
				a[0](s)
				a = a[1:]
			} else {
				b[0](s)
				b = b[1:]
			}
		}
		return s.one(), s.Stats()
	}
	n := len(atA)
	order := make([]bool, 2*n)
	for i := range n {
		order[i] = true
	}
	want, wantStats := play(order)
	r := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		got, stats := play(order)
		if diff := cmp.Diff(want, got, ignoreTimes, cmpopts.SortSlices(func(a, b Subflow) bool { return a.Client.String() < b.Client.String() })); diff != "" {
			t.Fatalf("order %v (-want +got):\n%s", order, diff)
		}
		if stats.Connections != wantStats.Connections || stats.JoinsMatched != wantStats.JoinsMatched || stats.JoinsOrphaned != 0 ||
			stats.JoinsVerified != wantStats.JoinsVerified || stats.JoinsAccepted != wantStats.JoinsAccepted ||
			stats.ClosedFIN != wantStats.ClosedFIN || stats.Mismatched != 0 || stats.Retransmissions != 0 {
			t.Fatalf("order %v: %+v\nwant %+v", order, stats, wantStats)
		}
	}
}

func TestFallback(t *testing.T) {
	t.Run("to TCP", func(t *testing.T) {
		s := newScene(t, Config{})
		s.see(first.SYN(), aCE, bPE)
		s.see(first.seg(false, synack), bCE, aPE)
		if len(s.all()) != 0 || s.Stats().Fallback != 1 || s.Stats().HalfOpen != 0 {
			t.Errorf("%+v", s.Stats())
		}
		s.pass(2 * time.Minute)
		if s.Stats().Closed != 0 {
			t.Error("not forgotten")
		}
	})
	t.Run("version 1 to 0", func(t *testing.T) {
		s := newScene(t, Config{})
		s.see(first.SYN(), aCE, bPE)
		s.see(first.version(0).SYNACK(), bCE, aPE)
		s.see(first.version(0).ACK(), aCE, bPE)
		if c := s.one(); c.Version != 0 || c.Token != frametest.Token(0, first.sk) || c.Subflows[0].Verified != Verified || s.Stats().Downgrade != 1 {
			t.Errorf("%+v %+v", c, s.Stats())
		}
	})
	t.Run("join refused by a plain answer", func(t *testing.T) {
		s := newScene(t, Config{})
		s.handshake(first, aCE, aPE, bCE, bPE)
		s.see(second.SYN(), aCE, bPE)
		s.see(second.seg(false, synack), bCE, aPE)
		s.see(second.seg(true, rst), aCE, bPE)
		if c := s.one(); c.Subflows[1].State != Failed || s.Stats().JoinsRefused != 1 || s.Stats().JoinsAccepted != 0 {
			t.Errorf("%+v", c.Subflows[1])
		}
	})
	t.Run("infinite mapping", func(t *testing.T) {
		s := newScene(t, Config{})
		s.handshake(first, aCE, aPE, bCE, bPE)
		s.see(first.seg(true, ack, []byte{30, 12, 0x60, 0, 0, 0, 0, 0, 0, 0, 0, 1}), aCE)
		if c := s.one(); !c.Fallback || s.Stats().Fail != 1 || s.Stats().Fallen != 1 {
			t.Errorf("%+v", c)
		}
	})
}

func TestOrphans(t *testing.T) {
	s := newScene(t, Config{})
	// Everything of the join first, its third ACK too; then the key.
	s.handshake(second, aCE, aPE, bCE, bPE)
	if st := s.Stats(); st.JoinsOrphaned != 1 || st.OrphansAnswered != 1 || st.PendingMACs != 1 || len(s.all()) != 0 {
		t.Fatalf("%+v", st)
	}
	if o := s.waiting(); len(o) != 1 || o[0].Token != frametest.Token(1, first.sk) || o[0].State != Established || o[0].Verified != Unknown {
		t.Errorf("%+v", o)
	}
	s.handshake(back, bCE, bPE, aCE, aPE)
	s.see(first.SYN(), cCE)
	s.see(first.SYNACK(), cPE)
	if st := s.Stats(); st.JoinsMatched != 1 || st.JoinsMatchedLate != 1 || st.JoinsOrphaned != 1 || st.JoinsVerified != 0 {
		t.Fatalf("after the server's key: %+v", st)
	}
	s.see(first.ACK(), cCE)
	st := s.Stats()
	if st.JoinsMatched != 2 || st.JoinsOrphaned != 0 || st.JoinsVerified != 2 || st.PendingMACs != 0 || len(s.waiting()) != 0 {
		t.Fatalf("after the client's key: %+v", st)
	}
	if c := s.one(); len(c.Subflows) != 3 || c.Client != first.c {
		t.Errorf("%+v", c)
	}
	// One that nobody owns goes in time.
	lost := second
	lost.sk++
	lost.c = ap("10.1.0.3:1")
	s.see(lost.SYN(), aCE)
	s.pass(20 * time.Second)
	if s.Stats().JoinsOrphaned != 1 || len(s.waiting()) != 1 {
		t.Error("gone too early")
	}
	s.pass(20 * time.Second)
	if st := s.Stats(); st.JoinsOrphaned != 1 || st.ExpiredOrphans != 1 || len(s.waiting()) != 0 {
		t.Errorf("%+v", st)
	}
}

func TestForged(t *testing.T) {
	for _, v := range []uint8{0, 1} {
		s := newScene(t, Config{})
		s.handshake(first.version(v), aCE, aPE, bCE, bPE)
		bad := second.version(v)
		s.see(bad.SYN(), aCE, bPE)
		s.see(bad.SYNACK(), bCE, aPE)
		wrong := frametest.HMAC(v, bad.ck, bad.sk, bad.cn, bad.sn)
		wrong[19] ^= 1
		s.see(bad.seg(true, ack, frametest.JoinACK(wrong)), aCE, bPE)
		if c := s.one(); c.Subflows[1].Verified != Forged || s.Stats().JoinsForged != 1 {
			t.Errorf("%+v", c.Subflows[1])
		}
		// The right one, which a forger could not prevent, counts.
		s.see(bad.ACK(), aCE, bPE)
		if c := s.one(); c.Subflows[1].Verified != Verified || s.Stats().JoinsVerified != 1 {
			t.Errorf("%+v", c.Subflows[1])
		}
		s.see(bad.seg(true, ack, frametest.JoinACK(wrong)), aCE, bPE)
		if c := s.one(); c.Subflows[1].Verified != Verified || s.Stats().JoinsForged != 1 {
			t.Errorf("%+v", c.Subflows[1])
		}
		// The server's alone.
		server := second.version(v)
		server.c, server.sk = ap("10.1.0.5:1"), server.sk+1
		other := server.SYNACK()
		server.sk--
		s.see(server.SYN(), aCE, bPE)
		s.see(other, bCE, aPE)
		if c := s.one(); c.Subflows[2].Verified != Forged || s.Stats().JoinsForged != 2 {
			t.Errorf("%+v", c.Subflows[2])
		}
	}
	s := newScene(t, Config{})
	s.see(first.SYN(), aCE)
	s.see(first.SYNACK(), aPE)
	wrong := first
	wrong.sk++
	s.see(wrong.ACK(), aCE)
	if c := s.one(); c.Subflows[0].Verified != Unknown || c.HasClientToken || s.Stats().WrongEcho != 1 {
		t.Errorf("%+v", c)
	}
}

func TestLateStart(t *testing.T) {
	// Only the third ACK of the first subflow was seen.
	s := newScene(t, Config{})
	s.see(first.ACK(), aCE, bPE)
	s.handshake(second, aCE, aPE, bCE, bPE)
	c := s.one()
	if c.Client != first.c || c.Subflows[0].Verified != Unknown || c.Subflows[0].State != Established || c.Subflows[1].Verified != Verified {
		t.Errorf("%+v", c)
	}
	// Then an edge that lags tells the beginning.
	s.see(first.SYN(), bPE)
	s.see(first.SYNACK(), bCE)
	if c := s.one(); c.Subflows[0].Verified != Verified || len(c.Subflows) != 2 || s.Stats().Connections[1] != 1 {
		t.Errorf("%+v", c)
	}
	// The first data segment repeats the keys.
	s = newScene(t, Config{})
	data := frametest.CapableACK(1, first.ck, first.sk)
	data[1] = 22
	seg := first.seg(true, ack, append(data, 5, 0xb4))
	seg.Payload = []byte("hello")
	s.see(seg, aCE)
	if c := s.one(); c.Token != frametest.Token(1, first.sk) {
		t.Errorf("%+v", c)
	}
}

func TestScopes(t *testing.T) {
	s := newScene(t, Config{})
	s.handshake(first, aCE, aPE, bCE, bPE)
	s.handshake(first, xCE, xPE, xCE, xPE) // the same addresses, ports, numbers, keys
	s.see(second.SYN(), xCE)
	all := s.all()
	if len(all) != 2 || all[0].Scope != "red" || all[1].Scope != "blue" || len(all[0].Subflows) != 1 || len(all[1].Subflows) != 2 {
		t.Errorf("%+v", all)
	}
	s.see(second.SYN(), cCE) // another VPN of the first one's scope
	if all := s.all(); len(all[0].Subflows) != 2 {
		t.Errorf("%+v", all)
	}
	if got, _, _ := s.Connections(0, 10, Filter{Scope: "blue"}); len(got) != 1 || got[0].VPN != "blue" {
		t.Errorf("%+v", got)
	}
}

func TestRetransmissions(t *testing.T) {
	s := newScene(t, Config{})
	for range 3 {
		s.see(first.SYN(), aCE, bPE)
	}
	s.see(first.seg(true, syn), aCE, bPE) // the last one without the option
	for range 3 {
		s.see(first.SYNACK(), bCE, aPE)
		s.see(first.ACK(), aCE, bPE)
	}
	for range 3 {
		s.see(second.SYN(), aCE, bPE)
		s.see(second.SYNACK(), bCE, aPE)
		s.see(second.ACK(), aCE, bPE)
	}
	st := s.Stats()
	if c := s.one(); len(c.Subflows) != 2 || st.Retransmissions != 8 || st.Connections[1] != 1 || st.JoinsMatched != 1 ||
		st.JoinsAccepted != 1 || st.JoinsVerified != 1 || st.ConnectionsVerified != 1 || st.Detected.Count != 1 {
		t.Errorf("%+v\n%+v", c, st)
	}
}

func TestSimultaneousOpen(t *testing.T) {
	s := newScene(t, Config{})
	f := first.version(0)
	s.see(f.SYN(), aCE)
	their := frametest.Segment{Src: f.s, Dst: f.c, Flags: syn, Seq: f.sisn, Options: frametest.CapableSYN(0, f.sk)}
	s.see(their, bCE)
	s.see(f.SYN(), bPE)
	s.see(their, aPE)
	answer := f.seg(true, synack, frametest.CapableSYNACK(0, f.ck))
	answer.Seq = f.isn
	s.see(answer, aCE, bPE)
	s.see(f.SYNACK(), bCE, aPE)
	c := s.one()
	if c.Client != f.c || !c.HasClientToken || c.ClientToken != frametest.Token(0, f.ck) || len(c.Subflows) != 1 ||
		c.Subflows[0].ToServer != (Path{aCE, bPE}) || c.Subflows[0].ToClient != (Path{bCE, aPE}) {
		t.Errorf("%+v", c)
	}
}

func TestPortReuse(t *testing.T) {
	s := newScene(t, Config{})
	s.handshake(first, aCE, aPE, bCE, bPE)
	again := first
	again.isn, again.sisn, again.ck, again.sk = 9000, 9100, 77, 88
	// A SYN alone, perhaps forged, changes nothing.
	s.see(again.SYN(), aCE)
	if c := s.one(); c.Subflows[0].State != Established {
		t.Fatalf("%+v", c)
	}
	s.see(again.SYNACK(), aPE)
	s.see(again.ACK(), aCE)
	all := s.all()
	if len(all) != 2 || all[0].Subflows[0].State != Closed || all[1].Subflows[0].State != Established || s.Stats().Replaced != 1 {
		t.Fatalf("%+v", all)
	}
	// The other edge lags: it tells the end of the old one, then of the new one.
	s.see(first.FINs()[0], bPE)
	if all := s.all(); all[1].Subflows[0].State != Established {
		t.Fatalf("the end of the old one ended the new one: %+v", all)
	}
	s.see(again.SYN(), bPE)
	s.see(again.SYNACK(), bCE)
	s.close(again)
	if all := s.all(); len(all) != 2 || all[1].Subflows[0].State != Closed || s.Stats().Connections[1] != 2 {
		t.Fatalf("%+v", all)
	}
	// Used anew by plain TCP.
	s.handshake(second, aCE, aPE, bCE, bPE)
	plain := second
	plain.isn = 12345
	s.see(plain.seg(true, syn), aCE)
	s.see(plain.seg(false, synack), aPE)
	if s.Stats().Replaced != 2 {
		t.Error("not replaced")
	}
	// Many uses: those kept of one tuple are few.
	for i := range uint32(50) {
		again.isn = 20000 + i
		s.see(again.SYN(), aCE)
	}
	if st := s.Stats(); st.HalfOpen > maxIncarnations {
		t.Errorf("%+v", st)
	}
}

func TestEnd(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(s *scene)
		want State
		how  func(Stats) uint64
	}{
		{"nothing yet", func(*scene) {}, Established, nil},
		{"one FIN", func(s *scene) { s.see(second.FINs()[0], aCE, bPE) }, Established, nil},
		{"one end's FIN twice", func(s *scene) { s.see(second.FINs()[0], aCE, aCE, bPE) }, Established, nil},
		{"both", func(s *scene) { s.close(second) }, Closed, func(s Stats) uint64 { return s.ClosedFIN }},
		{"RST of the client", func(s *scene) { s.see(second.seg(true, rst), aCE, bPE) }, Closed, func(s Stats) uint64 { return s.ClosedRST }},
		{"RST of the server", func(s *scene) { s.see(second.seg(false, rst|ack), bCE) }, Closed, func(s Stats) uint64 { return s.ClosedRST }},
		{"MP_FASTCLOSE", func(s *scene) {
			s.see(first.seg(true, rst|ack, []byte{30, 12, 0x70, 0, 0x55, 0x55, 0x66, 0x66, 0x77, 0x77, 0x88, 0x88}), aCE)
		}, Closed, func(s Stats) uint64 { return s.ClosedFast }},
		{"MP_FASTCLOSE of the server", func(s *scene) {
			s.see(first.seg(false, ack, []byte{30, 12, 0x70, 0, 0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44}), bCE)
		}, Closed, func(s Stats) uint64 { return s.ClosedFast }},
		{"MP_FASTCLOSE on a join from the server", func(s *scene) {
			s.see(back.seg(true, ack, []byte{30, 12, 0x70, 0, 0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44}), bCE)
		}, Closed, func(s Stats) uint64 { return s.ClosedFast }},
		{"MP_FASTCLOSE with a wrong key", func(s *scene) {
			s.see(first.seg(true, ack, []byte{30, 12, 0x70, 0, 0x55, 0x55, 0x66, 0x66, 0x77, 0x77, 0x88, 0x89}), aCE)
		}, Established, nil},
		{"edge rule idle", func(s *scene) {
			s.FlowEnded(s.now, aCE, second.c, second.s, 1234, true)
		}, Closed, func(s Stats) uint64 { return s.ClosedIdle }},
		{"edge rule removed", func(s *scene) {
			s.FlowEnded(s.now, bCE, second.s, second.c, 99, false)
		}, Established, nil},
		{"idle", func(s *scene) {
			s.pass(50 * time.Minute)
			s.see(first.seg(true, ack), aCE)
			s.see(back.seg(true, ack), aCE)
			s.pass(20 * time.Minute)
		}, Closed, func(s Stats) uint64 { return s.ClosedIdle }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScene(t, Config{IdleTimeout: time.Hour, Linger: time.Hour})
			s.handshake(first, aCE, aPE, bCE, bPE)
			s.handshake(second, aCE, aPE, bCE, bPE)
			s.handshake(back, bCE, bPE, aCE, aPE)
			tc.do(s)
			c := s.one()
			if got := c.Subflows[1].State; got != tc.want {
				t.Errorf("%v, want %v", got, tc.want)
			}
			if tc.how != nil && tc.how(s.Stats()) == 0 {
				t.Errorf("%+v", s.Stats())
			}
		})
	}
	t.Run("bytes", func(t *testing.T) {
		s := newScene(t, Config{})
		s.handshake(first, aCE, aPE, bCE, bPE)
		s.handshake(back, bCE, bPE, aCE, aPE)
		s.FlowEnded(s.now, aCE, first.c, first.s, 10, false)
		s.FlowEnded(s.now, bCE, first.s, first.c, 200, true)
		s.FlowEnded(s.now, bCE, back.c, back.s, 3000, true) // opened by the server: to the client
		s.FlowEnded(s.now, bCE, ap("9.9.9.9:9"), back.s, 1, true)
		c := s.one()
		if c.Bytes != [2]uint64{10, 3200} || !c.Closed || s.Stats().Bytes != c.Bytes || s.Stats().ConnectionsClosed != 1 {
			t.Errorf("%+v", c)
		}
		s.pass(5 * time.Minute)
		if len(s.all()) != 0 || s.Stats().Bytes != c.Bytes {
			t.Error("a closed connection stays, or its totals go")
		}
	})
	t.Run("half open", func(t *testing.T) {
		s := newScene(t, Config{})
		s.see(first.SYN(), aCE)
		s.pass(29 * time.Second)
		if s.Stats().HalfOpen != 1 {
			t.Error("gone early")
		}
		s.pass(2 * time.Second)
		if st := s.Stats(); st.HalfOpen != 0 || st.ExpiredHalfOpen != 1 || st.JoinsUnanswered != 0 {
			t.Errorf("%+v", st)
		}
		s.handshake(first, aCE, aPE, bCE, bPE)
		s.see(second.SYN(), aCE)
		s.pass(25 * time.Second)
		s.see(second.SYN(), aCE) // again: waits anew
		s.pass(25 * time.Second)
		if c := s.one(); c.Subflows[1].State != Syn {
			t.Errorf("%+v", c.Subflows[1])
		}
		s.pass(6 * time.Second)
		if c := s.one(); c.Subflows[1].State != Failed || s.Stats().JoinsUnanswered != 1 {
			t.Errorf("%+v", c.Subflows[1])
		}
	})
	t.Run("RST against a SYN", func(t *testing.T) {
		s := newScene(t, Config{})
		s.handshake(first, aCE, aPE, bCE, bPE)
		s.see(second.SYN(), aCE)
		wrong := second.seg(false, rst|ack)
		wrong.Ack += 5
		s.see(wrong, aPE)
		if c := s.one(); c.Subflows[1].State != Syn {
			t.Errorf("%+v", c.Subflows[1])
		}
		s.see(second.seg(false, rst|ack), aPE)
		if c := s.one(); c.Subflows[1].State != Failed || s.Stats().JoinsRefused != 1 {
			t.Errorf("%+v", c.Subflows[1])
		}
	})
	t.Run("only one direction tapped", func(t *testing.T) {
		s := newScene(t, Config{})
		s.handshake(first, aCE, aPE, bCE, bPE)
		s.see(second.SYN(), aCE)
		s.see(second.FINs()[0], aCE)
		if c := s.one(); c.Subflows[1].State != Closed {
			t.Errorf("%+v", c.Subflows[1])
		}
	})
}

// Where packets come in batches only, nothing was found in advance for the end.
func TestEndOfABatchedFlow(t *testing.T) {
	s := newScene(t, Config{})
	for _, seg := range []frametest.Segment{first.SYN(), first.SYNACK(), first.ACK()} {
		s.ObserveFrames([]Frame{{At: s.now, Place: aCE, Data: seg.Ethernet()}})
	}
	s.FlowEnded(s.now, aCE, first.c, first.s, 10, true)
	if c := s.one(); !c.Closed || c.Bytes != [2]uint64{10, 0} {
		t.Errorf("%+v", c)
	}
}

func TestSignals(t *testing.T) {
	s := newScene(t, Config{})
	s.handshake(first, aCE, aPE, bCE, bPE)
	s.handshake(second, aCE, aPE, bCE, bPE)
	backup := func() (a, b bool) {
		c := s.one()
		return c.Subflows[0].Backup, c.Subflows[1].Backup
	}
	s.see(second.seg(true, ack, []byte{30, 3, 0x51}), aCE, bPE)
	if a, b := backup(); a || !b {
		t.Error("MP_PRIO backup")
	}
	s.see(second.seg(false, ack, []byte{30, 3, 0x50}), bCE)
	if a, b := backup(); a || b {
		t.Error("MP_PRIO no backup")
	}
	s.see(first.seg(true, ack, []byte{30, 4, 0x51, 2}), aCE) // an address id is for version 0
	if a, b := backup(); a || b || s.Stats().Mismatched != 1 {
		t.Error("MP_PRIO of version 1 with an address id")
	}
	s.see(second.seg(true, ack, []byte{30, 3, 0x51}), aCE)
	s.see(first.seg(true, ack, []byte{30, 3, 0x51}), aCE)
	// Addresses.
	s.see(first.seg(false, ack, []byte{30, 16, 0x30, 3, 10, 9, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8}), bCE, aPE)
	s.see(first.seg(true, ack, []byte{30, 18, 0x30, 3, 10, 9, 0, 1, 0x13, 0x89, 1, 2, 3, 4, 5, 6, 7, 8}), aCE, bPE)
	s.see(first.seg(true, ack, []byte{30, 8, 0x31, 3, 10, 9, 0, 2}), aCE) // an echo
	want := []Address{{Addr: ap("10.9.0.2:0"), ID: 3}, {Addr: ap("10.9.0.1:5001"), ID: 3, Client: true}}
	if diff := cmp.Diff(want, s.one().Addresses, ignoreTimes); diff != "" {
		t.Error(diff)
	}
	s.see(first.seg(false, ack, []byte{30, 16, 0x30, 3, 10, 9, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8}), bCE) // changed
	s.see(first.seg(true, ack, []byte{30, 5, 0x40, 9, 3}), aCE)                                     // removed
	want = []Address{{Addr: ap("10.9.0.7:0"), ID: 3}}
	if diff := cmp.Diff(want, s.one().Addresses, ignoreTimes); diff != "" {
		t.Error(diff)
	}
	for i := range byte(100) {
		s.see(first.seg(true, ack, []byte{30, 16, 0x30, i, 10, 9, 0, i, 1, 2, 3, 4, 5, 6, 7, 8}), aCE)
	}
	if n := len(s.one().Addresses); n != maxAddresses {
		t.Errorf("%d addresses", n)
	}
	s.see(first.seg(true, rst, []byte{30, 4, 0x80, 1}), aCE)
	if st := s.Stats(); st.Prio != 6 || st.AddAddr != 106 || st.RemoveAddr != 1 || st.TCPRst != 1 {
		t.Errorf("%+v", st)
	}
}

func TestTranslation(t *testing.T) {
	s := newScene(t, Config{Events: EventsMultipath})
	// A NAT between the edges: at b the client has another address and port.
	natted := func(f flow) flow {
		f.c = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), f.c.Port()+1000)
		return f
	}
	for _, f := range []flow{first, second} {
		n := natted(f)
		s.see(f.SYN(), aCE)
		s.see(n.SYN(), bPE)
		s.see(n.SYNACK(), bCE)
		s.see(f.SYNACK(), aPE)
		s.see(f.ACK(), aCE)
		s.see(n.ACK(), bPE)
	}
	c := s.one()
	if len(c.Subflows) != 4 || s.Stats().Connections[1] != 1 || s.Stats().Translated != 2 {
		t.Fatalf("%+v", c)
	}
	byID := map[SubflowID]Subflow{}
	aliases := 0
	for _, f := range c.Subflows {
		byID[f.ID] = f
	}
	for _, f := range c.Subflows {
		if f.Verified != Verified {
			t.Errorf("not verified: %+v", f)
		}
		if !f.Alias {
			continue
		}
		aliases++
		o, ok := byID[f.AliasOf]
		if !ok || o.Alias || o.Join != f.Join || o.AddressID != f.AddressID {
			t.Errorf("%+v is the alias of %+v", f, o)
		}
	}
	if aliases != 2 {
		t.Errorf("%d aliases", aliases)
	}
}

// MP_PRIO of version 0 may name the address that it is about (RFC 6824 section
// 3.3.8).
func TestPrioOfAddress(t *testing.T) {
	s := newScene(t, Config{})
	s.handshake(first.version(0), aCE, aPE, bCE, bPE)
	s.handshake(second.version(0), aCE, aPE, bCE, bPE)
	for _, step := range []struct {
		seg  frametest.Segment
		want [2]bool
	}{
		{first.seg(true, ack, []byte{30, 4, 0x51, 2}), [2]bool{false, true}}, // of the client
		{first.seg(false, ack, []byte{30, 4, 0x51, 0}), [2]bool{true, true}}, // of the server: both
	} {
		s.see(step.seg, aCE)
		if c := s.one(); [2]bool{c.Subflows[0].Backup, c.Subflows[1].Backup} != step.want {
			t.Errorf("backup %v, %v; want %v", c.Subflows[0].Backup, c.Subflows[1].Backup, step.want)
		}
	}
}

// sameToken gives two keys with the same token.
func sameToken(v uint8) (uint64, uint64) {
	seen := map[uint32]uint64{}
	for k := uint64(1); ; k++ {
		tok := frametest.Token(v, k)
		if other, ok := seen[tok]; ok {
			return other, k
		}
		seen[tok] = k
	}
}

func TestCollisions(t *testing.T) {
	k1, k2 := sameToken(1)
	one, two := first, first
	one.sk, two.sk = k1, k2
	two.c, two.s, two.ck = ap("10.7.0.1:1000"), ap("10.8.0.1:80"), 99
	s := newScene(t, Config{})
	s.handshake(one, aCE, aPE, bCE, bPE)
	s.handshake(two, aCE, aPE, bCE, bPE)
	join := func(of flow, c, srv string) flow {
		j := second
		j.ck, j.sk, j.c, j.s = of.ck, of.sk, ap(c), ap(srv)
		return j
	}
	// By the address that they go to.
	s.see(join(one, "10.1.0.2:1", one.s.String()).SYN(), aCE)
	s.see(join(two, "10.7.0.2:1", two.s.String()).SYN(), aCE)
	// To addresses nobody has told of, from a known one.
	s.see(join(one, "10.1.0.1:2", "10.2.0.99:443").SYN(), aCE)
	s.see(join(two, "10.7.0.1:2", "10.8.0.99:80").SYN(), aCE)
	// To an address that was advertised.
	s.see(one.seg(false, ack, []byte{30, 16, 0x30, 3, 10, 2, 0, 50, 1, 2, 3, 4, 5, 6, 7, 8}), bCE)
	s.see(two.seg(false, ack, []byte{30, 16, 0x30, 3, 10, 8, 0, 50, 1, 2, 3, 4, 5, 6, 7, 8}), bCE)
	s.see(join(one, "10.66.0.1:2", "10.2.0.50:443").SYN(), aCE)
	s.see(join(two, "10.66.0.2:2", "10.8.0.50:80").SYN(), aCE)
	// With nothing to tell by but the HMAC.
	s.handshake(join(one, "10.77.0.1:3", "10.77.0.2:443"), aCE, aPE, bCE, bPE)
	s.handshake(join(two, "10.77.0.3:3", "10.77.0.4:443"), aCE, aPE, bCE, bPE)
	for _, c := range s.all() {
		want := one
		if c.Client == two.c {
			want = two
		}
		if c.Server != want.s || len(c.Subflows) != 5 {
			t.Errorf("%v: %d subflows", c.Client, len(c.Subflows))
		}
		for _, f := range c.Subflows[1:] {
			if f.Client.Addr().As4()[1]%2 == 0 && want == one && f.Client.Addr().As4()[1] != 66 {
				t.Errorf("%v has %v", c.Client, f.Client)
			}
			if f.Verified == Forged {
				t.Errorf("forged: %+v", f)
			}
		}
		if c.Subflows[4].Verified != Verified {
			t.Errorf("%+v", c.Subflows[4])
		}
	}
	if st := s.Stats(); st.TokenCollisions != 8 || st.Reassigned != 1 || st.JoinsVerified != 2 || st.JoinsMatched != 8 || st.JoinsForged != 0 {
		t.Errorf("%+v", st)
	}
}

func TestDuplicateAddressIDs(t *testing.T) {
	s := newScene(t, Config{})
	s.handshake(first, aCE, aPE, bCE, bPE)
	s.handshake(second, aCE, aPE, bCE, bPE)
	other := second
	other.c, other.cn = ap("10.1.0.77:1"), 5
	s.handshake(other, cCE, cPE, bCE, bPE)
	same := second // the same address, another port: no duplicate
	same.c, same.cn = ap("10.1.0.2:999"), 6
	s.handshake(same, cCE, cPE, bCE, bPE)
	if c := s.one(); len(c.Subflows) != 4 || s.Stats().JoinsVerified != 3 {
		t.Errorf("%+v", c)
	}
	if n := s.Stats().DuplicateAddressIDs; n != 2 {
		t.Errorf("%d duplicates", n) // other against second, and same against other
	}
}
