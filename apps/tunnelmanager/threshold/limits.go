// Package threshold limits replanning: aggregates move, not single flows, not too
// often, and not for nothing. It is pure: time is an argument.
package threshold

import (
	"fmt"
	"time"
)

// Limits are the thresholds. They can be set at run time.
type Limits struct {
	// MinConnections of one demand must count before it is planned for.
	MinConnections int
	// MinSubflows that a connection must have to count.
	MinSubflows int
	// MinGain is the predicted goodput after, divided by that before, that a change
	// must bring.
	MinGain float64
	// MinAge and MinBytes that a connection must have reached to count.
	MinAge   time.Duration
	MinBytes uint64
	// Settle is the quiet time after the last join before planning.
	Settle time.Duration
	// HoldDown is for how long a demand that was moved is not moved again, unless an
	// LSP of it fails.
	HoldDown time.Duration
	// MaxOpsPerMinute limits operations on routers, all PEs together.
	MaxOpsPerMinute int
	// ReleaseDelay is for how long what nothing needs is kept.
	ReleaseDelay time.Duration
}

// InvalidError is a limit outside its range, or a rule that cannot be.
type InvalidError struct {
	// Field is the name of the limit, "min_gain"; of a rule, "rules[0].min_gain".
	Field  string
	Detail string
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Detail }

// Validate checks every range; the error is an *InvalidError.
func (l Limits) Validate() error {
	for _, n := range []struct {
		field     string
		v, lo, hi float64
	}{
		{"min_connections", float64(l.MinConnections), 1, 1e6},
		{"min_subflows", float64(l.MinSubflows), 2, 64},
		{"min_gain", l.MinGain, 1, 1000},
		{"max_ops_per_minute", float64(l.MaxOpsPerMinute), 1, 100000},
	} {
		if !(n.v >= n.lo && n.v <= n.hi) {
			return &InvalidError{n.field, fmt.Sprintf("%g is out of range: want %g to %g", n.v, n.lo, n.hi)}
		}
	}
	for _, d := range []struct {
		field string
		v, hi time.Duration
	}{
		{"min_age", l.MinAge, 24 * time.Hour},
		{"settle", l.Settle, time.Minute},
		{"hold_down", l.HoldDown, 24 * time.Hour},
		{"release_delay", l.ReleaseDelay, 24 * time.Hour},
	} {
		if d.v < 0 || d.v > d.hi {
			return &InvalidError{d.field, fmt.Sprintf("%s is out of range: want 0s to %s", d.v, d.hi)}
		}
	}
	return nil
}

// Diff lists what differs from one set of limits to another, for the audit.
func Diff(from, to Limits) []string {
	var out []string
	add := func(field string, a, b any) {
		if a != b {
			out = append(out, fmt.Sprintf("%s %v -> %v", field, a, b))
		}
	}
	add("min_connections", from.MinConnections, to.MinConnections)
	add("min_subflows", from.MinSubflows, to.MinSubflows)
	add("min_gain", from.MinGain, to.MinGain)
	add("min_age", from.MinAge, to.MinAge)
	add("min_bytes", from.MinBytes, to.MinBytes)
	add("settle", from.Settle, to.Settle)
	add("hold_down", from.HoldDown, to.HoldDown)
	add("max_ops_per_minute", from.MaxOpsPerMinute, to.MaxOpsPerMinute)
	add("release_delay", from.ReleaseDelay, to.ReleaseDelay)
	return out
}
