package openflow

import "encoding/binary"

// Punt is a packet that a switch sent to the controller (OFPT_PACKET_IN).
type Punt struct {
	// InPort is the port at which the switch received the packet.
	InPort uint32
	// Reason is OFPR_NO_MATCH 0, OFPR_ACTION 1 or OFPR_INVALID_TTL 2; Table and
	// Cookie are those of the flow that punted.
	Reason, Table uint8
	Cookie        uint64
	// Frame is the packet from its Ethernet header on, perhaps cut at the flow's
	// max_len. It aliases the session's read buffer: it is valid during the call
	// that delivers it, and must not be written to.
	Frame []byte
}

// Sizes and values of OFPT_PACKET_IN, OpenFlow 1.3.5 sections 7.4.1 and 7.2.3.
const (
	version13      = 4
	headerLen      = 8
	typePacketIn   = 10
	packetInPrefix = version13<<8 | typePacketIn // first two bytes of the header
	packetInMatch  = 24                          // offset of the match
	oxmInPort      = 0x80000004                  // OFPXMC_OPENFLOW_BASIC, OFPXMT_OFB_IN_PORT, no mask, 4 bytes
)

// decodePacketIn reads a whole message, header included, into p without
// copying. It tells whether m is well formed:
//
//	 0                   1                   2                   3
//	+-------+-------+---------------+-------------------------------+
//	| ver=4 | typ=10|    length     |              xid              |
//	+-------+-------+---------------+---------------+-------+-------+
//	|           buffer_id           |   total_len   | reason| table |
//	+-------------------------------+---------------+-------+-------+
//	|                            cookie                             |
//	+---------------+---------------+-------------------------------+
//	| match type=1  | match length  |  OXM fields, padded to 8 ...  |
//	+---------------+---------------+-------------------------------+
//	|   2 x pad     |  frame ...
//
// A match without an in_port (required by section 7.4.1) is not well formed.
func decodePacketIn(m []byte, p *Punt) bool {
	// The least: match with one in_port OXM (12 bytes, padded to 16), 2 pad.
	if len(m) < packetInMatch+16+2 {
		return false
	}
	match := binary.BigEndian.Uint32(m[packetInMatch:])
	mlen := int(match & 0xffff)
	frame := packetInMatch + (mlen+7)&^7 + 2
	if match>>16 != 1 || mlen < 12 || frame > len(m) {
		return false
	}
	p.Reason, p.Table = m[14], m[15]
	p.Cookie = binary.BigEndian.Uint64(m[16:])
	p.Frame = m[frame:]
	if binary.BigEndian.Uint32(m[packetInMatch+4:]) == oxmInPort {
		p.InPort = binary.BigEndian.Uint32(m[packetInMatch+8:])
		return true
	}
	return searchInPort(m[packetInMatch+4:packetInMatch+mlen], p)
}

// searchInPort is for switches that put other fields in front of in_port.
func searchInPort(oxm []byte, p *Punt) bool {
	for len(oxm) >= 4 {
		h := binary.BigEndian.Uint32(oxm)
		n := 4 + int(h&0xff)
		if n > len(oxm) {
			return false
		}
		if h == oxmInPort {
			p.InPort = binary.BigEndian.Uint32(oxm[4:])
			return true
		}
		oxm = oxm[n:]
	}
	return false
}
