package api

import "time"

// Datapath is an edge bridge, as its OpenFlow session shows it.
type Datapath struct {
	DPID        string           `json:"dpid" doc:"Datapath id, 16 hex digits" example:"0000000000000001"`
	Name        string           `json:"name,omitempty" doc:"Name in the configuration; empty for an unknown one that is observed"`
	Connected   bool             `json:"connected"`
	Ready       bool             `json:"ready" doc:"Its flow tables are as intended"`
	Address     string           `json:"address,omitempty" doc:"Where its session comes from"`
	Since       time.Time        `json:"since,omitzero" doc:"Begin of the session, or when it was lost"`
	Description string           `json:"description,omitempty" doc:"Manufacturer, hardware and software, as it says"`
	Attachments List[Attachment] `json:"attachments"`
	Tap         Tap              `json:"tap"`
	Flows       int              `json:"flows" doc:"Flows of this controller that are installed"`
	Error       *Problem         `json:"error,omitempty"`
}

// Attachment is a CE-facing port of an edge bridge and the PE port behind it.
type Attachment struct {
	Name        string       `json:"name"`
	CEPort      uint32       `json:"ce_port"`
	PEPort      uint32       `json:"pe_port"`
	VLAN        List[uint16] `json:"vlan" doc:"Outer, then inner VLAN id; empty for untagged"`
	VPN         string       `json:"vpn"`
	PE          string       `json:"pe,omitempty"`
	PEInterface string       `json:"pe_interface,omitempty"`
	Up          bool         `json:"up" doc:"Both ports have link"`
}

// Tap counts what a datapath sends to the controller.
type Tap struct {
	ThirdACK string `json:"third_ack" enum:"off,reactive,conntrack"`
	Punts    uint64 `json:"punts" doc:"Packets sent to the controller in this session"`
	Dropped  uint64 `json:"dropped" doc:"Punts that meters or queues dropped; the packets themselves were forwarded"`
	Rate     int    `json:"punt_rate,omitempty" doc:"Limit of the whole switch, punts per second"`
	Metered  bool   `json:"metered" doc:"The switch limits punts by itself"`
}

// Mirror is a port that a switch copies frames to, for handshakes to be read there.
type Mirror struct {
	Name        string                 `json:"name"`
	Interface   string                 `json:"interface"`
	ERSPAN      bool                   `json:"erspan" doc:"The copies come in ERSPAN"`
	ThirdACK    bool                   `json:"third_ack" doc:"Third packets of MPTCP handshakes are read too"`
	State       string                 `json:"state" enum:"listening,down,lost" doc:"down: the interface has no link. lost: it is not there, or cannot be read; it is tried again"`
	Since       time.Time              `json:"since" doc:"When it came into this state"`
	Attachments List[MirrorAttachment] `json:"attachments"`
	Frames      uint64                 `json:"frames" doc:"Frames that the kernel's filter let through and that were read: SYN, SYN/ACK, FIN, RST, third ACKs"`
	Handshakes  uint64                 `json:"handshakes" doc:"Of these, SYN and SYN/ACK, of MPTCP or not"`
	Dropped     uint64                 `json:"dropped" doc:"Frames that passed the filter and that the kernel dropped for want of room"`
	Strange     uint64                 `json:"strange" doc:"Frames that were not ERSPAN where that was expected"`
	Unplaced    uint64                 `json:"unplaced" doc:"Frames read of a VLAN or session that no attachment has"`
	Undirected  uint64                 `json:"undirected" doc:"Frames read of which it could not be told which way they went: their connections are found, not steered"`
	Error       *Problem               `json:"error,omitempty"`
}

// MirrorAttachment is an attachment whose frames are copied to a mirror port.
type MirrorAttachment struct {
	Name        string       `json:"name"`
	Direction   string       `json:"direction" enum:"prefixes,from_ce,to_ce,header" doc:"What tells which way a frame went"`
	VLAN        List[uint16] `json:"vlan" doc:"Outer, then inner VLAN id; empty for untagged"`
	Session     uint16       `json:"session,omitempty" doc:"ERSPAN session; absent: any"`
	VPN         string       `json:"vpn"`
	PE          string       `json:"pe,omitempty"`
	PEInterface string       `json:"pe_interface,omitempty"`
}

// PE is a provider edge router.
type PE struct {
	Name      string    `json:"name"`
	RouterID  string    `json:"router_id"`
	Driver    string    `json:"driver" example:"snmp"`
	Steer     string    `json:"steer" enum:"ftn,class,bsid"`
	Reachable bool      `json:"reachable" doc:"The last read succeeded"`
	LastRead  time.Time `json:"last_read,omitzero" doc:"Last time its state was read whole"`
	Error     *Problem  `json:"error,omitempty" doc:"What is wrong now; absent when nothing is"`
	LSPs      int       `json:"lsps" doc:"LSPs that begin there"`
	FTNs      int       `json:"ftns" doc:"Entries of its FEC-to-NHLFE table"`
	Owned     int       `json:"owned" doc:"LSPs and entries that belong to this mpbox"`
	SetsSent  uint64    `json:"sets_sent" doc:"Operations sent that change the router, since mpbox started"`
}

