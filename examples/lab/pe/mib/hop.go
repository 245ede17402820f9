package mib

import (
	"maps"
	"slices"

	"mpbox/examples/lab/pe/agentx"
	"mpbox/examples/lab/pe/router"
)

var hopEntry = oidTE.Append(2, 4, 1)

func hopID(index []uint32) router.HopID {
	return router.HopID{List: index[0], Option: index[1], Hop: index[2]}
}

func newHopTable() table {
	return &rows[router.Hop]{
		entry: hopEntry, columns: hopColumns, status: 14,
		valid: func(_ *router.Config, index []uint32) *fault {
			if len(index) != 3 || slices.Contains(index, 0) {
				return refuse(agentx.NoCreation, "index %v", index)
			}
			return nil
		},
		get: func(c *router.Config, index []uint32) (router.Hop, bool) {
			if len(index) != 3 {
				return router.Hop{}, false
			}
			h, ok := c.Hops[hopID(index)]
			return h, ok
		},
		put: func(c *router.Config, index []uint32, h router.Hop) { c.Hops[hopID(index)] = h },
		del: func(c *router.Config, index []uint32) *fault {
			delete(c.Hops, hopID(index))
			return nil
		},
		fresh: func() router.Hop {
			return router.Hop{Storage: 2, AddrType: 1, Addr: []byte{0, 0, 0, 0}, PrefixLen: 32, Include: true}
		},
		state:   func(h *router.Hop) *router.RowStatus { return &h.Status },
		ready:   readyHop,
		refused: func(f router.Faults) bool { return f.RefuseTunnel },
		list: func(v *view) []cell[router.Hop] {
			var cs []cell[router.Hop]
			for _, id := range slices.SortedFunc(maps.Keys(v.snap.Config.Hops), router.HopID.Compare) {
				cs = append(cs, cell[router.Hop]{view: v, index: id.Sub(), row: v.snap.Config.Hops[id]})
			}
			return cs
		},
	}
}

// readyHop: columns without a default value have to be set. Only numbered IPv4
// hops can be signalled here.
func readyHop(_ *router.Config, _ []uint32, h router.Hop) *fault {
	switch {
	case h.AddrType != 1 || len(h.Addr) != 4 || h.PrefixLen != 32:
		return refuse(agentx.InconsistentValue, "hop is no IPv4 host address")
	case h.Type == 0:
		return refuse(agentx.InconsistentValue, "mplsTunnelHopType is not set")
	case h.PathComp == 0:
		return refuse(agentx.InconsistentValue, "mplsTunnelHopEntryPathComp is not set")
	}
	return nil
}

type hopCell = cell[router.Hop]

var hopColumns = []column[router.Hop]{
	{num: 4, name: "mplsTunnelHopAddrType", kind: agentx.Integer, check: between(1, 4),
		set: func(h *router.Hop, v agentx.Value) { h.AddrType = v.Int32() },
		get: func(x *hopCell) agentx.Value { return agentx.Int(x.row.AddrType) }},
	{num: 5, name: "mplsTunnelHopIpAddr", kind: agentx.OctetString, check: length(4, 16),
		set: func(h *router.Hop, v agentx.Value) { h.Addr = v.Bytes },
		get: func(x *hopCell) agentx.Value { return agentx.Octets(x.row.Addr) }},
	{num: 6, name: "mplsTunnelHopIpPrefixLen", kind: agentx.Gauge32, check: atMost(128),
		set: func(h *router.Hop, v agentx.Value) { h.PrefixLen = uint32(v.Num) },
		get: func(x *hopCell) agentx.Value { return agentx.Uint(x.row.PrefixLen) }},
	{num: 7, name: "mplsTunnelHopAsNumber", kind: agentx.OctetString,
		get: func(*hopCell) agentx.Value { return agentx.String("") }},
	{num: 8, name: "mplsTunnelHopAddrUnnum", kind: agentx.OctetString,
		get: func(*hopCell) agentx.Value { return agentx.String("") }},
	{num: 9, name: "mplsTunnelHopLspId", kind: agentx.OctetString,
		get: func(*hopCell) agentx.Value { return agentx.Octets([]byte{0, 0}) }},
	{num: 10, name: "mplsTunnelHopType", kind: agentx.Integer, check: between(1, 2),
		set: func(h *router.Hop, v agentx.Value) { h.Type = v.Int32() },
		get: func(x *hopCell) agentx.Value { return agentx.Int(max(x.row.Type, 1)) }},
	{num: 11, name: "mplsTunnelHopInclude", kind: agentx.Integer, check: between(1, 2),
		set: func(h *router.Hop, v agentx.Value) { h.Include = v.Int32() == 1 },
		get: func(x *hopCell) agentx.Value { return truth(x.row.Include) }},
	{num: 12, name: "mplsTunnelHopPathOptionName", kind: agentx.OctetString, check: upTo(255),
		set: func(h *router.Hop, v agentx.Value) { h.OptionName = string(v.Bytes) },
		get: func(x *hopCell) agentx.Value { return agentx.String(x.row.OptionName) }},
	{num: 13, name: "mplsTunnelHopEntryPathComp", kind: agentx.Integer, check: between(1, 2),
		set: func(h *router.Hop, v agentx.Value) { h.PathComp = v.Int32() },
		get: func(x *hopCell) agentx.Value { return agentx.Int(max(x.row.PathComp, 1)) }},
	{num: 14, name: "mplsTunnelHopRowStatus", kind: agentx.Integer, live: true,
		get: func(x *hopCell) agentx.Value { return agentx.Int(int32(x.row.Status)) }},
	{num: 15, name: "mplsTunnelHopStorageType", kind: agentx.Integer, check: checkStorage, live: true,
		set: func(h *router.Hop, v agentx.Value) { h.Storage = v.Int32() },
		get: func(x *hopCell) agentx.Value { return agentx.Int(x.row.Storage) }},
}

