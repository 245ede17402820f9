package mib

import (
	"maps"
	"slices"

	"mpbox/examples/lab/pe/agentx"
	"mpbox/examples/lab/pe/router"
)

var (
	ftnEntry    = oidFTN.Append(3, 1)
	ftnMapEntry = oidFTN.Append(5, 1)
)

func newFTNTable() table {
	return &rows[router.FTN]{
		entry: ftnEntry, columns: ftnColumns, status: 2,
		valid: func(_ *router.Config, index []uint32) *fault {
			if len(index) != 1 || index[0] == 0 {
				return refuse(agentx.NoCreation, "index %v", index)
			}
			return nil
		},
		get: func(c *router.Config, index []uint32) (router.FTN, bool) {
			if len(index) != 1 {
				return router.FTN{}, false
			}
			f, ok := c.FTNs[index[0]]
			return f, ok
		},
		put: func(c *router.Config, index []uint32, f router.FTN) { c.FTNs[index[0]] = f },
		// RFC 3814: a row takes its entries of mplsFTNMapTable along.
		del: func(c *router.Config, index []uint32) *fault {
			delete(c.FTNs, index[0])
			for i, ms := range c.Maps {
				c.Maps[i] = slices.DeleteFunc(ms, func(m router.Map) bool { return m.FTN == index[0] })
			}
			return nil
		},
		fresh: func() router.FTN {
			return router.FTN{Storage: 3, SrcPortMax: 65535, DstPortMax: 65535, Protocol: 255, Pointer: zeroDotZero}
		},
		state:   func(f *router.FTN) *router.RowStatus { return &f.Status },
		ready:   readyFTN,
		refused: func(f router.Faults) bool { return f.RefuseFTN },
		list: func(v *view) []cell[router.FTN] {
			var cs []cell[router.FTN]
			for _, i := range slices.Sorted(maps.Keys(v.snap.Config.FTNs)) {
				cs = append(cs, cell[router.FTN]{view: v, index: []uint32{i}, row: v.snap.Config.FTNs[i]})
			}
			return cs
		},
	}
}

// readyFTN: the row says what it matches and what to do, in terms that the
// hardware knows, and its pointer fits its action.
func readyFTN(_ *router.Config, _ []uint32, f router.FTN) *fault {
	bad := func(format string, args ...any) *fault { return refuse(agentx.InconsistentValue, format, args...) }
	if f.Action == 0 {
		return bad("mplsFTNActionType is not set")
	}
	if f.Mask&(router.FTNSource|router.FTNDest) != 0 {
		want := map[int32]int{1: 4, 2: 16}[f.AddrType]
		if want == 0 {
			return bad("mplsFTNAddrType %d is neither ipv4 nor ipv6", f.AddrType)
		}
		src := f.Mask&router.FTNSource == 0 || len(f.SrcMin) == want && len(f.SrcMax) == want
		dst := f.Mask&router.FTNDest == 0 || len(f.DstMin) == want && len(f.DstMax) == want
		if !src || !dst {
			return bad("addresses are not of mplsFTNAddrType")
		}
	}
	if _, err := f.FEC(""); err != nil {
		return bad("%v", err)
	}
	zero := slices.Equal(f.Pointer, zeroDotZero)
	_, toTunnel := f.Target()
	if f.Action == router.FTNRedirectTunnel && !zero && !toTunnel {
		return bad("mplsFTNActionPointer %v is no row of mplsTunnelTable", agentx.OID(f.Pointer))
	}
	if f.Action != router.FTNRedirectTunnel && !zero {
		return bad("redirectLsp is not supported")
	}
	return nil
}

type ftnCell = cell[router.FTN]

func ftnAddr(num uint32, name string, field func(*router.FTN) *[]byte) column[router.FTN] {
	return column[router.FTN]{
		num: num, name: name, kind: agentx.OctetString, check: length(0, 4, 16), live: true,
		set: func(f *router.FTN, v agentx.Value) { *field(f) = v.Bytes },
		get: func(x *ftnCell) agentx.Value { return agentx.Octets(*field(&x.row)) },
	}
}

