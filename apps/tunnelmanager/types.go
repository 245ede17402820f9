package tunnelmanager

import (
	"cmp"
	"net/netip"
	"time"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/apps/tunnelmanager/threshold"
	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// Mode says what a plan may lead to.
type Mode string

// The modes. Observe never touches a router, Suggest waits for approval, Auto acts.
const (
	Observe Mode = "observe"
	Suggest Mode = "suggest"
	Auto    Mode = "auto"
)

// Valid reports whether m is one of the modes.
func (m Mode) Valid() bool { return m == Observe || m == Suggest || m == Auto }

// Steer is how a PE is told which LSP a flow rides.
type Steer string

// The ways to steer. SteerFTN: the PE classifies the 5-tuple. SteerClass: the edge
// bridge marks a DSCP, the PE maps the class.
const (
	SteerFTN   Steer = "ftn"
	SteerClass Steer = "class"
)

// Attachment is a CE-facing port of an edge bridge and what lies behind it.
type Attachment struct {
	Name string
	VPN  string
	// PE is the router behind it, Interface that router's name of the port.
	PE, Interface string
	// Prefixes are the customer's networks at this attachment.
	Prefixes []netip.Prefix
	// NoBridge: no edge bridge stands there, so that nothing counts or marks its
	// flows; a binding is then verified by the PE's state alone.
	NoBridge bool
}

// PE is what the manager knows of a router before it has asked it anything.
type PE struct {
	Name  string
	Steer Steer
	// Poll is how often its state is read, TEDPoll its TED at most.
	Poll, TEDPoll time.Duration
	// Limit bounds each Apply and each State of its driver, TEDLimit each reading of
	// its TED: for a PE that comes to no end, since drivers bound their requests.
	Limit, TEDLimit time.Duration
}

// Policy is what connections that match are to be given.
type Policy struct {
	Name string
	// VPN is a name, or "" or "*" for all. Prefixes and Ports match either end of
	// the connection's initial subflow; empty matches all.
	VPN      string
	Prefixes []netip.Prefix
	Ports    []uint16
	// Level and Strict: how disjoint (disjoint.Level), and whether less is refused.
	Level  disjoint.Level
	Strict bool
	// RequireVerified plans only on subflows whose HMAC was seen and right.
	RequireVerified bool
	// Metric (see plan.Demand), Constraints and Template shape new LSPs.
	Metric      disjoint.Metric
	Constraints disjoint.Constraints
	Template    topology.LSP
}

// Direction of a subflow's flow.
type Direction uint8

// C2S is from the connection's client to its server.
const (
	C2S Direction = iota
	S2C
)

func (d Direction) String() string { return [...]string{"c2s", "s2c"}[d&1] }

// Flow is one direction of a subflow.
type Flow struct {
	// Ingress and Egress are names of attachments: where its packets enter and
	// leave the provider; "" where unknown.
	Ingress, Egress string
	Src, Dst        netip.AddrPort
	// DSCP is the customer's own, as its handshake carried it.
	DSCP uint8
}

// Subflow of a connection, as the detector tells it.
type Subflow struct {
	ID uint64
	// Join, AddressID and Reverse (the connection's server sent the SYN) are kept
	// for the detector over restarts; they decide nothing here.
	Join      bool
	AddressID uint8
	Reverse   bool
	Backup    bool
	// Established: the server answered with the matching option. Verified: nil
	// while not enough was seen, false when a HMAC was wrong.
	Established bool
	Verified    *bool
	// Flows are by Direction of the connection, whoever sent the SYN.
	Flows [2]Flow
	// Since is when its SYN was seen.
	Since time.Time
}

// Connection is what the manager is told of an MPTCP connection. It is a value:
// each change is a new one with the same ID.
type Connection struct {
	ID    uint64
	Token uint32
	// Version of MPTCP, 0 or 1.
	Version  uint8
	VPN      string
	Since    time.Time
	Subflows []Subflow
	// Bytes that edge rules of its flows had counted when they ended.
	Bytes uint64
}

// BindingState tells how far a binding has come.
type BindingState string

// A binding is verified when PE state and edge flow have both been read back.
const (
	BindingPending   BindingState = "pending"
	BindingInstalled BindingState = "installed"
	BindingVerified  BindingState = "verified"
	BindingFailed    BindingState = "failed"
)

// Binding puts one flow of a subflow into one slot of its demand.
type Binding struct {
	// Name is stable for a flow: the same after a restart.
	Name       string
	Connection uint64
	Token      uint32
	Subflow    uint64
	Direction  Direction
	VPN        string
	Demand     string
	Slot       int
	// PE is the ingress PE, which classifies.
	PE, EgressPE string
	Flow         Flow
	LSP          string
	// Default: the LSP is what the PE's own routing gives; no FTN is needed.
	Default bool
	Steer   Steer
	// FTN is the name of the PE's entry, FEC what it matches; of a class, the first.
	FTN string
	FEC topology.FEC
	// Class is the DSCP that marks the flow (SteerClass).
	Class  uint8
	State  BindingState
	Reason string
	// Since is when the binding was decided, VerifiedAt when it was first read back.
	Since, VerifiedAt time.Time
	// Route is the links of the LSP as the PE recorded them.
	Route []string

	rules []uint64 // its edge rules
	needs []string // the FTNs of its class
}

// lspKey identifies the LSP among those of all PEs.
func (b *Binding) lspKey() topology.LSPKey { return topology.LSPKey{Ingress: b.PE, Name: b.LSP} }

// eachLSP calls f for the LSP of each slot that has one.
func eachLSP(d *plan.Demand, a plan.Assignment, f func(topology.LSPKey)) {
	for dir, pairs := range [2][]plan.Pair{d.Forward, d.Reverse} {
		for i, name := range [2][]string{a.Forward, a.Reverse}[dir] {
			if name != "" && i < len(pairs) {
				f(topology.LSPKey{Ingress: pairs[i].Ingress, Name: name})
			}
		}
	}
}

// demandGroup is a demand and the connections behind it.
type demandGroup struct {
	plan.Demand
	policy *Policy
	limits threshold.Limits
	// members in the order of their ID.
	members []*Connection
	// slots[i] are member i's subflows, one for each slot: kind by kind, by age.
	slots [][]*Subflow
	// youngest is when the last subflow of any member joined.
	youngest time.Time
}

func comparePair(a, b plan.Pair) int {
	return cmp.Or(cmp.Compare(a.Ingress, b.Ingress), cmp.Compare(a.Egress, b.Egress))
}
