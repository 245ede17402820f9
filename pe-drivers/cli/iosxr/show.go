package iosxr

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"mpbox/topology"
)

// shown is what "show mpls traffic-eng tunnels detail" tells about one head.
type shown struct {
	iface       string // tunnel-te50000
	destination netip.Addr
	name        string // Signalled-Name
	admin, oper string
	status      string // the rest of the status line
	reason      string // why there is no path
	basis       string // the explicit path in use
	rro         []topology.Hop
}

var (
	tunnelHead   = regexp.MustCompile(`^Name:\s*(tunnel-te\d+)\s+Destination:\s*(\S+)`)
	statusLine   = regexp.MustCompile(`^Admin:\s*(\S+)\s+Oper:\s*(\S+)\s+Path:\s*(.+?)\s+Signalling:\s*(.*)$`)
	optionLine   = regexp.MustCompile(`^path option \d+,\s+type (\S+)\s*(\S*).*\(Basis for Setup`)
	recordedAddr = regexp.MustCompile(`^IPv4 ([\d.]+)(?:/\d+)?(?: \(Node-ID\))?(?:, flags (0x[0-9a-fA-F]+))?`)
	recordedLab  = regexp.MustCompile(`^Label (\d+)`)
)

// nodeID marks an address of a recorded route that names the router and not an
// interface (RFC 4561, section 2).
const nodeID = 0x20

// parseTunnels reads "show mpls traffic-eng tunnels", with or without "detail".
func parseTunnels(text string) []shown {
	var out []shown
	var p tunnelParser
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := tunnelHead.FindStringSubmatch(line); m != nil {
			out = p.finish(out)
			p.s = &shown{iface: m[1]}
			p.s.destination, _ = netip.ParseAddr(m[2])
			continue
		}
		if p.s != nil {
			p.line(line)
		}
	}
	return p.finish(out)
}

type tunnelParser struct {
	s *shown
	// inError is set behind a "Last … Error" line, whose "Info:" says why.
	inError bool
	// inCurrent is cleared in what tells of LSPs that are not the current one;
	// inRecord is set in a recorded route of the path that came back (Resv).
	otherLSP, inResv, inRecord bool
	record                     []recorded
}

type recorded struct {
	addr  netip.Addr
	node  bool
	label uint32
}

func (p *tunnelParser) finish(out []shown) []shown {
	if p.s == nil {
		return out
	}
	p.s.rro = route(p.record)
	out = append(out, *p.s)
	*p = tunnelParser{}
	return out
}

func (p *tunnelParser) line(line string) {
	s := p.s
	switch {
	case strings.HasPrefix(line, "Signalled-Name:"):
		s.name = strings.TrimSpace(strings.TrimPrefix(line, "Signalled-Name:"))
	case strings.HasPrefix(line, "Displayed "):
		p.otherLSP, p.inRecord = true, false
	case strings.HasPrefix(line, "Reoptimized LSP Info"), strings.HasPrefix(line, "Standby LSP Info"),
		strings.HasPrefix(line, "Prior LSP"), strings.HasPrefix(line, "Reopt. LSP"):
		p.otherLSP, p.inRecord = true, false
	case strings.HasPrefix(line, "Current LSP Info"):
		p.otherLSP, p.inResv, p.inRecord = false, false, false
	case p.otherLSP:
	case strings.HasPrefix(line, "Resv Info:"), strings.HasPrefix(line, "RSVP Resv Info:"):
		p.inResv, p.inRecord = true, false
	case strings.HasPrefix(line, "Path Info:"), strings.HasPrefix(line, "RSVP Path Info:"):
		p.inResv, p.inRecord = false, false
	case p.inResv && strings.HasPrefix(line, "Record Route:"):
		p.inRecord, p.record = true, nil
	case p.inRecord:
		p.recorded(line)
	case strings.HasPrefix(line, "Last PCALC Error"), strings.HasPrefix(line, "Last Signalled Error"):
		p.inError = true
	case p.inError && strings.HasPrefix(line, "Info:"):
		s.reason, p.inError = strings.TrimSpace(strings.TrimPrefix(line, "Info:")), false
	default:
		p.status(line)
	}
}

func (p *tunnelParser) status(line string) {
	if m := statusLine.FindStringSubmatch(line); m != nil {
		p.s.admin, p.s.oper, p.s.status = m[1], m[2], "path "+m[3]+", signalling "+m[4]
	} else if m := optionLine.FindStringSubmatch(line); m != nil && m[1] == "explicit" {
		p.s.basis = m[2]
	}
}

func (p *tunnelParser) recorded(line string) {
	if m := recordedAddr.FindStringSubmatch(line); m != nil {
		a, err := netip.ParseAddr(m[1])
		flags, _ := strconv.ParseUint(m[2], 0, 32)
		if err == nil {
			p.record = append(p.record, recorded{addr: a, node: flags&nodeID != 0 || strings.Contains(line, "(Node-ID)")})
		}
		if i := strings.Index(line, "Label "); i >= 0 {
			p.recorded(line[i:])
		}
	} else if m := recordedLab.FindStringSubmatch(line); m != nil {
		n, err := strconv.ParseUint(m[1], 10, 32)
		if len(p.record) > 0 && err == nil {
			p.record[len(p.record)-1].label = uint32(n)
		}
	} else {
		p.inRecord = false
	}
}

// route gives one hop for each router of a recorded route. A router may record its
// node id and, with the same label, the address of an interface: the interface says
// more.
func route(rec []recorded) []topology.Hop {
	var out []topology.Hop
	for i, r := range rec {
		if r.node && i+1 < len(rec) && !rec[i+1].node && rec[i+1].label == r.label {
			continue
		}
		out = append(out, topology.Hop{Addr: r.addr, Label: r.label})
	}
	return out
}
