package openflow

import (
	"net"
	"sync"
	"syscall"
)

// outbox collects what is to be sent, in order, and hands out transaction ids in
// that order. What the socket takes at once is written by the sender itself: waking
// the writer goroutine takes longer than a handshake does on a local network. The
// writer sends the rest. Only one of them writes at a time.
type outbox struct {
	mu      sync.Mutex
	pending []byte
	spare   []byte // the writer's other buffer
	xid     uint32
	max     int
	closed  bool
	writing bool               // the writer goroutine is at work
	direct  func(b []byte) int // writes without waiting; nil where that is not possible
	wake    chan struct{}      // one slot: something is pending
}

// maxKept is the largest buffer that is kept for the next messages.
const maxKept = 64 << 10

// directWrite returns a function that writes to a socket what it takes at once.
func directWrite(c net.Conn) func([]byte) int {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil // TLS, net.Pipe
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return func(b []byte) (n int) {
		// An error is left to the writer, which will meet it too.
		_ = rc.Control(func(fd uintptr) {
			if k, err := syscall.Write(int(fd), b); err == nil {
				n = k
			}
		})
		return n
	}
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

// signal has what is pending sent. The caller holds the lock.
func (o *outbox) signal() {
	if o.direct != nil && !o.writing && len(o.pending) > 0 {
		n := o.direct(o.pending)
		if n == len(o.pending) {
			if o.pending = o.pending[:0]; cap(o.pending) > maxKept {
				o.pending = nil
			}
			return
		}
		o.pending = append(o.pending[:0], o.pending[n:]...)
	}
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
	if len(b) > 0 {
		o.pending, o.spare, o.writing = o.spare[:0], nil, true
	}
	return b
}

// sent gives the writer's buffer back. Large ones are left to the collector.
func (o *outbox) sent(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing = false
	if cap(b) <= maxKept {
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
