package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mpbox/controller/api"
)

// newPlanClientCmds are the subcommands of mpbox plan that ask a running
// controller; without one of them, mpbox plan works on files.
func newPlanClientCmds() []*cobra.Command {
	var cmds []*cobra.Command
	add := func(c *client, cmd *cobra.Command) {
		c.addFlags(cmd)
		cmds = append(cmds, cmd)
	}

	c, l := &client{}, &listFlags{}
	list := &cobra.Command{Use: "list", Short: "Plans of a running mpbox, the newest first", Args: cobra.NoArgs, Example: "  mpbox plan list --state proposed",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showList(cmd, c, "/v1/plans", *l, []string{"id", "at", "scope", "state", "trigger", "before", "after", "ops", "reason"}, func(p api.Plan) [][]string {
				var before, after []string
				for _, d := range p.Demands {
					before, after = append(before, d.Before), append(after, d.After)
				}
				return [][]string{{p.ID, p.At.Format("2006-01-02 15:04:05"), p.Scope, p.State, p.Trigger, strings.Join(before, ","), strings.Join(after, ","), strconv.Itoa(len(p.Ops)), p.Reason}}
			})
		}}
	l.addFlags(list, "vpn", "state", "since")
	add(c, list)

	one := func(use, short, example, method, suffix string) {
		c := &client{}
		add(c, &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1), Example: example,
			RunE: func(cmd *cobra.Command, args []string) error {
				var p api.Plan
				if err := c.call(cmd.Context(), method, "/v1/plans/"+url.PathEscape(args[0])+suffix, nil, &p); err != nil {
					return err
				}
				return printPlan(cmd, c, p)
			}})
	}
	one("show ID", "One plan of a running mpbox with its operations", "  mpbox plan show 12", http.MethodGet, "")
	one("approve ID", "Have a proposed plan carried out", "  mpbox plan approve 12", http.MethodPost, "/approve")

	pc, scope := &client{}, ""
	propose := &cobra.Command{Use: "propose", Short: "Have a running mpbox compute a plan now; it waits for approval", Args: cobra.NoArgs, Example: "  mpbox plan propose --scope redesign",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var p api.Plan
			if err := pc.call(cmd.Context(), http.MethodPost, "/v1/plans", api.PlanRequest{Scope: scope}, &p); err != nil {
				return err
			}
			return printPlan(cmd, pc, p)
		}}
	propose.Flags().StringVar(&scope, "scope", "incremental", "evaluate, incremental or redesign")
	add(pc, propose)
	return cmds
}

func printPlan(cmd *cobra.Command, c *client, p api.Plan) error {
	if asJSON, err := c.out.isJSON(); err != nil || asJSON {
		return orJSON(cmd, err, p)
	}
	w := cmd.OutOrStdout()
	if err := printPairs(w, pair{"plan", p.ID}, pair{"at", p.At.Format("2006-01-02 15:04:05")}, pair{"scope", p.Scope}, pair{"trigger", p.Trigger}, pair{"state", p.State}, pair{"reason", p.Reason}, pair{"approved by", p.Actor}); err != nil {
		return err
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, d := range p.Demands {
		rows = append(rows, []string{d.ID, d.Requested, d.Before, d.After, strconv.FormatFloat(d.Gain, 'f', 2, 64), d.Unmet})
	}
	if err := printTable(w, []string{"demand", "requested", "before", "after", "gain", "unmet"}, rows); err != nil {
		return err
	}
	fmt.Fprintln(w)
	rows = nil
	for _, o := range p.Ops {
		var after []string
		for _, n := range o.After {
			after = append(after, strconv.Itoa(n))
		}
		flows := ""
		if o.Slot != nil {
			flows = fmt.Sprintf("%s, %s slot %d", o.Demand, o.Direction, *o.Slot+1)
		}
		rows = append(rows, []string{strconv.Itoa(o.N), o.PE, o.Op, firstOf(o.LSP, o.FTN), flows, strings.Join(o.Route, " "), strings.Join(after, ","), o.State, problemText(o.Error)})
	}
	return printTable(w, []string{"op", "pe", "does", "what", "flows", "route", "after", "state", "error"}, rows)
}
