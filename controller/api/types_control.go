package api

import "time"

// Thresholds limit replanning. They can be set at run time and are kept over
// restarts.
type Thresholds struct {
	MinConnections  int      `json:"min_connections" minimum:"1" maximum:"1000000" doc:"Connections of one signature before it is planned for"`
	MinSubflows     int      `json:"min_subflows" minimum:"2" maximum:"64" doc:"Subflows that a connection must have to count"`
	MinGain         float64  `json:"min_gain" minimum:"1" maximum:"1000" doc:"Predicted goodput after, divided by that before, that a change must bring"`
	MinAge          Duration `json:"min_age" doc:"Age that a connection must have to count; 0s to 24h"`
	MinBytes        uint64   `json:"min_bytes" doc:"Bytes that let a connection count before it is min_age old; with min_age 0s, those that it must have carried. Edge bridges count them, by a rule for each flow that waits; connections that pass none are judged by min_age alone"`
	Settle          Duration `json:"settle" doc:"Quiet time after the last join before planning; 0s to 1m"`
	HoldDown        Duration `json:"hold_down" doc:"Time for which a demand that was moved is not moved again, unless an LSP fails; 0s to 24h"`
	MaxOpsPerMinute int      `json:"max_ops_per_minute" minimum:"1" maximum:"100000" doc:"Operations on routers, all PEs together"`
	ReleaseDelay    Duration `json:"release_delay" doc:"Time for which an LSP that nothing needs is kept; 0s to 24h"`

	Rules List[ThresholdRule] `json:"rules" required:"false" doc:"Other thresholds for some demands. A rule that names more is stronger, a later one stronger than its equal. Left out when set: they stay"`
}

// Limits are those thresholds that can be set for some demands. What is not there
// is not set.
type Limits struct {
	MinConnections *int      `json:"min_connections,omitempty" minimum:"1" maximum:"1000000" doc:"Connections of one signature before it is planned for"`
	MinSubflows    *int      `json:"min_subflows,omitempty" minimum:"2" maximum:"64" doc:"Subflows that a connection must have to count"`
	MinGain        *float64  `json:"min_gain,omitempty" minimum:"1" maximum:"1000" doc:"Predicted goodput after, divided by that before, that a change must bring"`
	MinAge         *Duration `json:"min_age,omitempty" doc:"Age that a connection must have to count; 0s to 24h"`
	MinBytes       *uint64   `json:"min_bytes,omitempty" doc:"Bytes that let a connection count before it is min_age old; with min_age 0s, those that it must have carried. Edge bridges count them, by a rule for each flow that waits; connections that pass none are judged by min_age alone"`
	Settle         *Duration `json:"settle,omitempty" doc:"Quiet time after the last join before planning; 0s to 1m"`
	HoldDown       *Duration `json:"hold_down,omitempty" doc:"Time for which a demand that was moved is not moved again, unless an LSP fails; 0s to 24h"`
	ReleaseDelay   *Duration `json:"release_delay,omitempty" doc:"Time for which an LSP that nothing needs is kept; 0s to 24h"`
}

// RuleMatch names the demands that a rule is for: all that is given must match.
type RuleMatch struct {
	VPN     string `json:"vpn,omitempty" query:"vpn" doc:"Name of a VPN; left out: all"`
	Policy  string `json:"policy,omitempty" query:"policy" doc:"Name of a policy; left out: all"`
	Ingress string `json:"ingress,omitempty" query:"ingress" doc:"PE that one of a connection's flows enters at, in either direction; left out: any"`
	Egress  string `json:"egress,omitempty" query:"egress" doc:"PE that the same flow leaves at; left out: any"`
}

// ThresholdRule sets some thresholds anew for the demands that it names.
type ThresholdRule struct {
	RuleMatch
	Limits
}

// ThresholdsPatch sets those thresholds that are given.
type ThresholdsPatch struct {
	Limits
	MaxOpsPerMinute *int             `json:"max_ops_per_minute,omitempty" minimum:"1" maximum:"100000" doc:"Operations on routers, all PEs together"`
	Rules           *[]ThresholdRule `json:"rules,omitempty" doc:"All the rules, in place of those in force"`
}

