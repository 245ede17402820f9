package api

import "time"

// Connection is an MPTCP connection, as found from its handshakes (RFC 8684).
type Connection struct {
	ID       string        `json:"id" doc:"Stable identifier, also across restarts of mpbox"`
	Token    string        `json:"token" doc:"The server's token, 8 hex digits (RFC 8684, section 3.1)" example:"7f3a9c01"`
	Version  int           `json:"version" minimum:"0" maximum:"1" doc:"MPTCP version"`
	VPN      string        `json:"vpn"`
	Client   string        `json:"client" doc:"Address and port of the client of the initial subflow; empty where only joins were seen" example:"10.1.0.1:40001"`
	Server   string        `json:"server" example:"10.2.0.1:443"`
	Since    time.Time     `json:"since" doc:"First packet seen"`
	State    string        `json:"state" enum:"syn,established,closed,failed"`
	Policy   string        `json:"policy,omitempty" doc:"Name of the policy that applies"`
	Demand   string        `json:"demand,omitempty" doc:"Demand that it is counted in; empty where none is, see /v1/explain"`
	Restored bool          `json:"restored,omitempty" doc:"Known from before a restart: its keys are gone, joins still match by token"`
	Bytes    uint64        `json:"bytes" doc:"Bytes counted by edge rules, both directions, of flows that are bound or wait for min_bytes"`
	Subflows List[Subflow] `json:"subflows"`
}

// Subflow is one TCP connection of an MPTCP connection.
type Subflow struct {
	ID         string    `json:"id"`
	Connection string    `json:"connection" doc:"Connection that it belongs to; empty for an orphan"`
	Token      string    `json:"token" doc:"The server's token of its connection"`
	VPN        string    `json:"vpn"`
	Kind       string    `json:"kind" enum:"initial,join"`
	Client     string    `json:"client" doc:"Sender of the SYN"`
	Server     string    `json:"server"`
	State      string    `json:"state" enum:"syn,established,closed,failed" doc:"established: a SYN/ACK with the matching option was seen"`
	Verified   *bool     `json:"verified" doc:"HMAC or echoed key seen and right (true), wrong (false), or not enough was seen (null)"`
	Backup     bool      `json:"backup" doc:"Backup priority, last value seen"`
	AddressID  int       `json:"address_id" minimum:"0" maximum:"255" doc:"Address id of the SYN's sender"`
	Since      time.Time `json:"since" doc:"SYN at the tap"`
	Listed     time.Time `json:"listed" doc:"When the API could show it first"`
	Flows      Flows     `json:"flows"`
}

// Flows are the two directions of a subflow.
type Flows struct {
	C2S Flow `json:"c2s" doc:"Client to server"`
	S2C Flow `json:"s2c" doc:"Server to client"`
}

// Flow is one direction of a subflow.
type Flow struct {
	Ingress      Place        `json:"ingress" doc:"Where it enters the provider's network"`
	Egress       Place        `json:"egress" doc:"Where it leaves"`
	LSP          string       `json:"lsp,omitempty" doc:"LSP that it is bound to; empty: it follows the PE's own routing"`
	Binding      string       `json:"binding,omitempty" doc:"Id of its binding"`
	BindingState string       `json:"binding_state" enum:"none,pending,installed,verified,failed"`
	Bytes        uint64       `json:"bytes" doc:"Bytes counted by its edge rule"`
	Route        List[string] `json:"route" doc:"Links of the LSP's actual route"`
}

// Place is an attachment and the PE behind it.
type Place struct {
	Attachment string `json:"attachment" doc:"Empty where it was not tapped there"`
	PE         string `json:"pe" doc:"Empty where it is unknown"`
}

// Binding is a flow (or a class of flows) put onto an LSP.
type Binding struct {
	ID         string       `json:"id"`
	VPN        string       `json:"vpn"`
	Connection string       `json:"connection"`
	Subflow    string       `json:"subflow"`
	Direction  string       `json:"direction" enum:"c2s,s2c"`
	PE         string       `json:"pe" doc:"Ingress PE, which classifies it"`
	Egress     string       `json:"egress" doc:"Egress PE"`
	FEC        string       `json:"fec" doc:"What the PE matches" example:"GigabitEthernet0/0/0/1 src=10.1.0.1/32 dst=10.2.0.1/32 proto=6 sport=40001 dport=443"`
	FTN        string       `json:"ftn,omitempty" doc:"Name of the PE's entry"`
	LSP        string       `json:"lsp"`
	Default    bool         `json:"default" doc:"The LSP is what the PE's own routing gives: no entry is needed"`
	Slot       int          `json:"slot" doc:"Slot of its demand, from 0"`
	Steer      string       `json:"steer" enum:"ftn,class,bsid" doc:"How the PE tells the flow apart"`
	DSCP       *int         `json:"dscp,omitempty" minimum:"0" maximum:"63" doc:"Mark that the edge bridge sets (steer class)"`
	State      string       `json:"state" enum:"pending,installed,verified,failed" doc:"verified: PE state and edge flow were both read back"`
	Reason     string       `json:"reason,omitempty" doc:"Why it is not verified"`
	Since      time.Time    `json:"since" doc:"When it was decided"`
	Verified   time.Time    `json:"verified_at,omitzero" doc:"When it was verified last"`
	Route      List[string] `json:"route" doc:"Links of the LSP's actual route"`
}

// Explanation says why a connection's subflows ride where they do.
type Explanation struct {
	Connection Connection    `json:"connection"`
	Verdict    string        `json:"verdict" doc:"One sentence" example:"bound: 2 of 2 subflows ride node-disjoint LSPs in both directions"`
	Facts      List[Fact]    `json:"facts" doc:"What was decided by, in the order in which it was asked"`
	Demand     *Demand       `json:"demand,omitempty"`
	Bindings   List[Binding] `json:"bindings"`
	Changes    List[Change]  `json:"changes" doc:"What was done about it, newest first"`
}

// Fact is one question that the decision asked.
type Fact struct {
	Question string `json:"question" example:"connections in the demand"`
	Value    string `json:"value" example:"2"`
	Wanted   string `json:"wanted,omitempty" example:"at least 3 (min_connections)"`
	OK       bool   `json:"ok" doc:"false: this is what stands in the way"`
}
