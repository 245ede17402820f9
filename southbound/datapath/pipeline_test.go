package datapath

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var two = Bridge{Name: "edge1", DPID: 1, Attachments: []Attachment{
	{Name: "red", CEPort: 1, PEPort: 2}, {Name: "blue", CEPort: 3, PEPort: 4, PuntRate: 77},
}}

func mustBuild(t testing.TB, b Bridge, tap Tap, d Dialect) Tables {
	t.Helper()
	out, err := Build(b, tap, d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tcp4(in uint32, flags uint16, vlan ...uint16) packet {
	return packet{in: in, vlan: vlan, ether: etherIPv4, proto: protoTCP, flags: flags,
		src: netip.MustParseAddrPort("10.0.0.1:1000"), dst: netip.MustParseAddrPort("10.0.0.2:80")}
}

func tcp6(in uint32, flags uint16, vlan ...uint16) packet {
	p := tcp4(in, flags, vlan...)
	p.ether, p.src, p.dst = etherIPv6, netip.MustParseAddrPort("[2001:db8::1]:1000"), netip.MustParseAddrPort("[2001:db8::2]:80")
	return p
}

func TestPipeline(t *testing.T) {
	arp := packet{in: 1, ether: 0x0806}
	udp := tcp4(1, 0)
	udp.proto = 17
	for _, third := range []ThirdACK{ThirdACKOff, ThirdACKReactive, ThirdACKConntrack} {
		tables := mustBuild(t, two, Tap{ThirdACK: third, PuntRate: 5000}, DialectOVS)
		for _, tc := range []struct {
			name  string
			p     packet
			out   uint32
			meter uint32 // 0: not punted
		}{
			{"SYN from CE", tcp4(1, FlagSYN), 2, meterBase},
			{"SYN/ACK from PE", tcp4(2, FlagSYN|FlagACK), 1, meterBase},
			{"FIN", tcp4(1, FlagFIN|FlagACK), 2, meterBase},
			{"RST", tcp4(1, FlagRST), 2, meterBase},
			{"all flags at once", tcp4(1, 0xfff), 2, meterBase},
			{"IPv6 SYN", tcp6(2, FlagSYN), 1, meterBase},
			{"tagged SYN", tcp4(1, FlagSYN, 100), 2, meterBase},
			{"QinQ SYN", tcp6(1, FlagSYN, 100, 200), 2, meterBase},
			{"other attachment's meter", tcp4(4, FlagSYN), 3, meterBase + 1},
			{"ACK", tcp4(1, FlagACK), 2, 0},
			{"PSH/ACK", tcp6(2, FlagACK|1<<3), 1, 0},
			{"UDP", udp, 2, 0},
			{"ARP", arp, 2, 0},
			{"a port of nobody", tcp4(9, FlagSYN), 0, 0},
			{"ARP at a port of nobody", packet{in: 9, ether: 0x0806}, 0, 0},
		} {
			got := simulate(tables.Flows, tc.p)
			var out, punts []uint32
			if tc.out != 0 {
				out = []uint32{tc.out}
			}
			if tc.meter != 0 {
				punts = []uint32{tc.meter}
			}
			if !slices.Equal(got.out, out) || !slices.Equal(got.punts, punts) || got.lost {
				t.Errorf("third_ack %s: %s: %+v, want out %v, punts %v", third, tc.name, got, out, punts)
			}
			looks := third == ThirdACKConntrack && tc.p.proto == protoTCP && tc.meter == 0 && tc.out != 0
			if got.looked != looks {
				t.Errorf("third_ack %s: %s: conntrack asked: %v", third, tc.name, got.looked)
			}
		}
		fragment := tcp4(1, 0)
		fragment.fragment = true
		if got := simulate(tables.Flows, fragment); got.looked || !slices.Equal(got.out, []uint32{2}) {
			t.Errorf("third_ack %s: fragment: %+v", third, got)
		}
		if want := []Meter{{meterBase, 5000}, {meterBase + 1, 77}}; !slices.Equal(tables.Meters, want) {
			t.Errorf("meters %v, want %v", tables.Meters, want)
		}
	}
}

// Attachments told apart by tag on one pair of ports, and a trunk whose tags go to
// different ports.
func TestPipelineVLAN(t *testing.T) {
	b := Bridge{Name: "e", DPID: 1, Attachments: []Attachment{
		{Name: "a", CEPort: 1, PEPort: 2, VLAN: []uint16{100}},
		{Name: "b", CEPort: 1, PEPort: 2, VLAN: []uint16{200, 5}},
		{Name: "c", CEPort: 1, PEPort: 2, VLAN: []uint16{200, 6}},
		{Name: "d", CEPort: 1, PEPort: 2},
		{Name: "x", CEPort: 5, PEPort: 6, VLAN: []uint16{10}},
		{Name: "y", CEPort: 5, PEPort: 7, VLAN: []uint16{11}},
	}}
	if got, want := b.Pairs(), []Pair{{1, 2, 0}, {5, 6, 10}, {5, 7, 11}}; !slices.Equal(got, want) {
		t.Errorf("pairs %v, want %v", got, want)
	}
	tables := mustBuild(t, b, Tap{PuntRate: 5000}, DialectOVS)
	for _, tc := range []struct {
		p     packet
		out   []uint32
		meter uint32
	}{
		{tcp4(1, FlagSYN, 100), []uint32{2}, meterBase},
		{tcp4(2, FlagSYN, 200, 5), []uint32{1}, meterBase + 1},
		{tcp4(1, FlagSYN, 200, 6), []uint32{2}, meterBase + 1}, // the inner tag is not matched
		{tcp4(1, FlagSYN), []uint32{2}, meterBase + 3},
		{tcp4(1, FlagSYN, 999), []uint32{2}, meterBase + 3}, // an unseen wire carries all tags
		{tcp4(5, FlagSYN, 10), []uint32{6}, meterBase + 4},
		{tcp4(5, FlagSYN, 11), []uint32{7}, meterBase + 5},
		{tcp4(6, FlagSYN, 10), []uint32{5}, meterBase + 4},
		{tcp4(7, FlagSYN, 11), []uint32{5}, meterBase + 5},
		{tcp4(5, FlagACK, 12), nil, 0}, // nobody's
	} {
		got := simulate(tables.Flows, tc.p)
		if !slices.Equal(got.out, tc.out) || tc.meter != 0 && !slices.Equal(got.punts, []uint32{tc.meter}) {
			t.Errorf("port %d tags %v: %+v, want out %v, meter %#x", tc.p.in, tc.p.vlan, got, tc.out, tc.meter)
		}
	}
}

func TestDialects(t *testing.T) {
	full := mustBuild(t, two, Tap{PuntRate: 100}, DialectOVS)
	plain := mustBuild(t, two, Tap{PuntRate: 100}, Dialect{Meters: true})
	if want := []Meter{{controllerMeter, 100}}; !slices.Equal(plain.Meters, want) {
		t.Errorf("without meters by attachment: %v, want %v", plain.Meters, want)
	}
	none := mustBuild(t, two, Tap{}, Dialect{})
	if len(none.Meters) != 0 {
		t.Errorf("without meters: %v", none.Meters)
	}
	if unlimited := mustBuild(t, two, Tap{}, DialectOVS); !slices.Equal(unlimited.Meters, []Meter{{meterBase + 1, 77}}) {
		t.Errorf("without a limit but for one attachment: %v", unlimited.Meters)
	}
	if len(full.Flows) != len(plain.Flows) || len(plain.Flows) != len(none.Flows) {
		t.Errorf("%d, %d and %d flows", len(full.Flows), len(plain.Flows), len(none.Flows))
	}
	if got := simulate(none.Flows, tcp4(1, FlagSYN)); !slices.Equal(got.punts, []uint32{0}) {
		t.Errorf("without meters: %+v", got)
	}
	// A switch that cannot match flags still forwards, and taps nothing: all packets
	// would come.
	blind := mustBuild(t, two, Tap{ThirdACK: ThirdACKConntrack}, Dialect{Flags: FlagsNone, Conntrack: true})
	if got := simulate(blind.Flows, tcp4(1, FlagSYN)); len(got.punts) != 0 || !slices.Equal(got.out, []uint32{2}) {
		t.Errorf("without flags: %+v", got)
	}
}

func TestBuildRefuses(t *testing.T) {
	att := func(a ...Attachment) Bridge { return Bridge{Name: "e", DPID: 1, Attachments: a} }
	for name, tc := range map[string]struct {
		b    Bridge
		text string
	}{
		"nothing":                {att(), "no attachments"},
		"port 0":                 {att(Attachment{Name: "a", CEPort: 0, PEPort: 2}), "attachment a: port 0"},
		"reserved port":          {att(Attachment{Name: "a", CEPort: 1, PEPort: 0xfffffffd}), "port 4294967293"},
		"one port":               {att(Attachment{Name: "a", CEPort: 1, PEPort: 1}), "port 1 is the CE's"},
		"three tags":             {att(Attachment{Name: "a", CEPort: 1, PEPort: 2, VLAN: []uint16{1, 2, 3}}), "at most two"},
		"tag 4095":               {att(Attachment{Name: "a", CEPort: 1, PEPort: 2, VLAN: []uint16{4095}}), "VLAN 4095"},
		"same frames":            {att(Attachment{Name: "a", CEPort: 1, PEPort: 2}, Attachment{Name: "b", CEPort: 1, PEPort: 2}), "attachments a and b"},
		"both sides":             {att(Attachment{Name: "a", CEPort: 1, PEPort: 2}, Attachment{Name: "b", CEPort: 2, PEPort: 3}), "port 2 is the CE's"},
		"fork without tags":      {att(Attachment{Name: "a", CEPort: 1, PEPort: 2}, Attachment{Name: "b", CEPort: 1, PEPort: 3, VLAN: []uint16{7}}), "VLAN tag"},
		"fork by inner tag only": {att(Attachment{Name: "a", CEPort: 1, PEPort: 2, VLAN: []uint16{7, 1}}, Attachment{Name: "b", CEPort: 1, PEPort: 3, VLAN: []uint16{7, 2}}), "outer tag"},
	} {
		_, err := Build(tc.b, Tap{}, DialectOVS)
		if err == nil || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v, want %q", name, err, tc.text)
		}
	}
}

// drawBridge makes a valid bridge.
func drawBridge(t *rapid.T) Bridge {
	b := Bridge{Name: "e", DPID: 1}
	port := uint32(1)
	for i := range rapid.IntRange(1, 4).Draw(t, "pairs") {
		ce, pe := port, port+1
		port += 2
		a := Attachment{Name: fmt.Sprint(i), CEPort: ce, PEPort: pe}
		if rapid.Bool().Draw(t, "swap") {
			a.CEPort, a.PEPort = pe, ce
		}
		for _, v := range rapid.SliceOfNDistinct(rapid.Uint16Range(1, 5), 0, 3, rapid.ID).Draw(t, "tags") {
			tagged := a
			tagged.VLAN = []uint16{v}
			if rapid.Bool().Draw(t, "inner") {
				tagged.VLAN = append(tagged.VLAN, rapid.Uint16Range(1, 3).Draw(t, "tag"))
			}
			b.Attachments = append(b.Attachments, tagged)
		}
		if len(b.Attachments) == 0 || b.Attachments[len(b.Attachments)-1].CEPort != a.CEPort || rapid.Bool().Draw(t, "untagged") {
			b.Attachments = append(b.Attachments, a)
		}
	}
	return b
}

func drawPacket(t *rapid.T) packet {
	p := packet{in: rapid.Uint32Range(1, 9).Draw(t, "in"), vlan: rapid.SliceOfN(rapid.Uint16Range(1, 6), 0, 2).Draw(t, "vlan"),
		ether:    rapid.SampledFrom([]uint16{etherIPv4, etherIPv6, 0x0806, 0x88cc}).Draw(t, "ether"),
		fragment: rapid.Bool().Draw(t, "fragment"), dscp: rapid.Uint8Range(0, 63).Draw(t, "dscp")}
	if p.ether == etherIPv4 || p.ether == etherIPv6 {
		p.proto = rapid.SampledFrom([]uint8{6, 17}).Draw(t, "proto")
		q := tcp4(1, 0)
		if p.ether == etherIPv6 {
			q = tcp6(1, 0)
		}
		p.src, p.dst = q.src, netip.AddrPortFrom(q.dst.Addr(), rapid.Uint16Range(80, 82).Draw(t, "port"))
	}
	if p.proto == protoTCP {
		p.flags = rapid.Uint16Range(0, 0xfff).Draw(t, "flags")
	}
	return p
}

// Whatever the bridge and the packet: it leaves at the other side of its pair and
// nowhere else, it is punted once if it is a handshake's and not otherwise, and edge
// rules change its DSCP and nothing else.
func TestPipelineProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBridge(t)
		tap := Tap{ThirdACK: ThirdACK(rapid.IntRange(0, 2).Draw(t, "third"))}
		tables, err := Build(b, tap, DialectOVS)
		if err != nil {
			t.Skip(err) // inner tags alone may collide
		}
		var rules []EdgeRule
		for id := range rapid.Uint64Range(0, 4).Draw(t, "rules") {
			q := tcp4(1, 0)
			if rapid.Bool().Draw(t, "six") {
				q = tcp6(1, 0)
			}
			r := EdgeRule{ID: id, InPort: rapid.Uint32Range(1, 8).Draw(t, "at"), Src: q.src,
				Dst: netip.AddrPortFrom(q.dst.Addr(), uint16(80+id)), Action: Count}
			if rapid.Bool().Draw(t, "mark") {
				r.Action = MarkDSCP(rapid.Uint8Range(0, 63).Draw(t, "to"))
			}
			rules = append(rules, r)
		}
		entries, err := edgeFlows(rules)
		if err != nil {
			t.Fatal(err)
		}
		flows := slices.Clone(tables.Flows)
		for id, e := range entries {
			e.flow.Cookie = cookie(kindEdge, 1, uint32(id))
			flows = append(flows, e.flow)
		}
		p := drawPacket(t)
		got := simulate(flows, p)

		var want []uint32
		for _, a := range b.Attachments {
			if p.in == a.CEPort {
				want = []uint32{a.PEPort}
			} else if p.in == a.PEPort {
				want = []uint32{a.CEPort}
			}
		}
		if !slices.Equal(got.out, want) || got.lost {
			t.Fatalf("%+v of %+v: left at %v, want %v", p, b, got.out, want)
		}
		punts := 0
		if want != nil && p.proto == protoTCP && p.flags&(FlagSYN|FlagFIN|FlagRST) != 0 {
			// With tags alone configured, other frames of the port are not tapped.
			for _, a := range b.Attachments {
				if (p.in == a.CEPort || p.in == a.PEPort) && (len(a.VLAN) == 0 || len(p.vlan) > 0 && a.VLAN[0] == p.vlan[0]) {
					punts = 1
				}
			}
		}
		if len(got.punts) != punts {
			t.Fatalf("%+v of %+v: punted %v, want %d times", p, b, got.punts, punts)
		}
		dscp, met := p.dscp, 0
		for _, r := range rules {
			if r.InPort == p.in && r.Src == p.src && r.Dst == p.dst && p.proto == protoTCP && want != nil {
				met++
				if n, ok := r.Action.DSCP(); ok {
					dscp = n
				}
			}
		}
		if got.dscp != dscp || len(got.edge) != met {
			t.Fatalf("%+v: DSCP %d, met %v; want %d, %d rules", p, got.dscp, got.edge, dscp, met)
		}
	})
}

