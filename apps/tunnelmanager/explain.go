package tunnelmanager

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Explanation says why a connection rides where it does.
type Explanation struct {
	Verdict string
	Facts   []Fact
}

// Fact is one question that the decision asked; not OK is what stands in the way.
type Fact struct {
	Question, Value, Wanted string
	OK                      bool
}

// Explain asks the questions that decide about a connection, in their order, on the
// last snapshot.
func (m *Manager) Explain(c Connection) Explanation {
	view := m.View()
	var e Explanation
	ask := func(question, value, wanted string, ok bool) bool {
		e.Facts = append(e.Facts, Fact{question, value, wanted, ok})
		if !ok && e.Verdict == "" {
			e.Verdict = "not bound: " + question + " is " + value
			if wanted != "" {
				e.Verdict += ", wanted " + wanted
			}
		}
		return ok
	}
	p := policyOf(&c, m.cfg.Policies)
	if p == nil {
		ask("policy", "none", "one that matches VPN "+c.VPN, false)
		return e
	}
	ask("policy", p.Name, "", true)
	subs := eligible(&c, p, m.attachments)
	limits := view.Limits
	if len(subs) > 0 {
		would, _, _ := demandOf(&c, p, subs, m.attachments)
		limits = view.Rules.For(limits, &would)
	}
	ask("subflows that count (established, no backup, not forged, both PEs known, not local)", fmt.Sprintf("%d of %d", len(subs), len(c.Subflows)),
		fmt.Sprintf("at least %d (min_subflows)", limits.MinSubflows), len(subs) >= limits.MinSubflows)
	v := limits.Counts(countable(&c, subs, limits, m.attachments, view.counted), time.Now())
	ask("age and volume", time.Since(c.Since).Round(time.Millisecond).String(), v.Reason, v.OK)
	var d *Demand
	for i := range view.Demands {
		if view.Demands[i].ID == view.DemandOf[c.ID] {
			d = &view.Demands[i]
		}
	}
	if d == nil {
		ask("demand", "none yet", "one", false)
		return e
	}
	ask("connections in the demand", fmt.Sprint(d.Connections), fmt.Sprintf("at least %d (min_connections)", limits.MinConnections),
		d.Connections >= limits.MinConnections || len(d.Assignment.Forward) > 0)
	ask("mode", string(view.Mode), "auto, or an approved plan", view.Mode == Auto || len(d.Assignment.Forward) > 0)
	ask("plan", withReason(d.State, d.Reason), "", d.State != "waiting" && d.State != "held")
	bound := 0
	var why []string
	for _, b := range view.Bindings {
		if b.Connection != c.ID {
			continue
		}
		if b.State == BindingVerified {
			bound++
		} else if !slices.Contains(why, b.Reason) {
			why = append(why, b.Reason)
		}
	}
	ask("flows verified on their LSPs", withReason(fmt.Sprintf("%d of %d", bound, 2*len(subs)), strings.Join(why, "; ")), "all", bound == 2*len(subs) && bound > 0)
	ask("disjointness, of the worse direction", d.Achieved.String(), "at least "+d.Level.String(), d.Achieved >= d.Level)
	if e.Verdict == "" {
		e.Verdict = fmt.Sprintf("bound: all %d flows ride %s-disjoint LSPs", bound, d.Achieved)
	} else if bound > 0 && bound == 2*len(subs) {
		e.Verdict = fmt.Sprintf("bound: all %d flows ride their LSPs; disjointness %s, %s wanted: %s", bound, d.Achieved, d.Level, d.Reason)
	}
	return e
}

func withReason(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}
