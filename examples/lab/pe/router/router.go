package router

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mpbox/examples/lab/fabric"
)

// Plane is the data plane under this router; fabric.Fabric is one.
type Plane interface {
	// Start installs what was there before a restart, without disturbing traffic.
	Start(ctx context.Context, paths []fabric.Path, in fabric.Ingress) error
	InstallPath(ctx context.Context, p fabric.Path) error
	RemovePath(ctx context.Context, id uint32) error
	SetIngress(ctx context.Context, in fabric.Ingress) error
	LinkUp(link string) bool
	// Changed receives after links changed.
	Changed() <-chan struct{}
	Counters(ctx context.Context) (fabric.Counters, error)
}

// Options of a router.
type Options struct {
	// HopDelay is how long Path and Resv take per link; 1 ms by default.
	HopDelay time.Duration
	// Die ends the process at once, for the fault die-after-sets.
	Die func()
	// Log tells what went wrong inside; may be nil.
	Log func(error)
}

// Router is an emulated PE router.
type Router struct {
	node   fabric.Node
	ted    *TED
	plane  Plane
	opts   Options
	events *eventLog
	faults *faults

	sig     *signaller
	kick    chan struct{}
	lastErr string // of the last step: said once

	// mu guards the configuration and the waiters; never held while the data
	// plane is written.
	mu      sync.Mutex
	config  *Config
	version uint64 // of config
	passed  uint64 // version that the signaller has dealt with
	waiting chan struct{}
	running bool
	runtime runtime // what the state file says of the signaller
	saved   []byte  // the state file

	snap    atomic.Pointer[Snapshot]
	counts  counterCache
	started time.Time
}

// New makes the router from what was saved of it, or as it leaves the factory:
// with one dynamic default tunnel to each other PE.
func New(node fabric.Node, plane Plane, opts Options) (*Router, error) {
	if opts.HopDelay == 0 {
		opts.HopDelay = time.Millisecond
	}
	if opts.Die == nil {
		opts.Die = func() {}
	}
	if opts.Log == nil {
		opts.Log = func(error) {}
	}
	ted, err := newTED(node)
	if err != nil {
		return nil, err
	}
	if _, known := ted.byName[node.Name]; !known {
		return nil, fmt.Errorf("make router: %s is none of its own nodes", node.Name)
	}
	st, err := loadState(node)
	if err != nil {
		return nil, err
	}
	r := &Router{
		node: node, ted: ted, plane: plane, opts: opts, config: st.Config, version: 1,
		events: &eventLog{path: node.EventLog}, faults: &faults{path: node.FaultsFile},
		kick: make(chan struct{}, 1), waiting: make(chan struct{}), started: time.Now(),
	}
	r.sig = newSignaller(node, ted, plane, opts.HopDelay, st)
	r.sig.save = r.saveRuntime
	r.runtime = st.runtime
	r.publish()
	return r, nil
}

func newSignaller(node fabric.Node, ted *TED, plane Plane, delay time.Duration, st state) *signaller {
	s := &signaller{
		node: node, ted: ted, plane: plane, now: time.Now, hopDelay: delay,
		ifName: map[uint32]string{}, attachment: map[string]bool{}, byRouterID: map[netip.Addr]string{},
		lsps: map[TunnelID]*lsp{}, ids: st.IDs, heard: map[string]bookings{}, heardAt: map[string]time.Time{},
	}
	for _, i := range node.Interfaces {
		s.ifName[i.IfIndex] = i.Name
	}
	for _, a := range node.Attachments {
		s.attachment[a.Interface] = true
	}
	for _, n := range node.Nodes {
		s.byRouterID[n.RouterID] = n.Name
		if n.PE && n.Name != node.Name {
			s.egresses = append(s.egresses, n.Name)
		}
	}
	s.restore(st)
	return s
}

// Node is what the router was told about itself and its network.
func (r *Router) Node() fabric.Node { return r.node }

