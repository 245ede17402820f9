package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"mpbox/controller/config"
)

func newConfigCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check a configuration, show it whole, or its schema",
		Example: `  mpbox config check mpbox.yaml
  mpbox config dump mpbox.yaml
  mpbox config schema --for config > mpbox.schema.json`,
	}
	cmd.AddCommand(newConfigCheckCmd(), newConfigDumpCmd(), newConfigSchemaCmd())
	return cmd
}

func newConfigCheckCmd() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "check FILE…",
		Short: "Find all that is wrong in configurations",
		Long: `Finds all that is wrong in configurations: what a key or value is, which names and
numbers do not fit together, and files that cannot be read. Each finding is a line
  FILE:LINE:COLUMN: what is wrong: what to do
Nothing is started and no router is asked. Exit code 1 if anything is wrong; what is
only a warning goes to stderr.`,
		Example: `  mpbox config check mpbox.yaml
  mpbox config check -o json *.yaml | jq '.files[].problems[]'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := out.isJSON()
			if err != nil {
				return err
			}
			type result struct {
				File     string          `json:"file"`
				OK       bool            `json:"ok"`
				Problems config.Problems `json:"problems"`
			}
			results := make([]result, len(args))
			bad := false
			for i, file := range args {
				c, err := config.Load(file)
				if err == nil {
					for _, w := range c.Warnings {
						fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
					}
				}
				problems := config.ProblemsOf(err)
				if err != nil && problems == nil {
					return err
				}
				results[i] = result{file, err == nil, append(config.Problems{}, problems...)}
				bad = bad || err != nil
				if asJSON {
					continue
				}
				text := file + ": ok"
				if err != nil {
					text = err.Error()
				}
				fmt.Fprintln(cmd.OutOrStdout(), text)
			}
			if asJSON {
				if err := printJSON(cmd.OutOrStdout(), map[string]any{"files": results}); err != nil {
					return err
				}
			}
			if bad {
				return errSilent
			}
			return nil
		},
	}
	out.addFlags(cmd)
	return cmd
}

func newConfigDumpCmd() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "dump [FILE]",
		Short: "Show a configuration with all defaults, without secrets",
		Long: `Shows a configuration as mpbox run would use it: defaults filled in, file names
resolved, secrets left out. Without FILE, the defaults alone.`,
		Example: `  mpbox config dump mpbox.yaml
  mpbox config dump -o json mpbox.yaml | jq .thresholds`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := out.isJSON()
			if err != nil {
				return err
			}
			d := config.Default()
			c := &d
			if len(args) > 0 {
				if c, err = config.Load(args[0]); err != nil {
					return err
				}
			}
			text, err := c.Dump()
			if err != nil {
				return err
			}
			if asJSON {
				var v any
				if err := yaml.Unmarshal(text, &v); err != nil {
					return fmt.Errorf("write configuration: %w", err)
				}
				return printJSON(cmd.OutOrStdout(), v)
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	out.addFlags(cmd)
	return cmd
}

func newConfigSchemaCmd() *cobra.Command {
	var kind string
	kinds := strings.Join(config.Kinds(), ", ")
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Show the JSON schema of a kind of file, for editors and scripts",
		Example: `  mpbox config schema > mpbox.schema.json
  # first line of mpbox.yaml, for editors with a YAML language server:
  # yaml-language-server: $schema=mpbox.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(config.Kinds(), kind) {
				return usagef("--for %s: want one of %s", kind, kinds)
			}
			raw, err := config.Schema(kind)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), json.RawMessage(raw))
		},
	}
	cmd.Flags().StringVar(&kind, "for", "config", "kind of file: "+kinds)
	return cmd
}