func newResourceTable() table {
	return &rows[router.Resource]{
		entry: resourceEntry, columns: resourceColumns, status: 9,
		valid: func(_ *router.Config, index []uint32) *fault {
			if len(index) != 1 || index[0] == 0 {
				return refuse(agentx.NoCreation, "index %v", index)
			}
			return nil
		},
		get: func(c *router.Config, index []uint32) (router.Resource, bool) {
			if len(index) != 1 {
				return router.Resource{}, false
			}
			r, ok := c.Resources[index[0]]
			return r, ok
		},
		put: func(c *router.Config, index []uint32, r router.Resource) { c.Resources[index[0]] = r },
		del: func(c *router.Config, index []uint32) *fault {
			for id, t := range c.Tunnels {
				if t.Resource == index[0] && t.Status == router.Active {
					return refuse(agentx.InconsistentValue, "tunnel %v uses the row", id)
				}
			}
			delete(c.Resources, index[0])
			return nil
		},
		fresh:   func() router.Resource { return router.Resource{Storage: 2, Frequency: 1} },
		state:   func(r *router.Resource) *router.RowStatus { return &r.Status },
		ready:   func(*router.Config, []uint32, router.Resource) *fault { return nil },
		refused: func(f router.Faults) bool { return f.RefuseTunnel },
		list: func(v *view) []cell[router.Resource] {
			var cs []cell[router.Resource]
			for _, i := range slices.Sorted(maps.Keys(v.snap.Config.Resources)) {
				cs = append(cs, cell[router.Resource]{view: v, index: []uint32{i}, row: v.snap.Config.Resources[i]})
			}
			return cs
		},
	}
}

// rate is a column of the resource table: an Unsigned32 without limits.
func rate(num uint32, name string, field func(*router.Resource) *uint32) column[router.Resource] {
	return column[router.Resource]{
		num: num, name: name, kind: agentx.Gauge32,
		set: func(r *router.Resource, v agentx.Value) { *field(r) = uint32(v.Num) },
		get: func(x *cell[router.Resource]) agentx.Value { return agentx.Uint(*field(&x.row)) },
	}
}

var resourceColumns = []column[router.Resource]{
	rate(2, "mplsTunnelResourceMaxRate", func(r *router.Resource) *uint32 { return &r.MaxRate }),
	rate(3, "mplsTunnelResourceMeanRate", func(r *router.Resource) *uint32 { return &r.MeanRate }),
	rate(4, "mplsTunnelResourceMaxBurstSize", func(r *router.Resource) *uint32 { return &r.MaxBurst }),
	rate(5, "mplsTunnelResourceMeanBurstSize", func(r *router.Resource) *uint32 { return &r.MeanBurst }),
	rate(6, "mplsTunnelResourceExBurstSize", func(r *router.Resource) *uint32 { return &r.ExBurst }),
	{num: 7, name: "mplsTunnelResourceFrequency", kind: agentx.Integer, check: between(1, 3),
		set: func(r *router.Resource, v agentx.Value) { r.Frequency = v.Int32() },
		get: func(x *cell[router.Resource]) agentx.Value { return agentx.Int(x.row.Frequency) }},
	rate(8, "mplsTunnelResourceWeight", func(r *router.Resource) *uint32 { return &r.Weight }),
	{num: 9, name: "mplsTunnelResourceRowStatus", kind: agentx.Integer, live: true,
		get: func(x *cell[router.Resource]) agentx.Value { return agentx.Int(int32(x.row.Status)) }},
	{num: 10, name: "mplsTunnelResourceStorageType", kind: agentx.Integer, check: checkStorage, live: true,
		set: func(r *router.Resource, v agentx.Value) { r.Storage = v.Int32() },
		get: func(x *cell[router.Resource]) agentx.Value { return agentx.Int(x.row.Storage) }},
}
