package datapath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	of "github.com/netrack/openflow"
	"github.com/netrack/openflow/ofp"

	"mpbox/southbound/openflow"
)

// Third ACKs, reactively: when a SYN with an MPTCP option is punted, the caller
// sets an expectation at the edges that the connection passes. The next packet of
// the client that has ACK and no other flag is punted, and the rule removed. Some
// are missed where the round trip is short; the client's first data segment repeats
// what a third ACK of MPTCP v1 says (RFC 8684 section 3.1).

// expectTimeout ends an expectation that nothing meets.
const expectTimeout = 3 * time.Second

// maxExpected limits the expectations of a switch that may be there at one time: a
// flood of SYNs must not fill its table.
const maxExpected = 16384

// ErrTooMany tells of a SYN flood, most likely: the handshake is not followed
// further.
var ErrTooMany = errors.New("too many third ACKs are expected at this datapath")

// Expectation is the direction of one TCP connection, client to server, at one
// port.
type Expectation struct {
	InPort   uint32
	VLAN     []uint16
	Src, Dst netip.AddrPort
}

// expectations of a datapath.
type expectations struct {
	mu     sync.Mutex
	handle uint32
	// Set in each of the last seconds, as many as an expectation may live.
	second    [int(expectTimeout/time.Second) + 1]uint32
	now       int64
	last      uint64 // cookie that was removed last
	templates map[templateKey]*template
	// Refused for there were too many.
	refused uint64
}

// take asks for a handle at a time, in seconds.
func (x *expectations) take(now int64) (uint32, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := int64(len(x.second))
	for ; x.now < now; x.now++ {
		if now-x.now > n {
			x.now = now - n
		}
		x.second[(x.now+1)%n] = 0
	}
	total := uint32(0)
	for _, s := range x.second {
		total += s
	}
	if total >= maxExpected {
		x.refused++
		return 0, false
	}
	x.second[now%n]++
	x.handle++
	return x.handle, true
}

// Expect has the third ACK of a handshake punted once. It does not wait for the
// switch, and may be called from a Handler. It does nothing but with
// ThirdACKReactive.
func (r *Registry) Expect(dpid uint64, e Expectation) error {
	if r.cfg.Tap.ThirdACK != ThirdACKReactive {
		return nil
	}
	d, err := r.find(dpid)
	if err != nil {
		return fmt.Errorf("expect third ACK: %w", err)
	}
	c, err := d.connected()
	if err != nil {
		return fmt.Errorf("expect third ACK at %s: %w", d.bridge.Name, err)
	}
	handle, ok := d.expect.take(time.Now().Unix())
	if !ok {
		return fmt.Errorf("expect third ACK at %s: %w", d.bridge.Name, ErrTooMany)
	}
	d.mu.Lock()
	gen, dialect := d.generation, d.dialect
	d.mu.Unlock()
	if dialect.Flags == FlagsNone {
		return fmt.Errorf("expect third ACK at %s: %w", d.bridge.Name, ErrNoFlags)
	}
	m, err := d.expectMessage(e, cookie(kindExpect, gen, handle), dialect)
	if err != nil {
		return fmt.Errorf("expect third ACK at %s: %w", d.bridge.Name, err)
	}
	return c.s.Send(m)
}

// A template is an encoded expectation. For each one that is set, only its cookie
// and the addresses and ports are written into a copy: netrack's encoder takes
// 5 us and 150 allocations, and floods of SYNs come by the ten thousand a second.
type template struct {
	body                   []byte
	src, dst, sport, dport int // offsets in body
}

// templateKey is what templates differ in.
type templateKey struct {
	port    uint32
	vlan    uint16
	v4      bool
	dialect Dialect
}

func (d *Datapath) expectMessage(e Expectation, k uint64, dialect Dialect) (openflow.Message, error) {
	e.Src, e.Dst = unmap(e.Src), unmap(e.Dst)
	if !e.Src.IsValid() || !e.Dst.IsValid() || e.Src.Addr().Is4() != e.Dst.Addr().Is4() {
		return openflow.Message{}, fmt.Errorf("%s to %s: two addresses of one family are needed", e.Src, e.Dst)
	}
	key := templateKey{e.InPort, outerTag(e.VLAN), e.Src.Addr().Is4(), dialect}
	x := &d.expect
	x.mu.Lock()
	t := x.templates[key]
	x.mu.Unlock()
	if t == nil {
		var err error
		if t, err = newTemplate(expectFlow(e, d.r.cfg.Tap, d.meterOf(e, dialect)), dialect.Flags); err != nil {
			return openflow.Message{}, err
		}
		x.mu.Lock()
		if x.templates == nil {
			x.templates = map[templateKey]*template{}
		}
		x.templates[key] = t // one for each port, tag and family
		x.mu.Unlock()
	}
	return openflow.Raw(of.TypeFlowMod, t.fill(e, k), "expectation of a third ACK"), nil
}

