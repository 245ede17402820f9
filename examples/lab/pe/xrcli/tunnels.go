package xrcli

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"mpbox/examples/lab/pe/router"
)

const xrDate = "Mon Jan _2 15:04:05 MST 2006"

// ago writes a duration as XR does: 01:36:30, 3d17h, 3y45w.
func ago(d time.Duration) string {
	d = max(d, 0)
	h := int(d.Hours())
	switch {
	case h < 24:
		return fmt.Sprintf("%02d:%02d:%02d", h, int(d.Minutes())%60, int(d.Seconds())%60)
	case h < 24*7:
		return fmt.Sprintf("%dd%02dh", h/24, h%24)
	default:
		return fmt.Sprintf("%dw%dd", h/24/7, h/24%7)
	}
}

func upDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

// showTunnels lists the heads: interfaces tunnel-te, and as auto-tunnels those
// that the MIB made.
func showTunnels(c *session, a args) string {
	snap := c.r.Snapshot()
	var ls []router.LSP
	for _, l := range snap.LSPs {
		if len(a.params) == 0 || (a.has("name") && (a.params[0] == l.Name || a.params[0] == router.TunnelInterface(l.ID.Index))) ||
			(!a.has("name") && number(a.params[0]) == l.ID.Index) {
			ls = append(ls, l)
		}
	}
	ups := 0
	for _, l := range ls {
		if l.Up {
			ups++
		}
	}
	var b strings.Builder
	switch {
	case a.has("tabular"):
		tabular(&b, ls, c.r.Node().RouterID)
		return b.String()
	case a.has("brief"):
		fmt.Fprintf(&b, "\n%27s  %18s  %10s  %5s\n", "TUNNEL NAME", "DESTINATION", "STATUS", "STATE")
		for _, l := range ls {
			fmt.Fprintf(&b, "%27s  %18s  %10s  %5s\n", router.TunnelInterface(l.ID.Index), addr(l.Egress), upDown(l.Up), upDown(l.Up))
		}
	default:
		for _, l := range ls {
			tunnelBlock(&b, c, snap, l, a.has("detail"))
		}
	}
	fmt.Fprintf(&b, "Displayed %d (of %d) heads, 0 (of 0) midpoints, 0 (of 0) tails\n", len(ls), len(snap.LSPs))
	fmt.Fprintf(&b, "Displayed %d up, %d down, 0 recovering, 0 recovered heads\n", ups, len(ls)-ups)
	return b.String()
}

func tabular(b *strings.Builder, ls []router.LSP, source netip.Addr) {
	b.WriteString(`
           Tunnel   LSP     Destination          Source    Tun    FRR  LSP  Path
             Name    ID         Address         Address  State  State Role  Prot
----------------- ----- --------------- --------------- ------ ------ ---- -----
`)
	for _, l := range ls {
		fmt.Fprintf(b, "%17s %5d %15s %15s %6s  Inact Head Inact\n", router.TunnelInterface(l.ID.Index), l.LSPID, addr(l.Egress), source, upDown(l.Up))
	}
}

