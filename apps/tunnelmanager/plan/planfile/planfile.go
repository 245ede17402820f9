// Package planfile reads the files of the offline planner: which LSPs there are,
// and which demands. YAML, and so JSON; unknown keys are refused, and what is
// wrong is told with file, line and column. The structs are exported for the
// JSON schemas that are made of them.
package planfile

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"mpbox/topology/disjoint"
)

// LSPs is an LSP file.
type LSPs struct {
	LSPs []LSP `yaml:"lsps" jsonschema:"required" jsonschema_description:"The LSPs that there are."`
}

// LSP is one label switched path.
type LSP struct {
	Name    string   `yaml:"name" jsonschema:"required,minLength=1" jsonschema_description:"Symbolic name, unique at its ingress. One that begins with the owner's prefix (mpbox/INSTANCE/) may be changed, all others are read-only."`
	Ingress string   `yaml:"ingress,omitempty" jsonschema_description:"Node where it begins. Not needed with a route."`
	Egress  string   `yaml:"egress,omitempty" jsonschema_description:"Node where it ends. Not needed with a route."`
	Route   []string `yaml:"route,omitempty" jsonschema_description:"The nodes it passes, from ingress to egress. Empty: unknown, then it is not counted on."`
	Links   []string `yaml:"links,omitempty" jsonschema_description:"The names of its links in order, instead of route: where parallel links have to be told apart."`
	State   string   `yaml:"state,omitempty" jsonschema:"enum=up,enum=down,enum=unknown" jsonschema_description:"Operational state; up by default."`
	// Default LSPs are what the PE's own routing uses.
	Default   bool `yaml:"default,omitempty" jsonschema_description:"It carries the flows of its ingress and egress that nothing steers. Without one, the shortest path by TE metric is assumed."`
	Bandwidth Rate `yaml:"bandwidth,omitempty" jsonschema_description:"What it reserves."`
}

// Demands is a demand file.
type Demands struct {
	Demands []Demand `yaml:"demands" jsonschema:"required" jsonschema_description:"Groups of subflows, each to be spread over LSPs that share as little as possible."`
}

// Demand is what the connections of one signature ask for.
type Demand struct {
	ID     string `yaml:"id" jsonschema:"required,minLength=1" jsonschema_description:"Name of the demand, once in the file."`
	VPN    string `yaml:"vpn,omitempty"`
	Policy string `yaml:"policy,omitempty"`
	Weight *int   `yaml:"weight,omitempty" jsonschema:"minimum=1" jsonschema_description:"Connections that stand behind it; 1 by default. Those with most are planned first."`
	From   string `yaml:"from,omitempty" jsonschema_description:"Node where all the subflows enter; with to and slots, instead of forward."`
	To     string `yaml:"to,omitempty" jsonschema_description:"Node where all the subflows leave."`
	Slots  *int   `yaml:"slots,omitempty" jsonschema:"minimum=1,maximum=64" jsonschema_description:"How many subflows from from to to; 2 by default."`

	Forward []Pair `yaml:"forward,omitempty" jsonschema_description:"Where each subflow enters and leaves, client to server."`
	Reverse []Pair `yaml:"reverse,omitempty" jsonschema_description:"The same, server to client; by default forward with its ends exchanged."`
	OneWay  bool   `yaml:"one_way,omitempty" jsonschema_description:"No reverse direction."`

	Disjoint    Level        `yaml:"disjoint,omitempty" jsonschema_description:"Level that is asked for: none, link, srlg, node or node-srlg; node-srlg by default."`
	Strict      bool         `yaml:"strict,omitempty" jsonschema_description:"Refuse less than disjoint."`
	Metric      Metric       `yaml:"metric,omitempty" jsonschema_description:"What its path cost is counted in: te, igp, delay or hops; that of the command line by default."`
	Bandwidth   Rate         `yaml:"bandwidth,omitempty" jsonschema_description:"Traffic that one slot is expected to carry; unknown by default."`
	Hold        bool         `yaml:"hold,omitempty" jsonschema_description:"Do not move it while its LSPs are up."`
	LSP         *Template    `yaml:"lsp,omitempty" jsonschema_description:"What new LSPs ask for."`
	Constraints *Constraints `yaml:"constraints,omitempty" jsonschema_description:"Which paths new LSPs may take."`
	Current     *Assignment  `yaml:"current,omitempty" jsonschema_description:"The LSPs that its slots ride now."`
}

