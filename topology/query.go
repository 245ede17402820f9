package topology

import (
	"fmt"
	"net/netip"
	"slices"
)

// Version tells snapshots of one source apart: a later one has a higher number.
func (t *TED) Version() uint64 { return t.version }

// WithVersion is the same snapshot under another version.
func (t *TED) WithVersion(v uint64) *TED {
	c := *t
	c.version = v
	return &c
}

// Nodes are all the routers. The slice is the TED's own: read only.
func (t *TED) Nodes() []Node { return t.nodes }

// Links are all the links, each direction on its own, those that are down too.
// The slice is the TED's own: read only.
func (t *TED) Links() []Link { return t.links }

// Out are the indexes of the links that leave a node. Read only.
func (t *TED) Out(node int) []int { return t.out[node] }

// NodeIndex finds a node by name.
func (t *TED) NodeIndex(name string) (int, bool) {
	i, ok := t.byName[name]
	return i, ok
}

// NodeByAddr finds the node that has an address as router id or on an interface.
func (t *TED) NodeByAddr(a netip.Addr) (int, bool) {
	i, ok := t.byAddr[a]
	return i, ok
}

// ERO is the strict explicit route over links: for each the address by which its
// far end is entered, or the far end's router id where the link has no address.
// A hop of a topology without addresses is the zero Hop.
func (t *TED) ERO(links []int) []Hop {
	hops := make([]Hop, len(links))
	for i, li := range links {
		l := t.links[li]
		hops[i].Addr = l.RemoteAddr
		if !hops[i].Addr.IsValid() {
			hops[i].Addr = t.nodes[l.To].RouterID
		}
	}
	return hops
}

// Route finds the links of a route (ERO or RRO) that begins at a node. A hop's
// address may be that of the interface by which its node is entered, the node's
// router id, or the interface by which the node is left again, as some routers
// record it; several hops of one node in a row are read together. Links that are down
// are found too: a recorded route is what it is.
//
// Refused: loose hops (the route is not known), hops that are not neighbours, and
// hops that do not tell which of several parallel links is meant.
func (t *TED) Route(ingress string, hops []Hop) ([]int, error) {
	at, ok := t.byName[ingress]
	if !ok {
		return nil, fmt.Errorf("resolve route: node %q is not in the topology", ingress)
	}
	links := make([]int, 0, len(hops))
	var left, group []netip.Addr // hops at the node before, and at the one entered now
	for n := 0; n < len(hops); {
		node, first := -1, n
		group = group[:0:0]
		for ; n < len(hops); n++ {
			h := hops[n]
			if h.Loose {
				return nil, fmt.Errorf("resolve route from %s: hop %d %s is loose", ingress, n+1, h.Addr)
			}
			at, ok := t.byAddr[h.Addr]
			if !ok {
				return nil, fmt.Errorf("resolve route from %s: hop %d: address %s is not in the topology", ingress, n+1, h.Addr)
			}
			if node >= 0 && at != node {
				break
			}
			node, group = at, append(group, h.Addr)
		}
		if node != at {
			link, err := t.step(at, node, group, left)
			if err != nil {
				return nil, fmt.Errorf("resolve route from %s: hop %d: %w", ingress, first+1, err)
			}
			links = append(links, link)
			at = node
		}
		left = group
	}
	return links, nil
}

// step finds the link between two neighbours that the hops recorded at either
// end mean: the far end's address where it is entered tells most.
func (t *TED) step(from, to int, entered, left []netip.Addr) (int, error) {
	far, near, any := match{}, match{}, match{}
	for _, li := range t.out[from] {
		l := &t.links[li]
		if l.To != to {
			continue
		}
		any.add(li)
		if slices.Contains(entered, l.RemoteAddr) {
			far.add(li)
		}
		if slices.Contains(left, l.LocalAddr) {
			near.add(li)
		}
	}
	// Unnumbered parallel links borrow one address: a sign counts if it is the only one.
	for _, m := range []match{far, near, any} {
		if m.n == 1 {
			return m.link, nil
		}
	}
	if any.n == 0 {
		return 0, fmt.Errorf("%s (%s) is no neighbour of %s", entered[0], t.nodes[to].Name, t.nodes[from].Name)
	}
	return 0, fmt.Errorf("%s does not tell which of %d parallel links from %s to %s is meant", entered[0], any.n, t.nodes[from].Name, t.nodes[to].Name)
}

// match counts the links that a sign points to and keeps the last.
type match struct{ n, link int }

func (m *match) add(link int) { m.n, m.link = m.n+1, link }
