package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mpbox/examples/lab"
)

// newLabCmd is the emulated provider network.
func newLabCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "lab",
		Short: "An emulated provider network to try mpbox on",
		Long: `The lab is a provider network in network namespaces: hosts with kernel MPTCP,
Open vSwitch bridges as edges and label switching routers, and PE routers with a
real snmpd and an IOS-XR-like CLI. Needs root. All of it is gone after "lab down".`,
		Example: `  mpbox lab demo
  mpbox lab up --topology four-path
  mpbox lab status --json
  mpbox lab exec client ping -c 3 10.2.0.1
  mpbox lab down`,
	}
	var name string
	c.PersistentFlags().StringVar(&name, "name", "mpl", "name of the lab: labs of different names do not collide")
	open := func() (*lab.Lab, error) {
		l, err := lab.Open(name, "")
		return l, labError(err)
	}
	c.AddCommand(
		newLabDemoCmd(&name), newLabUpCmd(&name), newLabDownCmd(open), newLabStatusCmd(open), newLabGraphCmd(),
		newLabExecCmd(open), newLabLinkCmd(open), newLabFaultCmd(open), newLabTrafficCmd(open), newLabPECmd(),
	)
	return c
}

// labError turns the lab's option errors into usage errors.
func labError(err error) error {
	var o lab.OptionError
	if errors.As(err, &o) {
		return usageError{o.Error()}
	}
	return err
}

// labFlags are the options of a lab that is brought up.
func labFlags(cmd *cobra.Command, o *lab.Options, rate *string) {
	f := cmd.Flags()
	f.StringVar(&o.Topology, "topology", "two-path", "network: "+strings.Join(lab.Networks(), ", ")+", or a file")
	f.StringVar(&o.PE, "pe", "snmp", "driver that mpbox uses for the PEs: snmp or iosxr")
	f.StringVar(&o.Steer, "steer", "ftn", "how PEs tell flows apart: ftn (5-tuple) or class (DSCP)")
	f.IntVar(&o.Subflows, "subflows", 0, "subflows per connection (default: what the topology says)")
	f.StringVar(rate, "rate", "", "capacity of all core links, like 20M (default: what the topology says)")
}

// labOptions finishes what labFlags began and loads the network.
func labOptions(o *lab.Options, rate string) (*lab.Network, error) {
	if rate != "" {
		r, err := lab.ParseRate(rate)
		if err != nil {
			return nil, usageError{err.Error()}
		}
		o.Rate = r
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	o.Binary = exe
	return lab.LoadNetwork(o.Topology)
}

// labProgress writes each step to stderr as it begins, and how long it took.
func labProgress(w io.Writer) lab.Progress {
	last, running := time.Now(), false
	return func(step string) {
		now := time.Now()
		if running {
			_, _ = fmt.Fprintf(w, "  %.1f s\n", now.Sub(last).Seconds())
		}
		last, running = now, step != ""
		if running {
			_, _ = fmt.Fprintf(w, "%-40s", step)
		}
	}
}

func newLabUpCmd(name *string) *cobra.Command {
	var o lab.Options
	var rate string
	var out output
	cmd := &cobra.Command{
		Use: "up", Short: "Bring a lab up", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.isJSON()
			if err != nil {
				return err
			}
			o.Name = *name
			n, err := labOptions(&o, rate)
			if err != nil {
				return err
			}
			progress := labProgress(cmd.ErrOrStderr())
			l, err := lab.Up(cmd.Context(), n, o, progress)
			progress("")
			if err != nil {
				return labError(err)
			}
			st, err := l.Status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), st)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Lab %s is up: %s, %d hosts, %d PEs.\n\nStart mpbox in it:   %s\nRun on a host:       %s iperf3 …\nSee all of it:       mpbox lab status --name %s\nTake it down:        mpbox lab down --name %s\n",
				st.Name, st.Topology, len(st.Hosts), len(st.PEs), st.Controller.Shell, st.Hosts[0].Exec, st.Name, st.Name)
			return err
		},
	}
	labFlags(cmd, &o, &rate)
	cmd.Flags().StringVar(&o.Mode, "mode", "observe", "mode in mpbox's configuration: observe, suggest or auto")
	out.addFlags(cmd)
	return cmd
}

func newLabDownCmd(open func() (*lab.Lab, error)) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Take a lab down, or what is left of one", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := open()
			if errors.Is(err, lab.ErrNoLab) {
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "nothing to do:", err)
				return nil
			}
			if err != nil {
				return err
			}
			progress := labProgress(cmd.ErrOrStderr())
			defer progress("")
			return l.Down(cmd.Context(), progress)
		},
	}
}

func newLabStatusCmd(open func() (*lab.Lab, error)) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use: "status", Short: "Hosts, links and PEs of a lab, and how to reach them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.isJSON()
			if err != nil {
				return err
			}
			l, err := open()
			if err != nil {
				return err
			}
			st, err := l.Status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), st)
			}
			return printLabStatus(cmd.OutOrStdout(), st)
		},
	}
	out.addFlags(cmd)
	return cmd
}

