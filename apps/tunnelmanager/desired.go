package tunnelmanager

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/topology"
)

// protoTCP is the IP protocol number of TCP.
const protoTCP = 6

// EdgeRule is what the edge bridge does with one bound flow: count it, and give
// its packets a DSCP where it is marked or where the customer's is restored.
type EdgeRule struct {
	// ID is Key() of the rest: stable for a flow and place, over restarts.
	ID         uint64
	Attachment string
	// FromPE: the rule is for packets that come back from the provider.
	FromPE   bool
	Src, Dst netip.AddrPort
	// Mark sets DSCP; otherwise the rule only counts.
	Mark bool
	DSCP uint8
}

// Key gives the number of a rule: it follows from the place and the tuple, so that
// a rule that was read back is recognised.
func (r EdgeRule) Key() uint64 {
	b := strconv.AppendQuote(make([]byte, 0, 160), r.Attachment)
	b = strconv.AppendBool(append(b, ' '), r.FromPE)
	h := sha256.Sum256(appendEnds(b, r.Src, r.Dst))
	return binary.BigEndian.Uint64(h[:8])
}

// CountRule is the edge rule that counts a flow where it enters.
func (f Flow) CountRule() EdgeRule {
	r := EdgeRule{Attachment: f.Ingress, Src: f.Src, Dst: f.Dst}
	r.ID = r.Key()
	return r
}

func appendEnds(b []byte, src, dst netip.AddrPort) []byte {
	return dst.AppendTo(append(src.AppendTo(append(b, ' ')), ' '))
}

// desired is what should be on the PEs and the edge bridges. It is derived, never
// stored: from the demands, their assignments and the PEs' capabilities.
type desired struct {
	// lsps and ftns are by PE, then by name.
	lsps map[string]map[string]topology.LSP
	ftns map[string]map[string]topology.FTN
	// rules by ID; a mark rule waits for the FTNs it needs.
	rules map[uint64]desiredRule
	// bindings by name, State not yet filled in.
	bindings map[string]*Binding
}

type desiredRule struct {
	EdgeRule
	// needs are the names of the FTNs at pe that must have been read back before
	// packets may be marked.
	pe    string
	needs []string
	flow  string // its binding's name
	// restore is the far edge's rule that must have been read back before.
	restore uint64
}

// rule adds an edge rule that a binding is read back by.
func (d *desired) rule(b *Binding, r desiredRule) {
	r.ID, r.flow = r.Key(), b.Name
	d.rules[r.ID] = r
	b.rules = append(b.rules, r.ID)
}

// counted has a binding's flow counted where it enters, if a bridge stands there.
func (d *desired) counted(b *Binding, ingress Attachment) {
	if !ingress.NoBridge {
		d.rule(b, desiredRule{EdgeRule: b.Flow.CountRule()})
	}
}

// weighed has the flows of connections counted that are not bound yet: their volume may
// let them in.
func (d *desired) weighed(g *demandGroup, at map[string]Attachment) {
	for _, s := range slices.Concat(g.slots...) {
		for _, f := range s.Flows {
			if !at[f.Ingress].NoBridge {
				r := f.CountRule()
				d.rules[r.ID] = desiredRule{EdgeRule: r}
			}
		}
	}
}

// desireInput is what desire works from.
type desireInput struct {
	owner       string
	groups      []demandGroup
	assignments map[string]plan.Assignment
	// specs are the owned LSPs as they were planned, by name.
	specs       map[string]topology.LSP
	attachments map[string]Attachment
	// networks are the customers' behind each PE.
	networks map[site][]netip.Prefix
	steer    map[string]Steer // by PE
	// isDefault tells whether an LSP is what the PE's own routing gives a pair.
	isDefault func(plan.Pair, string) bool
	// ride tells which LSP a flow is bound to now; "" for none.
	ride func(name string) string
	// read tells whether a PE has been read: before, no class is handed out, since
	// the LSP may be its default one, and nothing else is known of what it maps.
	read func(pe string) bool
	// classes are the DSCP values in use: "pe lsp" -> DSCP.
	classes *classTable
}

// desire derives what should be there.
func desire(in desireInput) *desired {
	d := &desired{
		lsps: map[string]map[string]topology.LSP{}, ftns: map[string]map[string]topology.FTN{},
		rules: map[uint64]desiredRule{}, bindings: map[string]*Binding{},
	}
	for gi := range in.groups {
		g := &in.groups[gi]
		a, ok := in.assignments[g.ID]
		if !ok {
			if g.limits.MinBytes > 0 {
				d.weighed(g, in.attachments)
			}
			continue
		}
		for dir, lsps := range [2][]string{a.Forward, a.Reverse} {
			pairs := [2][]plan.Pair{g.Forward, g.Reverse}[dir]
			for i, name := range lsps {
				if spec, ok := in.specs[name]; ok && i < len(pairs) && spec.Ingress == pairs[i].Ingress {
					put(d.lsps, spec.Ingress, name, spec)
				}
			}
			for m := range g.members {
				for i, s := range placeInSlots(g, m, a, in) {
					if i < len(lsps) && lsps[i] != "" {
						d.bind(in, g, g.members[m], s, Direction(dir), i, pairs[i], lsps[i])
					}
				}
			}
		}
	}
	return d
}

