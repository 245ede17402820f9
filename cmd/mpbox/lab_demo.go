package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mpbox/examples/lab"
)

// newLabDemoCmd is the main job from end to end.
func newLabDemoCmd(name *string) *cobra.Command {
	var o lab.Options
	var d lab.DemoOptions
	var rate string
	var out output
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "MPTCP over a provider network, before and after mpbox: one command",
		Long: `Brings a lab up, runs mpbox in it, and measures MPTCP connections twice: first with
mpbox only looking on, so that all subflows ride one LSP, then with mpbox at work.
Goodput is measured at the receiving application; of upload and download the lower
counts. Where packets really are is counted on every core link.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.isJSON()
			if err != nil {
				return err
			}
			o.Name = *name
			n, err := labOptions(&o, rate)
			if err != nil {
				return err
			}
			progress := labProgress(cmd.ErrOrStderr())
			res, err := lab.Demo(cmd.Context(), n, o, d, progress)
			progress("")
			if err != nil {
				return labError(err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), res)
			}
			return printDemo(cmd.OutOrStdout(), res)
		},
	}
	labFlags(cmd, &o, &rate)
	cmd.Flags().BoolVar(&d.Keep, "keep", false, "leave the lab up afterwards")
	cmd.Flags().DurationVar(&d.Settle, "settle", 0, "time before each measurement (default 3s)")
	cmd.Flags().DurationVar(&d.Window, "window", 0, "time of each measurement (default 10s)")
	out.addFlags(cmd)
	return cmd
}

func mbps(v float64) string { return fmt.Sprintf("%.1f Mbit/s", v/1e6) }

func printDemo(w io.Writer, r lab.DemoResult) error {
	var lsps []string
	for _, pe := range slices.Sorted(maps.Keys(r.LSPsByIngress)) {
		lsps = append(lsps, fmt.Sprintf("%d at %s", r.LSPsByIngress[pe], pe))
	}
	rows := [][]string{
		{"goodput, upload", mbps(r.UploadBefore), mbps(r.UploadAfter)},
		{"goodput, download", mbps(r.DownloadBefore), mbps(r.DownloadAfter)},
		{"of what the network can carry", fmt.Sprintf("%.0f %%", 100*r.Before/float64(r.MaxFlow)), fmt.Sprintf("%.0f %%", 100*r.After/float64(r.MaxFlow))},
		{"disjointness of the subflows", r.DisjointnessBefore, r.DisjointnessAfter},
		{"LSPs set up by mpbox", "0", strings.Join(lsps, ", ")},
	}
	if _, err := fmt.Fprintf(w, "\n%s, %d subflows, PEs by %s, steering by %s, at most %s\n\n", r.Topology, r.Subflows, r.PE, r.Steer, mbps(float64(r.MaxFlow))); err != nil {
		return err
	}
	if err := printTable(w, []string{"", "before", "after"}, rows); err != nil {
		return err
	}
	var routes [][]string
	for _, d := range r.Routes {
		routes = append(routes, []string{d.From, d.To, d.LSP, strings.Join(d.Links, " ")})
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	if err := printTable(w, []string{"from", "to", "lsp", "links where its packets were seen"}, routes); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d of %d subflows detected, in %.1f ms; steered in %.1f ms\n", r.DetectedSubflows, r.Subflows, r.DetectMS, r.SteerMS)
	return err
}
