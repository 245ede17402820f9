package tunnelmanager

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/apps/tunnelmanager/threshold"
)

// eligible gives the subflows of c that a demand may be made of: established,
// not backup, no wrong HMAC, with a known ingress and egress PE in both
// directions, and not local to one PE.
func eligible(c *Connection, p *Policy, at map[string]Attachment) []*Subflow {
	var out []*Subflow
	for i := range c.Subflows {
		s := &c.Subflows[i]
		if !s.Established || s.Backup || (s.Verified != nil && !*s.Verified) {
			continue
		}
		if p.RequireVerified && s.Verified == nil {
			continue
		}
		if _, ok := pairOf(s.Flows[C2S], at); !ok {
			continue
		}
		if _, ok := pairOf(s.Flows[S2C], at); !ok {
			continue
		}
		out = append(out, s)
	}
	return out
}

// pairOf gives the ingress and egress PE of a flow; not ok where one is unknown
// or both are the same router.
func pairOf(f Flow, at map[string]Attachment) (plan.Pair, bool) {
	in, ok1 := at[f.Ingress]
	out, ok2 := at[f.Egress]
	p := plan.Pair{Ingress: in.PE, Egress: out.PE}
	return p, ok1 && ok2 && p.Ingress != "" && p.Egress != "" && p.Ingress != p.Egress
}

// policyOf gives the first policy that matches c; nil where none does.
func policyOf(c *Connection, policies []Policy) *Policy {
	for i := range policies {
		p := &policies[i]
		if p.VPN != "" && p.VPN != "*" && p.VPN != c.VPN {
			continue
		}
		if len(c.Subflows) == 0 {
			continue
		}
		f := c.Subflows[0].Flows[C2S]
		if len(p.Prefixes) > 0 && !slices.ContainsFunc(p.Prefixes, func(x netip.Prefix) bool {
			return x.Contains(f.Src.Addr()) || x.Contains(f.Dst.Addr())
		}) {
			continue
		}
		if len(p.Ports) > 0 && !slices.Contains(p.Ports, f.Src.Port()) && !slices.Contains(p.Ports, f.Dst.Port()) {
			continue
		}
		return p
	}
	return nil
}

// groupInput is what makes demands out of connections.
type groupInput struct {
	now         time.Time
	attachments map[string]Attachment
	policies    []Policy
	// limits are those of one demand.
	limits func(*plan.Demand) threshold.Limits
}

// demandOf gives what a connection with these eligible subflows asks for, its
// subflows in the order of the slots, and when the youngest of them joined.
func demandOf(c *Connection, p *Policy, subs []*Subflow, at map[string]Attachment) (d plan.Demand, ordered []*Subflow, youngest time.Time) {
	type slot struct {
		sub      *Subflow
		fwd, rev plan.Pair
	}
	slots := make([]slot, len(subs))
	for i, s := range subs {
		fwd, _ := pairOf(s.Flows[C2S], at)
		rev, _ := pairOf(s.Flows[S2C], at)
		slots[i] = slot{s, fwd, rev}
	}
	slices.SortStableFunc(slots, func(a, b slot) int {
		return cmp.Or(comparePair(a.fwd, b.fwd), comparePair(a.rev, b.rev), a.sub.Since.Compare(b.sub.Since))
	})
	d = plan.Demand{VPN: c.VPN, Policy: p.Name, Level: p.Level, Strict: p.Strict, Metric: p.Metric, Template: p.Template, Constraints: p.Constraints}
	youngest = c.Since
	for _, s := range slots {
		d.Forward, d.Reverse = append(d.Forward, s.fwd), append(d.Reverse, s.rev)
		ordered = append(ordered, s.sub)
		if s.sub.Since.After(youngest) {
			youngest = s.sub.Since
		}
	}
	d.ID = demandID(d.VPN, d.Policy, d.Forward, d.Reverse)
	return d, ordered, youngest
}

// group makes one demand of all the connections with the same signature: VPN,
// policy and, per direction, the multiset of PE pairs of the subflows that
// count. Those with fewer subflows than their demand's limit are left out. The
// result is sorted by ID.
func group(conns map[uint64]*Connection, in groupInput) []demandGroup {
	byID := map[string]*demandGroup{}
	for _, id := range sortedKeys(conns) {
		c := conns[id]
		p := policyOf(c, in.policies)
		if p == nil {
			continue
		}
		subs := eligible(c, p, in.attachments)
		if len(subs) < 2 {
			continue
		}
		d, ordered, youngest := demandOf(c, p, subs, in.attachments)
		g := byID[d.ID]
		if g == nil {
			g = &demandGroup{Demand: d, policy: p, limits: in.limits(&d)}
			byID[d.ID] = g
		}
		if len(subs) < g.limits.MinSubflows {
			continue
		}
		g.Weight++
		g.members = append(g.members, c)
		g.slots = append(g.slots, ordered)
		if youngest.After(g.youngest) {
			g.youngest = youngest
		}
	}
	out := make([]demandGroup, 0, len(byID))
	for _, id := range sortedKeys(byID) {
		if g := byID[id]; g.Weight > 0 {
			out = append(out, *g)
		}
	}
	return out
}

// demandID names a signature: readable, and stable over restarts.
func demandID(vpn, policy string, fwd, rev []plan.Pair) string {
	var b strings.Builder
	for _, d := range [][]plan.Pair{fwd, rev} {
		for _, p := range d {
			fmt.Fprintf(&b, "%q>%q,", p.Ingress, p.Egress)
		}
		b.WriteByte('|')
	}
	h := sha256.Sum256([]byte(fmt.Sprintf("%q %q %s", vpn, policy, b.String())))
	return vpn + "." + policy + "." + hex.EncodeToString(h[:6])
}
