package config

import (
	"fmt"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"
)

const day = 24 * time.Hour

func (k *checker) thresholds(vpns []string) {
	t := &k.c.Thresholds
	k.within(t.MinAge, 0, day, "thresholds", "min_age")
	k.within(t.Settle, 0, time.Minute, "thresholds", "settle")
	k.within(t.HoldDown, 0, day, "thresholds", "hold_down")
	k.within(t.ReleaseDelay, 0, day, "thresholds", "release_delay")

	lists := ruleNames{vpns: vpns}
	for i := range k.c.Policies {
		lists.policies = append(lists.policies, k.c.Policies[i].Name)
	}
	for i := range k.c.PEs {
		lists.pes = append(lists.pes, k.c.PEs[i].Name)
	}
	seen := map[[4]string]int{}
	for i := range t.Rules {
		k.thresholdRule(i, &t.Rules[i], lists, seen)
	}
}

// ruleNames are those that rules may use.
type ruleNames struct{ vpns, policies, pes []string }

// thresholdRule checks that a rule can match, is the only one of its kind, and sets
// something within the ranges. seen has the rules before it.
func (k *checker) thresholdRule(i int, r *ThresholdRule, lists ruleNames, seen map[[4]string]int) {
	at := func(key string) []string { return path("thresholds", "rules", i, key) }
	whole := path("thresholds", "rules", i)
	for _, n := range []struct {
		key, value, what, list string
		known                  []string
	}{
		{"vpn", r.VPN, "VPN", "vpns", lists.vpns}, {"policy", r.Policy, "policy", "policies", lists.policies},
		{"ingress", r.Ingress, "PE", "pes", lists.pes}, {"egress", r.Egress, "PE", "pes", lists.pes},
	} {
		switch {
		case n.value == "" || slices.Contains(n.known, n.value):
		case n.value == "*":
			k.fail(at(n.key), "leave it out, which means all", "thresholds.rules[%d].%s: no %s is named *", i, n.key, n.what)
		default:
			k.fail(at(n.key), unknownName(n.value, n.list, n.known), "thresholds.rules[%d].%s: no %s is named %q", i, n.key, n.what, n.value)
		}
	}
	for _, d := range []struct {
		key string
		v   *Duration
		hi  time.Duration
	}{{"min_age", r.MinAge, day}, {"settle", r.Settle, time.Minute}, {"hold_down", r.HoldDown, day}, {"release_delay", r.ReleaseDelay, day}} {
		if d.v != nil {
			k.within(*d.v, 0, d.hi, "thresholds", "rules", i, d.key)
		}
	}
	match := [4]string{r.VPN, r.Policy, r.Ingress, r.Egress}
	first, twice := seen[match]
	limits := *r
	limits.VPN, limits.Policy, limits.Ingress, limits.Egress = "", "", "", ""
	_, node, _ := k.find(whole...)
	switch {
	case k.complained(node):
	case match == [4]string{}:
		k.fail(whole, "add vpn, policy, ingress or egress, or set the thresholds themselves", "thresholds.rules[%d] names no connections", i)
	case limits == ThresholdRule{}:
		k.fail(whole, "add one, like min_connections: 3, or remove the rule", "thresholds.rules[%d] sets no threshold", i)
	case r.Ingress != "" && r.Ingress == r.Egress:
		k.fail(at("egress"), "name another PE, or leave it out", "thresholds.rules[%d]: %s is ingress and egress, and connections that stay at one PE are not steered", i, r.Egress)
	case twice:
		k.fail(whole, fmt.Sprintf("make one of this and the one %s", k.line("thresholds", "rules", first)), "thresholds.rules[%d] is for the same connections as rules[%d]", i, first)
	default:
		seen[match] = i
	}
}

// complained tells whether something in a value's lines is wrong already: what
// follows from that is not told.
func (k *checker) complained(n *yaml.Node) bool {
	if n == nil {
		return true
	}
	last := n.Line
	for _, c := range n.Content {
		last = max(last, c.Line)
	}
	return slices.ContainsFunc(k.problems, func(p Problem) bool { return p.Line >= n.Line && p.Line <= last })
}
