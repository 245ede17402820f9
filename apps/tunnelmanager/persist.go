package tunnelmanager

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/apps/tunnelmanager/threshold"
	"mpbox/topology"
)

// Store keeps what must survive a restart. Write is one transaction: a nil value
// deletes its key. What it refuses is written again later, with what came meanwhile.
type Store interface {
	// Load reads a key into v; false if there is none.
	Load(key string, v any) (bool, error)
	// Each calls f for each key that begins with prefix, in order; load decodes its
	// value.
	Each(prefix string, f func(key string, load func(v any) error) error) error
	// Write puts and deletes keys.
	Write(values map[string]any) error
}

// Keys of the store.
const (
	keyDemand = "demand/"
	keySpec   = "lsp/"
	keyBound  = "bound/"
	keyChange = "change/"
	keyPlan   = "plan/"
)

// Bound is a connection with bound flows as it is kept: token, tuples,
// attachments and the LSP of each flow; never a key.
type Bound struct {
	Connection
	// Rides is the LSP of each flow by its binding's name.
	Rides map[string]string

	key string // in the store
}

type savedBound struct {
	conn  *Connection
	rides string
}

type savedDemand struct {
	plan.Assignment
	Since, Moved time.Time
	// What its limits follow from: its slots' PEs, forward and reverse.
	VPN, Policy string
	Pairs       [2][]plan.Pair
}

// load takes over what an earlier run kept.
func (m *Manager) load() error {
	if m.store == nil {
		return nil
	}
	m.audit.save = func(id uint64, c any) { m.save(fmt.Sprintf("%s%020d", keyChange, id), c) }
	var limits threshold.Limits
	if ok, err := m.store.Load("thresholds", &limits); err != nil {
		return err
	} else if ok && limits.Validate() == nil {
		m.limits = limits
	}
	var rules threshold.Rules
	if ok, err := m.store.Load("threshold-rules", &rules); err != nil {
		return err
	} else if ok && rules.Validate(m.limits) == nil {
		m.rules = rules
	}
	if err := m.names().Check(m.rules, nil); err != nil {
		m.log.Warn("a threshold rule that was set at run time matches nothing now", zap.Error(err))
	}
	var mode Mode
	if ok, err := m.store.Load("mode", &mode); err != nil {
		return err
	} else if ok && mode.Valid() {
		m.mode = mode
	}
	if _, err := m.store.Load("plans", &m.planSeq); err != nil {
		return err
	}
	if err := m.loadPlans(); err != nil {
		return err
	}
	var classes []savedClass
	if _, err := m.store.Load("classes", &classes); err != nil {
		return err
	}
	for _, c := range classes {
		m.classes.set(c.Pair, c.LSP, c.DSCP)
	}
	err := m.store.Each(keyDemand, func(key string, load func(any) error) error {
		var s savedDemand
		if err := load(&s); err != nil {
			return err
		}
		id := strings.TrimPrefix(key, keyDemand)
		m.demands[id] = &demandState{Assignment: s.Assignment, has: true, since: s.Since, moved: s.Moved, state: "planned",
			demand: plan.Demand{ID: id, VPN: s.VPN, Policy: s.Policy, Forward: s.Pairs[0], Reverse: s.Pairs[1]}}
		return nil
	})
	if err != nil {
		return err
	}
	err = m.store.Each(keySpec, func(key string, load func(any) error) error {
		var l topology.LSP
		if err := load(&l); err != nil {
			return err
		}
		m.specs[l.Name] = l
		return nil
	})
	if err != nil {
		return err
	}
	return m.store.Each(keyChange, func(key string, load func(any) error) error {
		var c Change
		if err := load(&c); err != nil {
			return err
		}
		m.audit.ring, m.audit.next = append(m.audit.ring, c), c.ID
		return nil
	})
}

// loadPlans takes the plans over, oldest first. One that was not through is not gone
// on with: what was in force stays so, and what is missing is planned anew.
func (m *Manager) loadPlans() error {
	return m.store.Each(keyPlan, func(_ string, load func(any) error) error {
		p := &Plan{}
		if err := load(p); err != nil {
			return err
		}
		m.plans = append(m.plans, p)
		if p.State == PlanProposed || p.State == PlanRunning {
			m.supersede(p, "mpbox was started again")
		}
		return nil
	})
}

// planKey sorts as the plans' numbers do.
func planKey(p *Plan) string {
	n, _ := strconv.ParseUint(strings.TrimPrefix(p.ID, "p"), 10, 64) // ours: p and a number
	return keyPlan + fmt.Sprintf("%020d", n)
}

// Bound gives the connections that were bound when an earlier run ended. Before Run,
// each of them is either put back (PutBack) or discarded (Discard).
func (m *Manager) Bound() ([]Bound, error) {
	if m.store == nil {
		return nil, nil
	}
	var out []Bound
	err := m.store.Each(keyBound, func(key string, load func(any) error) error {
		var b Bound
		if err := load(&b); err != nil {
			return err
		}
		for name, lsp := range b.Rides {
			m.rode[name], m.before[name] = lsp, true
		}
		b.key, m.restored[key] = key, true
		out = append(out, b)
		return nil
	})
	return out, err
}

