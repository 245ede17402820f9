package openflow

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// fakeSwitch speaks OpenFlow in bytes, from the switch's end.
type fakeSwitch struct {
	t testing.TB
	c net.Conn
}

// message is one that the session sent.
type message struct {
	typ  byte
	xid  uint32
	body []byte
}

func msg(typ byte, xid uint32, body ...byte) []byte {
	b := []byte{4, typ, 0, 0}
	b = binary.BigEndian.AppendUint32(b, xid)
	return fixLength(append(b, body...))
}

func (f *fakeSwitch) send(msgs ...[]byte) {
	f.t.Helper()
	_ = f.c.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, err := f.c.Write(bytes.Join(msgs, nil)); err != nil {
		f.t.Errorf("fake switch writes: %v", err)
	}
}

func (f *fakeSwitch) read() (message, error) {
	h := make([]byte, 8)
	if _, err := io.ReadFull(f.c, h); err != nil {
		return message{}, err
	}
	m := message{typ: h[1], xid: binary.BigEndian.Uint32(h[4:]), body: make([]byte, int(binary.BigEndian.Uint16(h[2:]))-8)}
	if h[0] != 4 {
		f.t.Errorf("version %d", h[0])
	}
	_, err := io.ReadFull(f.c, m.body)
	return m, err
}

// want reads the next message and requires its type.
func (f *fakeSwitch) want(typ byte) message {
	f.t.Helper()
	_ = f.c.SetReadDeadline(time.Now().Add(10 * time.Second))
	m, err := f.read()
	if err != nil {
		f.t.Fatalf("fake switch waits for type %d: %v", typ, err)
	}
	if m.typ != typ {
		f.t.Fatalf("fake switch got type %d with %x, waits for %d", m.typ, m.body, typ)
	}
	return m
}

func features(xid uint32, dpid uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, dpid)
	return msg(6, xid, append(b, 0, 0, 0, 0, 254, 0, 0, 0, 0, 0, 0, 0x4f, 0, 0, 0, 0)...)
}

var helloWithBitmap = []byte{4, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 0x10}

// greet does the switch's part of the handshake.
func (f *fakeSwitch) greet(dpid uint64) {
	f.t.Helper()
	f.want(0)
	f.send(helloWithBitmap)
	f.send(features(f.want(5).xid, dpid))
}

// record is a Handler that keeps what it is told, in order.
type record struct {
	mu      sync.Mutex
	events  []string
	punts   []Punt
	at      []int64
	removed []FlowRemoved
	ports   []PortStatus
	errors  []*SwitchError
	closed  []error
	onPunts func() // set before the first punt
}

func (r *record) add(event string) {
	r.events = append(r.events, event)
}

func (r *record) Punts(_ *Session, at int64, batch []Punt) {
	if r.onPunts != nil {
		r.onPunts()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range batch {
		p.Frame = slices.Clone(p.Frame)
		r.punts, r.at = append(r.punts, p), append(r.at, at)
	}
	r.add("punts")
}

func (r *record) FlowRemoved(_ *Session, m FlowRemoved) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removed = append(r.removed, m)
	r.add("removed")
}

func (r *record) PortStatus(_ *Session, m PortStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ports = append(r.ports, m)
	r.add("port")
}

func (r *record) Error(_ *Session, e *SwitchError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, e)
	r.add("error")
}

func (r *record) Closed(_ *Session, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = append(r.closed, err)
}

// running is a session against a fake switch over net.Pipe.
type running struct {
	*fakeSwitch
	s    *Session
	rec  *record
	done chan error
	stop context.CancelFunc
}

// start runs a session; open may be nil.
func start(t testing.TB, cfg Config, open func(*Session) (Handler, error)) *running {
	a, b := net.Pipe()
	r := &running{fakeSwitch: &fakeSwitch{t, b}, rec: &record{}, done: make(chan error, 1)}
	if open == nil {
		open = func(*Session) (Handler, error) { return r.rec, nil }
	}
	r.s = NewSession(a, cfg, open)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.done <- r.s.Run(ctx) }()
	return r
}

// end stops the session and waits for it.
func (r *running) end() error {
	r.stop()
	go r.drain()
	err := <-r.done
	_ = r.c.Close()
	return err
}

// drain reads and forgets, for as long as there is a session.
func (f *fakeSwitch) drain() {
	_ = f.c.SetReadDeadline(time.Time{})
	_, _ = io.Copy(io.Discard, f.c)
}

var errRefused = errors.New("not this one")
