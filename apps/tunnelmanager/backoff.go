package tunnelmanager

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/topology"
)

// Back-off: the n-th try in a row waits backOffFirst * 2^(n-1), backOffMost at most.
const (
	backOffFirst = 10 * time.Second
	backOffMost  = 5 * time.Minute
)

func backOffAfter(tries int) time.Duration {
	return min(backOffFirst<<min(tries-1, 10), backOffMost)
}

// pathKey is what an LSP asks the network for: a route and a reservation.
type pathKey string

func pathOf(spec topology.LSP) pathKey {
	return pathKey(fmt.Sprint(spec.Ingress, " ", spec.Bandwidth, " ", spec.ERO))
}

// failure is a path on which LSPs of ours do not come up, though all of its links
// are there: a transit node has no room, or knows better. No other is asked for on
// it until the time has come.
type failure struct {
	lsp    topology.LSP // the last one, as it was asked for
	reason string       // its head end's words
	tries  int          // in a row
	last   time.Time
	until  time.Time
	due    bool // until has passed: it may be tried again
}

// retry is a demand's own back-off: the first time that LSPs of it do not come up,
// another path is tried at once; then each try waits longer, however many paths
// there are.
type retry struct {
	tries int
	last  time.Time
	until time.Time // nothing is signalled for the demand; zero if it may be
}

// backOff takes note of LSPs of ours that are wanted, and down though their links
// are there, and of waits that are over.
func (m *Manager) backOff(now time.Time, w *wake) {
	for key, f := range m.failures {
		switch {
		case now.Before(f.until):
			w.by(f.until)
		case !f.due:
			f.due, m.dirty = true, true
		case now.Sub(f.until) > 2*backOffMost: // nobody asks for it any more
			delete(m.failures, key)
		}
	}
	m.retryDemands(now, w)
	if m.mode == Observe || m.ted == nil {
		return
	}
	for _, name := range sortedKeys(m.pes) {
		p := m.pes[name]
		if !p.reachable {
			continue
		}
		for _, l := range p.state.LSPs {
			if spec, ours := m.specOf(l); ours {
				m.watch(spec, l, now, w)
			}
		}
	}
}

// retryDemands ends the waits of demands: when the time has come, or when an LSP
// that was asked for since has come up.
func (m *Manager) retryDemands(now time.Time, w *wake) {
	var have map[topology.LSPKey]topology.LSP
	for id, d := range m.demands {
		g := m.groupOf(id)
		if d.retry.tries == 0 || g == nil {
			continue
		}
		if have == nil {
			have = m.reported()
		}
		eachLSP(&g.Demand, d.Assignment, func(k topology.LSPKey) {
			if have[k].Oper == topology.OperUp && m.asked[k].After(d.retry.last) {
				d.retry, m.dirty = retry{}, true
			}
		})
		switch u := d.retry.until; {
		case now.Sub(d.retry.last) > 2*backOffMost:
			d.retry = retry{}
		case u.IsZero():
		case now.Before(u):
			w.by(u)
		default:
			d.retry.until, m.dirty = time.Time{}, true
		}
	}
}

