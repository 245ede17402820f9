package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mpbox/controller/api"
)

func newFlowCmd() *cobra.Command {
	c := &client{}
	l := &listFlags{}
	list := func(cmd *cobra.Command, _ []string) error { return listConnections(cmd, c, *l) }
	cmd := &cobra.Command{
		Use:   "flow",
		Short: "MPTCP connections, their subflows, and the LSPs they ride",
		Example: `  mpbox flow list
  mpbox flow list --vpn red --state established -o json
  mpbox flow show 7f3a9c01
  mpbox flow bindings --pe pe1`,
		Args: cobra.NoArgs,
		RunE: list,
	}
	c.addFlags(cmd)
	l.addFlags(cmd, "vpn", "pe", "state", "since")
	listCmd := &cobra.Command{Use: "list", Short: "Connections and their subflows", Args: cobra.NoArgs, RunE: list,
		Example: "  mpbox flow list --vpn red --since 10m"}
	l.addFlags(listCmd, "vpn", "pe", "state", "since")
	show := &cobra.Command{Use: "show ID|TOKEN", Short: "One connection with both directions of each subflow", Args: cobra.ExactArgs(1),
		Example: "  mpbox flow show 7f3a9c01",
		RunE:    func(cmd *cobra.Command, args []string) error { return showConnection(cmd, c, args[0]) }}
	var bl listFlags
	bindings := &cobra.Command{Use: "bindings", Short: "Flows that are put onto LSPs", Args: cobra.NoArgs,
		Example: "  mpbox flow bindings --state failed",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showList(cmd, c, "/v1/bindings", bl, []string{"id", "state", "vpn", "pe", "egress", "lsp", "slot", "steer", "since", "reason"}, func(b api.Binding) [][]string {
				return [][]string{{b.ID, b.State, b.VPN, b.PE, b.Egress, b.LSP, strconv.Itoa(b.Slot), b.Steer, age(b.Since), b.Reason}}
			})
		}}
	bl.addFlags(bindings, "vpn", "pe", "state", "since")
	cmd.AddCommand(listCmd, show, bindings)
	return cmd
}

func listConnections(cmd *cobra.Command, c *client, l listFlags) error {
	header := []string{"id", "token", "vpn", "state", "since", "subflow", "client", "server", "verified", "c2s", "lsp c2s", "s2c", "lsp s2c"}
	return showList(cmd, c, "/v1/connections", l, header, func(conn api.Connection) [][]string {
		var rows [][]string
		for i, s := range conn.Subflows {
			row := []string{"", "", "", s.State, age(s.Since), s.Kind, s.Client, s.Server, verdict(s.Verified), ends(s.Flows.C2S), bound(s.Flows.C2S), ends(s.Flows.S2C), bound(s.Flows.S2C)}
			if i == 0 {
				copy(row, []string{conn.ID, conn.Token, conn.VPN})
			}
			rows = append(rows, row)
		}
		if rows == nil {
			rows = [][]string{{conn.ID, conn.Token, conn.VPN, conn.State, age(conn.Since), "", conn.Client, conn.Server, "", "", "", "", ""}}
		}
		return rows
	})
}

func verdict(v *bool) string {
	if v == nil {
		return "unknown"
	}
	return yesNo(*v)
}

// ends writes where a flow enters and leaves.
func ends(f api.Flow) string {
	return firstOf(f.Ingress.PE, f.Ingress.Attachment, "?") + ">" + firstOf(f.Egress.PE, f.Egress.Attachment, "?")
}

// bound writes the LSP of a flow, and how far that is true.
func bound(f api.Flow) string {
	switch {
	case f.LSP == "":
		return ""
	case f.BindingState == "verified":
		return f.LSP
	default:
		return f.LSP + " (" + f.BindingState + ")"
	}
}

