package topology

import (
	"net/netip"
	"time"
)

// Node is a router of the TED.
type Node struct {
	Name string
	// RouterID is the MPLS-TE router id (RFC 3630, section 2.4.1); may be invalid
	// in topologies that have none.
	RouterID netip.Addr
}

// Link is one direction of a link (RFC 3630, section 2.4.2). The opposite
// direction is a Link of its own.
type Link struct {
	// Name is unique among links of one direction; both directions of an
	// undirected link share it. "A-C" by default.
	Name string
	// From and To are indexes into TED.Nodes.
	From, To int
	// Reverse is the index of the opposite direction in TED.Links, -1 if the link
	// is unidirectional. Both directions are one shared risk.
	Reverse int
	// LocalAddr and RemoteAddr are the interface addresses of a numbered link,
	// LocalID and RemoteID those of an unnumbered one (RFC 4203).
	LocalAddr, RemoteAddr netip.Addr
	LocalID, RemoteID     uint32
	// TEMetric and IGPMetric are dimensionless costs.
	TEMetric, IGPMetric uint32
	// Delay is the one-way delay (RFC 7471); 0 where unknown.
	Delay time.Duration
	// Bandwidths in bit/s. Unreserved is by setup priority, 0 to 7.
	MaxBandwidth, MaxReservable float64
	Unreserved                  [8]float64
	// AdminGroup is the 32-bit colour mask (RFC 3630, section 2.5.9).
	AdminGroup uint32
	// SRLGs are shared risk link groups (RFC 4203, section 1.3), sorted.
	SRLGs []uint32
	// Down links are known but not usable.
	Down bool
}

// TED is an immutable snapshot of the traffic engineering database. Build one
// with a Builder; never change the slices that the accessors return.
type TED struct {
	version uint64
	nodes   []Node
	links   []Link
	out     [][]int // link indexes by From
	byName  map[string]int
	byAddr  map[netip.Addr]int // node by router id or interface address
}
