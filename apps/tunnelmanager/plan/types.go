// Package plan decides which LSPs there should be and which of them each
// demand's flows ride: Plan is a pure function from what is (TED, LSPs, demands,
// the assignment in force) to what should be. It has no clock, no I/O and no
// goroutine; carrying a plan out is apps/tunnelmanager's work.
package plan

import (
	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// Scope says how much a plan may touch.
type Scope uint8

// The scopes: Evaluate only scores, Incremental touches as little as possible,
// Redesign may re-assign everything that mpbox owns.
const (
	Evaluate Scope = iota
	Incremental
	Redesign
)

// Pair is where a flow enters and leaves the provider's network: node names.
type Pair struct{ Ingress, Egress string }

// Demand is what all the connections of one signature ask for: a group of slots
// in each direction whose LSPs should be disjoint from each other.
type Demand struct {
	// ID is stable for a signature; it is part of no router's configuration.
	ID string
	// VPN and Policy are names, for people.
	VPN, Policy string
	// Weight is how many connections stand behind the demand; at least 1.
	Weight int
	// Forward (client to server) and Reverse hold one Pair for each slot. Slot i
	// of both belong to the same subflow.
	Forward, Reverse []Pair
	// Level is the disjointness that is asked for. With Strict, less is refused.
	Level  disjoint.Level
	Strict bool
	// Metric that its path cost is counted in. MetricDelay is MetricTE where a link
	// that it may use has an unknown delay; Unmet then says so.
	Metric disjoint.Metric
	// Bandwidth is the traffic that one slot is expected to carry, in bit/s; 0
	// means unknown: it then counts for nothing in overload.
	Bandwidth float64
	// Template is what a new LSP is asked for with (name, route and ends are the
	// planner's).
	Template topology.LSP
	// Constraints limits the paths of new LSPs.
	Constraints disjoint.Constraints
	// Hold keeps the slots whose LSPs are up as they are, whatever would be better:
	// the demand was moved a short while ago.
	Hold bool
	// NoNew: no LSP is signalled for it, others may be used. What was signalled for
	// it before did not come up.
	NoNew bool
}

// Assignment names the LSP of each slot, which is the one of that name that begins
// at the slot's ingress; "" where a slot has none and its flows follow the PE's own
// routing.
type Assignment struct{ Forward, Reverse []string }

// Input of a plan. All of it is read only.
type Input struct {
	Scope Scope
	// Owner is the name prefix of the LSPs that may be changed: "mpbox/lab/".
	Owner string
	TED   *topology.TED
	// LSPs are all the LSPs that the PEs reported; a name is unique at its ingress.
	LSPs []topology.LSP
	// Demands, with Current the assignment in force by Demand.ID (none if new).
	Demands []Demand
	Current map[string]Assignment
	// Default tells which LSP of the ingress flows of a pair ride when no slot steers
	// them; may be nil: then the shortest path by TE metric is assumed.
	Default func(Pair) (lsp string, ok bool)
	// Tidy also moves demands off LSPs that can be spared: where nothing gets worse
	// but path cost, the LSP with the fewest users is given up. For quiet times.
	Tidy bool
	// MaxNewLSPs limits what one plan may signal; 0 means no limit.
	MaxNewLSPs int
	// MaxPerPair limits how many owned LSPs a pair may have at a time (a PE with
	// forward classes tells seven apart); nil or 0 means no limit.
	MaxPerPair func(Pair) int
	// Reuse tells whether flows may be put on an LSP that is not owned; nil: on all.
	Reuse func(topology.LSP) bool
	// Memo may keep what was found out for the next plan on the same TED; nil keeps
	// nothing.
	Memo *Memo
	// Pending are LSPs that were signalled and have not come up yet: they are
	// planned with as if they were up, on the route they were asked for.
	Pending map[topology.LSPKey]bool
	// Avoid are LSPs that were asked for and did not come up: none is signalled on
	// the route of one of them (its ERO) that reserves as much.
	Avoid []topology.LSP
}

// Result of a plan.
type Result struct {
	Demands []Outcome
	// Signal are the LSPs to set up, with names, which no other LSP has anywhere,
	// and EROs; Release are the owned LSPs that nothing needs any more (the caller
	// delays these).
	Signal  []topology.LSP
	Release []topology.LSPKey
	// After names, for an LSP of Signal that reserves bandwidth, the LSPs of Release
	// that have to be gone before there is enough of it.
	After map[topology.LSPKey][]topology.LSPKey
}

// Outcome is what a plan gives one demand.
type Outcome struct {
	ID string
	// Requested level, and the levels before and after; of the worse direction.
	Requested, Before, After disjoint.Level
	// Assignment to bring about: names of LSPs that exist or are in Result.Signal.
	Assignment Assignment
	// Changed slots have another LSP than in Input.Current.
	Changed int
	// Gain is the predicted goodput of the group after, divided by that before.
	Gain float64
	// Shared is what paths of the group still have in common after.
	Shared disjoint.Shared
	// Unmet says why less than was asked for was achieved (Requested, or a path cost
	// by delay) and what would cure it; "" when all was met.
	Unmet string
}
