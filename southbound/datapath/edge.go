package datapath

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mpbox/southbound/openflow"
)

// edgeTable holds the declared edge rules of a datapath.
type edgeTable struct {
	// declared tells that SetEdgeRules was called: until then, rules of an earlier
	// run stay on the switch.
	declared bool
	old      map[uint8]bool // their generations
	rules    map[uint64]*edgeEntry

	mu      sync.Mutex
	handles map[uint32]handle // also of rules that are being deleted
	gone    map[uint64]bool   // ended since the last look: no longer declared
	next    uint32
	gens    [256]bool // generations of this process
}

// handle is what the number in a flow's cookie stands for.
type handle struct {
	id   uint64
	vlan []uint16 // the inner tag is not in the flow
}

type edgeEntry struct {
	rule      EdgeRule
	flow      Flow
	installed bool
}

func (t *edgeTable) init() {
	t.rules, t.handles, t.gone = map[uint64]*edgeEntry{}, map[uint32]handle{}, map[uint64]bool{}
}

// ended is told that the flow with this cookie is gone, and says which rule it was.
func (t *edgeTable) ended(c uint64) (id uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.gens[generationOf(c)] {
		return 0, false
	}
	h, ok := t.handles[handleOf(c)]
	if ok {
		delete(t.handles, handleOf(c))
		t.gone[h.id] = true
	}
	return h.id, ok
}

// forgetEnded takes rules that ended out of the declared ones.
func (t *edgeTable) forgetEnded() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.gone {
		if e, ok := t.rules[id]; ok && t.handles[handleOf(e.flow.Cookie)].id != id {
			delete(t.rules, id)
		}
	}
	clear(t.gone)
}

// newHandle names a rule in its flow's cookie.
func (t *edgeTable) newHandle(r EdgeRule) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		t.next++
		if _, used := t.handles[t.next]; !used && t.next != 0 {
			t.handles[t.next] = handle{r.ID, r.VLAN}
			return t.next
		}
	}
}

// renew notes what a handle stands for now.
func (t *edgeTable) renew(e *edgeEntry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handles[handleOf(e.flow.Cookie)] = handle{e.rule.ID, e.rule.VLAN}
}

// keepOnly drops the handles of rules that are not declared: their end was not
// heard of, for the connection was lost.
func (t *edgeTable) keepOnly() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.handles)
	for id, e := range t.rules {
		t.handles[handleOf(e.flow.Cookie)] = handle{id, e.rule.VLAN}
	}
}

func (t *edgeTable) ours(gen uint8) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gens[gen] = true
}

// count is how many rules the switch holds. The caller holds the datapath's write
// lock.
func (t *edgeTable) count() int {
	n := 0
	for _, e := range t.rules {
		if e.installed {
			n++
		}
	}
	return n
}

// known is how many rules are declared or being removed.
func (t *edgeTable) known() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.handles)
}

// lookup finds the rule of an installed flow.
func (t *edgeTable) lookup(c uint64) (handle, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.gens[generationOf(c)] {
		return handle{}, false
	}
	h, ok := t.handles[handleOf(c)]
	return h, ok
}

