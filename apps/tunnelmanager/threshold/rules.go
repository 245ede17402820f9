package threshold

import (
	"fmt"
	"time"

	"mpbox/apps/tunnelmanager/plan"
)

// Rule sets some limits anew for the demands that match: every field that is set
// must. A rule that names more is stronger, a later one stronger than its equal.
type Rule struct {
	// VPN and Policy are names; "" matches all.
	VPN, Policy string
	// Ingress and Egress match a demand with a slot from the one to the other, in
	// either direction; "" matches all.
	Ingress, Egress string
	Patch
}

// Patch is a set of limits of which nil ones are left as they are. Operations per
// minute are counted for all demands together, so they are not among them.
type Patch struct {
	MinConnections, MinSubflows            *int
	MinGain                                *float64
	MinAge, Settle, HoldDown, ReleaseDelay *time.Duration
	MinBytes                               *uint64
}

// On gives the limits with what is set in the patch.
func (p Patch) On(l Limits) Limits {
	set(&l.MinConnections, p.MinConnections)
	set(&l.MinSubflows, p.MinSubflows)
	set(&l.MinGain, p.MinGain)
	set(&l.MinAge, p.MinAge)
	set(&l.Settle, p.Settle)
	set(&l.HoldDown, p.HoldDown)
	set(&l.ReleaseDelay, p.ReleaseDelay)
	set(&l.MinBytes, p.MinBytes)
	return l
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// Rules are tried for each demand.
type Rules []Rule

// For gives the limits of one demand.
func (rs Rules) For(l Limits, d *plan.Demand) Limits {
	for strength := 0; strength <= 4; strength++ {
		for i := range rs {
			if rs[i].strength() == strength && rs[i].matches(d) {
				l = rs[i].On(l)
			}
		}
	}
	return l
}

func (r *Rule) strength() int {
	n := 0
	for _, s := range [...]string{r.VPN, r.Policy, r.Ingress, r.Egress} {
		if s != "" {
			n++
		}
	}
	return n
}

func (r *Rule) matches(d *plan.Demand) bool {
	if r.VPN != "" && r.VPN != d.VPN || r.Policy != "" && r.Policy != d.Policy {
		return false
	}
	if r.Ingress == "" && r.Egress == "" {
		return true
	}
	for _, slots := range [2][]plan.Pair{d.Forward, d.Reverse} {
		for _, q := range slots {
			if (r.Ingress == "" || r.Ingress == q.Ingress) && (r.Egress == "" || r.Egress == q.Egress) {
				return true
			}
		}
	}
	return false
}

// Validate checks that the limits stay in their ranges under each rule. The error
// wraps a *RangeError and names the rule, counted from 1.
func (rs Rules) Validate(l Limits) error {
	for i := range rs {
		if err := rs[i].On(l).Validate(); err != nil {
			return fmt.Errorf("threshold rule %d: %w", i+1, err)
		}
	}
	return nil
}