// A new generation is laid over whatever was there before, one flow at a time: at
// no time does a packet of a pair lose its way.
func TestNoGapWhileInstalling(t *testing.T) {
	for _, third := range []ThirdACK{ThirdACKOff, ThirdACKConntrack} {
		old := mustBuild(t, two, Tap{}, DialectOVS)
		now := mustBuild(t, two, Tap{ThirdACK: third, MaxLen: 128}, DialectOVS)
		guard := []Flow{
			{Priority: 1, Match: Match{InPort: 1}, Actions: Actions{Output: 2}, Cookie: GuardCookie},
			{Priority: 1, Match: Match{InPort: 2}, Actions: Actions{Output: 1}, Cookie: GuardCookie},
		}
		for name, before := range map[string][]Flow{"an older run": old.Flows, "the guard": guard} {
			var s step
			for _, f := range before {
				s.add(f)
			}
			for i, f := range now.Flows {
				s.add(f)
				for _, p := range []packet{tcp4(1, FlagSYN), tcp6(2, FlagACK), {in: 1, ether: 0x0806}} {
					if got := simulate(s.list(), p); len(got.out) != 1 || got.out[0] != 3-p.in {
						t.Fatalf("%s, after %d flows (%s): packet %+v: %+v", name, i+1, &f, p, got)
					}
				}
			}
		}
	}
}
