package tunnelmanager

import (
	"slices"
	"strings"
	"time"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/topology"
)

// OpState is how far an operation of a plan has come.
type OpState string

// States of an operation. It waits for those that it names, or for the plan.
const (
	OpWaiting OpState = "waiting"
	OpRunning OpState = "running"
	OpDone    OpState = "done"
	OpFailed  OpState = "failed"
)

// Op is an operation that a plan leads to. None of them is carried out as such: each
// step does what can be done now (diff), and what was read back or refused tells how far
// the operation has come. A bind is of all flows of its slot.
type Op struct {
	plan.Step
	// FTN is the PE's entry: the one that was refused, or that of the only flow.
	FTN   string
	State OpState
	// Failure is why State is OpFailed.
	Failure Failure
}

// Failure is a step that a PE refused.
type Failure struct {
	Step, Detail, Remedy string
	At                   time.Time
}

// failure puts a refusal into words.
func (h hold) failure() Failure {
	f := failureOf(h.err)
	f.At = h.until.Add(-refusedHold)
	return f
}

// opsOf gives the operations that a plan leads to from what is in force. res is what was
// planned, of which it takes over p.Demands and p.Signal.
func (m *Manager) opsOf(p *Plan, res plan.Result) []Op {
	if p.Scope == plan.Evaluate {
		return nil
	}
	in := plan.Input{Current: map[string]plan.Assignment{}}
	used := map[topology.LSPKey]bool{}
	use := func(k topology.LSPKey) { used[k] = true }
	planned := map[string]bool{}
	for _, o := range p.Demands {
		g, d := m.groupOf(o.ID), m.demands[o.ID]
		planned[o.ID] = true
		in.Demands = append(in.Demands, g.Demand)
		if d.has {
			in.Current[o.ID] = d.Assignment
		}
		eachLSP(&g.Demand, o.Assignment, use)
	}
	for id, d := range m.demands {
		if d.has && !planned[id] {
			eachLSP(&d.demand, d.Assignment, use)
		}
	}
	kept := func(k topology.LSPKey) bool { return used[k] }
	after := map[topology.LSPKey][]topology.LSPKey{}
	for k, gone := range res.After {
		after[k] = slices.DeleteFunc(slices.Clone(gone), kept)
	}
	steps := plan.Steps(in, plan.Result{Demands: p.Demands, Signal: p.Signal, Release: slices.DeleteFunc(slices.Clone(res.Release), kept), After: after})
	ops := make([]Op, len(steps))
	for i, s := range steps {
		ops[i] = Op{Step: s, State: OpWaiting}
	}
	return ops
}

// slotOf is where a binding puts its flow.
type slotOf struct {
	demand, direction string
	slot              int
}

func (m *Manager) bindingsBySlot() map[slotOf][]*Binding {
	out := map[slotOf][]*Binding{}
	for _, name := range sortedKeys(m.binding) {
		b := m.binding[name]
		k := slotOf{b.Demand, [2]string{"forward", "reverse"}[b.Direction&1], b.Slot}
		out[k] = append(out[k], b)
	}
	return out
}

// saveEvery is how often the progress of a plan is saved at most.
const saveEvery = time.Second

// follow tells how far a plan in force has come.
func (m *Manager) follow(p *Plan, bindings map[slotOf][]*Binding, now time.Time) {
	ops := m.progress(p.Ops, bindings)
	if !slices.EqualFunc(ops, p.Ops, func(a, b Op) bool { return a.State == b.State && a.FTN == b.FTN && a.Failure == b.Failure }) {
		p.Ops, p.unsaved = ops, true
	}
	if p.unsaved && now.Sub(p.saved) >= saveEvery {
		p.unsaved, p.saved = false, now
		m.save(planKey(p), *p.clone())
	}
}

// progress gives operations as they are now.
func (m *Manager) progress(ops []Op, bindings map[slotOf][]*Binding) []Op {
	out := slices.Clone(ops)
	for i := range out {
		o := &out[i]
		pe := m.pes[o.PE]
		if pe == nil {
			continue
		}
		switch o.Op {
		case plan.OpSignal:
			m.signalled(o, pe)
		case plan.OpBind:
			m.bound(o, pe, bindings[slotOf{o.Demand, o.Direction, o.Slot}])
		case plan.OpUnbind:
			m.unbound(o, pe)
		case plan.OpRelease:
			_, there := m.reported()[o.key()]
			if o.become(there, pe, o.LSP); o.State == OpRunning {
				o.State = OpWaiting // for release_delay
			}
		}
		if o.State == OpRunning && slices.ContainsFunc(o.After, func(n int) bool { return out[n-1].State != OpDone }) {
			o.State = OpWaiting
		}
	}
	return out
}

func (o *Op) key() topology.LSPKey { return topology.LSPKey{Ingress: o.PE, Name: o.LSP} }

// become is failed where the PE refuses one of names, else open or done.
func (o *Op) become(open bool, pe *peState, names ...string) {
	o.State, o.Failure = OpDone, Failure{}
	if open {
		o.State = OpRunning
	}
	for _, name := range names {
		if h, held := pe.held[name]; held && open {
			o.State, o.Failure = OpFailed, h.failure()
		}
	}
}

func (m *Manager) signalled(o *Op, pe *peState) {
	l, there := m.reported()[o.key()]
	o.become(!there || !m.usable(l), pe, o.LSP)
	if _, asked := m.asked[o.key()]; o.State == OpRunning && !asked {
		o.State = OpWaiting
	}
}

// bound looks at the flows of a slot. Where none is left, or another plan has moved them,
// it stays as it was.
func (m *Manager) bound(o *Op, pe *peState, bindings []*Binding) {
	bindings = slices.DeleteFunc(slices.Clone(bindings), func(b *Binding) bool { return b.LSP != o.LSP })
	if len(bindings) == 0 {
		return
	}
	open := slices.ContainsFunc(bindings, func(b *Binding) bool { return b.State != BindingVerified })
	o.become(open, pe)
	if len(bindings) == 1 {
		o.FTN = bindings[0].FTN
	}
	if _, refused := pe.held[o.LSP]; refused {
		return // that is the signal's failure
	}
	for _, b := range bindings {
		if b.State != BindingFailed {
			continue
		}
		o.State, o.FTN, o.Failure = OpFailed, b.FTN, Failure{Step: "bind", Detail: b.Reason}
		for _, name := range append([]string{b.Name}, b.needs...) {
			if h, held := pe.held[name]; held {
				o.FTN, o.Failure = name, h.failure()
			}
		}
		return
	}
}

// unbound is done when no entry is left on the LSP that is to leave it.
func (m *Manager) unbound(o *Op, pe *peState) {
	var left []string
	for _, f := range pe.state.FTNs {
		if f.LSP == o.LSP && strings.HasPrefix(f.Name, m.cfg.Owner) && m.want.ftns[o.PE][f.Name].LSP != o.LSP {
			left = append(left, f.Name)
		}
	}
	o.become(len(left) > 0, pe, left...)
}