// placeInSlots gives the subflow of each slot for one member: those that ride a
// slot's LSP already stay, the others fill what is left of their kind, by age.
func placeInSlots(g *demandGroup, member int, a plan.Assignment, in desireInput) []*Subflow {
	subs := g.slots[member]
	out := make([]*Subflow, len(subs))
	used := make([]bool, len(subs))
	rides := make([][2]string, len(subs))
	for i, s := range subs {
		rides[i] = [2]string{in.ride(flowName(in.owner, s.Flows[C2S])), in.ride(flowName(in.owner, s.Flows[S2C]))}
	}
	same := func(i, j int) bool { return g.Forward[i] == g.Forward[j] && g.Reverse[i] == g.Reverse[j] }
	score := func(slot, sub int) int {
		n := 0
		for dir, lsps := range [2][]string{a.Forward, a.Reverse} {
			if slot < len(lsps) && lsps[slot] != "" && rides[sub][dir] == lsps[slot] {
				n++
			}
		}
		return n
	}
	for want := 2; want >= 0; want-- {
		for i := range out {
			for j := range subs {
				if out[i] == nil && !used[j] && same(i, j) && score(i, j) >= want {
					out[i], used[j] = subs[j], true
				}
			}
		}
	}
	return out
}

func (d *desired) bind(in desireInput, g *demandGroup, c *Connection, s *Subflow, dir Direction, slot int, pair plan.Pair, lsp string) {
	f := s.Flows[dir]
	b := &Binding{
		Name: flowName(in.owner, f), Connection: c.ID, Token: c.Token, Subflow: s.ID, Direction: dir, VPN: c.VPN,
		Demand: g.ID, Slot: slot, PE: pair.Ingress, EgressPE: pair.Egress, Flow: f, LSP: lsp,
		Default: in.isDefault(pair, lsp), Steer: in.steer[pair.Ingress], State: BindingPending,
	}
	d.bindings[b.Name] = b
	at := in.attachments[f.Ingress]
	if b.Default {
		d.counted(b, at)
		return
	}
	if b.Steer != SteerClass {
		b.FTN, b.FEC = b.Name, topology.FEC{
			Interface: at.Interface, Protocol: protoTCP,
			Src: host(f.Src.Addr()), Dst: host(f.Dst.Addr()), SrcPort: f.Src.Port(), DstPort: f.Dst.Port(),
		}
		put(d.ftns, b.PE, b.FTN, topology.FTN{Name: b.FTN, LSP: lsp, FEC: b.FEC})
		d.counted(b, at)
		return
	}
	for _, a := range []Attachment{at, in.attachments[f.Egress]} {
		if a.NoBridge {
			b.State, b.Reason = BindingFailed, "class steering needs an edge bridge at "+a.Name+", to mark packets: use ftn"
			d.counted(b, at)
			return
		}
	}
	if !in.classes.has(pair, lsp) && !in.read(b.PE) {
		d.counted(b, at)
		return
	}
	dscp, ok := in.classes.get(pair, lsp, func(q plan.Pair) bool { return shareNetwork(in.attachments, pair, q) })
	if !ok {
		b.State, b.Reason = BindingFailed, fmt.Sprintf("all %d classes between %s and %s are in use", len(classValues), pair.Ingress, pair.Egress)
		d.counted(b, at)
		return
	}
	b.Class = dscp
	var needs []string
	for _, p := range in.networks[siteOf(in.attachments[f.Egress])] {
		if !p.Contains(f.Dst.Addr()) {
			continue
		}
		name := fmt.Sprintf("%sclass/%s/%d/%s", in.owner, at.Name, dscp, p)
		fec := topology.FEC{Interface: at.Interface, Dst: p, DSCP: dscp, HasDSCP: true}
		put(d.ftns, b.PE, name, topology.FTN{Name: name, LSP: lsp, FEC: fec})
		if needs = append(needs, name); len(needs) == 1 {
			b.FTN, b.FEC = name, fec
		}
	}
	if len(needs) == 0 {
		b.State, b.Reason = BindingFailed, fmt.Sprintf("class steering needs the prefixes behind %s: set prefixes of attachment %s", pair.Egress, f.Egress)
	}
	mark := b.Flow.CountRule()
	mark.Mark, mark.DSCP = len(needs) > 0, dscp
	// The far edge gives the customer its own DSCP back, before anything is marked.
	restore := EdgeRule{Attachment: f.Egress, FromPE: true, Src: f.Src, Dst: f.Dst, Mark: true, DSCP: f.DSCP}
	d.rule(b, desiredRule{EdgeRule: restore})
	d.rule(b, desiredRule{EdgeRule: mark, pe: b.PE, needs: needs, restore: restore.Key()})
	b.needs = needs
}

// site is where the networks of a VPN are: behind a PE.
type site struct{ vpn, pe string }

func siteOf(a Attachment) site { return site{a.VPN, a.PE} }

// networksOf gives the networks of each site, in the order of its attachments' names.
func networksOf(at map[string]Attachment) map[site][]netip.Prefix {
	out := map[site][]netip.Prefix{}
	for _, name := range sortedKeys(at) {
		a := at[name]
		for _, p := range a.Prefixes {
			if s := siteOf(a); !slices.Contains(out[s], p) {
				out[s] = append(out[s], p)
			}
		}
	}
	return out
}

// flowName names a flow for the life of its tuple, over restarts: it carries no
// number that is handed out. Owner ends in "/".
func flowName(owner string, f Flow) string {
	h := sha256.Sum256(appendEnds(append(make([]byte, 0, 160), f.Ingress...), f.Src, f.Dst))
	return string(hex.AppendEncode(append(append(make([]byte, 0, 64), owner...), "flow/"...), h[:8]))
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func put[V any](m map[string]map[string]V, k1, k2 string, v V) {
	if m[k1] == nil {
		m[k1] = map[string]V{}
	}
	m[k1][k2] = v
}
