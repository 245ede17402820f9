package snmp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/gosnmp/gosnmp"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// tunnel is a row of mplsTunnelTable (RFC 3812, section 10).
type tunnel struct {
	id, instance, ingress, egress      uint32
	name                               string
	setup, hold                        uint8
	resource                           string // RowPointer into mplsTunnelResourceTable
	hopList, pathInUse, arHopList      uint32
	includeAny, includeAll, excludeAny uint32
	admin, oper, rowStatus             int
}

var tunnelColumns = []int{
	tunName, tunSetupPrio, tunHoldPrio, tunResource, tunHopList, tunPathInUse, tunARHopList,
	tunIncludeAny, tunIncludeAll, tunExcludeAny, tunAdmin, tunOper, tunRowStatus,
}

func decodeTunnels(t table) []tunnel {
	out := make([]tunnel, 0, len(t))
	for _, r := range t {
		if len(r.index) != 4 {
			continue
		}
		out = append(out, tunnel{
			id: r.index[0], instance: r.index[1], ingress: r.index[2], egress: r.index[3],
			name:  r.text(tunName),
			setup: uint8(r.uint32(tunSetupPrio) & 7), hold: uint8(r.uint32(tunHoldPrio) & 7), // #nosec G115 -- 3 bits
			resource: r.oid(tunResource),
			hopList:  r.uint32(tunHopList), pathInUse: r.uint32(tunPathInUse), arHopList: r.uint32(tunARHopList),
			includeAny: r.uint32(tunIncludeAny), includeAll: r.uint32(tunIncludeAll), excludeAny: r.uint32(tunExcludeAny),
			admin: r.int(tunAdmin), oper: r.int(tunOper), rowStatus: r.int(tunRowStatus),
		})
	}
	return out
}

func (t tunnel) index() string { return index(t.id, t.instance, t.ingress, t.egress) }

// pointer is what a RowPointer to the tunnel holds.
func (t tunnel) pointer() string { return col(tunnelEntry, tunName) + "." + t.index() }

// hopList is the explicit route of one list of mplsTunnelHopTable, by path option.
type hopList struct {
	options map[uint32][]topology.Hop
	indexes map[uint32][]uint32 // the hop indexes, as needed to destroy the rows
}

var hopColumns = []int{hopAddr, hopType}

// decodeHops reads mplsTunnelHopTable. Hops that are no IP address (AS numbers,
// unnumbered links, LSP ids) are kept as invalid addresses: such a route is never
// taken for one of ours.
func decodeHops(t table) map[uint32]hopList {
	out := make(map[uint32]hopList)
	for _, r := range t {
		if len(r.index) != 3 {
			continue
		}
		l, ok := out[r.index[0]]
		if !ok {
			l = hopList{options: make(map[uint32][]topology.Hop), indexes: make(map[uint32][]uint32)}
			out[r.index[0]] = l
		}
		opt := r.index[1]
		l.options[opt] = append(l.options[opt], topology.Hop{Addr: r.addr(hopAddr), Loose: r.int(hopType) == hopLoose})
		l.indexes[opt] = append(l.indexes[opt], r.index[2])
	}
	return out
}

// route of the path option in use; of the lowest where none is.
func (l hopList) route(inUse uint32) []topology.Hop {
	if hops, ok := l.options[inUse]; ok {
		return hops
	}
	first, hops := uint32(0), []topology.Hop(nil)
	for opt, h := range l.options {
		if hops == nil || opt < first {
			first, hops = opt, h
		}
	}
	return hops
}

// rows gives the index of each row of the list, in order.
func (l hopList) rows(list uint32) []string {
	var out []string
	for _, opt := range sortedKeys(l.indexes) {
		for _, hop := range l.indexes[opt] {
			out = append(out, index(list, opt, hop))
		}
	}
	return out
}

// decodeARHops reads mplsTunnelARHopTable: the recorded routes by list.
func decodeARHops(t table) map[uint32][]topology.Hop {
	out := make(map[uint32][]topology.Hop)
	for _, r := range t {
		if len(r.index) != 2 {
			continue
		}
		if a := r.addr(arHopAddr); a.IsValid() {
			out[r.index[0]] = append(out[r.index[0]], topology.Hop{Addr: a})
		}
	}
	return out
}

// decodeResources reads the reserved rates in bit/s by resource index. A
// MplsBitRate counts 1,000 bit/s (RFC 3811).
func decodeResources(t table) map[string]float64 {
	out := make(map[string]float64)
	for _, r := range t {
		if len(r.index) == 1 {
			out[col(resEntry, resMaxRate)+"."+index(r.index[0])] = float64(r.uint32(resMaxRate)) * 1000
		}
	}
	return out
}

// lsp gives the tunnel as the rest of mpbox knows it.
func (inv *inventory) lsp(t tunnel, names driver.Names) topology.LSP {
	l := topology.LSP{
		Name:    t.lspName(),
		Ingress: names.Name(inv.routerID), Egress: names.Name(lsrAddr(t.egress)),
		ERO:     slices.Clone(inv.hops[t.hopList].route(t.pathInUse)),
		AdminUp: t.admin == adminUp, Oper: operState(t.oper),
		Bandwidth:     inv.resources[t.resource],
		SetupPriority: t.setup, HoldPriority: t.hold,
		IncludeAny: t.includeAny, IncludeAll: t.includeAll, ExcludeAny: t.excludeAny,
		TunnelID: t.id,
	}
	if t.rowStatus != rowActive {
		// Half-made: not an LSP, but its name must be found to be cleaned up.
		l.AdminUp, l.Oper = false, topology.OperDown
		l.Reason = fmt.Sprintf("half-made: mplsTunnelRowStatus is %s(%d)", rowStatusWords[t.rowStatus], t.rowStatus)
		return l
	}
	if l.Oper == topology.OperUp {
		l.RRO = slices.Clone(inv.arHops[t.arHopList])
	} else {
		l.Reason = fmt.Sprintf("mplsTunnelOperStatus is %s(%d)", operWords[t.oper], t.oper)
	}
	return l
}

