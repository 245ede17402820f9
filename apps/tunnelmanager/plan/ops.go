package plan

import (
	"slices"

	"mpbox/topology"
)

// OpKind is what a Step does on a PE.
type OpKind string

// The kinds of steps.
const (
	OpSignal  OpKind = "signal"  // set up an LSP and wait until it is up
	OpBind    OpKind = "bind"    // put a slot's flows onto an LSP
	OpUnbind  OpKind = "unbind"  // leave a slot's flows to the PE's own routing
	OpRelease OpKind = "release" // tear an LSP down
)

// Step is one operation of a plan.
type Step struct {
	// N counts from 1.
	N  int
	PE string
	Op OpKind
	// LSP that is signalled, bound to, left (unbind) or released.
	LSP string
	// Demand, Direction ("forward", "reverse") and Slot (from 0) of a bind or unbind.
	Demand, Direction string
	Slot              int
	// After are the steps that must be done before.
	After []int
}

// Steps gives a result's operations in an order that is make-before-break: an LSP
// is up before flows are put on it, flows have left an LSP before it is released,
// and a reservation that needs the bandwidth of another is made after that one's
// release. Only where reservations wait for each other in a circle, a slot's
// flows are left to the PE's own routing in between.
func Steps(in Input, res Result) []Step {
	s := stepper{in: in, res: res, signalled: map[topology.LSPKey]int{}, released: map[topology.LSPKey]int{}, leavers: map[topology.LSPKey][]*move{}, lastUse: map[topology.LSPKey][]int{}}
	s.run()
	return s.steps
}

type stepper struct {
	in        Input
	res       Result
	steps     []Step
	signalled map[topology.LSPKey]int // step by LSP
	released  map[topology.LSPKey]int
	leavers   map[topology.LSPKey][]*move
	lastUse   map[topology.LSPKey][]int // steps that took flows off an LSP
}

// move is a slot that changes.
type move struct {
	demand, direction string
	slot              int
	pe, from, to      string
	done              bool
	unbound           int // step that left it to the PE's routing, on its way
}

// at identifies the LSP of that name that the slot can ride.
func (m *move) at(lsp string) topology.LSPKey { return topology.LSPKey{Ingress: m.pe, Name: lsp} }

func (s *stepper) add(st Step) int {
	st.N = len(s.steps) + 1
	slices.Sort(st.After)
	st.After = slices.Compact(st.After)
	if st.After == nil {
		st.After = []int{}
	}
	s.steps = append(s.steps, st)
	return st.N
}

func (s *stepper) run() {
	fresh := map[topology.LSPKey]bool{}
	for _, l := range s.res.Signal {
		fresh[l.Key()] = true
	}
	moves := s.moves()
	for _, m := range moves {
		if m.from != "" {
			s.leavers[m.at(m.from)] = append(s.leavers[m.at(m.from)], m)
		}
	}
	for progress := true; ; {
		if !progress && !s.breakCircle() {
			return
		}
		progress = false
		for _, l := range s.res.Signal {
			if _, done := s.signalled[l.Key()]; done {
				continue
			}
			if after, ok := s.allReleased(s.res.After[l.Key()]); ok {
				s.signalled[l.Key()] = s.add(Step{PE: l.Ingress, Op: OpSignal, LSP: l.Name, After: after})
				progress = true
			}
		}
		for _, m := range moves {
			if m.done {
				continue
			}
			var after []int
			if fresh[m.at(m.to)] {
				n, up := s.signalled[m.at(m.to)]
				if !up {
					continue
				}
				after = append(after, n)
			}
			if m.unbound > 0 {
				after = append(after, m.unbound)
			}
			m.done, progress = true, true
			st := Step{PE: m.pe, Op: OpBind, LSP: m.to, Demand: m.demand, Direction: m.direction, Slot: m.slot, After: after}
			if m.to == "" {
				st.Op, st.LSP = OpUnbind, m.from
			}
			n := s.add(st)
			if m.unbound == 0 {
				s.lastUse[m.at(m.from)] = append(s.lastUse[m.at(m.from)], n)
			}
		}
		for _, id := range s.res.Release {
			if _, done := s.released[id]; !done && s.left(id) {
				s.released[id] = s.add(Step{PE: id.Ingress, Op: OpRelease, LSP: id.Name, After: s.lastUse[id]})
				progress = true
			}
		}
	}
}

// moves lists the slots that change.
func (s *stepper) moves() []*move {
	pairs := map[string]*Demand{}
	for i := range s.in.Demands {
		pairs[s.in.Demands[i].ID] = &s.in.Demands[i]
	}
	var out []*move
	for _, o := range s.res.Demands {
		d, cur := pairs[o.ID], s.in.Current[o.ID]
		for dir, names := range [2][]string{o.Assignment.Forward, o.Assignment.Reverse} {
			was := [2][]string{cur.Forward, cur.Reverse}[dir]
			slots := [2][]Pair{d.Forward, d.Reverse}[dir]
			for i, to := range names {
				from := ""
				if i < len(was) {
					from = was[i]
				}
				if from != to {
					out = append(out, &move{demand: o.ID, direction: [2]string{"forward", "reverse"}[dir], slot: i, pe: slots[i].Ingress, from: from, to: to})
				}
			}
		}
	}
	return out
}

func (s *stepper) allReleased(lsps []topology.LSPKey) (after []int, ok bool) {
	for _, id := range lsps {
		n, done := s.released[id]
		if !done {
			return nil, false
		}
		after = append(after, n)
	}
	return after, true
}

// left tells whether all flows have left an LSP.
func (s *stepper) left(id topology.LSPKey) bool {
	for _, m := range s.leavers[id] {
		if !m.done && m.unbound == 0 {
			return false
		}
	}
	return true
}

// breakCircle frees an LSP that a new reservation waits for, by leaving its flows
// to the PE's own routing for a while. false when nothing waits.
func (s *stepper) breakCircle() bool {
	for _, l := range s.res.Signal {
		if _, done := s.signalled[l.Key()]; done {
			continue
		}
		for _, id := range s.res.After[l.Key()] {
			for _, m := range s.leavers[id] {
				if !m.done && m.unbound == 0 {
					m.unbound = s.add(Step{PE: m.pe, Op: OpUnbind, LSP: id.Name, Demand: m.demand, Direction: m.direction, Slot: m.slot})
					s.lastUse[id] = append(s.lastUse[id], m.unbound)
					return true
				}
			}
		}
	}
	return false
}
