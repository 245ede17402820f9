package datapath

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Bridge is the configuration of one edge bridge.
type Bridge struct {
	Name        string
	DPID        uint64
	Attachments []Attachment
}

// Attachment joins a CE-facing port with the PE-facing port behind it. With VLAN
// tags (outer first) it is the frames with these tags only, and several
// attachments may share their ports.
type Attachment struct {
	Name           string
	CEPort, PEPort uint32
	VLAN           []uint16
	// PuntRate limits its punts, in packets/s; 0 means Tap.PuntRate.
	PuntRate uint32
	// Zone is conntrack's, in third_ack conntrack mode: different for all
	// attachments of all bridges of a switch process. 0 lets Build count from 1.
	Zone uint16
}

// ThirdACK is how the third packet of a handshake is caught.
type ThirdACK uint8

// The ways: not at all; by a rule that the controller sets for each MPTCP SYN
// (Registry.Expect); by conntrack on the switch, for all TCP connections.
const (
	ThirdACKOff ThirdACK = iota
	ThirdACKReactive
	ThirdACKConntrack
)

// ParseThirdACK reads "off", "reactive" or "conntrack".
func ParseThirdACK(s string) (ThirdACK, error) {
	for i, name := range thirdACKNames {
		if s == name {
			return ThirdACK(i), nil
		}
	}
	return 0, fmt.Errorf("third_ack %q: off, reactive or conntrack", s)
}

var thirdACKNames = [...]string{"off", "reactive", "conntrack"}

func (t ThirdACK) String() string { return thirdACKNames[t] }

// Tap is what is copied to the controller, and how much of it.
type Tap struct {
	ThirdACK ThirdACK
	// PuntRate limits punts, in packets/s: of each attachment that names no rate,
	// and of the whole switch where it cannot meter attachments. 0: no limit.
	PuntRate uint32
	// MaxLen is how many bytes of a packet are sent; 0 means 256: Ethernet with two
	// tags, IPv6 with some extension headers and all TCP options.
	MaxLen uint16
}

func (t Tap) withDefaults() Tap {
	if t.MaxLen == 0 {
		t.MaxLen = 256
	}
	return t
}

// meter of the bridge's attachment i; the zero value where its punts are not limited.
func (t Tap) meter(i int, a *Attachment) Meter {
	if rate := cmp.Or(a.PuntRate, t.PuntRate); rate > 0 {
		return Meter{meterBase + uint32(i), rate}
	}
	return Meter{}
}

// Action is what an edge rule does with the packets of its flow.
type Action struct {
	mark bool
	dscp uint8
}

// Count counts, and changes nothing.
var Count = Action{}

// MarkDSCP sets the DSCP to n (0 to 63) and keeps ECN.
func MarkDSCP(n uint8) Action { return Action{mark: true, dscp: n} }

// DSCP tells which DSCP the action sets, if it does.
func (a Action) DSCP() (n uint8, ok bool) { return a.dscp, a.mark }

func (a Action) String() string {
	if a.mark {
		return fmt.Sprintf("mark-dscp %d", a.dscp)
	}
	return "count"
}

// EdgeRule is about one direction of one TCP connection at one port. To restore
// the customer's DSCP at the far edge, install MarkDSCP with the old value there,
// with the PE's port as InPort.
type EdgeRule struct {
	// ID is the caller's; it comes back when the rule ends.
	ID     uint64
	InPort uint32
	// VLAN tags of the attachment, outer first. Switches match the outer one only:
	// rules that differ in the inner tag alone are refused.
	VLAN     []uint16
	Src, Dst netip.AddrPort
	Action   Action
	// IdleTimeout ends the rule after that long without a packet, in whole seconds
	// up to 65535; 0 is never.
	IdleTimeout time.Duration
}

