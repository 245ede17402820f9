// Package disjoint finds paths that share as little as possible: pure functions
// on a TED snapshot. Find answers a Query; cost.go says what is minimised.
package disjoint

import (
	"fmt"
	"slices"
	"time"
)

// Level is a degree of disjointness of a set of paths.
type Level uint8

// The levels. Link: no common link (either direction). SRLG: link and no common
// SRLG. Node: link and no common inner node. NodeSRLG: both.
const (
	None Level = iota
	Link
	SRLG
	Node
	NodeSRLG
)

var levelNames = [...]string{"none", "link", "srlg", "node", "node-srlg"}

func (l Level) String() string { return levelNames[min(int(l), len(levelNames)-1)] }

// MarshalText gives the name as in the CLI and JSON.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads one of none, link, srlg, node, node-srlg.
func (l *Level) UnmarshalText(b []byte) error {
	for i, n := range levelNames {
		if n == string(b) {
			*l = Level(i)
			return nil
		}
	}
	return fmt.Errorf("disjointness %q: want node, link, srlg or node-srlg", b)
}

// Metric is what a path's cost is counted in.
type Metric uint8

// The metrics: TE metric, IGP metric, delay in microseconds, number of links.
const (
	MetricTE Metric = iota
	MetricIGP
	MetricDelay
	MetricHops
)

// ParseMetric reads one of te, igp, delay, hops.
func ParseMetric(s string) (Metric, bool) {
	i := slices.Index(metricNames[:], s)
	return Metric(max(i, 0)), i >= 0
}

var metricNames = [...]string{"te", "igp", "delay", "hops"}

func (m Metric) String() string { return metricNames[min(int(m), len(metricNames)-1)] }

// Constraints limit which paths may be used. The zero value allows all.
type Constraints struct {
	// IncludeAny, IncludeAll, ExcludeAny are admin-group masks of each link.
	IncludeAny, IncludeAll, ExcludeAny uint32
	// Bandwidth (bit/s) must be unreserved at Priority on each link.
	Bandwidth float64
	Priority  uint8
	// MaxHops and MaxDelay bound each path; MaxDelaySpread bounds the difference
	// between the fastest and the slowest path of a set. 0 means no bound.
	MaxHops                  int
	MaxDelay, MaxDelaySpread time.Duration
	// AvoidNodes are not passed; RequireNodes are each on every path.
	AvoidNodes, RequireNodes []string
}

// limiting tells whether anything is constrained.
func (c *Constraints) limiting() bool {
	return c.IncludeAny|c.IncludeAll|c.ExcludeAny != 0 || c.Bandwidth > 0 || c.MaxHops > 0 ||
		c.MaxDelay > 0 || c.MaxDelaySpread > 0 || len(c.AvoidNodes)+len(c.RequireNodes) > 0
}

// onPaths tells whether whole paths are constrained, not only their links.
func (c *Constraints) onPaths() bool {
	return c.MaxHops > 0 || c.MaxDelay > 0 || c.MaxDelaySpread > 0 || len(c.RequireNodes) > 0
}

// Shared is what two or more paths of a set have in common, sorted.
type Shared struct {
	Nodes []string `json:"nodes"`
	Links []string `json:"links"`
	SRLGs []uint32 `json:"srlgs"`
}
