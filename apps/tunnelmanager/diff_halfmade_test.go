package tunnelmanager

import (
	"slices"
	"testing"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// An LSP that a PE holds half-made, because it died between two writes, is wanted
// still: it is signalled again, and only as often as it is half-made.
func TestDiffCompletesHalfMade(t *testing.T) {
	l := topology.LSP{Name: "mpbox/lab/pe1-pe2/1", Ingress: "pe1", Egress: "pe2"}
	in := diffInput{
		owner: "mpbox/lab/", want: map[string]topology.LSP{l.Name: l},
		have:   driver.State{LSPs: []topology.LSP{{Name: l.Name, Ingress: "pe1", Oper: topology.OperDown}}, HalfMade: []string{l.Name}},
		usable: func(topology.LSP) bool { return false }, marked: func(string) bool { return false }, held: func(string) bool { return false },
	}
	ops := diff(in)
	if len(ops) != 1 || ops[0].String() != (driver.Signal{LSP: l}).String() {
		t.Errorf("ops %v, want the LSP signalled", ops)
	}
	in.have.HalfMade = nil
	if ops := diff(in); slices.ContainsFunc(ops, func(op driver.Op) bool { _, ok := op.(driver.Signal); return ok }) {
		t.Errorf("ops %v for an LSP that is down", ops)
	}
}