func ftnPort(num uint32, name string, field func(*router.FTN) *uint16) column[router.FTN] {
	return column[router.FTN]{
		num: num, name: name, kind: agentx.Gauge32, check: atMost(65535), live: true,
		set: func(f *router.FTN, v agentx.Value) { *field(f) = uint16(v.Num) },
		get: func(x *ftnCell) agentx.Value { return agentx.Uint(uint32(*field(&x.row))) },
	}
}

// RFC 3814: all writable objects of a row may be modified at any time.
var ftnColumns = []column[router.FTN]{
	{num: 2, name: "mplsFTNRowStatus", kind: agentx.Integer, live: true,
		get: func(x *ftnCell) agentx.Value { return agentx.Int(int32(x.row.Status)) }},
	{num: 3, name: "mplsFTNDescr", kind: agentx.OctetString, check: upTo(255), live: true,
		set: func(f *router.FTN, v agentx.Value) { f.Descr = string(v.Bytes) },
		get: func(x *ftnCell) agentx.Value { return agentx.String(x.row.Descr) }},
	{num: 4, name: "mplsFTNMask", kind: agentx.OctetString, check: bits(6), live: true,
		set: func(f *router.FTN, v agentx.Value) { f.Mask = firstByte(v) },
		get: func(x *ftnCell) agentx.Value { return agentx.Octets([]byte{x.row.Mask}) }},
	{num: 5, name: "mplsFTNAddrType", kind: agentx.Integer, check: between(0, 2), live: true,
		set: func(f *router.FTN, v agentx.Value) { f.AddrType = v.Int32() },
		get: func(x *ftnCell) agentx.Value { return agentx.Int(x.row.AddrType) }},
	ftnAddr(6, "mplsFTNSourceAddrMin", func(f *router.FTN) *[]byte { return &f.SrcMin }),
	ftnAddr(7, "mplsFTNSourceAddrMax", func(f *router.FTN) *[]byte { return &f.SrcMax }),
	ftnAddr(8, "mplsFTNDestAddrMin", func(f *router.FTN) *[]byte { return &f.DstMin }),
	ftnAddr(9, "mplsFTNDestAddrMax", func(f *router.FTN) *[]byte { return &f.DstMax }),
	ftnPort(10, "mplsFTNSourcePortMin", func(f *router.FTN) *uint16 { return &f.SrcPortMin }),
	ftnPort(11, "mplsFTNSourcePortMax", func(f *router.FTN) *uint16 { return &f.SrcPortMax }),
	ftnPort(12, "mplsFTNDestPortMin", func(f *router.FTN) *uint16 { return &f.DstPortMin }),
	ftnPort(13, "mplsFTNDestPortMax", func(f *router.FTN) *uint16 { return &f.DstPortMax }),
	{num: 14, name: "mplsFTNProtocol", kind: agentx.Integer, check: between(0, 255), live: true,
		set: func(f *router.FTN, v agentx.Value) { f.Protocol = v.Int32() },
		get: func(x *ftnCell) agentx.Value { return agentx.Int(x.row.Protocol) }},
	{num: 15, name: "mplsFTNDscp", kind: agentx.Integer, check: between(0, 63), live: true,
		set: func(f *router.FTN, v agentx.Value) { f.DSCP = v.Int32() },
		get: func(x *ftnCell) agentx.Value { return agentx.Int(x.row.DSCP) }},
	{num: 16, name: "mplsFTNActionType", kind: agentx.Integer, check: between(1, 2), live: true,
		set: func(f *router.FTN, v agentx.Value) { f.Action = v.Int32() },
		get: func(x *ftnCell) agentx.Value { return agentx.Int(max(x.row.Action, 1)) }},
	{num: 17, name: "mplsFTNActionPointer", kind: agentx.ObjectID, live: true,
		set: func(f *router.FTN, v agentx.Value) { f.Pointer = v.OID },
		get: func(x *ftnCell) agentx.Value { return agentx.Pointer(x.row.Pointer) }},
	{num: 18, name: "mplsFTNStorageType", kind: agentx.Integer, check: checkStorage, live: true,
		set: func(f *router.FTN, v agentx.Value) { f.Storage = v.Int32() },
		get: func(x *ftnCell) agentx.Value { return agentx.Int(x.row.Storage) }},
}

