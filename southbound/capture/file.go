package capture

import (
	"bufio"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"mpbox/southbound/packet"
)

// Packet is a frame from a file.
type Packet struct {
	At   int64 // unix ns
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

// File reads a capture file, pcap (also gzipped) or pcapng.
type File struct {
	// Name of the vantage point: the file's base name without extension.
	Name   string
	path   string
	closer io.Closer
	next   func() ([]byte, gopacket.CaptureInfo, error)
	link   func(*gopacket.CaptureInfo) packet.Link
}

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
	br := bufio.NewReaderSize(r, 1<<16)
	magic, err := br.Peek(4)
	if err != nil {
		return nil, &FileError{path, ErrNoCapture}
	}
	const sectionHeader = 0x0a0d0d0a // pcapng, RFC draft-ietf-opsawg-pcapng section 4.1
	if binary.BigEndian.Uint32(magic) == sectionHeader {
		ng, err := pcapgo.NewNgReader(br, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return nil, &FileError{path, fmt.Errorf("%w (%w)", ErrNoCapture, err)}
		}
		c.next = ng.ZeroCopyReadPacketData
		c.link = ngLink
		return c, nil
	}
	p, err := pcapgo.NewReader(br)
	if err != nil {
		return nil, &FileError{path, fmt.Errorf("%w (%w)", ErrNoCapture, err)}
	}
	link := packet.Link(p.LinkType())
	if !link.Known() {
		return nil, &FileError{path, fmt.Errorf("link type %d is not supported: capture on an Ethernet, Linux cooked, raw IP or PPP interface", link)}
	}
	c.next = p.ZeroCopyReadPacketData
	c.link = func(*gopacket.CaptureInfo) packet.Link { return link }
	return c, nil
}

// ngLink finds the link type of a packet's interface.
func ngLink(ci *gopacket.CaptureInfo) packet.Link {
	for _, a := range ci.AncillaryData {
		if l, ok := a.(layers.LinkType); ok {
			return packet.Link(l)
		}
	}
	return packet.LinkEthernet
}

// Next gives the next packet; io.EOF at the end. Any other error is a *FileError,
// and the end as well: what was read before it is good.
func (c *File) Next() (Packet, error) {
	data, ci, err := c.next()
	switch {
	case err == nil:
		return Packet{At: ci.Timestamp.UnixNano(), Link: c.link(&ci), Data: data}, nil
	case errors.Is(err, io.EOF):
		return Packet{}, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Packet{}, &FileError{c.path, errors.New("the file ends in the middle of a packet")}
	default:
		return Packet{}, &FileError{c.path, err}
	}
}

// Close closes the file that Open opened.
func (c *File) Close() error {
	if c.closer == nil {
		return nil
	}
	return c.closer.Close()
}

// Merge gives the packets of several files in the order of their times.
type Merge struct {
	files []*File
	heads []head
	begun bool
	// Errors of files that could not be read to their end.
	Errors []error
}

type head struct {
	p    Packet
	file int
}

// NewMerge merges files; Packet.File counts them from 0.
func NewMerge(files ...*File) *Merge { return &Merge{files: files} }

// Next gives the next packet; io.EOF at the end of all files, the only error.
func (m *Merge) Next() (Packet, error) {
	if !m.begun {
		m.begun = true
		for i := range m.files {
			m.fill(i)
		}
		heap.Init(m)
	} else if len(m.heads) > 0 {
		// The packet given last is still at the front: its data was good until now.
		i := m.heads[0].file
		p, ok := m.read(i)
		if ok {
			m.heads[0].p = p
			heap.Fix(m, 0)
		} else {
			heap.Pop(m)
		}
	}
	if len(m.heads) == 0 {
		return Packet{}, io.EOF
	}
	return m.heads[0].p, nil
}

func (m *Merge) fill(i int) {
	if p, ok := m.read(i); ok {
		m.heads = append(m.heads, head{p, i})
	}
}

func (m *Merge) read(i int) (Packet, bool) {
	p, err := m.files[i].Next()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			m.Errors = append(m.Errors, err)
		}
		return Packet{}, false
	}
	p.File = i
	return p, true
}

// Len, Less, Swap, Push and Pop are for container/heap.
func (m *Merge) Len() int { return len(m.heads) }

// Less puts the earlier packet first, of equals that of the first file.
func (m *Merge) Less(i, j int) bool {
	a, b := &m.heads[i], &m.heads[j]
	if a.p.At != b.p.At {
		return a.p.At < b.p.At
	}
	return a.file < b.file
}

// Swap exchanges two heads.
func (m *Merge) Swap(i, j int) { m.heads[i], m.heads[j] = m.heads[j], m.heads[i] }

// Push is not used: every file has its place from the beginning.
func (m *Merge) Push(x any) { m.heads = append(m.heads, x.(head)) }

// Pop removes the last head.
func (m *Merge) Pop() any {
	h := m.heads[len(m.heads)-1]
	m.heads = m.heads[:len(m.heads)-1]
	return h
}