// Dialect is what a switch understands beyond OpenFlow 1.3.
type Dialect struct {
	// Flags is how TCP flags are matched.
	Flags FlagsMatch
	// PuntMeter: punts can be metered by attachment (Nicira's controller2 action).
	PuntMeter bool
	// Meters: there are meters at all.
	Meters bool
	// Conntrack: Nicira's ct action and match fields.
	Conntrack bool
}

// FlagsMatch is a way to match TCP flags.
type FlagsMatch uint8

// Ways to match TCP flags: Nicira's extension (Open vSwitch), ONF's extension to
// OpenFlow 1.3 (EXT-109), none.
const (
	FlagsNXM FlagsMatch = iota
	FlagsONF
	FlagsNone
)

// DialectOVS is what Open vSwitch 2.8 and later understand.
var DialectOVS = Dialect{Flags: FlagsNXM, PuntMeter: true, Meters: true, Conntrack: true}

// ErrNoFlags tells that the switch has no match on TCP flags, which the tap needs.
var ErrNoFlags = errors.New("the switch cannot match TCP flags, so its handshakes cannot be tapped: mirror the port instead, and add the mirror to mirrors in the configuration")

// meterBase is the number of the first attachment's meter: far from those that
// people choose.
const meterBase = 0x6d00

// Tables is what a bridge should hold.
type Tables struct {
	Meters []Meter
	// Flows are sorted so that a packet never meets a goto whose target is not
	// there: forward first, tap last.
	Flows []Flow
}

// Build returns what a bridge should hold, edge rules left out. It refuses
// attachments that contradict each other.
func Build(b Bridge, tap Tap, d Dialect) (Tables, error) {
	tap = tap.withDefaults()
	if err := b.check(); err != nil {
		return Tables{}, err
	}
	var t Tables
	t.forward(b)
	t.add(Flow{Table: TableSteer, Priority: prioDefault, Actions: Actions{Goto: TableForward}})
	track := tap.ThirdACK == ThirdACKConntrack && d.Conntrack && d.Flags != FlagsNone
	seen := map[outerKey]bool{}
	for i, a := range b.Attachments {
		// Attachments that differ in the inner tag only share flows and meter.
		if k := (outerKey{a.CEPort, a.outer()}); seen[k] {
			continue
		} else {
			seen[k] = true
		}
		meter := Meter{}
		if d.PuntMeter && d.Meters {
			meter = tap.meter(i, &a)
		}
		if meter.Rate > 0 {
			t.Meters = append(t.Meters, meter)
		}
		zone := cmp.Or(a.Zone, uint16(i+1))
		for _, port := range []uint32{a.CEPort, a.PEPort} {
			if d.Flags != FlagsNone {
				t.tap(port, a.outer(), tap, meter.ID, zone, track)
			}
		}
		if track {
			t.tracked(a, tap, meter.ID, zone)
		}
	}
	if d.Meters && !d.PuntMeter && tap.PuntRate > 0 {
		t.Meters = append(t.Meters, Meter{controllerMeter, tap.PuntRate})
	}
	for _, port := range b.ports() {
		t.add(Flow{Table: TableTap, Priority: prioPort, Match: Match{InPort: port}, Actions: Actions{Goto: TableSteer}})
	}
	slices.SortStableFunc(t.Flows, func(a, b Flow) int { return int(tableOrder(b.Table)) - int(tableOrder(a.Table)) })
	return t, nil
}

const controllerMeter = 0xfffffffe // OFPM_CONTROLLER: all punts of the switch

// tableOrder is the order in which a packet meets the tables.
func tableOrder(table uint8) uint8 {
	switch table {
	case TableTap:
		return 0
	case tableTracked:
		return 1
	}
	return table + 1
}

type outerKey struct {
	port uint32
	vlan uint16
}

func (t *Tables) add(f Flow) {
	f.Cookie = cookie(kindInfra, 0, 0)
	t.Flows = append(t.Flows, f)
}

// outer is the outer tag as it is matched; 0 for none.
func (a *Attachment) outer() uint16 { return outerTag(a.VLAN) }

