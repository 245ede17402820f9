package detector

import (
	"encoding/binary"
	"net/netip"

	"mpbox/southbound/packet"
)

// ref is the number of a record in its slab; 0 is none.
type ref = uint32

// endpoint is an address (IPv4 as ::ffff:a.b.c.d) and a port.
type endpoint struct {
	hi, lo uint64
	port   uint16
}

const v4Mapped = 0xffff << 32

func endpoints(v *packet.View, src, dst *endpoint) {
	if a := v.Addrs; len(a) == 8 {
		src.hi, src.lo = 0, v4Mapped|uint64(binary.BigEndian.Uint32(a))
		dst.hi, dst.lo = 0, v4Mapped|uint64(binary.BigEndian.Uint32(a[4:]))
	} else if len(a) == 32 {
		src.hi, src.lo = binary.BigEndian.Uint64(a), binary.BigEndian.Uint64(a[8:])
		dst.hi, dst.lo = binary.BigEndian.Uint64(a[16:]), binary.BigEndian.Uint64(a[24:])
	}
	src.port, dst.port = v.SrcPort, v.DstPort
}

func endpointOf(a netip.AddrPort) endpoint {
	b := a.Addr().As16()
	return endpoint{hi: binary.BigEndian.Uint64(b[:]), lo: binary.BigEndian.Uint64(b[8:]), port: a.Port()}
}

func (e endpoint) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(addrOf(e.hi, e.lo), e.port)
}

func addrOf(hi, lo uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return netip.AddrFrom16(b).Unmap()
}

// Flags of a subflow record: what has been seen of it.
const (
	fSYN       uint16 = 1 << iota
	fSYNACK           // with the MPTCP option that answers the SYN's
	fFINClient        // sent by the client
	fFINServer        //
	fRST              //
	fGone             // given up: no answer, idle, its connection closed, or replaced
	fJoin             // MP_JOIN; else MP_CAPABLE
	fBackup           //
	fVerified         // HMAC right, or key echoed
	fForged           // a HMAC was wrong
	fAlias            // the same subflow as another of its connection, behind a NAT
	fReverse          // a join towards the client of the connection
	fV1               // version of the SYN's MP_CAPABLE
	fPlain            // the SYN was answered without the option
	fPending          // a third ACK's HMAC waits for keys
	fSecret           // the server's HMAC (joins) or the client's key (MP_CAPABLE) is held
)

// Flags in subflow.more.
const (
	mSimultaneous uint8 = 1 << iota // both ends sent a SYN
	mLive                           // counted as live in its connection
	mSaid                           // the server's key was taken from its SYN/ACK
	mBeside                         // an unanswered join in no list: its token has too many of them
	mMatched                        // counted in JoinsMatched
	mOrphaned                       // counted in JoinsOrphaned
)

// Directions of a subflow, and where in subflow.place they stand.
const (
	toServer = 0
	toClient = 1
)

// subflow is the record of one tuple: two cache lines of 64 bytes. What most
// packets need is in the first. The pool keeps it where no pointer is.
type subflow struct {
	// addr is the client's address (upper half, lower half), then the server's; the
	// client is the sender of the SYN.
	addr  [4]uint64
	port  [2]uint16
	scope uint16
	flags uint16
	// place, per direction, of ingress and egress, as PlaceID + 1: index 2*dir for
	// ingress, 2*dir+1 for egress.
	place [4]uint32
	conn  ref
	// isn is the client's initial sequence number; it tells incarnations apart.
	isn uint32

	// secret holds, for a join, both nonces (client's in the upper half) and the
	// server's HMAC; for MP_CAPABLE the client's key of version 0.
	secret  [2]uint64
	created int64
	// token that a join's SYN carries.
	token uint32
	// next in the connection's list, or among the orphans of one token.
	next ref
	// older and newer in the list of its class.
	older, newer ref
	gen          uint32
	// lastSeen, or when it ended; in ticks, see Tracker.tick.
	lastSeen uint32
	// answered is the time from creation to the SYN/ACK in microseconds, 0 while
	// there was none.
	answered uint32
	clientID uint8
	serverID uint8
	class    class
	more     uint8
}

func (s *subflow) client() endpoint { return endpoint{s.addr[0], s.addr[1], s.port[0]} }
func (s *subflow) server() endpoint { return endpoint{s.addr[2], s.addr[3], s.port[1]} }

// sentBy tells whether a packet from src to dst belongs to the tuple, and its
// direction.
func (s *subflow) sentBy(scope uint16, src, dst *endpoint) (dir int, ok bool) {
	if s.scope != scope {
		return 0, false
	}
	if s.addr[0] == src.hi && s.addr[1] == src.lo && s.port[0] == src.port &&
		s.addr[2] == dst.hi && s.addr[3] == dst.lo && s.port[1] == dst.port {
		return toServer, true
	}
	if s.addr[0] == dst.hi && s.addr[1] == dst.lo && s.port[0] == dst.port &&
		s.addr[2] == src.hi && s.addr[3] == src.lo && s.port[1] == src.port {
		return toClient, true
	}
	return 0, false
}

// ended tells that no more traffic is expected.
func (s *subflow) ended() bool {
	f := s.flags
	if f&(fRST|fGone) != 0 {
		return true
	}
	const both = fFINClient | fFINServer
	// Where only one direction is tapped, its FIN is all there will be.
	return f&both == both || f&both != 0 && f&fSYNACK == 0
}

func (s *subflow) state() State {
	switch f := s.flags; {
	case s.ended() && f&(fSYNACK|fFINClient|fFINServer) != 0:
		return Closed
	case s.ended():
		return Failed
	case f&fSYNACK != 0:
		return Established
	default:
		return Syn
	}
}

func (s *subflow) nonces() (client, server uint32) {
	return uint32(s.secret[0] >> 32), uint32(s.secret[0])
}

// connection is what stage two knows of an MPTCP connection. Its keys are secret.
type connection struct {
	serverKey, clientKey     uint64
	created                  int64
	bytes                    [2]uint64 // by direction, see toServer
	serverToken, clientToken uint32
	// first of the subflows, newest first; initial is the one that it began with.
	first, initial ref
	older, newer   ref
	gen            uint32
	lastSeen       uint32
	addrs          ref // addresses that were advertised
	subs, live     uint16
	scope          uint16
	version        uint8
	flags          uint16
	class          class
}

// Flags of a connection record.
const (
	cServerKey   uint16 = 1 << iota // serverKey is known
	cClientKey                      // clientKey is known
	cSaid                           // the server itself has said its key, in a SYN/ACK
	cEchoed                         // the client has echoed the server's key
	cProven                         // the client is known to have got the key: echo, or an accepted join
	cRestored                       // known from before a restart, without keys
	cAnnounced                      // events of it are given out
	cFallback                       // fell back to TCP (MP_FAIL)
	cCounted                        // counted as closed
	cClientToken                    // clientToken is known, and in the index unless it is the server's
)