func tunnelBlock(b *strings.Builder, c *session, snap *router.Snapshot, l router.LSP, detail bool) {
	now := c.srv.now()
	auto := ""
	if !l.CLI {
		auto = " (auto-tunnel mib)"
	}
	fmt.Fprintf(b, "\n\nName: %s  Destination: %s  Ifhandle:0x%x%s\n", router.TunnelInterface(l.ID.Index), addr(l.Egress), 0x8000000+l.ID.Index, auto)
	fmt.Fprintf(b, "  Signalled-Name: %s\n", l.Name)
	path, signalling := "not valid", "Down"
	switch {
	case l.Up:
		path, signalling = "valid", "connected"
	case l.Signalling:
		path, signalling = "valid", "connecting"
	}
	fmt.Fprintf(b, "  Status:\n    Admin: %5s Oper: %4s   Path: %6s   Signalling: %s\n\n", upDown(l.Admin), upDown(l.Up), path, signalling)
	for _, o := range l.Options {
		kind := "dynamic "
		if !o.Dynamic() {
			kind = "explicit " + o.Name
			if o.Name == "" {
				kind = fmt.Sprintf("explicit (_te%d_%d)", l.ID.Index, o.Index)
			}
		}
		fmt.Fprintf(b, "    path option %d,  type %s", o.Index, kind)
		if l.Up && o.Index == l.Option {
			fmt.Fprintf(b, " (Basis for Setup, path weight %d)\n      Accumulative metrics: TE %d IGP %d Delay 600000", l.TE, l.TE, l.IGP)
		}
		b.WriteString("\n")
	}
	if l.LastError != "" {
		fmt.Fprintf(b, "    Last PCALC Error: %s\n      Info: %s\n", l.LastErrorAt.UTC().Format("Mon Jan _2 15:04:05 2006"), l.LastError)
	} else if !l.Up && l.Why != "" {
		fmt.Fprintf(b, "    Reason for the tunnel being down: %s\n", l.Why)
	}
	b.WriteString("    G-PID: 0x0800 (derived from egress interface properties)\n")
	fmt.Fprintf(b, "    Bandwidth Requested: %d kbps  CT0\n", l.Kbps)
	fmt.Fprintf(b, "    Creation Time: %s (%s ago)\n", l.Created.UTC().Format("Mon Jan _2 15:04:05 2006"), ago(now.Sub(l.Created)))
	configBlock(b, l)
	b.WriteString("  History:\n")
	if l.Up {
		fmt.Fprintf(b, "    Tunnel has been up for: %s (since %s)\n    Current LSP:\n      Uptime: %s (since %s)\n",
			ago(now.Sub(l.Since)), l.Since.UTC().Format(xrDate), ago(now.Sub(l.ChangedAt)), l.ChangedAt.UTC().Format(xrDate))
	} else if l.Transitions > 0 {
		fmt.Fprintf(b, "    Tunnel has been down for: %s (since %s)\n", ago(now.Sub(l.Since)), l.Since.UTC().Format(xrDate))
	}
	if l.Up && detail {
		detailBlock(b, c, l)
	}
	if l.Up {
		b.WriteString("\n  Path info (OSPF 100 area 0):\n")
		fmt.Fprintf(b, "  Node hop count: %d\n", len(l.Route))
		for i, h := range l.Route {
			fmt.Fprintf(b, "  Hop%d: %s\n", i, h.Remote)
		}
		fmt.Fprintf(b, "  Hop%d: %s\n", len(l.Route), l.Egress)
	}
	b.WriteString("\n")
}

func addr(a netip.Addr) string {
	if !a.IsValid() {
		return "0.0.0.0"
	}
	return a.String()
}

func configBlock(b *strings.Builder, l router.LSP) {
	fmt.Fprintf(b, "  Config Parameters:\n    Bandwidth: %8d kbps (CT0) Priority: %2d %2d ", l.Kbps, l.Setup, l.Hold)
	fmt.Fprintf(b, "Affinity: 0x%x/0x%x\n", l.IncludeAll, l.IncludeAll|l.ExcludeAny)
	b.WriteString(`    Metric Type: TE (global)
    Path Selection:
      Tiebreaker: Min-fill (default)
    Hop-limit: disabled
    Cost-limit: disabled
    Delay-limit: disabled
    Delay-measurement: disabled
    Path-invalidation timeout: 10000 msec (default), Action: Tear (default)
`)
	auto := "disabled"
	if l.Autoroute {
		auto = " enabled"
	}
	fmt.Fprintf(b, "    AutoRoute: %s  LockDown: disabled   Policy class: not set\n", auto)
	if l.Class == 0 {
		b.WriteString("    Forward class: 0 (not enabled)\n")
	} else {
		fmt.Fprintf(b, "    Forward class: %d\n", l.Class)
	}
	b.WriteString(`    Forwarding-Adjacency: disabled
    Autoroute Destinations: 0
    Loadshare:          0 equal loadshares
    Auto-bw: disabled
    Auto-Capacity: Disabled:
    Fast Reroute: Disabled, Protection Desired: None
    Path Protection: Not Enabled
    BFD Fast Detection: Disabled
    Reoptimization after affinity failure: Enabled
    Soft Preemption: Disabled
`)
}

