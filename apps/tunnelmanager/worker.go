package tunnelmanager

import (
	"context"
	"errors"
	"sync"
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
	pe     PE
	conn   Conn
	ops    chan []driver.Op // the manager sends when the worker is idle
	poll   chan struct{}    // one slot: read now
	report chan<- peReport

	tedBegan time.Time
	// late has one slot, for a TED that the visit which asked for it did not wait for;
	// until it comes, no other is asked for.
	late    chan tedReading
	waiting bool
	reader  sync.WaitGroup // of late
}

// tedReading is what a reading of the TED gave.
type tedReading struct {
	ted *topology.TED
	err error
}

func newWorker(pe PE, conn Conn, report chan<- peReport) *worker {
	return &worker{pe: pe, conn: conn, ops: make(chan []driver.Op, 1), poll: make(chan struct{}, 1), late: make(chan tedReading, 1), report: report}
}

func (w *worker) run(ctx context.Context) error {
	defer func() {
		w.reader.Wait()
		w.conn.Driver.Close()
		if c, ok := w.conn.Topology.(interface{ Close() error }); ok && !w.oneSession() {
			c.Close()
		}
	}()
	tick := time.NewTicker(w.pe.Poll)
	defer tick.Stop()
	for {
		r := peReport{pe: w.pe.Name}
		select {
		case <-ctx.Done():
			return nil
		case r.ops = <-w.ops:
		case t := <-w.late:
			w.took(&r, t)
		case <-tick.C:
		case <-w.poll:
		}
		w.visit(ctx, &r)
		select {
		case w.report <- r:
		case <-ctx.Done():
			return nil
		}
	}
}

// oneSession tells that the TED is read by the driver itself.
func (w *worker) oneSession() bool { return w.conn.Topology == any(w.conn.Driver) }

// visit applies the operations, if any, and reads the PE.
func (w *worker) visit(ctx context.Context, r *peReport) {
	if len(r.ops) > 0 {
		w.apply(ctx, r)
	}
	// The TED first: a path that failed is known to have failed when the LSP that
	// left it is seen on another.
	if w.conn.Topology != nil && !w.waiting && time.Since(w.tedBegan) >= w.pe.TEDPoll {
		w.readTED(ctx, r)
	}
	ctx, cancel := context.WithTimeout(ctx, w.pe.Limit)
	defer cancel()
	r.state, r.err = w.conn.Driver.State(ctx)
}

// tedPatience is how long the state is not read for the TED's sake, where that comes
// over a session of its own.
const tedPatience = time.Second

// readTED reads the TED; one that takes long is left to a later report.
func (w *worker) readTED(ctx context.Context, r *peReport) {
	w.tedBegan, w.waiting = time.Now(), true
	read := func() {
		ctx, cancel := context.WithTimeout(ctx, w.pe.TEDLimit)
		defer cancel()
		ted, err := w.conn.Topology.Topology(ctx)
		w.late <- tedReading{ted, err}
	}
	if w.oneSession() {
		read()
	} else {
		w.reader.Go(read)
	}
	select {
	case t := <-w.late:
		w.took(r, t)
	case <-time.After(tedPatience):
	case <-ctx.Done():
	}
}

func (w *worker) took(r *peReport, t tedReading) {
	r.ted, r.tedErr, r.tedRead, w.waiting = t.ted, t.err, true, false
}

// apply hands the operations over. All at once first: an atomic driver commits
// them together. When one of them is refused, each is tried alone, so that one
// refused row does not hold up the others.
func (w *worker) apply(ctx context.Context, r *peReport) {
	apply := func(ops ...driver.Op) error {
		ctx, cancel := context.WithTimeout(ctx, w.pe.Limit)
		defer cancel()
		return w.conn.Driver.Apply(ctx, ops...)
	}
	err := apply(r.ops...)
	if err == nil {
		r.done = r.ops
		return
	}
	if lost(err) || len(r.ops) == 1 {
		r.failed = []opError{{r.ops[0], err}}
		return
	}
	for _, op := range r.ops {
		err := apply(op)
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
