// Package tunnelmanager is the decision entity: it turns MPTCP connections into
// demands, asks plan.Plan which LSPs each slot should ride, and reconciles the PE
// routers and edge bridges with the answer.
//
// Manager.Run is the one goroutine that owns the state. Everything that decides
// is a pure function with a file of its own: grouping (demand.go), what should be
// there (desired.go), what is missing (diff.go). Routers are touched by one
// worker per PE (worker.go) alone, edge bridges through the Edge interface.
// The package knows no OpenFlow, SNMP, CLI, REST or YAML.
package tunnelmanager