func outerTag(vlan []uint16) uint16 {
	if len(vlan) == 0 {
		return 0
	}
	return vlanPresent | vlan[0]
}

// tap adds the flows that punt at one port.
func (t *Tables) tap(port uint32, vlan uint16, tap Tap, meter uint32, zone uint16, track bool) {
	prio := func(p uint16) uint16 {
		if vlan != 0 {
			p += prioTagged
		}
		return p
	}
	punt := Actions{Punt: true, MaxLen: tap.MaxLen, Meter: meter, Goto: TableSteer}
	for _, ether := range []uint16{etherIPv4, etherIPv6} {
		tcp := Match{InPort: port, VLAN: vlan, EtherType: ether, Proto: protoTCP}
		// SYN with and without ACK, FIN, RST. A packet with several of them is
		// punted once, whichever flow it meets.
		for i, flag := range []uint16{FlagSYN, FlagFIN, FlagRST} {
			m, a := tcp, punt
			m.Flags, m.FlagMask = flag, flag
			if track {
				// conntrack has to see the whole handshake, and its end.
				a.Track, a.Zone = trackUpdate, zone
				if flag == FlagSYN {
					a.Track = trackCommit
				}
			}
			t.add(Flow{Table: TableTap, Priority: prio(prioFlags) - uint16(i), Match: m, Actions: a})
		}
		if track {
			// Fragments would be held until they are whole.
			m := tcp
			m.Unfragmented = true
			t.add(Flow{Table: TableTap, Priority: prio(prioTrack), Match: m, Actions: Actions{Track: trackLook, Zone: zone}})
		}
	}
}

// tracked adds the flows behind conntrack: the first packet of an established
// connection in the direction of its SYN is the third ACK.
func (t *Tables) tracked(a Attachment, tap Tap, meter uint32, zone uint16) {
	for _, port := range []uint32{a.CEPort, a.PEPort} {
		prio := uint16(prioPuntEst)
		if a.outer() != 0 {
			prio += prioTagged
		}
		for _, ether := range []uint16{etherIPv4, etherIPv6} {
			t.add(Flow{Table: tableTracked, Priority: prio,
				Match:   Match{InPort: port, VLAN: a.outer(), EtherType: ether, Proto: protoTCP, CT: ctFreshlyEstablished},
				Actions: Actions{Punt: true, MaxLen: tap.MaxLen, Meter: meter, Track: trackMark, Zone: zone, Goto: TableSteer}})
		}
	}
	def := Flow{Table: tableTracked, Priority: prioDefault, Actions: Actions{Goto: TableSteer}}
	if !slices.ContainsFunc(t.Flows, func(f Flow) bool { return f.key() == def.key() }) {
		t.add(def)
	}
}

// forward adds the port pairs.
func (t *Tables) forward(b Bridge) {
	for _, p := range b.Pairs() {
		for _, side := range [][2]uint32{{p.CEPort, p.PEPort}, {p.PEPort, p.CEPort}} {
			f := Flow{Table: TableForward, Priority: prioPair, Match: Match{InPort: side[0]}, Actions: Actions{Output: side[1]}}
			if p.VLAN != 0 {
				f.Match.VLAN = vlanPresent | p.VLAN
			}
			t.add(f)
		}
	}
}

// Pair is two ports that a bridge joins; VLAN, if not 0, limits it to frames with
// this outer tag.
type Pair struct {
	CEPort, PEPort uint32
	VLAN           uint16
}

