package topology

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
)

// Builder collects nodes and directed links and builds a TED of them. Its zero
// value is ready. A Builder is used once, by one goroutine.
type Builder struct {
	// Version is the version of the snapshot that Build makes.
	Version uint64
	// TwoWay makes links Down that have no opposite direction, as an IGP does: one
	// end alone may be the remains of a router that died (RFC 2328, section 16.1,
	// step 2b). Links added by AddOneWay are not meant.
	TwoWay bool

	nodes []Node
	links []Link
	// paired holds for each link the index of its opposite direction, oneWay that
	// it has none, unset that Build looks for one.
	paired []int
}

const (
	unset  = -1
	oneWay = -2
)

// AddNode adds a router and returns its index.
func (b *Builder) AddNode(n Node) int {
	b.nodes = append(b.nodes, n)
	return len(b.nodes) - 1
}

// AddLink adds one direction of a link and returns its index. From and To are
// indexes that AddNode returned; Reverse is ignored: Build pairs the directions
// by interface addresses, interface ids, name, and at last by order among the
// links of the same two nodes. An empty Name becomes "A-B".
func (b *Builder) AddLink(l Link) int { return b.add(l, unset) }

// AddOneWay adds a unidirectional link: Build gives it no opposite direction.
func (b *Builder) AddOneWay(l Link) int { return b.add(l, oneWay) }

// AddPair adds both directions of a link and returns the index of the first; the
// other one's follows it.
func (b *Builder) AddPair(there, back Link) int {
	i := len(b.links)
	b.add(there, i+1)
	b.add(back, i)
	return i
}

func (b *Builder) add(l Link, paired int) int {
	l.SRLGs = slices.Clone(l.SRLGs)
	slices.Sort(l.SRLGs)
	l.SRLGs = slices.Compact(l.SRLGs)
	b.links = append(b.links, l)
	b.paired = append(b.paired, paired)
	return len(b.links) - 1
}

// Build checks what was added and makes the snapshot. An error names the node or
// link that is wrong.
func (b *Builder) Build() (*TED, error) {
	t := &TED{
		version: b.Version,
		nodes:   slices.Clone(b.nodes),
		links:   slices.Clone(b.links),
		byName:  make(map[string]int, len(b.nodes)),
		byAddr:  make(map[netip.Addr]int, len(b.nodes)+len(b.links)),
	}
	if err := t.indexNodes(); err != nil {
		return nil, err
	}
	if err := t.checkLinks(); err != nil {
		return nil, err
	}
	pairLinks(t.links, b.paired)
	for i := range t.links {
		if b.TwoWay && b.paired[i] == unset && t.links[i].Reverse < 0 {
			t.links[i].Down = true
		}
	}
	t.completeAddrs()
	if err := t.nameLinks(); err != nil {
		return nil, err
	}
	if err := t.indexAddrs(); err != nil {
		return nil, err
	}
	t.out = make([][]int, len(t.nodes))
	for i, l := range t.links {
		t.out[l.From] = append(t.out[l.From], i)
	}
	return t, nil
}

func (t *TED) indexNodes() error {
	for i, n := range t.nodes {
		if n.Name == "" {
			return fmt.Errorf("node %d: it has no name", i)
		}
		if _, dup := t.byName[n.Name]; dup {
			return fmt.Errorf("node %q: the name is given twice", n.Name)
		}
		t.byName[n.Name] = i
		if !n.RouterID.IsValid() {
			continue
		}
		if j, dup := t.byAddr[n.RouterID]; dup {
			return fmt.Errorf("node %q: router id %s is also that of node %q", n.Name, n.RouterID, t.nodes[j].Name)
		}
		t.byAddr[n.RouterID] = i
	}
	return nil
}

func (t *TED) checkLinks() error {
	for i := range t.links {
		l := &t.links[i]
		if l.From < 0 || l.From >= len(t.nodes) || l.To < 0 || l.To >= len(t.nodes) {
			return fmt.Errorf("link %d %q: an end is not a node", i, l.Name)
		}
		bad := func(what string, v any) error {
			return fmt.Errorf("link %s: %s %v", t.label(i), what, v)
		}
		if l.From == l.To {
			return bad("it begins and ends at node", t.nodes[l.From].Name)
		}
		if l.Delay < 0 {
			return bad("negative delay", l.Delay)
		}
		for _, bw := range append(l.Unreserved[:], l.MaxBandwidth, l.MaxReservable) {
			if bw < 0 || math.IsNaN(bw) || math.IsInf(bw, 0) {
				return bad("bandwidth is not a finite number of bit/s from 0:", bw)
			}
		}
	}
	return nil
}

// label names a link for people: its name and direction.
func (t *TED) label(i int) string {
	l := t.links[i]
	s := t.nodes[l.From].Name + "->" + t.nodes[l.To].Name
	if l.Name != "" {
		s = strconv.Quote(l.Name) + " (" + s + ")"
	}
	if l.LocalAddr.IsValid() {
		s += " at " + l.LocalAddr.String()
	}
	return s
}