// TED is the provider network, without the state of its links.
func (r *Router) TED() *TED { return r.ted }

// Config is the configuration in force; it must not be changed.
func (r *Router) Config() *Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.config
}

// Started is when the router process began.
func (r *Router) Started() time.Time { return r.started }

// Run signals and re-routes LSPs until ctx ends.
func (r *Router) Run(ctx context.Context) error {
	r.setRunning(true)
	defer r.setRunning(false)
	listen := time.NewTicker(floodEvery)
	defer listen.Stop()
	if _, err := r.sig.hear(); err != nil {
		r.opts.Log(err)
	}
	for {
		next := r.step(ctx)
		var wake <-chan time.Time
		if !next.IsZero() {
			wake = time.After(time.Until(next))
		}
		for again := false; !again; {
			again = true
			select {
			case <-ctx.Done():
				return nil
			case <-r.kick:
			case <-r.plane.Changed():
			case <-wake:
			case <-listen.C:
				var err error
				if again, err = r.sig.hear(); err != nil {
					r.opts.Log(err)
				}
			}
		}
	}
}

// step is one pass of the signaller.
func (r *Router) step(ctx context.Context) time.Time {
	r.mu.Lock()
	c, version := r.config, r.version
	r.mu.Unlock()
	next, err := r.startPlane(ctx)
	if err == nil {
		next, err = r.sig.pass(ctx, c, r.faults.read().slow)
	}
	if err == nil {
		err = errors.Join(r.saveRuntime(), r.sig.flood())
	}
	if err != nil && ctx.Err() == nil && err.Error() != r.lastErr {
		r.opts.Log(err)
	}
	r.lastErr = fmt.Sprint(err)
	r.publish()
	r.mu.Lock()
	r.passed = version
	close(r.waiting)
	r.waiting = make(chan struct{})
	r.mu.Unlock()
	return next
}

// startPlane hands the data plane what was saved, once it takes it.
func (r *Router) startPlane(ctx context.Context) (retry time.Time, err error) {
	if r.sig.started {
		return time.Time{}, nil
	}
	in := r.sig.ingress(r.Config())
	if err := r.plane.Start(ctx, r.sig.paths(), in); err != nil {
		return time.Now().Add(500 * time.Millisecond), fmt.Errorf("start data plane: %w", err)
	}
	r.sig.started, r.sig.placed = true, in
	return time.Time{}, nil
}

func (r *Router) setRunning(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = on
}

// settle is how long a commit waits for the data plane: a router answers when its
// line cards have the new classes, but it does not wait for signalling.
const settle = 500 * time.Millisecond

// Commit makes next the configuration, if base still is: it saves it, and
// returns when the signaller has seen it. A commit that came between is
// ErrConflict.
func (r *Router) Commit(base, next *Config) error {
	r.mu.Lock()
	if r.config != base {
		r.mu.Unlock()
		return ErrConflict
	}
	if err := r.saveLocked(next); err != nil {
		r.mu.Unlock()
		return err
	}
	r.config = next
	r.version++
	version, running := r.version, r.running
	show := *r.snap.Load()
	show.Config = next
	r.snap.Store(&show)
	r.mu.Unlock()
	select {
	case r.kick <- struct{}{}:
	default:
	}
	if running {
		r.await(version)
	}
	return nil
}

// ErrConflict says that the configuration changed since it was read.
var ErrConflict = errors.New("configuration changed meanwhile")

func (r *Router) await(version uint64) {
	late := time.After(settle)
	for {
		r.mu.Lock()
		done, ch := r.passed >= version || !r.running, r.waiting
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-ch:
		case <-late:
			return
		}
	}
}

// paths gives the installed paths in order.
func (s *signaller) paths() []fabric.Path {
	var ps []fabric.Path
	for _, id := range slices.SortedFunc(maps.Keys(s.lsps), TunnelID.Compare) {
		if l := s.lsps[id]; l.cur != nil {
			ps = append(ps, l.cur.Path)
		}
	}
	return ps
}
