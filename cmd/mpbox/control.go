package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mpbox/controller/api"
)

func newModeCmd() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:   "mode [observe|suggest|auto]",
		Short: "What mpbox may do to routers: read and set",
		Long: `observe: nothing is sent to a router that changes it. suggest: plans wait for
mpbox plan approve. auto: plans are carried out. What is set is kept over restarts.`,
		Example: `  mpbox mode
  mpbox mode suggest`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var m api.Mode
			var err error
			switch {
			case len(args) == 0 || args[0] == "get":
				err = c.get(cmd.Context(), "/v1/mode", &m)
			case args[0] == "observe" || args[0] == "suggest" || args[0] == "auto":
				err = c.call(cmd.Context(), http.MethodPut, "/v1/mode", api.Mode{Mode: args[0]}, &m)
			default:
				return usagef("mode %s: want observe, suggest or auto", args[0])
			}
			if err != nil {
				return err
			}
			if asJSON, err := c.out.isJSON(); err != nil || asJSON {
				return orJSON(cmd, err, m)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), m.Mode)
			return err
		},
	}
	c.addFlags(cmd)
	return cmd
}

var changeHeader = []string{"id", "at", "actor", "action", "subject", "pe", "result", "detail"}

func changeRow(ch api.Change) []string {
	var detail []string
	for _, s := range []string{ch.Step, ch.Detail, ch.Remedy} {
		if s != "" {
			detail = append(detail, s)
		}
	}
	return []string{strconv.FormatUint(ch.ID, 10), ch.At.Format("2006-01-02 15:04:05.000"), ch.Actor, ch.Action, ch.Subject, ch.PE, ch.Result, strings.Join(detail, ": ")}
}

func newChangeCmd() *cobra.Command {
	c, l := &client{}, &listFlags{}
	cmd := &cobra.Command{
		Use:   "change",
		Short: "The audit: what was decided, asked for and done, the newest first",
		Example: `  mpbox change --since 10m
  mpbox change --pe pe1 --state failed`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showList(cmd, c, "/v1/changes", *l, changeHeader, func(ch api.Change) [][]string { return [][]string{changeRow(ch)} })
		},
	}
	c.addFlags(cmd)
	l.addFlags(cmd, "vpn", "pe", "state", "since")
	return cmd
}

func newStatusCmd() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "The controller at a glance",
		Example: "  mpbox status",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var s api.Status
			if err := c.get(cmd.Context(), "/v1/status", &s); err != nil {
				return err
			}
			if asJSON, err := c.out.isJSON(); err != nil || asJSON {
				return orJSON(cmd, err, s)
			}
			parts := []pair{{"edge bridges", "/v1/datapaths"}, {"mirrors", "/v1/mirrors"}, {"PEs", "/v1/pes"}}
			for i, n := range []int{s.Datapaths, s.Mirrors, s.PEs} {
				all, err := listAll[json.RawMessage](cmd.Context(), c, parts[i].value, listFlags{})
				if err != nil {
					return err
				}
				parts[i].value = fmt.Sprintf("%d of %d", n, len(all.Items))
			}
			pairs := append([]pair{{"instance", s.Instance}, {"version", s.Version}, {"mode", s.Mode}, {"running", age(s.Started)}}, parts...)
			pairs = append(pairs, []pair{{"connections", strconv.Itoa(s.Connections)}, {"subflows", strconv.Itoa(s.Subflows)},
				{"orphans", strconv.Itoa(s.Orphans)}, {"bindings", strconv.Itoa(s.Bindings)}, {"LSPs", strconv.Itoa(s.LSPs)}}...)
			return printPairs(cmd.OutOrStdout(), append(pairs, topologyPairs(&s.Topology)...)...)
		},
	}
	c.addFlags(cmd)
	return cmd
}

// topologyPairs say where the topology comes from, and how BGP-LS is where it is
// configured.
func topologyPairs(t *api.TopologyStatus) []pair {
	text := t.Source
	if t.Nodes > 0 {
		text = fmt.Sprintf("%s, %d nodes, %d links", t.Source, t.Nodes, t.Links)
	}
	if !t.At.IsZero() {
		text += ", changed " + age(t.At) + " ago"
	}
	out := []pair{{"topology", text}}
	b := t.BGPLS
	if b == nil {
		return out
	}
	text = fmt.Sprintf("%s for %s, %d nodes, %d links", strings.ReplaceAll(b.State, "_", " "), age(b.Since), b.Nodes, b.Links)
	if !b.Updated.IsZero() {
		text += ", updated " + age(b.Updated) + " ago"
	}
	out = append(out, pair{"BGP-LS", text})
	if b.Error != nil {
		out = append(out, pair{"", b.Error.Detail + ": " + b.Error.Remedy})
	}
	for _, p := range b.Peers {
		text := p.State
		if !p.Since.IsZero() {
			text += " for " + age(p.Since)
		}
		if p.Reason != "" {
			text += ": " + p.Reason
		}
		out = append(out, pair{"BGP-LS peer", p.Address + " " + text})
	}
	return out
}
