package tunnelmanager

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/apps/tunnelmanager/threshold"
	"mpbox/pe-drivers/driver"
	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// Config is what a manager is told once.
type Config struct {
	// Owner is the prefix of the names that this instance owns: "mpbox/lab/".
	Owner string
	// Mode, Thresholds and Rules hold until the store or the API says otherwise.
	Mode       Mode
	Thresholds threshold.Limits
	Rules      threshold.Rules
	// VPNs are the names of all, for rules.
	VPNs []string
	// Attachments, PEs and Policies as configured; the first policy that matches
	// a connection applies.
	Attachments []Attachment
	PEs         []PE
	Policies    []Policy
	// Topology is a TED that does not come from the PEs; may be nil.
	Topology *topology.TED
}

// Manager owns demands, assignments and bindings. Its methods may be called from
// any goroutine; all of them hand over to Run, except View, which loads the last
// published snapshot.
type Manager struct {
	cfg  Config
	edge Edge
	log  *zap.Logger

	mu      sync.Mutex // guards pending and live
	pending map[uint64]*Connection
	live    map[uint64]bool // of Retain, until it is taken; nil if there was none
	kick    chan struct{}   // one slot: pending is not empty

	calls   chan call
	stopped chan struct{} // closed when Run's goroutine has ended
	reports chan peReport
	edges   chan edgeReport
	view    atomic.Pointer[View]

	state // owned by Run
}

// state is owned by the goroutine in Run.
type state struct {
	store       Store
	notify      func(Notice)
	mode        Mode
	limits      threshold.Limits
	rules       threshold.Rules
	attachments map[string]Attachment
	networks    map[site][]netip.Prefix // of attachments
	steer       map[string]Steer

	conns   map[uint64]*Connection
	groups  []demandGroup
	demands map[string]*demandState
	// specs are the owned LSPs as planned, by name: no two PEs have one of the same.
	specs   map[string]topology.LSP
	asked   map[topology.LSPKey]time.Time // when an LSP was signalled
	classes *classTable
	// failures are the paths on which an LSP of ours is down for no known reason.
	failures map[pathKey]*failure
	blamed   map[topology.LSPKey]time.Time // when an LSP that is down was counted as such a failure

	pes     map[string]*peState
	known   *inventory    // of what the PEs reported; nil when that has changed
	told    *topology.TED // of SetTopology, in place of the PEs' own
	ted     *topology.TED
	tedAt   time.Time
	tedFrom TEDSource
	// tedRefused: a newer TED than ted was not taken over.
	tedRefused bool
	unused     []string // links of cfg.Topology that are not in ted

	want    *desired
	wanted  map[topology.LSPKey]time.Time // since when an owned LSP is not wanted
	uses    map[topology.LSPKey]lspUse    // what owned LSPs are there for, or were last
	binding map[string]*Binding
	rode    map[string]string // LSP of a flow before the restart, by binding name
	before  map[string]bool   // flows that were bound before the restart, by binding name
	saved   map[uint64]savedBound
	// restored are the store's keys of connections from before the restart.
	restored map[string]bool
	// unsaved is what the next flush writes; saveAgain is when that is, zero unless the
	// store has failed.
	unsaved   map[string]any
	saveAgain time.Time
	edgeOf    EdgeState
	edgeOK    bool // the edge was read back at least once
	edgeErr   error
	edgeBusy  bool
	sent      map[uint64]EdgeRule // what the edge was last told, and when
	sentAt    time.Time

	plans   []*Plan
	planSeq uint64
	dirty   bool      // something that a plan depends on has changed
	again   time.Time // when what was put off is planned anew; zero if nothing was
	budget  threshold.Bucket
	memo    plan.Memo // what planning found out about the TED
	audit   audit
}

// peState is what the manager knows of a PE.
type peState struct {
	PE
	worker    *worker
	caps      driver.Capabilities
	busy      bool
	read      bool
	reachable bool
	state     driver.State
	ted       *topology.TED
	err       error
	errAt     time.Time
	tedErr    error
	tedAt     time.Time
	setsSent  uint64
	held      map[string]hold
}

// hold is a name that the PE refused, and until when it is not asked again.
type hold struct {
	until time.Time
	err   error
}

// demandState is what is kept of a demand from one plan to the next.
type demandState struct {
	plan.Assignment
	demand  plan.Demand // as it was when a connection last stood behind it
	has     bool        // the assignment is in force
	let     bool        // the thresholds let it in
	since   time.Time
	moved   time.Time      // last change of the assignment: hold-down counts from here
	emptied bool           // by that change a slot lost its LSP: to fill it again is another
	empty   time.Time      // since when no connection stands behind it
	level   disjoint.Level // what the assignment gave when it was last looked at
	outcome plan.Outcome
	retry   retry
	state   string
	reason  string
}

