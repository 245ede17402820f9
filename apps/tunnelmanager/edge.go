package tunnelmanager

import (
	"context"
	"maps"
	"time"
)

// Edge is the edge bridges, as far as bound flows concern them.
type Edge interface {
	// SetRules makes rules the whole set of edge rules on all bridges, and returns
	// when those that are connected have confirmed it.
	SetRules(ctx context.Context, rules []EdgeRule) error
	// Rules reads back what the connected bridges hold.
	Rules(ctx context.Context) (EdgeState, error)
}

// EdgeState is what was read back from the edge bridges.
type EdgeState struct {
	Rules map[uint64]EdgeRule
	// Bytes counted of flows, by the ID of their CountRule, besides those of rules
	// that ended, which Connection.Bytes has.
	Bytes map[uint64]uint64
	// Attachments whose bridge answered.
	Attachments map[string]bool
}

// edgeReport is what the edge worker learned; set tells that rules were sent.
type edgeReport struct {
	state EdgeState
	set   bool
	err   error
}

// edgeWorker is the one goroutine that uses Edge, as worker is for a PE.
type edgeWorker struct {
	edge   Edge
	poll   time.Duration
	rules  chan []EdgeRule
	report chan<- edgeReport
}

func (w *edgeWorker) run(ctx context.Context) error {
	tick := time.NewTicker(w.poll)
	defer tick.Stop()
	for first := true; ; first = false {
		var r edgeReport
		if !first {
			select {
			case <-ctx.Done():
				return nil
			case rules := <-w.rules:
				r.set = true
				r.err = w.edge.SetRules(ctx, rules)
			case <-tick.C:
			}
		}
		state, err := w.edge.Rules(ctx)
		r.state = state
		if r.err == nil {
			r.err = err
		}
		select {
		case w.report <- r:
		case <-ctx.Done():
			return nil
		}
	}
}

// ruleInterval is how often the same rules are sent again when the bridges do not
// show them.
const ruleInterval = time.Second

// reconcileEdge sends the rules when they have changed, or when a bridge that
// answers does not hold them.
func (m *Manager) reconcileEdge(rules map[uint64]EdgeRule, now time.Time, edge chan<- []EdgeRule, w *wake) {
	if m.edge == nil || !m.edgeOK || m.edgeBusy {
		return
	}
	if maps.Equal(rules, m.sent) {
		if m.edgeHolds(rules) {
			return
		}
		if again := m.sentAt.Add(ruleInterval); now.Before(again) {
			w.by(again)
			return
		}
	}
	list := make([]EdgeRule, 0, len(rules))
	for _, id := range sortedKeys(rules) {
		list = append(list, rules[id])
	}
	m.edgeBusy, m.sent, m.sentAt = true, rules, now
	edge <- list
}

// edgeHolds tells whether the bridges that answered hold exactly rules.
func (m *Manager) edgeHolds(rules map[uint64]EdgeRule) bool {
	n := 0
	for id, r := range rules {
		if !m.edgeOf.Attachments[r.Attachment] {
			continue
		}
		if got, ok := m.edgeOf.Rules[id]; !ok || got != r {
			return false
		}
		n++
	}
	return n == len(m.edgeOf.Rules)
}
