package tunnelmanager

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// disk is a Store that may be full.
type disk struct {
	mu sync.Mutex
	memory
	full  bool
	tries int // of Write
}

func newDisk() *disk { return &disk{memory: memory{values: map[string]any{}}} }

var errFull = errors.New("no space left on device")

func (d *disk) Write(values map[string]any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tries++
	if d.full {
		return errFull
	}
	return d.memory.Write(values)
}

func (d *disk) fill(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full, d.tries = full, 0
}

// What a full disk does not take is in force, is told to whoever set it, and is
// written when there is room: not in a hurry, and not lost.
func TestWhatIsNotKeptIsToldAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		store := newDisk()
		m, stop := n.start(Suggest, SteerFTN, store, nil)
		m.Put(conn(1, 2))
		settle(5 * time.Second)
		store.fill(true)
		if _, err := m.Approve(t.Context(), "ann", "p1"); !errors.Is(err, ErrNotKept) || !errors.Is(err, errFull) {
			t.Errorf("approval: %v", err)
		}
		l := limitsForTest()
		l.MinGain = 7
		if err := m.SetThresholds(t.Context(), "ann", l, nil); !errors.Is(err, ErrNotKept) {
			t.Errorf("thresholds: %v", err)
		}
		for range 2 { // the second changes nothing, and is not kept either
			if err := m.SetMode(t.Context(), "ann", Observe); !errors.Is(err, ErrNotKept) {
				t.Errorf("mode: %v", err)
			}
		}
		if v := m.View(); v.Mode != Observe || v.Limits.MinGain != 7 || v.Plans[0].State == PlanProposed {
			t.Errorf("not in force: %s, %+v, %+v", v.Mode, v.Limits, v.Plans[0])
		}
		store.fill(true)
		settle(time.Minute)
		if store.tries < 6 || store.tries > 13 {
			t.Errorf("tried %d times within a minute", store.tries)
		}
		store.fill(false)
		settle(savePause + time.Second)
		if store.values["mode"] != Observe || store.tries == 0 {
			t.Errorf("the store has mode %v after %d tries", store.values["mode"], store.tries)
		}
		if err := m.SetMode(t.Context(), "ann", Observe); err != nil {
			t.Errorf("once there is room: %v", err)
		}
		store.fill(true)
		if err := m.SetMode(t.Context(), "ann", Suggest); !errors.Is(err, ErrNotKept) {
			t.Errorf("mode: %v", err)
		}
		store.fill(false)
		stop() // before the pause is over
		m, stop = n.start(Auto, SteerFTN, store, nil)
		defer stop()
		if v := m.View(); v.Mode != Suggest || v.Limits.MinGain != 7 {
			t.Errorf("after a restart: %s, %+v", v.Mode, v.Limits)
		}
	})
}

// What comes and goes while the store fails is not remembered for it.
func TestFailingStoreDoesNotFillTheMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		store := newDisk()
		m, stop := n.start(Auto, SteerFTN, store, nil)
		m.Put(conn(1, 2))
		settle(5 * time.Second)
		store.fill(true)
		for id := range uint64(50) {
			m.Put(conn(id+2, 2))
			settle(3 * time.Second)
			m.Remove(id + 1)
			settle(3 * time.Second)
		}
		stop()
		gone := 0
		for key, v := range m.unsaved {
			if _, had := store.values[key]; v == nil && !had {
				t.Errorf("%s is to be deleted, and was never there", key)
			} else if v == nil {
				gone++
			}
		}
		if gone == 0 {
			t.Error("nothing is to be deleted: the first connection's was kept")
		}
	})
}
