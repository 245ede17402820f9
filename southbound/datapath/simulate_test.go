package datapath

import (
	"net/netip"
	"slices"
)

// A table simulator: what becomes of a packet? It follows OpenFlow's rules for
// matching (highest priority wins), not this package's ideas.

// packet is what flows look at.
type packet struct {
	in       uint32
	vlan     []uint16 // outer first
	ether    uint16
	proto    uint8
	src, dst netip.AddrPort
	flags    uint16
	fragment bool // any fragment
	dscp     uint8
}

// fate is what became of it.
type fate struct {
	out    []uint32 // ports
	punts  []uint32 // meters
	maxLen uint16
	dscp   uint8
	edge   []uint64 // cookies of the edge rules it met
	looked bool     // conntrack was asked: the way goes on in table tracked
	lost   bool     // a goto led to a table without a flow for it
}

func (m Match) covers(p packet) bool {
	switch {
	case m.Other != "",
		m.InPort != 0 && m.InPort != p.in,
		m.EtherType != 0 && m.EtherType != p.ether,
		m.Proto != 0 && m.Proto != p.proto,
		m.Src.Addr().IsValid() && m.Src.Addr() != p.src.Addr(),
		m.Src.Port() != 0 && m.Src.Port() != p.src.Port(),
		m.Dst.Addr().IsValid() && m.Dst.Addr() != p.dst.Addr(),
		m.Dst.Port() != 0 && m.Dst.Port() != p.dst.Port(),
		p.flags&m.FlagMask != m.Flags,
		m.Unfragmented && p.fragment,
		m.CT != ctAny: // decided by tests of conntrack on a real switch
		return false
	}
	return m.VLAN == 0 || len(p.vlan) > 0 && m.VLAN == vlanPresent|p.vlan[0]
}

// simulate sends p through the tables.
func simulate(flows []Flow, p packet) fate {
	r := fate{dscp: p.dscp}
	table := TableTap
	for {
		var best []Flow
		for _, f := range flows {
			if f.Table != table || !f.Match.covers(p) {
				continue
			}
			if len(best) > 0 && best[0].Priority < f.Priority {
				best = nil
			}
			if len(best) == 0 || best[0].Priority == f.Priority {
				best = append(best, f)
			}
		}
		if len(best) == 0 {
			r.lost = table != TableTap
			return r
		}
		// Two flows of one priority that a packet meets both: OpenFlow leaves open
		// which it is, so they must do the same.
		for _, f := range best[1:] {
			if f.Actions != best[0].Actions {
				panic("ambiguous: " + best[0].String() + " and " + f.String())
			}
		}
		a := best[0].Actions
		if kindOf(best[0].Cookie) == kindEdge {
			r.edge = append(r.edge, best[0].Cookie)
		}
		if a.Punt {
			r.punts, r.maxLen = append(r.punts, a.Meter), a.MaxLen
		}
		if a.SetDSCP {
			r.dscp = a.DSCP
		}
		if a.Output != 0 {
			r.out = append(r.out, a.Output)
		}
		switch {
		case a.Track == trackLook:
			r.looked, table = true, tableTracked
		case a.Goto > table || table == tableTracked && a.Goto != 0:
			table = a.Goto
		case a.Goto != 0:
			panic("goto backwards: " + best[0].String())
		default:
			return r
		}
	}
}

// step is a flow table that takes one message at a time, as a switch does.
type step struct{ flows map[flowKey]Flow }

func (s *step) add(f Flow) {
	if s.flows == nil {
		s.flows = map[flowKey]Flow{}
	}
	s.flows[f.key()] = f
}

func (s *step) list() []Flow {
	var out []Flow
	for _, f := range s.flows {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Flow) int { return int(b.Priority) - int(a.Priority) })
	return out
}
