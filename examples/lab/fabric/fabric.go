package fabric

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"mpbox/topology"
)

// Path is an LSP's way through the core, from this PE to the egress PE.
type Path struct {
	// ID names the path in Ingress and Counters. It is never reused for another
	// route: a re-routed LSP gets a new path (make before break). 0 is invalid.
	ID uint32 `json:"id"`
	// Hops are the links in order from the ingress PE.
	Hops []Hop `json:"hops"`
}

// Hop is a link of a path, and the label that packets carry on it.
type Hop struct {
	Link  string `json:"link"`
	Label uint32 `json:"label"`
}

// Ingress is how this PE classifies what comes in from its attachments.
type Ingress struct {
	// Entries are tried in order; the first that matches wins.
	Entries []Entry
	// Defaults give the path for what no entry matches, by egress PE. An egress
	// without one is unreachable.
	Defaults map[string]uint32
}

// Entry maps a class to a path. It holds only for packets whose VPN route ends
// at the egress PE of the path: an LSP to elsewhere would not deliver them.
type Entry struct {
	// ID names the entry in Counters; unique among entries, not 0.
	ID uint32
	// FEC's Interface is the name of one of this PE's attachment interfaces; empty
	// is any of them.
	FEC  topology.FEC
	Path uint32
}

// Counter counts what was forwarded since the flow was installed.
type Counter struct {
	Packets, Bytes uint64
}

// Counters are by id. Open vSwitch updates them about once a second.
type Counters struct {
	Paths, Entries map[uint32]Counter
}

// Errors that callers tell apart.
var (
	ErrUnknownLink = errors.New("unknown link")
	ErrPath        = errors.New("invalid path")
)

// drain is how long transit and egress flows outlive the ingress flow of a
// removed path: longer than the deepest queue on the way.
const drain = 500 * time.Millisecond

// Fabric programs the flows of one PE. All methods may be called at any time,
// before Run too; what could not be written because vswitchd is away is written
// when it is back.
type Fabric struct {
	node  Node
	owner uint64 // place in cookies

	mu      sync.Mutex
	ofctl   func(ctx context.Context, mgmt string, flows []string) error
	dump    func(ctx context.Context, mgmt, match string) ([]string, error)
	paths   map[uint32]Path
	dying   map[uint32]Path // ingress gone, the rest drains
	entries []placedEntry
	ingress Ingress

	removals chan removal
	linkMu   sync.Mutex
	linkDown map[string]bool
	changed  chan struct{}
}

type removal struct {
	path Path
	due  time.Time
}

// New makes the fabric of a PE. It does no I/O.
func New(node Node) (*Fabric, error) {
	owner := slices.IndexFunc(node.Nodes, func(r Router) bool { return r.Name == node.Name })
	if owner < 0 {
		return nil, fmt.Errorf("make fabric: %s is none of its own nodes", node.Name)
	}
	return &Fabric{
		node:     node,
		owner:    uint64(owner) + 1,
		ofctl:    addFlows,
		dump:     dumpFlows,
		paths:    map[uint32]Path{},
		dying:    map[uint32]Path{},
		removals: make(chan removal, 1024),
		linkDown: map[string]bool{},
		changed:  make(chan struct{}, 1),
	}, nil
}

// Start installs the PE's fixed flows (routes, VPN labels), the given paths and
// the ingress, and removes all other flows that an earlier process of this PE
// left anywhere. Traffic on paths that stay is not disturbed.
func (f *Fabric) Start(ctx context.Context, paths []Path, in Ingress) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range paths {
		if err := f.check(p); err != nil {
			return err
		}
		f.paths[p.ID] = clonePath(p)
	}
	placed, err := f.place(in)
	if err != nil {
		return err
	}
	f.entries, f.ingress = placed, cloneIngress(in)
	if err := f.replay(ctx); err != nil {
		return err
	}
	return f.sweep(ctx)
}

