package mib

import (
	"slices"

	"mpbox/examples/lab/pe/agentx"
	"mpbox/examples/lab/pe/router"
)

// Owners (MplsOwner of RFC 3811).
const (
	ownerOther = 2
	ownerSNMP  = 3
	ownerRSVP  = 6
)

var (
	tunnelEntry   = oidTE.Append(2, 2, 1)
	resourceEntry = oidTE.Append(2, 6, 1)
	zeroDotZero   = agentx.OID{0, 0}
)

func tunnelID(index []uint32) router.TunnelID {
	return router.TunnelID{Index: index[0], Instance: index[1], Ingress: index[2], Egress: index[3]}
}

func newTunnelTable(r *router.Router) table {
	self := router.AddrID(r.Node().RouterID)
	return &rows[router.Tunnel]{
		entry: tunnelEntry, columns: tunnelColumns, status: 36,
		valid: func(c *router.Config, index []uint32) *fault { return validTunnel(c, index, self) },
		foreign: func(c *router.Config, index []uint32) bool {
			if len(index) != 4 {
				return false
			}
			t, ok := c.CLI.Tunnels[index[0]]
			return ok && router.CLITunnelID(index[0], t) == tunnelID(index)
		},
		get: func(c *router.Config, index []uint32) (router.Tunnel, bool) {
			if len(index) != 4 {
				return router.Tunnel{}, false
			}
			t, ok := c.Tunnels[tunnelID(index)]
			return t, ok
		},
		put: func(c *router.Config, index []uint32, t router.Tunnel) { c.Tunnels[tunnelID(index)] = t },
		del: func(c *router.Config, index []uint32) *fault {
			delete(c.Tunnels, tunnelID(index))
			return nil
		},
		fresh: func() router.Tunnel {
			return router.Tunnel{Storage: 2, Role: router.RoleHead, Signalling: router.SignallingNone}
		},
		state:   func(t *router.Tunnel) *router.RowStatus { return &t.Status },
		ready:   readyTunnel,
		refused: func(f router.Faults) bool { return f.RefuseTunnel },
		list:    listTunnels,
	}
}

// validTunnel: this router is the head of what is created on it. Numbers of
// tunnel-te interfaces are theirs.
func validTunnel(c *router.Config, index []uint32, self uint32) *fault {
	if len(index) != 4 || index[0] == 0 || index[0] > 65535 || index[1] > 65535 || index[3] == 0 {
		return refuse(agentx.NoCreation, "index %v", index)
	}
	if index[2] != self {
		return refuse(agentx.InconsistentName, "ingress %v is not this router", router.IDAddr(index[2]))
	}
	if _, taken := c.CLI.Tunnels[index[0]]; taken {
		return refuse(agentx.InconsistentName, "interface tunnel-te%d has this number", index[0])
	}
	return nil
}

func readyTunnel(c *router.Config, _ []uint32, t router.Tunnel) *fault {
	switch {
	case t.Admin == 0:
		return refuse(agentx.InconsistentValue, "mplsTunnelAdminStatus is not set")
	case t.Role != router.RoleHead:
		return refuse(agentx.InconsistentValue, "only heads of tunnels can be made here")
	case t.Setup < t.Hold:
		return refuse(agentx.InconsistentValue, "setup priority %d is better than holding priority %d", t.Setup, t.Hold)
	}
	if t.Resource != 0 {
		if res, ok := c.Resources[t.Resource]; !ok || res.Status != router.Active {
			return refuse(agentx.InconsistentValue, "mplsTunnelResourcePointer points to no active row")
		}
	}
	return nil
}

