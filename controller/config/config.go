package config

import (
	"net/netip"
	"time"
)

// Config is a whole configuration, as Load gives it: defaults filled in, files
// resolved, everything checked. It is not changed afterwards.
type Config struct {
	Instance   string     `yaml:"instance" jsonschema:"pattern=^[a-z0-9][a-z0-9-]{0\\,15}$" jsonschema_description:"Name of this mpbox. LSPs and table entries whose name begins with mpbox/INSTANCE/ are its own; all others are read-only. Never change it while LSPs are there."`
	Mode       string     `yaml:"mode" jsonschema:"enum=observe,enum=suggest,enum=auto" jsonschema_description:"What mpbox may do to routers. observe: nothing. suggest: plans wait for approval. auto: plans are carried out. It can be changed at run time, and that is kept."`
	OpenFlow   OpenFlow   `yaml:"openflow" jsonschema_description:"Where the edge bridges connect to."`
	OVSDB      Endpoint   `yaml:"ovsdb,omitempty" jsonschema:"format=endpoint" jsonschema_description:"OVSDB server of the bridges, for having them provisioned. Empty: bridges are provisioned by hand."`
	Bridges    []Bridge   `yaml:"bridges" jsonschema_description:"The edge bridges, each in front of PE routers."`
	Mirrors    []Mirror   `yaml:"mirrors" jsonschema_description:"Mirror ports that handshakes are read from, where a switch cannot be tapped or is not under this controller. They take root, or CAP_NET_RAW."`
	Tap        Tap        `yaml:"tap" jsonschema_description:"What bridges send to the controller."`
	VPNs       []VPN      `yaml:"vpns" jsonschema_description:"The customers' VPNs. One named default is always there."`
	Detector   Detector   `yaml:"detector" jsonschema_description:"Bounds of the detector's memory. What exceeds them is counted; verified connections are never given up for unverified ones."`
	PEs        []PE       `yaml:"pes" jsonschema_description:"The provider edge routers."`
	Topology   Topology   `yaml:"topology" jsonschema_description:"What is known of the network besides what routers tell."`
	BGPLS      *BGPLS     `yaml:"bgp_ls,omitempty" jsonschema_description:"The network's topology by BGP Link-State (RFC 9552), within a second of a change. It is then what is planned on; the topology that PEs tell is used until it is there, and when it is lost for long."`
	Policies   []Policy   `yaml:"policies" jsonschema_description:"What connections are to be given. The first policy that matches applies; a connection that none matches is only shown."`
	Thresholds Thresholds `yaml:"thresholds" jsonschema_description:"Limits on replanning. They can be changed at run time, and that is kept."`
	API        API        `yaml:"api" jsonschema_description:"REST, events, metrics and the web page."`
	Store      Store      `yaml:"store" jsonschema_description:"What is kept over restarts: thresholds, mode, audit, plans, bound connections. Never keys."`
	Log        Log        `yaml:"log" jsonschema_description:"Logs go to stderr."`
	// Warnings are what is wrong in the file and does not keep mpbox from running.
	Warnings Problems `yaml:"-"`
}

// OpenFlow is the controller's side of OpenFlow 1.3.
type OpenFlow struct {
	Listen           []Endpoint `yaml:"listen" jsonschema:"minItems=1,format=endpoint" jsonschema_description:"Where to listen: host:port or unix:/path, whose folder is made."`
	Advertise        Endpoint   `yaml:"advertise,omitempty" jsonschema:"format=endpoint" jsonschema_description:"Address that bridges with an ovsdb are told to connect to. By default the first of listen."`
	TLS              *TLS       `yaml:"tls,omitempty" jsonschema_description:"Needed for addresses that other machines reach."`
	UnknownDatapaths string     `yaml:"unknown_datapaths" jsonschema:"enum=refuse,enum=observe" jsonschema_description:"What to do with a switch that no bridge names. refuse: close its session and say so. observe: tap it, with ports as in observe."`
	Observe          Observe    `yaml:"observe" jsonschema_description:"How the ports of unknown datapaths are read."`
}

