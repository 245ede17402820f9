package controller

import (
	"slices"
	"sync"
	"testing"
	"time"

	"mpbox/apps/detector"
)

// What is listed of ended connections is swept when it has doubled, not at each end:
// a sweep looks at all.
func TestListedIsSweptWhenItHasDoubled(t *testing.T) {
	f := &flows{tap: &tap{tracker: detector.New(detector.Config{})}, listed: map[detector.SubflowID]time.Time{}, sweepAt: 5000}
	for id := range detector.SubflowID(5000) {
		f.listed[id+1] = time.Now()
	}
	f.unlist([]detector.ConnID{1})
	if len(f.listed) != 5000 {
		t.Errorf("swept at once: %d listed", len(f.listed))
	}
	f.listed[6000] = time.Now()
	f.unlist([]detector.ConnID{2})
	if len(f.listed) != 0 || f.sweepAt != 1024 {
		t.Errorf("%d listed, next sweep at %d", len(f.listed), f.sweepAt)
	}
}

// holds counts what is done in each hold.
type holds struct {
	sync.Mutex
	done []int
}

func (h *holds) Lock() {
	h.Mutex.Lock()
	h.done = append(h.done, 0)
}

// However much there is to look up, others get the tracker in between.
func TestHoldsAreShort(t *testing.T) {
	for n, want := range map[int]int{0: 0, 1: 1, perHold: 1, perHold + 1: 2, 10 * perHold: 10} {
		h := &holds{}
		sum := 0
		holding(h, make([]int, n), func(int) {
			h.done[len(h.done)-1]++
			sum++
		})
		if len(h.done) != want || sum != n || want > 0 && slices.Max(h.done) > perHold || !h.TryLock() {
			t.Errorf("%d: %d in holds of %v", n, sum, h.done)
		}
	}
}

// Each event is told with its connection as it is, or without one where that is over;
// also of more connections than are looked up in one hold of the tracker.
func TestDrainTellsOfAll(t *testing.T) {
	const n = 2*perHold + 10
	r := testReader(t, n, 0, 0)
	f := r.flows
	conns, _, _ := r.tap.tracker.Connections(0, 1, detector.Filter{})
	ended := conns[0].ID
	for i := range conns[0].Subflows {
		s := &conns[0].Subflows[i]
		r.tap.tracker.FlowEnded(s.LastSeen, s.ToServer.Ingress, s.Client, s.Server, 1, true)
	}
	told := map[detector.ConnID]bool{}
	f.publish = func(e detector.Event, c *detector.Connection) {
		told[e.Connection] = true
		if (c == nil) != (e.Connection == ended) || c != nil && c.ID != e.Connection {
			t.Fatalf("%+v with %+v", e, c)
		}
	}
	f.drain()
	if len(told) != n || len(f.listed) != 2*(n-1) {
		t.Errorf("%d connections told of, %d subflows listed; want %d, %d", len(told), len(f.listed), n, 2*(n-1))
	}
}
