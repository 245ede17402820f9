package topology

import (
	"net/netip"
	"slices"
)

// Complete adds to what routers tell of their network what a person has written of
// it: live's nodes and links, with file's names, SRLGs besides live's own, and delay,
// admin groups and bandwidth where live has none; a link that file has down is Down.
// Metrics are live's: routers always tell them. Nodes are the same when their router
// ids are, or their names where one has no router id; links when they have an interface
// address or identifier in common, or when they are the only ones between their nodes.
// Nothing of file becomes part of the network by itself: unused has its links that live
// does not have, and those of which it cannot be told which ones of live they are.
func Complete(live, file *TED) (ted *TED, unused []string) {
	c := *live
	c.nodes, c.links = slices.Clone(live.nodes), slices.Clone(live.links)
	nodes := make([]int, len(file.nodes)) // of live, by file's; -1 where it has none
	for i, n := range file.nodes {
		nodes[i] = live.sameNode(n)
	}
	c.rename(nodes, file)

	of := live.match(file, nodes)
	taken := map[string]bool{} // names in live
	for i := range live.links {
		taken[live.links[i].Name] = true
	}
	for j, i := range of {
		f := &file.links[j]
		if i < 0 {
			if f.Reverse < 0 || f.Reverse > j || of[f.Reverse] >= 0 { // once for both directions
				unused = append(unused, file.label(j))
			}
			continue
		}
		l := &c.links[i]
		if !taken[f.Name] {
			l.Name = f.Name
		}
		l.SRLGs = slices.Compact(slices.Sorted(slices.Values(slices.Concat(l.SRLGs, f.SRLGs))))
		l.Down = l.Down || f.Down
		if l.Delay == 0 {
			l.Delay = f.Delay
		}
		if l.AdminGroup == 0 {
			l.AdminGroup = f.AdminGroup
		}
		if l.MaxBandwidth == 0 && l.MaxReservable == 0 {
			l.MaxBandwidth, l.MaxReservable, l.Unreserved = f.MaxBandwidth, f.MaxReservable, f.Unreserved
		}
	}
	return &c, unused
}

// sameNode finds the node that n describes: by router id where both have one, else
// by name; -1 for none.
func (t *TED) sameNode(n Node) int {
	if i, ok := t.byAddr[n.RouterID]; ok && t.nodes[i].RouterID == n.RouterID {
		return i
	}
	if i, ok := t.byName[n.Name]; ok && !(n.RouterID.IsValid() && t.nodes[i].RouterID.IsValid()) {
		return i
	}
	return -1
}

// rename gives nodes the names they have in file, but none that another one has.
func (t *TED) rename(nodes []int, file *TED) {
	byName := make(map[string]int, len(t.nodes))
	for j, i := range nodes {
		if i < 0 {
			continue
		}
		if _, taken := t.byName[file.nodes[j].Name]; !taken {
			t.nodes[i].Name = file.nodes[j].Name
		}
		if f := file.nodes[j].RouterID; !t.nodes[i].RouterID.IsValid() && f.IsValid() {
			if _, taken := t.byAddr[f]; !taken {
				t.nodes[i].RouterID = f
			}
		}
	}
	byAddr := make(map[netip.Addr]int, len(t.byAddr))
	for a, i := range t.byAddr {
		byAddr[a] = i
	}
	for i, n := range t.nodes {
		byName[n.Name] = i
		if n.RouterID.IsValid() {
			byAddr[n.RouterID] = i
		}
	}
	t.byName, t.byAddr = byName, byAddr
}

// match finds the link that each one of file is; -1 where that cannot be told. nodes
// are t's by file's. Signs go from the surest to the weakest; a link is matched once.
func (t *TED) match(file *TED, nodes []int) []int {
	of := make([]int, len(file.links))
	matched := make([]bool, len(t.links))
	for j := range of {
		of[j] = -1
	}
	signs := []func(a, b *Link) bool{
		func(a, b *Link) bool {
			return a.LocalAddr.IsValid() && a.LocalAddr == b.LocalAddr || a.RemoteAddr.IsValid() && a.RemoteAddr == b.RemoteAddr
		},
		func(a, b *Link) bool { return a.LocalID != 0 && a.LocalID == b.LocalID && a.RemoteID == b.RemoteID },
		func(a, b *Link) bool { return !differ(a, b) },
	}
	for _, same := range signs {
		for j := range file.links {
			f := &file.links[j]
			from, to := nodes[f.From], nodes[f.To]
			if of[j] >= 0 || from < 0 || to < 0 {
				continue
			}
			only := func(in *TED, from, to int, free func(int) bool, l *Link) int {
				found := -1
				for _, i := range in.out[from] {
					if in.links[i].To == to && free(i) && same(&in.links[i], l) {
						if found >= 0 {
							return -1
						}
						found = i
					}
				}
				return found
			}
			i := only(t, from, to, func(i int) bool { return !matched[i] }, f)
			if i >= 0 && only(file, f.From, f.To, func(k int) bool { return of[k] < 0 }, &t.links[i]) == j {
				of[j], matched[i] = i, true
			}
		}
	}
	return of
}

// differ tells whether addresses or identifiers say that two links between the same
// nodes are not the same.
func differ(a, b *Link) bool {
	both := func(x, y netip.Addr) bool { return x.IsValid() && y.IsValid() && x != y }
	return both(a.LocalAddr, b.LocalAddr) || both(a.RemoteAddr, b.RemoteAddr) || a.LocalID != 0 && b.LocalID != 0 && a.LocalID != b.LocalID
}
