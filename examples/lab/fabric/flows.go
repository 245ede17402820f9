package fabric

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The tables of a router's bridge. Transit routers use the first only.
//
//	0   incoming: labels from core ports, IP from attachments
//	1   VPN routes: reg0 = VPN label, reg1 = egress PE
//	2   classification: reg2 = path
//	3   NHLFE: push VPN label and LSP label, out to the first link
//	20  VPN labels at the egress: pop, MAC addresses, out to the attachment
const (
	tableIn    = "0"
	tableRoute = "1"
	tableClass = "2"
	tableNHLFE = "3"
	tableVPN   = "20"
)

// Kinds of flows in a cookie: owner<<48 | kind<<40 | id.
const (
	kindBase uint64 = iota + 1
	kindPath
	kindEntry
	kindDefault
)

const (
	cookieOwnerMask = uint64(0xffff) << 48
	topPriority     = 60000
)

func (f *Fabric) cookie(kind uint64, id uint32) uint64 {
	return f.owner<<48 | kind<<40 | uint64(id)
}

// placedEntry is an entry with the flow priority that gives it its turn.
type placedEntry struct {
	Entry
	priority int
}

// place orders the entries. Entries that stay keep their priority where the
// order allows, so that adding or removing one does not rewrite the others.
func (f *Fabric) place(in Ingress) ([]placedEntry, error) {
	old := map[uint32]int{}
	for _, e := range f.entries {
		old[e.ID] = e.priority
	}
	placed := make([]placedEntry, len(in.Entries))
	seen := map[uint32]bool{}
	last, kept := topPriority+1, true
	for i, e := range in.Entries {
		if e.ID == 0 || seen[e.ID] {
			return nil, fmt.Errorf("set ingress: entry id %d is used twice or 0", e.ID)
		}
		seen[e.ID] = true
		if err := f.checkEntry(e); err != nil {
			return nil, err
		}
		p, ok := old[e.ID]
		if !ok {
			p = last - 1
		}
		if p >= last || p < 2 {
			kept = false
		}
		placed[i] = placedEntry{e, p}
		last = p
	}
	if !kept {
		if len(placed) > topPriority-2 {
			return nil, fmt.Errorf("set ingress: %d entries are too many", len(placed))
		}
		for i := range placed {
			placed[i].priority = topPriority - i
		}
	}
	for egress, id := range in.Defaults {
		p, ok := f.paths[id]
		if !ok || f.egress(p) != egress {
			return nil, fmt.Errorf("set ingress: default path %d to %s: %w: not installed or ends elsewhere", id, egress, ErrPath)
		}
	}
	return placed, nil
}

func (f *Fabric) checkEntry(e Entry) error {
	if _, ok := f.paths[e.Path]; !ok {
		return fmt.Errorf("set ingress: entry %d: %w: path %d is not installed", e.ID, ErrPath, e.Path)
	}
	if e.FEC.Interface != "" && !slices.ContainsFunc(f.node.Attachments, func(a Attachment) bool { return a.Interface == e.FEC.Interface }) {
		return fmt.Errorf("set ingress: entry %d: no attachment interface %q", e.ID, e.FEC.Interface)
	}
	if e.FEC.Src.IsValid() && e.FEC.Dst.IsValid() && e.FEC.Src.Addr().Is4() != e.FEC.Dst.Addr().Is4() {
		return fmt.Errorf("set ingress: entry %d: addresses of two families", e.ID)
	}
	if (e.FEC.SrcPort != 0 || e.FEC.DstPort != 0) && portProto(e.FEC.Protocol) == "" {
		return fmt.Errorf("set ingress: entry %d: ports need protocol TCP, UDP or SCTP", e.ID)
	}
	return nil
}

// flow is one flow: match (with table and priority) and the rest.
type flow struct{ match, actions string }

func (f *Fabric) flow(kind uint64, id uint32, table string, priority int, match, actions string) flow {
	return flow{
		match:   fmt.Sprintf("table=%s,priority=%d,%s", table, priority, match),
		actions: fmt.Sprintf("cookie=%#x,actions=%s", f.cookie(kind, id), actions),
	}
}

