package bgpls

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"mpbox/topology"
)

// nodeKey identifies what is told of a router (RFC 9552, section 5.2.1).
type nodeKey struct {
	instance uint64 // Identifier, section 5.2
	as, lsID uint32
	router   string // IGP router id
	origin   origin
}

// origin is where an element was told: one router or link may be told in several
// levels or areas, and withdrawn in each.
type origin struct {
	protocol bgp.LsProtocolID
	area     uint32
}

// id is the router itself, the same in all levels and areas.
func (k nodeKey) id() nodeKey {
	k.origin = origin{}
	return k
}

// linkKey identifies what is told of one direction of a link by its descriptors,
// section 5.2.2. Topologies (MT-ID) are not told apart.
type linkKey struct {
	from, to          nodeKey
	local, remote     netip.Addr
	localID, remoteID uint32
	local6, remote6   netip.Addr
}

func (k linkKey) id() linkKey {
	k.from, k.to = k.from.id(), k.to.id()
	return k
}

// told is what one peer says of an element.
type told[T any] struct {
	value T
	stale bool
}

// store holds what each peer told, element by element.
type store struct {
	nodes map[nodeKey]map[netip.Addr]told[nodeInfo]
	links map[linkKey]map[netip.Addr]told[topology.Link]
	// whole are the peers whose session stands and that have told all.
	whole map[netip.Addr]bool
}

type nodeInfo struct {
	name     string
	routerID netip.Addr
	pseudo   bool // a LAN, not a router
}

func newStore() *store {
	return &store{nodes: map[nodeKey]map[netip.Addr]told[nodeInfo]{}, links: map[linkKey]map[netip.Addr]told[topology.Link]{},
		whole: map[netip.Addr]bool{}}
}

// update takes one path; families and NLRI types that hold no node or link are
// nothing to a TED.
func (s *store) update(p *apiutil.Path) {
	prefix, ok := p.Nlri.(*bgp.LsAddrPrefix)
	if !ok {
		return
	}
	attr := &bgp.LsAttribute{}
	for _, a := range p.Attrs {
		if ls, ok := a.(*bgp.PathAttributeLs); ok {
			attr = ls.Extract()
		}
	}
	switch n := prefix.NLRI.(type) {
	case *bgp.LsNodeNLRI:
		if key, pseudo, ok := keyOfNode(n.LocalNodeDesc, &n.LsNLRI); ok {
			put(s.nodes, key, p, nodeInfo{name: deref(attr.Node.Name), routerID: routerID(key, attr), pseudo: pseudo})
		}
	case *bgp.LsLinkNLRI:
		from, _, ok1 := keyOfNode(n.LocalNodeDesc, &n.LsNLRI)
		to, _, ok2 := keyOfNode(n.RemoteNodeDesc, &n.LsNLRI)
		if !ok1 || !ok2 {
			return
		}
		d := &bgp.LsLinkDescriptor{}
		d.ParseTLVs(n.LinkDesc)
		key := linkKey{
			from: from, to: to, local: deref(d.InterfaceAddrIPv4), remote: deref(d.NeighborAddrIPv4),
			localID: deref(d.LinkLocalID), remoteID: deref(d.LinkRemoteID),
			local6: deref(d.InterfaceAddrIPv6), remote6: deref(d.NeighborAddrIPv6),
		}
		put(s.links, key, p, linkOf(key, &attr.Link))
	}
}

func put[K comparable, T any](m map[K]map[netip.Addr]told[T], key K, p *apiutil.Path, v T) {
	if p.Withdrawal {
		drop(m, key, p.PeerAddress)
		return
	}
	if m[key] == nil {
		m[key] = map[netip.Addr]told[T]{}
	}
	m[key][p.PeerAddress] = told[T]{value: v}
}

func drop[K comparable, T any](m map[K]map[netip.Addr]told[T], key K, peer netip.Addr) {
	delete(m[key], peer)
	if len(m[key]) == 0 {
		delete(m, key)
	}
}

