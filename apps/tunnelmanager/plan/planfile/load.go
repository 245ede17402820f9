package planfile

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// DefaultOwner is the name prefix of owned LSPs where no file shows another.
const DefaultOwner = "mpbox/mpbox/"

// Load reads an LSP file ("" for no LSPs) and a demand file and makes the input of
// a plan of them. Owner "" is taken from the first LSP whose name begins with
// "mpbox/"; metric is that of demands that name none.
func Load(ted *topology.TED, lspFile, demandFile, owner string, metric disjoint.Metric) (plan.Input, error) {
	lspData := []byte("lsps: []")
	if lspFile != "" {
		var err error
		if lspData, err = read(lspFile); err != nil {
			return plan.Input{}, err
		}
	}
	demandData, err := read(demandFile)
	if err != nil {
		return plan.Input{}, err
	}
	return Parse(ted, lspFile, lspData, demandFile, demandData, owner, metric)
}

// Parse is Load on what was read already. The error is of type Problems.
func Parse(ted *topology.TED, lspFile string, lspData []byte, demandFile string, demandData []byte, owner string, metric disjoint.Metric) (plan.Input, error) {
	ted, err := WithAddresses(ted)
	if err != nil {
		return plan.Input{}, err
	}
	in := plan.Input{TED: ted, Owner: owner, Current: map[string]plan.Assignment{}}
	defaults := map[plan.Pair]string{}

	var lsps LSPs
	d := &decoder{file: lspFile}
	d.decode(lspData, &lsps)
	seen := map[topology.LSPKey]bool{}
	for i := range lsps.LSPs {
		l, at := &lsps.LSPs[i], fmt.Sprintf("lsps[%d]", i)
		out, ok := d.lsp(ted, l, at)
		if !ok {
			continue
		}
		if seen[out.Key()] {
			d.add(d.at[at+".name"], "%s: LSP %q of %s is there already", at, l.Name, out.Ingress)
		}
		seen[out.Key()] = true
		in.LSPs = append(in.LSPs, out)
		if q := (plan.Pair{Ingress: out.Ingress, Egress: out.Egress}); l.Default {
			if other, dup := defaults[q]; dup {
				d.add(d.at[at+".default"], "%s: %q is the default from %s to %s already", at, other, q.Ingress, q.Egress)
			}
			defaults[q] = out.Name
		}
		if parts := strings.SplitN(out.Name, "/", 3); in.Owner == "" && len(parts) == 3 && parts[0] == "mpbox" {
			in.Owner = parts[0] + "/" + parts[1] + "/"
		}
	}
	if err := d.err(); err != nil {
		return plan.Input{}, err
	}
	if in.Owner == "" {
		in.Owner = DefaultOwner
	}
	in.Default = func(q plan.Pair) (string, bool) {
		name, ok := defaults[q]
		return name, ok
	}

	var demands Demands
	d = &decoder{file: demandFile}
	d.decode(demandData, &demands)
	ids := map[string]bool{}
	for i := range demands.Demands {
		f, at := &demands.Demands[i], fmt.Sprintf("demands[%d]", i)
		if ids[f.ID] && f.ID != "" {
			d.add(d.at[at+".id"], "%s: demand %q is there already", at, f.ID)
		}
		ids[f.ID] = true
		in.Demands = append(in.Demands, d.demand(ted, f, at, metric))
		if f.Current != nil {
			d.current(f, &in.Demands[i], at)
			in.Current[f.ID] = plan.Assignment{Forward: f.Current.Forward, Reverse: f.Current.Reverse}
		}
	}
	return in, d.err()
}

// place gives the node of what a path names, or of what holds it.
func (d *decoder) node(ted *topology.TED, name, path string) bool {
	n := d.at[path]
	if name == "" {
		d.add(d.at[path[:strings.LastIndexByte(path, '.')]], "%s is missing", path)
		return false
	}
	if _, ok := ted.NodeIndex(name); !ok {
		d.add(n, "%s: node %q is not in the topology", path, name)
		return false
	}
	return true
}

func (d *decoder) lsp(ted *topology.TED, f *LSP, at string) (topology.LSP, bool) {
	l := topology.LSP{Name: f.Name, Ingress: f.Ingress, Egress: f.Egress, AdminUp: true, Bandwidth: float64(f.Bandwidth)}
	here, was := d.at[at], len(d.problems)
	if f.Name == "" {
		d.add(here, "%s.name is missing", at)
	}
	switch f.State {
	case "", "up":
		l.Oper = topology.OperUp
	case "down":
		l.Oper = topology.OperDown
	case "unknown":
	default:
		d.add(d.at[at+".state"], "%s.state: %q: want up, down or unknown", at, f.State)
	}
	var links []int
	switch {
	case len(f.Route) > 0 && len(f.Links) > 0:
		d.add(here, "%s: give route or links, not both", at)
	case len(f.Route) == 1:
		d.add(d.at[at+".route"], "%s.route: want at least two nodes", at)
	case len(f.Route) > 0:
		links = d.alongNodes(ted, f.Route, at)
	case len(f.Links) > 0:
		links = d.alongLinks(ted, f, at)
	default:
		d.node(ted, f.Ingress, at+".ingress")
		d.node(ted, f.Egress, at+".egress")
	}
	if len(d.problems) > was {
		return l, false
	}
	if len(links) > 0 {
		first, last := ted.Links()[links[0]], ted.Links()[links[len(links)-1]]
		for _, end := range []struct {
			key  string
			node int
			name *string
		}{{"ingress", first.From, &l.Ingress}, {"egress", last.To, &l.Egress}} {
			is := ted.Nodes()[end.node].Name
			if *end.name != "" && *end.name != is {
				d.add(d.at[at+"."+end.key], "%s.%s: %q, but the route has %q there", at, end.key, *end.name, is)
			}
			*end.name = is
		}
		l.RRO = ted.ERO(links)
	}
	return l, len(d.problems) == was
}

