package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mpbox/controller/api"
)

func newTapCmd() *cobra.Command {
	c := &client{}
	l := &listFlags{}
	list := func(cmd *cobra.Command, _ []string) error {
		return showList(cmd, c, "/v1/datapaths", *l, []string{"dpid", "name", "connected", "ready", "attachments", "third ack", "punts", "dropped", "flows", "error"}, func(d api.Datapath) [][]string {
			return [][]string{{d.DPID, d.Name, yesNo(d.Connected), yesNo(d.Ready), strconv.Itoa(len(d.Attachments)), d.Tap.ThirdACK, strconv.FormatUint(d.Tap.Punts, 10), strconv.FormatUint(d.Tap.Dropped, 10), strconv.Itoa(d.Flows), problemText(d.Error)}}
		})
	}
	cmd := &cobra.Command{
		Use:   "tap",
		Short: "Where handshakes are tapped: edge bridges and mirror ports",
		Example: `  mpbox tap list
  mpbox tap show edge1
  mpbox tap mirrors
  # Keep bridges forwarding while there is no controller
  mpbox tap guard --help`,
		Args: cobra.NoArgs,
		RunE: list,
	}
	listCmd := &cobra.Command{Use: "list", Short: "Edge bridges", Args: cobra.NoArgs, RunE: list, Example: "  mpbox tap list --state lost"}
	mirrors := &cobra.Command{Use: "mirrors", Short: "Mirror ports", Args: cobra.NoArgs, Example: "  mpbox tap mirrors --state lost",
		RunE: func(cmd *cobra.Command, _ []string) error { return listMirrors(cmd, c, *l) }}
	for _, x := range []*cobra.Command{cmd, listCmd, mirrors} {
		l.addFlags(x, "vpn", "pe", "state")
	}
	show := &cobra.Command{Use: "show DPID|NAME", Short: "One edge bridge with its attachments", Args: cobra.ExactArgs(1), Example: "  mpbox tap show edge1",
		RunE: func(cmd *cobra.Command, args []string) error { return showTap(cmd, c, args[0]) }}
	for _, x := range []*cobra.Command{cmd, listCmd, show, mirrors} { // guard asks no mpbox
		c.flags(x.Flags())
	}
	cmd.AddCommand(listCmd, show, mirrors, newTapGuardCmd())
	return cmd
}

func listMirrors(cmd *cobra.Command, c *client, l listFlags) error {
	return showList(cmd, c, "/v1/mirrors", l, []string{"name", "interface", "state", "since", "attachments", "frames", "handshakes", "dropped", "unplaced", "undirected", "error"}, func(m api.Mirror) [][]string {
		row := []string{m.Name, m.Interface, m.State, age(m.Since), strconv.Itoa(len(m.Attachments))}
		for _, n := range []uint64{m.Frames, m.Handshakes, m.Dropped + m.Strange, m.Unplaced, m.Undirected} {
			row = append(row, strconv.FormatUint(n, 10))
		}
		return [][]string{append(row, problemText(m.Error))}
	})
}

func showTap(cmd *cobra.Command, c *client, name string) error {
	d, err := findOne(cmd, c, "/v1/datapaths", "edge bridge", name, "mpbox tap list", func(d api.Datapath) []string { return []string{d.DPID, d.Name} })
	if err != nil {
		return err
	}
	if asJSON, err := c.out.isJSON(); err != nil || asJSON {
		return orJSON(cmd, err, d)
	}
	w := cmd.OutOrStdout()
	pairs := []pair{{"dpid", d.DPID}, {"name", d.Name}, {"connected", yesNo(d.Connected)}, {"ready", yesNo(d.Ready)}, {"from", d.Address}, {"since", age(d.Since)},
		{"switch", d.Description}, {"third ACK", d.Tap.ThirdACK}, {"punts", strconv.FormatUint(d.Tap.Punts, 10)}, {"dropped", strconv.FormatUint(d.Tap.Dropped, 10)}, {"flows", strconv.Itoa(d.Flows)}}
	if d.Error != nil {
		pairs = append(pairs, pair{"failed step", d.Error.Step}, pair{"detail", d.Error.Detail}, pair{"what to do", d.Error.Remedy})
	}
	if err := printPairs(w, pairs...); err != nil {
		return err
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, a := range d.Attachments {
		var tags []string
		for _, v := range a.VLAN {
			tags = append(tags, strconv.Itoa(int(v)))
		}
		rows = append(rows, []string{a.Name, a.VPN, strconv.Itoa(int(a.CEPort)), strconv.Itoa(int(a.PEPort)), strings.Join(tags, "."), a.PE, a.PEInterface, yesNo(a.Up)})
	}
	return printTable(w, []string{"attachment", "vpn", "ce port", "pe port", "vlan", "pe", "pe interface", "up"}, rows)
}
