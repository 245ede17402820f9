package pe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"mpbox/examples/lab/fabric"
	"mpbox/examples/lab/pe/agentx"
	"mpbox/examples/lab/pe/mib"
	"mpbox/examples/lab/pe/router"
	"mpbox/examples/lab/pe/xrcli"
)

// Router is the state behind a PE's front ends.
type Router = router.Router

// Run is the PE process of a lab: it ends with ctx, or when it cannot go on.
func Run(ctx context.Context, node fabric.Node) error {
	f, err := fabric.New(node)
	if err != nil {
		return err
	}
	p := Process{
		Node: node, Plane: f, Log: func(err error) { fmt.Fprintln(os.Stderr, time.Now().Format(time.RFC3339Nano), err) },
		// As killed: nothing is tidied up.
		Die: func() { os.Exit(137) },
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	errs := make(chan error, 2)
	wg.Go(func() { errs <- f.Run(ctx) })
	wg.Go(func() { errs <- p.Run(ctx) })
	err = <-errs
	cancel()
	return errors.Join(err, <-errs)
}

// Process is a router with its front ends on a data plane.
type Process struct {
	Node  fabric.Node
	Plane router.Plane
	// Die is called for the fault die-after-sets.
	Die func()
	Log func(error)
	// Ready, if not nil, is called once the CLI listens, with the router and the
	// listener's address. Registered, if not nil, when the subagent has
	// registered with snmpd (true) or lost it (false).
	Ready      func(*Router, net.Addr)
	Registered func(bool)
}

// Run runs the process until ctx ends.
func (p *Process) Run(ctx context.Context) error {
	r, err := router.New(p.Node, p.Plane, router.Options{Die: p.Die, Log: p.Log})
	if err != nil {
		return err
	}
	cli, err := xrcli.New(r, p.Log)
	if err != nil {
		return err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.Node.SSH.Address.String())
	if err != nil {
		return fmt.Errorf("listen for CLI: %w", err)
	}
	sub := &agentx.Subagent{
		Dial: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", p.Node.AgentX)
		},
		Descr: p.Node.Name, Subtrees: mib.Subtrees(), Handler: mib.New(r), Log: p.Log, Up: p.Registered,
	}
	if p.Ready != nil {
		p.Ready(r, ln.Addr())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make(chan error, 3)
	for _, run := range []func(context.Context) error{r.Run, sub.Run, func(ctx context.Context) error { return cli.Serve(ctx, ln) }} {
		wg.Go(func() {
			errs <- run(ctx)
			cancel()
		})
	}
	wg.Wait()
	return errors.Join(<-errs, <-errs, <-errs)
}
