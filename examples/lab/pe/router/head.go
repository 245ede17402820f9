package router

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Head is a tunnel that begins at this router, as signalling sees it: the same
// whether a row of the MIB or the CLI asked for it.
type Head struct {
	ID          TunnelID
	CLI         bool // interface tunnel-te<Index>
	Name        string
	Descr       string
	Admin       bool
	Egress      netip.Addr
	Setup, Hold uint8
	Kbps        uint32
	IncludeAny  uint32
	IncludeAll  uint32
	ExcludeAny  uint32
	Record      bool
	Class       uint8
	Autoroute   bool
	Options     []Option
	// Why the tunnel cannot be signalled at all; empty if it can.
	Why string
}

// Option is a path option: hops, or dynamic where there are none.
type Option struct {
	Index uint32
	Name  string // of the explicit path
	Hops  []hop
	// Missing is set where the explicit path does not exist or is empty.
	Missing bool
}

// Dynamic tells whether the head end computes the path.
func (o Option) Dynamic() bool { return len(o.Hops) == 0 && !o.Missing }

// spec is what a path was signalled for: another spec needs another path.
func (h Head) spec() string {
	b, err := json.Marshal([]any{h.Egress, h.Kbps, h.Setup, h.Hold, h.IncludeAny, h.IncludeAll, h.ExcludeAny, h.Options})
	if err != nil {
		panic(err) // values that always encode
	}
	return string(b)
}

func (h Head) constraints() constraints {
	return constraints{h.IncludeAny, h.IncludeAll, h.ExcludeAny, h.Kbps, h.Setup}
}

// Heads gives the tunnels that the configuration wants signalled, in order.
func (c *Config) Heads(host string) []Head {
	var hs []Head
	hops := map[uint32][]HopID{} // by list
	for id := range c.Hops {
		hops[id.List] = append(hops[id.List], id)
	}
	for id, t := range c.Tunnels {
		if t.Status == Active && t.Role == RoleHead {
			hs = append(hs, c.rowHead(id, t, hops[t.HopList]))
		}
	}
	for n, t := range c.CLI.Tunnels {
		hs = append(hs, c.CLI.head(n, t, host))
	}
	slices.SortFunc(hs, func(a, b Head) int { return a.ID.Compare(b.ID) })
	return hs
}

func (c *Config) rowHead(id TunnelID, t Tunnel, hops []HopID) Head {
	h := Head{
		ID: id, Name: t.Name, Descr: t.Descr, Admin: t.Admin == AdminUp, Egress: IDAddr(id.Egress),
		Setup: t.Setup, Hold: t.Hold, Kbps: c.Resources[t.Resource].MaxRate,
		IncludeAny: t.IncludeAny, IncludeAll: t.IncludeAll, ExcludeAny: t.ExcludeAny,
		Record: t.Session&RecordRoute != 0,
	}
	if t.Signalling != SignallingRSVP {
		h.Why = "no signalling protocol"
	}
	if t.HopList == 0 {
		h.Options = []Option{{Index: 1}}
		return h
	}
	slices.SortFunc(hops, HopID.Compare)
	for _, hid := range hops {
		row := c.Hops[hid]
		if row.Status != Active || (t.PathInUse != 0 && hid.Option != t.PathInUse) {
			continue
		}
		if n := len(h.Options); n == 0 || h.Options[n-1].Index != hid.Option {
			h.Options = append(h.Options, Option{Index: hid.Option, Name: row.OptionName})
		}
		o := &h.Options[len(h.Options)-1]
		// A dynamic path option names the destination at most.
		if a, ok := netip.AddrFromSlice(row.Addr); ok && row.PathComp != 1 {
			o.Hops = append(o.Hops, hop{Addr: a, Loose: row.Type == 2, Exclude: !row.Include})
		}
	}
	if len(h.Options) == 0 {
		h.Options = []Option{{Index: max(t.PathInUse, 1), Missing: true}}
	}
	return h
}

func (c *CLI) head(n uint32, t TunnelTE, host string) Head {
	h := Head{
		ID: CLITunnelID(n, t), CLI: true, Name: t.Signalled, Descr: t.Descr, Admin: !t.Shutdown, Egress: t.Destination,
		Setup: t.Setup, Hold: t.Hold, Kbps: t.Bandwidth, Record: t.RecordRoute, Class: t.Class, Autoroute: t.Autoroute,
		// XR: the link's bits under the mask equal the affinity's.
		IncludeAll: t.Affinity & t.Mask, ExcludeAny: t.Mask &^ t.Affinity,
	}
	if h.Name == "" {
		h.Name = fmt.Sprintf("%s_t%d", host, n)
	}
	switch {
	case !t.Destination.IsValid():
		h.Why = "destination not configured"
	case t.Unnumbered == "":
		h.Why = "ipv4 unnumbered not configured"
	case len(t.Options) == 0:
		h.Why = "no path option configured"
	}
	for _, i := range slices.Sorted(maps.Keys(t.Options)) {
		o := Option{Index: i, Name: t.Options[i].Explicit}
		if o.Name != "" {
			p := c.Paths[o.Name]
			for _, k := range slices.Sorted(maps.Keys(p)) {
				o.Hops = append(o.Hops, hop(p[k]))
			}
			o.Missing = len(o.Hops) == 0
		}
		h.Options = append(h.Options, o)
	}
	return h
}

// CLITunnelID is the row of mplsTunnelTable that shows interface tunnel-teN.
func CLITunnelID(n uint32, t TunnelTE) TunnelID {
	id := TunnelID{Index: n}
	if t.Destination.IsValid() {
		id.Egress = AddrID(t.Destination)
	}
	return id
}