// alongNodes finds the links between neighbours.
func (d *decoder) alongNodes(ted *topology.TED, route []string, at string) []int {
	var links []int
	prev := -1
	for i, name := range route {
		p := fmt.Sprintf("%s.route[%d]", at, i)
		n, ok := ted.NodeIndex(name)
		if !ok {
			d.add(d.at[p], "%s: node %q is not in the topology", p, name)
			return nil
		}
		if prev >= 0 {
			found := -1
			for _, li := range ted.Out(prev) {
				if ted.Links()[li].To != n {
					continue
				}
				if found >= 0 {
					d.add(d.at[p], "%s: %s and %s have several links: name these in links instead of route", p, route[i-1], name)
					return nil
				}
				found = li
			}
			if found < 0 {
				d.add(d.at[p], "%s: %s has no link to %s", p, route[i-1], name)
				return nil
			}
			links = append(links, found)
		}
		prev = n
	}
	return links
}

// alongLinks follows named links; the first one's direction comes from ingress, or
// from what the second one joins.
func (d *decoder) alongLinks(ted *topology.TED, f *LSP, at string) []int {
	byName := map[string][]int{}
	for i, l := range ted.Links() {
		byName[l.Name] = append(byName[l.Name], i)
	}
	var walk func(i, from int) []int
	walk = func(i, from int) []int {
		if i == len(f.Links) {
			return []int{}
		}
		for _, li := range byName[f.Links[i]] {
			if l := ted.Links()[li]; l.From == from {
				if rest := walk(i+1, l.To); rest != nil {
					return append([]int{li}, rest...)
				}
			}
		}
		return nil
	}
	for i, name := range f.Links {
		if p := fmt.Sprintf("%s.links[%d]", at, i); len(byName[name]) == 0 {
			d.add(d.at[p], "%s: link %q is not in the topology", p, name)
			return nil
		}
	}
	for _, li := range byName[f.Links[0]] {
		from := ted.Links()[li].From
		if f.Ingress != "" && ted.Nodes()[from].Name != f.Ingress {
			continue
		}
		if links := walk(0, from); links != nil {
			return links
		}
	}
	d.add(d.at[at+".links"], "%s.links: these links do not follow each other", at)
	return nil
}

func (d *decoder) demand(ted *topology.TED, f *Demand, at string, metric disjoint.Metric) plan.Demand {
	out := plan.Demand{ID: f.ID, VPN: f.VPN, Policy: f.Policy, Weight: 1, Level: disjoint.NodeSRLG, Strict: f.Strict, Metric: metric, Bandwidth: float64(f.Bandwidth), Hold: f.Hold}
	if f.ID == "" {
		d.add(d.at[at], "%s.id is missing", at)
	}
	if f.Weight != nil {
		out.Weight = *f.Weight
		if out.Weight < 1 {
			d.add(d.at[at+".weight"], "%s.weight: %d: want at least 1", at, out.Weight)
		}
	}
	if f.Disjoint.set {
		out.Level = f.Disjoint.Level
	}
	if f.Metric.set {
		out.Metric = f.Metric.Metric
	}
	d.slots(ted, f, &out, at)
	out.Template.SetupPriority, out.Template.HoldPriority = 7, 7
	if t := f.LSP; t != nil {
		out.Template.Bandwidth = float64(t.Bandwidth)
		for _, pr := range []struct {
			key  string
			from *uint8
			to   *uint8
		}{{"setup_priority", t.SetupPriority, &out.Template.SetupPriority}, {"hold_priority", t.HoldPriority, &out.Template.HoldPriority}} {
			if pr.from != nil {
				*pr.to = *pr.from
			}
			if *pr.to > 7 {
				d.add(d.at[at+".lsp."+pr.key], "%s.lsp.%s: %d: want 0 to 7", at, pr.key, *pr.to)
			}
		}
	}
	if c := f.Constraints; c != nil {
		out.Constraints = disjoint.Constraints{
			IncludeAny: c.IncludeAny, IncludeAll: c.IncludeAll, ExcludeAny: c.ExcludeAny,
			MaxHops: c.MaxHops, MaxDelay: time.Duration(c.MaxDelay), MaxDelaySpread: time.Duration(c.MaxDelaySpread),
			AvoidNodes: c.AvoidNodes, RequireNodes: c.RequireNodes,
		}
		for i, n := range c.AvoidNodes {
			d.node(ted, n, fmt.Sprintf("%s.constraints.avoid_nodes[%d]", at, i))
		}
		for i, n := range c.RequireNodes {
			d.node(ted, n, fmt.Sprintf("%s.constraints.require_nodes[%d]", at, i))
		}
		if c.MaxHops < 0 {
			d.add(d.at[at+".constraints.max_hops"], "%s.constraints.max_hops: %d: want at least 0", at, c.MaxHops)
		}
	}
	return out
}

