package topology

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Merge makes one TED of several views of the same IGP area, as several PEs
// report them; nil views are skipped. Nodes are the same when their names or
// their router ids are; the first view's name is kept. A link's attributes come
// from the view with the highest version that has it, the first of equals.
//
// A link is usable only where all views agree: it is Down when a view says so, or
// when a view knows both its nodes and not the link. After a failure the fastest
// of the views counts, and a stale one cannot keep a dead link alive.
//
// The result's version is the sum of the views' versions: it grows when any does
// (see WithVersion where views come and go).
func Merge(views ...*TED) (*TED, error) {
	views = slices.DeleteFunc(slices.Clone(views), func(t *TED) bool { return t == nil })
	m := merger{byName: map[string]int{}, byRouter: map[netip.Addr]int{}, links: map[linkKey]*mergedLink{}}
	for _, v := range views {
		m.b.Version += v.version
		if err := m.add(v); err != nil {
			return nil, fmt.Errorf("merge topologies: %w", err)
		}
	}
	t, err := m.build()
	if err != nil {
		return nil, fmt.Errorf("merge topologies: %w", err)
	}
	return t, nil
}

// linkKey is what makes a link the same in two views. Addresses are taken as
// completed from both directions; names count only where nothing else tells.
type linkKey struct {
	from, to      int
	local, remote netip.Addr
	lid, rid      uint32
	name          string
}

type mergedLink struct {
	link    Link
	paired  bool
	version uint64
	seen    int // views that have it
	down    bool
	order   int
}

type merger struct {
	b        Builder
	byName   map[string]int
	byRouter map[netip.Addr]int
	knows    []map[int]bool // per view: merged nodes
	links    map[linkKey]*mergedLink
}

func (m *merger) add(v *TED) error {
	index := make([]int, len(v.nodes))
	known := map[int]bool{}
	for i, n := range v.nodes {
		at, ok := m.byName[n.Name]
		if !ok && n.RouterID.IsValid() {
			at, ok = m.byRouter[n.RouterID]
		}
		if !ok {
			at = m.b.AddNode(n)
		}
		have := &m.b.nodes[at]
		if !have.RouterID.IsValid() {
			have.RouterID = n.RouterID
		} else if n.RouterID.IsValid() && n.RouterID != have.RouterID {
			return fmt.Errorf("node %q: router id %s in one view, %s in another", n.Name, have.RouterID, n.RouterID)
		}
		m.byName[n.Name] = at
		if n.RouterID.IsValid() {
			m.byRouter[n.RouterID] = at
		}
		index[i], known[at] = at, true
	}
	m.knows = append(m.knows, known)
	for _, l := range v.links {
		l.From, l.To = index[l.From], index[l.To]
		paired := l.Reverse >= 0
		k := keyOf(l)
		ml, ok := m.links[k]
		if !ok {
			ml = &mergedLink{link: l, paired: paired, version: v.version, order: len(m.links)}
			m.links[k] = ml
		} else if v.version > ml.version {
			name := ml.link.Name
			ml.link, ml.version = l, v.version
			ml.link.Name = name
		}
		ml.seen++
		ml.paired = ml.paired || paired
		ml.down = ml.down || l.Down
	}
	return nil
}

func keyOf(l Link) linkKey {
	k := linkKey{from: l.From, to: l.To, local: l.LocalAddr, remote: l.RemoteAddr, lid: l.LocalID, rid: l.RemoteID}
	if !k.local.IsValid() && !k.remote.IsValid() && k.lid == 0 && k.rid == 0 {
		k.name = l.Name
	}
	return k
}

