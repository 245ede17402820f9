package petest

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"mpbox/examples/lab/fabric"
)

// network is the built-in network as pe1 is told about it. Link i has the
// addresses 10.0.i.1 (its first router) and 10.0.i.2.
func network() fabric.Node {
	n := fabric.Node{
		Lab: "test", Name: "pe1", RouterID: netip.MustParseAddr("10.255.0.1"), Mgmt: netip.MustParseAddr("127.0.0.1"),
		Labels: fabric.Range{First: 16000, Last: 16999},
		Nodes: []fabric.Router{
			{Name: "pe1", RouterID: netip.MustParseAddr("10.255.0.1"), PE: true},
			{Name: "pe2", RouterID: netip.MustParseAddr("10.255.0.2"), PE: true},
			{Name: "pe3", RouterID: netip.MustParseAddr("10.255.0.3"), PE: true},
			{Name: "p1", RouterID: netip.MustParseAddr("10.255.1.1")},
			{Name: "p2", RouterID: netip.MustParseAddr("10.255.1.2")},
			{Name: "p3", RouterID: netip.MustParseAddr("10.255.1.3")},
		},
	}
	ports := map[string]int{}
	port := func(router string) string {
		ports[router]++
		return fmt.Sprintf("GigabitEthernet0/0/0/%d", ports[router]+9)
	}
	for i, l := range []struct {
		a, b   string
		metric uint32
		srlgs  []uint32
	}{
		{"pe1", "p1", 10, nil},
		{"p1", "pe2", 10, nil},
		{"pe1", "p2", 10, []uint32{100}},
		{"p2", "pe2", 20, nil},
		{"pe1", "p3", 50, []uint32{100, 200}},
		{"p3", "pe2", 50, nil},
		{"p1", "p2", 10, nil},
		{"p3", "pe3", 10, nil},
	} {
		end := func(router string, host int) fabric.LinkEnd {
			return fabric.LinkEnd{
				Node: router, Interface: port(router),
				Address: netip.MustParsePrefix(fmt.Sprintf("10.0.%d.%d/30", i+1, host)),
			}
		}
		n.Links = append(n.Links, fabric.Link{
			Name: l.a + "-" + l.b, A: end(l.a, 1), B: end(l.b, 2),
			TEMetric: l.metric, IGPMetric: l.metric, SRLGs: l.srlgs, RateBPS: 20e6,
		})
	}
	n.Interfaces = []fabric.Interface{
		{Name: "Loopback0", IfIndex: 1, Address: netip.PrefixFrom(n.RouterID, 32)},
		{Name: "MgmtEth0/RP0/CPU0/0", IfIndex: 2, RateBPS: 1e9},
	}
	for i := range 2 {
		a := fabric.Attachment{
			Name: fmt.Sprintf("edge1-%c", 'a'+i), VPN: []string{"red", "blue"}[i],
			Interface: fmt.Sprintf("GigabitEthernet0/0/0/%d", i+1), IfIndex: uint32(3 + i), OFPort: uint32(1 + i),
			MAC: fmt.Sprintf("02:00:00:00:01:%02x", i),
		}
		n.Attachments = append(n.Attachments, a)
		n.Interfaces = append(n.Interfaces, fabric.Interface{Name: a.Interface, IfIndex: a.IfIndex, Attachment: a.Name, RateBPS: 1e9, MAC: a.MAC})
		n.Routes = append(n.Routes, fabric.Route{VPN: a.VPN, Prefix: netip.MustParsePrefix("10.2.0.0/24"), Egress: "pe2", Label: uint32(100 + i)})
	}
	for _, l := range n.Links {
		if near, _, ok := l.End("pe1"); ok {
			n.Interfaces = append(n.Interfaces, fabric.Interface{
				Name: near.Interface, IfIndex: uint32(len(n.Interfaces) + 1), Address: near.Address, Link: l.Name, RateBPS: l.RateBPS,
			})
		}
	}
	return n
}

