package capture

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mpbox/southbound/packet"
)

// Packet is a frame from a file.
type Packet struct {
	At   int64 // unix ns, never below 0
	Link packet.Link
	// Data is good until the file's next packet is read.
	Data []byte
	// File is the index of the file that it is from, see Merge.
	File int
}

// FileError is what is wrong with one file.
type FileError struct {
	Name string
	Err  error
}

func (e *FileError) Error() string { return fmt.Sprintf("read %s: %v", e.Name, e.Err) }

func (e *FileError) Unwrap() error { return e.Err }

// ErrNoCapture is given for a file that is neither pcap nor pcapng.
var ErrNoCapture = errors.New("no capture file: want pcap or pcapng")

// File reads a capture file, pcap or pcapng, also gzipped.
type File struct {
	// Name of the vantage point: the file's base name without extension.
	Name   string
	path   string
	closer io.Closer
	next   func(room) (Packet, error)
	room   room
	n      int // packets read
}

// room gives n bytes for a packet's data.
type room func(n int) []byte

// Open opens a capture file.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err // names the path itself
	}
	c, err := NewFile(path, f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	c.closer = f
	return c, nil
}

// NewFile reads a capture from r; path only names it.
func NewFile(path string, r io.Reader) (*File, error) {
	base := filepath.Base(path)
	c := &File{Name: strings.TrimSuffix(base, filepath.Ext(base)), path: path}
	next, err := newFormat(r)
	if err != nil {
		return nil, &FileError{path, err}
	}
	c.next = next
	var buf []byte
	c.room = func(n int) []byte {
		buf = slices.Grow(buf[:0], n)
		return buf[:n]
	}
	return c, nil
}

func newFormat(r io.Reader) (func(room) (Packet, error), error) {
	br := bufio.NewReaderSize(r, bufferSize)
	magic, err := br.Peek(4)
	if err == nil && magic[0] == 0x1f && magic[1] == 0x8b { // RFC 1952 section 2.3.1
		var z *gzip.Reader
		if z, err = gzip.NewReader(br); err == nil {
			br = bufio.NewReaderSize(z, bufferSize)
			magic, err = br.Peek(4)
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil, ErrNoCapture
	case err != nil:
		return nil, fmt.Errorf("%w (%w)", ErrNoCapture, err)
	case binary.BigEndian.Uint32(magic) == ngSection:
		return newNg(br)
	default:
		return newPcap(br)
	}
}

// Next gives the next packet; io.EOF at the end. Any other error is a *FileError,
// and the end as well: what was read before it is good.
func (c *File) Next() (Packet, error) {
	p, err := c.next(c.room)
	switch {
	case err == nil:
		c.n++
		return p, nil
	case errors.Is(err, io.EOF):
		return Packet{}, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("the file ends in the middle of a packet")
	}
	return Packet{}, &FileError{c.path, fmt.Errorf("at packet %d: %w", c.n+1, err)}
}

// Close closes the file that Open opened.
func (c *File) Close() error {
	if c.closer == nil {
		return nil
	}
	return c.closer.Close()
}

const (
	// bufferSize holds the longest option of pcapng.
	bufferSize = 1 << 16
	// maxPacket bounds what a file can make us allocate. tcpdump captures 256 KiB at most.
	maxPacket = 1 << 20
)

// damaged is the error for a file that contradicts itself.
func damaged(format string, a ...any) error {
	return fmt.Errorf(format+": the file is damaged, copy or capture it anew", a...)
}

// take gives the next n bytes, good until r is read again; io.EOF if there are none.
func take(r *bufio.Reader, n int) ([]byte, error) {
	b, err := r.Peek(n)
	if err != nil {
		if len(b) > 0 {
			err = inside(err)
		}
		return nil, err
	}
	_, err = r.Discard(n)
	return b, err
}

// data reads n bytes of packet.
func data(r *bufio.Reader, to room, n uint32) ([]byte, error) {
	if n > maxPacket {
		return nil, damaged("a packet of %d bytes", n)
	}
	buf := to(int(n))
	_, err := io.ReadFull(r, buf)
	return buf, inside(err)
}

// inside is an error where a file may not end.
func inside(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
