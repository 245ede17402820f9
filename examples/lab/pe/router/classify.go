package router

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"mpbox/examples/lab/fabric"
	"mpbox/topology"
)

// class is a FEC on its way to an LSP, before it is known which path that is.
type class struct {
	key string // stable name, for the entry's id
	fec topology.FEC
	// tunnel, or forward class to egress.
	tunnel  TunnelID
	direct  bool
	forward uint8
}

// classes gives what the configuration classifies, first match first: the FTN
// rows of each interface in the order of its list, then its service policy.
func (c *Config) classes(ifName map[uint32]string) []class {
	var cs []class
	ifs := slices.Sorted(maps.Keys(c.Maps))
	if len(ifs) > 0 && ifs[0] == 0 { // ifIndex 0 is any interface: last
		ifs = append(ifs[1:], 0)
	}
	for _, i := range ifs {
		for _, m := range c.Maps[i] {
			row, ok := c.FTNs[m.FTN]
			target, points := row.Target()
			if !ok || m.Status != Active || row.Status != Active || !points {
				continue // RFC 3814: no action is taken
			}
			fec, err := row.FEC(ifName[i])
			if err != nil {
				continue // active rows were checked
			}
			cs = append(cs, class{key: ftnKey(m.FTN, fec), fec: fec, tunnel: target, direct: true})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.CLI.Policies)) {
		cs = append(cs, c.CLI.policyClasses(name, c.CLI.Policies[name])...)
	}
	return cs
}

func (c *CLI) policyClasses(ifName, policy string) []class {
	var cs []class
	for _, pc := range c.PolicyMaps[policy].Classes {
		add := func(key string, fec topology.FEC) {
			fec.Interface = ifName
			cs = append(cs, class{key: fmt.Sprintf("%s %s %v", pc.Name, key, fec), fec: fec, forward: pc.Forward})
		}
		if pc.Name == DefaultClass {
			add("", topology.FEC{})
			continue
		}
		cm := c.ClassMaps[pc.Name]
		for _, name := range cm.ACLs {
			acl := c.ACLs[name]
			for _, seq := range slices.Sorted(maps.Keys(acl)) {
				if e := acl[seq]; e.Remark == "" && !e.Deny {
					add(fmt.Sprintf("%s %d", name.Name, seq), e.FEC())
				}
			}
		}
		for _, d := range cm.DSCPs {
			add(fmt.Sprintf("dscp %d", d), topology.FEC{HasDSCP: true, DSCP: d})
		}
	}
	return cs
}

// FEC gives the packets that an entry of an access list permits.
func (e ACE) FEC() topology.FEC {
	return topology.FEC{Protocol: e.Protocol, Src: e.Src, Dst: e.Dst, SrcPort: e.SrcPort, DstPort: e.DstPort, DSCP: e.DSCP, HasDSCP: e.HasDSCP}
}

// FEC gives the packets that an FTN row matches on an interface. The data plane
// knows prefixes and single ports: ranges that are neither are an error.
func (f FTN) FEC(ifName string) (topology.FEC, error) {
	fec := topology.FEC{Interface: ifName}
	var err error
	if f.Mask&FTNSource != 0 {
		if fec.Src, err = rangePrefix(f.SrcMin, f.SrcMax); err != nil {
			return fec, fmt.Errorf("source address: %w", err)
		}
	}
	if f.Mask&FTNDest != 0 {
		if fec.Dst, err = rangePrefix(f.DstMin, f.DstMax); err != nil {
			return fec, fmt.Errorf("destination address: %w", err)
		}
	}
	if fec.Src.IsValid() && fec.Dst.IsValid() && fec.Src.Addr().Is4() != fec.Dst.Addr().Is4() {
		return fec, fmt.Errorf("addresses of two families")
	}
	if f.Mask&FTNSrcPort != 0 {
		if fec.SrcPort, err = rangePort(f.SrcPortMin, f.SrcPortMax); err != nil {
			return fec, fmt.Errorf("source port: %w", err)
		}
	}
	if f.Mask&FTNDstPort != 0 {
		if fec.DstPort, err = rangePort(f.DstPortMin, f.DstPortMax); err != nil {
			return fec, fmt.Errorf("destination port: %w", err)
		}
	}
	if f.Mask&FTNProtocol != 0 && f.Protocol < 255 {
		fec.Protocol = uint8(f.Protocol)
	}
	if f.Mask&FTNDSCP != 0 {
		fec.HasDSCP, fec.DSCP = true, uint8(f.DSCP)
	}
	if (fec.SrcPort != 0 || fec.DstPort != 0) && fec.Protocol != 6 && fec.Protocol != 17 && fec.Protocol != 132 {
		return fec, fmt.Errorf("ports need protocol TCP, UDP or SCTP")
	}
	return fec, nil
}