// mplsFTNMapTable is a linked list for each interface: a row is named by the
// interface, the FTN row before it (0 for the first) and its own FTN row. A row
// put in, or taken out, moves the link of the one behind it (RFC 3814, section
// 5.2).
func newMapTable(r *router.Router) table {
	known := map[uint32]bool{0: true} // 0: all interfaces
	for _, i := range r.Node().Interfaces {
		known[i.IfIndex] = true
	}
	at := func(c *router.Config, index []uint32) (int, bool) {
		if len(index) != 3 {
			return 0, false
		}
		prev := uint32(0)
		for i, m := range c.Maps[index[0]] {
			if m.FTN == index[2] {
				return i, prev == index[1]
			}
			prev = m.FTN
		}
		return 0, false
	}
	return &rows[router.Map]{
		entry: ftnMapEntry, columns: mapColumns, status: 4,
		valid: func(c *router.Config, index []uint32) *fault {
			if len(index) != 3 || index[2] == 0 {
				return refuse(agentx.NoCreation, "index %v", index)
			}
			has := func(ftn uint32) bool {
				return slices.ContainsFunc(c.Maps[index[0]], func(m router.Map) bool { return m.FTN == ftn })
			}
			switch {
			case !known[index[0]]:
				return refuse(agentx.InconsistentName, "no interface has ifIndex %d", index[0])
			case has(index[2]):
				return refuse(agentx.InconsistentName, "FTN %d is on the interface already", index[2])
			case index[1] != 0 && !has(index[1]):
				return refuse(agentx.InconsistentName, "FTN %d, to come after, is not on the interface", index[1])
			}
			return nil
		},
		get: func(c *router.Config, index []uint32) (router.Map, bool) {
			i, ok := at(c, index)
			if !ok {
				return router.Map{}, false
			}
			return c.Maps[index[0]][i], true
		},
		put: func(c *router.Config, index []uint32, m router.Map) {
			ms := c.Maps[index[0]]
			if i, ok := at(c, index); ok {
				ms[i] = m
				return
			}
			m.FTN = index[2]
			i := slices.IndexFunc(ms, func(m router.Map) bool { return m.FTN == index[1] }) + 1
			c.Maps[index[0]] = slices.Insert(ms, i, m)
		},
		del: func(c *router.Config, index []uint32) *fault {
			i, _ := at(c, index)
			c.Maps[index[0]] = slices.Delete(c.Maps[index[0]], i, i+1)
			return nil
		},
		fresh: func() router.Map { return router.Map{Storage: 3} },
		state: func(m *router.Map) *router.RowStatus { return &m.Status },
		ready: func(c *router.Config, index []uint32, _ router.Map) *fault {
			if _, ok := c.FTNs[index[2]]; !ok {
				return refuse(agentx.InconsistentValue, "there is no FTN %d", index[2])
			}
			return nil
		},
		refused: func(f router.Faults) bool { return f.RefuseFTN },
		list:    listMaps,
	}
}

func listMaps(v *view) []cell[router.Map] {
	var cs []cell[router.Map]
	for _, i := range slices.Sorted(maps.Keys(v.snap.Config.Maps)) {
		prev := uint32(0)
		for _, m := range v.snap.Config.Maps[i] {
			cs = append(cs, cell[router.Map]{view: v, index: []uint32{i, prev, m.FTN}, row: m})
			prev = m.FTN
		}
	}
	return cs
}

var mapColumns = []column[router.Map]{
	{num: 4, name: "mplsFTNMapRowStatus", kind: agentx.Integer, live: true,
		get: func(x *cell[router.Map]) agentx.Value { return agentx.Int(int32(x.row.Status)) }},
	{num: 5, name: "mplsFTNMapStorageType", kind: agentx.Integer, check: checkStorage, live: true,
		set: func(m *router.Map, v agentx.Value) { m.Storage = v.Int32() },
		get: func(x *cell[router.Map]) agentx.Value { return agentx.Int(x.row.Storage) }},
}