// Fabric is a data plane that only remembers; it refuses what the real one
// refuses of paths that are not there.
type Fabric struct {
	mu       sync.Mutex
	paths    map[uint32]fabric.Path
	ingress  fabric.Ingress
	down     map[string]bool
	changed  chan struct{}
	programs int
}

// NewFabric gives an empty data plane with all links up.
func NewFabric() *Fabric {
	return &Fabric{paths: map[uint32]fabric.Path{}, down: map[string]bool{}, changed: make(chan struct{}, 1)}
}

// Start is router.Plane's.
func (f *Fabric) Start(_ context.Context, paths []fabric.Path, in fabric.Ingress) error {
	f.mu.Lock()
	f.paths = map[uint32]fabric.Path{}
	for _, p := range paths {
		f.paths[p.ID] = p
	}
	f.mu.Unlock()
	err := f.SetIngress(context.Background(), in)
	f.mu.Lock()
	f.programs--
	f.mu.Unlock()
	return err
}

// InstallPath is router.Plane's.
func (f *Fabric) InstallPath(_ context.Context, p fabric.Path) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, ok := f.paths[p.ID]; ok && !slices.Equal(old.Hops, p.Hops) {
		return fmt.Errorf("install path %d: id is taken by another route", p.ID)
	}
	f.paths[p.ID] = p
	f.programs++
	return nil
}

// RemovePath is router.Plane's.
func (f *Fabric) RemovePath(_ context.Context, id uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.ingress.Entries {
		if e.Path == id {
			return fmt.Errorf("remove path %d: entry %d still points to it", id, e.ID)
		}
	}
	delete(f.paths, id)
	f.programs++
	return nil
}

// SetIngress is router.Plane's.
func (f *Fabric) SetIngress(_ context.Context, in fabric.Ingress) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := map[uint32]bool{}
	for _, e := range in.Entries {
		if _, ok := f.paths[e.Path]; !ok || e.ID == 0 || seen[e.ID] {
			return fmt.Errorf("set ingress: entry %d: path %d is not installed, or id used twice", e.ID, e.Path)
		}
		seen[e.ID] = true
	}
	for egress, id := range in.Defaults {
		if _, ok := f.paths[id]; !ok {
			return fmt.Errorf("set ingress: default to %s: path %d is not installed", egress, id)
		}
	}
	f.ingress = fabric.Ingress{Entries: slices.Clone(in.Entries), Defaults: maps.Clone(in.Defaults)}
	f.programs++
	return nil
}

// LinkUp is router.Plane's.
func (f *Fabric) LinkUp(link string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.down[link]
}

// Changed is router.Plane's.
func (f *Fabric) Changed() <-chan struct{} { return f.changed }

// Counters is router.Plane's: each path and entry counts a hundred packets per id.
func (f *Fabric) Counters(context.Context) (fabric.Counters, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := fabric.Counters{Paths: map[uint32]fabric.Counter{}, Entries: map[uint32]fabric.Counter{}}
	for id := range f.paths {
		c.Paths[id] = fabric.Counter{Packets: 100 * uint64(id), Bytes: 150000 * uint64(id)}
	}
	for _, e := range f.ingress.Entries {
		c.Entries[e.ID] = fabric.Counter{Packets: 100 * uint64(e.ID), Bytes: 150000 * uint64(e.ID)}
	}
	return c, nil
}

// SetLink takes a link ("pe1-p1") down or up.
func (f *Fabric) SetLink(link string, up bool) {
	f.mu.Lock()
	f.down[link] = !up
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// Ingress is the classification in force.
func (f *Fabric) Ingress() fabric.Ingress {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ingress
}

// Paths are the installed paths.
func (f *Fabric) Paths() map[uint32]fabric.Path {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.paths)
}

// Programs counts what was written to the data plane, Starts aside.
func (f *Fabric) Programs() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.programs
}