// Pairs lists what the bridge joins. Ports that are in one pair are joined whole,
// with all that an unseen wire would carry; a port that is in several, by tag.
func (b Bridge) Pairs() []Pair {
	peers := b.peers()
	var out []Pair
	for _, a := range b.Attachments {
		p := Pair{CEPort: a.CEPort, PEPort: a.PEPort}
		if (len(peers[a.CEPort]) > 1 || len(peers[a.PEPort]) > 1) && len(a.VLAN) > 0 {
			p.VLAN = a.VLAN[0]
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// peers lists the ports that each port is joined with.
func (b *Bridge) peers() map[uint32]map[uint32]bool {
	peers := map[uint32]map[uint32]bool{}
	b.eachSide(func(in, out uint32, _ Attachment) {
		if peers[in] == nil {
			peers[in] = map[uint32]bool{}
		}
		peers[in][out] = true
	})
	return peers
}

func (b *Bridge) eachSide(fn func(in, out uint32, a Attachment)) {
	for _, a := range b.Attachments {
		fn(a.CEPort, a.PEPort, a)
		fn(a.PEPort, a.CEPort, a)
	}
}

// ports lists the ports of all attachments, each once.
func (b *Bridge) ports() []uint32 {
	var ports []uint32
	b.eachSide(func(in, _ uint32, _ Attachment) { ports = append(ports, in) })
	slices.Sort(ports)
	return slices.Compact(ports)
}

// maxPort is the highest number of a port (OFPP_MAX).
const maxPort = 0xffffff00

func (b *Bridge) check() error {
	if len(b.Attachments) == 0 {
		return fmt.Errorf("bridge %s: no attachments", b.Name)
	}
	ce, pe := map[uint32]string{}, map[uint32]string{}
	for _, a := range b.Attachments {
		ce[a.CEPort], pe[a.PEPort] = a.Name, a.Name
	}
	for port, a := range ce {
		if other, ok := pe[port]; ok {
			return fmt.Errorf("bridge %s: port %d is the CE's port of attachment %s and the PE's of %s", b.Name, port, a, other)
		}
	}
	peers := b.peers()
	tags := map[string]string{}
	for _, a := range b.Attachments {
		for _, p := range []uint32{a.CEPort, a.PEPort} {
			if p == 0 || p > maxPort {
				return fmt.Errorf("bridge %s: attachment %s: port %d: must be 1 to %d", b.Name, a.Name, p, uint32(maxPort))
			}
		}
		if a.CEPort == a.PEPort {
			return fmt.Errorf("bridge %s: attachment %s: ce_port and pe_port are both %d", b.Name, a.Name, a.CEPort)
		}
		if len(a.VLAN) > 2 {
			return fmt.Errorf("bridge %s: attachment %s: %d VLAN tags: at most two (outer, inner)", b.Name, a.Name, len(a.VLAN))
		}
		for _, v := range a.VLAN {
			if v == 0 || v > 4094 {
				return fmt.Errorf("bridge %s: attachment %s: VLAN %d: must be 1 to 4094", b.Name, a.Name, v)
			}
		}
		for _, side := range [][2]uint32{{a.CEPort, a.PEPort}, {a.PEPort, a.CEPort}} {
			k := fmt.Sprint(side[0], a.VLAN)
			if other, ok := tags[k]; ok {
				return fmt.Errorf("bridge %s: attachments %s and %s are the same frames of port %d: give them different VLAN tags", b.Name, other, a.Name, side[0])
			}
			tags[k] = a.Name
		}
	}
	outer := map[outerKey]uint32{} // in port and outer tag -> out port
	for _, a := range b.Attachments {
		for _, side := range [][2]uint32{{a.CEPort, a.PEPort}, {a.PEPort, a.CEPort}} {
			if len(peers[side[0]]) < 2 {
				continue
			}
			if len(a.VLAN) == 0 {
				return fmt.Errorf("bridge %s: attachment %s: port %d is paired with several ports: give each of its attachments a VLAN tag", b.Name, a.Name, side[0])
			}
			k := outerKey{side[0], a.outer()}
			if out, ok := outer[k]; ok && out != side[1] {
				return fmt.Errorf("bridge %s: attachment %s: VLAN %d of port %d goes to two ports: switches forward by the outer tag", b.Name, a.Name, a.VLAN[0], side[0])
			}
			outer[k] = side[1]
		}
	}
	return nil
}
