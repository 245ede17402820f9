package tunnelmanager

import (
	"context"
	"errors"
	"time"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/apps/tunnelmanager/threshold"
	"mpbox/topology"
)

// limitsOf gives the limits that a demand is judged by.
func (m *Manager) limitsOf(d *plan.Demand) threshold.Limits { return m.rules.For(m.limits, d) }

// countable is what limits ask of a connection with these eligible subflows; bytes are
// those of EdgeState.
func countable(c *Connection, subs []*Subflow, l threshold.Limits, at map[string]Attachment, bytes map[uint64]uint64) threshold.Connection {
	out := threshold.Connection{Subflows: len(subs), Since: c.Since, Bytes: c.Bytes, Uncounted: true}
	if l.MinBytes == 0 {
		return out // as it is not asked for
	}
	for _, s := range subs {
		for _, f := range s.Flows {
			out.Uncounted = out.Uncounted && at[f.Ingress].NoBridge
			out.Bytes += bytes[f.CountRule().ID]
		}
	}
	return out
}

// names are those that rules may use.
func (m *Manager) names() threshold.Names {
	n := threshold.Names{VPNs: m.cfg.VPNs}
	for i := range m.cfg.Policies {
		n.Policies = append(n.Policies, m.cfg.Policies[i].Name)
	}
	for i := range m.cfg.PEs {
		n.PEs = append(n.PEs, m.cfg.PEs[i].Name)
	}
	return n
}

// SetThresholds changes the limits, and the rules for some demands, from now on and
// over restarts. What is refused is a *threshold.InvalidError; with ErrNotKept they are
// in force all the same.
func (m *Manager) SetThresholds(ctx context.Context, actor string, l threshold.Limits, rules threshold.Rules) (err error) {
	if err := l.Validate(); err != nil {
		return err
	}
	if err := rules.Validate(l); err != nil {
		return err
	}
	if err := m.names().Check(rules, m.View().Rules); err != nil {
		return err
	}
	cerr := m.call(ctx, func(now time.Time) {
		for _, d := range threshold.Diff(m.limits, l) {
			m.record(now, Change{Actor: actor, Action: "threshold", Subject: d, Result: ResultOK})
		}
		diff := threshold.DiffRules(m.rules, rules)
		for _, d := range diff {
			m.record(now, Change{Actor: actor, Action: "threshold", Subject: d.Text, VPN: d.VPN, PE: d.Ingress, Result: ResultOK})
		}
		if len(diff) > 0 { // else the file's stay in force
			m.save("threshold-rules", rules)
		}
		m.limits, m.rules, m.dirty = l, rules, true
		m.save("thresholds", l)
		err = m.keep(now)
	})
	return errors.Join(cerr, err)
}

// lspUse is what an LSP of ours is there for: its demands' limits say for how long
// it is kept when none needs it.
type lspUse struct {
	demands []*plan.Demand
	busy    bool      // one of them has connections
	end     time.Time // when the last of the others lost its last one
}

func (u lspUse) by(d *demandState) lspUse {
	u.demands, u.busy = append(u.demands, &d.demand), u.busy || d.empty.IsZero()
	if d.empty.After(u.end) {
		u.end = d.empty
	}
	return u
}

// ended gives since when nothing has needed the LSP, which is not wanted now.
func (u lspUse) ended(now time.Time) time.Time {
	if u.busy || u.end.IsZero() {
		return now
	}
	return u.end
}

// mayRelease tells whether an LSP that is not wanted was kept for long enough: by
// the longest release delay of the demands that rode it last. After a restart these
// may not be known; then by that of its PEs.
func (m *Manager) mayRelease(l topology.LSP, now time.Time) threshold.Verdict {
	since, ok := m.wanted[l.Key()]
	if !ok {
		return threshold.Verdict{}
	}
	demands := m.uses[l.Key()].demands
	if len(demands) == 0 {
		demands = []*plan.Demand{{Forward: []plan.Pair{{Ingress: l.Ingress, Egress: l.Egress}}}}
	}
	var longest threshold.Limits
	for _, d := range demands {
		if x := m.limitsOf(d); x.ReleaseDelay >= longest.ReleaseDelay {
			longest = x
		}
	}
	return longest.MayRelease(since, now)
}
