package datapath

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"mpbox/southbound/openflow"
)

// State of a datapath.
type State uint8

// The states. Degraded: connected and forwarding, but not all of the tap works;
// Observed: of an unknown switch that is listened to; Refused: not let in.
const (
	Disconnected State = iota
	Syncing
	Ready
	Degraded
	Observed
	Refused
)

func (s State) String() string {
	return [...]string{"disconnected", "syncing", "ready", "degraded", "observed", "refused"}[s]
}

// Connected tells that there is a session.
func (s State) Connected() bool { return s != Disconnected && s != Refused }

// InOrder tells that the switch does all that it should.
func (s State) InOrder() bool { return s == Ready || s == Observed }

// Datapath is one switch of the registry. It outlives its sessions.
type Datapath struct {
	r        *Registry
	log      *zap.Logger
	bridge   Bridge
	observed bool
	coming   atomic.Int32 // sessions that have not been closed

	// write is held while the switch is being changed: changes never overlap.
	write sync.Mutex
	edge  edgeTable // guarded by write, except its handles

	mu         sync.Mutex
	state      State
	reason     string
	since      time.Time
	conn       *conn                 // nil when disconnected
	asked      map[uint64]*edgeEntry // edge rules that are not declared yet; nil if none
	dialect    Dialect
	generation uint8
	metered    bool
	infra      int // flows that are no edge rules, as installed
	intended   int
	installed  int
	foreign    int
	meterDrops uint64
	errors     uint64
	lastError  string
	ports      map[uint32]openflow.Port
	links      linkMemory
	past       openflow.Stats // of ended sessions

	punts  portCounters
	expect expectations
}

func newDatapath(r *Registry, b Bridge) *Datapath {
	d := &Datapath{r: r, bridge: b, since: time.Now(), dialect: DialectOVS, ports: map[uint32]openflow.Port{},
		log: r.log.With(zap.String("dpid", DPIDString(b.DPID)), zap.String("bridge", b.Name))}
	d.edge.init()
	return d
}

// Bridge is the configuration; of an observed datapath only name and dpid.
func (d *Datapath) Bridge() Bridge { return d.bridge }

// IsObserved tells that the datapath is not in the configuration.
func (d *Datapath) IsObserved() bool { return d.observed }

// errReplaced ends the older of two sessions.
var errReplaced = errors.New("the switch connected again")

// conn is a datapath's session, and the openflow.Handler of it.
type conn struct {
	d       *Datapath
	s       *openflow.Session
	cancel  context.CancelFunc
	worker  sync.WaitGroup
	changed chan struct{} // one slot: ports changed
	resync  chan struct{} // one slot: the tables are not what they should be
	late    chan struct{} // one slot: edge rules were asked for that could not be declared
	synced  atomic.Bool
	claimed bool // the master's role; the worker's
}

// connect takes a new session over.
func (d *Datapath) connect(s *openflow.Session) openflow.Handler {
	ctx, cancel := context.WithCancel(context.Background())
	c := &conn{d: d, s: s, cancel: cancel, changed: make(chan struct{}, 1), resync: make(chan struct{}, 1), late: make(chan struct{}, 1)}
	s.Value = d
	d.mu.Lock()
	old := d.conn
	d.conn = c
	d.mu.Unlock()
	if old != nil {
		// Its socket may be dead without knowing. Two switches with one dpid would
		// replace each other for ever: say so.
		d.log.Warn("the datapath connected again: its older connection is closed (if this repeats, two switches have the same dpid)",
			zap.String("remote", s.Remote()), zap.String("older", old.s.Remote()))
		go old.s.Close(errReplaced)
	}
	d.log.Info("datapath connected", zap.String("remote", s.Remote()))
	if d.observed {
		d.setState(c, Observed, "not in the configuration")
		return c
	}
	d.setState(c, Syncing, "")
	c.worker.Go(func() { c.work(ctx) })
	return c
}

// setState is the one place where a datapath changes its state. Changes that an
// old session asks for are ignored.
func (d *Datapath) setState(c *conn, state State, reason string) {
	d.mu.Lock()
	if d.conn != c || d.state == state && d.reason == reason {
		d.mu.Unlock()
		return
	}
	if d.state != state {
		d.since = time.Now()
	}
	d.state, d.reason = state, reason
	if state == Disconnected {
		d.conn = nil
	}
	d.mu.Unlock()
	if state == Degraded {
		d.log.Warn("datapath degraded", zap.String("reason", reason))
	} else {
		d.log.Info("datapath "+state.String(), zap.String("reason", reason))
	}
	if h := d.r.cfg.Handler; h != nil {
		h.StateChanged(d.bridge.DPID, d.bridge.Name, state, reason)
	}
}

