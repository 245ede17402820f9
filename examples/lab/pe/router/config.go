package router

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Config is all that an operator can set, whichever way.
type Config struct {
	// Tables of MPLS-TE-STD-MIB and MPLS-FTN-STD-MIB.
	Tunnels   map[TunnelID]Tunnel `json:"tunnels"`
	Hops      map[HopID]Hop       `json:"hops"`
	Resources map[uint32]Resource `json:"resources"`
	FTNs      map[uint32]FTN      `json:"ftns"`
	// Maps lists, by ifIndex, the FTN rows applied to an interface, in order.
	Maps map[uint32][]Map `json:"maps"`
	// CLI is the running configuration.
	CLI CLI `json:"cli"`
}

// NewConfig gives an empty configuration.
func NewConfig() *Config {
	return &Config{
		Tunnels:   map[TunnelID]Tunnel{},
		Hops:      map[HopID]Hop{},
		Resources: map[uint32]Resource{},
		FTNs:      map[uint32]FTN{},
		Maps:      map[uint32][]Map{},
		CLI:       newCLI(),
	}
}

// Clone gives a copy that may be edited.
func (c *Config) Clone() *Config {
	n := &Config{
		Tunnels:   maps.Clone(c.Tunnels),
		Hops:      maps.Clone(c.Hops),
		Resources: maps.Clone(c.Resources),
		FTNs:      maps.Clone(c.FTNs),
		Maps:      maps.Clone(c.Maps),
		CLI:       c.CLI.clone(),
	}
	for i, m := range n.Maps {
		n.Maps[i] = slices.Clone(m)
	}
	return n
}

// RowStatus of a conceptual row (RFC 2579); rows that exist have one of these.
type RowStatus uint8

// The states of rows, and the actions that change them.
const (
	Active        RowStatus = 1
	NotInService  RowStatus = 2
	NotReady      RowStatus = 3
	CreateAndGo   RowStatus = 4
	CreateAndWait RowStatus = 5
	Destroy       RowStatus = 6
)

// TunnelID is the index of mplsTunnelTable (RFC 3812). Tunnels of the CLI have
// instance 0 and ingress 0, as Cisco's agents show theirs.
type TunnelID struct {
	Index, Instance, Ingress, Egress uint32
}

func (t TunnelID) String() string {
	return fmt.Sprintf("%d.%d.%d.%d", t.Index, t.Instance, t.Ingress, t.Egress)
}

// Compare is the order of the table.
func (t TunnelID) Compare(u TunnelID) int {
	return slices.Compare(t.Sub(), u.Sub())
}

// Sub gives the sub-identifiers of the index.
func (t TunnelID) Sub() []uint32 { return []uint32{t.Index, t.Instance, t.Ingress, t.Egress} }

// MarshalText makes a TunnelID a JSON key.
func (t TunnelID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *TunnelID) UnmarshalText(b []byte) error {
	n, err := subIDs(string(b), 4)
	if err == nil {
		*t = TunnelID{n[0], n[1], n[2], n[3]}
	}
	return err
}

// HopID is the index of mplsTunnelHopTable: list, path option, hop.
type HopID struct {
	List, Option, Hop uint32
}

func (h HopID) String() string { return fmt.Sprintf("%d.%d.%d", h.List, h.Option, h.Hop) }

// Compare is the order of the table.
func (h HopID) Compare(o HopID) int { return slices.Compare(h.Sub(), o.Sub()) }

// Sub gives the sub-identifiers of the index.
func (h HopID) Sub() []uint32 { return []uint32{h.List, h.Option, h.Hop} }

// MarshalText makes a HopID a JSON key.
func (h HopID) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *HopID) UnmarshalText(b []byte) error {
	n, err := subIDs(string(b), 3)
	if err == nil {
		*h = HopID{n[0], n[1], n[2]}
	}
	return err
}

func subIDs(s string, n int) ([]uint32, error) {
	parts := strings.Split(s, ".")
	if len(parts) != n {
		return nil, fmt.Errorf("index %q: want %d parts", s, n)
	}
	out := make([]uint32, n)
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("index %q: %w", s, err)
		}
		out[i] = uint32(v)
	}
	return out, nil
}

// Tunnel is a row of mplsTunnelTable that was made by SNMP.
type Tunnel struct {
	Status           RowStatus `json:"status"`
	Storage          int32     `json:"storage"`
	Name             string    `json:"name"`
	Descr            string    `json:"descr,omitempty"`
	IsIf             bool      `json:"is_if,omitempty"`
	Role             int32     `json:"role"`
	Signalling       int32     `json:"signalling"`
	Setup            uint8     `json:"setup"`
	Hold             uint8     `json:"hold"`
	Session          uint8     `json:"session,omitempty"` // BITS: 0x08 recordRoute
	LocalProtect     bool      `json:"local_protect,omitempty"`
	Resource         uint32    `json:"resource,omitempty"` // mplsTunnelResourceIndex
	InstancePriority uint32    `json:"instance_priority,omitempty"`
	HopList          uint32    `json:"hop_list,omitempty"`
	PathInUse        uint32    `json:"path_in_use,omitempty"`
	IncludeAny       uint32    `json:"include_any,omitempty"`
	IncludeAll       uint32    `json:"include_all,omitempty"`
	ExcludeAny       uint32    `json:"exclude_any,omitempty"`
	Admin            int32     `json:"admin"` // up(1), down(2), testing(3); 0 not set
}

// Values of mplsTunnelTable's enumerations that matter here.
const (
	RoleHead       = 1
	SignallingNone = 1
	SignallingRSVP = 2
	AdminUp        = 1
	RecordRoute    = 0x08 // bit 4 of mplsTunnelSessionAttributes
)

