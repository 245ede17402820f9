package tunnelmanager

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// cli is a router behind an atomic driver: a candidate takes time by the operation,
// and is lost when the call's time is over.
type cli struct {
	*router
	line, commit time.Duration
	batches      []int
	cut          int // calls whose time was over
}

func (c *cli) Capabilities() driver.Capabilities {
	caps := c.router.Capabilities()
	caps.Atomic = true
	return caps
}

func (c *cli) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			c.cut++
		}
		return &driver.Error{PE: c.name, Step: "commit", Kind: driver.ErrUnreachable, Err: ctx.Err()}
	}
}

func (c *cli) State(ctx context.Context) (driver.State, error) {
	if err := ctx.Err(); err != nil {
		return driver.State{}, &driver.Error{PE: c.name, Step: "show", Kind: driver.ErrUnreachable, Err: err}
	}
	return c.router.State(ctx)
}

func (c *cli) Apply(ctx context.Context, ops ...driver.Op) error {
	c.batches = append(c.batches, len(ops))
	if err := c.wait(ctx, c.commit+time.Duration(len(ops))*c.line); err != nil {
		return err
	}
	return c.router.Apply(ctx, ops...)
}

// An atomic driver is handed as much as it can do in time, again and again until all
// is done; make-before-break is kept throughout (the router looks).
func TestAtomicDriverIsHandedFewOperationsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		clis := map[string]*cli{}
		n.conn = func(r *router) Conn {
			clis[r.name] = &cli{router: r, line: 200 * time.Millisecond}
			return Conn{Driver: clis[r.name], Topology: r}
		}
		m, stop := n.start(Auto, SteerFTN, nil, func(c *Config) { c.Thresholds.MaxOpsPerMinute = 10000 })
		for id := range uint64(70) {
			m.Put(conn(id+1, 2))
		}
		settle(time.Minute)
		if got := states(m); got[BindingVerified] != 4*70 {
			t.Errorf("bindings: %v", got)
		}
		for id := range uint64(70) {
			m.Remove(id + 1)
		}
		settle(time.Minute)
		stop()
		for name, c := range clis {
			if c.cut > 0 || slices.Max(c.batches) != maxCommit {
				t.Errorf("%s: %d calls were cut, batches of %v", name, c.cut, c.batches)
			}
			if len(c.ftns) > 0 || len(c.lsps) != 1 {
				t.Errorf("%s: %d FTNs and %d LSPs are left", name, len(c.ftns), len(c.lsps))
			}
			seen := map[string]bool{}
			for _, op := range c.log {
				if seen[op] {
					t.Errorf("%s: %s twice", name, op)
				}
				seen[op] = true
			}
		}
	})
}

// Each call has the whole limit: what a commit took is not taken from the reading
// after it, nor from the next one where each operation is tried alone.
func TestEachCallHasItsOwnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		var pe1 *cli
		n.conn = func(r *router) Conn {
			c := &cli{router: r, commit: 4 * time.Second}
			if r.name == "pe1" {
				pe1 = c
			}
			return Conn{Driver: c, Topology: r}
		}
		n.pes["pe1"].refuse = func(op driver.Op) error {
			if b, ok := op.(driver.Bind); ok && b.FTN.FEC.Src.Addr().As4()[2] == 1 {
				return &driver.Error{PE: "pe1", Step: "commit", Kind: driver.ErrRejected}
			}
			return nil
		}
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		for id := range uint64(3) {
			m.Put(conn(id+1, 2))
		}
		settle(25 * time.Second)
		if got := states(m); got[BindingFailed] != 1 || got[BindingVerified] != 11 {
			t.Errorf("bindings: %v, want one that is refused", got)
		}
		stop()
		if pe1.cut > 0 {
			t.Errorf("%d calls were cut", pe1.cut)
		}
	})
}

// hung is a session that is there and never answers.
type hung struct{ asked atomic.Int32 }

func (h *hung) Topology(ctx context.Context) (*topology.TED, error) {
	h.asked.Add(1)
	<-ctx.Done()
	return nil, &driver.Error{PE: "pe1", Step: "show mpls traffic-eng topology", Kind: driver.ErrUnreachable, Err: ctx.Err()}
}

// A session for the TED that hangs does not hold up the PE's other one.
func TestHungTopologyHoldsUpNoState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		h := &hung{}
		n.conn = func(r *router) Conn {
			if r.name == "pe1" {
				return Conn{Driver: &cli{router: r}, Topology: h}
			}
			return Conn{Driver: &cli{router: r}, Topology: r}
		}
		m, stop := n.start(Auto, SteerFTN, nil, nil)
		m.Put(conn(1, 2))
		settle(4 * time.Second) // not one of its readings is over
		if got := states(m); got[BindingVerified] != 4 || h.asked.Load() != 1 {
			t.Errorf("bindings: %v, TED asked for %d times", got, h.asked.Load())
		}
		settle(time.Minute)
		stop()
		pe := m.View().PEs[0]
		if !pe.Reachable || time.Since(pe.LastRead) > 3*time.Second || pe.TEDErr == nil || !strings.Contains(pe.TEDErr.Error(), "topology") {
			t.Errorf("reachable %v, read %s ago, TED: %v", pe.Reachable, time.Since(pe.LastRead), pe.TEDErr)
		}
		if asked := h.asked.Load(); asked < 10 || asked > 13 {
			t.Errorf("TED asked for %d times within a minute, each bounded by 5 s", asked)
		}
		for _, c := range m.View().Changes {
			if c.Action == "pe-lost" {
				t.Errorf("PE lost: %s", c.Detail)
			}
		}
	})
}

// slowTED is a session whose TED takes longer than a state is held up for it.
type slowTED struct{ *router }

func (s slowTED) Topology(ctx context.Context) (*topology.TED, error) {
	time.Sleep(3 * tedPatience)
	return s.router.Topology(ctx)
}

// A TED that comes late is told when it comes, not with the next reading of the state.
func TestLateTopologyIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.conn = func(r *router) Conn { return Conn{Driver: &cli{router: r}, Topology: slowTED{r}} }
		m, stop := n.start(Auto, SteerFTN, nil, func(c *Config) { c.PEs[0].Poll, c.PEs[1].Poll = time.Hour, time.Hour })
		defer stop()
		settle(3*tedPatience + time.Second)
		if v := m.View(); v.TED == nil || v.TEDFrom != TEDPEs {
			t.Errorf("TED from %s", v.TEDFrom)
		}
	})
}
