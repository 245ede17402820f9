// Command mpbox is the MP box: an OpenFlow controller that taps MPTCP
// handshakes in front of MPLS-TE provider edges and moves subflows onto
// disjoint LSPs. One file here is one command: it turns flags into the values
// that a package wants, calls it and prints. Decisions live in the packages.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end, a second one ends at once.
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// execute runs one command line and gives the exit code: 0 done, 1 failed,
// 2 usage.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	checkHelp(root)
	ran := watchRun(root)
	cmd, err := root.ExecuteContextC(ctx)
	return report(stderr, cmd, err, *ran)
}
