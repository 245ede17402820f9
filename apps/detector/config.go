package detector

import "time"

// PlaceID names a Place: its index in Config.Places, or what AddPlace gave.
type PlaceID uint32

// NoPlace stands for a place that is not known.
const NoPlace = ^PlaceID(0)

// Side of an attachment that a packet came in by. It tells a packet's direction
// through the provider's network.
type Side uint8

// The sides. With SideUnknown (captures) no ingress or egress is derived.
const (
	SideUnknown Side = iota
	CE               // from the customer: here the packet enters the provider's network
	PE               // from the provider edge router: here it leaves
)

// Place is where packets are seen: one side of an attachment, or a capture point.
type Place struct {
	Name       string
	Attachment string
	Side       Side
	// Scope within which addresses and tokens are unique; several VPNs may share it.
	Scope string
	VPN   string
	// PE that flows entering here can be steered by; "" where there is none.
	PE string
}

// EventScope says of which connections there are events.
type EventScope uint8

// The scopes of events.
const (
	// EventsNone: events are not collected.
	EventsNone EventScope = iota
	// EventsMultipath: of connections that have, or had, two subflows that enter or
	// leave at places with a PE.
	EventsMultipath
	// EventsAll: of all connections.
	EventsAll
)

// Config of a Tracker. Zero values mean the defaults; every cap is at least 1.
type Config struct {
	Places []Place

	// MaxConnections caps the MPTCP connections that are kept, closed ones included.
	// When it is reached the closed go first, oldest first, then the unproven (those
	// whose client is not known to have got the server's key). A proven one goes only
	// for another proven one, when seven eighths of all are proven.
	MaxConnections int
	// MaxSubflows caps the subflows of connections, closed ones included. The closed
	// go first, then unproven connections, then, for a proven one, proven ones.
	MaxSubflows int
	// MaxSubflowsPerConnection: beyond it, unanswered and closed joins of the same
	// connection go, oldest first, else the new one is refused. It caps the orphans
	// of one token as well.
	MaxSubflowsPerConnection int
	// MaxHalfOpen caps SYNs that wait for an answer; the oldest goes.
	MaxHalfOpen int
	// MaxOrphans caps joins that wait for a key. The oldest unanswered goes, the
	// answered ones only when three quarters of all are answered.
	MaxOrphans int
	// MaxAddresses caps the addresses kept from ADD_ADDR; the oldest goes.
	MaxAddresses int
	// MaxPendingMACs caps the HMACs of third ACKs that wait for keys; further ones
	// are not checked.
	MaxPendingMACs int
	// MaxEvents caps the events between two Drains; then EventsLost is given.
	MaxEvents int

	// HalfOpenTimeout is how long a SYN waits for its answer (30 s).
	HalfOpenTimeout time.Duration
	// OrphanTimeout is how long a join waits for its key (30 s).
	OrphanTimeout time.Duration
	// IdleTimeout ends subflows of which nothing was seen for so long; 0 means
	// never. Taps see handshakes only: it must be longer than any flow lives, or the
	// edge rules tell of the end (FlowEnded).
	IdleTimeout time.Duration
	// Linger is how long what is closed is kept: packets of other edges may be late
	// (30 s).
	Linger time.Duration

	Events EventScope
	// Keep: nothing is forgotten but by the caps (for captures).
	Keep bool
	// Seed of the indexes' hashes; 0 takes a random one, as it should be where
	// others choose the packets.
	Seed uint64
}

// maxProven leaves room for new connections to prove themselves.
func (c *Config) maxProven() int { return max(1, c.MaxConnections-c.MaxConnections/8) }

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&c.MaxConnections, 3_000_000)
	def(&c.MaxSubflows, 6_000_000)
	def(&c.MaxSubflowsPerConnection, 64)
	def(&c.MaxHalfOpen, 500_000)
	def(&c.MaxOrphans, 1_000_000)
	def(&c.MaxAddresses, 100_000)
	def(&c.MaxPendingMACs, 100_000)
	def(&c.MaxEvents, 65_536)
	dur := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	dur(&c.HalfOpenTimeout, 30*time.Second)
	dur(&c.OrphanTimeout, 30*time.Second)
	dur(&c.Linger, 30*time.Second)
	return c
}
