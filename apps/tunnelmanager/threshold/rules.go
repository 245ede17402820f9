package threshold

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mpbox/apps/tunnelmanager/plan"
)

// Rule sets some limits anew for the demands that match. A rule that names more is
// stronger, a later one stronger than its equal.
type Rule struct {
	Match
	Patch
}

// Match selects demands: every field that is set must match.
type Match struct {
	// VPN and Policy are names; "" matches all.
	VPN, Policy string
	// Ingress and Egress are PEs. They match a demand with a slot from the one to the
	// other, in either direction; "" matches all.
	Ingress, Egress string
}

// String is how a rule is named in the audit.
func (m Match) String() string {
	var out []string
	for _, f := range m.fields() {
		if f[1] != "" {
			out = append(out, f[0]+"="+f[1])
		}
	}
	return strings.Join(out, " ")
}

func (m Match) fields() [4][2]string {
	return [...][2]string{{"vpn", m.VPN}, {"policy", m.Policy}, {"ingress", m.Ingress}, {"egress", m.Egress}}
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

func (m Match) strength() int {
	n := 0
	for _, f := range m.fields() {
		if f[1] != "" {
			n++
		}
	}
	return n
}

func (m Match) matches(d *plan.Demand) bool {
	if m.VPN != "" && m.VPN != d.VPN || m.Policy != "" && m.Policy != d.Policy {
		return false
	}
	if m.Ingress == "" && m.Egress == "" {
		return true
	}
	for _, slots := range [2][]plan.Pair{d.Forward, d.Reverse} {
		for _, q := range slots {
			if (m.Ingress == "" || m.Ingress == q.Ingress) && (m.Egress == "" || m.Egress == q.Egress) {
				return true
			}
		}
	}
	return false
}

// Index gives the rule with exactly this match; -1 if there is none.
func (rs Rules) Index(m Match) int {
	return slices.IndexFunc(rs, func(r Rule) bool { return r.Match == m })
}

// Validate checks that each rule can match, sets something, and keeps the limits in
// their ranges. The error is an *InvalidError that names the rule, counted from 0.
func (rs Rules) Validate(l Limits) error {
	for i, r := range rs {
		name := fmt.Sprintf("rules[%d]", i)
		switch first := rs.Index(r.Match); {
		case r.Match == Match{}:
			return &InvalidError{name, "it names no vpn, policy, ingress or egress: set the thresholds themselves"}
		case r.Ingress != "" && r.Ingress == r.Egress:
			return &InvalidError{name + ".egress", "it is the ingress too, and connections that stay at one PE are no demand"}
		case r.Patch == Patch{}:
			return &InvalidError{name, "it sets no threshold"}
		case first != i:
			return &InvalidError{name, fmt.Sprintf("rules[%d] is for %s too: make one of them", first, r.Match)}
		}
		var bad *InvalidError
		if errors.As(r.On(l).Validate(), &bad) {
			return &InvalidError{name + "." + bad.Field, bad.Detail}
		}
	}
	return nil
}

// Names are those that rules may use.
type Names struct{ VPNs, Policies, PEs []string }

// Check finds names that are not there; the error is as that of Validate. Rules
// that are in known are not asked again: what they name may come back.
func (n Names) Check(rs, known Rules) error {
	lists := [...]struct {
		what  string
		names []string
	}{{"VPN", n.VPNs}, {"policy", n.Policies}, {"PE", n.PEs}, {"PE", n.PEs}}
	for i, r := range rs {
		if known.Index(r.Match) >= 0 {
			continue
		}
		for k, f := range r.fields() {
			if list := lists[k]; f[1] != "" && !slices.Contains(list.names, f[1]) {
				return &InvalidError{fmt.Sprintf("rules[%d].%s", i, f[0]),
					fmt.Sprintf("no %s is named %q: want one of %s", list.what, f[1], strings.Join(list.names, ", "))}
			}
		}
	}
	return nil
}

// Difference is one limit of a rule that was set, changed or taken away.
type Difference struct {
	Match
	Text string
}

// DiffRules lists what differs from one list of rules to another, for the audit.
func DiffRules(from, to Rules) []Difference {
	var out []Difference
	at := func(rs Rules, m Match) (p Patch) {
		if i := rs.Index(m); i >= 0 {
			p = rs[i].Patch
		}
		return p
	}
	kept := func(rs, other Rules) (ms []Match) {
		for _, r := range rs {
			if other.Index(r.Match) >= 0 {
				ms = append(ms, r.Match)
			}
		}
		return ms
	}
	var all []Match
	for _, r := range slices.Concat(from, to) {
		if !slices.Contains(all, r.Match) {
			all = append(all, r.Match)
		}
	}
	for _, m := range all {
		a, b := at(from, m).words(), at(to, m).words()
		for i, name := range patchNames {
			if a[i] != b[i] {
				out = append(out, Difference{m, fmt.Sprintf("%s: %s %s -> %s", m, name, a[i], b[i])})
			}
		}
	}
	if !slices.Equal(kept(from, to), kept(to, from)) {
		out = append(out, Difference{Text: "rules in another order"})
	}
	return out
}

var patchNames = [...]string{"min_connections", "min_subflows", "min_gain", "min_age", "min_bytes", "settle", "hold_down", "release_delay"}

// words gives the limits in the order of patchNames; "none" where one is not set.
func (p Patch) words() [len(patchNames)]string {
	return [...]string{word(p.MinConnections), word(p.MinSubflows), word(p.MinGain), word(p.MinAge), word(p.MinBytes),
		word(p.Settle), word(p.HoldDown), word(p.ReleaseDelay)}
}

func word[T any](v *T) string {
	if v == nil {
		return "none"
	}
	return fmt.Sprint(*v)
}