// Pair is where a subflow enters and leaves the network.
type Pair struct {
	From string `yaml:"from" jsonschema:"required,minLength=1"`
	To   string `yaml:"to" jsonschema:"required,minLength=1"`
}

// Assignment names an LSP for each slot; "" for none.
type Assignment struct {
	Forward []string `yaml:"forward,omitempty"`
	Reverse []string `yaml:"reverse,omitempty"`
}

// Template is what a new LSP is signalled with.
type Template struct {
	Bandwidth     Rate   `yaml:"bandwidth,omitempty" jsonschema_description:"What it reserves."`
	SetupPriority *uint8 `yaml:"setup_priority,omitempty" jsonschema:"maximum=7" jsonschema_description:"0 (best) to 7; 7 by default."`
	HoldPriority  *uint8 `yaml:"hold_priority,omitempty" jsonschema:"maximum=7" jsonschema_description:"0 (best) to 7; 7 by default."`
}

// Constraints limit the paths of new LSPs.
type Constraints struct {
	IncludeAny     uint32   `yaml:"include_any,omitempty" jsonschema_description:"Admin-group mask: each link has one of these."`
	IncludeAll     uint32   `yaml:"include_all,omitempty" jsonschema_description:"Admin-group mask: each link has all of these."`
	ExcludeAny     uint32   `yaml:"exclude_any,omitempty" jsonschema_description:"Admin-group mask: no link has any of these."`
	MaxHops        int      `yaml:"max_hops,omitempty" jsonschema:"minimum=0" jsonschema_description:"Links of each path; 0 for no bound."`
	MaxDelay       Duration `yaml:"max_delay,omitempty" jsonschema_description:"Delay of each path."`
	MaxDelaySpread Duration `yaml:"max_delay_spread,omitempty" jsonschema_description:"Difference between the fastest and the slowest path of a direction."`
	AvoidNodes     []string `yaml:"avoid_nodes,omitempty" jsonschema_description:"Nodes that are not passed."`
	RequireNodes   []string `yaml:"require_nodes,omitempty" jsonschema_description:"Nodes that are on each path."`
}

// Level is a degree of disjointness.
type Level struct {
	disjoint.Level
	set bool
}

// UnmarshalText reads none, link, srlg, node or node-srlg.
func (l *Level) UnmarshalText(b []byte) error {
	l.set = true
	if err := l.Level.UnmarshalText(b); err != nil {
		return fmt.Errorf("want none, link, srlg, node or node-srlg")
	}
	return nil
}

// JSONSchema describes a Level.
func (Level) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Enum: []any{"none", "link", "srlg", "node", "node-srlg"}, Default: "node-srlg"}
}

// Metric is what path cost is counted in.
type Metric struct {
	disjoint.Metric
	set bool
}

// UnmarshalText reads te, igp, delay or hops.
func (m *Metric) UnmarshalText(b []byte) error {
	if m.Metric, m.set = disjoint.ParseMetric(string(b)); !m.set {
		return fmt.Errorf("want te, igp, delay or hops")
	}
	return nil
}

// JSONSchema describes a Metric.
func (Metric) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Enum: []any{"te", "igp", "delay", "hops"}}
}

// Rate is in bit/s; it is written as a number, or as "20M", "1.5G", "100k".
type Rate float64

// UnmarshalText reads a number with or without a unit.
func (r *Rate) UnmarshalText(b []byte) error {
	s, factor := strings.TrimSpace(string(b)), 1.0
	if s != "" {
		if i := strings.IndexByte("kMGT", s[len(s)-1]); i >= 0 {
			s, factor = s[:len(s)-1], math.Pow(1000, float64(i+1))
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || v < 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return fmt.Errorf("want bit/s with or without a unit, like 100k, 20M or 1.5G")
	}
	*r = Rate(v * factor)
	return nil
}

// JSONSchema describes a Rate.
func (Rate) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		AnyOf:    []*jsonschema.Schema{{Type: "number", Minimum: "0"}, {Type: "string", Pattern: `^[0-9.]+ ?[kMGT]?$`}},
		Examples: []any{"20M"}, Description: "bit/s, with or without a unit: 100k, 20M, 1.5G",
	}
}

// Duration is written as "500us", "10ms", "1s".
type Duration time.Duration

// UnmarshalText reads a number and a unit.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("want a number and a unit, like 500us, 10ms or 1s")
	}
	*d = Duration(v)
	return nil
}

// JSONSchema describes a Duration.
func (Duration) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Examples: []any{"10ms"}}
}