// New makes a manager. conns has the sessions of each PE by name; edge may be nil
// where there are no bridges; store may be nil: then nothing survives.
func New(cfg Config, conns map[string]Conn, edge Edge, store Store, log *zap.Logger) (*Manager, error) {
	m := &Manager{
		cfg: cfg, edge: edge, log: log,
		pending: map[uint64]*Connection{}, kick: make(chan struct{}, 1),
		calls: make(chan call), stopped: make(chan struct{}), reports: make(chan peReport, len(cfg.PEs)), edges: make(chan edgeReport, 1),
		state: state{
			store: store, mode: cfg.Mode, limits: cfg.Thresholds, rules: cfg.Rules, notify: func(Notice) {},
			attachments: map[string]Attachment{}, steer: map[string]Steer{},
			conns: map[uint64]*Connection{}, demands: map[string]*demandState{}, specs: map[string]topology.LSP{},
			asked: map[topology.LSPKey]time.Time{}, classes: newClassTable(), failures: map[pathKey]*failure{}, blamed: map[topology.LSPKey]time.Time{}, pes: map[string]*peState{},
			wanted: map[topology.LSPKey]time.Time{}, uses: map[topology.LSPKey]lspUse{}, binding: map[string]*Binding{}, rode: map[string]string{}, before: map[string]bool{}, saved: map[uint64]savedBound{}, restored: map[string]bool{}, unsaved: map[string]any{}, sent: map[uint64]EdgeRule{},
			ted: cfg.Topology, tedFrom: fileOrNone(cfg.Topology), dirty: true, audit: audit{limit: maxChanges},
		},
	}
	for _, a := range cfg.Attachments {
		m.attachments[a.Name] = a
	}
	m.networks = networksOf(m.attachments)
	for _, pe := range cfg.PEs {
		c, ok := conns[pe.Name]
		if !ok {
			return nil, fmt.Errorf("tunnel manager: PE %s has no driver", pe.Name)
		}
		m.steer[pe.Name] = pe.Steer
		m.pes[pe.Name] = &peState{PE: pe, caps: c.Driver.Capabilities(), held: map[string]hold{},
			worker: newWorker(pe, c, m.reports)}
	}
	if err := m.load(); err != nil {
		return nil, fmt.Errorf("tunnel manager: %w", err)
	}
	m.publish(time.Time{})
	return m, nil
}

// OnNotice sets who is told of changes. Call it before Run; f must not block.
func (m *Manager) OnNotice(f func(Notice)) {
	m.notify, m.audit.tell = f, func(c Change) { f(Notice{Change: &c}) }
}

// Put tells of a new or changed connection.
func (m *Manager) Put(c Connection) { m.post(c.ID, &c) }

// Remove tells that a connection has ended.
func (m *Manager) Remove(id uint64) { m.post(id, nil) }

// Retain tells which connections there are, after ends may have been missed: those
// that were told of before and are not among them have ended.
func (m *Manager) Retain(live map[uint64]bool) {
	m.mu.Lock()
	m.live = live
	for id := range m.pending {
		if !live[id] {
			m.pending[id] = nil
		}
	}
	m.mu.Unlock()
	m.wake()
}

func (m *Manager) post(id uint64, c *Connection) {
	m.mu.Lock()
	m.pending[id] = c
	m.mu.Unlock()
	m.wake()
}

func (m *Manager) wake() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// call is a function that Run's goroutine is asked to run.
type call struct {
	f    func(now time.Time)
	done chan struct{} // closed when what f did is kept and shown
}

// call runs f in Run's goroutine and waits until what it did is kept and shown.
func (m *Manager) call(ctx context.Context, f func(now time.Time)) error {
	c := call{f, make(chan struct{})}
	select {
	case m.calls <- c:
	case <-ctx.Done():
		return ctx.Err()
	case <-m.stopped:
		return ErrStopped
	}
	<-c.done
	return nil
}

// Run works until ctx ends. It starts one worker per PE and one for the edge, and
// joins them.
func (m *Manager) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, name := range sortedKeys(m.pes) {
		w := m.pes[name].worker
		w.poll <- struct{}{}
		g.Go(func() error { return w.run(ctx) })
	}
	var edgeRules chan []EdgeRule
	if m.edge != nil {
		edgeRules = make(chan []EdgeRule, 1)
		w := &edgeWorker{edge: m.edge, poll: edgePoll, rules: edgeRules, report: m.edges}
		g.Go(func() error { return w.run(ctx) })
	}
	g.Go(func() error { return m.loop(ctx, edgeRules) })
	return g.Wait()
}

// Limits of the manager's own.
const (
	edgePoll   = time.Second
	maxChanges = 10000
	maxPlans   = 200
	// signalGrace is how long an LSP may take to come up before it counts as down.
	signalGrace = 5 * time.Second
	// refusedHold is for how long a PE is not asked again what it refused.
	refusedHold = 10 * time.Second
	// maxCommit is how many operations an atomic driver is handed at a time.
	maxCommit = 20
	// quiet is the least time to the next look without news.
	quiet = 2 * time.Millisecond
)

func (m *Manager) loop(ctx context.Context, edgeRules chan<- []EdgeRule) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer close(m.stopped)
	for {
		var asked call
		select {
		case <-ctx.Done():
			_ = m.keep(time.Now()) // logged; what the store refused until now
			return nil
		case asked = <-m.calls:
			asked.f(time.Now())
		case r := <-m.reports:
			m.onPE(r, time.Now())
		case r := <-m.edges:
			m.onEdge(r, time.Now())
		case <-m.kick:
			m.takePending()
		case <-timer.C:
		}
		m.drain()
		now := time.Now()
		next := m.step(now, edgeRules)
		m.flush(now)
		if asked.done != nil {
			close(asked.done)
		}
		timer.Reset(max(quiet, next.Sub(now)))
	}
}

// drain takes what has come in meanwhile, so that one step answers a burst.
func (m *Manager) drain() {
	for {
		select {
		case r := <-m.reports:
			m.onPE(r, time.Now())
		case r := <-m.edges:
			m.onEdge(r, time.Now())
		case <-m.kick:
			m.takePending()
		default:
			return
		}
	}
}

func (m *Manager) takePending() {
	m.mu.Lock()
	p, live := m.pending, m.live
	m.pending, m.live = make(map[uint64]*Connection), nil
	m.mu.Unlock()
	if live != nil {
		for id := range m.conns {
			if _, news := p[id]; !news && !live[id] {
				p[id] = nil
			}
		}
	}
	for id, c := range p {
		if c == nil {
			m.forget(m.conns[id])
			delete(m.conns, id)
		} else {
			m.conns[id] = c
		}
	}
}
