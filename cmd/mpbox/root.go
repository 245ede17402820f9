package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mpbox/controller/config"
)

// Exit codes that scripts rely on.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// usageError is a command line that cannot be meant: exit code 2. What cobra
// itself finds wrong (unknown flag, missing argument) needs no wrapping.
type usageError struct{ msg string }

func (e usageError) Error() string { return e.msg }

// usagef gives a usageError.
func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// errSilent ends a command with exit code 1 when it has printed all there is to
// say.
var errSilent = errors.New("failed")

// newRoot builds the command tree. Each constructor is in a file of its own.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "mpbox",
		Short: "Steer MPTCP subflows onto disjoint MPLS-TE paths",
		Long: `mpbox taps MPTCP handshakes in front of the provider edge routers, finds the
subflows of each connection, and moves them onto label switched paths that share
as little as possible.

Exit codes: 0 done, 1 failed, 2 usage. With -o json a command prints exactly one
JSON document on stdout; logs go to stderr.`,
		Example: `  # The emulated provider network: subflows are found and moved, goodput multiplies
  mpbox lab demo
  # Check a configuration, then run the controller with it
  mpbox config check mpbox.yaml
  mpbox run --config mpbox.yaml
  # What a running controller sees, and why it did what it did
  mpbox flow list
  mpbox explain 7f3a9c01
  # Without a controller: find MPTCP in captures, find disjoint paths in a topology
  mpbox detect edge1.pcap edge2.pcap
  mpbox paths --topology net.yaml --from A --to B -k 2 --disjoint node`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: groupDaemon, Title: "The controller:"},
		&cobra.Group{ID: groupClient, Title: "Ask a running controller:"},
		&cobra.Group{ID: groupOffline, Title: "Without a controller:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupDaemon, newRunCmd(), newConfigCmd())
	add(groupClient, newStatusCmd(), newFlowCmd(), newExplainCmd(), newLSPCmd(), newPECmd(), newTapCmd(),
		newThresholdCmd(), newModeCmd(), newChangeCmd(), newEventsCmd())
	add(groupOffline, newDetectCmd(), newPathsCmd(), newPlanCmd(), newLabCmd(), newBenchCmd())
	return root
}

// Groups of commands in the help text.
const (
	groupDaemon  = "daemon"
	groupClient  = "client"
	groupOffline = "offline"
)

// checkHelp has help refuse commands that are not there; cobra's own tells of them
// and ends well.
func checkHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, err := root.Find([]string{"help"})
	if err != nil {
		return
	}
	help.Args = func(_ *cobra.Command, args []string) error {
		if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
			return usagef("unknown command %q", strings.Join(args, " "))
		}
		return nil
	}
}

// watchRun makes commands that only group others ask for one of them, and tells
// afterwards whether a command's own code was reached: an error before that is
// one of usage.
func watchRun(root *cobra.Command) *bool {
	ran := new(bool)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		switch {
		case c.RunE != nil:
			run := c.RunE
			c.RunE = func(c *cobra.Command, args []string) error {
				*ran = true
				return run(c, args)
			}
		case c.Run != nil:
			run := c.Run
			c.Run = func(c *cobra.Command, args []string) {
				*ran = true
				run(c, args)
			}
		default:
			c.Args = cobra.ArbitraryArgs
			c.DisableFlagsInUseLine = true
			c.RunE = func(c *cobra.Command, args []string) error {
				if len(args) > 0 {
					return usagef("unknown command %q", args[0])
				}
				c.SetOut(c.ErrOrStderr())
				_ = c.Help()
				return usagef("a command is needed")
			}
		}
	}
	walk(root)
	return ran
}

// report prints what went wrong and gives the exit code.
func report(stderr io.Writer, cmd *cobra.Command, err error, ran bool) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errSilent):
		return exitError
	case !ran || errors.As(err, &usage):
		fmt.Fprintf(stderr, "%s: %v\nTry '%s --help'.\n", cmd.CommandPath(), err, cmd.CommandPath())
		return exitUsage
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(stderr, "%s: interrupted\n", cmd.CommandPath())
		return exitError
	case config.ProblemsOf(err) != nil: // begins with file:line:col
		fmt.Fprintln(stderr, err)
		return exitError
	default:
		fmt.Fprintf(stderr, "%s: %v\n", cmd.CommandPath(), err)
		return exitError
	}
}

// interruptible gives what f computes, unless the command is interrupted before: f
// knows of no context, and is left to the end of the process then.
func interruptible[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	var none T
	if ctx.Err() != nil {
		return none, ctx.Err()
	}
	go func() {
		v, err := f()
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}
