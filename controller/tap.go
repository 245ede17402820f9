package controller

import (
	"sync"

	"go.uber.org/zap"

	"mpbox/apps/detector"
	"mpbox/controller/config"
	"mpbox/southbound/datapath"
	"mpbox/southbound/openflow"
)

// tap brings punts, and the frames of mirrors, to the detector. It owns the Tracker: every use of it holds mu.
// The sessions' readers call Punts; nothing is queued, so a switch that sends more
// than can be read is slowed by TCP, and its own meters drop.
type tap struct {
	places  *places
	observe config.Observe
	log     *zap.Logger
	// news has one slot: the tracker may have events, if it collects any.
	news   chan struct{}
	events bool
	// expect has third ACKs punted one by one; nil unless they are tapped so.
	expect *expecter

	mu       sync.Mutex
	tracker  *detector.Tracker
	batch    []detector.Frame      // scratch of Punts
	dscps    dscps                 // nil where no PE steers by class
	observed map[uint64]portPlaces // datapaths that the configuration does not name
	// ended is called with the rules that are gone; set before anything connects.
	ended func(dpid uint64, e datapath.End)
	// changed is called when a datapath's state changes.
	changed func(dpid uint64, name string, state datapath.State, reason string)
}

var _ datapath.Handler = (*tap)(nil)

// Punts takes a batch of punted packets in, in the order in which the switch sent
// them.
func (t *tap) Punts(s *openflow.Session, at int64, batch []openflow.Punt) {
	if t.expect != nil {
		t.expect.see(s.DPID(), batch)
	}
	t.mu.Lock()
	ports := t.places.byDatapath[s.DPID()]
	if ports == nil {
		ports = t.observed[s.DPID()]
	}
	if ports == nil {
		ports = t.places.observed(t.tracker, s.DPID(), t.observe)
		t.observed[s.DPID()] = ports
	}
	frames := t.batch[:0]
	var port uint32
	var place *portPlace
	for i := range batch {
		p := &batch[i]
		if place == nil || p.InPort != port {
			port, place = p.InPort, ports[p.InPort]
		}
		frames = append(frames, detector.Frame{At: at, Place: place.of(p.Frame), Data: p.Frame})
	}
	t.observeFrames(frames)
	t.batch = frames
	t.mu.Unlock()
	if t.events {
		t.wake()
	}
}

// observeFrames gives frames to the detector; mu is held. It keeps none of them.
func (t *tap) observeFrames(frames []detector.Frame) {
	t.tracker.ObserveFrames(frames)
	if t.dscps != nil {
		for i := range frames {
			if f := &frames[i]; dscpOf(f.Data) != 0 {
				t.dscps.see(t.tracker.Place(f.Place).Scope, f.Data)
			}
		}
	}
	clear(frames) // the read buffer is the source's
}

func (t *tap) wake() {
	select {
	case t.news <- struct{}{}:
	default:
	}
}

// EdgeRuleEnded tells of a bound flow that is over.
func (t *tap) EdgeRuleEnded(dpid uint64, e datapath.End) { t.ended(dpid, e) }

// StateChanged tells of a datapath that came or went.
func (t *tap) StateChanged(dpid uint64, name string, state datapath.State, reason string) {
	t.changed(dpid, name, state, reason)
}
