package openflow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	of "github.com/netrack/openflow"
	"github.com/netrack/openflow/ofp"
)

// Handler is told what a switch sends. Its methods are called by the session's
// reader goroutine, one at a time, in the order of the messages. They must not
// wait for an answer of the same switch: nobody would read it.
type Handler interface {
	// Punts delivers packets in the order in which the switch sent them. at is when
	// they were read, in ns since 1970. The batch and its frames are the session's:
	// valid during the call only.
	Punts(s *Session, at int64, batch []Punt)
	// FlowRemoved tells that a flow ended that was installed with
	// ofp.FlowFlagSendFlowRem.
	FlowRemoved(s *Session, m FlowRemoved)
	// PortStatus tells that a port was added, removed or changed.
	PortStatus(s *Session, m PortStatus)
	// Error delivers an error that no request waits for.
	Error(s *Session, e *SwitchError)
	// Closed is the last call: the session is over, and why.
	Closed(s *Session, err error)
}

// Config of sessions. Zero values mean the defaults that the comments give.
type Config struct {
	// HandshakeTimeout limits hello and features (10 s).
	HandshakeTimeout time.Duration
	// EchoInterval is how long a switch may be silent before it is asked whether it
	// lives (5 s), EchoTimeout after how long silence it is given up (15 s).
	EchoInterval, EchoTimeout time.Duration
	// MaxUnsent limits, in bytes, what may wait for a switch that does not read
	// (16 MiB).
	MaxUnsent int
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.HandshakeTimeout, 10*time.Second)
	def(&c.EchoInterval, 5*time.Second)
	def(&c.EchoTimeout, 15*time.Second)
	if c.MaxUnsent == 0 {
		c.MaxUnsent = 16 << 20
	}
	return c
}

// Session is a connection to a switch. Methods that send or ask may be called by
// any goroutine; those that take a context wait for the switch's answer, and must
// not be called from a Handler.
type Session struct {
	cfg    Config
	conn   net.Conn
	remote string
	open   func(*Session) (Handler, error)

	// Of the reader goroutine.
	src      source
	tail     []byte
	handler  Handler
	greeted  bool
	features ofp.SwitchFeatures // written before open, then constant

	// Value is the Handler's own, set in its open function and constant from then.
	Value any

	out      outbox
	requests requests
	stats    stats

	// Liveness: when the last bytes came (ns since start), and whether the reader
	// waits for more. A reader that is busy with a batch is no silent switch.
	start    time.Time
	lastRead atomic.Int64
	waiting  atomic.Bool

	opened    chan struct{}
	done      chan struct{}
	closeOnce sync.Once
	cause     error
}

// NewSession prepares a session on c. open is called once, by the reader
// goroutine, when the switch has introduced itself: it returns the handler of all
// that follows, or an error that ends the session. Nothing happens before Run.
func NewSession(c net.Conn, cfg Config, open func(*Session) (Handler, error)) *Session {
	s := &Session{
		cfg: cfg.withDefaults(), conn: c, remote: remoteName(c), open: open,
		opened: make(chan struct{}), done: make(chan struct{}),
	}
	s.out.init(s.cfg.MaxUnsent)
	return s
}

func remoteName(c net.Conn) string {
	if a := c.RemoteAddr(); a != nil && a.String() != "" && a.String() != "@" {
		return a.String()
	}
	if a := c.LocalAddr(); a != nil { // a client of a unix socket has no name
		return a.Network() + ":" + a.String()
	}
	return "unknown"
}

// DPID is the switch's datapath id; 0 before the features are known.
func (s *Session) DPID() uint64 { return s.features.DatapathID }

// Features of the switch, as it told them in the handshake.
func (s *Session) Features() ofp.SwitchFeatures { return s.features }

// Remote is the address of the switch.
func (s *Session) Remote() string { return s.remote }

// Done is closed when the session is over.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err tells why the session is over; nil while it is not.
func (s *Session) Err() error {
	select {
	case <-s.done:
		return s.cause
	default:
		return nil
	}
}

// lastWords limits how long the end of a session waits for the switch to read.
const lastWords = time.Second

// Close ends the session. The first cause is kept.
func (s *Session) Close(cause error) {
	s.closeOnce.Do(func() {
		if cause == nil {
			cause = ErrClosed
		}
		s.cause = cause
		close(s.done)
		s.requests.fail(fmt.Errorf("%w: %w", ErrClosed, cause))
		// The reader stops. The writer still sends what was said last (HELLO_FAILED),
		// but a switch that does not read holds nobody up; then Run closes.
		_ = s.conn.SetReadDeadline(time.Now())
		_ = s.conn.SetWriteDeadline(time.Now().Add(lastWords))
	})
}

