package openflow

import "sync"

// outbox collects what the writer goroutine sends next, in order, and hands out
// transaction ids in that order.
type outbox struct {
	mu      sync.Mutex
	pending []byte
	spare   []byte // the writer's other buffer
	xid     uint32
	max     int
	closed  bool
	wake    chan struct{} // one slot: something is pending
}

func (o *outbox) init(limit int) {
	o.max = limit
	o.wake = make(chan struct{}, 1)
}

// send appends the messages as a unit. Before they can be sent it calls before
// (may be nil) with the first and the last of their xids.
func (o *outbox) send(msgs []Message, before func(first, last uint32)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return ErrClosed
	}
	if len(o.pending) > o.max {
		return ErrBacklog
	}
	start := len(o.pending)
	// xid 0 is what switches use for messages of their own.
	if o.xid > 1<<32-2-uint32(len(msgs)) {
		o.xid = 0
	}
	first := o.xid + 1
	for _, m := range msgs {
		o.xid++
		b, err := AppendMessage(o.pending, o.xid, m)
		if err != nil {
			o.pending = o.pending[:start]
			return err
		}
		o.pending = b
	}
	if before != nil {
		before(first, o.xid)
	}
	o.signal()
	return nil
}

// sendRaw appends one message that is already complete.
func (o *outbox) sendRaw(m []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return ErrClosed
	}
	if len(o.pending) > o.max {
		return ErrBacklog
	}
	o.pending = append(o.pending, m...)
	o.signal()
	return nil
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take hands all that is pending to the writer.
func (o *outbox) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.pending
	o.pending, o.spare = o.spare[:0], nil
	return b
}

// sent gives the writer's buffer back. Large ones are left to the collector.
func (o *outbox) sent(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if cap(b) <= 64<<10 {
		o.spare = b[:0]
	}
}

// close refuses all that follows and returns what was not taken.
func (o *outbox) close() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	b := o.pending
	o.pending = nil
	return b
}
