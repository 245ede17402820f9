package tunnelmanager

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// onPE takes in what a worker learned.
func (m *Manager) onPE(r peReport, now time.Time) {
	p := m.pes[r.pe]
	if len(r.ops) > 0 {
		p.busy = false
		m.onOps(p, r, now)
	}
	was, told := p.reachable, p.err
	p.reachable = r.err == nil
	switch {
	case r.err == nil:
		if !p.read || !sameState(p.state, r.state) {
			m.dirty = true
		}
		p.state, p.read = r.state, true
		m.known = nil
		p.err = nil
		m.learnFrom(p)
	case p.err == nil || p.err.Error() != r.err.Error():
		p.err, p.errAt = r.err, now
	}
	switch {
	case !p.reachable && (was || !sameFailure(told, r.err)): // also one that never answered
		m.log.Warn("PE does not answer", zap.String("pe", p.Name), zap.Error(r.err))
		m.record(now, Change{Action: "pe-lost", Subject: p.Name, PE: p.Name, Detail: r.err.Error(), Result: ResultFailed})
	case !was && p.reachable:
		m.log.Info("PE reachable", zap.String("pe", p.Name), zap.Int("lsps", len(p.state.LSPs)), zap.Int("ftns", len(p.state.FTNs)))
		m.record(now, Change{Action: "pe-back", Subject: p.Name, PE: p.Name, Result: ResultOK})
	}
	if r.tedRead {
		if r.tedErr != nil && !sameFailure(p.tedErr, r.tedErr) {
			m.log.Warn("topology of PE not read", zap.String("pe", p.Name), zap.Error(r.tedErr))
			m.record(now, Change{Action: "topology", Subject: p.Name, PE: p.Name, Detail: r.tedErr.Error(), Result: ResultFailed})
		}
		p.tedErr = r.tedErr
	}
	if r.ted != nil {
		p.tedAt = now
		if p.ted == nil || !topology.Equal(p.ted, r.ted) {
			if p.ted = r.ted; m.told == nil {
				_ = m.mergeTED(now) // logged; the last one stays
			}
		}
	}
}

// sameFailure tells whether a PE failed as it did before: texts may hold ports and
// times.
func sameFailure(a, b error) bool {
	var x, y *driver.Error
	if errors.As(a, &x) && errors.As(b, &y) {
		return errors.Is(x.Kind, y.Kind) && x.Remedy == y.Remedy
	}
	return a != nil && b != nil && a.Error() == b.Error()
}

// onOps accounts for operations that were handed to a PE.
func (m *Manager) onOps(p *peState, r peReport, now time.Time) {
	for _, op := range r.done {
		p.setsSent++
		m.record(now, opChange(p.Name, op, ResultOK, nil))
		if s, ok := op.(driver.Signal); ok {
			m.asked[s.LSP.Key()] = now
		}
	}
	for _, f := range r.failed {
		p.setsSent++
		m.log.Warn("PE operation failed", zap.String("pe", p.Name), zap.Stringer("op", f.op), zap.Error(f.err))
		m.record(now, opChange(p.Name, f.op, ResultFailed, f.err))
		if !lost(f.err) {
			p.held[opName(f.op)] = hold{until: now.Add(refusedHold), err: f.err}
			m.dirty = true
		}
	}
}

// opName is the name of the LSP or FTN that an operation is about.
func opName(op driver.Op) string {
	switch o := op.(type) {
	case driver.Signal:
		return o.LSP.Name
	case driver.Bind:
		return o.FTN.Name
	case driver.Unbind:
		return o.Name
	case driver.Release:
		return o.Name
	}
	return ""
}

// opVerb is an operation's word in plans and the audit.
func opVerb(op driver.Op) string {
	switch op.(type) {
	case driver.Signal:
		return "signal"
	case driver.Bind:
		return "bind"
	case driver.Unbind:
		return "unbind"
	default:
		return "release"
	}
}

