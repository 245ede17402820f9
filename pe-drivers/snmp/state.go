package snmp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// inventory is what one reading of the PE's tables brought.
type inventory struct {
	routerID  netip.Addr
	owner     string
	tunnels   []tunnel
	hops      map[uint32]hopList
	arHops    map[uint32][]topology.Hop
	resources map[string]float64
	// orphans are lists of hops that no tunnel uses and that carry an owned name.
	orphans map[uint32]string
	ftns    []ftnRow
	maps    []mapRow
	// ifNames are the names of interfaces by ifIndex: of those in maps, or of all.
	ifNames map[uint32]string
}

// read takes the inventory. The scalars are asked for first and last: an agent
// whose MPLS part is gone answers a walk with nothing, which must not be taken
// for a PE without tunnels.
func (d *snmpDriver) read(ctx context.Context) (*inventory, error) {
	if !d.cfg.RouterID.Is4() {
		return nil, d.session.fail(driver.ErrUnsupported, "read", "", "give the PE's router_id as an IPv4 address: LSR ids have 32 bits (RFC 3811)", nil)
	}
	if err := d.served(ctx); err != nil {
		return nil, err
	}
	inv := &inventory{routerID: d.cfg.RouterID, owner: d.cfg.Owner}
	if err := d.readTunnels(ctx, inv); err != nil {
		return nil, err
	}
	if err := d.readFTNs(ctx, inv); err != nil {
		return nil, err
	}
	return inv, d.served(ctx)
}

// served asks for scalars that are there whenever the MIBs are.
func (d *snmpDriver) served(ctx context.Context) error {
	v, err := d.session.get(ctx, hopListIndexNext, ftnIndexNext)
	if err != nil {
		return err
	}
	for i, mib := range []string{"MPLS-TE-STD-MIB", "MPLS-FTN-STD-MIB"} {
		if v[i] == nil {
			return d.session.fail(driver.ErrUnreachable, "GET "+names([]string{hopListIndexNext, ftnIndexNext}[i:i+1]),
				"the SNMP agent answers, but does not serve "+mib,
				"check that the PE's MPLS agent (AgentX) runs; a PE without this MIB needs another driver", nil)
		}
	}
	return nil
}

func (d *snmpDriver) readTunnels(ctx context.Context, inv *inventory) error {
	t, err := d.session.walk(ctx, tunnelEntry, tunnelColumns...)
	if err != nil {
		return err
	}
	all := decodeTunnels(t)
	hops, err := d.session.walk(ctx, hopEntry, hopColumns...)
	if err != nil {
		return err
	}
	inv.hops = decodeHops(hops)
	used := make(map[uint32]bool)
	id := lsrID(d.cfg.RouterID)
	resources := false
	for _, t := range all {
		used[t.hopList] = true
		// Some agents show their own heads with LSR id 0 (Cisco's).
		if t.ingress == id || t.ingress == 0 {
			inv.tunnels = append(inv.tunnels, t)
			resources = resources || strings.HasPrefix(t.resource, resEntry+".")
		}
	}
	if resources {
		r, err := d.session.walk(ctx, resEntry, resMaxRate)
		if err != nil {
			return err
		}
		inv.resources = decodeResources(r)
	}
	ar, err := d.session.walk(ctx, arHopEntry, arHopAddr)
	if err != nil {
		return err
	}
	inv.arHops = decodeARHops(ar)
	return d.readOrphans(ctx, inv, used)
}

// readOrphans finds lists of hops of ours whose tunnel was never made, or is gone
// already. Only then are names of hops asked for.
func (d *snmpDriver) readOrphans(ctx context.Context, inv *inventory, used map[uint32]bool) error {
	inv.orphans = make(map[uint32]string)
	for _, list := range sortedKeys(inv.hops) {
		rows := inv.hops[list].rows(list)
		if used[list] || len(rows) == 0 {
			continue
		}
		v, err := d.session.get(ctx, col(hopEntry, hopOptionName)+"."+rows[0])
		if err != nil {
			return err
		}
		if name, _ := v[0].([]byte); inv.owned(string(name)) {
			inv.orphans[list] = string(name)
		}
	}
	return nil
}

func (d *snmpDriver) readFTNs(ctx context.Context, inv *inventory) error {
	f, err := d.session.walk(ctx, ftnEntry, ftnColumns...)
	if err != nil {
		return err
	}
	inv.ftns = decodeFTNs(f)
	m, err := d.session.walk(ctx, mapEntry, mapRowStatus)
	if err != nil {
		return err
	}
	inv.maps = decodeMap(m)
	used := make(map[uint32]bool)
	for _, r := range inv.maps {
		used[r.ifIndex] = true
	}
	delete(used, 0) // all interfaces
	inv.ifNames, err = d.readIfNames(ctx, sortedKeys(used))
	return err
}

// namesAtOnce is how many names one GET asks for: the answer fits into a frame.
const namesAtOnce = 20

