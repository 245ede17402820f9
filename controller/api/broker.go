package api

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Broker hands events to subscribers and keeps the latest ones, so that a client
// that was away for a moment misses nothing. It never waits for a subscriber: one
// that does not keep up is told so and has to read the lists again. It has no
// goroutine; the zero value is not usable.
type Broker struct {
	wantedUntil atomic.Int64 // Unix ns; MaxInt64 while somebody listens

	mu   sync.Mutex
	last uint64  // id of the latest event
	ring []Event // the latest events, oldest first, ids without gaps
	keep int
	subs map[*subscriber]struct{}
}

type subscriber struct{ ch chan Event }

// Replays are possible for replayFor after the last subscriber went away.
const (
	replayFor = 30 * time.Second
	subBuffer = 256
)

// NewBroker gives a Broker that keeps the latest keep events for replay.
func NewBroker(keep int) *Broker {
	return &Broker{
		// Ids go on growing over restarts, and stay exact in JavaScript numbers.
		last: uint64(time.Now().UnixMicro()),
		keep: keep,
		subs: map[*subscriber]struct{}{},
	}
}

// Wanted tells whether anybody would see an event. When nobody does, as under a
// flood of handshakes, it need not be built. It costs an atomic load.
func (b *Broker) Wanted() bool {
	until := b.wantedUntil.Load()
	return until != 0 && (until == math.MaxInt64 || time.Now().UnixNano() < until)
}

// Publish sends an event; it sets ID, and At where that is zero. Data must not be
// changed afterwards.
func (b *Broker) Publish(e Event) {
	if !b.Wanted() {
		return
	}
	if e.At.IsZero() {
		e.At = time.Now()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	e.ID = b.last
	if len(b.ring) >= 2*b.keep {
		b.ring = append(b.ring[:0], b.ring[len(b.ring)-b.keep:]...)
	}
	b.ring = append(b.ring, e)
	for s := range b.subs {
		select {
		case s.ch <- e:
		default: // too slow: the closed channel tells it
			b.drop(s)
		}
	}
}

// Subscribe gives the events after the one with id after; 0 means from now on. If
// some of those are gone, the first event is of type "lost". The channel is closed
// when ctx ends, or when the reader does not keep up.
func (b *Broker) Subscribe(ctx context.Context, after uint64) <-chan Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.Wanted() { // events went by unseen
		b.ring = nil
		b.last++
	}
	replay, lost := b.since(after)
	s := &subscriber{ch: make(chan Event, subBuffer+len(replay)+1)}
	if lost {
		s.ch <- Event{ID: b.last - uint64(len(replay)), At: time.Now(), Type: "lost", Action: "changed"}
	}
	for _, e := range replay {
		s.ch <- e
	}
	b.subs[s] = struct{}{}
	b.wantedUntil.Store(math.MaxInt64)
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.drop(s)
	})
	return s.ch
}

// since gives the kept events after that id, and whether some are missing.
func (b *Broker) since(after uint64) (replay []Event, lost bool) {
	switch oldest := b.last - uint64(len(b.ring)) + 1; {
	case after == 0 || after == b.last:
		return nil, false
	case after > b.last || after+1 < oldest:
		return nil, true
	default:
		return b.ring[after+1-oldest:], false
	}
}

// drop ends a subscription; b.mu is held.
func (b *Broker) drop(s *subscriber) {
	if _, ok := b.subs[s]; !ok {
		return
	}
	delete(b.subs, s)
	close(s.ch)
	if len(b.subs) == 0 {
		b.wantedUntil.Store(time.Now().Add(replayFor).UnixNano())
	}
}