// lspName is never empty, so that tunnels without a name are told apart.
func (t tunnel) lspName() string {
	if t.name != "" {
		return t.name
	}
	return fmt.Sprintf("tunnel %d.%d to %s", t.id, t.instance, lsrAddr(t.egress))
}

func operState(v int) topology.OperState {
	switch v {
	case operUp:
		return topology.OperUp
	case 0, 4:
		return topology.OperUnknown
	}
	return topology.OperDown
}

// encodeHops gives the rows of an explicit route, each row whole. The name goes
// into every hop (RFC 3812: it "SHOULD be the same for each hop in the series"),
// so that a list whose tunnel was never made is still known as ours.
func encodeHops(list uint32, name string, ero []topology.Hop) [][]gosnmp.SnmpPDU {
	rows := make([][]gosnmp.SnmpPDU, 0, len(ero))
	for i, h := range ero {
		idx := index(list, 1, uint32(i+1)) // #nosec G115 -- routes are short
		kind, strict := addrIPv4, hopStrict
		if h.Addr.Is6() {
			kind = addrIPv6
		}
		if h.Loose {
			strict = hopLoose
		}
		rows = append(rows, []gosnmp.SnmpPDU{
			intVar(hopEntry, hopAddrType, idx, kind),
			octetVar(hopEntry, hopAddr, idx, h.Addr.AsSlice()...),
			uintVar(hopEntry, hopPrefixLen, idx, uint32(h.Addr.BitLen())), // #nosec G115 -- 32 or 128
			intVar(hopEntry, hopType, idx, strict),
			intVar(hopEntry, hopInclude, idx, truthTrue),
			textVar(hopEntry, hopOptionName, idx, name),
			intVar(hopEntry, hopPathComp, idx, pathExplicit),
			intVar(hopEntry, hopRowStatus, idx, rowCreateAndGo),
		})
	}
	return rows
}

// encodeTunnel gives the row of the tunnel itself.
func encodeTunnel(t tunnel) []gosnmp.SnmpPDU {
	idx := t.index()
	v := []gosnmp.SnmpPDU{
		textVar(tunnelEntry, tunName, idx, t.name),
		intVar(tunnelEntry, tunIsIf, idx, truthFalse),
		intVar(tunnelEntry, tunRole, idx, roleHead),
		intVar(tunnelEntry, tunSignalling, idx, signallingRSVP),
		intVar(tunnelEntry, tunSetupPrio, idx, int(t.setup)),
		intVar(tunnelEntry, tunHoldPrio, idx, int(t.hold)),
		octetVar(tunnelEntry, tunSessionAttr, idx, sessionRecordRoute),
	}
	if t.resource != "" {
		v = append(v, pointerVar(tunnelEntry, tunResource, idx, t.resource))
	}
	if t.hopList != 0 {
		v = append(v,
			uintVar(tunnelEntry, tunHopList, idx, t.hopList),
			uintVar(tunnelEntry, tunPathInUse, idx, t.pathInUse))
	}
	for _, a := range []struct {
		column int
		mask   uint32
	}{{tunIncludeAny, t.includeAny}, {tunIncludeAll, t.includeAll}, {tunExcludeAny, t.excludeAny}} {
		if a.mask != 0 {
			v = append(v, uintVar(tunnelEntry, a.column, idx, a.mask))
		}
	}
	return append(v,
		intVar(tunnelEntry, tunAdmin, idx, adminUp),
		intVar(tunnelEntry, tunRowStatus, idx, rowCreateAndGo))
}

// encodeResource reserves a rate given in bit/s. The burst is that of 10 ms, at
// least one packet: the MIB has no default.
func encodeResource(id uint32, bps float64) []gosnmp.SnmpPDU {
	idx := index(id)
	kbps := uint32(min(max((bps+999)/1000, 1), 1<<32-1))
	burst := max(uint32(min(bps/800, 1<<31)), 1500)
	return []gosnmp.SnmpPDU{
		uintVar(resEntry, resMaxRate, idx, kbps),
		uintVar(resEntry, resMeanRate, idx, kbps),
		uintVar(resEntry, resMaxBurst, idx, burst),
		intVar(resEntry, resRowStatus, idx, rowCreateAndGo),
	}
}

func sameRoute(a, b []topology.Hop) bool {
	return slices.EqualFunc(a, b, func(x, y topology.Hop) bool { return x.Addr == y.Addr && x.Loose == y.Loose })
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// checkHops says why a route cannot be written as rows.
func checkHops(ero []topology.Hop) error {
	for i, h := range ero {
		if !h.Addr.IsValid() || h.Addr == (netip.Addr{}) {
			return fmt.Errorf("hop %d has no address", i+1)
		}
	}
	return nil
}