// Target is where a bridge is to connect to.
func (o *OpenFlow) Target() Endpoint {
	if o.Advertise != "" {
		return o.Advertise
	}
	return o.Listen[0]
}

// Observe is how the ports of an unknown datapath are read.
type Observe struct {
	CEPort uint32 `yaml:"ce_port" jsonschema:"minimum=1,maximum=4294967039" jsonschema_description:"OpenFlow port towards the customer."`
	PEPort uint32 `yaml:"pe_port" jsonschema:"minimum=1,maximum=4294967039" jsonschema_description:"OpenFlow port towards the PE."`
	VPN    string `yaml:"vpn" jsonschema_description:"VPN that their connections are counted in."`
}

// TLS are the files of a TLS server.
type TLS struct {
	Certificate string `yaml:"certificate" jsonschema:"required,minLength=1" jsonschema_description:"PEM file with the certificate chain."`
	Key         string `yaml:"key" jsonschema:"required,minLength=1" jsonschema_description:"PEM file with the private key; not readable by others."`
	ClientCA    string `yaml:"client_ca,omitempty" jsonschema_description:"PEM file with the CAs of clients. With it, clients must show a certificate (mTLS)."`
}

// Bridge is an edge bridge.
type Bridge struct {
	Name        string       `yaml:"name" jsonschema:"required,pattern=^[A-Za-z0-9][A-Za-z0-9._-]{0\\,31}$" jsonschema_description:"Name of the bridge, in OVS too."`
	DPID        DPID         `yaml:"dpid" jsonschema:"required" jsonschema_description:"Datapath id: 16 hex digits in quotes."`
	OVSDB       Endpoint     `yaml:"ovsdb,omitempty" jsonschema:"format=endpoint" jsonschema_description:"OVSDB server of this bridge, where it is not the common one."`
	Attachments []Attachment `yaml:"attachments" jsonschema:"required,minItems=1" jsonschema_description:"Pairs of a port towards the customer and a port towards the PE."`
}

// Attachment is a CE-facing port of an edge bridge and what is behind it.
type Attachment struct {
	Name        string         `yaml:"name" jsonschema:"required,pattern=^[A-Za-z0-9][A-Za-z0-9._-]{0\\,31}$" jsonschema_description:"Name, unique in the whole file."`
	CEPort      uint32         `yaml:"ce_port" jsonschema:"required,minimum=1,maximum=4294967039" jsonschema_description:"OpenFlow port towards the customer."`
	PEPort      uint32         `yaml:"pe_port" jsonschema:"required,minimum=1,maximum=4294967039" jsonschema_description:"OpenFlow port towards the PE."`
	VLAN        []uint16       `yaml:"vlan,flow" jsonschema:"maxItems=2,minimum=1,maximum=4094" jsonschema_description:"VLAN ids of the attachment: none, outer, or outer and inner."`
	VPN         string         `yaml:"vpn" jsonschema_description:"VPN that it belongs to."`
	PE          string         `yaml:"pe,omitempty" jsonschema_description:"PE behind it. Empty: connections are shown, not steered."`
	PEInterface string         `yaml:"pe_interface,omitempty" jsonschema_description:"That PE's own name of the interface."`
	Prefixes    []netip.Prefix `yaml:"prefixes" jsonschema_description:"The customer's networks there. They tell where a flow leaves when its far side has no tap."`
	PuntRate    int            `yaml:"punt_rate" jsonschema:"minimum=0,maximum=1000000" jsonschema_description:"Punts per second of this attachment; 0: the bridge's limit alone."`
}

// Tap is what bridges send to the controller.
type Tap struct {
	ThirdACK string `yaml:"third_ack" jsonschema:"enum=off,enum=reactive,enum=conntrack" jsonschema_description:"Whether the third packet of a handshake is seen, which verifies a join. off: no. reactive: a short-lived rule for each MPTCP SYN. conntrack: by connection tracking, OVS only, catches all."`
	RealTime bool   `yaml:"real_time" jsonschema_description:"With third_ack reactive: ask the kernel to run mpbox before all that is not real time, as the switch's rule has to be there one round trip after the SYN."`
	PuntRate int    `yaml:"punt_rate" jsonschema:"minimum=0,maximum=10000000" jsonschema_description:"Punts per second of one bridge; 0: no limit. Only punts are limited, packets always pass."`
	MaxLen   int    `yaml:"max_len" jsonschema:"minimum=128,maximum=65509" jsonschema_description:"Bytes of a packet that are sent to the controller."`
}