func (m *merger) build() (*TED, error) {
	links := make([]*mergedLink, 0, len(m.links))
	for _, ml := range m.links {
		links = append(links, ml)
	}
	slices.SortFunc(links, func(a, b *mergedLink) int { return a.order - b.order })
	type ends struct{ from, to int }
	taken := map[string][]ends{} // both directions of a link share its name
	for _, ml := range links {
		knowing := 0
		for _, k := range m.knows {
			if k[ml.link.From] && k[ml.link.To] {
				knowing++
			}
		}
		ml.link.Down = ml.down || ml.seen < knowing
		// Views may have numbered their parallel links in another order: let Build
		// name what would clash.
		e := ends{ml.link.From, ml.link.To}
		if t := taken[ml.link.Name]; len(t) == 0 || ml.paired && len(t) == 1 && t[0] == (ends{e.to, e.from}) {
			taken[ml.link.Name] = append(t, e)
		} else {
			ml.link.Name = ""
		}
		if ml.paired {
			m.b.AddLink(ml.link)
		} else {
			m.b.AddOneWay(ml.link)
		}
	}
	return m.b.Build()
}

// Equal tells whether two snapshots describe the same network, whatever their
// versions and the order of their elements.
func Equal(a, b *TED) bool { return len(Diff(a, b)) == 0 }

// Diff lists what differs from one snapshot to a later one, sorted, in words for
// people and logs: "node p1 added", "link A-C (A->C): te metric 10 -> 20". Links
// are matched as Merge does; names of nodes tell nodes apart.
func Diff(from, to *TED) []string { return diffs(from, to, diffLink) }

// Reshaped tells whether anything differs but what is measured and changes all the
// time: unreserved bandwidth and delay.
func Reshaped(from, to *TED) bool {
	return len(diffs(from, to, func(a, b *Link) []string {
		c := *a
		c.Unreserved, c.Delay = b.Unreserved, b.Delay
		return diffLink(&c, b)
	})) > 0
}

func diffs(from, to *TED, diffLink func(a, b *Link) []string) []string {
	var d []string
	for _, n := range from.nodes {
		j, ok := to.byName[n.Name]
		if !ok {
			d = append(d, "node "+n.Name+" removed")
		} else if r := to.nodes[j].RouterID; r != n.RouterID {
			d = append(d, fmt.Sprintf("node %s: router id %s -> %s", n.Name, n.RouterID, r))
		}
	}
	for _, n := range to.nodes {
		if _, ok := from.byName[n.Name]; !ok {
			d = append(d, "node "+n.Name+" added")
		}
	}
	type key struct {
		linkKey
		fromName, toName string
	}
	keyed := func(t *TED) map[key]int {
		m := make(map[key]int, len(t.links))
		for i, l := range t.links {
			k := key{keyOf(l), t.nodes[l.From].Name, t.nodes[l.To].Name}
			k.from, k.to = 0, 0
			m[k] = i
		}
		return m
	}
	a, b := keyed(from), keyed(to)
	for k, i := range a {
		j, ok := b[k]
		if !ok {
			d = append(d, "link "+from.label(i)+" removed")
			continue
		}
		if c := diffLink(&from.links[i], &to.links[j]); len(c) > 0 {
			d = append(d, "link "+from.label(i)+": "+strings.Join(c, ", "))
		}
	}
	for k, j := range b {
		if _, ok := a[k]; !ok {
			d = append(d, "link "+to.label(j)+" added")
		}
	}
	slices.Sort(d)
	return d
}

func diffLink(a, b *Link) []string {
	var d []string
	diff := func(what string, x, y any) {
		if x != y {
			d = append(d, fmt.Sprintf("%s %v -> %v", what, x, y))
		}
	}
	diff("te metric", a.TEMetric, b.TEMetric)
	diff("igp metric", a.IGPMetric, b.IGPMetric)
	diff("delay", a.Delay, b.Delay)
	diff("max bandwidth", a.MaxBandwidth, b.MaxBandwidth)
	diff("max reservable bandwidth", a.MaxReservable, b.MaxReservable)
	diff("unreserved bandwidth", a.Unreserved, b.Unreserved)
	diff("admin group", a.AdminGroup, b.AdminGroup)
	diff("srlgs", fmt.Sprint(a.SRLGs), fmt.Sprint(b.SRLGs))
	diff("down", a.Down, b.Down)
	diff("unidirectional", a.Reverse < 0, b.Reverse < 0)
	return d
}
