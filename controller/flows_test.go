package controller

import (
	"testing"
	"time"

	"mpbox/apps/detector"
)

// What is listed of ended connections is swept when it has doubled, not at each end:
// a sweep holds the tracker.
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
