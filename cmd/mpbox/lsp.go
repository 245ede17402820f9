package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mpbox/controller/api"
)

func newLSPCmd() *cobra.Command {
	c := &client{}
	l := &listFlags{}
	var owned bool
	var pe string
	list := func(cmd *cobra.Command, _ []string) error {
		return showList(cmd, c, "/v1/lsps", *l, []string{"name", "state", "ingress", "egress", "owned", "bandwidth", "bindings", "route", "reason"}, func(x api.LSP) [][]string {
			if owned && !x.Owned {
				return nil
			}
			return [][]string{{x.Name, x.State, x.Ingress, x.Egress, yesNo(x.Owned), rate(x.Bandwidth), strconv.Itoa(x.Bindings), strings.Join(x.Nodes, " "), x.Reason}}
		})
	}
	cmd := &cobra.Command{
		Use:   "lsp",
		Short: "Label switched paths that begin at the PEs",
		Example: `  mpbox lsp list --state down
  mpbox lsp list --owned
  mpbox lsp show mpbox/lab/pe1-pe2/1`,
		Args: cobra.NoArgs,
		RunE: list,
	}
	c.addFlags(cmd)
	listCmd := &cobra.Command{Use: "list", Short: "LSPs, their state and route", Args: cobra.NoArgs, RunE: list, Example: "  mpbox lsp list --pe pe1"}
	for _, x := range []*cobra.Command{cmd, listCmd} {
		l.addFlags(x, "pe", "state")
		x.Flags().BoolVar(&owned, "owned", false, "only those that this mpbox set up (tables)")
	}
	show := &cobra.Command{Use: "show NAME", Short: "One LSP", Args: cobra.ExactArgs(1), Example: "  mpbox lsp show mpbox/lab/pe1-pe2/1\n  mpbox lsp show tunnel-te1 --pe pe1",
		RunE: func(cmd *cobra.Command, args []string) error {
			x, err := findOne(cmd, c, "/v1/lsps", "LSP", args[0], "mpbox lsp list", func(x api.LSP) []string {
				if pe != "" && x.Ingress != pe {
					return nil
				}
				return []string{x.Name}
			})
			if err != nil {
				return err
			}
			if asJSON, err := c.out.isJSON(); err != nil || asJSON {
				return orJSON(cmd, err, x)
			}
			return printPairs(cmd.OutOrStdout(), pair{"name", x.Name}, pair{"ingress", x.Ingress}, pair{"egress", x.Egress}, pair{"owned", yesNo(x.Owned)},
				pair{"admin up", yesNo(x.AdminUp)}, pair{"state", x.State}, pair{"reason", x.Reason}, pair{"bandwidth", rate(x.Bandwidth)}, pair{"tunnel id", strconv.FormatUint(uint64(x.TunnelID), 10)},
				pair{"intended", strings.Join(x.ERO, " ")}, pair{"recorded", strings.Join(x.RRO, " ")}, pair{"links", strings.Join(x.Route, " ")}, pair{"nodes", strings.Join(x.Nodes, " ")},
				pair{"bindings", strconv.Itoa(x.Bindings)}, pair{"demands", strings.Join(x.Demands, " ")})
		}}
	show.Flags().StringVar(&pe, "pe", "", "the PE where it begins: two PEs may have LSPs of one name")
	cmd.AddCommand(listCmd, show)
	return cmd
}

// findOne finds an object of a list by one of its names.
func findOne[T any](cmd *cobra.Command, c *client, path, kind, name, hint string, names func(T) []string) (T, error) {
	var none T
	var found []T
	page, err := listAll[T](cmd.Context(), c, path, listFlags{})
	if err != nil {
		return none, err
	}
	for _, x := range page.Items {
		if slices.Contains(names(x), name) {
			found = append(found, x)
		}
	}
	switch len(found) {
	case 0:
	case 1:
		return found[0], nil
	default:
		return none, usagef("%d %ss are called %s: choose one with --pe (%s shows them)", len(found), kind, name, hint)
	}
	return none, fmt.Errorf("there is no %s %s: %s shows them", kind, name, hint)
}

// orJSON prints v, unless the flags were wrong.
func orJSON(cmd *cobra.Command, err error, v any) error {
	if err != nil {
		return err
	}
	return printJSON(cmd.OutOrStdout(), v)
}

// rate writes bit/s with a unit.
func rate(bps float64) string {
	switch {
	case bps >= 1e9:
		return strconv.FormatFloat(bps/1e9, 'f', -1, 64) + "G"
	case bps >= 1e6:
		return strconv.FormatFloat(bps/1e6, 'f', -1, 64) + "M"
	case bps >= 1e3:
		return strconv.FormatFloat(bps/1e3, 'f', -1, 64) + "k"
	default:
		return strconv.FormatFloat(bps, 'f', -1, 64)
	}
}