func listTunnels(v *view) []cell[router.Tunnel] {
	var cs []cell[router.Tunnel]
	for id, t := range v.snap.Config.Tunnels {
		cs = append(cs, cell[router.Tunnel]{view: v, index: id.Sub(), row: t, lsp: v.snap.Find(id)})
	}
	for n, t := range v.snap.Config.CLI.Tunnels {
		id := router.CLITunnelID(n, t)
		row := router.Tunnel{
			Status: router.Active, Storage: 3, Name: t.Signalled, Descr: t.Descr, IsIf: true, Role: router.RoleHead,
			Signalling: router.SignallingRSVP, Setup: t.Setup, Hold: t.Hold, Admin: router.AdminUp,
			IncludeAll: t.Affinity & t.Mask, ExcludeAny: t.Mask &^ t.Affinity,
		}
		if t.RecordRoute {
			row.Session = router.RecordRoute
		}
		if t.Shutdown {
			row.Admin = 2
		}
		lsp := v.snap.Find(id)
		if lsp != nil {
			row.Name = lsp.Name
		}
		cs = append(cs, cell[router.Tunnel]{view: v, index: id.Sub(), row: row, lsp: lsp})
	}
	slices.SortFunc(cs, func(a, b cell[router.Tunnel]) int { return slices.Compare(a.index, b.index) })
	return cs
}

func (x *cell[T]) up() bool { return x.lsp != nil && x.lsp.Up }

// pathList is the index of a tunnel's lists in mplsTunnelARHopTable and
// mplsTunnelCHopTable; 0 while it has none.
func pathList(l *router.LSP) uint32 {
	if l == nil || !l.Up {
		return 0
	}
	return l.PathID
}

type tunnelCell = cell[router.Tunnel]