// VPN is a customer's network.
type VPN struct {
	Name  string `yaml:"name" jsonschema:"required,pattern=^[A-Za-z0-9][A-Za-z0-9._-]{0\\,31}$"`
	Scope string `yaml:"scope,omitempty" jsonschema_description:"VPNs of one scope share addresses and tokens, so that a connection may span them. Empty: a scope of its own."`
}

// Detector bounds the detector's memory.
type Detector struct {
	MaxConnections  int      `yaml:"max_connections" jsonschema:"minimum=1,maximum=100000000" jsonschema_description:"Connections."`
	MaxSubflows     int      `yaml:"max_subflows" jsonschema:"minimum=1,maximum=100000000" jsonschema_description:"Subflows of all connections; at least twice max_connections where it is left out."`
	MaxHalfOpen     int      `yaml:"max_half_open" jsonschema:"minimum=1,maximum=100000000" jsonschema_description:"Handshakes that have not been answered."`
	MaxOrphans      int      `yaml:"max_orphans" jsonschema:"minimum=1,maximum=100000000" jsonschema_description:"Joins whose token is not known yet."`
	OrphanTimeout   Duration `yaml:"orphan_timeout" jsonschema_description:"How long such a join is held."`
	HalfOpenTimeout Duration `yaml:"half_open_timeout" jsonschema_description:"How long an answer to a SYN is waited for."`
	IdleTimeout     Duration `yaml:"idle_timeout" jsonschema_description:"A subflow that is not bound is forgotten this long after its last handshake packet; 0s: never."`
}

// Topology is what is known besides what routers tell.
type Topology struct {
	File  string                `yaml:"file,omitempty" jsonschema_description:"Topology file that completes what the routers tell: SRLGs and names; delay, admin groups and bandwidth where they tell none; links not to be used (down). It adds no link to them, and is the topology where nothing else tells one. See mpbox config schema --for topology."`
	Names map[netip.Addr]string `yaml:"names,omitempty" jsonschema_description:"Names of routers by router id; PEs have theirs already."`
	Poll  Duration              `yaml:"poll" jsonschema_description:"How often the traffic engineering database is read."`
}

// Policy is what connections that match are to be given.
type Policy struct {
	Name            string      `yaml:"name" jsonschema:"required,pattern=^[A-Za-z0-9][A-Za-z0-9._-]{0\\,31}$"`
	Match           Match       `yaml:"match" jsonschema_description:"Which connections; what is left out matches all."`
	Disjoint        string      `yaml:"disjoint" jsonschema:"enum=link,enum=srlg,enum=node,enum=node-srlg" jsonschema_description:"How little the paths of a connection's subflows may share. link: no link. srlg: no link, no risk group. node: no link, no inner node. node-srlg: none of these."`
	Strict          bool        `yaml:"strict" jsonschema_description:"Refuse less. Otherwise the best there is is taken."`
	Metric          string      `yaml:"metric" jsonschema:"enum=te,enum=igp,enum=delay,enum=hops" jsonschema_description:"What a path's cost is counted in. delay: only where each link that a path may use has one, else te."`
	RequireVerified bool        `yaml:"require_verified" jsonschema_description:"Count only subflows whose HMAC was seen and right. Needs tap.third_ack, or third_ack of a mirror."`
	LSP             LSP         `yaml:"lsp" jsonschema_description:"What new LSPs are asked for with."`
	Constraints     Constraints `yaml:"constraints" jsonschema_description:"Limits on the paths of new LSPs."`
}

// Match selects connections.
type Match struct {
	VPN      string         `yaml:"vpn" jsonschema_description:"Name of a VPN, or * for all."`
	Prefixes []netip.Prefix `yaml:"prefixes,omitempty" jsonschema_description:"One end of the connection is in one of these."`
	Ports    []uint16       `yaml:"ports,omitempty,flow" jsonschema:"minimum=1" jsonschema_description:"One end of the connection has one of these TCP ports."`
}

