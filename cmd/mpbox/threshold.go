package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mpbox/controller/api"
)

const thresholdPath = "/v1/thresholds"

func newThresholdCmd() *cobra.Command {
	c := &client{}
	ask := func(cmd *cobra.Command, method, path string, body any) error {
		var t api.Thresholds
		if err := c.call(cmd.Context(), method, path, body, &t); err != nil {
			return err
		}
		return printThresholds(cmd, c, t)
	}
	get := func(cmd *cobra.Command, _ []string) error { return ask(cmd, http.MethodGet, thresholdPath, nil) }
	cmd := &cobra.Command{
		Use:   "threshold",
		Short: "Limits on replanning: read and set",
		Long: `Limits on replanning, so that aggregates move and not single flows. What is set is
checked, written to the audit, and kept over restarts.

With --vpn, --policy, --ingress or --egress, a rule is set: it has other limits for
the demands that are of this VPN and policy and have a flow between these PEs, in
either direction. A rule that names more is stronger, a later one stronger than its
equal.`,
		Example: `  mpbox threshold get
  mpbox threshold set min_connections=3 hold_down=2m
  mpbox threshold set --vpn red --ingress pe1 --egress pe2 min_connections=1
  mpbox threshold remove --vpn red --ingress pe1 --egress pe2`,
		Args: cobra.NoArgs,
		RunE: get,
	}
	c.addFlags(cmd)
	var of, gone ruleFlags
	setCmd := &cobra.Command{
		Use: "set NAME=VALUE…", Short: "Set thresholds, of all demands or of some", Args: cobra.MinimumNArgs(1),
		Example: "  mpbox threshold set min_connections=3 hold_down=2m\n  mpbox threshold set --policy video min_gain=1.5",
		RunE: func(cmd *cobra.Command, args []string) error {
			patch, err := thresholdPatch(args)
			if err == nil {
				err = of.check(cmd)
			}
			if err != nil {
				return err
			}
			return ask(cmd, http.MethodPatch, thresholdPath+of.query(), patch)
		},
	}
	of.addFlags(setCmd)
	remove := &cobra.Command{
		Use: "remove", Short: "Remove the rule for some demands", Args: cobra.NoArgs,
		Example: "  mpbox threshold remove --policy video",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := gone.check(cmd); err != nil {
				return err
			}
			if gone.query() == "" {
				return usagef("name the rule: --vpn, --policy, --ingress, --egress, as mpbox threshold get shows it")
			}
			return ask(cmd, http.MethodDelete, thresholdPath+gone.query(), nil)
		},
	}
	gone.addFlags(remove)
	cmd.AddCommand(
		&cobra.Command{Use: "get", Aliases: []string{"list"}, Short: "Show the thresholds in force, and the rules", Args: cobra.NoArgs, RunE: get, Example: "  mpbox threshold get -o json"},
		setCmd, remove)
	return cmd
}

// ruleFlags name the demands that a rule is for.
type ruleFlags struct{ vpn, policy, ingress, egress string }

func (r *ruleFlags) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.vpn, "vpn", "", "for this VPN")
	f.StringVar(&r.policy, "policy", "", "for this policy")
	f.StringVar(&r.ingress, "ingress", "", "for flows that enter at this PE, in either direction")
	f.StringVar(&r.egress, "egress", "", "for flows that leave at this PE, in either direction")
}

// check refuses a name that is given and empty, as from a variable that is not set:
// what is meant for some demands must not be set for all.
func (r *ruleFlags) check(cmd *cobra.Command) error {
	for name, value := range map[string]string{"vpn": r.vpn, "policy": r.policy, "ingress": r.ingress, "egress": r.egress} {
		if value == "" && cmd.Flags().Changed(name) {
			return usagef("--%s is empty: give a name, or leave it out", name)
		}
	}
	return nil
}

// query is what names the rule in a request; "" where nothing is named.
func (r *ruleFlags) query() string {
	v := url.Values{}
	for key, value := range map[string]string{"vpn": r.vpn, "policy": r.policy, "ingress": r.ingress, "egress": r.egress} {
		if value != "" {
			v.Set(key, value)
		}
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
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

// printThresholds shows the limits of all demands, and then the rules.
func printThresholds(cmd *cobra.Command, c *client, t api.Thresholds) error {
	if asJSON, err := c.out.isJSON(); err != nil || asJSON {
		return orJSON(cmd, err, t)
	}
	rules := t.Rules
	t.Rules = nil
	pairs, err := pairsOf(t)
	if err != nil {
		return err
	}
	if err := printPairs(cmd.OutOrStdout(), pairs...); err != nil || len(rules) == 0 {
		return err
	}
	var rows [][]string
	for _, r := range rules {
		limits, err := pairsOf(r.Limits)
		if err != nil {
			return err
		}
		var words []string
		for _, l := range limits {
			words = append(words, l.key+"="+l.value)
		}
		row := []string{r.VPN, r.Policy, r.Ingress, r.Egress}
		for i := range row {
			row[i] = firstOf(row[i], "*")
		}
		rows = append(rows, append(row, strings.Join(words, " ")))
	}
	fmt.Fprintln(cmd.OutOrStdout())
	return printTable(cmd.OutOrStdout(), []string{"vpn", "policy", "ingress", "egress", "thresholds"}, rows)
}

// pairsOf gives the plain values of a struct, named and written as in JSON.
func pairsOf(v any) ([]pair, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write output: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var pairs []pair
	_, _ = dec.Token()
	for dec.More() { // in the order of the struct
		key, _ := dec.Token()
		var value any
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("write output: %w", err)
		}
		if _, list := value.([]any); !list {
			pairs = append(pairs, pair{fmt.Sprint(key), fmt.Sprint(value)})
		}
	}
	return pairs, nil
}