// PutBack tells of a connection that was bound, under its new ID.
func (m *Manager) PutBack(b Bound, c Connection) {
	if key := boundKey(&c); key != b.key { // kept under another name: it would stay for ever
		m.save(b.key, nil)
		m.save(key, Bound{Connection: c, Rides: b.Rides})
		delete(m.restored, b.key)
		m.restored[key] = true
	}
	m.Put(c)
}

// Discard forgets connections that were bound and cannot be put back.
func (m *Manager) Discard(all []Bound) {
	for _, b := range all {
		m.save(b.key, nil)
		delete(m.restored, b.key)
		for name := range b.Rides {
			delete(m.rode, name)
			delete(m.before, name)
		}
	}
	m.flush(time.Now())
}

// boundKey names a connection for its life, over restarts.
func boundKey(c *Connection) string {
	var client netip.AddrPort
	if len(c.Subflows) > 0 {
		client = c.Subflows[0].Flows[C2S].Src
	}
	return keyBound + c.VPN + "/" + strconv.FormatUint(uint64(c.Token), 16) + "/" + client.String()
}

// saveBound keeps what has changed of the bound connections.
func (m *Manager) saveBound() {
	if m.store == nil {
		return
	}
	rides := map[uint64]map[string]string{}
	text := map[uint64]*strings.Builder{}
	for _, name := range sortedKeys(m.binding) {
		b := m.binding[name]
		if rides[b.Connection] == nil {
			rides[b.Connection], text[b.Connection] = map[string]string{}, &strings.Builder{}
		}
		rides[b.Connection][name] = b.LSP
		fmt.Fprintf(text[b.Connection], "%s %s\n", name, b.LSP)
	}
	for id, r := range rides {
		c := m.conns[id]
		s := savedBound{conn: c, rides: text[id].String()}
		if c == nil || m.saved[id] == s {
			continue
		}
		if old, ok := m.saved[id]; ok && boundKey(old.conn) != boundKey(c) {
			m.save(boundKey(old.conn), nil)
		}
		m.save(boundKey(c), Bound{Connection: *c, Rides: r})
		delete(m.restored, boundKey(c))
		m.saved[id] = s
	}
	var gone []string
	for id, s := range m.saved {
		if rides[id] == nil {
			delete(m.saved, id)
			gone = append(gone, boundKey(s.conn))
		}
	}
	if len(gone) == 0 {
		return
	}
	kept := map[string]bool{}
	for _, s := range m.saved {
		kept[boundKey(s.conn)] = true
	}
	for _, key := range gone {
		if !kept[key] {
			m.save(key, nil)
		}
	}
}

func (m *Manager) saveDemand(id string, d *demandState) {
	if d == nil {
		m.save(keyDemand+id, nil)
		return
	}
	m.save(keyDemand+id, savedDemand{Assignment: d.Assignment, Since: d.since, Moved: d.moved,
		VPN: d.demand.VPN, Policy: d.demand.Policy, Pairs: [2][]plan.Pair{d.demand.Forward, d.demand.Reverse}})
}

func (m *Manager) saveSpec(name string, l *topology.LSP) {
	if l == nil {
		m.save(keySpec+name, nil)
		return
	}
	m.save(keySpec+name, *l)
}

// save has a value written with the next flush; nil deletes it.
func (m *Manager) save(key string, v any) {
	if m.store == nil {
		return
	}
	if v == nil && !m.saveAgain.IsZero() {
		// What a store that fails never had need not be deleted: else unsaved would grow.
		var old any
		if had, err := m.store.Load(key, &old); err == nil && !had {
			delete(m.unsaved, key)
			return
		}
	}
	m.unsaved[key] = v
}

// savePause is how long a store that failed is left alone.
const savePause = 5 * time.Second

// flush writes what was saved, in one transaction: intent before the operations
// that follow from it are handed out, the rest at the end of a step. A store that
// fails does not stop the work, for routers can be read again; what it did not take is
// written after a pause.
func (m *Manager) flush(now time.Time) {
	if !now.Before(m.saveAgain) {
		_ = m.keep(now) // logged
	}
}

// keep writes now what was saved. ErrNotKept if the store does not take it.
func (m *Manager) keep(now time.Time) error {
	if len(m.unsaved) == 0 {
		return nil
	}
	failed := !m.saveAgain.IsZero()
	if err := m.store.Write(m.unsaved); err != nil {
		if !failed {
			m.log.Error("state is not saved; a restart would not know it", zap.Error(err))
		}
		m.saveAgain = now.Add(savePause)
		return fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	if failed {
		m.log.Info("state is saved again")
	}
	clear(m.unsaved)
	m.saveAgain = time.Time{}
	return nil
}

// record adds to the audit.
func (m *Manager) record(now time.Time, c Change) {
	c.At = now
	if c.Actor == "" {
		c.Actor = "mpbox"
	}
	m.audit.add(c)
}

// forget drops what is kept of a connection that has ended before it was bound
// again; those that are bound are dropped by saveBound.
func (m *Manager) forget(c *Connection) {
	if c == nil {
		return
	}
	if key := boundKey(c); m.restored[key] {
		delete(m.restored, key)
		m.save(key, nil)
	}
}