// stale marks all that a peer told, sweep removes what is still marked.
func (s *store) stale(peer netip.Addr) {
	delete(s.whole, peer)
	markAll(s.nodes, peer)
	markAll(s.links, peer)
}

func (s *store) sweep(peer netip.Addr) {
	s.whole[peer] = true
	sweepAll(s.nodes, peer)
	sweepAll(s.links, peer)
}

// gone tells that only peers whose sessions are lost told of a link, while one whose
// session stands tells both its ends, and not the link: it went since. Where two
// peers tell the same network, the loss of one hides no failure.
func (s *store) gone(k linkKey) bool {
	for _, t := range s.links[k] {
		if !t.stale {
			return false
		}
	}
	for peer := range s.whole {
		if tells(s.nodes[k.from], peer) && tells(s.nodes[k.to], peer) && !tells(s.links[k], peer) {
			return true
		}
	}
	return false
}

func tells[T any](by map[netip.Addr]told[T], peer netip.Addr) bool {
	t, ok := by[peer]
	return ok && !t.stale
}

func markAll[K comparable, T any](m map[K]map[netip.Addr]told[T], peer netip.Addr) {
	for _, by := range m {
		if t, ok := by[peer]; ok {
			t.stale = true
			by[peer] = t
		}
	}
}

func sweepAll[K comparable, T any](m map[K]map[netip.Addr]told[T], peer netip.Addr) {
	for key, by := range m {
		if t, ok := by[peer]; ok && t.stale {
			drop(m, key, peer)
		}
	}
}

func deref[T any](p *T) T {
	if p == nil {
		var none T
		return none
	}
	return *p
}

func keyOfNode(tlv bgp.LsTLVInterface, n *bgp.LsNLRI) (key nodeKey, pseudo, ok bool) {
	desc, ok := tlv.(*bgp.LsTLVNodeDescriptor)
	if !ok || desc == nil {
		return nodeKey{}, false, false
	}
	d := desc.Extract()
	key = nodeKey{instance: n.Identifier, as: d.Asn, lsID: d.BGPLsID, router: d.IGPRouterID, origin: origin{n.ProtocolID, d.OspfAreaID}}
	return key, d.PseudoNode, d.IGPRouterID != ""
}

// routerID is the TE router id, or OSPF's router id where none is told.
func routerID(key nodeKey, attr *bgp.LsAttribute) netip.Addr {
	if a := deref(attr.Node.LocalRouterID); a.IsValid() {
		return a
	}
	if a := deref(attr.Node.LocalRouterIDv6); a.IsValid() {
		return a
	}
	if a, err := netip.ParseAddr(key.router); err == nil {
		return a
	}
	return netip.Addr{}
}

// linkOf reads the attributes of a link (RFC 9552, section 5.3.2; RFC 8571).
// Bandwidths come in bytes/s, delays in microseconds.
func linkOf(key linkKey, a *bgp.LsAttributeLink) topology.Link {
	l := topology.Link{
		LocalAddr: cmp.Or(key.local, key.local6), RemoteAddr: cmp.Or(key.remote, key.remote6),
		LocalID: key.localID, RemoteID: key.remoteID,
		IGPMetric: deref(a.IGPMetric), AdminGroup: deref(a.AdminGroup), SRLGs: deref(a.Srlgs),
	}
	l.TEMetric = l.IGPMetric // where none is told (RFC 3630, section 2.5.5)
	if a.DefaultTEMetric != nil {
		l.TEMetric = *a.DefaultTEMetric
	}
	if d := a.UnidirectionalLinkDelay; d != nil {
		l.Delay = time.Duration(d.Delay) * time.Microsecond
	} else if d := a.MinMaxUnidirectionalLinkDelay; d != nil {
		l.Delay = time.Duration(d.MinDelay) * time.Microsecond
	}
	l.MaxBandwidth = bits(deref(a.Bandwidth))
	l.MaxReservable = l.MaxBandwidth
	if a.ReservableBandwidth != nil {
		l.MaxReservable = bits(*a.ReservableBandwidth)
	}
	for i := range l.Unreserved {
		l.Unreserved[i] = l.MaxReservable
		if a.UnreservedBandwidth != nil {
			l.Unreserved[i] = bits(a.UnreservedBandwidth[i])
		}
	}
	return l
}