// readIfNames asks how these interfaces are called: by ifName, or by ifDescr where the
// agent has no ifName; one that is gone has no name. Nothing is kept, for a PE that
// restarts may give an ifIndex to another interface (RFC 2863, section 3.1.5).
func (d *snmpDriver) readIfNames(ctx context.Context, ifIndexes []uint32) (map[uint32]string, error) {
	names := make(map[uint32]string, len(ifIndexes))
	for _, column := range []string{col(ifXEntry, ifName), col(ifEntry, ifDescr)} {
		for some := range slices.Chunk(ifIndexes, namesAtOnce) {
			oids := make([]string, len(some))
			for i, n := range some {
				oids[i] = column + "." + index(n)
			}
			values, err := d.session.get(ctx, oids...)
			if err != nil {
				return nil, err
			}
			for i, v := range values {
				if v != nil {
					names[some[i]] = row{cols: map[int]any{0: v}}.text(0)
				}
			}
		}
		ifIndexes = slices.DeleteFunc(ifIndexes, func(n uint32) bool { _, ok := names[n]; return ok })
	}
	return names, nil
}

// allIfNames is readIfNames for all interfaces.
func (d *snmpDriver) allIfNames(ctx context.Context) (map[uint32]string, error) {
	t, err := d.session.walk(ctx, ifXEntry, ifName)
	column := ifName
	if err == nil && len(t) == 0 {
		t, err = d.session.walk(ctx, ifEntry, ifDescr)
		column = ifDescr
	}
	names := make(map[uint32]string, len(t))
	for _, r := range t {
		if len(r.index) == 1 {
			names[r.index[0]] = r.text(column)
		}
	}
	return names, err
}

// ifIndex is that of the interface of that name, of the highest where several layers
// share it; 0 where none has it.
func (inv *inventory) ifIndex(name string) uint32 {
	highest := uint32(0)
	for i, n := range inv.ifNames {
		if n == name {
			highest = max(highest, i)
		}
	}
	return highest
}

func (inv *inventory) owned(name string) bool {
	return inv.owner != "" && strings.HasPrefix(name, inv.owner)
}

// lsps gives the PE's LSPs, and as LSPs that are down what is half-made of ours,
// with the names of these.
func (inv *inventory) lsps(names driver.Names) (out []topology.LSP, half []string) {
	out = make([]topology.LSP, 0, len(inv.tunnels))
	for _, t := range inv.heads() {
		out = append(out, inv.lsp(t, names))
		if t.rowStatus != rowActive && inv.owned(t.name) {
			half = append(half, t.name)
		}
	}
	made := make(map[string]bool, len(out))
	for _, l := range out {
		made[l.Name] = true
	}
	for _, list := range sortedKeys(inv.orphans) {
		name := inv.orphans[list]
		if made[name] {
			continue // told already; Release cleans both
		}
		made[name] = true
		half = append(half, name)
		out = append(out, topology.LSP{
			Name: name, Ingress: names.Name(inv.routerID), ERO: inv.hops[list].route(0), Oper: topology.OperDown,
			Reason: fmt.Sprintf("half-made: hop list %d has no tunnel", list),
		})
	}
	return out, half
}

// heads gives one row for each tunnel: agents may show, next to the row that was
// configured, rows of the instances that are signalled (RFC 3812, section 8). The
// configured row tells what is intended, an instance that is up tells the rest.
func (inv *inventory) heads() []tunnel {
	type key struct {
		id, egress uint32
		name       string
	}
	at := make(map[key]int)
	var out []tunnel
	for _, t := range inv.tunnels {
		k := key{t.id, t.egress, t.name}
		i, seen := at[k]
		if !seen {
			at[k] = len(out)
			out = append(out, t)
			continue
		}
		if head := &out[i]; t.oper == operUp {
			head.oper = t.oper
			if t.arHopList != 0 {
				head.arHopList = t.arHopList
			}
			if head.hopList == 0 {
				head.hopList, head.pathInUse = t.hopList, t.pathInUse
			}
		}
	}
	return out
}

// boundFTNs gives the classes. One that is on no interface, or whose row is not
// active, has no interface or no LSP: it does not steer.
func (inv *inventory) boundFTNs() []topology.FTN {
	lsps := make(map[string]string, len(inv.tunnels))
	for _, t := range inv.tunnels {
		lsps[t.pointer()] = t.lspName()
	}
	on := make(map[uint32][]string)
	for _, m := range inv.maps {
		name := inv.ifNames[m.ifIndex]
		if m.ifIndex == 0 {
			name = "*" // all interfaces
		}
		on[m.curr] = append(on[m.curr], name)
	}
	out := make([]topology.FTN, 0, len(inv.ftns))
	for _, f := range inv.ftns {
		n := topology.FTN{Name: f.name, FEC: f.fec}
		if n.Name == "" {
			n.Name = fmt.Sprintf("FTN %d", f.id)
		}
		if f.rowStatus == rowActive {
			n.LSP = lsps[f.pointer]
		}
		interfaces := on[f.id]
		if len(interfaces) == 0 {
			interfaces = []string{""}
		}
		for _, i := range interfaces {
			n.FEC.Interface = i
			out = append(out, n)
		}
	}
	return out
}