func rangePrefix(lo, hi []byte) (netip.Prefix, error) {
	a, ok1 := netip.AddrFromSlice(lo)
	b, ok2 := netip.AddrFromSlice(hi)
	if !ok1 || !ok2 || len(lo) != len(hi) {
		return netip.Prefix{}, fmt.Errorf("range %x to %x is no address range", lo, hi)
	}
	for bits := a.BitLen(); bits >= 0; bits-- {
		p := netip.PrefixFrom(a, bits).Masked()
		if p.Addr() == a && bytes.Equal(lastAddr(p), b.AsSlice()) {
			return p, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("range %v to %v is no prefix", a, b)
}

func lastAddr(p netip.Prefix) []byte {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return b
}

func rangePort(lo, hi uint16) (uint16, error) {
	switch {
	case lo == hi && lo != 0:
		return lo, nil
	case lo == 0 && hi == 65535:
		return 0, nil
	}
	return 0, fmt.Errorf("range %d to %d is neither one port nor any", lo, hi)
}

// ingress resolves the classes to the paths that are up.
func (s *signaller) ingress(c *Config) fabric.Ingress {
	in := fabric.Ingress{Defaults: map[string]uint32{}}
	byClass := map[string]map[uint8]uint32{} // egress, forward class -> path
	for _, id := range slices.SortedFunc(maps.Keys(s.lsps), TunnelID.Compare) {
		l := s.lsps[id]
		if l.cur == nil || !l.head.CLI {
			continue
		}
		egress := s.egressName(l.head.Egress)
		if l.head.Class != 0 {
			if byClass[egress] == nil {
				byClass[egress] = map[uint8]uint32{}
			}
			if _, lower := byClass[egress][l.head.Class]; !lower {
				byClass[egress][l.head.Class] = l.cur.Path.ID
			}
		} else if _, lower := in.Defaults[egress]; !lower && l.head.Autoroute {
			in.Defaults[egress] = l.cur.Path.ID
		}
	}
	used := map[string]uint32{}
	add := func(key string, fec topology.FEC, path uint32) {
		if _, twice := used[key]; path != 0 && !twice {
			used[key] = s.entryID(key)
			in.Entries = append(in.Entries, fabric.Entry{ID: used[key], FEC: fec, Path: path})
		}
	}
	for _, cl := range c.classes(s.ifName) {
		if cl.fec.Interface != "" && !s.attachment[cl.fec.Interface] {
			continue
		}
		if cl.direct {
			path := in.Defaults[s.egressName(IDAddr(cl.tunnel.Egress))]
			if l := s.lsps[cl.tunnel]; l != nil && l.cur != nil {
				path = l.cur.Path.ID
			}
			add(cl.key, cl.fec, path)
			continue
		}
		for _, egress := range s.egresses {
			path := byClass[egress][cl.forward]
			if path == 0 {
				path = in.Defaults[egress] // and no later class gets the packet
			}
			add(cl.key+" "+egress, cl.fec, path)
		}
	}
	s.ids.Entries = used
	return in
}

// FTNEntry gives the id by which the data plane counts what an FTN row of an
// interface matched, 0 where it has none.
func (r *Router) FTNEntry(ifIndex, ftn uint32) uint32 {
	fec, err := r.Config().FTNs[ftn].FEC(r.sig.ifName[ifIndex])
	if err != nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runtime.IDs.Entries[ftnKey(ftn, fec)]
}

// ftnKey names an entry of the data plane. The match is part of the name: an id
// never gets another match.
func ftnKey(ftn uint32, fec topology.FEC) string { return fmt.Sprintf("ftn %d %v", ftn, fec) }
