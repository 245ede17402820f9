package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// output is the choice between a table for people and one JSON document for
// scripts; -o json and --json are the same.
type output struct {
	format string
	json   bool
}

// addFlags gives cmd and its subcommands -o and --json.
func (o *output) addFlags(cmd *cobra.Command) { o.flags(cmd.PersistentFlags()) }

func (o *output) flags(f *pflag.FlagSet) {
	f.StringVarP(&o.format, "output", "o", "table", "output format: table or json")
	f.BoolVar(&o.json, "json", false, "the same as -o json")
}

// isJSON tells whether JSON was asked for; an unknown format is a usageError.
func (o *output) isJSON() (bool, error) {
	switch {
	case o.json || o.format == "json":
		return true, nil
	case o.format == "table" || o.format == "":
		return false, nil
	default:
		return false, usagef("-o %s: want table or json", o.format)
	}
}

// printJSON writes v as the one JSON document of a command.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// printTable writes rows under a header, without frames, so that cut and awk
// work on it too. Empty cells become "-".
func printTable(w io.Writer, header []string, rows [][]string) error {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = text.FormatUpper
	style.Box.PaddingLeft = ""
	style.Box.PaddingRight = "  "
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	t.AppendHeader(toRow(header))
	for _, r := range rows {
		t.AppendRow(toRow(r))
	}
	if _, err := fmt.Fprintln(w, t.Render()); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

func toRow(cells []string) table.Row {
	row := make(table.Row, len(cells))
	for i, c := range cells {
		if c == "" {
			c = "-"
		}
		row[i] = c
	}
	return row
}
