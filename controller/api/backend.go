package api

import (
	"context"
	"errors"
)

// Backend is what the API needs of the controller. A part that is nil is answered
// with 503.
//
// All methods may be called at the same time by many goroutines, and should
// answer from a snapshot. Lists come in a stable order; see Query and Paginate.
type Backend struct {
	Flows   FlowReader
	Network NetworkReader
	Plans   Planner
	Control Controller
	System  System
}

// FlowReader tells about connections and where their flows ride.
type FlowReader interface {
	Connections(ctx context.Context, q Query) (Page[Connection], error)
	// Connection finds one by id; ErrNotFound if there is none.
	Connection(ctx context.Context, id string) (Connection, error)
	Subflows(ctx context.Context, q Query) (Page[Subflow], error)
	Bindings(ctx context.Context, q Query) (Page[Binding], error)
	// Explain takes a connection's id.
	Explain(ctx context.Context, connection string) (Explanation, error)
}

// NetworkReader tells about switches, mirror ports, routers, LSPs and topology.
type NetworkReader interface {
	Datapaths(ctx context.Context) ([]Datapath, error)
	Mirrors(ctx context.Context) ([]Mirror, error)
	PEs(ctx context.Context) ([]PE, error)
	LSPs(ctx context.Context, q Query) (Page[LSP], error)
	Topology(ctx context.Context) (Topology, error)
}

// Planner tells about demands and plans, and takes approvals. actor is who asks.
type Planner interface {
	Demands(ctx context.Context, q Query) (Page[Demand], error)
	// Plans are the newest first.
	Plans(ctx context.Context, q Query) (Page[Plan], error)
	Plan(ctx context.Context, id string) (Plan, error)
	// Approve has a proposed plan carried out; ErrConflict if it is not proposed.
	Approve(ctx context.Context, actor, id string) (Plan, error)
	// Propose computes a plan of that scope; evaluate only scores.
	Propose(ctx context.Context, actor, scope string) (Plan, error)
}

// Controller is what can be set at run time, and the audit. An error that is none of
// those below is answered with 500: what was set is in force, but not kept.
type Controller interface {
	Thresholds(ctx context.Context) (Thresholds, error)
	// SetThresholds keeps and audits valid ones and gives those in force;
	// *InvalidError otherwise. Ranges of the schema have been checked.
	SetThresholds(ctx context.Context, actor string, t Thresholds) (Thresholds, error)
	Mode(ctx context.Context) (Mode, error)
	SetMode(ctx context.Context, actor string, m Mode) (Mode, error)
	// Changes are the newest first. Query.State selects by Result.
	Changes(ctx context.Context, q Query) (Page[Change], error)
}

// System is the controller's own health, and its events.
type System interface {
	Status(ctx context.Context) (Status, error)
	// Ready is nil when the controller does its work: it listens, has read its
	// store, and has tried each PE once. The error says what it waits for.
	Ready(ctx context.Context) error
	// Subscribe gives events with an id greater than after (0: from now on) until
	// ctx ends. Broker does it.
	Subscribe(ctx context.Context, after uint64) <-chan Event
}

// What a backend answers, for errors.Is.
var (
	// ErrNotFound: there is no such object (404).
	ErrNotFound = errors.New("not found")
	// ErrConflict: not in this state (409).
	ErrConflict = errors.New("conflict")
	// ErrUnavailable: not now, try again (503).
	ErrUnavailable = errors.New("unavailable")
	// ErrUnsupported: not with this configuration (501).
	ErrUnsupported = errors.New("not supported")
)

// InvalidError is a value that was refused (422).
type InvalidError struct {
	Field  string // name in the JSON: "min_gain"; "" for all of it
	Detail string // what is wrong and what is wanted
	Query  bool   // Field is a parameter, not in the body
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Detail }