// newTemplate encodes f with marks in the places of what varies, and finds these.
func newTemplate(f Flow, flags FlagsMatch) (*template, error) {
	mark := func(b byte) netip.Addr {
		if f.Match.EtherType == etherIPv4 {
			return netip.AddrFrom4([4]byte{b, ^b, b, ^b})
		}
		return netip.AddrFrom16([16]byte{b, ^b, b, ^b, b, ^b, b, ^b, b, ^b, b, ^b, b, ^b, b, ^b})
	}
	f.Match.Src, f.Match.Dst = netip.AddrPortFrom(mark(0xa5), 0xc33c), netip.AddrPortFrom(mark(0x96), 0xd22d)
	m, err := openflow.AppendMessage(nil, 0, addFlow(&f, flags))
	if err != nil {
		return nil, err
	}
	t := &template{body: m[8:]}
	for _, v := range []struct {
		at   *int
		mark []byte
	}{
		{&t.src, f.Match.Src.Addr().AsSlice()}, {&t.dst, f.Match.Dst.Addr().AsSlice()},
		{&t.sport, []byte{0xc3, 0x3c}}, {&t.dport, []byte{0xd2, 0x2d}},
	} {
		if *v.at = bytes.Index(t.body, v.mark); *v.at < 0 || bytes.Count(t.body, v.mark) != 1 {
			return nil, errors.New("encode expectation: the place of a field is not found")
		}
	}
	return t, nil
}

func (t *template) fill(e Expectation, k uint64) []byte {
	b := bytes.Clone(t.body)
	binary.BigEndian.PutUint64(b, k)
	put := func(at int, a netip.Addr) {
		if a.Is4() {
			v := a.As4()
			copy(b[at:], v[:])
		} else {
			v := a.As16()
			copy(b[at:], v[:])
		}
	}
	put(t.src, e.Src.Addr())
	put(t.dst, e.Dst.Addr())
	binary.BigEndian.PutUint16(b[t.sport:], e.Src.Port())
	binary.BigEndian.PutUint16(b[t.dport:], e.Dst.Port())
	return b
}

// meterOf is the meter of the attachment that e passes.
func (d *Datapath) meterOf(e Expectation, dialect Dialect) uint32 {
	if !dialect.PuntMeter {
		return 0
	}
	tag := outerTag(e.VLAN)
	meter := uint32(0)
	for i, a := range d.bridge.Attachments {
		if a.CEPort != e.InPort && a.PEPort != e.InPort {
			continue
		}
		if a.outer() == tag || a.outer() == 0 && meter == 0 {
			meter = d.r.cfg.Tap.meter(i, &a).ID
			if a.outer() == tag {
				break
			}
		}
	}
	return meter
}

func expectFlow(e Expectation, tap Tap, meter uint32) Flow {
	f := Flow{Table: TableTap, Priority: prioExpect, Hard: expectTimeout,
		Match: Match{InPort: e.InPort, VLAN: outerTag(e.VLAN), EtherType: etherIPv6, Proto: protoTCP,
			Src: unmap(e.Src), Dst: unmap(e.Dst), Flags: FlagACK, FlagMask: FlagACK | FlagSYN | FlagFIN | FlagRST},
		Actions: Actions{Punt: true, MaxLen: tap.MaxLen, Meter: meter, Goto: TableSteer},
	}
	if f.Match.Src.Addr().Is4() {
		f.Match.EtherType = etherIPv4
	}
	return f
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// met removes the expectations that the packets of a batch met.
func (c *conn) met(batch []openflow.Punt) {
	x := &c.d.expect
	var msgs []openflow.Message
	for i := range batch {
		k := batch[i].Cookie
		if !owned(k) || kindOf(k) != kindExpect || k == x.last {
			continue
		}
		x.last = k
		msgs = append(msgs, removeExpectation(k))
	}
	if len(msgs) > 0 {
		_ = c.s.Send(msgs...) // the session ends by itself when it cannot
	}
}

// removeExpectation removes the flow with a cookie. It is sent for each connection:
// encoded by hand, 48 bytes (OpenFlow 1.3.5 section 7.3.4.2).
func removeExpectation(k uint64) openflow.Message {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 48), k)
	b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // all of the cookie
	b = append(b, TableTap, byte(ofp.FlowDelete), 0, 0, 0, 0, 0, 0)
	b = append(b, 0xff, 0xff, 0xff, 0xff) // no buffer
	b = append(b, 0xff, 0xff, 0xff, 0xff) // any port
	b = append(b, 0xff, 0xff, 0xff, 0xff) // any group
	b = append(b, 0, 0, 0, 0)
	b = append(b, 0, 1, 0, 4, 0, 0, 0, 0) // empty match
	return openflow.Raw(of.TypeFlowMod, b, "removal of a met expectation")
}
