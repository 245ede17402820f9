package datapath

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/netrack/openflow/ofp"
	"go.uber.org/zap"

	"mpbox/southbound/openflow"
)

// Errors that callers decide by.
var (
	// ErrUnknownDatapath: no bridge of the configuration has this dpid.
	ErrUnknownDatapath = errors.New("datapath is not in the configuration: add it under bridges, or set openflow.unknown_datapaths to observe")
	// ErrNotConnected: what was asked for is remembered, and installed when the
	// bridge has connected and its tables are in order.
	ErrNotConnected = errors.New("datapath is not connected, or its tables are being put in order")
	// ErrObserved: the datapath is only listened to.
	ErrObserved = errors.New("datapath is observed only: nothing is installed on it")
)

// Unknown is what happens to a switch that the configuration does not name.
type Unknown uint8

// Refuse closes its connection; Observe delivers its punts and sends it nothing
// but answers.
const (
	Refuse Unknown = iota
	Observe
)

// Handler is told what the datapaths do. Punts and EdgeRuleEnded are called by the
// sessions' reader goroutines: concurrently for different switches, in order for
// one. They must not wait for the switch.
type Handler interface {
	// Punts: as in openflow.Handler. s.DPID() names the datapath; s.Value is a
	// *Datapath with the bridge's configuration and a number of the session.
	Punts(s *openflow.Session, at int64, batch []openflow.Punt)
	// EdgeRuleEnded tells that a rule is gone, and what it had counted.
	EdgeRuleEnded(dpid uint64, e End)
	// StateChanged tells of a datapath that came, went, or works less well.
	StateChanged(dpid uint64, name string, state State, reason string)
}

// End is how an edge rule ended.
type End struct {
	ID             uint64
	Reason         EndReason
	Packets, Bytes uint64
	// Age is how long the rule was installed on the switch.
	Age time.Duration
}

// EndReason is why an edge rule ended.
type EndReason uint8

// An idle flow is over; a deleted rule was withdrawn by SetEdgeRules, or removed by
// somebody else.
const (
	EndIdle EndReason = iota
	EndDeleted
)

func (r EndReason) String() string { return [...]string{"idle", "deleted"}[r] }

// Config of a Registry.
type Config struct {
	Bridges []Bridge
	Tap     Tap
	Unknown Unknown
	// KeepLinks leaves links alone; else the loss of a link on one side of a port
	// pair is shown on the other side.
	KeepLinks bool
	Handler   Handler
	Log       *zap.Logger
	// RequestTimeout limits the wait for a switch's answer; 0 means 10 s.
	RequestTimeout time.Duration
}

// Registry knows all datapaths.
type Registry struct {
	cfg Config
	log *zap.Logger

	mu      sync.Mutex
	known   map[uint64]*Datapath // configured, and observed while connected
	refused map[uint64]*refusal
}

// refusal is kept so that a switch that tries again each second is logged once a
// minute.
type refusal struct {
	remote string
	count  uint64
	last   time.Time
	logged time.Time
}

const maxRefused = 256

// NewRegistry checks the configuration of all bridges. Nothing happens before a
// switch connects: pass Open to openflow.NewServer.
func NewRegistry(cfg Config) (*Registry, error) {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.RequestTimeout == 0 {
		cfg.RequestTimeout = 10 * time.Second
	}
	cfg.Tap = cfg.Tap.withDefaults()
	r := &Registry{cfg: cfg, log: cfg.Log, known: map[uint64]*Datapath{}, refused: map[uint64]*refusal{}}
	zone := uint16(0)
	for _, b := range cfg.Bridges {
		if b.DPID == 0 {
			return nil, fmt.Errorf("bridge %s: dpid 0 is not allowed", b.Name)
		}
		if other, ok := r.known[b.DPID]; ok {
			return nil, fmt.Errorf("bridges %s and %s have the same dpid %016x", other.bridge.Name, b.Name, b.DPID)
		}
		b.Attachments = slices.Clone(b.Attachments)
		for i := range b.Attachments {
			if zone++; b.Attachments[i].Zone == 0 {
				b.Attachments[i].Zone = zone
			}
		}
		if _, err := Build(b, cfg.Tap, DialectOVS); err != nil {
			return nil, err
		}
		r.known[b.DPID] = newDatapath(r, b)
	}
	return r, nil
}

