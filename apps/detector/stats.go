package detector

import (
	"math/bits"
	"time"
)

// Stats counts what a Tracker has seen and done since it was made. Packets are
// counted at every place that sees them, everything else once.
type Stats struct {
	// Packets by what they were.
	Packets, TCP                 uint64
	NotTCP, Fragments, Truncated uint64
	Malformed                    uint64 // headers, option lists or MPTCP options that contradict themselves
	UnknownPlace                 uint64
	PlainSYN, PlainSYNACK        uint64
	CapableSYN, CapableSYNACK    uint64
	CapableACK                   uint64
	JoinSYN, JoinSYNACK, JoinACK uint64
	FIN, RST                     uint64
	AddAddr, RemoveAddr, Prio    uint64
	FastClose, Fail, TCPRst      uint64
	OptionLength, OptionIgnored  uint64 // options refused: wrong length; to be ignored (RFC 8684 section 3.1)
	OptionVersion, OptionSubtype uint64 // options not understood
	Retransmissions              uint64 // SYNs repeated at one place
	Unmatched                    uint64 // FIN, RST and ACK of tuples that are not tracked
	Mismatched                   uint64 // answers that fit no handshake of their tuple

	// Connections found, by version; closed; restored after a restart.
	Connections       [2]uint64
	ConnectionsClosed uint64
	Restored          uint64
	// Verified connections: the client echoed the server's key. WrongEcho: it echoed
	// another.
	ConnectionsVerified, WrongEcho uint64
	// Fallback: MP_CAPABLE answered without it. Downgrade: version 1 asked, 0
	// answered. Fallen: MP_FAIL seen.
	Fallback, Downgrade, Fallen uint64
	// Translated: subflows seen with a second tuple (NAT between edges).
	Translated uint64

	// Joins that found their connection by token, at once or (of these) after
	// waiting for its key.
	JoinsMatched, JoinsMatchedLate uint64
	// JoinsOrphaned without a connection: those given up and those that wait. It
	// falls when a waiting one is matched.
	JoinsOrphaned uint64
	// Joins accepted by the server, refused (an answer without the option, or RST),
	// and not answered.
	JoinsAccepted, JoinsRefused, JoinsUnanswered uint64
	// Joins whose client's HMAC was right, and those with a wrong one.
	JoinsVerified, JoinsForged uint64
	// TokenCollisions: joins whose token names several connections. Reassigned: of
	// these, moved to another connection by their HMAC.
	TokenCollisions, Reassigned uint64
	// DuplicateAddressIDs: joins whose address id another live subflow of the same
	// end uses with another address.
	DuplicateAddressIDs uint64

	// Subflows that ended, by how: FIN, RST, MP_FASTCLOSE, idle, replaced by a later
	// use of the tuple.
	ClosedFIN, ClosedRST, ClosedFast, ClosedIdle, Replaced uint64
	Bytes                                                  [2]uint64 // reported by FlowEnded: to server, to client

	// Evicted for want of room: handshakes, orphans, subflows, connections; and what
	// was refused because nothing could go.
	EvictedHalfOpen, EvictedOrphans, EvictedClosed          uint64
	EvictedConnections, RefusedConnections, RefusedJoins    uint64
	RefusedHandshakes, UncheckedMACs, EventsLost, IndexFull uint64
	// ExpiredHalfOpen and ExpiredOrphans: given up by time.
	ExpiredHalfOpen, ExpiredOrphans uint64

	// Now: what is held.
	HalfOpen, OrphansAsked, OrphansAnswered, Live, Closed int
	ConnectionsUnproven, ConnectionsProven                int
	ConnectionsIdle, Addresses, PendingMACs               int
	// Memory held, in bytes: slabs and indexes.
	Memory int

	// Detected: from the first SYN to the server's key. Correlated: from a join's
	// SYN to its match.
	Detected, Correlated Histogram
}

// HistogramBuckets is the number of buckets of a Histogram.
const HistogramBuckets = 80

// Histogram counts durations: bucket i holds those below HistogramBound(i) that no
// lower bucket holds.
type Histogram struct {
	Buckets [HistogramBuckets]uint64
	Count   uint64
	Sum     time.Duration
}

// HistogramBound is the upper bound of a bucket, two in a doubling: 2, 3, 4, 6, 8, 12 …
// ns, up to 18 minutes.
func HistogramBound(i int) time.Duration { return time.Duration(2|i&1) << (i / 2) }

func (h *Histogram) add(d int64) {
	i := 0
	if d >= 2 {
		top := bits.Len64(uint64(d)) - 1
		i = min(2*top-1+int(d>>(top-1)&1), HistogramBuckets-1)
	} else if d < 0 {
		d = 0 // seen first by the edge behind
	}
	h.Buckets[i]++
	h.Count++
	h.Sum += time.Duration(d)
}

// Stats gives all counters.
func (t *Tracker) Stats() Stats {
	s := t.stats
	s.HalfOpen = t.lists[classHalfOpen].n
	s.OrphansAsked = t.lists[classOrphanAsked].n
	s.OrphansAnswered = t.lists[classOrphanAnswered].n
	s.Live = t.lists[classLive].n
	s.Closed = t.lists[classClosed].n
	s.ConnectionsUnproven = t.lists[classUnproven].n
	s.ConnectionsProven = t.lists[classProven].n
	s.ConnectionsIdle = t.lists[classIdle].n
	s.Addresses = t.addrCount
	s.PendingMACs = len(t.pending)
	s.Memory = t.memory()
	return s
}