func (w flow) add() string { return "add " + w.match + "," + w.actions }

// diffFlows gives the lines of a bundle that turns old into want.
func diffFlows(old, want []flow) []string {
	have := map[string]string{}
	for _, w := range old {
		have[w.match] = w.actions
	}
	var lines []string
	for _, w := range want {
		if have[w.match] != w.actions {
			lines = append(lines, w.add())
		}
		delete(have, w.match)
	}
	for _, w := range old {
		if _, stale := have[w.match]; stale {
			lines = append(lines, "delete_strict "+w.match)
		}
	}
	return lines
}

func family(p netip.Prefix) (proto, dst string, ethertype string) {
	if p.Addr().Is4() {
		return "ip", "nw_dst=", "0x0800"
	}
	return "ipv6", "ipv6_dst=", "0x86dd"
}

// baseFlows are the fixed flows of this PE's own bridge.
func (f *Fabric) baseFlows() []flow {
	var flows []flow
	for _, a := range f.node.Attachments {
		for _, proto := range []string{"ip", "ipv6"} {
			flows = append(flows, f.flow(kindBase, 0, tableIn, 10,
				fmt.Sprintf("in_port=%d,%s", a.OFPort, proto), "goto_table:"+tableRoute))
		}
		for _, r := range f.node.Routes {
			if r.VPN != a.VPN || (r.Egress == f.node.Name && r.OFPort == a.OFPort) {
				continue
			}
			proto, dst, _ := family(r.Prefix)
			match := fmt.Sprintf("in_port=%d,%s,%s%s", a.OFPort, proto, dst, r.Prefix)
			actions := fmt.Sprintf("dec_ttl,set_field:%#x->reg0,set_field:%d->reg1,goto_table:%s", r.Label, f.index(r.Egress), tableClass)
			if r.Egress == f.node.Name {
				actions = "dec_ttl," + deliver(r)
			}
			flows = append(flows, f.flow(kindBase, 0, tableRoute, 100+r.Prefix.Bits(), match, actions))
		}
	}
	for _, r := range f.node.Routes {
		if r.Egress != f.node.Name {
			continue
		}
		_, _, ethertype := family(r.Prefix)
		flows = append(flows, f.flow(kindBase, 0, tableVPN, 10,
			fmt.Sprintf("mpls,mpls_label=%d,mpls_bos=1", r.Label), "pop_mpls:"+ethertype+","+deliver(r)))
	}
	return flows
}

func deliver(r Route) string {
	return fmt.Sprintf("set_field:%s->eth_src,set_field:%s->eth_dst,output:%d", r.MAC, r.HostMAC, r.OFPort)
}

// index is the number of a router in reg1.
func (f *Fabric) index(name string) int {
	return 1 + slices.IndexFunc(f.node.Nodes, func(r Router) bool { return r.Name == name })
}

// pathFlows gives the flows of a checked path by router, ingress router first.
func (f *Fabric) pathFlows(p Path) (routers []string, flows [][]flow) {
	at := f.node.Name
	for i, h := range p.Hops {
		l, _ := f.node.Link(h.Link)
		near, far, _ := l.End(at)
		var fs []flow
		if i == 0 {
			push := fmt.Sprintf("push_mpls:0x8847,move:NXM_NX_REG0[0..19]->OXM_OF_MPLS_LABEL[0..19],"+
				"push_mpls:0x8847,set_field:%d->mpls_label,output:%d", h.Label, near.OFPort)
			for _, proto := range []string{"ip", "ipv6"} {
				fs = append(fs, f.flow(kindPath, p.ID, tableNHLFE, 10, fmt.Sprintf("reg2=%d,%s", p.ID, proto), push))
			}
		} else {
			pl, _ := f.node.Link(p.Hops[i-1].Link)
			in, _, _ := pl.End(at)
			fs = append(fs, f.flow(kindPath, p.ID, tableIn, 20,
				fmt.Sprintf("in_port=%d,mpls,mpls_label=%d", in.OFPort, p.Hops[i-1].Label),
				fmt.Sprintf("set_field:%d->mpls_label,dec_mpls_ttl,output:%d", h.Label, near.OFPort)))
		}
		routers, flows = append(routers, at), append(flows, fs)
		at = far.Node
		if i == len(p.Hops)-1 {
			routers = append(routers, at)
			flows = append(flows, []flow{f.flow(kindPath, p.ID, tableIn, 20,
				fmt.Sprintf("in_port=%d,mpls,mpls_label=%d,mpls_bos=0", far.OFPort, h.Label),
				"pop_mpls:0x8847,goto_table:"+tableVPN)})
		}
	}
	return routers, flows
}