var tunnelColumns = []column[router.Tunnel]{
	{num: 5, name: "mplsTunnelName", kind: agentx.OctetString, check: upTo(255),
		set: func(t *router.Tunnel, v agentx.Value) { t.Name = string(v.Bytes) },
		get: func(x *tunnelCell) agentx.Value { return agentx.String(x.row.Name) }},
	{num: 6, name: "mplsTunnelDescr", kind: agentx.OctetString, check: upTo(255),
		set: func(t *router.Tunnel, v agentx.Value) { t.Descr = string(v.Bytes) },
		get: func(x *tunnelCell) agentx.Value { return agentx.String(x.row.Descr) }},
	{num: 7, name: "mplsTunnelIsIf", kind: agentx.Integer, check: between(1, 2),
		set: func(t *router.Tunnel, v agentx.Value) { t.IsIf = v.Int32() == 1 },
		get: func(x *tunnelCell) agentx.Value { return truth(x.row.IsIf) }},
	{num: 8, name: "mplsTunnelIfIndex", kind: agentx.Integer,
		get: func(x *tunnelCell) agentx.Value {
			if !x.row.IsIf {
				return agentx.Int(0)
			}
			return agentx.Int(int32(tunnelIfIndex(x.index)))
		}},
	{num: 9, name: "mplsTunnelOwner", kind: agentx.Integer,
		get: func(x *tunnelCell) agentx.Value {
			if x.index[2] == 0 {
				return agentx.Int(ownerOther) // the CLI
			}
			return agentx.Int(ownerSNMP)
		}},
	{num: 10, name: "mplsTunnelRole", kind: agentx.Integer, check: between(1, 4),
		set: func(t *router.Tunnel, v agentx.Value) { t.Role = v.Int32() },
		get: func(x *tunnelCell) agentx.Value { return agentx.Int(x.row.Role) }},
	{num: 11, name: "mplsTunnelXCPointer", kind: agentx.ObjectID,
		check: func(v agentx.Value) *fault {
			if v.OID.Compare(zeroDotZero) != 0 {
				return refuse(agentx.WrongValue, "cross-connects are made by signalling only")
			}
			return nil
		},
		set: func(*router.Tunnel, agentx.Value) {},
		get: func(x *tunnelCell) agentx.Value {
			if !x.up() {
				return agentx.Pointer(zeroDotZero)
			}
			return agentx.Pointer(xcEntry.Append(append([]uint32{4}, xcIndex(x.lsp.PathID)...)...))
		}},
	{num: 12, name: "mplsTunnelSignallingProto", kind: agentx.Integer, check: between(1, 2),
		set: func(t *router.Tunnel, v agentx.Value) { t.Signalling = v.Int32() },
		get: func(x *tunnelCell) agentx.Value { return agentx.Int(x.row.Signalling) }},
	{num: 13, name: "mplsTunnelSetupPrio", kind: agentx.Integer, check: between(0, 7),
		set: func(t *router.Tunnel, v agentx.Value) { t.Setup = uint8(v.Num) },
		get: func(x *tunnelCell) agentx.Value { return agentx.Int(int32(x.row.Setup)) }},
	{num: 14, name: "mplsTunnelHoldingPrio", kind: agentx.Integer, check: between(0, 7),
		set: func(t *router.Tunnel, v agentx.Value) { t.Hold = uint8(v.Num) },
		get: func(x *tunnelCell) agentx.Value { return agentx.Int(int32(x.row.Hold)) }},
	{num: 15, name: "mplsTunnelSessionAttributes", kind: agentx.OctetString, check: bits(5),
		set: func(t *router.Tunnel, v agentx.Value) { t.Session = firstByte(v) },
		get: func(x *tunnelCell) agentx.Value { return agentx.Octets([]byte{x.row.Session}) }},
	{num: 16, name: "mplsTunnelLocalProtectInUse", kind: agentx.Integer, check: between(1, 2),
		set: func(t *router.Tunnel, v agentx.Value) { t.LocalProtect = v.Int32() == 1 },
		get: func(x *tunnelCell) agentx.Value { return truth(x.row.LocalProtect) }},
	{num: 17, name: "mplsTunnelResourcePointer", kind: agentx.ObjectID, check: checkResourcePointer,
		set: func(t *router.Tunnel, v agentx.Value) {
			t.Resource = 0
			if len(v.OID) > 2 {
				t.Resource = v.OID[len(v.OID)-1]
			}
		},
		get: func(x *tunnelCell) agentx.Value {
			if x.row.Resource == 0 {
				return agentx.Pointer(zeroDotZero)
			}
			return agentx.Pointer(resourceEntry.Append(2, x.row.Resource))
		}},
	{num: 18, name: "mplsTunnelPrimaryInstance", kind: agentx.Gauge32,
		get: func(x *tunnelCell) agentx.Value { return agentx.Uint(x.index[1]) }},
	{num: 19, name: "mplsTunnelInstancePriority", kind: agentx.Gauge32,
		set: func(t *router.Tunnel, v agentx.Value) { t.InstancePriority = uint32(v.Num) },
		get: func(x *tunnelCell) agentx.Value { return agentx.Uint(x.row.InstancePriority) }},
	{num: 20, name: "mplsTunnelHopTableIndex", kind: agentx.Gauge32,
		set: func(t *router.Tunnel, v agentx.Value) { t.HopList = uint32(v.Num) },
		get: func(x *tunnelCell) agentx.Value { return agentx.Uint(x.row.HopList) }},
	{num: 21, name: "mplsTunnelPathInUse", kind: agentx.Gauge32,
		set: func(t *router.Tunnel, v agentx.Value) { t.PathInUse = uint32(v.Num) },
		get: func(x *tunnelCell) agentx.Value {
			if x.up() && x.row.HopList != 0 {
				return agentx.Uint(x.lsp.Option)
			}
			return agentx.Uint(x.row.PathInUse)
		}},
	{num: 22, name: "mplsTunnelARHopTableIndex", kind: agentx.Gauge32,
		get: func(x *tunnelCell) agentx.Value {
			if x.row.Session&router.RecordRoute == 0 {
				return agentx.Uint(0)
			}
			return agentx.Uint(pathList(x.lsp))
		}},
	{num: 23, name: "mplsTunnelCHopTableIndex", kind: agentx.Gauge32,
		get: func(x *tunnelCell) agentx.Value { return agentx.Uint(pathList(x.lsp)) }},
	{num: 24, name: "mplsTunnelIncludeAnyAffinity", kind: agentx.Gauge32,
		set: func(t *router.Tunnel, v agentx.Value) { t.IncludeAny = uint32(v.Num) },
		get: func(x *tunnelCell) agentx.Value { return agentx.Uint(x.row.IncludeAny) }},
	{num: 25, name: "mplsTunnelIncludeAllAffinity", kind: agentx.Gauge32,
		set: func(t *router.Tunnel, v agentx.Value) { t.IncludeAll = uint32(v.Num) },
		get: func(x *tunnelCell) agentx.Value { return agentx.Uint(x.row.IncludeAll) }},
	{num: 26, name: "mplsTunnelExcludeAnyAffinity", kind: agentx.Gauge32,
		set: func(t *router.Tunnel, v agentx.Value) { t.ExcludeAny = uint32(v.Num) },
		get: func(x *tunnelCell) agentx.Value { return agentx.Uint(x.row.ExcludeAny) }},
	{num: 27, name: "mplsTunnelTotalUpTime", kind: agentx.TimeTicks, get: upTime},
	{num: 28, name: "mplsTunnelInstanceUpTime", kind: agentx.TimeTicks, get: upTime},
	{num: 29, name: "mplsTunnelPrimaryUpTime", kind: agentx.TimeTicks, get: upTime},
	{num: 30, name: "mplsTunnelPathChanges", kind: agentx.Counter32,
		get: func(x *tunnelCell) agentx.Value {
			if x.lsp == nil {
				return counter32(0)
			}
			return counter32(uint64(x.lsp.Changes))
		}},
	{num: 31, name: "mplsTunnelLastPathChange", kind: agentx.TimeTicks,
		get: func(x *tunnelCell) agentx.Value {
			if x.lsp == nil {
				return ticks(0)
			}
			return ticks(since(x.view, x.lsp.ChangedAt))
		}},
	{num: 32, name: "mplsTunnelCreationTime", kind: agentx.TimeTicks,
		get: func(x *tunnelCell) agentx.Value {
			if x.lsp == nil {
				return ticks(0)
			}
			return x.ticks(x.lsp.Created)
		}},
	{num: 33, name: "mplsTunnelStateTransitions", kind: agentx.Counter32,
		get: func(x *tunnelCell) agentx.Value {
			if x.lsp == nil {
				return counter32(0)
			}
			return counter32(uint64(x.lsp.Transitions))
		}},
	{num: 34, name: "mplsTunnelAdminStatus", kind: agentx.Integer, check: between(1, 3), live: true,
		set: func(t *router.Tunnel, v agentx.Value) { t.Admin = v.Int32() },
		get: func(x *tunnelCell) agentx.Value { return agentx.Int(max(x.row.Admin, 1)) }},
	{num: 35, name: "mplsTunnelOperStatus", kind: agentx.Integer,
		get: func(x *tunnelCell) agentx.Value {
			if x.up() {
				return agentx.Int(1)
			}
			return agentx.Int(2)
		}},
	{num: 36, name: "mplsTunnelRowStatus", kind: agentx.Integer, live: true,
		get: func(x *tunnelCell) agentx.Value { return agentx.Int(int32(x.row.Status)) }},
	{num: 37, name: "mplsTunnelStorageType", kind: agentx.Integer, check: checkStorage, live: true,
		set: func(t *router.Tunnel, v agentx.Value) { t.Storage = v.Int32() },
		get: func(x *tunnelCell) agentx.Value { return agentx.Int(x.row.Storage) }},
}

func upTime(x *tunnelCell) agentx.Value {
	if x.lsp == nil {
		return ticks(0)
	}
	d := x.lsp.UpTotal
	if x.lsp.Up {
		d += since(x.view, x.lsp.Since)
	}
	return ticks(d)
}

func checkResourcePointer(v agentx.Value) *fault {
	if v.OID.Compare(zeroDotZero) == 0 {
		return nil
	}
	if !v.OID.HasPrefix(resourceEntry) || len(v.OID) != len(resourceEntry)+2 {
		return refuse(agentx.WrongValue, "%v is no row of mplsTunnelResourceTable", v.OID)
	}
	return nil
}

// tunnelIfIndex gives tunnel interfaces numbers above those of all ports.
func tunnelIfIndex(index []uint32) uint32 { return 1<<20 + index[0] + index[1]%1024<<16 }