// watch looks at one LSP of ours.
func (m *Manager) watch(spec, l topology.LSP, now time.Time, w *wake) {
	asked := m.asked[l.Key()]
	if l.Oper == topology.OperUp {
		delete(m.blamed, l.Key())
		if len(m.failures) == 0 {
			return
		}
		// One that was up before, of another priority say, tells nothing.
		if f := m.failures[pathOf(spec)]; f != nil && (f.lsp.Name == l.Name || asked.After(f.last)) {
			delete(m.failures, pathOf(spec))
			m.dirty = true
		}
		return
	}
	if up := asked.Add(signalGrace); now.Before(up) {
		w.by(up)
		return
	}
	if at, counted := m.blamed[l.Key()]; counted && !asked.After(at) || !m.intact(spec) {
		return // or there is a reason
	}
	users := m.users(l.Key())
	if len(users) == 0 {
		return
	}
	m.blamed[l.Key()] = now
	f := m.failures[pathOf(spec)]
	if f == nil {
		f = &failure{}
		m.failures[pathOf(spec)] = f
	}
	if f.tries == 0 || asked.After(f.last) { // else it was asked for with the last one: one try
		f.tries++
	}
	f.lsp, f.reason, f.last, f.due = spec, l.Reason, now, false
	f.until = now.Add(backOffAfter(f.tries))
	for _, d := range users {
		// The two directions fail together, or nearly: that is one try.
		if d.retry.tries == 0 || now.Sub(d.retry.last) >= signalGrace {
			d.retry.tries++
			d.retry.last = now
			if d.retry.tries > 1 {
				d.retry.until = now.Add(backOffAfter(d.retry.tries - 1))
			}
		}
	}
	m.dirty = true
	m.log.Warn("LSP is down though its route is there", zap.String("pe", l.Ingress), zap.String("lsp", l.Name), zap.String("reason", l.Reason), zap.Int("tries", f.tries))
	m.record(now, Change{Action: "back-off", Subject: l.Name, PE: l.Ingress, Result: ResultFailed, Detail: m.tellFailure(f),
		Remedy: "see what the routers on this route have left to reserve, and whether they take RSVP"})
}

// users gives the demands with a slot on an LSP.
func (m *Manager) users(lsp topology.LSPKey) []*demandState {
	var out []*demandState
	for i := range m.groups {
		g := &m.groups[i]
		d, uses := m.demands[g.ID], false
		if d.has {
			eachLSP(&g.Demand, d.Assignment, func(k topology.LSPKey) { uses = uses || k == lsp })
		}
		if uses {
			out = append(out, d)
		}
	}
	return out
}

// avoid gives the paths that are not to be tried for now.
func (m *Manager) avoid() []topology.LSP {
	var out []topology.LSP
	for _, key := range sortedKeys(m.failures) {
		if f := m.failures[key]; !f.due {
			out = append(out, f.lsp)
		}
	}
	return out
}

// avoided tells whether an LSP takes a path that is not to be tried for now.
func (m *Manager) avoided(spec topology.LSP) bool {
	f := m.failures[pathOf(spec)]
	return f != nil && !f.due
}

// forgetFailures has everything tried again: the network has changed.
func (m *Manager) forgetFailures() {
	clear(m.failures)
	clear(m.blamed)
	for _, d := range m.demands {
		d.retry = retry{}
	}
}

func (m *Manager) tellFailure(f *failure) string {
	over := f.lsp.Ingress + " to " + f.lsp.Egress
	if m.ted != nil {
		if links := linkNames(m.ted, m.routeOf(f.lsp)); len(links) > 0 {
			over = strings.Join(links, " ")
		}
	}
	times := ""
	if f.tries > 1 {
		times = fmt.Sprintf(", %d times in a row", f.tries)
	}
	return fmt.Sprintf("the LSP over %s did not come up or stay up%s%s; not tried again before %s", over, times, reasonSuffix(f.reason), f.until.Format(time.RFC3339))
}

// whyUnmet is a demand's reason after a plan: the planner's, and which paths are
// not tried for now.
func (m *Manager) whyUnmet(g *demandGroup, o plan.Outcome) string {
	if g == nil || o.Unmet == "" {
		return o.Unmet
	}
	out := []string{o.Unmet}
	pairs := slices.Concat(g.Forward, g.Reverse)
	var failed []*failure
	for _, key := range sortedKeys(m.failures) {
		f := m.failures[key]
		if !f.due && slices.Contains(pairs, plan.Pair{Ingress: f.lsp.Ingress, Egress: f.lsp.Egress}) {
			failed = append(failed, f)
		}
	}
	slices.SortStableFunc(failed, func(a, b *failure) int { return cmp.Compare(b.tries, a.tries) })
	for _, f := range failed[:min(len(failed), 2)] {
		out = append(out, m.tellFailure(f))
	}
	if u := m.demands[g.ID].retry.until; !u.IsZero() {
		out = append(out, "no LSP is signalled for it before "+u.Format(time.RFC3339))
	}
	return strings.Join(out, "; ")
}
