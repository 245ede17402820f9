package plan

import "slices"

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
	s := stepper{in: in, res: res, signalled: map[string]int{}, released: map[string]int{}, leavers: map[string][]*move{}, lastUse: map[string][]int{}}
	s.run()
	return s.steps
}

type stepper struct {
	in        Input
	res       Result
	steps     []Step
	signalled map[string]int // step by LSP
	released  map[string]int
	leavers   map[string][]*move
	lastUse   map[string][]int // steps that took flows off an LSP
}

// move is a slot that changes.
type move struct {
	demand, direction string
	slot              int
	pe, from, to      string
	done              bool
	unbound           int // step that left it to the PE's routing, on its way
}

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
	fresh := map[string]int{}
	for i, l := range s.res.Signal {
		fresh[l.Name] = i
	}
	moves := s.moves()
	for _, m := range moves {
		if m.from != "" {
			s.leavers[m.from] = append(s.leavers[m.from], m)
		}
	}
	for progress := true; ; {
		if !progress && !s.breakCircle() {
			return
		}
		progress = false
		for _, l := range s.res.Signal {
			if _, done := s.signalled[l.Name]; done {
				continue
			}
			if after, ok := s.allReleased(s.res.After[l.Name]); ok {
				s.signalled[l.Name] = s.add(Step{PE: l.Ingress, Op: OpSignal, LSP: l.Name, After: after})
				progress = true
			}
		}
		for _, m := range moves {
			if m.done {
				continue
			}
			var after []int
			if _, isNew := fresh[m.to]; isNew {
				n, up := s.signalled[m.to]
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
				s.lastUse[m.from] = append(s.lastUse[m.from], n)
			}
		}
		for _, name := range s.res.Release {
			if _, done := s.released[name]; !done && s.left(name) {
				s.released[name] = s.add(Step{PE: s.ingress(name), Op: OpRelease, LSP: name, After: s.lastUse[name]})
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

func (s *stepper) ingress(lsp string) string {
	for i := range s.in.LSPs {
		if s.in.LSPs[i].Name == lsp {
			return s.in.LSPs[i].Ingress
		}
	}
	return ""
}

func (s *stepper) allReleased(names []string) (after []int, ok bool) {
	for _, name := range names {
		n, done := s.released[name]
		if !done {
			return nil, false
		}
		after = append(after, n)
	}
	return after, true
}

// left tells whether all flows have left an LSP.
func (s *stepper) left(name string) bool {
	for _, m := range s.leavers[name] {
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
		if _, done := s.signalled[l.Name]; done {
			continue
		}
		for _, name := range s.res.After[l.Name] {
			for _, m := range s.leavers[name] {
				if !m.done && m.unbound == 0 {
					m.unbound = s.add(Step{PE: m.pe, Op: OpUnbind, LSP: name, Demand: m.demand, Direction: m.direction, Slot: m.slot})
					s.lastUse[name] = append(s.lastUse[name], m.unbound)
					return true
				}
			}
		}
	}
	return false
}
