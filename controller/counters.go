package controller

import (
	"sync"
	"time"

	"mpbox/apps/tunnelmanager"
)

// A flow whose rule was withdrawn is kept for keepCounted: its end is heard a round trip
// later, and the detector shows a closed subflow for 30 s. Of those no more than
// maxWithdrawn are kept, the youngest.
const (
	keepCounted  = time.Minute
	maxWithdrawn = 100_000
)

// counters are what edge rules have counted of flows, where they enter, over rules that
// end, are replaced or are lost with their bridge. The zero value is ready for use.
type counters struct {
	mu        sync.Mutex
	flows     map[uint64]*counter // by the number of the flow's rule
	withdrawn []withdrawal        // oldest first
	heard     map[uint64]bool     // ends since the reading under way began
}

type counter struct {
	rule      tunnelmanager.EdgeRule
	withdrawn time.Time // zero while the rule is declared
	ended     uint64    // bytes of rules whose end was heard, which the detector knows
	lost      uint64    // bytes last read of rules that began anew, whose end was not heard
	live      uint64    // bytes last read of the rule that is installed
}

type withdrawal struct {
	id uint64
	at time.Time
}

// declare tells which rules there are to be from now on.
func (c *counters) declare(rules []tunnelmanager.EdgeRule, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flows == nil {
		c.flows = map[uint64]*counter{}
	}
	declared := make(map[uint64]bool, len(rules))
	for _, r := range rules {
		if r.FromPE {
			continue // the flow leaves there
		}
		declared[r.ID] = true
		if c.flows[r.ID] == nil {
			c.flows[r.ID] = &counter{}
		}
		c.flows[r.ID].rule, c.flows[r.ID].withdrawn = r, time.Time{}
	}
	for id, x := range c.flows {
		if x.withdrawn.IsZero() && !declared[id] {
			x.withdrawn = now
			c.withdrawn = append(c.withdrawn, withdrawal{id, now})
		}
	}
}

// reading begins a reading of the bridges: it may be older than an end that is heard
// before it is taken in.
func (c *counters) reading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = map[uint64]bool{}
}

// read takes in the bytes that rules have counted, by rule, and gives for each flow those
// that the detector does not know of. A bridge that did not answer leaves its flows as
// they were.
func (c *counters) read(bytes map[uint64]uint64, now time.Time) map[uint64]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.withdrawn) > maxWithdrawn || len(c.withdrawn) > 0 && now.Sub(c.withdrawn[0].at) >= keepCounted {
		w := c.withdrawn[0]
		c.withdrawn = c.withdrawn[1:]
		if x := c.flows[w.id]; x != nil && x.withdrawn.Equal(w.at) {
			delete(c.flows, w.id)
		}
	}
	out := map[uint64]uint64{}
	for id, x := range c.flows {
		if n, ok := bytes[id]; ok && !c.heard[id] {
			if n < x.live {
				x.lost += x.live
			}
			x.live = n
		}
		if n := x.lost + x.live; n > 0 {
			out[id] = n
		}
	}
	return out
}

// end takes in the end of a rule, and gives the rule; false where no flow was counted by it.
func (c *counters) end(id, bytes uint64) (tunnelmanager.EdgeRule, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.flows[id]
	if x == nil {
		return tunnelmanager.EdgeRule{}, false
	}
	if c.heard != nil {
		c.heard[id] = true
	}
	x.ended, x.live = x.ended+bytes, 0
	return x.rule, true
}

// of gives the bytes of a flow, and those of them that the detector does not know of.
func (c *counters) of(id uint64) (all, unheard uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.flows[id]
	if x == nil {
		return 0, 0
	}
	return x.ended + x.lost + x.live, x.lost + x.live
}