func (p ThresholdsPatch) apply(t *Thresholds) {
	set(&t.MinConnections, p.MinConnections)
	set(&t.MinSubflows, p.MinSubflows)
	set(&t.MinGain, p.MinGain)
	set(&t.MinAge, p.MinAge)
	set(&t.MinBytes, p.MinBytes)
	set(&t.Settle, p.Settle)
	set(&t.HoldDown, p.HoldDown)
	set(&t.MaxOpsPerMinute, p.MaxOpsPerMinute)
	set(&t.ReleaseDelay, p.ReleaseDelay)
	set((*[]ThresholdRule)(&t.Rules), p.Rules)
}

// with gives the limits with those of p.
func (l Limits) with(p Limits) Limits {
	or(&l.MinConnections, p.MinConnections)
	or(&l.MinSubflows, p.MinSubflows)
	or(&l.MinGain, p.MinGain)
	or(&l.MinAge, p.MinAge)
	or(&l.MinBytes, p.MinBytes)
	or(&l.Settle, p.Settle)
	or(&l.HoldDown, p.HoldDown)
	or(&l.ReleaseDelay, p.ReleaseDelay)
	return l
}

func or[T any](to **T, from *T) {
	if from != nil {
		*to = from
	}
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// Mode is what mpbox may do to routers.
type Mode struct {
	Mode string `json:"mode" enum:"observe,suggest,auto" doc:"observe: nothing; suggest: plans wait for approval; auto: plans are carried out"`
}

// Change is an entry of the audit: something was decided, asked for or done.
type Change struct {
	ID      uint64    `json:"id" doc:"Grows"`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor" doc:"mpbox itself, or who asked" example:"mpbox"`
	Action  string    `json:"action" doc:"What was done" example:"signal"`
	Subject string    `json:"subject" doc:"What it was done to" example:"mpbox/lab/pe1-pe2/1"`
	VPN     string    `json:"vpn,omitempty"`
	PE      string    `json:"pe,omitempty"`
	Plan    string    `json:"plan,omitempty"`
	Step    string    `json:"step,omitempty" doc:"The router command or SET"`
	Result  string    `json:"result" enum:"ok,failed,refused,skipped" doc:"refused: the router said no; skipped: a threshold held it back"`
	Detail  string    `json:"detail,omitempty" doc:"Why, and what was said"`
	Remedy  string    `json:"remedy,omitempty" doc:"What to do about it"`
}

// Event tells that something changed. Data is the object as the API shows it now.
type Event struct {
	ID      uint64    `json:"id" doc:"Grows; use it as Last-Event-ID"`
	At      time.Time `json:"at"`
	Type    string    `json:"type" enum:"connection,subflow,binding,datapath,mirror,pe,lsp,topology,demand,plan,threshold,mode,change,lost" doc:"lost: events were missed, read the lists again"`
	Action  string    `json:"action" enum:"added,changed,removed"`
	Subject string    `json:"subject" doc:"Id or name of the object"`
	VPN     string    `json:"vpn,omitempty"`
	PE      string    `json:"pe,omitempty"`
	State   string    `json:"state,omitempty"`
	Data    any       `json:"data,omitempty" doc:"The object, of the type's schema; absent when it was removed"`
}

// Status is the controller at a glance.
type Status struct {
	Instance    string    `json:"instance"`
	Version     string    `json:"version"`
	Mode        string    `json:"mode" enum:"observe,suggest,auto"`
	Started     time.Time `json:"started"`
	Datapaths   int       `json:"datapaths" doc:"Connected"`
	Mirrors     int       `json:"mirrors" doc:"Listening"`
	Connections int       `json:"connections"`
	Subflows    int       `json:"subflows"`
	Orphans     int       `json:"orphans" doc:"Joins whose connection is not known yet"`
	Bindings    int       `json:"bindings"`
	LSPs        int       `json:"lsps"`
	PEs         int       `json:"pes" doc:"Reachable"`

	Topology TopologyStatus `json:"topology"`
}

// TopologyStatus is the traffic engineering database in use at a glance.
type TopologyStatus struct {
	Source string    `json:"source" enum:"none,file,pes,bgp-ls" doc:"Where it comes from; a topology file completes each of the others"`
	At     time.Time `json:"at,omitzero" doc:"Its last change"`
	Nodes  int       `json:"nodes"`
	Links  int       `json:"links" doc:"One for each direction"`
	BGPLS  *BGPLS    `json:"bgp_ls,omitempty" doc:"Where it is configured"`
}
