package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"

	"mpbox/southbound/packet"
)

// The blocks of pcapng that matter here (draft-ietf-opsawg-pcapng section 4).
const (
	ngSection   = 0x0a0d0d0a // the same in both byte orders
	ngInterface = 1
	ngObsolete  = 2 // Packet Block
	ngSimple    = 3
	ngEnhanced  = 6
)

// ngReader reads pcapng.
type ngReader struct {
	r      *bufio.Reader
	order  binary.ByteOrder // of the section, as all below but last
	alien  error            // why the section is skipped
	ifaces []ngIface
	rest   int   // bytes to the end of the block
	last   int64 // time of the packet before
}

// ngIface is an interface. A unit of its time stamps is num/den ns, they count from offset.
type ngIface struct {
	link     packet.Link
	snap     uint32 // bytes; 0: no limit
	num, den uint64
	offset   int64 // unix ns
}

func newNg(r *bufio.Reader) (func(room) (Packet, error), error) {
	g := &ngReader{r: r}
	if _, err := g.block(); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoCapture, inside(err))
	}
	return g.next, nil
}

func (g *ngReader) next(to room) (Packet, error) {
	for {
		kind, err := g.block()
		if err != nil {
			return Packet{}, err
		}
		switch kind {
		case ngEnhanced, ngObsolete, ngSimple:
			return g.packet(kind, to)
		case ngInterface:
			if err := g.describe(); err != nil {
				return Packet{}, err
			}
		}
	}
}

// block goes to the next block of a section that is understood, and gives its type.
func (g *ngReader) block() (uint32, error) {
	for {
		if _, err := g.r.Discard(g.rest); err != nil {
			return 0, inside(err)
		}
		h, err := take(g.r, 8)
		if errors.Is(err, io.EOF) && g.alien != nil {
			return 0, g.alien
		}
		if err != nil {
			return 0, err
		}
		head := [8]byte(h)
		section := binary.BigEndian.Uint32(h) == ngSection
		if section {
			// The byte order comes behind the length that is written in it.
			magic, err := g.r.Peek(4)
			if err != nil {
				return 0, inside(err)
			}
			switch binary.BigEndian.Uint32(magic) {
			case 0x1a2b3c4d:
				g.order = binary.BigEndian
			case 0x4d3c2b1a:
				g.order = binary.LittleEndian
			default:
				return 0, damaged("a section without byte order")
			}
		}
		kind, length := g.order.Uint32(head[:]), g.order.Uint32(head[4:])
		if length < 12 || length > math.MaxInt32 {
			return 0, damaged("a block of %d bytes", length)
		}
		g.rest = int(length) - 8
		if section {
			if err := g.section(); err != nil {
				return 0, err
			}
		}
		if g.alien == nil {
			return kind, nil
		}
	}
}

// take gives the next n bytes of the block, good until more is read.
func (g *ngReader) take(n int) ([]byte, error) {
	if n > g.rest-4 { // its length stands again at its end
		return nil, damaged("a block is too short for what is in it")
	}
	g.rest -= n
	b, err := take(g.r, n)
	return b, inside(err)
}

// section reads a Section Header Block (section 4.1).
func (g *ngReader) section() error {
	b, err := g.take(16)
	if err != nil {
		return err
	}
	g.ifaces = g.ifaces[:0]
	g.alien = nil
	// Some writers took minor version 2 for what is 0.
	if major, minor := g.order.Uint16(b[4:]), g.order.Uint16(b[6:]); major != 1 || minor != 0 && minor != 2 {
		g.alien = fmt.Errorf("pcapng version %d.%d is not known: convert the file to pcap", major, minor)
	}
	return nil
}

// describe reads an Interface Description Block (section 4.2).
func (g *ngReader) describe() error {
	b, err := g.take(8)
	if err != nil {
		return err
	}
	i := ngIface{link: packet.Link(g.order.Uint16(b)), snap: g.order.Uint32(b[4:])}
	i.num, i.den = resolution(6)
	for g.rest-4 >= 4 {
		if b, err = g.take(4); err != nil {
			return err
		}
		code, n := g.order.Uint16(b), int(g.order.Uint16(b[2:]))
		if code == 0 { // opt_endofopt
			break
		}
		if b, err = g.take((n + 3) &^ 3); err != nil {
			return err
		}
		switch {
		case code == 9 && n == 1: // if_tsresol
			i.num, i.den = resolution(b[0])
		case code == 14 && n == 8: // if_tsoffset
			const most = math.MaxInt64 / 1_000_000_000
			i.offset = min(max(int64(g.order.Uint64(b)), -most), most) * 1e9
		}
	}
	g.ifaces = append(g.ifaces, i)
	return nil
}

// resolution tells how many nanoseconds, num/den, the unit is that if_tsresol
// stands for: a power of 1/10, or with the highest bit of 1/2.
func resolution(r byte) (num, den uint64) {
	n := r & 0x7f
	if r&0x80 != 0 {
		below := max(n, 63) - 63
		return 1e9 >> below, 1 << (n - below)
	}
	num, den = 1e9, 1
	for range n {
		switch {
		case num > 1:
			num /= 10
		case den < 1e19: // all of 64 bits is below 2 ns then
			den *= 10
		}
	}
	return num, den
}

// time gives the unix time of a time stamp, in ns; what cannot be said in that is
// the nearest that can.
func (i *ngIface) time(stamp uint64) int64 {
	ns := uint64(math.MaxInt64)
	if hi, lo := bits.Mul64(stamp, i.num); hi < i.den {
		q, _ := bits.Div64(hi, lo, i.den)
		ns = min(ns, q)
	}
	at := int64(ns) + i.offset
	switch {
	case at >= 0:
		return at
	case i.offset > 0: // overflow
		return math.MaxInt64
	default:
		return 0
	}
}

// packet reads an Enhanced, Simple or obsolete Packet Block (sections 4.3 and 4.4,
// appendix A).
func (g *ngReader) packet(kind uint32, to room) (Packet, error) {
	n := 20
	if kind == ngSimple {
		n = 4
	}
	b, err := g.take(n)
	if err != nil {
		return Packet{}, err
	}
	var id uint32
	switch kind {
	case ngEnhanced:
		id = g.order.Uint32(b)
	case ngObsolete:
		id = uint32(g.order.Uint16(b))
	}
	if int64(id) >= int64(len(g.ifaces)) {
		return Packet{}, damaged("a packet of interface %d, of %d that are described", id, len(g.ifaces))
	}
	i := &g.ifaces[id]
	var captured uint32
	if kind == ngSimple {
		// It tells the length of the original alone, and no time: it came after the one before.
		captured = g.order.Uint32(b)
		if i.snap > 0 {
			captured = min(captured, i.snap)
		}
	} else {
		captured = g.order.Uint32(b[12:])
		g.last = i.time(uint64(g.order.Uint32(b[4:]))<<32 | uint64(g.order.Uint32(b[8:])))
	}
	if int64(captured) > int64(g.rest-4) {
		return Packet{}, damaged("a packet of %d bytes in a block of %d", captured, g.rest)
	}
	b, err = data(g.r, to, captured)
	g.rest -= len(b)
	return Packet{At: g.last, Link: i.link, Data: b}, err
}