// edgeFlow is the flow of a rule, without its cookie.
func edgeFlow(r EdgeRule) (Flow, error) {
	switch {
	case r.InPort == 0 || r.InPort > maxPort:
		return Flow{}, fmt.Errorf("edge rule %d: in_port %d", r.ID, r.InPort)
	case !r.Src.Addr().IsValid() || !r.Dst.Addr().IsValid() || r.Src.Addr().Unmap().Is4() != r.Dst.Addr().Unmap().Is4():
		return Flow{}, fmt.Errorf("edge rule %d: %s to %s: two addresses of one family are needed", r.ID, r.Src, r.Dst)
	case r.Src.Port() == 0 || r.Dst.Port() == 0:
		return Flow{}, fmt.Errorf("edge rule %d: %s to %s: both ports are needed", r.ID, r.Src, r.Dst)
	case r.Action.dscp > 63:
		return Flow{}, fmt.Errorf("edge rule %d: DSCP %d: must be 0 to 63", r.ID, r.Action.dscp)
	case r.IdleTimeout < 0 || r.IdleTimeout > 65535*time.Second:
		return Flow{}, fmt.Errorf("edge rule %d: idle time-out %s: must be 0 to 65535 s", r.ID, r.IdleTimeout)
	}
	f := Flow{Table: TableSteer, Priority: prioEdge, Notify: true,
		Idle: (r.IdleTimeout + time.Second - 1).Truncate(time.Second),
		Match: Match{InPort: r.InPort, VLAN: outerTag(r.VLAN), EtherType: etherIPv6, Proto: protoTCP,
			Src: unmap(r.Src), Dst: unmap(r.Dst)},
		Actions: Actions{Goto: TableForward},
	}
	if f.Match.Src.Addr().Is4() {
		f.Match.EtherType = etherIPv4
	}
	if n, ok := r.Action.DSCP(); ok {
		f.Actions.SetDSCP, f.Actions.DSCP = true, n
	}
	return f, nil
}

// edgeFlows checks rules against each other.
func edgeFlows(rules []EdgeRule) (map[uint64]*edgeEntry, error) {
	out := make(map[uint64]*edgeEntry, len(rules))
	keys := make(map[flowKey]uint64, len(rules))
	for _, r := range rules {
		f, err := edgeFlow(r)
		if err != nil {
			return nil, err
		}
		if _, ok := out[r.ID]; ok {
			return nil, fmt.Errorf("edge rule %d is there twice", r.ID)
		}
		if other, ok := keys[f.key()]; ok {
			return nil, fmt.Errorf("edge rules %d and %d are about the same packets (the inner VLAN tag is not matched)", other, r.ID)
		}
		keys[f.key()] = r.ID
		out[r.ID] = &edgeEntry{rule: r, flow: f}
	}
	return out, nil
}

// edgeDiff tells what to install and what to remove, so that have becomes want. A
// flow whose key stays is replaced in place, and never removed.
func edgeDiff(have, want map[uint64]*edgeEntry) (add, remove []*edgeEntry) {
	keep := make(map[flowKey]bool, len(want))
	for id, w := range want {
		keep[w.flow.key()] = true
		if h, ok := have[id]; !ok || !h.installed || !h.flow.same(&w.flow) {
			add = append(add, w)
		}
	}
	for id, h := range have {
		w, ok := want[id]
		if h.installed && (!ok || w.flow.key() != h.flow.key()) && !keep[h.flow.key()] {
			remove = append(remove, h)
		}
	}
	return add, remove
}

// countEdge refreshes the snapshot's numbers; the caller holds the write lock.
func (d *Datapath) countEdge() {
	d.mu.Lock()
	defer d.mu.Unlock()
	rules, installed := len(d.edge.rules), d.edge.count()
	d.intended, d.installed = d.infra+rules, d.infra+installed
}

// setEdgeRules declares rules, or leaves them to the session's worker while something
// else changes or reads the switch: that can take a minute.
func (d *Datapath) setEdgeRules(ctx context.Context, rules []EdgeRule) error {
	want, err := edgeFlows(rules)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.asked = want
	c := d.conn
	d.mu.Unlock()
	if !d.write.TryLock() {
		if c != nil {
			signal(c.late)
		}
		return ErrNotConnected
	}
	defer d.write.Unlock()
	return d.declare(ctx)
}

// declareLate declares what was asked for while the switch was being changed.
func (c *conn) declareLate(ctx context.Context) {
	c.d.write.Lock()
	defer c.d.write.Unlock()
	ctx, cancel := context.WithTimeout(ctx, c.d.r.cfg.RequestTimeout)
	defer cancel()
	_ = c.d.declare(ctx) // counted; who asks again is told
}

