package controller

import (
	"encoding/binary"
	"net/netip"

	"mpbox/southbound/packet"
)

// dscps remembers the DSCP that customers gave their handshakes, where it is not
// 0, so that the far edge can give it back to flows that are marked (steer class).
// It is bounded: with more than maxDSCPs flows, some are forgotten, and given 0.
type dscps map[dscpKey]uint8

type dscpKey struct {
	scope    string
	src, dst netip.AddrPort
}

const maxDSCPs = 100_000

// see takes note of a handshake packet. Most have DSCP 0 and cost a few
// comparisons.
func (d dscps) see(scope string, frame []byte) {
	n := dscpOf(frame)
	if n == 0 {
		return
	}
	var v packet.View
	if v.Parse(frame) != packet.TCP || !v.Flags.Has(packet.SYN) {
		return
	}
	d.set(dscpKey{scope, v.Src(), v.Dst()}, n)
}

func (d dscps) set(k dscpKey, n uint8) {
	if len(d) >= maxDSCPs {
		for old := range d {
			delete(d, old)
			break
		}
	}
	d[k] = n
}

// dscpOf reads the DSCP (RFC 2474) of an IP packet in an Ethernet frame, VLAN tags
// skipped; 0 for all others.
func dscpOf(frame []byte) uint8 {
	for at := 12; len(frame) >= at+4; at += 4 {
		switch binary.BigEndian.Uint16(frame[at:]) {
		case 0x8100, 0x88a8, 0x9100:
			continue
		case 0x0800:
			return frame[at+3] >> 2
		case 0x86dd:
			return uint8(binary.BigEndian.Uint16(frame[at+2:])>>4) >> 2
		}
		return 0
	}
	return 0
}
