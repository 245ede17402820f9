package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/apps/tunnelmanager/plan/planfile"
	"mpbox/topology"
	"mpbox/topology/disjoint"
	"mpbox/topology/importer"
)

// planFlags are the flags of mpbox plan on files.
type planFlags struct {
	topology, lsps, demands string
	scope, metric, owner    string
	maxNew                  int
	tidy                    bool
	out                     output
}

func newPlanCmd() *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use:   "plan --topology FILE --lsps FILE --demands FILE",
		Short: "Plan which LSPs there should be and which subflows ride them",
		Long: `Plan, from files and without a controller, which LSPs there should be and which of
them each slot (subflow) of each demand rides, both directions. Objective, in this
order: disjointness of every pair of slots of a demand, overload, number of changes,
path cost. LSPs that there are come before new ones; LSPs whose name does not begin
with the owner's prefix are used and never changed. Operations come in an order that
never leaves a slot without a path: "after" names those that have to be done before.

The subcommands ask a running mpbox for its plans instead. The formats of the files:
mpbox config schema --for topology|lsps|demands.`,
		Example: `  mpbox plan --topology net.yaml --lsps lsps.yaml --demands demands.yaml
  mpbox plan --topology net.yaml --lsps lsps.yaml --demands demands.yaml --scope evaluate
  mpbox plan --topology net.yaml --demands demands.yaml --json | jq '.ops[] | select(.op == "signal")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.topology, "topology", "", "topology file, as for mpbox paths")
	fl.StringVar(&f.lsps, "lsps", "", "file with the LSPs that there are; without it there are none")
	fl.StringVar(&f.demands, "demands", "", "file with the demands, and what their slots ride now")
	fl.StringVar(&f.scope, "scope", "incremental", "evaluate: only score; incremental: touch as little as possible; redesign: assign all anew")
	fl.StringVar(&f.metric, "metric", "te", "what path cost is, for demands that do not say: te, igp, delay (microseconds), hops")
	fl.StringVar(&f.owner, "owner", "", "name prefix of the LSPs that may be changed (default: mpbox/INSTANCE/ of the first LSP that has one, else "+planfile.DefaultOwner+")")
	fl.IntVar(&f.maxNew, "max-new", 0, "signal at most so many LSPs; 0 for no limit")
	fl.BoolVar(&f.tidy, "tidy", false, "also give up LSPs that can be spared")
	f.out.addFlags(cmd)
	for _, name := range []string{"topology", "demands"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
	cmd.AddCommand(newPlanClientCmds()...)
	return cmd
}

var planScopes = map[string]plan.Scope{"evaluate": plan.Evaluate, "incremental": plan.Incremental, "redesign": plan.Redesign}

func (f *planFlags) run(cmd *cobra.Command) error {
	asJSON, err := f.out.isJSON()
	if err != nil {
		return err
	}
	scope, ok := planScopes[f.scope]
	if !ok {
		return usagef("--scope %s: want evaluate, incremental or redesign", f.scope)
	}
	metric, ok := disjoint.ParseMetric(f.metric)
	if !ok {
		return usagef("--metric %s: want te, igp, delay or hops", f.metric)
	}
	if f.maxNew < 0 {
		return usagef("--max-new %d: want at least 0", f.maxNew)
	}
	im, err := importer.Load(f.topology)
	if err != nil {
		return err
	}
	for _, n := range im.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", n)
	}
	in, err := planfile.Load(im.TED, f.lsps, f.demands, f.owner, metric)
	if err != nil {
		return err
	}
	in.Scope, in.MaxNewLSPs, in.Tidy = scope, f.maxNew, f.tidy
	res, err := interruptible(cmd.Context(), func() (plan.Result, error) { return plan.Plan(in) })
	if err != nil {
		return err
	}
	doc := newPlanDocument(f.scope, in, res)
	if asJSON {
		return printJSON(cmd.OutOrStdout(), doc)
	}
	return doc.print(cmd.OutOrStdout())
}

// planDocument is what mpbox plan --json prints. Lists are never null.
type planDocument struct {
	Scope   string        `json:"scope"`
	Owner   string        `json:"owner"`
	Demands []planDemand  `json:"demands"`
	Ops     []planOp      `json:"ops"`
	LSPs    []planLSPLine `json:"lsps"`
}

type planDemand struct {
	ID         string          `json:"id"`
	Requested  disjoint.Level  `json:"requested"`
	Before     disjoint.Level  `json:"before"`
	After      disjoint.Level  `json:"after"`
	Unmet      string          `json:"unmet"`
	Gain       float64         `json:"gain"`
	Changed    int             `json:"changed"`
	Assignment planAssignment  `json:"assignment"`
	Shared     disjoint.Shared `json:"shared"`
}

type planAssignment struct {
	Forward []string `json:"forward"`
	Reverse []string `json:"reverse"`
}

type planOp struct {
	N         int      `json:"n"`
	PE        string   `json:"pe"`
	Op        string   `json:"op"`
	LSP       string   `json:"lsp"`
	Route     []string `json:"route"`
	After     []int    `json:"after"`
	Demand    string   `json:"demand,omitempty"`
	Direction string   `json:"direction,omitempty"`
	Slot      *int     `json:"slot,omitempty"`
}

// planLSPLine is an LSP as it is once the plan has been carried out.
type planLSPLine struct {
	Name    string   `json:"name"`
	Ingress string   `json:"ingress"`
	Egress  string   `json:"egress"`
	Route   []string `json:"route"`
	Links   []string `json:"links"`
	Owned   bool     `json:"owned"`
	New     bool     `json:"new"`
	State   string   `json:"state"`
	Slots   int      `json:"slots"`
}

func newPlanDocument(scope string, in plan.Input, res plan.Result) planDocument {
	doc := planDocument{Scope: scope, Owner: in.Owner, Demands: []planDemand{}, Ops: []planOp{}, LSPs: []planLSPLine{}}
	slots := map[topology.LSPKey]int{}
	for i, o := range res.Demands { // in the order of the input's
		a := planAssignment{Forward: o.Assignment.Forward, Reverse: o.Assignment.Reverse}
		for dir, pairs := range [2][]plan.Pair{in.Demands[i].Forward, in.Demands[i].Reverse} {
			for j, name := range [2][]string{a.Forward, a.Reverse}[dir] {
				slots[topology.LSPKey{Ingress: pairs[j].Ingress, Name: name}]++
			}
		}
		doc.Demands = append(doc.Demands, planDemand{
			ID: o.ID, Requested: o.Requested, Before: o.Before, After: o.After, Unmet: o.Unmet, Gain: o.Gain,
			Changed: o.Changed, Assignment: a, Shared: o.Shared,
		})
	}
	routes := map[topology.LSPKey][]string{}
	line := func(l topology.LSP, isNew bool) planLSPLine {
		out := planLSPLine{
			Name: l.Name, Ingress: l.Ingress, Egress: l.Egress, Owned: strings.HasPrefix(l.Name, in.Owner), New: isNew,
			State: l.Oper.String(), Slots: slots[l.Key()],
		}
		if isNew {
			out.State = "planned"
		}
		out.Route, out.Links = namesOfRoute(in.TED, &l)
		routes[l.Key()] = out.Route
		return out
	}
	for _, l := range in.LSPs {
		if x := line(l, false); !slices.Contains(res.Release, l.Key()) {
			doc.LSPs = append(doc.LSPs, x)
		}
	}
	for _, l := range res.Signal {
		doc.LSPs = append(doc.LSPs, line(l, true))
	}
	for _, s := range plan.Steps(in, res) {
		op := planOp{N: s.N, PE: s.PE, Op: string(s.Op), LSP: s.LSP, Route: routes[topology.LSPKey{Ingress: s.PE, Name: s.LSP}], After: s.After, Demand: s.Demand, Direction: s.Direction}
		if op.Route == nil {
			op.Route = []string{}
		}
		if s.Demand != "" {
			op.Slot = &s.Slot
		}
		doc.Ops = append(doc.Ops, op)
	}
	return doc
}

// namesOfRoute gives the nodes and links that an LSP passes; empty where that is
// not known.
func namesOfRoute(ted *topology.TED, l *topology.LSP) (nodes, links []string) {
	nodes, links = []string{}, []string{}
	hops := l.RRO
	if len(hops) == 0 {
		hops = l.ERO
	}
	route, err := ted.Route(l.Ingress, hops)
	if err != nil || len(route) == 0 {
		return nodes, links
	}
	nodes = append(nodes, l.Ingress)
	for _, li := range route {
		nodes = append(nodes, ted.Nodes()[ted.Links()[li].To].Name)
		links = append(links, ted.Links()[li].Name)
	}
	return nodes, links
}

func (d *planDocument) print(w io.Writer) error {
	rows := [][]string{}
	for _, x := range d.Demands {
		rows = append(rows, []string{x.ID, x.Requested.String(), x.Before.String(), x.After.String(), strconv.FormatFloat(x.Gain, 'f', 2, 64), strconv.Itoa(x.Changed), x.Unmet})
	}
	if err := printTable(w, []string{"demand", "requested", "before", "after", "gain", "changed", "unmet"}, rows); err != nil {
		return err
	}
	if len(d.Ops) == 0 {
		_, err := fmt.Fprintln(w, "\nnothing to do")
		return err
	}
	rows = rows[:0]
	for _, o := range d.Ops {
		after := make([]string, len(o.After))
		for i, n := range o.After {
			after[i] = strconv.Itoa(n)
		}
		what := strings.Join(o.Route, " > ")
		if o.Slot != nil {
			what = fmt.Sprintf("%s, %s slot %d", o.Demand, o.Direction, *o.Slot+1)
		}
		rows = append(rows, []string{strconv.Itoa(o.N), o.PE, o.Op, o.LSP, what, strings.Join(after, ",")})
	}
	fmt.Fprintln(w)
	return printTable(w, []string{"n", "pe", "op", "lsp", "what", "after"}, rows)
}