// Run serves the session until the switch or ctx ends it, and returns why: nil
// when it was ctx.
func (s *Session) Run(ctx context.Context) error {
	s.start = time.Now()
	s.src = newSource(s.conn)
	s.out.direct = directWrite(s.conn)
	stop := context.AfterFunc(ctx, func() { s.Close(context.Cause(ctx)) })
	defer stop()

	hello := Message{Type: of.TypeHello, Body: &ofp.Hello{Elements: ofp.HelloElems{
		&ofp.HelloElemVersionBitmap{Bitmaps: []uint32{1 << version13}},
	}}}
	features := Message{Type: of.TypeFeaturesRequest}
	err := s.Send(hello)
	if err == nil {
		var writer sync.WaitGroup
		writer.Go(s.write)
		err = s.readAll(features)
		s.Close(err)
		writer.Wait()
	}
	s.Close(err)
	_ = s.conn.Close()
	if s.handler != nil {
		s.handler.Closed(s, s.cause)
	}
	if ctx.Err() != nil {
		return nil
	}
	return s.cause
}

// readAll is the reader goroutine: it returns why reading ended.
func (s *Session) readAll(features Message) error {
	for {
		s.waiting.Store(true)
		b, n, err := s.src.next(s.tail)
		s.waiting.Store(false)
		if err != nil {
			return fmt.Errorf("read from switch: %w", err)
		}
		now := time.Now()
		s.lastRead.Store(int64(now.Sub(s.start)))
		rest, err := s.consume(b, b.bytes[:n], now.UnixNano(), features)
		s.tail = append(s.tail[:0], rest...)
		s.src.done(b)
		if err != nil {
			return err
		}
		// Under load there is always more to read: without this another switch's turn
		// would come after the scheduler's 10 ms, some 40,000 messages later.
		runtime.Gosched()
	}
}

// consume handles all whole messages at the beginning of data and returns the
// rest. This is the hot loop: what is not a PACKET_IN leaves it.
func (s *Session) consume(buf *readBuffer, data []byte, at int64, features Message) ([]byte, error) {
	n, punts, bad := 0, 0, 0
	flush := func() {
		if n > 0 {
			s.handler.Punts(s, at, buf.batch[:n])
			punts += n
			n = 0
		}
	}
	defer func() {
		s.stats.punts.Add(uint64(punts))
		if bad > 0 {
			s.stats.malformed.Add(uint64(bad))
		}
	}()
	for len(data) >= headerLen {
		head := binary.BigEndian.Uint32(data)
		size := int(head & 0xffff)
		if size < headerLen {
			flush()
			return nil, fmt.Errorf("%w: length %d", ErrProtocol, size)
		}
		if size > len(data) {
			break
		}
		m := data[:size:size]
		data = data[size:]
		if head>>16 == packetInPrefix && s.handler != nil {
			if !decodePacketIn(m, &buf.batch[n]) {
				bad++
				continue
			}
			if n++; n == batchSize {
				flush()
			}
			continue
		}
		flush()
		if err := s.control(m, features); err != nil {
			return nil, err
		}
	}
	flush()
	return data, nil
}

// write is the writer goroutine; it also keeps the session's clock.
func (s *Session) write() {
	tick := time.NewTicker(s.cfg.EchoInterval)
	defer tick.Stop()
	handshake := time.NewTimer(s.cfg.HandshakeTimeout)
	defer handshake.Stop()
	opened := s.opened
	for {
		var err error
		select {
		case <-s.done:
			if b := s.out.close(); len(b) > 0 {
				_, _ = s.conn.Write(b) // its deadline was set by Close
			}
			return
		case <-opened:
			handshake.Stop()
			opened = nil
		case <-handshake.C:
			err = ErrHandshake
		case <-s.out.wake:
			err = s.flush()
		case <-tick.C:
			err = s.checkAlive()
		}
		if err != nil {
			s.Close(err)
		}
	}
}

// flush sends what is pending.
func (s *Session) flush() error {
	b := s.out.take()
	if len(b) == 0 {
		return nil
	}
	// A switch that takes nothing for so long is dead, whatever it says.
	_ = s.conn.SetWriteDeadline(time.Now().Add(s.cfg.EchoTimeout))
	if s.Err() != nil {
		_ = s.conn.SetWriteDeadline(time.Now().Add(lastWords)) // closed meanwhile
	}
	_, err := s.conn.Write(b)
	s.out.sent(b)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w for %s", ErrBacklog, s.cfg.EchoTimeout)
	case err != nil:
		return fmt.Errorf("write to switch: %w", err)
	}
	return nil
}

// checkAlive asks a silent switch whether it lives (section 6.3.3 leaves the time
// to the controller).
func (s *Session) checkAlive() error {
	if s.handlerBusy() {
		return nil
	}
	silent := time.Since(s.start) - time.Duration(s.lastRead.Load())
	switch {
	case silent >= s.cfg.EchoTimeout:
		return fmt.Errorf("%w for %s", ErrSilent, silent.Round(time.Second))
	case silent >= s.cfg.EchoInterval:
		s.stats.echoes.Add(1)
		return s.Send(Message{Type: of.TypeEchoRequest})
	}
	return nil
}

func (s *Session) handlerBusy() bool { return !s.waiting.Load() }
