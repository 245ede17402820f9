package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mpbox/topology"
	"mpbox/topology/disjoint"
	"mpbox/topology/importer"
)

// pathsFlags are the flags of mpbox paths.
type pathsFlags struct {
	file   string
	level  string
	metric string
	query  disjoint.Query
	bw     string
	out    output
}

func newPathsCmd() *cobra.Command {
	var f pathsFlags
	cmd := &cobra.Command{
		Use:   "paths --topology FILE --from NODE --to NODE",
		Short: "Find paths through a network that share as little as possible",
		Long: `Find k simple, distinct paths that share as little as possible: first shared risk
groups and inner nodes where asked for, then the cost of links used twice (either
direction), then the total cost. The answer tells what was achieved and what is
still shared; with --strict, less than what was asked for is an error.

Several --from lead each to the one --to, one path for each, or the reverse; as
many --to as --from pair up. A path through an end of another one shares that node
with it: where it fails, both are gone. Topology files: mpbox YAML, SNDlib (native, XML,
JSON), GML, GraphML, FRR's "show ip ospf|isis mpls-te database json".`,
		Example: `  mpbox paths --topology germany50.xml --from Berlin --to Muenchen -k 3 --disjoint node
  mpbox paths --topology net.yaml --from A --to B --disjoint node-srlg --strict --json
  mpbox paths --topology net.yaml --from pe1 --from pe2 --to pe3 --max-delay-spread 5ms`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl, q := cmd.Flags(), &f.query
	fl.StringVar(&f.file, "topology", "", "topology file")
	fl.StringArrayVar(&q.From, "from", nil, "ingress node; may be given several times")
	fl.StringArrayVar(&q.To, "to", nil, "egress node; may be given several times")
	fl.IntVarP(&q.K, "paths", "k", 2, "how many paths, with one --from and one --to")
	fl.StringVar(&f.level, "disjoint", "node", "what paths should not share: node, link, srlg, node-srlg; none: the k shortest")
	fl.StringVar(&f.metric, "metric", "te", "what cost is: te, igp, delay (microseconds), hops")
	fl.BoolVar(&q.Strict, "strict", false, "fail unless the requested disjointness is achieved")
	c := &q.Constraints
	fl.Uint32Var(&c.IncludeAny, "include-any", 0, "mask of admin groups, of which each link must have one")
	fl.Uint32Var(&c.IncludeAll, "include-all", 0, "mask of admin groups that each link must have")
	fl.Uint32Var(&c.ExcludeAny, "exclude-any", 0, "mask of admin groups that no link may have")
	fl.StringVar(&f.bw, "bandwidth", "", "bandwidth that each link must have unreserved, as 10M")
	fl.Uint8Var(&c.Priority, "priority", 0, "setup priority at which it must be unreserved, 0 to 7")
	fl.IntVar(&c.MaxHops, "max-hops", 0, "most links of a path; 0 for any")
	fl.DurationVar(&c.MaxDelay, "max-delay", 0, "most delay of a path; 0 for any")
	fl.DurationVar(&c.MaxDelaySpread, "max-delay-spread", 0, "most difference in delay between the paths; 0 for any")
	fl.StringArrayVar(&c.AvoidNodes, "avoid", nil, "node that no path may pass; may be given several times")
	fl.StringArrayVar(&c.RequireNodes, "require", nil, "node that each path must pass; may be given several times")
	fl.IntVar(&q.Effort, "effort", 20*disjoint.DefaultEffort, "steps of search where no fast method is exact")
	f.out.addFlags(cmd)
	for _, name := range []string{"topology", "from", "to"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
	return cmd
}

// check turns the flags' words into the query.
func (f *pathsFlags) check(cmd *cobra.Command) error {
	q := &f.query
	if err := q.Level.UnmarshalText([]byte(f.level)); err != nil {
		return usagef("--disjoint: %v", err)
	}
	metric, ok := disjoint.ParseMetric(f.metric)
	if !ok {
		return usagef("--metric %s: want te, igp, delay or hops", f.metric)
	}
	q.Metric = metric
	several := max(len(q.From), len(q.To))
	switch {
	case q.K < 1 || q.K > disjoint.MaxPaths:
		return usagef("-k %d: want 1 to %d", q.K, disjoint.MaxPaths)
	case several > 1 && cmd.Flags().Changed("paths") && q.K != several:
		return usagef("-k %d: %d ends are given, which makes %d paths", q.K, several, several)
	case min(len(q.From), len(q.To)) > 1 && len(q.From) != len(q.To):
		return usagef("%d --from and %d --to: want one of either, or as many of both", len(q.From), len(q.To))
	case q.Constraints.Priority > 7:
		return usagef("--priority %d: want 0 to 7", q.Constraints.Priority)
	case q.Constraints.MaxHops < 0 || q.Constraints.MaxDelay < 0 || q.Constraints.MaxDelaySpread < 0 || q.Effort < 0:
		return usagef("a limit is negative")
	}
	for i := range several {
		if a, b := q.From[min(i, len(q.From)-1)], q.To[min(i, len(q.To)-1)]; a == b {
			return usagef("--from and --to are both %q", a)
		}
	}
	if f.bw != "" {
		bw, err := importer.ParseRate(f.bw)
		if err != nil {
			return usagef("--bandwidth: %v", err)
		}
		q.Constraints.Bandwidth = float64(bw)
	}
	return nil
}

func (f *pathsFlags) run(cmd *cobra.Command) error {
	asJSON, err := f.out.isJSON()
	if err != nil {
		return err
	}
	if err := f.check(cmd); err != nil {
		return err
	}
	im, err := importer.Load(f.file)
	if err != nil {
		return err
	}
	for _, n := range im.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", n)
	}
	r, err := interruptible(cmd.Context(), func() (disjoint.Result, error) { return disjoint.Find(im.TED, f.query) })
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), pathsOutput(im.TED, r))
	}
	return printPaths(cmd.OutOrStdout(), im.TED, r)
}

