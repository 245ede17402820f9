package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"mpbox/topology"
	"mpbox/topology/disjoint"
)

func newBenchCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "bench",
		Short:   "Measure parts of mpbox on this machine",
		Example: `  taskset -c 0 mpbox bench paths germany50.g germany50.p`,
	}
	cmd.AddCommand(newBenchPathsCmd())
	return cmd
}

func newBenchPathsCmd() *cobra.Command {
	var seconds float64
	var single bool
	var out output
	cmd := &cobra.Command{
		Use:   "paths GRAPH PAIRS",
		Short: "Measure how many pairs of link-disjoint paths are found per second",
		Long: `Find the cheapest pair of link-disjoint paths for each pair of nodes, again and
again, on one core. GRAPH has "N M" and then "u v cost" for each undirected link;
PAIRS has "s t" for each question; nodes are numbers from 0. Both paths are worked
out for each question. Questions of a round are grouped by source, and nothing is
kept from one group to the next but what depends on the graph alone.`,
		Example: `  taskset -c 0 mpbox bench paths germany50.g germany50.p`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := out.isJSON()
			if err != nil {
				return err
			}
			if seconds <= 0 {
				return usagef("--seconds %v: want more than 0", seconds)
			}
			ted, err := readBenchGraph(args[0])
			if err != nil {
				return err
			}
			pairs, err := readBenchPairs(args[1], len(ted.Nodes()))
			if err != nil {
				return err
			}
			r, err := benchPaths(ted, pairs, time.Duration(seconds*float64(time.Second)), single)
			if err != nil {
				return err
			}
			r.Graph = args[0]
			if asJSON {
				return printJSON(cmd.OutOrStdout(), r)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "mpbox %s pairs/s %.1f done %d found %d none %d cost %d hops %d allocs/pair %.4f prepare_ms %.2f\n",
				r.Graph, r.PerSecond, r.Done, r.Found, r.None, r.Cost, r.Hops, r.Allocs, r.PrepareMS)
			return err
		},
	}
	cmd.Flags().Float64Var(&seconds, "seconds", 5, "how long to measure")
	cmd.Flags().BoolVar(&single, "single", false, "ask each question on its own, in the order of the file")
	out.addFlags(cmd)
	return cmd
}

// benchResult has the found, none, cost and hops of the first round, so that it
// can be compared with that of others.
type benchResult struct {
	Graph     string  `json:"graph"`
	PerSecond float64 `json:"pairs_per_second"`
	Done      int     `json:"done"`
	Found     int     `json:"found"`
	None      int     `json:"none"`
	Cost      int64   `json:"cost"`
	Hops      int     `json:"hops"`
	Allocs    float64 `json:"allocs_per_pair"`
	PrepareMS float64 `json:"prepare_ms"`
}

func benchPaths(ted *topology.TED, pairs [][2]int, length time.Duration, single bool) (benchResult, error) {
	start := time.Now()
	s, err := disjoint.NewSolver(ted, disjoint.MetricTE, disjoint.Constraints{})
	if err != nil {
		return benchResult{}, err
	}
	r := benchResult{PrepareMS: float64(time.Since(start).Microseconds()) / 1000}
	first := true
	visit := func(_ int, p disjoint.Pair, ok bool) {
		r.Done++
		switch {
		case !first:
		case ok:
			r.Found++
			r.Cost += p.Cost
			r.Hops += len(p.One) + len(p.Two)
		default:
			r.None++
		}
	}
	round := func() {
		s.Forget() // no round gains from the one before
		if single {
			for i, p := range pairs {
				found, ok := s.Pair(p[0], p[1])
				visit(i, found, ok)
			}
			return
		}
		s.Each(pairs, visit)
	}
	round() // warms up: arrays are of their full length after it
	first = false
	r.Done = 0
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start = time.Now()
	for time.Since(start) < length {
		round()
	}
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	r.PerSecond = float64(r.Done) / took.Seconds()
	r.Allocs = float64(after.Mallocs-before.Mallocs) / float64(r.Done)
	return r, nil
}

// numbers reads whitespace-separated whole numbers.
type numbers struct {
	file string
	in   *bufio.Scanner
}

func openNumbers(path string) (*numbers, func(), error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", path, err)
	}
	in := bufio.NewScanner(f)
	in.Split(bufio.ScanWords)
	return &numbers{path, in}, func() { _ = f.Close() }, nil
}

func (n *numbers) next(most int) (int, error) {
	if !n.in.Scan() {
		return 0, cmp.Or(n.in.Err(), io.EOF)
	}
	v, err := strconv.Atoi(n.in.Text())
	if err != nil || v < 0 || v > most {
		return 0, fmt.Errorf("read %s: %q: want a whole number from 0 to %d", n.file, n.in.Text(), most)
	}
	return v, nil
}

func readBenchGraph(path string) (*topology.TED, error) {
	in, done, err := openNumbers(path)
	if err != nil {
		return nil, err
	}
	defer done()
	var head [2]int
	for i := range head {
		if head[i], err = in.next(10_000_000); err != nil {
			return nil, fmt.Errorf("read %s: want the numbers of nodes and links first: %w", path, err)
		}
	}
	b := &topology.Builder{}
	for v := range head[0] {
		b.AddNode(topology.Node{Name: strconv.Itoa(v)})
	}
	for i := range head[1] {
		var l [3]int
		for j := range l {
			most := head[0] - 1
			if j == 2 {
				most = 1<<32 - 1
			}
			if l[j], err = in.next(most); err != nil {
				return nil, fmt.Errorf("read %s: link %d: %w", path, i+1, err)
			}
		}
		there := topology.Link{From: l[0], To: l[1], TEMetric: uint32(l[2])}
		back := topology.Link{From: l[1], To: l[0], TEMetric: uint32(l[2])}
		b.AddPair(there, back)
	}
	ted, err := b.Build()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return ted, nil
}

func readBenchPairs(path string, nodes int) ([][2]int, error) {
	in, done, err := openNumbers(path)
	if err != nil {
		return nil, err
	}
	defer done()
	var pairs [][2]int
	for {
		s, err := in.next(nodes - 1)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		t, err := in.next(nodes - 1)
		if err != nil {
			return nil, fmt.Errorf("read %s: question %d: %w", path, len(pairs)+1, err)
		}
		pairs = append(pairs, [2]int{s, t})
	}
	if len(pairs) == 0 {
		return nil, fmt.Errorf("read %s: it has no questions", path)
	}
	return pairs, nil
}