// ingressFlows are the flows of the classification table.
func (f *Fabric) ingressFlows(entries []placedEntry, defaults map[string]uint32) []flow {
	var flows []flow
	for _, e := range entries {
		egress := f.index(f.egress(f.pathOf(e.Path)))
		for _, m := range f.fecMatches(e.Entry) {
			flows = append(flows, f.flow(kindEntry, e.ID, tableClass, e.priority,
				fmt.Sprintf("reg1=%d,%s", egress, m), classTo(e.Path)))
		}
	}
	for egress, id := range defaults {
		flows = append(flows, f.flow(kindDefault, id, tableClass, 1, fmt.Sprintf("reg1=%d", f.index(egress)), classTo(id)))
	}
	slices.SortFunc(flows, func(a, b flow) int { return strings.Compare(a.match, b.match) })
	return flows
}

// pathOf also finds paths that are being removed: old entries may point there.
func (f *Fabric) pathOf(id uint32) Path {
	if p, ok := f.paths[id]; ok {
		return p
	}
	return f.dying[id]
}

func classTo(path uint32) string {
	return fmt.Sprintf("set_field:%d->reg2,goto_table:%s", path, tableNHLFE)
}

func portProto(protocol uint8) string {
	return map[uint8]string{6: "tcp", 17: "udp", 132: "sctp"}[protocol]
}

// fecMatches gives the matches of an entry: one, or one for each family where
// the class has no address.
func (f *Fabric) fecMatches(e Entry) []string {
	c := e.FEC
	families := []string{"ip", "ipv6"}
	switch {
	case c.Src.IsValid() && c.Src.Addr().Is4(), c.Dst.IsValid() && c.Dst.Addr().Is4():
		families = families[:1]
	case c.Src.IsValid(), c.Dst.IsValid():
		families = families[1:]
	}
	var ms []string
	for _, fam := range families {
		var m []string
		for _, a := range f.node.Attachments {
			if a.Interface == c.Interface {
				m = append(m, fmt.Sprintf("in_port=%d", a.OFPort))
			}
		}
		m = append(m, fam)
		src, dst := "nw_src=", "nw_dst="
		if fam == "ipv6" {
			src, dst = "ipv6_src=", "ipv6_dst="
		}
		if c.Protocol != 0 {
			m = append(m, fmt.Sprintf("nw_proto=%d", c.Protocol))
		}
		if c.Src.IsValid() {
			m = append(m, src+c.Src.Masked().String())
		}
		if c.Dst.IsValid() {
			m = append(m, dst+c.Dst.Masked().String())
		}
		if p := portProto(c.Protocol); p != "" && c.SrcPort != 0 {
			m = append(m, fmt.Sprintf("%s_src=%d", p, c.SrcPort))
		}
		if p := portProto(c.Protocol); p != "" && c.DstPort != 0 {
			m = append(m, fmt.Sprintf("%s_dst=%d", p, c.DstPort))
		}
		if c.HasDSCP {
			m = append(m, fmt.Sprintf("ip_dscp=%d", c.DSCP))
		}
		ms = append(ms, strings.Join(m, ","))
	}
	return ms
}

func (f *Fabric) deletePath(id uint32) string {
	return fmt.Sprintf("delete cookie=%#x/-1", f.cookie(kindPath, id))
}