// bits turns bytes/s into bit/s; what is no bandwidth is 0, unknown.
func bits(bytes float32) float64 {
	if v := float64(bytes) * 8; v >= 0 && v < 1e18 {
		return v
	}
	return 0
}

// build makes a snapshot, in an order that depends on the elements alone. What
// cannot be part of it is left out with a note, so that one router's mistake does
// not hide the network.
func (s *store) build(version uint64, names map[netip.Addr]string) (*topology.TED, []string, error) {
	b := &builder{b: topology.Builder{Version: version, TwoWay: true}, index: map[nodeKey]int{}, owner: map[netip.Addr]int{}}
	b.addNodes(s, names)
	b.addLinks(s)
	t, err := b.b.Build()
	if err != nil {
		return nil, b.notes, fmt.Errorf("build topology: %w", err)
	}
	return t, b.notes, nil
}

type builder struct {
	b     topology.Builder
	index map[nodeKey]int
	owner map[netip.Addr]int // node of each interface address
	lans  map[nodeKey]*lan
	notes []string
}

// lan collects the links of a pseudonode.
type lan struct {
	to   []told2 // from routers to it
	back map[int]topology.Link
}

type told2 struct {
	from int
	link topology.Link
}

func (b *builder) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
}

func compareNodes(x, y nodeKey) int {
	return cmp.Or(cmp.Compare(x.instance, y.instance), cmp.Compare(x.as, y.as), cmp.Compare(x.lsID, y.lsID), cmp.Compare(x.router, y.router),
		cmp.Compare(y.origin.protocol, x.origin.protocol), cmp.Compare(x.origin.area, y.origin.area)) // level 2 first
}

func compareLinks(x, y linkKey) int {
	return cmp.Or(compareNodes(x.from, y.from), compareNodes(x.to, y.to), x.local.Compare(y.local), x.remote.Compare(y.remote),
		cmp.Compare(x.localID, y.localID), cmp.Compare(x.remoteID, y.remoteID), x.local6.Compare(y.local6), x.remote6.Compare(y.remote6))
}

// first gives what the first of the peers says, of those whose sessions stand if
// there is one.
func first[T any](by map[netip.Addr]told[T]) T {
	return by[slices.MinFunc(slices.Collect(maps.Keys(by)), func(x, y netip.Addr) int {
		if by[x].stale != by[y].stale {
			if by[y].stale {
				return -1
			}
			return 1
		}
		return x.Compare(y)
	})].value
}

