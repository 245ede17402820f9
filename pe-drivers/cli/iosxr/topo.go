package iosxr

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// teNode is a node of "show mpls traffic-eng topology".
type teNode struct {
	igpID    string
	routerID netip.Addr
	// network nodes are pseudo nodes of broadcast links.
	network bool
	links   []teLink
}

type teLink struct {
	neighbour        string // IGP id
	designated       string // DR of a broadcast link
	local, remote    netip.Addr
	localID, remID   uint32
	te, igp, flags   uint32
	srlgs            []uint32
	physical, global float64 // bit/s
	unreserved       [8]float64
}

var (
	igpNode  = regexp.MustCompile(`(?i)^IGP Id:\s*([^\s,]+)(?:,\s*MPLS TE Id:\s*(\S+))?(.*)$`)
	linkHead = regexp.MustCompile(`(?i)^link\[\d+\]\s*:\s*(.*)$`)
	bwLine   = regexp.MustCompile(`(?i)^bw\[([0-7])\]:\s+(\d+)\s+(\d+)`)
	// field finds "name: value" pairs of a line, as IOS-XR and IOS-XE write them.
	field = regexp.MustCompile(`([A-Za-z][A-Za-z_ ]*?)\s*:?\s*:\s*(\([^)]*\)|[^,]*)`)
)

// parseTopology reads the output; both spellings of the fields are known.
func parseTopology(text string) []*teNode {
	var nodes []*teNode
	var link *teLink
	srlgs := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := igpNode.FindStringSubmatch(line); m != nil {
			n := &teNode{igpID: m[1], network: strings.Contains(strings.ToLower(m[3]), "network node")}
			n.routerID, _ = netip.ParseAddr(m[2])
			nodes, link = append(nodes, n), nil
			continue
		}
		if len(nodes) == 0 {
			continue
		}
		n := nodes[len(nodes)-1]
		if m := linkHead.FindStringSubmatch(line); m != nil {
			n.links = append(n.links, teLink{})
			link, srlgs = &n.links[len(n.links)-1], false
			link.head(m[1])
			continue
		}
		if link == nil {
			continue
		}
		if m := bwLine.FindStringSubmatch(line); m != nil {
			link.unreserved[m[1][0]-'0'] = kbps(m[3])
			continue
		}
		// A list of SRLGs may go on over several lines.
		if srlgs && link.addSRLGs(line) {
			continue
		}
		srlgs = link.fields(line)
	}
	return nodes
}

func (l *teLink) head(rest string) {
	kind, rest, _ := strings.Cut(rest, ",")
	_ = kind // "Point-to-Point", "Broadcast"
	for part := range strings.SplitSeq(rest, ",") {
		k, v, _ := strings.Cut(part, ":")
		v = strings.TrimSpace(v)
		switch fieldName(k) {
		case "nbrigpid":
			l.neighbour = v
		case "dr":
			l.designated = v
		}
	}
}

// fieldName makes "Nbr Intf Address" and "nbr_intf_address" one.
func fieldName(s string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "_", "").Replace(s))
}

// fields reads one line of a link; it tells whether a list of SRLGs may go on.
func (l *teLink) fields(line string) (srlgs bool) {
	if rest, ok := strings.CutPrefix(line, "SRLGs:"); ok {
		l.addSRLGs(rest)
		return true
	}
	for _, m := range field.FindAllStringSubmatch(line, -1) {
		v := strings.TrimSpace(m[2])
		addr := func() netip.Addr {
			a, err := netip.ParseAddr(v)
			if err != nil || a.IsUnspecified() { // of an unnumbered link
				return netip.Addr{}
			}
			return a
		}
		number := func() uint32 {
			word, _, _ := strings.Cut(v, " ")
			n, _ := strconv.ParseUint(word, 0, 32)
			return uint32(n)
		}
		switch fieldName(m[1]) {
		case "intfaddress":
			l.local = addr()
		case "nbrintfaddress":
			l.remote = addr()
		case "intfid":
			l.localID = number()
		case "nbrintfid":
			l.remID = number()
		case "temetric":
			l.te = number()
		case "igpmetric":
			l.igp = number()
		case "attributeflags":
			l.flags = number()
		case "physicalbw":
			l.physical = kbps(v)
		case "maxreservablebwglobal":
			l.global = kbps(v)
		}
	}
	return false
}