// pathsJSON is the document of mpbox paths --json. Lists are never null.
type pathsJSON struct {
	Requested  disjoint.Level  `json:"requested"`
	Achieved   disjoint.Level  `json:"achieved"`
	Cost       int64           `json:"cost"`
	SharedCost int64           `json:"shared_cost"`
	Exact      bool            `json:"exact"`
	Note       string          `json:"note,omitempty"`
	Paths      []pathJSON      `json:"paths"`
	Shared     disjoint.Shared `json:"shared"`
}

type pathJSON struct {
	Nodes []string `json:"nodes"`
	Links []string `json:"links"`
	Cost  int64    `json:"cost"`
}

func pathsOutput(ted *topology.TED, r disjoint.Result) pathsJSON {
	doc := pathsJSON{
		Requested: r.Requested, Achieved: r.Achieved, Cost: r.Cost, SharedCost: r.SharedCost, Exact: r.Exact, Note: r.Note,
		Paths: []pathJSON{}, Shared: r.Shared,
	}
	nodes, links := ted.Nodes(), ted.Links()
	for _, p := range r.Paths {
		out := pathJSON{Nodes: []string{nodes[links[p.Links[0]].From].Name}, Links: []string{}, Cost: p.Cost}
		for _, l := range p.Links {
			out.Nodes = append(out.Nodes, nodes[links[l].To].Name)
			out.Links = append(out.Links, links[l].Name)
		}
		doc.Paths = append(doc.Paths, out)
	}
	return doc
}

func printPaths(w io.Writer, ted *topology.TED, r disjoint.Result) error {
	rows := [][]string{}
	doc := pathsOutput(ted, r)
	for i, p := range doc.Paths {
		var delay time.Duration
		for _, l := range r.Paths[i].Links {
			delay += ted.Links()[l].Delay
		}
		d := ""
		if delay > 0 {
			d = delay.String()
		}
		rows = append(rows, []string{strconv.Itoa(i + 1), strconv.FormatInt(p.Cost, 10), strconv.Itoa(len(p.Links)), d, strings.Join(p.Nodes, " > ")})
	}
	if err := printTable(w, []string{"path", "cost", "links", "delay", "nodes"}, rows); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nrequested %s, achieved %s; total cost %d", r.Requested, r.Achieved, r.Cost)
	if r.SharedCost > 0 {
		fmt.Fprintf(&b, ", of it shared %d", r.SharedCost)
	}
	b.WriteString("\n")
	if len(r.Shared.Nodes)+len(r.Shared.Links)+len(r.Shared.SRLGs) > 0 {
		srlgs := make([]string, len(r.Shared.SRLGs))
		for i, s := range r.Shared.SRLGs {
			srlgs[i] = strconv.FormatUint(uint64(s), 10)
		}
		for _, s := range []struct {
			what  string
			names []string
		}{{"nodes", r.Shared.Nodes}, {"links", r.Shared.Links}, {"risk groups", srlgs}} {
			if len(s.names) > 0 {
				fmt.Fprintf(&b, "shared %s: %s\n", s.what, strings.Join(s.names, ", "))
			}
		}
	}
	if r.Note != "" {
		fmt.Fprintf(&b, "note: %s\n", r.Note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
