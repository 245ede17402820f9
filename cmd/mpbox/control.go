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

func newThresholdCmd() *cobra.Command {
	c := &client{}
	get := func(cmd *cobra.Command, _ []string) error {
		var t api.Thresholds
		if err := c.get(cmd.Context(), "/v1/thresholds", &t); err != nil {
			return err
		}
		return printThresholds(cmd, c, t)
	}
	cmd := &cobra.Command{
		Use:   "threshold",
		Short: "Limits on replanning: read and set",
		Long: `Limits on replanning, so that aggregates move and not single flows. What is set is
checked, written to the audit, and kept over restarts.`,
		Example: `  mpbox threshold get
  mpbox threshold set min_connections=3 hold_down=2m`,
		Args: cobra.NoArgs,
		RunE: get,
	}
	c.addFlags(cmd)
	cmd.AddCommand(
		&cobra.Command{Use: "get", Short: "Show the thresholds in force", Args: cobra.NoArgs, RunE: get, Example: "  mpbox threshold get -o json"},
		&cobra.Command{Use: "set NAME=VALUE…", Short: "Set thresholds", Args: cobra.MinimumNArgs(1), Example: "  mpbox threshold set min_connections=3 hold_down=2m",
			RunE: func(cmd *cobra.Command, args []string) error {
				patch, err := thresholdPatch(args)
				if err != nil {
					return err
				}
				var t api.Thresholds
				if err := c.call(cmd.Context(), http.MethodPatch, "/v1/thresholds", patch, &t); err != nil {
					return err
				}
				return printThresholds(cmd, c, t)
			}})
	return cmd
}

// thresholdPatch reads NAME=VALUE. What a name means is the server's to say.
func thresholdPatch(args []string) (map[string]any, error) {
	patch := map[string]any{}
	for _, a := range args {
		name, value, ok := strings.Cut(a, "=")
		if !ok || name == "" || value == "" {
			return nil, usagef("%s: want NAME=VALUE, like min_connections=3", a)
		}
		name = strings.ReplaceAll(name, "-", "_")
		if _, twice := patch[name]; twice {
			return nil, usagef("%s is there twice", name)
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			patch[name] = n
		} else {
			patch[name] = value
		}
	}
	return patch, nil
}

func printThresholds(cmd *cobra.Command, c *client, t api.Thresholds) error {
	if asJSON, err := c.out.isJSON(); err != nil || asJSON {
		return orJSON(cmd, err, t)
	}
	raw, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	// In the order of the struct.
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	var pairs []pair
	_, _ = dec.Token()
	for dec.More() {
		key, _ := dec.Token()
		value, _ := dec.Token()
		pairs = append(pairs, pair{fmt.Sprint(key), fmt.Sprint(value)})
	}
	return printPairs(cmd.OutOrStdout(), pairs...)
}

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
			return printPairs(cmd.OutOrStdout(), pair{"instance", s.Instance}, pair{"version", s.Version}, pair{"mode", s.Mode}, pair{"running", age(s.Started)},
				pair{"edge bridges", strconv.Itoa(s.Datapaths)}, pair{"PEs", strconv.Itoa(s.PEs)}, pair{"connections", strconv.Itoa(s.Connections)}, pair{"subflows", strconv.Itoa(s.Subflows)},
				pair{"orphans", strconv.Itoa(s.Orphans)}, pair{"bindings", strconv.Itoa(s.Bindings)}, pair{"LSPs", strconv.Itoa(s.LSPs)})
		},
	}
	c.addFlags(cmd)
	return cmd
}
