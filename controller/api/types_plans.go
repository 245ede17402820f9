package api

import "time"

// Demand is what all connections of one signature ask for together.
type Demand struct {
	ID          string     `json:"id"`
	VPN         string     `json:"vpn"`
	Policy      string     `json:"policy"`
	Connections int        `json:"connections" doc:"Connections behind it"`
	Since       time.Time  `json:"since"`
	State       string     `json:"state" enum:"waiting,planned,met,unmet,held,releasing" doc:"waiting: below a threshold; held: hold-down; unmet: less than requested was achieved"`
	Reason      string     `json:"reason,omitempty" doc:"Why it is in this state"`
	Requested   string     `json:"requested" enum:"link,srlg,node,node-srlg" doc:"Disjointness asked for"`
	Achieved    string     `json:"achieved" enum:"none,link,srlg,node,node-srlg" doc:"Disjointness now, of the worse direction"`
	Shared      Shared     `json:"shared" doc:"What its LSPs still have in common"`
	Thresholds  Limits     `json:"thresholds" doc:"Those that it is judged by"`
	Forward     List[Slot] `json:"forward" doc:"Client to server"`
	Reverse     List[Slot] `json:"reverse" doc:"Server to client"`
}

// Slot is a place for one subflow of each connection of a demand.
type Slot struct {
	Ingress string       `json:"ingress"`
	Egress  string       `json:"egress"`
	LSP     string       `json:"lsp,omitempty" doc:"Empty: the PE's own routing"`
	Route   List[string] `json:"route" doc:"Links of its actual route"`
}

// Shared is what paths have in common.
type Shared struct {
	Nodes List[string] `json:"nodes"`
	Links List[string] `json:"links"`
	SRLGs List[uint32] `json:"srlgs"`
}

// Plan is a set of changes, with what it is for.
type Plan struct {
	ID      string           `json:"id"`
	At      time.Time        `json:"at"`
	Scope   string           `json:"scope" enum:"evaluate,incremental,redesign"`
	Trigger string           `json:"trigger" doc:"What led to it" example:"demand red.default.4c1f is new"`
	State   string           `json:"state" enum:"proposed,running,done,failed,superseded" doc:"proposed: waits for approval"`
	Reason  string           `json:"reason,omitempty" doc:"Why it failed, or what superseded it"`
	Actor   string           `json:"actor,omitempty" doc:"Who approved it"`
	Demands List[PlanDemand] `json:"demands"`
	Ops     List[PlanOp]     `json:"ops" doc:"Operations; each waits for those that it names"`
}

// PlanDemand is what a plan does for one demand.
type PlanDemand struct {
	ID        string  `json:"id"`
	Requested string  `json:"requested"`
	Before    string  `json:"before" doc:"Disjointness before"`
	After     string  `json:"after" doc:"Disjointness after"`
	Gain      float64 `json:"gain" doc:"Predicted goodput after, divided by that before"`
	Shared    Shared  `json:"shared"`
	Unmet     string  `json:"unmet,omitempty" doc:"Why less than asked for, and what would cure it"`
}

// PlanOp is one operation of a plan on one PE.
type PlanOp struct {
	N         int          `json:"n"`
	PE        string       `json:"pe"`
	Op        string       `json:"op" enum:"signal,bind,unbind,release,mark,unmark" doc:"bind: put the flows of a slot onto the LSP; unbind: leave them to the PE's own routing. How the PE is told (an entry each, or a mark) is the PE's steer"`
	LSP       string       `json:"lsp,omitempty" doc:"That is set up, bound to, left (unbind) or released"`
	FTN       string       `json:"ftn,omitempty" doc:"The PE's entry: the one that was refused, or that of the slot's only flow"`
	Demand    string       `json:"demand,omitempty" doc:"Whose flows move (bind, unbind)"`
	Direction string       `json:"direction,omitempty" enum:"forward,reverse" doc:"forward: client to server"`
	Slot      *int         `json:"slot,omitempty" doc:"Slot of the demand, from 0"`
	Route     List[string] `json:"route" doc:"Intended route of the LSP, names of links"`
	After     List[int]    `json:"after" doc:"Operations that must be done before"`
	State     string       `json:"state" enum:"waiting,running,done,failed" doc:"By what was read back or refused, until the plan ended; a release waits for release_delay, beyond the plan's end"`
	Error     *Problem     `json:"error,omitempty" doc:"What the PE refused"`
}

// PlanRequest asks for a plan.
type PlanRequest struct {
	Scope string `json:"scope" enum:"evaluate,incremental,redesign"`
}