// findConnection takes an id, or a token if only one connection has it.
func findConnection(ctx context.Context, c *client, what string) (api.Connection, error) {
	var conn api.Connection
	err := c.get(ctx, "/v1/connections/"+url.PathEscape(what), &conn)
	var no *statusError
	if err == nil || !errors.As(err, &no) || no.status != http.StatusNotFound {
		return conn, err
	}
	page, lerr := listAll[api.Connection](ctx, c, "/v1/connections", listFlags{})
	if lerr != nil {
		return conn, lerr
	}
	var found []api.Connection
	for _, x := range page.Items {
		if strings.EqualFold(x.Token, what) {
			found = append(found, x)
		}
	}
	switch len(found) {
	case 0:
		return conn, fmt.Errorf("no connection has the id or token %s: mpbox flow list shows them", what)
	case 1:
		return found[0], nil
	default:
		var ids []string
		for _, x := range found {
			ids = append(ids, fmt.Sprintf("%s (VPN %s)", x.ID, x.VPN))
		}
		return conn, fmt.Errorf("token %s is that of several connections, use an id: %s", what, strings.Join(ids, ", "))
	}
}

func showConnection(cmd *cobra.Command, c *client, what string) error {
	asJSON, err := c.out.isJSON()
	if err != nil {
		return err
	}
	conn, err := findConnection(cmd.Context(), c, what)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), conn)
	}
	w := cmd.OutOrStdout()
	if err := printPairs(w, pair{"connection", conn.ID}, pair{"token", conn.Token}, pair{"MPTCP", fmt.Sprintf("v%d", conn.Version)},
		pair{"VPN", conn.VPN}, pair{"client", conn.Client}, pair{"server", conn.Server}, pair{"state", conn.State}, pair{"since", conn.Since.Format("2006-01-02 15:04:05")},
		pair{"policy", conn.Policy}, pair{"demand", conn.Demand}); err != nil {
		return err
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, s := range conn.Subflows {
		for i, f := range []api.Flow{s.Flows.C2S, s.Flows.S2C} {
			rows = append(rows, []string{s.ID, s.Kind, []string{"c2s", "s2c"}[i], s.Client, s.Server, s.State, verdict(s.Verified), ends(f), f.LSP, f.BindingState, strings.Join(f.Route, " ")})
		}
	}
	return printTable(w, []string{"subflow", "kind", "direction", "client", "server", "state", "verified", "pe", "lsp", "binding", "route"}, rows)
}

func newExplainCmd() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:   "explain ID|TOKEN",
		Short: "Why a connection's subflows ride where they do",
		Example: `  mpbox explain 7f3a9c01
  mpbox explain -o json 7f3a9c01 | jq '.facts[] | select(.ok | not)'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := c.out.isJSON()
			if err != nil {
				return err
			}
			conn, err := findConnection(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			var e api.Explanation
			if err := c.get(cmd.Context(), "/v1/explain/"+url.PathEscape(conn.ID), &e); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), e)
			}
			return printExplanation(cmd, e)
		},
	}
	c.addFlags(cmd)
	return cmd
}

func printExplanation(cmd *cobra.Command, e api.Explanation) error {
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "%s %s > %s (token %s, VPN %s)\n%s\n\n", e.Connection.ID, e.Connection.Client, e.Connection.Server, e.Connection.Token, e.Connection.VPN, e.Verdict)
	var rows [][]string
	for _, f := range e.Facts {
		rows = append(rows, []string{f.Question, f.Value, f.Wanted, yesNo(f.OK)})
	}
	if err := printTable(w, []string{"asked", "is", "wanted", "ok"}, rows); err != nil {
		return err
	}
	if len(e.Bindings) > 0 {
		fmt.Fprintln(w)
		rows = nil
		for _, b := range e.Bindings {
			rows = append(rows, []string{b.Subflow, b.Direction, b.PE, b.LSP, b.State, strings.Join(b.Route, " "), b.Reason})
		}
		if err := printTable(w, []string{"subflow", "direction", "pe", "lsp", "state", "route", "reason"}, rows); err != nil {
			return err
		}
	}
	if len(e.Changes) > 0 {
		fmt.Fprintln(w)
		rows = nil
		for _, ch := range e.Changes {
			rows = append(rows, changeRow(ch))
		}
		return printTable(w, changeHeader, rows)
	}
	return nil
}
