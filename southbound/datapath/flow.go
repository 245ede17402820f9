package datapath

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Tables of the pipeline.
const (
	TableTap uint8 = iota
	TableSteer
	TableForward
	tableTracked // after conntrack, in third_ack conntrack mode only
	tableCount
)

// Priorities. Within a table, no two flows of one priority overlap, except tap
// flows that do the same.
const (
	prioPort    = 10  // tap: all packets of a port go on
	prioTrack   = 100 // tap: through conntrack
	prioExpect  = 200 // tap: an expected third ACK
	prioFlags   = 300 // tap: SYN, FIN, RST
	prioTagged  = 20  // added where the attachment has a VLAN tag
	prioDefault = 1   // steer, tracked: packets that no rule names
	prioPuntEst = 100 // tracked: the first packet of an established connection
	prioEdge    = 1000
	prioPair    = 10 // forward
)

// TCP flags, RFC 9293 section 3.1.
const (
	FlagFIN uint16 = 1 << 0
	FlagSYN uint16 = 1 << 1
	FlagRST uint16 = 1 << 2
	FlagACK uint16 = 1 << 4
)

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	protoTCP  = 6

	vlanPresent = 0x1000 // OFPVID_PRESENT
)

// Match is what a flow matches. Zero fields match everything. Matches are
// compared with ==.
type Match struct {
	InPort uint32
	// VLAN is 0x1000 | vid of the outer tag.
	VLAN      uint16
	EtherType uint16
	Proto     uint8
	Src, Dst  netip.AddrPort
	// Flags are compared where FlagMask has ones.
	Flags, FlagMask uint16
	// Unfragmented matches no fragment but whole packets.
	Unfragmented bool
	// CT matches conntrack's view of the packet.
	CT CTState
	// Other holds match fields that mpbox never uses, in wire format.
	Other string
}

// CTState is a condition on conntrack: the zero value is none.
type CTState uint8

// Conditions on conntrack.
const (
	ctAny CTState = iota
	// ctFreshlyEstablished: established, in the direction of its SYN, not marked.
	ctFreshlyEstablished
)

// Actions of a flow, in the order in which they are carried out. They are
// compared with ==.
type Actions struct {
	// Punt sends a copy of at most MaxLen bytes to the controller; Meter 0 is none.
	Punt   bool
	MaxLen uint16
	Meter  uint32
	// SetDSCP rewrites the DSCP and leaves ECN alone.
	SetDSCP bool
	DSCP    uint8
	// Track is what conntrack does.
	Track Track
	// Zone of conntrack.
	Zone uint16
	// Output is a port; 0 is none.
	Output uint32
	// Goto is the next table; 0 is none.
	Goto uint8
	// Other holds instructions that mpbox never uses, in wire format.
	Other string
}

// Track is a use of conntrack.
type Track uint8

// Uses of conntrack.
const (
	trackNone   Track = iota
	trackCommit       // remember the connection, go on
	trackUpdate       // show it the packet, go on
	trackLook         // show it the packet, go on in the table tracked
	trackMark         // mark the connection as punted, go on
)

// Flow is one entry of a table.
type Flow struct {
	Table    uint8
	Priority uint16
	Match    Match
	Actions  Actions
	Cookie   uint64
	// Idle and Hard are time-outs in whole seconds; 0 is none.
	Idle, Hard time.Duration
	// Notify asks for a message when the flow ends.
	Notify bool
}

// flowKey tells flows apart: a switch holds one flow of each key.
type flowKey struct {
	Table    uint8
	Priority uint16
	Match    Match
}

func (f *Flow) key() flowKey { return flowKey{f.Table, f.Priority, f.Match} }

// same tells whether f and g differ in nothing but their generation.
func (f *Flow) same(g *Flow) bool {
	return f.key() == g.key() && f.Actions == g.Actions && f.Idle == g.Idle && f.Hard == g.Hard && f.Notify == g.Notify
}

// Meter limits punts to Rate packets/s.
type Meter struct {
	ID   uint32
	Rate uint32
}

// String is like ovs-ofctl's, for logs and errors.
func (f *Flow) String() string {
	return fmt.Sprintf("table=%d,priority=%d%s actions=%s", f.Table, f.Priority, f.Match, f.Actions)
}

func (m Match) String() string {
	var b strings.Builder
	add := func(format string, v ...any) { fmt.Fprintf(&b, ","+format, v...) }
	if m.InPort != 0 {
		add("in_port=%d", m.InPort)
	}
	if m.VLAN != 0 {
		add("dl_vlan=%d", m.VLAN&0xfff)
	}
	if m.EtherType != 0 {
		add("dl_type=0x%04x", m.EtherType)
	}
	if m.Proto != 0 {
		add("nw_proto=%d", m.Proto)
	}
	if m.Src.Addr().IsValid() {
		add("src=%s", m.Src)
	}
	if m.Dst.Addr().IsValid() {
		add("dst=%s", m.Dst)
	}
	if m.FlagMask != 0 {
		add("tcp_flags=0x%x/0x%x", m.Flags, m.FlagMask)
	}
	if m.Unfragmented {
		add("ip_frag=no")
	}
	if m.CT != ctAny {
		add("ct=freshly-established")
	}
	if m.Other != "" {
		add("other=%x", m.Other)
	}
	return b.String()
}

func (a Actions) String() string {
	var s []string
	add := func(format string, v ...any) { s = append(s, fmt.Sprintf(format, v...)) }
	if a.Punt {
		add("controller(max_len=%d,meter_id=%d)", a.MaxLen, a.Meter)
	}
	if a.SetDSCP {
		add("set_dscp:%d", a.DSCP)
	}
	switch a.Track {
	case trackCommit:
		add("ct(commit,zone=%d)", a.Zone)
	case trackUpdate:
		add("ct(zone=%d)", a.Zone)
	case trackLook:
		add("ct(zone=%d,table=%d)", a.Zone, tableTracked)
	case trackMark:
		add("ct(commit,zone=%d,mark)", a.Zone)
	}
	if a.Output != 0 {
		add("output:%d", a.Output)
	}
	if a.Goto != 0 {
		add("goto_table:%d", a.Goto)
	}
	if a.Other != "" {
		add("other=%x", a.Other)
	}
	if len(s) == 0 {
		return "drop"
	}
	return strings.Join(s, ",")
}

func (m Meter) String() string { return fmt.Sprintf("%#x (%d packets/s)", m.ID, m.Rate) }