func opChange(pe string, op driver.Op, result string, err error) Change {
	c := Change{Action: opVerb(op), Subject: opName(op), PE: pe, Step: op.String(), Result: result}
	if err != nil {
		f := failureOf(err)
		c.Step, c.Detail, c.Remedy = cmp.Or(f.Step, c.Step), f.Detail, f.Remedy
	}
	return c
}

// failureOf puts an error of a PE into words; Step is empty where it tells none.
func failureOf(err error) Failure {
	var de *driver.Error
	if !errors.As(err, &de) {
		return Failure{Detail: err.Error()}
	}
	f := Failure{Step: de.Step, Detail: de.Kind.Error(), Remedy: de.Remedy}
	if de.Detail != "" {
		f.Detail += ": " + de.Detail
	}
	return f
}

// learnFrom takes over what a PE already carries for this instance, so that a
// restart changes nothing: LSPs whose intent was lost, and classes.
func (m *Manager) learnFrom(p *peState) {
	lsps := map[string]topology.LSP{}
	for _, l := range p.state.LSPs {
		lsps[l.Name] = l
	}
	m.classes.learn(m.cfg.Owner, p.state.FTNs, lsps)
}

// onEdge takes in what was read back from the edge bridges.
func (m *Manager) onEdge(r edgeReport, now time.Time) {
	if r.set {
		m.edgeBusy = false
	}
	if r.err != nil && (m.edgeErr == nil || m.edgeErr.Error() != r.err.Error()) {
		m.log.Warn("edge bridges not as intended", zap.Error(r.err))
		m.record(now, Change{Action: "edge", Subject: "rules", Detail: r.err.Error(), Result: ResultFailed})
	}
	m.edgeErr = r.err
	m.edgeOf = r.state
	m.edgeOK = true
}

// sameState compares what matters to a plan: not the time of the reading.
func sameState(a, b driver.State) bool {
	return slices.Equal(a.FTNs, b.FTNs) && slices.EqualFunc(a.LSPs, b.LSPs, func(x, y topology.LSP) bool {
		return x.Name == y.Name && x.Oper == y.Oper && x.AdminUp == y.AdminUp && slices.Equal(x.ERO, y.ERO) && slices.Equal(x.RRO, y.RRO)
	})
}

// inventory is what the PEs reported, by what it is asked for.
type inventory struct {
	lsps map[topology.LSPKey]topology.LSP
	// defaults are the LSPs that flows of a pair ride where nothing steers them: the
	// first one between the two that is up and not ours.
	defaults map[plan.Pair]topology.LSP
}

func (m *Manager) inventory() *inventory {
	if m.known != nil {
		return m.known
	}
	m.known = &inventory{lsps: map[topology.LSPKey]topology.LSP{}, defaults: map[plan.Pair]topology.LSP{}}
	for name, p := range m.pes {
		for _, l := range p.state.LSPs {
			m.known.lsps[l.Key()] = l
			if l.Oper != topology.OperUp || strings.HasPrefix(l.Name, m.cfg.Owner) {
				continue
			}
			q := plan.Pair{Ingress: name, Egress: l.Egress}
			if first, ok := m.known.defaults[q]; !ok || l.TunnelID < first.TunnelID {
				m.known.defaults[q] = l
			}
		}
	}
	return m.known
}

// reported gives every LSP that the PEs reported; it is not changed.
func (m *Manager) reported() map[topology.LSPKey]topology.LSP { return m.inventory().lsps }

// defaultLSP gives the LSP that flows of a pair ride where nothing steers them.
func (m *Manager) defaultLSP(p plan.Pair) (string, bool) {
	l, ok := m.inventory().defaults[p]
	return l.Name, ok
}

// allRead tells whether each PE of a demand has been read at least once: before
// that nothing is known of what it holds, and nothing is changed.
func (m *Manager) allRead(d *plan.Demand) bool {
	for _, pair := range slices.Concat(d.Forward, d.Reverse) {
		if p, ok := m.pes[pair.Ingress]; !ok || !p.read {
			return false
		}
	}
	return true
}