// declare makes the rules that were asked for last the declared ones. The caller holds
// the write lock.
func (d *Datapath) declare(ctx context.Context) error {
	d.mu.Lock()
	want := d.asked
	d.asked = nil
	d.mu.Unlock()
	if want == nil {
		return nil
	}
	t := &d.edge
	t.forgetEnded()
	c, offline := d.connected()
	d.mu.Lock()
	gen, flags := d.generation, d.dialect.Flags
	d.mu.Unlock()
	add, remove := edgeDiff(t.rules, want)
	for id, w := range want {
		// A rule keeps its handle as long as it is declared.
		if h, ok := t.rules[id]; ok {
			w.installed = h.installed && h.flow.same(&w.flow)
			w.flow.Cookie = cookie(kindEdge, gen, handleOf(h.flow.Cookie))
			t.renew(w)
		} else {
			w.flow.Cookie = cookie(kindEdge, gen, t.newHandle(w.rule))
		}
	}
	first := !t.declared
	t.rules, t.declared = want, true
	d.countEdge()
	if offline != nil {
		return offline
	}
	if err := c.installEdge(ctx, add, flags); err != nil {
		return err
	}
	msgs := make([]openflow.Message, 0, len(remove)+1)
	for _, e := range remove {
		msgs = append(msgs, deleteFlow(&e.flow, flags))
	}
	if first {
		// What an earlier run left, and nobody declared again.
		msgs = append(msgs, c.dropOldEdge()...)
	}
	if len(msgs) == 0 {
		return nil
	}
	if err := c.s.Commit(ctx, msgs...); err != nil {
		return c.failed(err)
	}
	d.countEdge()
	return nil
}

// installEdge installs rules and notes which of them the switch took.
func (c *conn) installEdge(ctx context.Context, add []*edgeEntry, flags FlagsMatch) error {
	if len(add) == 0 {
		return nil
	}
	msgs := make([]openflow.Message, len(add))
	for i, e := range add {
		msgs[i] = addFlow(&e.flow, flags)
		msgs[i].What = fmt.Sprintf("edge rule %d (%s)", e.rule.ID, &e.flow)
	}
	err := c.s.Commit(ctx, msgs...)
	refused := map[int]bool{}
	if err != nil {
		if !onlyRefused(err, refused) {
			return c.failed(err)
		}
		c.d.countError(err)
	}
	for i, e := range add {
		e.installed = !refused[i]
	}
	c.d.countEdge()
	return err
}

// failed is for a commit of which it is not known what was carried out: the
// tables are read back and put in order.
func (c *conn) failed(err error) error {
	c.d.countError(err)
	signal(c.resync)
	return err
}

// onlyRefused tells whether err consists of answers of the switch, and notes which
// messages they are about.
func onlyRefused(err error, refused map[int]bool) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			if !onlyRefused(e, refused) {
				return false
			}
		}
		return true
	}
	var e *openflow.SwitchError
	if !errors.As(err, &e) || e.Index < 0 {
		return false
	}
	refused[e.Index] = true
	return true
}

func (d *Datapath) installedEdgeRules(ctx context.Context) ([]InstalledEdgeRule, error) {
	c, err := d.connected()
	if err != nil {
		return nil, err
	}
	stats, err := c.s.FlowStats(ctx, TableSteer, cookie(kindEdge, 0, 0), kindMask)
	if err != nil {
		return nil, err
	}
	out := make([]InstalledEdgeRule, 0, len(stats))
	for _, s := range stats {
		f := parseFlow(s)
		r := InstalledEdgeRule{Packets: s.Packets, Bytes: s.Bytes, Age: s.Age, EdgeRule: EdgeRule{
			InPort: f.Match.InPort, Src: f.Match.Src, Dst: f.Match.Dst, IdleTimeout: f.Idle,
		}}
		if f.Match.VLAN != 0 {
			r.VLAN = []uint16{f.Match.VLAN &^ vlanPresent}
		}
		if f.Actions.SetDSCP {
			r.Action = MarkDSCP(f.Actions.DSCP)
		}
		if h, ok := d.edge.lookup(f.Cookie); ok {
			r.ID, r.Known = h.id, true
			if outerTag(h.vlan) == f.Match.VLAN {
				r.VLAN = h.vlan
			}
		}
		out = append(out, r)
	}
	return out, nil
}
