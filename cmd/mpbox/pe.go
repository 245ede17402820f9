package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"mpbox/controller/api"
)

func newPECmd() *cobra.Command {
	c := &client{}
	l := &listFlags{}
	list := func(cmd *cobra.Command, _ []string) error {
		return showList(cmd, c, "/v1/pes", *l, []string{"name", "router id", "driver", "steer", "reachable", "last read", "lsps", "ftns", "owned", "sets", "error"}, func(p api.PE) [][]string {
			return [][]string{{p.Name, p.RouterID, p.Driver, p.Steer, yesNo(p.Reachable), age(p.LastRead), strconv.Itoa(p.LSPs), strconv.Itoa(p.FTNs), strconv.Itoa(p.Owned), strconv.FormatUint(p.SetsSent, 10), problemText(p.Error)}}
		})
	}
	cmd := &cobra.Command{
		Use:   "pe",
		Short: "Provider edge routers: whether they answer, and what is wrong",
		Example: `  mpbox pe list
  mpbox pe show pe1`,
		Args: cobra.NoArgs,
		RunE: list,
	}
	c.addFlags(cmd)
	listCmd := &cobra.Command{Use: "list", Short: "PEs", Args: cobra.NoArgs, RunE: list, Example: "  mpbox pe list --state unreachable"}
	l.addFlags(cmd, "state")
	l.addFlags(listCmd, "state")
	show := &cobra.Command{Use: "show NAME", Short: "One PE", Args: cobra.ExactArgs(1), Example: "  mpbox pe show pe1",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := findOne(cmd, c, "/v1/pes", "PE", args[0], "mpbox pe list", func(p api.PE) []string { return []string{p.Name, p.RouterID} })
			if err != nil {
				return err
			}
			if asJSON, err := c.out.isJSON(); err != nil || asJSON {
				return orJSON(cmd, err, p)
			}
			pairs := []pair{{"name", p.Name}, {"router id", p.RouterID}, {"driver", p.Driver}, {"steer", p.Steer}, {"reachable", yesNo(p.Reachable)}, {"last read", age(p.LastRead)},
				{"LSPs", strconv.Itoa(p.LSPs)}, {"FTNs", strconv.Itoa(p.FTNs)}, {"owned", strconv.Itoa(p.Owned)}, {"sets sent", strconv.FormatUint(p.SetsSent, 10)}}
			if p.Error != nil {
				pairs = append(pairs, pair{"failed step", p.Error.Step}, pair{"detail", p.Error.Detail}, pair{"what to do", p.Error.Remedy})
			}
			return printPairs(cmd.OutOrStdout(), pairs...)
		}}
	cmd.AddCommand(listCmd, show)
	return cmd
}
