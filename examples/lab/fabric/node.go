// Package fabric is the label switched data plane of the lab: it turns paths
// and classifications into flows on the lab's Open vSwitch bridges, and watches
// the core links. A PE process of the lab holds one Fabric for its own LSPs.
//
// Nothing here knows SNMP, a CLI or mpbox: a router decides, the fabric obeys.
package fabric

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
)

// Node is all that one PE process is told: RUNDIR/<pe>.json.
type Node struct {
	// Lab is the lab's name, Name this PE's, both also in its prompts.
	Lab      string     `json:"lab"`
	Name     string     `json:"name"`
	RouterID netip.Addr `json:"router_id"`
	// Mgmt is the address of the management interface, the only one in the
	// PE's namespace.
	Mgmt netip.Addr `json:"mgmt"`
	SNMP SNMP       `json:"snmp"`
	SSH  SSH        `json:"ssh"`

	// RunDir is the lab's private folder; the files below are inside it.
	RunDir string `json:"run_dir"`
	// AgentX is the unix socket of this PE's snmpd.
	AgentX string `json:"agentx"`
	// StateFile keeps the router's configuration over a restart of the
	// process, FaultsFile asks for misbehaviour, EventLog gets one JSON line
	// for each SET and commit received.
	StateFile  string `json:"state_file"`
	FaultsFile string `json:"faults_file"`
	EventLog   string `json:"event_log"`

	// Namespace is the PE's own network namespace, FabNamespace that of the
	// switches and links; names under /run/netns.
	Namespace    string `json:"namespace"`
	FabNamespace string `json:"fab_namespace"`
	// VSwitchd is the control socket of ovs-vswitchd: it closes when that dies.
	VSwitchd string `json:"vswitchd"`

	// Nodes and Links are the whole provider network, as an IGP would flood it.
	Nodes []Router `json:"nodes"`
	Links []Link   `json:"links"`
	// Interfaces are this router's interfaces, Loopback0 first.
	Interfaces []Interface `json:"interfaces"`
	// Attachments are this PE's interfaces towards customers.
	Attachments []Attachment `json:"attachments"`
	// Routes are the VPN routes of all PEs, this one included.
	Routes []Route `json:"routes"`
	// Labels are the LSP labels that this PE may hand out, on any router along
	// its LSPs; ranges of different PEs do not overlap.
	Labels Range `json:"labels"`
}

// SNMP is how the PE's snmpd is reached (SNMPv3 authPriv, SHA-256 and AES-128).
type SNMP struct {
	Address      netip.AddrPort `json:"address"`
	User         string         `json:"user"`
	AuthPassword string         `json:"auth_password"`
	PrivPassword string         `json:"priv_password"`
}

// SSH is where the PE process listens for its CLI.
type SSH struct {
	Address  netip.AddrPort `json:"address"`
	User     string         `json:"user"`
	Password string         `json:"password"`
	// HostKeyFile is the private key in PEM (OpenSSH format), HostKey the
	// public one in authorized_keys format.
	HostKeyFile string `json:"host_key_file"`
	HostKey     string `json:"host_key"`
}

// Router is a PE or P router of the provider network.
type Router struct {
	Name     string     `json:"name"`
	RouterID netip.Addr `json:"router_id"`
	// PE is true for a label edge router.
	PE bool `json:"pe"`
	// Bridge is the router's OVS bridge, Mgmt its OpenFlow socket
	// (unix path without "unix:").
	Bridge string `json:"bridge"`
	Mgmt   string `json:"mgmt"`
}

// Link is a core link, both directions.
type Link struct {
	Name string  `json:"name"`
	A    LinkEnd `json:"a"`
	B    LinkEnd `json:"b"`
	// Metrics and groups hold for both directions. RateBPS is the capacity of
	// each direction in bit/s.
	TEMetric   uint32   `json:"te_metric"`
	IGPMetric  uint32   `json:"igp_metric"`
	AdminGroup uint32   `json:"admin_group"`
	SRLGs      []uint32 `json:"srlgs"`
	RateBPS    uint64   `json:"rate_bps"`
}

// LinkEnd is one router's side of a link.
type LinkEnd struct {
	Node string `json:"node"`
	// Address is the interface address, with the prefix length of the link.
	Address netip.Prefix `json:"address"`
	// Interface is the router's name for it (GigabitEthernet0/0/0/N).
	Interface string `json:"interface"`
	// Netdev is the veth end in FabNamespace, OFPort its port on the bridge.
	Netdev string `json:"netdev"`
	OFPort uint32 `json:"ofport"`
}

// Interface is a row of the router's interface table.
type Interface struct {
	Name    string       `json:"name"`
	IfIndex uint32       `json:"if_index"`
	Address netip.Prefix `json:"address,omitzero"`
	// Link is the core link behind it, Attachment the customer port; both are
	// empty for Loopback0 and the management interface.
	Link       string `json:"link,omitempty"`
	Attachment string `json:"attachment,omitempty"`
	RateBPS    uint64 `json:"rate_bps"`
	MAC        string `json:"mac,omitempty"`
}

// Attachment is a customer-facing interface of this PE.
type Attachment struct {
	Name      string `json:"name"`
	VPN       string `json:"vpn"`
	Interface string `json:"interface"`
	IfIndex   uint32 `json:"if_index"`
	OFPort    uint32 `json:"ofport"`
	// Netdev is the veth end on the PE's bridge, in FabNamespace.
	Netdev string `json:"netdev"`
	// MAC is the PE's address on it: the customers' gateway.
	MAC string `json:"mac"`
}

// Route is a VPN route (RFC 4364): a prefix of a VPN lives behind an attachment
// of the egress PE, which gave it a VPN label of its own.
type Route struct {
	VPN    string       `json:"vpn"`
	Prefix netip.Prefix `json:"prefix"`
	Egress string       `json:"egress"`
	// Label is pushed below the LSP label; the egress PE knows by it the
	// attachment, the address family and the host.
	Label uint32 `json:"label"`
	// Attachment, OFPort, MAC (the PE's) and HostMAC are the egress PE's.
	Attachment string `json:"attachment"`
	OFPort     uint32 `json:"ofport"`
	MAC        string `json:"mac"`
	HostMAC    string `json:"host_mac"`
}

// Range is a range of labels, both ends included.
type Range struct {
	First uint32 `json:"first"`
	Last  uint32 `json:"last"`
}

// Load reads a node file.
func Load(path string) (Node, error) {
	var n Node
	b, err := os.ReadFile(path)
	if err != nil {
		return n, fmt.Errorf("read PE description: %w", err)
	}
	if err := json.Unmarshal(b, &n); err != nil {
		return n, fmt.Errorf("read PE description %s: %w", path, err)
	}
	return n, nil
}

// Router gives the router of that name.
func (n *Node) Router(name string) (Router, bool) {
	for _, r := range n.Nodes {
		if r.Name == name {
			return r, true
		}
	}
	return Router{}, false
}

// Link gives the link of that name.
func (n *Node) Link(name string) (Link, bool) {
	for _, l := range n.Links {
		if l.Name == name {
			return l, true
		}
	}
	return Link{}, false
}

// End gives the side of the link at that router, and the far side.
func (l *Link) End(node string) (near, far LinkEnd, ok bool) {
	switch node {
	case l.A.Node:
		return l.A, l.B, true
	case l.B.Node:
		return l.B, l.A, true
	}
	return near, far, false
}