func (b *builder) addNodes(s *store, names map[netip.Addr]string) {
	keys := slices.SortedFunc(maps.Keys(s.nodes), compareNodes)
	b.lans = map[nodeKey]*lan{}
	count := map[string]int{}
	configured := map[string]netip.Addr{}
	for id, called := range names {
		configured[called] = id
	}
	name := func(n nodeInfo) string {
		if called := names[n.routerID]; called != "" {
			return called
		}
		if id, taken := configured[n.name]; taken && n.routerID.IsValid() {
			b.note("node %s: it calls itself %s, which is the configured name of %s: shown by its router id", n.routerID, n.name, id)
			return ""
		}
		return n.name
	}
	keys = slices.CompactFunc(keys, func(a, b nodeKey) bool { return a.id() == b.id() })
	calls := make([]string, len(keys))
	for i, k := range keys {
		calls[i] = name(first(s.nodes[k]))
		count[calls[i]]++
	}
	used, ids := map[string]bool{}, map[netip.Addr]bool{}
	for at, k := range keys {
		n := first(s.nodes[k])
		if n.pseudo {
			b.lans[k.id()] = &lan{back: map[int]topology.Link{}}
			continue
		}
		called := calls[at]
		// Several routers may have one host name.
		if called == "" || count[called] > 1 && names[n.routerID] != called {
			called = k.router
			if n.routerID.IsValid() {
				called = n.routerID.String()
			}
		}
		for i := 2; used[called]; i++ {
			called = fmt.Sprintf("%s#%d", k.router, i)
		}
		used[called] = true
		if ids[n.routerID] {
			b.note("node %s: router id %s is also that of another node: left out", called, n.routerID)
			n.routerID = netip.Addr{}
		}
		if n.routerID.IsValid() {
			ids[n.routerID] = true
		}
		i := b.b.AddNode(topology.Node{Name: called, RouterID: n.routerID})
		b.index[k.id()] = i
		if n.routerID.IsValid() {
			b.owner[n.routerID] = i
		}
	}
}

func (b *builder) addLinks(s *store) {
	done := map[linkKey]bool{}
	for _, k := range slices.SortedFunc(maps.Keys(s.links), compareLinks) {
		if done[k.id()] || s.gone(k) {
			continue
		}
		done[k.id()] = true
		l := first(s.links[k])
		from, ok1 := b.index[k.from.id()]
		to, ok2 := b.index[k.to.id()]
		fromLAN, toLAN := b.lans[k.from.id()], b.lans[k.to.id()]
		switch {
		case ok1 && ok2:
			if from == to {
				b.note("link %s-%s: it leads to where it begins: left out", k.from.router, k.to.router)
				continue
			}
			l.From, l.To = from, to
			b.add(l)
		case ok1 && toLAN != nil:
			toLAN.to = append(toLAN.to, told2{from, l})
		case ok2 && fromLAN != nil:
			fromLAN.back[to] = l
		default:
			b.note("link %s-%s: an end of it is unknown: left out", k.from.router, k.to.router)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(b.lans), compareNodes) {
		b.addLAN(k, b.lans[k])
	}
}

// add drops addresses that another node has too: routes would be ambiguous.
func (b *builder) add(l topology.Link) {
	for _, end := range []struct {
		addr *netip.Addr
		node int
	}{{&l.LocalAddr, l.From}, {&l.RemoteAddr, l.To}} {
		if !end.addr.IsValid() || end.addr.IsUnspecified() {
			*end.addr = netip.Addr{}
			continue
		}
		if n, ok := b.owner[*end.addr]; ok && n != end.node {
			b.note("address %s is of two nodes: left out of a link", *end.addr)
			*end.addr = netip.Addr{}
			continue
		}
		b.owner[*end.addr] = end.node
	}
	b.b.AddLink(l)
}

// lanSRLG is the range of the risk groups that stand for LANs, whose links fail
// together. Operators number theirs from below.
const lanSRLG = 0xff000000

// addLAN makes a link between each two routers of a LAN, with the attributes of
// the router's interface: a pseudonode is no router that a route can name.
func (b *builder) addLAN(k nodeKey, n *lan) {
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, k)
	group := lanSRLG | h.Sum32()>>8
	for _, x := range n.to {
		for _, y := range n.to {
			if x.from == y.from {
				continue
			}
			l := x.link
			l.From, l.To = x.from, y.from
			l.RemoteAddr, l.RemoteID, l.LocalID = y.link.LocalAddr, 0, 0
			l.SRLGs = append(slices.Clone(l.SRLGs), group)
			// The pseudonode must own up to both, or one is not there.
			_, ok1 := n.back[x.from]
			_, ok2 := n.back[y.from]
			l.Down = !ok1 || !ok2
			b.add(l)
		}
	}
}
