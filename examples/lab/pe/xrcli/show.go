package xrcli

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mpbox/examples/lab/pe/router"
)

func showVersion(c *session, _ args) string {
	up := c.srv.now().Sub(c.r.Started()).Round(time.Minute)
	return fmt.Sprintf(`Cisco IOS XR Software, Version 7.3.2
Copyright (c) 2013-2021 by Cisco Systems, Inc.

Build Information:
 Version      : 7.3.2
 Label        : 7.3.2-LAB (emulated: a router of the mpbox lab)

cisco IOS-XRv 9000 () processor
System uptime is %d hours %d minutes

`, int(up.Hours()), int(up.Minutes())%60)
}

// showTopology is the TED as flooded: a link that is down is not in it.
func showTopology(c *session, a args) string {
	ted, snap := c.r.TED(), c.r.Snapshot()
	var only netip.Addr
	if len(a.params) > 0 {
		only = netip.MustParseAddr(a.params[0])
	}
	var b strings.Builder
	self := c.r.Node().RouterID
	fmt.Fprintf(&b, "My_System_id: %s (OSPF 100 area 0)\nMy_BC_Model_Type: RDM \n\n", self)
	fmt.Fprintf(&b, "Signalling error holddown: 10 sec Global Link Generation %d\n\n", len(ted.Edges))
	for n, node := range ted.Nodes {
		var up []int
		for _, e := range ted.Out[n] {
			if snap.Up[e] {
				up = append(up, e)
			}
		}
		if (only.IsValid() && only != node.RouterID) || (len(up) == 0 && node.RouterID != self) {
			continue
		}
		fmt.Fprintf(&b, "IGP Id: %s, MPLS TE Id: %s Router Node  (OSPF 100 area 0)\n\n", node.RouterID, node.RouterID)
		for i, e := range up {
			showLink(&b, ted, snap, i, e, a.has("brief"))
		}
	}
	return b.String()
}

func showLink(b *strings.Builder, ted *router.TED, snap *router.Snapshot, i, e int, brief bool) {
	l := ted.Edges[e]
	fmt.Fprintf(b, "  Link[%d]:Point-to-Point, Nbr IGP Id:%s, Nbr Node Id:%d, gen:%d\n", i, ted.Nodes[l.To].RouterID, l.To+1, e+1)
	fmt.Fprintf(b, "      Frag Id:%d, Intf Address:%s, Intf Id:0\n", e+1, l.Local)
	fmt.Fprintf(b, "      Nbr Intf Address:%s, Nbr Intf Id:0\n", l.Remote)
	fmt.Fprintf(b, "      TE Metric:%d, IGP Metric:%d\n", l.TE, l.IGP)
	b.WriteString("      Delay metrics (uSec): Not present\n      Loss metrics: Not present\n      Bandwidth metrics (kbps): Not present\n")
	fmt.Fprintf(b, "      Attribute Flags: 0x%x\n", l.AdminGroup)
	ext := "0x::"
	if l.AdminGroup != 0 {
		ext = fmt.Sprintf("0x::%x", l.AdminGroup)
	}
	fmt.Fprintf(b, "      Ext Admin Group: \n          Length: 256 bits\n          Value : %s\n      Attribute Names: \n", ext)
	if len(l.SRLGs) > 0 {
		var s []string
		for _, g := range l.SRLGs {
			s = append(s, fmt.Sprint(g))
		}
		fmt.Fprintf(b, "      SRLGs: %s\n", strings.Join(s, ", "))
	}
	b.WriteString("      Switching Capability:None, Encoding:unassigned\n      BC Model ID:RDM\n")
	fmt.Fprintf(b, "      Physical BW:%d (kbps), Max Reservable BW Global:%d (kbps)\n", l.Kbps, l.Kbps)
	b.WriteString("      Max Reservable BW Sub:0 (kbps)\n")
	if brief {
		b.WriteString("\n")
		return
	}
	b.WriteString(`                                 Global Pool       Sub Pool
               Total Allocated   Reservable        Reservable
               BW (kbps)         BW (kbps)         BW (kbps)
               ---------------   -----------       ----------
`)
	for p, free := range snap.Free[e] {
		held := uint32(0) // by this priority alone
		if p == 0 {
			held = l.Kbps - free
		} else {
			held = snap.Free[e][p-1] - free
		}
		fmt.Fprintf(b, "        bw[%d]: %12d     %12d       %12d\n", p, held, free, 0)
	}
	b.WriteString("\n")
}