// Punts implements openflow.Handler.
func (c *conn) Punts(s *openflow.Session, at int64, batch []openflow.Punt) {
	c.d.punts.add(batch)
	if h := c.d.r.cfg.Handler; h != nil {
		h.Punts(s, at, batch)
	}
	// New expectations are in a hurry, what becomes of old ones is not.
	if c.d.r.cfg.Tap.ThirdACK == ThirdACKReactive {
		c.met(batch)
	}
}

// FlowRemoved implements openflow.Handler.
func (c *conn) FlowRemoved(_ *openflow.Session, m openflow.FlowRemoved) {
	if !owned(m.Cookie) || kindOf(m.Cookie) != kindEdge {
		return
	}
	id, ok := c.d.edge.ended(m.Cookie)
	if !ok {
		return
	}
	if h := c.d.r.cfg.Handler; h != nil {
		h.EdgeRuleEnded(c.d.bridge.DPID, End{ID: id, Reason: reasonOf(m.Reason), Packets: m.Packets, Bytes: m.Bytes, Age: m.Duration})
	}
}

// PortStatus implements openflow.Handler.
func (c *conn) PortStatus(_ *openflow.Session, m openflow.PortStatus) {
	d := c.d
	d.mu.Lock()
	if m.Reason == 1 { // OFPPR_DELETE
		delete(d.ports, m.Port.No)
	} else {
		d.ports[m.Port.No] = m.Port
	}
	d.mu.Unlock()
	signal(c.changed)
}

// Error implements openflow.Handler.
func (c *conn) Error(_ *openflow.Session, e *openflow.SwitchError) {
	c.d.countError(e)
	c.d.log.Warn("error message from switch", zap.Uint32("xid", e.XID), zap.Error(e))
}

// Closed implements openflow.Handler.
func (c *conn) Closed(s *openflow.Session, err error) {
	c.cancel()
	c.worker.Wait()
	d := c.d
	d.mu.Lock()
	d.past = addStats(d.past, s.Stats())
	d.mu.Unlock()
	if errors.Is(err, context.Canceled) {
		err = errors.New("mpbox stops")
	}
	d.setState(c, Disconnected, err.Error())
	d.coming.Add(-1)
	if d.observed {
		d.r.forget(d)
	}
}

func addStats(a, b openflow.Stats) openflow.Stats {
	a.Punts += b.Punts
	a.Malformed += b.Malformed
	a.Early += b.Early
	a.Errors += b.Errors
	a.Echoes += b.Echoes
	return a
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (d *Datapath) countError(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.errors++
	d.lastError = err.Error()
}

// connected returns the session whose tables are in order.
func (d *Datapath) connected() (*conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil || !d.conn.synced.Load() {
		return nil, ErrNotConnected
	}
	return d.conn, nil
}

// Intervals of the worker.
const (
	retryFirst    = time.Second
	retryMax      = 30 * time.Second
	auditInterval = 30 * time.Second
)

// work is the goroutine of a session that does all that waits for the switch.
func (c *conn) work(ctx context.Context) {
	retry := retryFirst
	timer := time.NewTimer(0) // the first synchronisation
	defer timer.Stop()
	for {
		do := c.sync
		select {
		case <-ctx.Done():
			return
		case <-c.s.Done():
			return
		case <-c.changed:
			do = c.showLinks
		case <-c.resync:
		case <-c.late:
			do = func(ctx context.Context) error { c.declareLate(ctx); return nil }
		case <-timer.C:
			if c.synced.Load() {
				do = c.audit
			}
			timer.Reset(auditInterval)
		}
		err := c.claim(ctx)
		if err == nil {
			err = do(ctx)
		}
		if err == nil {
			retry = retryFirst
			continue
		}
		if ctx.Err() != nil || c.s.Err() != nil {
			return
		}
		c.d.countError(err)
		c.d.setState(c, Degraded, err.Error())
		c.synced.Store(false)
		timer.Reset(retry)
		retry = min(2*retry, retryMax)
	}
}
