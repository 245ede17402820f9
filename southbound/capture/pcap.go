package capture

import (
	"bufio"
	"encoding/binary"
	"fmt"

	"mpbox/southbound/packet"
)

// pcapReader reads pcap (draft-ietf-opsawg-pcap), also as older and as patched
// versions of libpcap wrote it.
type pcapReader struct {
	r      *bufio.Reader
	order  binary.ByteOrder
	unit   int64 // of the fraction of a second, ns
	header int   // length of a record's header
	minor  uint16
	link   packet.Link
}

func newPcap(r *bufio.Reader) (func(room) (Packet, error), error) {
	h, err := take(r, 24)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoCapture, err)
	}
	p := &pcapReader{r: r, order: binary.LittleEndian, unit: 1000, header: 16}
	if h[0] == 0xa1 {
		p.order = binary.BigEndian
	}
	switch magic := p.order.Uint32(h); magic {
	case 0xa1b2c3d4:
	case 0xa1b23c4d:
		p.unit = 1
	case 0xa1b2cd34:
		p.header = 24 // Kuznetzov's patch: also interface, protocol and packet type
	default:
		return nil, fmt.Errorf("%w (magic %08x)", ErrNoCapture, magic)
	}
	if major := p.order.Uint16(h[4:]); major != 2 || p.order.Uint16(h[6:]) > 4 {
		return nil, fmt.Errorf("%w (pcap version %d.%d)", ErrNoCapture, major, p.order.Uint16(h[6:]))
	}
	p.minor = p.order.Uint16(h[6:])
	p.link = packet.Link(p.order.Uint32(h[20:])) // the upper half is about the FCS
	if !p.link.Known() {
		return nil, fmt.Errorf("link type %d is not supported: capture on an Ethernet, Linux cooked, raw IP or PPP interface", p.link)
	}
	return p.next, nil
}

func (p *pcapReader) next(to room) (Packet, error) {
	h, err := take(p.r, p.header)
	if err != nil {
		return Packet{}, err
	}
	at := int64(p.order.Uint32(h))*1e9 + int64(p.order.Uint32(h[4:]))*p.unit
	captured, length := p.order.Uint32(h[8:]), p.order.Uint32(h[12:])
	// Until version 2.3 the lengths were the other way round, and some writers of
	// 2.3 kept that (libpcap, sf-pcap.c).
	if p.minor < 3 || p.minor == 3 && captured > length {
		captured = length
	}
	b, err := data(p.r, to, captured)
	return Packet{At: at, Link: p.link, Data: b}, err
}