// detailBlock is what "detail" adds of an LSP that is up.
func detailBlock(b *strings.Builder, c *session, l router.LSP) {
	ted := c.r.TED()
	first := l.Route[0]
	fmt.Fprintf(b, "  Current LSP Info:\n    Instance: %d, Signaling Area: OSPF 100 area 0\n", l.LSPID)
	fmt.Fprintf(b, "    Uptime: %s (since %s)\n", ago(c.srv.now().Sub(l.ChangedAt)), l.ChangedAt.UTC().Format(xrDate))
	fmt.Fprintf(b, "    Outgoing Interface: %s, Outgoing Label: %d\n", ted.Edges[first.Edge].Interface, first.Label)
	fmt.Fprintf(b, "    Router-IDs: local      %s\n                downstream %s\n", c.r.Node().RouterID, first.NodeID)
	b.WriteString("    Soft Preemption: None\n    SRLGs: not collected\n    Path Info:\n      Outgoing:\n        Explicit Route:\n")
	for _, h := range l.Route {
		fmt.Fprintf(b, "          Strict, %s\n", h.Remote)
	}
	fmt.Fprintf(b, "          Strict, %s\n", l.Egress)
	record := "Empty"
	if !l.Record {
		record = "None"
	}
	fmt.Fprintf(b, "      Record Route: %s\n      Tspec: avg rate=%d kbits, burst=1000 bytes, peak rate=%d kbits\n", record, l.Kbps, l.Kbps)
	b.WriteString("      Session Attributes: Local Prot: Not Set, Node Prot: Not Set, BW Prot: Not Set\n" +
		"                          Soft Preemption Desired: Not Set\n    Resv Info:\n")
	if l.Record {
		b.WriteString("      Record Route:\n")
		for _, h := range l.Route {
			fmt.Fprintf(b, "        IPv4 %s, flags 0x0\n        Label %d, flags 0x1\n", h.Remote, h.Label)
		}
	} else {
		b.WriteString("      Record Route: None\n")
	}
	fmt.Fprintf(b, "      Fspec: avg rate=%d kbits, burst=1000 bytes, peak rate=%d kbits\n", l.Kbps, l.Kbps)
}

// showRSVP is the sessions of the LSPs that begin here.
func showRSVP(c *session, a args) string {
	var b strings.Builder
	detail := a.has("detail")
	if !detail {
		b.WriteString("Type Destination Add DPort  Proto/ExtTunID  PSBs  RSBs  Reqs\n---- --------------- ----- --------------- ----- ----- -----\n")
	}
	self := c.r.Node().RouterID
	for _, l := range c.r.Snapshot().LSPs {
		params := a.params
		if a.has("destination") {
			if params[0] != l.Egress.String() {
				continue
			}
			params = params[1:]
		}
		if !l.Up || (len(params) > 0 && number(params[0]) != l.ID.Index) {
			continue
		}
		if !detail {
			fmt.Fprintf(&b, "LSP4 %15s %5d %15s %5d %5d %5d\n", l.Egress, l.ID.Index, self, 1, 1, 0)
			continue
		}
		rsvpBlock(&b, c, l, self)
	}
	return b.String()
}

func rsvpBlock(b *strings.Builder, c *session, l router.LSP, self netip.Addr) {
	rate := "0"
	if l.Kbps > 0 {
		rate = fmt.Sprintf("%dK", l.Kbps)
	}
	fmt.Fprintf(b, "SESSION: IPv4-LSP Addr: %s, TunID: %d, ExtID: %s\n PSBs: 1, RSBs: 1, Requests: 0\n LSPId: %d\n Tunnel Name: %s\n",
		l.Egress, l.ID.Index, self, l.LSPID, l.Name)
	b.WriteString("  RSVP Path Info:\n   InLabel: No intf, No label\n   Incoming Address: Unknown\n   Explicit Route:\n")
	for _, h := range l.Route {
		fmt.Fprintf(b, "     Strict, %s/32\n", h.Remote)
	}
	fmt.Fprintf(b, "     Strict, %s/32\n   Record Route: None\n   Tspec: avg rate=%s, burst=1K, peak rate=%s\n", l.Egress, rate, rate)
	first := l.Route[0]
	fmt.Fprintf(b, "  RSVP Resv Info:\n   OutLabel: %s, %d\n   FRR OutLabel: No intf, No label\n",
		c.r.TED().Edges[first.Edge].Interface, first.Label)
	if l.Record {
		b.WriteString("   Record Route:\n")
		for _, h := range l.Route {
			fmt.Fprintf(b, "     IPv4 %s, flags 0x0\n     Label %d, flags 0x1\n", h.Remote, h.Label)
		}
	} else {
		b.WriteString("   Record Route: None\n")
	}
	fmt.Fprintf(b, "   Fspec: avg rate=%s, burst=1K, peak rate=%s\n", rate, rate)
}