func showPaths(c *session, a args) string {
	var b strings.Builder
	paths := c.r.Config().CLI.Paths
	for _, n := range slices.Sorted(maps.Keys(paths)) {
		if len(a.params) > 0 && a.params[0] != n {
			continue
		}
		fmt.Fprintf(&b, "Path %s    status enabled\n", n)
		for _, i := range slices.Sorted(maps.Keys(paths[n])) {
			h := paths[n][i]
			kind := "next-address strict"
			switch {
			case h.Exclude:
				kind = "exclude-address"
			case h.Loose:
				kind = "next-address loose"
			}
			fmt.Fprintf(&b, "        0x%x: %s %s\n", i, kind, h.Addr)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func showRunning(c *session, a args) string {
	cli := c.r.Config().CLI
	all := renderCLI(&cli)
	if len(a.words) == 2 { // all of it
		lines := append([]string{"hostname " + c.r.Node().Name}, flatten(mergeInterfaces(append(renderFactory(c.r), all...)))...)
		var b strings.Builder
		b.WriteString("Building configuration...\n!! IOS XR Configuration 7.3.2\n!\n")
		for _, l := range lines {
			b.WriteString(l + "\n")
		}
		b.WriteString("end\n\n")
		return b.String()
	}
	all = mergeInterfaces(append(renderFactory(c.r), all...))
	want := sectionHeader(a)
	var b strings.Builder
	for _, s := range all {
		if s.header == want || (strings.HasPrefix(s.header, want+" ") && !named1(a)) {
			for _, l := range s.lines() {
				b.WriteString(l + "\n")
			}
		}
	}
	if b.Len() == 0 {
		return "% No such configuration item(s)\n\n"
	}
	return b.String() + "\n"
}

// named1 tells whether one item was asked for by name.
func named1(a args) bool { return len(a.params) > 0 }

// sectionHeader is the first line of the section that was asked for, or what
// those asked for begin with.
func sectionHeader(a args) string {
	switch a.words[2] {
	case "class-map":
		if named1(a) {
			return "class-map match-any " + a.params[0]
		}
		return "class-map"
	default:
		return strings.Join(a.words[2:], " ")
	}
}

// renderFactory is what no command of this CLI changes: interfaces and TE.
func renderFactory(r *router.Router) []section {
	var ss []section
	te := section{header: "mpls traffic-eng", footer: bang}
	for _, i := range r.Node().Interfaces {
		s := section{header: "interface " + i.Name, footer: bang}
		if i.Attachment != "" {
			s.body = append(s.body, " description customer "+i.Attachment)
		}
		if i.Address.IsValid() {
			mask := ^uint32(0) << (32 - i.Address.Bits())
			s.body = append(s.body, fmt.Sprintf(" ipv4 address %s %s", i.Address.Addr(), router.IDAddr(mask)))
		}
		if i.Link != "" {
			te.body = append(te.body, " interface "+i.Name, " !")
		}
		ss = append(ss, s)
	}
	return append(ss, te)
}

// mergeInterfaces puts the parts of an interface's configuration together.
func mergeInterfaces(ss []section) []section {
	var out []section
	for _, s := range ss {
		if i := slices.IndexFunc(out, func(o section) bool { return o.header == s.header }); i >= 0 {
			out[i].body = slices.Concat(out[i].body, s.body)
			continue
		}
		out = append(out, s)
	}
	return out
}
