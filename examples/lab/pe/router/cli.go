package router

import (
	"maps"
	"net/netip"
	"slices"
)

// CLI is the running configuration in IOS-XR's model, as far as it is known.
type CLI struct {
	Paths      map[string]ExplicitPath `json:"paths"`
	Tunnels    map[uint32]TunnelTE     `json:"tunnels"` // interface tunnel-teN
	ACLs       map[ACLName]ACL         `json:"acls"`
	ClassMaps  map[string]ClassMap     `json:"class_maps"`
	PolicyMaps map[string]PolicyMap    `json:"policy_maps"`
	// Policies are the service policies (input) by interface.
	Policies map[string]string `json:"policies"`
}

func newCLI() CLI {
	return CLI{
		Paths:      map[string]ExplicitPath{},
		Tunnels:    map[uint32]TunnelTE{},
		ACLs:       map[ACLName]ACL{},
		ClassMaps:  map[string]ClassMap{},
		PolicyMaps: map[string]PolicyMap{},
		Policies:   map[string]string{},
	}
}

func (c CLI) clone() CLI {
	n := CLI{
		Paths:      maps.Clone(c.Paths),
		Tunnels:    maps.Clone(c.Tunnels),
		ACLs:       maps.Clone(c.ACLs),
		ClassMaps:  maps.Clone(c.ClassMaps),
		PolicyMaps: maps.Clone(c.PolicyMaps),
		Policies:   maps.Clone(c.Policies),
	}
	for k, p := range n.Paths {
		n.Paths[k] = maps.Clone(p)
	}
	for k, t := range n.Tunnels {
		t.Options = maps.Clone(t.Options)
		n.Tunnels[k] = t
	}
	for k, a := range n.ACLs {
		n.ACLs[k] = maps.Clone(a)
	}
	for k, m := range n.ClassMaps {
		m.ACLs, m.DSCPs = slices.Clone(m.ACLs), slices.Clone(m.DSCPs)
		n.ClassMaps[k] = m
	}
	for k, p := range n.PolicyMaps {
		p.Classes = slices.Clone(p.Classes)
		n.PolicyMaps[k] = p
	}
	return n
}

// ExplicitPath is "explicit-path name P", by index.
type ExplicitPath map[uint32]PathHop

// PathHop is an "index" line of an explicit path.
type PathHop struct {
	Addr    netip.Addr `json:"addr"`
	Loose   bool       `json:"loose,omitempty"`
	Exclude bool       `json:"exclude,omitempty"`
}

// TunnelTE is "interface tunnel-teN".
type TunnelTE struct {
	Descr       string                `json:"descr,omitempty"`
	Unnumbered  string                `json:"unnumbered,omitempty"`
	Signalled   string                `json:"signalled,omitempty"`
	Destination netip.Addr            `json:"destination,omitzero"`
	Autoroute   bool                  `json:"autoroute,omitempty"`
	RecordRoute bool                  `json:"record_route,omitempty"`
	Bandwidth   uint32                `json:"bandwidth,omitempty"` // kbit/s
	Setup       uint8                 `json:"setup"`
	Hold        uint8                 `json:"hold"`
	PrioritySet bool                  `json:"priority_set,omitempty"`
	Affinity    uint32                `json:"affinity,omitempty"`
	AffinitySet bool                  `json:"affinity_set,omitempty"`
	Mask        uint32                `json:"mask"`
	Class       uint8                 `json:"class,omitempty"` // forward-class; 0 not enabled
	Shutdown    bool                  `json:"shutdown,omitempty"`
	Options     map[uint32]PathOption `json:"options"`
}

// NewTunnelTE gives a tunnel interface as XR creates it: priorities 7 7, affinity
// 0x0 mask 0xffff (links of no colour).
func NewTunnelTE() TunnelTE {
	return TunnelTE{Setup: 7, Hold: 7, Mask: 0xffff, Options: map[uint32]PathOption{}}
}

// PathOption is a "path-option" line: explicit by name, or dynamic.
type PathOption struct {
	Explicit string `json:"explicit,omitempty"`
}

// ACLName names an access list of a family.
type ACLName struct {
	V6   bool
	Name string
}

// MarshalText makes an ACLName a JSON key.
func (n ACLName) MarshalText() ([]byte, error) {
	if n.V6 {
		return []byte("ipv6 " + n.Name), nil
	}
	return []byte("ipv4 " + n.Name), nil
}

// UnmarshalText reads what MarshalText wrote.
func (n *ACLName) UnmarshalText(b []byte) error {
	*n = ACLName{V6: len(b) > 3 && string(b[:4]) == "ipv6", Name: string(b[min(5, len(b)):])}
	return nil
}

// ACL is an access list, by sequence number.
type ACL map[uint32]ACE

// ACE is an entry of an access list.
type ACE struct {
	Deny     bool         `json:"deny,omitempty"`
	Protocol uint8        `json:"protocol"`        // 0 is ipv4 or ipv6: any
	Src      netip.Prefix `json:"src,omitzero"`    // invalid is any
	Dst      netip.Prefix `json:"dst,omitzero"`    // invalid is any
	SrcPort  uint16       `json:"src_port"`        // 0 is any
	DstPort  uint16       `json:"dst_port"`        // 0 is any
	DSCP     uint8        `json:"dscp"`            // matched when HasDSCP
	HasDSCP  bool         `json:"has_dscp"`        //
	Remark   string       `json:"remark,omitzero"` // a remark matches nothing
}

// ClassMap is "class-map match-any C".
type ClassMap struct {
	Descr string    `json:"descr,omitempty"`
	ACLs  []ACLName `json:"acls,omitempty"`
	DSCPs []uint8   `json:"dscps,omitempty"`
}

// PolicyMap is "policy-map P", its classes in order.
type PolicyMap struct {
	Descr   string        `json:"descr,omitempty"`
	Classes []PolicyClass `json:"classes"`
}

// PolicyClass is "class C / set forward-class N" of a policy map.
type PolicyClass struct {
	Name string `json:"name"`
	// Forward is the forward class; 0 where the line is missing.
	Forward uint8 `json:"forward"`
}

// DefaultClass is the class that matches what no other does.
const DefaultClass = "class-default"
