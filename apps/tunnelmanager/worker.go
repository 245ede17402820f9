package tunnelmanager

import (
	"context"
	"errors"
	"time"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// Conn is the sessions to one PE.
type Conn struct {
	Driver driver.Driver
	// Topology reads the PE's TED; nil where this PE is not asked for it.
	Topology driver.TopologyReader
}

// peReport is what a worker learned in one visit to its PE.
type peReport struct {
	pe    string
	state driver.State
	ted   *topology.TED
	// ops were handed over: done are those that the PE accepted, failed those it
	// did not. Operations in neither were not tried.
	ops    []driver.Op
	done   []driver.Op
	failed []opError
	// err is why the PE could not be read, or does not answer at all.
	err error
	// tedRead: ted and tedErr are news.
	tedRead bool
	tedErr  error
}

// opError is an operation that a PE did not accept.
type opError struct {
	op  driver.Op
	err error
}

// worker is the one goroutine that speaks to a PE: it polls, and it carries out
// the operations that it is handed, reading back after each visit.
type worker struct {
	pe      PE
	conn    Conn
	timeout time.Duration
	ops     chan []driver.Op // the manager sends when the worker is idle
	poll    chan struct{}    // one slot: read now
	report  chan<- peReport
	tedRead time.Time
}

func newWorker(pe PE, conn Conn, timeout time.Duration, report chan<- peReport) *worker {
	return &worker{pe: pe, conn: conn, timeout: timeout, ops: make(chan []driver.Op, 1), poll: make(chan struct{}, 1), report: report}
}

func (w *worker) run(ctx context.Context) error {
	defer func() {
		w.conn.Driver.Close()
		if c, ok := w.conn.Topology.(interface{ Close() error }); ok && w.conn.Topology != any(w.conn.Driver) {
			c.Close()
		}
	}()
	tick := time.NewTicker(w.pe.Poll)
	defer tick.Stop()
	for {
		var r peReport
		select {
		case <-ctx.Done():
			return nil
		case ops := <-w.ops:
			r = w.visit(ctx, ops)
		case <-tick.C:
			r = w.visit(ctx, nil)
		case <-w.poll:
			r = w.visit(ctx, nil)
		}
		select {
		case w.report <- r:
		case <-ctx.Done():
			return nil
		}
	}
}

// visit applies ops, if any, and reads the PE.
func (w *worker) visit(ctx context.Context, ops []driver.Op) peReport {
	r := peReport{pe: w.pe.Name, ops: ops}
	if len(ops) > 0 {
		w.apply(ctx, &r)
	}
	rctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	// The TED first: a path that failed is known to have failed when the LSP that
	// left it is seen on another.
	if now := time.Now(); w.conn.Topology != nil && now.Sub(w.tedRead) >= w.pe.TEDPoll {
		w.tedRead = now
		r.ted, r.tedErr = w.conn.Topology.Topology(rctx)
		r.tedRead = true
	}
	r.state, r.err = w.conn.Driver.State(rctx)
	return r
}

// apply hands the operations over. All at once first: an atomic driver commits
// them together. When one of them is refused, each is tried alone, so that one
// refused row does not hold up the others.
func (w *worker) apply(ctx context.Context, r *peReport) {
	actx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	err := w.conn.Driver.Apply(actx, r.ops...)
	if err == nil {
		r.done = r.ops
		return
	}
	if lost(err) || len(r.ops) == 1 {
		r.failed = []opError{{r.ops[0], err}}
		return
	}
	for _, op := range r.ops {
		err := w.conn.Driver.Apply(actx, op)
		if err == nil {
			r.done = append(r.done, op)
			continue
		}
		r.failed = append(r.failed, opError{op, err})
		if lost(err) {
			return
		}
	}
}

// lost reports whether the session, rather than the operation, is what failed.
func lost(err error) bool {
	return errors.Is(err, driver.ErrUnreachable) || errors.Is(err, driver.ErrAuth)
}