// LSP is the template of new LSPs.
type LSP struct {
	Bandwidth     BitRate `yaml:"bandwidth" jsonschema_description:"Bandwidth to reserve."`
	SetupPriority uint8   `yaml:"setup_priority" jsonschema:"maximum=7" jsonschema_description:"0 (best) to 7 (RFC 3209, section 4.7)."`
	HoldPriority  uint8   `yaml:"hold_priority" jsonschema:"maximum=7" jsonschema_description:"0 (best) to 7; not worse than setup_priority."`
	IncludeAny    uint32  `yaml:"include_any,omitempty" jsonschema_description:"Admin groups, as a bit mask: each link has one of them."`
	IncludeAll    uint32  `yaml:"include_all,omitempty" jsonschema_description:"Each link has all of them."`
	ExcludeAny    uint32  `yaml:"exclude_any,omitempty" jsonschema_description:"No link has one of them."`
}

// Constraints limit the paths of new LSPs.
type Constraints struct {
	MaxHops        int      `yaml:"max_hops,omitempty" jsonschema:"minimum=0,maximum=255" jsonschema_description:"Links of one path; 0: no limit."`
	MaxDelay       Duration `yaml:"max_delay,omitempty" jsonschema_description:"Delay of one path; 0s: no limit."`
	MaxDelaySpread Duration `yaml:"max_delay_spread,omitempty" jsonschema_description:"Between the fastest and the slowest path of a set; 0s: no limit."`
	AvoidNodes     []string `yaml:"avoid_nodes,omitempty" jsonschema_description:"Routers that no path passes."`
	RequireNodes   []string `yaml:"require_nodes,omitempty" jsonschema_description:"Routers that each path passes."`
}

// Thresholds limit replanning.
type Thresholds struct {
	MinConnections  int      `yaml:"min_connections" jsonschema:"minimum=1,maximum=1000000" jsonschema_description:"Connections of one signature before it is planned for."`
	MinSubflows     int      `yaml:"min_subflows" jsonschema:"minimum=2,maximum=64" jsonschema_description:"Subflows that a connection must have to count."`
	MinGain         float64  `yaml:"min_gain" jsonschema:"minimum=1,maximum=1000" jsonschema_description:"Predicted goodput after, divided by that before, that a change must bring."`
	MinAge          Duration `yaml:"min_age" jsonschema_description:"Age that a connection must have to count; at most 24h."`
	MinBytes        uint64   `yaml:"min_bytes" jsonschema_description:"Bytes that let a connection count before it is min_age old; with min_age 0s, those that it must have carried. Edge bridges count them, by a rule for each flow that waits; connections that pass none are judged by min_age alone."`
	Settle          Duration `yaml:"settle" jsonschema_description:"Quiet time after the last join before planning; at most 1m."`
	HoldDown        Duration `yaml:"hold_down" jsonschema_description:"Time for which a demand that was moved is not moved again, unless an LSP fails; at most 24h."`
	MaxOpsPerMinute int      `yaml:"max_ops_per_minute" jsonschema:"minimum=1,maximum=100000" jsonschema_description:"Operations on routers, all PEs together."`
	ReleaseDelay    Duration `yaml:"release_delay" jsonschema_description:"Time for which an LSP that nothing needs is kept; at most 24h."`

	Rules []ThresholdRule `yaml:"rules,omitempty" jsonschema_description:"Other thresholds for some connections. A rule that names more is stronger, a later one stronger than its equal."`
}

