package snmp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gosnmp/gosnmp"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// Apply implements driver.Driver.
func (d *snmpDriver) Apply(ctx context.Context, ops ...driver.Op) error {
	if len(ops) == 0 {
		return nil
	}
	inv, err := d.read(ctx)
	if err != nil {
		return err
	}
	w := writer{d: d, inv: inv}
	for _, op := range ops {
		switch op := op.(type) {
		case driver.Signal:
			err = w.signal(ctx, op)
		case driver.Bind:
			err = w.bind(ctx, op)
		case driver.Unbind:
			err = w.unbind(ctx, op)
		case driver.Release:
			err = w.release(ctx, op)
		default:
			err = d.session.fail(driver.ErrUnsupported, op.String(), "", "use another driver for this PE", nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writer carries out the operations of one Apply and keeps the inventory in step
// with what the PE accepted.
type writer struct {
	d   *snmpDriver
	inv *inventory
}

func (w *writer) refuse(kind error, op driver.Op, detail, remedy string) error {
	if remedy == "" {
		remedy = "this PE cannot do that: steer other classes or routes through it"
	}
	return w.d.session.fail(kind, op.String(), detail, remedy, nil)
}

func (w *writer) checkOwned(op driver.Op, name string) error {
	if w.inv.owned(name) {
		return nil
	}
	return w.refuse(driver.ErrUnsupported, op, "the name does not begin with "+w.inv.owner, "only what this instance of mpbox made may be changed")
}

// signal makes the hop list and the tunnel.
func (w *writer) signal(ctx context.Context, op driver.Signal) error {
	l := op.LSP
	if err := w.checkOwned(op, l.Name); err != nil {
		return err
	}
	egress, ok := w.d.cfg.Names.RouterID(l.Egress)
	if !ok || !egress.Is4() {
		return w.refuse(driver.ErrUnsupported, op, "no IPv4 router id is known for egress "+l.Egress, "give its router id in pes or in names of topology")
	}
	if err := checkHops(l.ERO); err != nil {
		return w.refuse(driver.ErrUnsupported, op, err.Error(), "")
	}
	if done, err := w.existing(ctx, op, lsrID(egress)); done || err != nil {
		return err
	}
	id, err := w.tunnelID(op)
	if err != nil {
		return err
	}
	t := tunnel{
		id: id, instance: 1, ingress: lsrID(w.d.cfg.RouterID), egress: lsrID(egress), name: l.Name,
		setup: l.SetupPriority, hold: l.HoldPriority,
		includeAny: l.IncludeAny, includeAll: l.IncludeAll, excludeAny: l.ExcludeAny,
		admin: adminUp, rowStatus: rowActive,
	}
	var rows [][]gosnmp.SnmpPDU
	if len(l.ERO) > 0 {
		if t.hopList, err = w.next(ctx, hopListIndexNext, maxKey(w.inv.hops)); err != nil {
			return err
		}
		t.pathInUse = 1
		rows = encodeHops(t.hopList, l.Name, l.ERO)
	}
	last := []gosnmp.SnmpPDU(nil)
	if l.Bandwidth > 0 {
		res, err := w.next(ctx, resIndexNext, 0)
		if err != nil {
			return err
		}
		t.resource = col(resEntry, resMaxRate) + "." + index(res)
		// A resource has no name: it must come with its tunnel or not at all.
		last = encodeResource(res, l.Bandwidth)
	}
	rows = append(rows, append(last, encodeTunnel(t)...))
	accepted, err := w.d.session.setRows(ctx, rows)
	if accepted > 0 && t.hopList != 0 {
		w.inv.hops[t.hopList] = madeHops(l.ERO[:min(accepted, len(l.ERO))])
	}
	if err != nil {
		if accepted > 0 && isRefused(err) {
			// The PE answers: take back the hops. What cannot be taken back is found
			// by its name later; the refusal is what the operator must hear of.
			w.inv.orphans[t.hopList] = l.Name
			_ = w.remove(ctx, l.Name)
		}
		return err
	}
	w.inv.tunnels = append(w.inv.tunnels, t)
	return nil
}

func madeHops(ero []topology.Hop) hopList {
	h := hopList{options: map[uint32][]topology.Hop{1: ero}, indexes: map[uint32][]uint32{}}
	for i := range ero {
		h.indexes[1] = append(h.indexes[1], uint32(i+1)) // #nosec G115 -- routes are short
	}
	return h
}

func isRefused(err error) bool {
	var r *refused
	return errors.As(err, &r)
}

// existing deals with what is there under the LSP's name: the LSP itself (done),
// another LSP (refused), or something half-made, which it removes.
func (w *writer) existing(ctx context.Context, op driver.Signal, egress uint32) (done bool, err error) {
	l := op.LSP
	for _, t := range w.inv.tunnels {
		if t.name != l.Name || t.rowStatus != rowActive {
			continue
		}
		switch {
		case t.egress != egress || !sameRoute(w.inv.hops[t.hopList].route(t.pathInUse), l.ERO):
			return false, w.refuse(driver.ErrRejected, op, "an LSP of that name has another route", "signal the new route under a new name (make-before-break)")
		case t.setup != l.SetupPriority || t.hold != l.HoldPriority ||
			t.includeAny != l.IncludeAny || t.includeAll != l.IncludeAll || t.excludeAny != l.ExcludeAny ||
			w.inv.resources[t.resource] != reserved(l.Bandwidth):
			return false, w.refuse(driver.ErrRejected, op, "an LSP of that name has another bandwidth, priority or affinity", "signal it under a new name (make-before-break)")
		case t.admin != adminUp:
			return true, w.d.session.set(ctx, []gosnmp.SnmpPDU{intVar(tunnelEntry, tunAdmin, t.index(), adminUp)})
		}
		return true, nil
	}
	return false, w.remove(ctx, l.Name)
}

// reserved is the rate that a row gives back for what was asked for.
func reserved(bps float64) float64 {
	if bps <= 0 {
		return 0
	}
	return float64(encodeResource(1, bps)[0].Value.(uint32)) * 1000
}

// tunnelID takes the number that is asked for, or the lowest free one.
func (w *writer) tunnelID(op driver.Signal) (uint32, error) {
	used := make(map[uint32]bool, len(w.inv.tunnels))
	for _, t := range w.inv.tunnels {
		used[t.id] = true
	}
	if id := op.LSP.TunnelID; id != 0 {
		if used[id] {
			return 0, w.refuse(driver.ErrRejected, op, fmt.Sprintf("tunnel %d is in use", id), "leave the tunnel number to the driver")
		}
		return id, nil
	}
	lo, hi := w.d.cfg.TunnelIDs[0], w.d.cfg.TunnelIDs[1]
	for id := lo; id <= hi && id != 0; id++ {
		if !used[id] {
			return id, nil
		}
	}
	return 0, w.refuse(driver.ErrRejected, op, fmt.Sprintf("no tunnel number from %d to %d is free", lo, hi), "widen tunnel_ids of this PE")
}

// next asks the agent for an index to make a row with (RFC 3812 and RFC 3814,
// …IndexNext). An agent that does not serve the scalar gets the one after the
// highest in use.
func (w *writer) next(ctx context.Context, scalar string, highest uint32) (uint32, error) {
	v, err := w.d.session.get(ctx, scalar)
	if err != nil {
		return 0, err
	}
	if v[0] == nil && scalar != resIndexNext {
		return highest + 1, nil
	}
	n := row{cols: map[int]any{0: v[0]}}.uint32(0)
	if n == 0 {
		name, _ := describe(scalar)
		return 0, w.d.session.fail(driver.ErrRejected, "GET "+name, "the PE gives no free index", "release rows on the PE", nil)
	}
	return n, nil
}

// bind makes the class's row and applies it to the interface, or re-points it.
func (w *writer) bind(ctx context.Context, op driver.Bind) error {
	f := op.FTN
	if err := w.checkOwned(op, f.Name); err != nil {
		return err
	}
	if err := checkFEC(f.FEC); err != nil {
		return w.refuse(driver.ErrUnsupported, op, err.Error(), "")
	}
	i := slices.IndexFunc(w.inv.tunnels, func(t tunnel) bool { return t.lspName() == f.LSP && t.rowStatus == rowActive })
	if i < 0 {
		return w.refuse(driver.ErrRejected, op, "the PE has no LSP of that name", "signal the LSP first")
	}
	pointer := w.inv.tunnels[i].pointer()
	ifIndex, err := w.ifIndex(ctx, op)
	if err != nil {
		return err
	}
	for i := range w.inv.ftns {
		have := &w.inv.ftns[i]
		if have.name == f.Name && have.rowStatus == rowActive {
			return w.rebind(ctx, op, have, ifIndex, pointer)
		}
	}
	if err := w.dropFTNs(ctx, f.Name); err != nil { // half-made ones
		return err
	}
	highest := uint32(0)
	for _, r := range w.inv.ftns {
		highest = max(highest, r.id)
	}
	id, err := w.next(ctx, ftnIndexNext, highest)
	if err != nil {
		return err
	}
	m := w.mapping(ifIndex, id, f.FEC)
	if err := w.setBoth(ctx, encodeFTN(id, f.Name, f.FEC, pointer), m.create(), destroyFTN(id)); err != nil {
		return err
	}
	w.inv.ftns = append(w.inv.ftns, ftnRow{id: id, name: f.Name, fec: normalFEC(f.FEC), pointer: pointer, rowStatus: rowActive})
	w.inv.maps = inserted(w.inv.maps, m)
	return nil
}

// rebind brings an active row of the class in line: column 17 is re-pointed in one
// SET, so that the class is mapped at every moment, and it is on the one interface.
func (w *writer) rebind(ctx context.Context, op driver.Bind, have *ftnRow, ifIndex uint32, pointer string) error {
	if have.foreign != "" || normalFEC(have.fec) != normalFEC(op.FTN.FEC) {
		return w.refuse(driver.ErrRejected, op, "a class of that name matches other packets", "unbind it first, or use a new name")
	}
	if have.pointer != pointer {
		if err := w.d.session.set(ctx, []gosnmp.SnmpPDU{pointerVar(ftnEntry, ftnPointer, index(have.id), pointer)}); err != nil {
			return err
		}
		have.pointer = pointer
	}
	if !slices.ContainsFunc(w.inv.maps, func(m mapRow) bool { return m.curr == have.id && m.ifIndex == ifIndex }) {
		m := w.mapping(ifIndex, have.id, op.FTN.FEC)
		if err := w.d.session.set(ctx, m.create()); err != nil {
			return err
		}
		w.inv.maps = inserted(w.inv.maps, m)
	}
	// A PE that kept the row and numbered its interfaces anew has it on another one.
	for _, m := range w.inv.maps {
		if m.curr != have.id || m.ifIndex == ifIndex {
			continue
		}
		if err := w.d.session.set(ctx, []gosnmp.SnmpPDU{m.destroy()}); err != nil {
			return err
		}
		w.inv.maps = removed(w.inv.maps, m)
	}
	return nil
}

func (w *writer) mapping(ifIndex, id uint32, fec topology.FEC) mapRow {
	own := make(map[uint32]int)
	for _, f := range w.inv.ftns {
		if w.inv.owned(f.name) && f.id != id {
			own[f.id] = specificity(f.fec)
		}
	}
	return mapRow{ifIndex: ifIndex, prev: place(w.inv.maps, ifIndex, own, specificity(fec)), curr: id}
}

func destroyFTN(id uint32) []gosnmp.SnmpPDU {
	return []gosnmp.SnmpPDU{intVar(ftnEntry, ftnRowStatus, index(id), rowDestroy)}
}

func (m mapRow) create() []gosnmp.SnmpPDU {
	return []gosnmp.SnmpPDU{intVar(mapEntry, mapRowStatus, m.index(), rowCreateAndGo)}
}

func (m mapRow) destroy() gosnmp.SnmpPDU {
	return intVar(mapEntry, mapRowStatus, m.index(), rowDestroy)
}

func (w *writer) ifIndex(ctx context.Context, op driver.Bind) (uint32, error) {
	name := op.FTN.FEC.Interface
	if i := w.inv.ifIndex(name); i != 0 { // another class is there
		return i, nil
	}
	all, err := w.d.allIfNames(ctx)
	if err != nil {
		return 0, err
	}
	w.inv.ifNames = all
	if i := w.inv.ifIndex(name); i != 0 {
		return i, nil
	}
	return 0, w.refuse(driver.ErrRejected, op, fmt.Sprintf("the PE has no interface %q (ifName)", name), "correct pe_interface of the attachment")
}

// setBoth sends two changes of which the second needs the first. One SET makes both
// at once; an agent that does not see the first yet refuses the second, and then
// gets them one after the other. undo takes back the first when the second is
// refused even so.
func (w *writer) setBoth(ctx context.Context, first, second, undo []gosnmp.SnmpPDU) error {
	err := w.d.session.set(ctx, slices.Concat(first, second))
	var r *refused
	if !errors.As(err, &r) || r.index <= len(first) {
		return err
	}
	if r.status != gosnmp.InconsistentName && r.status != gosnmp.InconsistentValue && r.status != gosnmp.NoCreation {
		return err
	}
	if err := w.d.session.set(ctx, first); err != nil {
		return err
	}
	err = w.d.session.set(ctx, second)
	if err != nil && undo != nil && isRefused(err) {
		_ = w.d.session.set(ctx, undo) // what stays is found by its name; the refusal is the news
	}
	return err
}

// unbind removes every row of the class.
func (w *writer) unbind(ctx context.Context, op driver.Unbind) error {
	if err := w.checkOwned(op, op.Name); err != nil {
		return err
	}
	return w.dropFTNs(ctx, op.Name)
}

// dropFTNs takes the classes of that name off their interfaces and destroys them.
func (w *writer) dropFTNs(ctx context.Context, name string) error {
	for _, f := range slices.Clone(w.inv.ftns) {
		if f.name != name {
			continue
		}
		var on []gosnmp.SnmpPDU
		var gone []mapRow
		for _, m := range w.inv.maps {
			if m.curr == f.id {
				on, gone = append(on, m.destroy()), append(gone, m)
			}
		}
		var err error
		if len(on) == 0 {
			err = w.d.session.set(ctx, destroyFTN(f.id))
		} else {
			err = w.setBoth(ctx, on, destroyFTN(f.id), nil)
		}
		if err != nil {
			return err
		}
		for _, m := range gone {
			w.inv.maps = removed(w.inv.maps, m)
		}
		w.inv.ftns = slices.DeleteFunc(w.inv.ftns, func(r ftnRow) bool { return r.id == f.id })
	}
	return nil
}

// release destroys the tunnel and what belongs to it.
func (w *writer) release(ctx context.Context, op driver.Release) error {
	if err := w.checkOwned(op, op.Name); err != nil {
		return err
	}
	for _, t := range w.inv.tunnels {
		if t.name != op.Name {
			continue
		}
		for _, f := range w.inv.ftns {
			if f.pointer == t.pointer() {
				return w.refuse(driver.ErrRejected, op, "class "+f.name+" still points to it", "unbind or re-point the class first")
			}
		}
	}
	return w.remove(ctx, op.Name)
}

// remove destroys all the rows of that name: tunnels with their resources, then
// hop lists. A tunnel goes first, so that a failure leaves a list with a name and
// not a tunnel without a route.
func (w *writer) remove(ctx context.Context, name string) error {
	for _, t := range slices.Clone(w.inv.tunnels) {
		if t.name != name {
			continue
		}
		vars := []gosnmp.SnmpPDU{intVar(tunnelEntry, tunRowStatus, t.index(), rowDestroy)}
		if res, ok := strings.CutPrefix(t.resource, col(resEntry, resMaxRate)+"."); ok {
			vars = append(vars, intVar(resEntry, resRowStatus, res, rowDestroy))
		}
		if err := w.d.session.set(ctx, vars); err != nil {
			return err
		}
		w.inv.tunnels = slices.DeleteFunc(w.inv.tunnels, func(x tunnel) bool { return x == t })
		shared := slices.ContainsFunc(w.inv.tunnels, func(x tunnel) bool { return x.hopList == t.hopList })
		if _, ok := w.inv.hops[t.hopList]; ok && !shared {
			w.inv.orphans[t.hopList] = name
		}
	}
	for _, list := range sortedKeys(w.inv.orphans) {
		if w.inv.orphans[list] != name {
			continue
		}
		var rows [][]gosnmp.SnmpPDU
		for _, idx := range w.inv.hops[list].rows(list) {
			rows = append(rows, []gosnmp.SnmpPDU{intVar(hopEntry, hopRowStatus, idx, rowDestroy)})
		}
		if _, err := w.d.session.setRows(ctx, rows); err != nil {
			return err
		}
		delete(w.inv.orphans, list)
		delete(w.inv.hops, list)
	}
	return nil
}

func maxKey[V any](m map[uint32]V) uint32 {
	highest := uint32(0)
	for k := range m {
		highest = max(highest, k)
	}
	return highest
}