// Open lets a switch in, or refuses it. It is the open function of
// openflow.NewServer.
func (r *Registry) Open(s *openflow.Session) (openflow.Handler, error) {
	d, err := r.admit(s)
	if err != nil {
		return nil, err
	}
	// Not under the registry's lock: the Handler is told, and may ask for a Snapshot.
	return d.connect(s), nil
}

func (r *Registry) admit(s *openflow.Session) (*Datapath, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.known[s.DPID()]
	if !ok && r.cfg.Unknown == Refuse {
		return nil, r.refuse(s)
	}
	if !ok {
		d = newDatapath(r, Bridge{Name: DPIDString(s.DPID()), DPID: s.DPID()})
		d.observed = true
		r.known[s.DPID()] = d
	}
	d.coming.Add(1)
	return d, nil
}

func (r *Registry) refuse(s *openflow.Session) error {
	err := fmt.Errorf("dpid %016x: %w", s.DPID(), ErrUnknownDatapath)
	f := r.refused[s.DPID()]
	if f == nil {
		if len(r.refused) >= maxRefused {
			return err
		}
		f = &refusal{}
		r.refused[s.DPID()] = f
	}
	now := time.Now()
	f.remote, f.last = s.Remote(), now
	f.count++
	if now.Sub(f.logged) >= time.Minute {
		f.logged = now
		r.log.Warn("unknown datapath refused", zap.String("dpid", DPIDString(s.DPID())),
			zap.String("remote", s.Remote()), zap.Uint64("attempts", f.count), zap.Error(ErrUnknownDatapath))
	}
	return err
}

// forget drops an observed datapath that has gone, unless it is coming back.
func (r *Registry) forget(d *Datapath) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.coming.Load() == 0 && r.known[d.bridge.DPID] == d {
		delete(r.known, d.bridge.DPID)
	}
}

func (r *Registry) find(dpid uint64) (*Datapath, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.known[dpid]
	if !ok {
		return nil, fmt.Errorf("dpid %016x: %w", dpid, ErrUnknownDatapath)
	}
	if d.observed {
		return nil, fmt.Errorf("dpid %016x: %w", dpid, ErrObserved)
	}
	return d, nil
}

// SetEdgeRules declares all edge rules of a datapath: those that are missing are
// installed, changed ones replaced in place, others removed. It returns when the
// switch has done so (barrier). The error names each rule that the switch refused;
// the others are in force. Without a connection, or while the tables are read back or
// put in order, the rules are remembered, and the error is ErrNotConnected. A rule that
// ended (EdgeRuleEnded) is no longer declared: it is not installed again after a
// reconnect.
func (r *Registry) SetEdgeRules(ctx context.Context, dpid uint64, rules []EdgeRule) error {
	d, err := r.find(dpid)
	if err != nil {
		return fmt.Errorf("set edge rules: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.RequestTimeout)
	defer cancel()
	if err := d.setEdgeRules(ctx, rules); err != nil {
		return fmt.Errorf("set edge rules of %s: %w", d.bridge.Name, err)
	}
	return nil
}

// InstalledEdgeRule is a rule as the switch reports it.
type InstalledEdgeRule struct {
	EdgeRule
	// Known is false for a rule of an earlier run that nobody has declared since: its
	// ID is 0, and its VLAN the outer tag only.
	Known          bool
	Packets, Bytes uint64
	Age            time.Duration
}

// InstalledEdgeRules reads back which edge rules the switch holds.
func (r *Registry) InstalledEdgeRules(ctx context.Context, dpid uint64) ([]InstalledEdgeRule, error) {
	d, err := r.find(dpid)
	if err != nil {
		return nil, fmt.Errorf("read edge rules: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.RequestTimeout)
	defer cancel()
	rules, err := d.installedEdgeRules(ctx)
	if err != nil {
		return nil, fmt.Errorf("read edge rules of %s: %w", d.bridge.Name, err)
	}
	return rules, nil
}

// reasonOf translates OFPRR_….
func reasonOf(r ofp.FlowRemovedReason) EndReason {
	if r == ofp.FlowReasonIdleTimeout || r == ofp.FlowReasonHardTimeout {
		return EndIdle
	}
	return EndDeleted
}