// ThresholdRule sets some thresholds anew for the demands that it names.
type ThresholdRule struct {
	VPN            string    `yaml:"vpn,omitempty" jsonschema_description:"Name of a VPN; left out: all."`
	Policy         string    `yaml:"policy,omitempty" jsonschema_description:"Name of a policy; left out: all."`
	Ingress        string    `yaml:"ingress,omitempty" jsonschema_description:"PE that one of a connection's flows enters at, in either direction; left out: any."`
	Egress         string    `yaml:"egress,omitempty" jsonschema_description:"PE that the same flow leaves at; left out: any."`
	MinConnections *int      `yaml:"min_connections,omitempty" jsonschema:"minimum=1,maximum=1000000" jsonschema_description:"As above, and so are the others; what is left out stays."`
	MinSubflows    *int      `yaml:"min_subflows,omitempty" jsonschema:"minimum=2,maximum=64"`
	MinGain        *float64  `yaml:"min_gain,omitempty" jsonschema:"minimum=1,maximum=1000"`
	MinAge         *Duration `yaml:"min_age,omitempty"`
	MinBytes       *uint64   `yaml:"min_bytes,omitempty"`
	Settle         *Duration `yaml:"settle,omitempty"`
	HoldDown       *Duration `yaml:"hold_down,omitempty"`
	ReleaseDelay   *Duration `yaml:"release_delay,omitempty"`
}

// API is where operators ask.
type API struct {
	Listen     []Endpoint `yaml:"listen" jsonschema:"format=endpoint" jsonschema_description:"Where to listen: host:port or unix:/path, whose folder is made. An address that other machines reach needs tokens_file or tls.client_ca."`
	TLS        *TLS       `yaml:"tls,omitempty" jsonschema_description:"Serve HTTPS, at all addresses but unix sockets."`
	TokensFile string     `yaml:"tokens_file,omitempty" jsonschema_description:"File with bearer tokens, one a line: TOKEN, or NAME TOKEN for the audit. TOKEN may be sha256:HEX. Not readable by others."`
	// Tokens are those of TokensFile.
	Tokens []Token `yaml:"-"`
}

// Store is what is kept over restarts.
type Store struct {
	Path string `yaml:"path" jsonschema_description:"File; one mpbox at a time. Empty: nothing is kept."`
}

// Log is how logs are written.
type Log struct {
	Level  string `yaml:"level" jsonschema:"enum=debug,enum=info,enum=warn,enum=error"`
	Format string `yaml:"format" jsonschema:"enum=console,enum=json"`
}

// Default gives the configuration of an empty file.
func Default() Config {
	return Config{
		Instance: "mpbox",
		Mode:     "observe",
		OpenFlow: OpenFlow{
			Listen:           []Endpoint{"127.0.0.1:6653"},
			UnknownDatapaths: "refuse",
			Observe:          Observe{CEPort: 1, PEPort: 2, VPN: DefaultVPN},
		},
		Tap: Tap{ThirdACK: "off", RealTime: true, PuntRate: 20000, MaxLen: 256},
		Detector: Detector{
			MaxConnections:  1_000_000,
			MaxSubflows:     5_000_000,
			MaxHalfOpen:     1_000_000,
			MaxOrphans:      100_000,
			OrphanTimeout:   Duration(30 * time.Second),
			HalfOpenTimeout: Duration(30 * time.Second),
			IdleTimeout:     Duration(24 * time.Hour),
		},
		Topology: Topology{Poll: Duration(time.Second)},
		Policies: []Policy{defaultPolicy()},
		Thresholds: Thresholds{
			MinConnections: 1, MinSubflows: 2, MinGain: 1.1,
			MinAge: Duration(time.Second), Settle: Duration(500 * time.Millisecond),
			HoldDown: Duration(10 * time.Second), MaxOpsPerMinute: 600,
			ReleaseDelay: Duration(30 * time.Second),
		},
		API:   API{Listen: []Endpoint{"127.0.0.1:8080"}},
		Store: Store{Path: "/var/lib/mpbox/mpbox.db"},
		Log:   Log{Level: "info", Format: "console"},
	}
}

// DefaultVPN is the VPN that needs no entry.
const DefaultVPN = "default"

func defaultPolicy() Policy {
	return Policy{
		Name: "default", Match: Match{VPN: "*"}, Disjoint: "node-srlg", Metric: "te",
		LSP: LSP{SetupPriority: 7, HoldPriority: 7},
	}
}

func defaultAttachment() Attachment { return Attachment{VPN: DefaultVPN} }