// LSP is a label switched path as its head end reports it.
type LSP struct {
	Name       string       `json:"name" example:"mpbox/lab/pe1-pe2/1"`
	Ingress    string       `json:"ingress"`
	Egress     string       `json:"egress"`
	Owned      bool         `json:"owned" doc:"Set up by this mpbox; others are read-only"`
	AdminUp    bool         `json:"admin_up"`
	State      string       `json:"state" enum:"unknown,down,up,signalling,releasing" doc:"Operational state"`
	Reason     string       `json:"reason,omitempty" doc:"The head end's words for why it is not up"`
	ERO        List[string] `json:"ero" doc:"Intended route, addresses; empty: computed by the head end"`
	RRO        List[string] `json:"rro" doc:"Actual route, addresses"`
	Route      List[string] `json:"route" doc:"Actual route, names of links"`
	Nodes      List[string] `json:"nodes" doc:"Actual route, names of nodes, both ends included"`
	Bandwidth  float64      `json:"bandwidth" doc:"Reserved, bit/s"`
	Priorities List[int]    `json:"priorities" doc:"Setup and hold priority"`
	TunnelID   uint32       `json:"tunnel_id" doc:"The head end's number"`
	Bindings   int          `json:"bindings" doc:"Flows that are bound to it"`
	Demands    List[string] `json:"demands" doc:"Demands that use it"`
}

// Topology is the traffic engineering database in use.
type Topology struct {
	Version uint64       `json:"version" doc:"Grows with each change"`
	At      time.Time    `json:"at,omitzero" doc:"When it was read"`
	Source  string       `json:"source" enum:"none,file,pes,bgp-ls" doc:"Which of the sources is in use; a topology file completes each of the others"`
	Sources List[Source] `json:"sources"`
	Nodes   List[Node]   `json:"nodes"`
	Links   List[Link]   `json:"links" doc:"One for each direction"`
}

// Source is where topology is read from.
type Source struct {
	Name  string    `json:"name" doc:"PE, file or bgp-ls"`
	At    time.Time `json:"at,omitzero"`
	Error *Problem  `json:"error,omitempty"`
}

// BGPLS is the topology as BGP-LS tells it, and the sessions that it comes by.
type BGPLS struct {
	State     string          `json:"state" enum:"waiting,in_use,held,refused,lost,fallen_back" doc:"waiting: no peer has told all yet. in_use: it is planned on. held: more than half of it went away at once; the one before stays until this one rests. refused: it cannot be used, the one before stays. lost: no session stands, the last one stays. fallen_back: lost for so long that the PEs' own topology is used, if they tell one"`
	Since     time.Time       `json:"since" doc:"When it came into this state"`
	Peers     List[BGPLSPeer] `json:"peers"`
	Nodes     int             `json:"nodes" doc:"As last told, used or not"`
	Links     int             `json:"links" doc:"As last told, one for each direction"`
	Updates   uint64          `json:"updates" doc:"Changes that were taken over"`
	Updated   time.Time       `json:"updated,omitzero" doc:"When the last one was"`
	Unmatched List[string]    `json:"unmatched_pes" doc:"PEs of the configuration that are no node of it: nothing can be planned from or to them"`
	Notes     List[string]    `json:"notes" doc:"What was left out of it, and why; the first 20"`
	Error     *Problem        `json:"error,omitempty" doc:"What is wrong now; absent when nothing is"`
}

// BGPLSPeer is a router that tells its topology.
type BGPLSPeer struct {
	Address string    `json:"address"`
	ASN     uint32    `json:"asn"`
	State   string    `json:"state" enum:"down,syncing,up" doc:"syncing: the session stands, and not all was told yet"`
	Since   time.Time `json:"since,omitzero" doc:"When the session came or went; absent if it never was"`
	Heard   time.Time `json:"heard,omitzero" doc:"When it last told a change"`
	Reason  string    `json:"reason,omitempty" doc:"Why the last session ended"`
}

// Node is a router.
type Node struct {
	Name     string `json:"name"`
	RouterID string `json:"router_id,omitempty"`
	PE       bool   `json:"pe" doc:"A PE of the configuration"`
}

// Link is one direction of a link.
type Link struct {
	Name         string       `json:"name" doc:"Both directions share it"`
	From         string       `json:"from"`
	To           string       `json:"to"`
	Local        string       `json:"local,omitempty" doc:"Interface address or id at from"`
	Remote       string       `json:"remote,omitempty"`
	TEMetric     uint32       `json:"te_metric"`
	IGPMetric    uint32       `json:"igp_metric"`
	Delay        Duration     `json:"delay,omitempty"`
	MaxBandwidth float64      `json:"max_bandwidth" doc:"bit/s"`
	Reservable   float64      `json:"reservable" doc:"bit/s"`
	Unreserved   float64      `json:"unreserved" doc:"bit/s at priority 7"`
	AdminGroup   uint32       `json:"admin_group"`
	SRLGs        List[uint32] `json:"srlgs"`
	Down         bool         `json:"down"`
	LSPs         List[string] `json:"lsps" doc:"LSPs of the PEs known here that ride it"`
}