// pairLinks finds the opposite direction of each link. Passes go from the surest
// sign to the weakest; a link is paired once.
func pairLinks(links []Link, paired []int) {
	type ends struct{ from, to int }
	between := map[ends][]int{}
	for i := range links {
		links[i].Reverse = max(paired[i], unset)
		if paired[i] == unset {
			e := ends{links[i].From, links[i].To}
			between[e] = append(between[e], i)
		}
	}
	signs := []func(a, b *Link) bool{
		func(a, b *Link) bool {
			return a.LocalAddr.IsValid() && a.LocalAddr == b.RemoteAddr && a.RemoteAddr.IsValid() && a.RemoteAddr == b.LocalAddr &&
				a.LocalID == b.RemoteID && a.RemoteID == b.LocalID
		},
		func(a, b *Link) bool {
			return a.LocalID != 0 && a.LocalID == b.RemoteID && a.RemoteID == b.LocalID
		},
		func(a, b *Link) bool {
			return numbered(a) && numbered(b) && (a.LocalAddr.IsValid() && a.LocalAddr == b.RemoteAddr || a.RemoteAddr.IsValid() && a.RemoteAddr == b.LocalAddr)
		},
		func(a, b *Link) bool { return a.Name != "" && a.Name == b.Name },
		func(a, b *Link) bool { return (a.Name == "" || b.Name == "") && !conflicting(a, b) },
	}
	for _, same := range signs {
		for i := range links {
			if paired[i] != unset || links[i].Reverse != unset {
				continue
			}
			for _, j := range between[ends{links[i].To, links[i].From}] {
				if links[j].Reverse == unset && same(&links[i], &links[j]) {
					links[i].Reverse, links[j].Reverse = j, i
					break
				}
			}
		}
	}
}

func numbered(l *Link) bool { return l.LocalID == 0 && l.RemoteID == 0 }

// conflicting tells that the addresses or ids of two links show that they are
// not two directions of one.
func conflicting(a, b *Link) bool {
	differ := func(x, y netip.Addr) bool { return x.IsValid() && y.IsValid() && x != y }
	differID := func(x, y uint32) bool { return x != 0 && y != 0 && x != y }
	return differ(a.LocalAddr, b.RemoteAddr) || differ(a.RemoteAddr, b.LocalAddr) ||
		differID(a.LocalID, b.RemoteID) || differID(a.RemoteID, b.LocalID)
}

// completeAddrs fills in what only the opposite direction tells.
func (t *TED) completeAddrs() {
	for i := range t.links {
		l := &t.links[i]
		if l.Reverse < 0 {
			continue
		}
		r := &t.links[l.Reverse]
		if !l.RemoteAddr.IsValid() {
			l.RemoteAddr = r.LocalAddr
		}
		if !l.LocalAddr.IsValid() {
			l.LocalAddr = r.RemoteAddr
		}
		if l.RemoteID == 0 {
			l.RemoteID = r.LocalID
		}
		if l.LocalID == 0 {
			l.LocalID = r.RemoteID
		}
		if l.Name == "" {
			l.Name = r.Name
		}
	}
}

// nameLinks gives nameless links a name ("A-B", "A-B#2" for a parallel one) and
// refuses names that do not tell links apart.
func (t *TED) nameLinks() error {
	owner := make(map[string]int, len(t.links))
	for i, l := range t.links {
		if l.Name == "" {
			continue
		}
		if j, dup := owner[l.Name]; dup && l.Reverse != j {
			return fmt.Errorf("link %s: the name is also that of link %s", t.label(i), t.label(j))
		}
		owner[l.Name] = i
	}
	for i := range t.links {
		l := &t.links[i]
		if l.Name != "" {
			continue
		}
		base := t.nodes[l.From].Name + "-" + t.nodes[l.To].Name
		name := base
		for n := 2; ; n++ {
			if _, taken := owner[name]; !taken {
				break
			}
			name = base + "#" + strconv.Itoa(n)
		}
		l.Name = name
		owner[name] = i
		if l.Reverse >= 0 {
			t.links[l.Reverse].Name = name
		}
	}
	return nil
}

// indexAddrs maps interface addresses to nodes. An address on two nodes would
// make routes (ERO, RRO) ambiguous, so it is refused.
func (t *TED) indexAddrs() error {
	put := func(i int, a netip.Addr, node int) error {
		if !a.IsValid() {
			return nil
		}
		if n, ok := t.byAddr[a]; ok && n != node {
			return fmt.Errorf("link %s: address %s is of node %q here and of node %q elsewhere",
				t.label(i), a, t.nodes[node].Name, t.nodes[n].Name)
		}
		t.byAddr[a] = node
		return nil
	}
	for i, l := range t.links {
		if err := put(i, l.LocalAddr, l.From); err != nil {
			return err
		}
		if err := put(i, l.RemoteAddr, l.To); err != nil {
			return err
		}
	}
	return nil
}