func printLabStatus(w io.Writer, st lab.Status) error {
	var hosts, links, pes [][]string
	for _, h := range st.Hosts {
		for _, i := range h.Interfaces {
			first := []string{}
			for _, gw := range i.Gateways {
				k := slices.IndexFunc(i.Addresses, func(a netip.Prefix) bool { return a.Addr().Is4() == gw.Is4() })
				first = append(first, i.Addresses[k].String())
			}
			hosts = append(hosts, []string{h.Name, h.Namespace, h.VPN, i.Name, strings.Join(first, " "), i.PE, i.Attachment})
		}
	}
	for _, l := range st.Links {
		rate, state := "-", "down"
		if l.RateBPS > 0 {
			rate = lab.Rate(l.RateBPS).String()
		}
		if l.Up {
			state = "up"
		}
		links = append(links, []string{l.Name, l.Kind, l.Ends[0].Namespace, l.Ends[0].Interface, l.Ends[1].Interface, rate, state})
	}
	for _, p := range st.PEs {
		state := "running"
		if p.Process.PID == 0 || p.SNMPD.PID == 0 {
			state = "dead"
		}
		pes = append(pes, []string{p.Name, p.RouterID.String(), p.Namespace, p.SNMP.Address, p.SSH.Address, state, p.EventLog})
	}
	if _, err := fmt.Fprintf(w, "Lab %s: %s, %d subflows from %s to %s, at most %s bit/s\n\n", st.Name, st.Topology, st.Subflows, st.Client, st.Server, lab.Rate(st.MaxFlow)); err != nil {
		return err
	}
	for _, t := range []struct {
		head []string
		rows [][]string
	}{
		{[]string{"host", "namespace", "vpn", "interface", "first addresses", "pe", "attachment"}, hosts},
		{[]string{"link", "kind", "namespace", "end", "end", "rate", "state"}, links},
		{[]string{"pe", "router id", "namespace", "snmp", "ssh", "state", "log of changes"}, pes},
	} {
		if err := printTable(w, t.head, t.rows); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "mpbox:    %s\nAPI:      %s (in namespace %s)\nvswitchd: %s\n", st.Controller.Shell, st.Controller.API, st.Controller.Namespace, st.OVS.VSwitchd.Shell)
	return err
}

func newLabGraphCmd() *cobra.Command {
	var topo, format string
	cmd := &cobra.Command{
		Use: "graph", Short: "Draw a network", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := lab.LoadNetwork(topo)
			if err != nil {
				return err
			}
			drawing, err := n.Graph(format)
			if err != nil {
				return labError(err)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), drawing)
			return err
		},
	}
	cmd.Flags().StringVar(&topo, "topology", "two-path", "network: "+strings.Join(lab.Networks(), ", ")+", or a file")
	cmd.Flags().StringVar(&format, "format", "dot", "dot, mermaid or svg")
	return cmd
}

func newLabExecCmd(open func() (*lab.Lab, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use: "exec WHERE COMMAND [ARG…]", Short: "Run a command on a host, a PE, in noc or fab", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			line, err := l.Exec(args[0], args[1:]...)
			if err != nil {
				return labError(err)
			}
			x := exec.CommandContext(cmd.Context(), line[0], line[1:]...)
			x.Stdin, x.Stdout, x.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			if err := x.Run(); err != nil {
				return fmt.Errorf("run on %s: %w", args[0], err)
			}
			return nil
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func newLabLinkCmd(open func() (*lab.Lab, error)) *cobra.Command {
	return &cobra.Command{
		Use: "link NAME up|down", Short: "Cut or mend a core link", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[1] != "up" && args[1] != "down" {
				return usagef("link state %q: want up or down", args[1])
			}
			l, err := open()
			if err != nil {
				return err
			}
			return labError(l.SetLink(cmd.Context(), args[0], args[1] == "up"))
		},
	}
}

func newLabFaultCmd(open func() (*lab.Lab, error)) *cobra.Command {
	return &cobra.Command{
		Use: "fault PE FAULT…", Short: "Make a PE misbehave: refuse-ftn, refuse-tunnel, die-after-sets=N, slow=T, slow-set=T; or off",
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			return labError(l.SetFault(args[0], strings.Join(args[1:], " ")))
		},
	}
}

func newLabTrafficCmd(open func() (*lab.Lab, error)) *cobra.Command {
	var spec lab.TrafficSpec
	var direction string
	var settle, window time.Duration
	cmd := &cobra.Command{
		Use: "traffic", Short: "Load MPTCP connections between two hosts and measure goodput at the receiver", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch direction {
			case "upload", "download":
				spec.Direction = lab.Direction(direction)
			default:
				return usagef("direction %q: want upload or download", direction)
			}
			l, err := open()
			if err != nil {
				return err
			}
			r, err := l.Measure(cmd.Context(), spec, settle, window)
			if err != nil {
				return labError(err)
			}
			return printJSON(cmd.OutOrStdout(), r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&spec.Client, "from", "", "client host (default: the demo's)")
	f.StringVar(&spec.Server, "to", "", "server host (default: the demo's)")
	f.StringVar(&direction, "direction", "upload", "upload or download, as the client sees it")
	f.IntVar(&spec.Connections, "connections", 1, "number of connections")
	f.BoolVar(&spec.IPv6, "ipv6", false, "use IPv6")
	f.BoolVar(&spec.PlainTCP, "tcp", false, "plain TCP instead of MPTCP")
	f.DurationVar(&settle, "settle", 3*time.Second, "time before measuring")
	f.DurationVar(&window, "window", 10*time.Second, "time of measuring")
	return cmd
}

func newLabPECmd() *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use: "pe", Short: "The process of one PE router", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return lab.RunPE(cmd.Context(), state)
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "description of the PE: RUNDIR/<pe>.json")
	_ = cmd.MarkFlagRequired("state")
	return cmd
}