// Hop is a row of mplsTunnelHopTable.
type Hop struct {
	Status     RowStatus `json:"status"`
	Storage    int32     `json:"storage"`
	AddrType   int32     `json:"addr_type"`
	Addr       []byte    `json:"addr"`
	PrefixLen  uint32    `json:"prefix_len"`
	Type       int32     `json:"type"` // strict(1), loose(2); 0 not set
	Include    bool      `json:"include"`
	OptionName string    `json:"option_name,omitempty"`
	PathComp   int32     `json:"path_comp"` // dynamic(1), explicit(2); 0 not set
}

// Resource is a row of mplsTunnelResourceTable; rates are in kbit/s.
type Resource struct {
	Status    RowStatus `json:"status"`
	Storage   int32     `json:"storage"`
	MaxRate   uint32    `json:"max_rate"`
	MeanRate  uint32    `json:"mean_rate"`
	MaxBurst  uint32    `json:"max_burst"`
	MeanBurst uint32    `json:"mean_burst"`
	ExBurst   uint32    `json:"ex_burst"`
	Frequency int32     `json:"frequency"`
	Weight    uint32    `json:"weight"`
}

// FTN is a row of mplsFTNTable.
type FTN struct {
	Status   RowStatus `json:"status"`
	Storage  int32     `json:"storage"`
	Descr    string    `json:"descr,omitempty"`
	Mask     uint8     `json:"mask"` // BITS, see FTNSource…
	AddrType int32     `json:"addr_type"`
	SrcMin   []byte    `json:"src_min,omitempty"`
	SrcMax   []byte    `json:"src_max,omitempty"`
	DstMin   []byte    `json:"dst_min,omitempty"`
	DstMax   []byte    `json:"dst_max,omitempty"`
	// Ports are 0 to 65535 each.
	SrcPortMin uint16 `json:"src_port_min"`
	SrcPortMax uint16 `json:"src_port_max"`
	DstPortMin uint16 `json:"dst_port_min"`
	DstPortMax uint16 `json:"dst_port_max"`
	Protocol   int32  `json:"protocol"`
	DSCP       int32  `json:"dscp"`
	Action     int32  `json:"action"` // redirectLsp(1), redirectTunnel(2); 0 not set
	// Pointer is the value of mplsFTNActionPointer.
	Pointer []uint32 `json:"pointer,omitempty"`
}

// Bits of mplsFTNMask.
const (
	FTNSource   = 0x80
	FTNDest     = 0x40
	FTNSrcPort  = 0x20
	FTNDstPort  = 0x10
	FTNProtocol = 0x08
	FTNDSCP     = 0x04
)

// FTNRedirectTunnel is the action that this router carries out.
const FTNRedirectTunnel = 2

// TunnelName is the first accessible column of mplsTunnelTable: what a pointer to
// a tunnel begins with.
var TunnelName = []uint32{1, 3, 6, 1, 2, 1, 10, 166, 3, 2, 2, 1, 5}

// Target gives the tunnel that the row redirects to, false where it points to
// none.
func (f FTN) Target() (TunnelID, bool) {
	n := len(TunnelName)
	if f.Action != FTNRedirectTunnel || len(f.Pointer) != n+4 || !slices.Equal(f.Pointer[:n], TunnelName) {
		return TunnelID{}, false
	}
	p := f.Pointer[n:]
	return TunnelID{p[0], p[1], p[2], p[3]}, true
}

// Map is a row of mplsFTNMapTable; its index is the interface, the row before it
// in the list, and FTN.
type Map struct {
	FTN     uint32    `json:"ftn"`
	Status  RowStatus `json:"status"`
	Storage int32     `json:"storage"`
}

// AddrID gives an LSR id as the MIB writes it: the address as a number.
func AddrID(a netip.Addr) uint32 {
	if !a.Is4() {
		return 0
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// IDAddr is the reverse of AddrID.
func IDAddr(id uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], id)
	return netip.AddrFrom4(b)
}

// TunnelInterface is the name of interface tunnel-te of that number.
func TunnelInterface(n uint32) string { return "tunnel-te" + strconv.FormatUint(uint64(n), 10) }

// NextTunnel gives a free mplsTunnelIndex. It and its like give the number above
// all that are taken, at the end of the range the lowest free one, or 0.
func (c *Config) NextTunnel() uint32 {
	return next(65535, func(yield func(uint32)) {
		for id := range c.Tunnels {
			yield(id.Index)
		}
		for n := range c.CLI.Tunnels {
			yield(n)
		}
	})
}

// NextHopList gives a free mplsTunnelHopListIndex.
func (c *Config) NextHopList() uint32 {
	return next(1<<32-1, func(yield func(uint32)) {
		for id := range c.Hops {
			yield(id.List)
		}
	})
}

// NextResource gives a free mplsTunnelResourceIndex.
func (c *Config) NextResource() uint32 {
	return next(1<<31-1, func(yield func(uint32)) {
		for i := range c.Resources {
			yield(i)
		}
	})
}

// NextFTN gives a free mplsFTNIndex.
func (c *Config) NextFTN() uint32 {
	return next(1<<32-1, func(yield func(uint32)) {
		for i := range c.FTNs {
			yield(i)
		}
	})
}

func next(limit uint32, each func(func(uint32))) uint32 {
	taken, highest := map[uint32]bool{}, uint32(0)
	each(func(n uint32) {
		taken[n] = true
		highest = max(highest, n)
	})
	if highest < limit {
		return highest + 1
	}
	for n := uint32(1); n != 0 && n <= limit; n++ {
		if !taken[n] {
			return n
		}
	}
	return 0
}
