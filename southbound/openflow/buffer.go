package openflow

import (
	"io"
	"net"
	"sync"
	"syscall"
)

// A read takes what the kernel has, up to readSize: under load one system call
// brings hundreds of messages. batchSize bounds the delay until the first of
// them is handled, and keeps the batch in the cache.
const (
	readSize  = 128 << 10
	batchSize = 256
)

// A readBuffer is what a reader needs while it works. Sessions that wait for
// their switch hold none: a thousand idle switches cost no memory.
type readBuffer struct {
	bytes [readSize]byte
	batch [batchSize]Punt
}

// A freelist rather than a sync.Pool: these are large, and should not be thrown
// away by each garbage collection. At most maxFree are kept.
var (
	freeMu  sync.Mutex
	freeBuf []*readBuffer
)

const maxFree = 32

func getBuffer() *readBuffer {
	freeMu.Lock()
	defer freeMu.Unlock()
	if n := len(freeBuf); n > 0 {
		b := freeBuf[n-1]
		freeBuf = freeBuf[:n-1]
		return b
	}
	return new(readBuffer)
}

func putBuffer(b *readBuffer) {
	freeMu.Lock()
	defer freeMu.Unlock()
	if len(freeBuf) < maxFree {
		freeBuf = append(freeBuf, b)
	}
}

// source reads chunks from a connection.
type source interface {
	// next waits until there is something to read and reads it into a buffer
	// behind the bytes of tail. The caller gives the buffer back with done.
	next(tail []byte) (b *readBuffer, n int, err error)
	done(b *readBuffer)
}

func newSource(c net.Conn) source {
	if sc, ok := c.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			return newRawSource(rc)
		}
	}
	return &connSource{c: c}
}

// rawSource reads from a socket, and takes a buffer only when there is data.
type rawSource struct {
	rc   syscall.RawConn
	tail []byte
	b    *readBuffer
	n    int
	err  error
	read func(fd uintptr) bool
}

func newRawSource(rc syscall.RawConn) *rawSource {
	s := &rawSource{rc: rc}
	s.read = s.tryRead // bound once: a method value allocates
	return s
}

func (s *rawSource) tryRead(fd uintptr) bool {
	b := getBuffer()
	have := copy(b.bytes[:], s.tail)
	for {
		n, err := syscall.Read(int(fd), b.bytes[have:])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			putBuffer(b)
			return false // the poller calls again when there is data
		case err != nil:
			putBuffer(b)
			s.err = err
		case n == 0:
			putBuffer(b)
			s.err = io.EOF
		default:
			s.b, s.n = b, have+n
		}
		return true
	}
}

func (s *rawSource) next(tail []byte) (*readBuffer, int, error) {
	s.tail, s.b, s.n, s.err = tail, nil, 0, nil
	if err := s.rc.Read(s.read); err != nil {
		return nil, 0, err
	}
	return s.b, s.n, s.err
}

func (s *rawSource) done(b *readBuffer) { putBuffer(b) }

// connSource is for connections without a socket of their own: TLS, net.Pipe.
// It has to hold its buffer while it waits.
type connSource struct {
	c net.Conn
	b *readBuffer
}

func (s *connSource) next(tail []byte) (*readBuffer, int, error) {
	if s.b == nil {
		s.b = new(readBuffer)
	}
	have := copy(s.b.bytes[:], tail)
	n, err := s.c.Read(s.b.bytes[have:])
	if n > 0 {
		err = nil // an error comes again with the next read
	}
	return s.b, have + n, err
}

func (s *connSource) done(*readBuffer) {}
