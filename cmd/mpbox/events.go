package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"mpbox/controller/api"
)

func newEventsCmd() *cobra.Command {
	c := &client{}
	var types []string
	var vpn, pe string
	var count int
	cmd := &cobra.Command{
		Use:   "events",
		Short: "What changes, as it happens",
		Long: `Shows events until it is interrupted, or until there were --count of them. With
-o json, each event is a JSON document in a line of its own.`,
		Example: `  mpbox events
  mpbox events --type binding,lsp --vpn red
  mpbox events -o json --count 1 --type plan | jq .data.id`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := c.out.isJSON()
			if err != nil {
				return err
			}
			if count < 0 {
				return usagef("--count %d: want 0 or more", count)
			}
			v := url.Values{}
			for key, value := range map[string]string{"type": strings.Join(types, ","), "vpn": vpn, "pe": pe} {
				if value != "" {
					v.Set(key, value)
				}
			}
			path := "/v1/events"
			if len(v) > 0 {
				path += "?" + v.Encode()
			}
			return streamEvents(cmd, c, path, asJSON, count)
		},
	}
	c.addFlags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&types, "type", nil, "only these: connection, subflow, binding, datapath, mirror, pe, lsp, topology, demand, plan, threshold, mode, change")
	f.StringVar(&vpn, "vpn", "", "only those of this VPN")
	f.StringVar(&pe, "pe", "", "only those that concern this PE")
	f.IntVar(&count, "count", 0, "end after so many; 0: go on")
	return cmd
}

// streamEvents prints events until ctx ends, count is reached, or the server ends
// the stream.
func streamEvents(cmd *cobra.Command, c *client, path string, asJSON bool, count int) error {
	body, err := c.request(cmd.Context(), "GET", path, nil)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 4<<20)
	for n := 0; lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if err := printEvent(cmd, data, asJSON); err != nil {
			return err
		}
		if n++; n == count {
			return nil
		}
	}
	if errors.Is(cmd.Context().Err(), context.Canceled) {
		return nil // interrupted, which is how this ends
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	return errors.New("read events: mpbox ended the stream: it stopped, or this reader was too slow; run it again")
}

func printEvent(cmd *cobra.Command, data string, asJSON bool) error {
	w := cmd.OutOrStdout()
	if asJSON {
		_, err := fmt.Fprintln(w, data)
		return err
	}
	var e api.Event
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		return fmt.Errorf("read event: %w", err)
	}
	if e.Type == "lost" {
		_, err := fmt.Fprintln(w, "events were missed")
		return err
	}
	_, err := fmt.Fprintf(w, "%s  %-10s %-8s %s  %s\n", e.At.Local().Format("15:04:05.000"), e.Type, e.Action, e.Subject, e.State)
	return err
}