// InstallPath programs a path: swap at each transit router, both pops at the
// egress, the push at the ingress last. Installing the same path again is a
// no-op that repairs its flows; another route under a known id is ErrPath.
func (f *Fabric) InstallPath(ctx context.Context, p Path) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(p); err != nil {
		return err
	}
	for _, known := range []map[uint32]Path{f.paths, f.dying} {
		if old, ok := known[p.ID]; ok && !reflect.DeepEqual(old, p) {
			return fmt.Errorf("install path %d: %w: id is taken by another route", p.ID, ErrPath)
		}
	}
	if err := f.writePath(ctx, p); err != nil {
		return fmt.Errorf("install path %d: %w", p.ID, err)
	}
	delete(f.dying, p.ID)
	f.paths[p.ID] = clonePath(p)
	return nil
}

// RemovePath takes a path away. Entries and defaults that still point to it
// drop their packets: re-point first. The flows downstream of the ingress go
// half a second later, so that packets under way arrive. An unknown id is no
// error.
func (f *Fabric) RemovePath(ctx context.Context, id uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.paths[id]
	if !ok {
		return nil
	}
	r, _ := f.node.Router(f.node.Name)
	if err := f.ofctl(ctx, r.Mgmt, []string{f.deletePath(id) + ",table=" + tableNHLFE}); err != nil {
		return fmt.Errorf("remove path %d: %w", id, err)
	}
	delete(f.paths, id)
	f.dying[id] = p
	select {
	case f.removals <- removal{p, time.Now().Add(drain)}:
	default: // nobody runs: the next Start sweeps
	}
	return nil
}

// SetIngress replaces the whole classification in one atomic step: a packet
// sees the old or the new one. Paths must be installed before.
func (f *Fabric) SetIngress(ctx context.Context, in Ingress) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	placed, err := f.place(in)
	if err != nil {
		return err
	}
	r, _ := f.node.Router(f.node.Name)
	flows := diffFlows(f.ingressFlows(f.entries, f.ingress.Defaults), f.ingressFlows(placed, in.Defaults))
	if len(flows) > 0 {
		if err := f.ofctl(ctx, r.Mgmt, flows); err != nil {
			return fmt.Errorf("set ingress: %w", err)
		}
	}
	f.entries, f.ingress = placed, cloneIngress(in)
	return nil
}

// Paths gives the installed paths by id.
func (f *Fabric) Paths() map[uint32]Path {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.paths)
}

// LinkUp tells whether both ends of the link have carrier. Before Run has
// looked, links count as up.
func (f *Fabric) LinkUp(name string) bool {
	f.linkMu.Lock()
	defer f.linkMu.Unlock()
	return !f.linkDown[name]
}

// Changed receives after links changed; one value may stand for many changes.
func (f *Fabric) Changed() <-chan struct{} { return f.changed }

// check tells whether the hops are a walk from this PE to another PE without
// passing a router twice.
func (f *Fabric) check(p Path) error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("path %d: %w: %s", p.ID, ErrPath, fmt.Sprintf(format, a...))
	}
	if p.ID == 0 || len(p.Hops) == 0 {
		return bad("no id or no hops")
	}
	seen := map[string]bool{f.node.Name: true}
	at := f.node.Name
	for _, h := range p.Hops {
		l, ok := f.node.Link(h.Link)
		if !ok {
			return fmt.Errorf("path %d: %w %q", p.ID, ErrUnknownLink, h.Link)
		}
		_, far, ok := l.End(at)
		if !ok {
			return bad("link %s does not start at %s", h.Link, at)
		}
		if seen[far.Node] {
			return bad("passes %s twice", far.Node)
		}
		if h.Label < 16 || h.Label > 1<<20-1 {
			return bad("label %d is reserved or too large", h.Label)
		}
		at = far.Node
		seen[at] = true
	}
	if r, _ := f.node.Router(at); !r.PE {
		return bad("ends at %s, which is no PE", at)
	}
	return nil
}

// egress gives the router at the end of a checked path.
func (f *Fabric) egress(p Path) string {
	at := f.node.Name
	for _, h := range p.Hops {
		l, _ := f.node.Link(h.Link)
		_, far, _ := l.End(at)
		at = far.Node
	}
	return at
}

func clonePath(p Path) Path {
	p.Hops = slices.Clone(p.Hops)
	return p
}

func cloneIngress(in Ingress) Ingress {
	return Ingress{Entries: slices.Clone(in.Entries), Defaults: maps.Clone(in.Defaults)}
}