func (d *decoder) slots(ted *topology.TED, f *Demand, out *plan.Demand, at string) {
	if len(f.Forward) > 0 {
		if f.From != "" || f.To != "" || f.Slots != nil {
			d.add(d.at[at+".forward"], "%s: give forward, or from, to and slots, not both", at)
		}
		out.Forward = d.pairs(ted, f.Forward, at+".forward")
	} else {
		n := 2
		if f.Slots != nil {
			n = *f.Slots
		}
		if n < 1 || n > 64 {
			d.add(d.at[at+".slots"], "%s.slots: %d: want 1 to 64", at, n)
			n = 0
		}
		if d.node(ted, f.From, at+".from") && d.node(ted, f.To, at+".to") && f.From == f.To {
			d.add(d.at[at+".to"], "%s: from and to are both %q", at, f.To)
		}
		for range n {
			out.Forward = append(out.Forward, plan.Pair{Ingress: f.From, Egress: f.To})
		}
	}
	switch {
	case f.OneWay && len(f.Reverse) > 0:
		d.add(d.at[at+".reverse"], "%s: one_way leaves no reverse direction", at)
	case f.OneWay:
	case len(f.Reverse) > 0:
		out.Reverse = d.pairs(ted, f.Reverse, at+".reverse")
		if len(out.Reverse) != len(out.Forward) {
			d.add(d.at[at+".reverse"], "%s.reverse: %d slots, but forward has %d: each subflow has both directions", at, len(out.Reverse), len(out.Forward))
		}
	default:
		for _, q := range out.Forward {
			out.Reverse = append(out.Reverse, plan.Pair{Ingress: q.Egress, Egress: q.Ingress})
		}
	}
}

func (d *decoder) pairs(ted *topology.TED, ps []Pair, at string) []plan.Pair {
	var out []plan.Pair
	for i, q := range ps {
		p := fmt.Sprintf("%s[%d]", at, i)
		if d.node(ted, q.From, p+".from") && d.node(ted, q.To, p+".to") && q.From == q.To {
			d.add(d.at[p+".to"], "%s: from and to are both %q", p, q.To)
		}
		out = append(out, plan.Pair{Ingress: q.From, Egress: q.To})
	}
	return out
}

func (d *decoder) current(f *Demand, out *plan.Demand, at string) {
	for _, x := range []struct {
		key   string
		names []string
		slots int
	}{{"forward", f.Current.Forward, len(out.Forward)}, {"reverse", f.Current.Reverse, len(out.Reverse)}} {
		if len(x.names) > x.slots {
			p := at + ".current." + x.key
			d.add(d.at[p], "%s: %d LSPs for %d slots", p, len(x.names), x.slots)
		}
	}
}

// WithAddresses gives a snapshot in which every link end has an address, so that
// routes can be told by their hops: topology files of researchers have none. Made
// up addresses are from 240.0.0.0/4, which nobody uses.
func WithAddresses(t *topology.TED) (*topology.TED, error) {
	missing := false
	for _, l := range t.Links() {
		missing = missing || !l.LocalAddr.IsValid() || !l.RemoteAddr.IsValid()
	}
	if !missing {
		return t, nil
	}
	next := uint32(240) << 24
	made := func() netip.Addr {
		for {
			next++
			a := netip.AddrFrom4([4]byte{byte(next >> 24), byte(next >> 16), byte(next >> 8), byte(next)})
			if _, taken := t.NodeByAddr(a); !taken {
				return a
			}
		}
	}
	b := topology.Builder{Version: t.Version()}
	for _, n := range t.Nodes() {
		b.AddNode(n)
	}
	links := make([]topology.Link, len(t.Links()))
	copy(links, t.Links())
	for i := range links {
		l := &links[i]
		if !l.LocalAddr.IsValid() {
			l.LocalAddr = made()
		}
		if !l.RemoteAddr.IsValid() {
			l.RemoteAddr = made()
		}
		if l.Reverse > i {
			r := &links[l.Reverse]
			r.LocalAddr, r.RemoteAddr = l.RemoteAddr, l.LocalAddr
		}
	}
	// Links keep their order: indexes stay what they were.
	for i := range links {
		if links[i].Reverse < 0 {
			b.AddOneWay(links[i])
		} else {
			b.AddLink(links[i])
		}
	}
	return b.Build()
}