// addSRLGs reads "10, 20" and "SRLG: 10, 20"; "None" is none. It tells whether the
// line was such a list.
func (l *teLink) addSRLGs(s string) bool {
	any := false
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		n, err := strconv.ParseUint(w, 10, 32)
		if err != nil {
			return any
		}
		l.srlgs, any = append(l.srlgs, uint32(n)), true
	}
	return any
}

// kbps reads "1000000 (kbps)" as bit/s.
func kbps(s string) float64 {
	word, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	n, _ := strconv.ParseFloat(word, 64)
	return n * 1000
}

// buildTED makes the snapshot. A link counts only if the other end tells of it too:
// IGPs do not use a link that one side alone advertises (RFC 2328, section 16.1).
func buildTED(nodes []*teNode, names driver.Names, version uint64) (*topology.TED, error) {
	b := topology.Builder{Version: version}
	index := make(map[string]int)
	network := make(map[string][]end)
	told := collect(nodes)
	for _, n := range nodes {
		if n.network || !n.routerID.IsValid() || n.routerID.IsUnspecified() {
			continue // a pseudo node, or a router without MPLS-TE
		}
		if _, twice := index[n.igpID]; twice {
			continue // the node in another area
		}
		index[n.igpID] = b.AddNode(topology.Node{Name: names.Name(n.routerID), RouterID: n.routerID})
	}
	for _, n := range nodes {
		from, ok := index[n.igpID]
		if !ok || n.network {
			continue
		}
		for i := range n.links {
			l := &n.links[i]
			if l.designated != "" {
				network[l.designated] = append(network[l.designated], end{from, l})
			} else if to, ok := index[l.neighbour]; ok && told.bothWays(n.igpID, l) {
				b.AddLink(l.link(from, to, l.remote))
			}
		}
	}
	// A broadcast network is a link between each two of its routers.
	for _, ends := range network {
		for _, a := range ends {
			for _, z := range ends {
				if a.node != z.node {
					b.AddLink(a.link.link(a.node, z.node, z.link.local))
				}
			}
		}
	}
	return b.Build()
}

type end struct {
	node int
	link *teLink
}

// adverts are the links that routers tell of, by both ends.
type adverts map[[2]string][]*teLink

func collect(nodes []*teNode) adverts {
	a := make(adverts)
	for _, n := range nodes {
		for i := range n.links {
			k := [2]string{n.igpID, n.links[i].neighbour}
			a[k] = append(a[k], &n.links[i])
		}
	}
	return a
}

// bothWays tells that the neighbour has the link's other direction. An address
// that one side does not tell fits any.
func (a adverts) bothWays(node string, l *teLink) bool {
	fits := func(x, y netip.Addr) bool {
		return x == y || !x.IsValid() || !y.IsValid()
	}
	return slices.ContainsFunc(a[[2]string{l.neighbour, node}], func(r *teLink) bool {
		return fits(r.local, l.remote) && fits(r.remote, l.local) && r.localID == l.remID && r.remID == l.localID
	})
}

func (l *teLink) link(from, to int, remote netip.Addr) topology.Link {
	return topology.Link{
		From: from, To: to, LocalAddr: l.local, RemoteAddr: remote, LocalID: l.localID, RemoteID: l.remID,
		TEMetric: l.te, IGPMetric: l.igp, MaxBandwidth: l.physical, MaxReservable: l.global, Unreserved: l.unreserved,
		AdminGroup: l.flags, SRLGs: l.srlgs,
	}
}
