// Package driver is the contract between mpbox and a PE router: what can be
// read from one, which operations can be asked of one, and how it says no.
//
// A driver is a thin edge. It keeps no desired state, retries nothing on its
// own and never touches what mpbox does not own: rows, tunnels and policies
// whose name does not begin with "mpbox/<instance>/" are read-only. Ordering,
// make-before-break and resuming are the caller's (apps/tunnelmanager).
package driver

import (
	"context"
	"time"

	"mpbox/topology"
)

// Driver speaks to one PE. It is used by one goroutine at a time.
type Driver interface {
	// Capabilities tells what this PE can do through this driver. It is constant
	// and needs no connection.
	Capabilities() Capabilities
	// State reads back what the PE holds now, whoever put it there.
	State(ctx context.Context) (State, error)
	// Apply carries out the operations in their order and returns when the PE has
	// accepted the last one. It stops at the first that fails; with
	// Capabilities.Atomic none of them then took effect, otherwise those before it
	// did. An operation whose effect is already there is a success and sends
	// nothing. Whether an LSP came up is seen in State, not here.
	Apply(ctx context.Context, ops ...Op) error
	// Close ends the session. The PE keeps its state.
	Close() error
}

// TopologyReader is a Driver, or another session to the same PE, that can also
// read the PE's traffic engineering database.
type TopologyReader interface {
	Topology(ctx context.Context) (*topology.TED, error)
}

// Capabilities of a driver on a PE.
type Capabilities struct {
	// Kind is the driver's name in the configuration: "snmp", "iosxr".
	Kind string
	// Write is false for drivers that can only read.
	Write bool
	// FTN: the PE can classify by 5-tuple. Class: the PE can classify by DSCP.
	FTN, Class bool
	// ExplicitRoute: an LSP's ERO can be given. RecordRoute: its RRO can be read.
	ExplicitRoute, RecordRoute bool
	// Bandwidth: an LSP can reserve bandwidth.
	Bandwidth bool
	// MaxSlots is how many steered LSPs to one egress the PE can tell apart
	// (forward classes); 0 means no limit.
	MaxSlots int
	// BindForeign: a class can be bound to an LSP that mpbox does not own, without
	// changing that LSP.
	BindForeign bool
	// Atomic: Apply is all or nothing.
	Atomic bool
}

// State is what a PE reported, at one time.
type State struct {
	At time.Time
	// LSPs that begin at this PE, its own and others'.
	LSPs []topology.LSP
	// FTNs of this PE, its own and others' where the driver can see these. One of
	// ours that is not in effect, because part of it is missing, has no LSP or no
	// FEC.Interface: Bind completes it, Unbind removes it.
	FTNs []topology.FTN
	// HalfMade names those of LSPs that are ours and not complete, because a PE or
	// mpbox died between two writes: they are down, their Reason says what is
	// missing. Signal completes one, Release removes it. Drivers whose writes are
	// atomic have none.
	HalfMade []string
}

// Op is one operation on a PE. Each is idempotent.
type Op interface {
	// String names the operation for people: "signal mpbox/lab/pe1-pe2/1".
	String() string
	op()
}

// Signal has a new LSP set up. An LSP of that name with another route is
// refused with ErrRejected: a changed route is a new name (make-before-break).
type Signal struct{ LSP topology.LSP }

// Bind maps a class to an LSP: it adds the FTN, or re-points the one of that name
// in one step, without a moment in which the class is not mapped.
type Bind struct{ FTN topology.FTN }

// Unbind removes the FTN of that name.
type Unbind struct{ Name string }

// Release tears down the LSP of that name. An LSP that a FTN still points to is
// refused with ErrRejected.
type Release struct{ Name string }

func (o Signal) String() string  { return "signal " + o.LSP.Name }
func (o Bind) String() string    { return "bind " + o.FTN.Name + " to " + o.FTN.LSP }
func (o Unbind) String() string  { return "unbind " + o.Name }
func (o Release) String() string { return "release " + o.Name }

func (Signal) op()  {}
func (Bind) op()    {}
func (Unbind) op()  {}
func (Release) op() {}
