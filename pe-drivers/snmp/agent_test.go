package snmp

import (
	"context"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"

	"mpbox/examples/lab/pe/petest"
)

// agent is a small SNMP agent on loopback that keeps rows of the tables which the
// driver uses: RowStatus, all-or-nothing SETs, RFC 3814's self-adjusting map. It
// speaks SNMPv2c, so that what is tested here is the driver and not USM; that is
// tested against a real snmpd.
type agent struct {
	addr   *net.UDPAddr
	driver waiting

	mu   sync.Mutex
	conn net.PacketConn // nil while it is dead
	done chan struct{}
	// cells are the instances by OID; scalars too.
	cells map[string]gosnmp.SnmpPDU
	// sets are the SET requests that were received, in order.
	sets [][]gosnmp.SnmpPDU
	// sorted are the OIDs in order; nil when a cell came or went.
	sorted []string
	// refuse, when set, may refuse a varbind of a SET.
	refuse func(v gosnmp.SnmpPDU) gosnmp.SNMPError
	// silent agents do not answer. dieAfter counts the SETs that are still carried
	// out before the agent dies (-1: never): then its port is closed.
	silent   bool
	dieAfter int
	// loseAnswer: the SET that it dies of is carried out, and only its answer lost.
	loseAnswer bool
	// separate agents do not see a row that the same SET makes.
	separate bool
	// bulkLimit is the most varbinds of an answer; 0: no limit.
	bulkLimit int
}

// waiting is the socket on which a driver waits for an agent. An agent that does not
// answer ends the wait itself: the time-out can be long, for what is answered.
type waiting struct {
	mu   sync.Mutex
	conn net.Conn
}

// on keeps the socket that dial opens.
func (w *waiting) on(dial dialFunc) dialFunc {
	return func(ctx context.Context) (*gosnmp.GoSNMP, error) {
		c, err := dial(ctx)
		if err == nil {
			w.mu.Lock()
			w.conn = c.Conn
			w.mu.Unlock()
		}
		return c, err
	}
}

// over ends the wait for the answer to what was sent last, as its time-out does.
func (w *waiting) over(in time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.conn.SetReadDeadline(time.Now().Add(in))
}

// tableRules says how rows of a table are made: the column of RowStatus, the
// columns that an active row needs, and those that it lets be changed.
type tableRules struct {
	status  int
	needs   []int
	mutable []int
}

var agentTables = map[string]tableRules{
	tunnelEntry: {status: tunRowStatus, needs: []int{tunName, tunRole}, mutable: []int{tunAdmin, tunRowStatus}},
	hopEntry:    {status: hopRowStatus, needs: []int{hopAddr}, mutable: []int{hopRowStatus}},
	resEntry:    {status: resRowStatus, needs: []int{resMaxRate}, mutable: []int{resRowStatus}},
	ftnEntry:    {status: ftnRowStatus, needs: []int{ftnMask, ftnActionType, ftnPointer}, mutable: []int{ftnRowStatus, ftnPointer}},
	mapEntry:    {status: mapRowStatus, mutable: []int{mapRowStatus}},
}

func newAgent(t testing.TB) *agent {
	t.Helper()
	a := &agent{addr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(petest.FreePort(t))}, cells: make(map[string]gosnmp.SnmpPDU), dieAfter: -1}
	a.put(uintVar(ifXEntry, 0, "0", 0)) // below every other OID: a walk that starts too low is seen
	for scalar, v := range map[string]uint32{hopListIndexNext: 1, ftnIndexNext: 1, resIndexNext: 1} {
		a.put(gosnmp.SnmpPDU{Name: scalar, Type: gosnmp.Gauge32, Value: v})
	}
	for i, name := range []string{"", "GigabitEthernet0/0/0/1", "GigabitEthernet0/0/0/2"} {
		if name != "" {
			a.put(textVar(ifXEntry, ifName, index(uint32(100+i)), name))
		}
	}
	a.start(t)
	t.Cleanup(func() {
		a.mu.Lock()
		a.die()
		a.mu.Unlock()
		<-a.done
	})
	return a
}

// start brings the agent up, again at the same port; what it holds is kept.
func (a *agent) start(t testing.TB) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	conn, err := net.ListenUDP("udp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	a.conn, a.done, a.dieAfter = conn, make(chan struct{}), -1
	go func(done chan struct{}) { defer close(done); a.serve(conn) }(a.done)
}

// die closes the port; a.mu is held.
func (a *agent) die() {
	if a.conn != nil {
		_ = a.conn.Close()
		a.conn = nil
	}
}

func (a *agent) put(vars ...gosnmp.SnmpPDU) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sorted = nil
	for _, v := range vars {
		a.cells[v.Name] = v
	}
}

// rows counts the rows of a table by their status cells.
func (a *agent) rows(entry string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for oid := range a.cells {
		if strings.HasPrefix(oid, col(entry, agentTables[entry].status)+".") {
			n++
		}
	}
	return n
}

func (a *agent) setCount() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.sets)
}

// with changes the agent's behaviour.
func (a *agent) with(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sorted = nil
	f()
}

func (a *agent) serve(conn net.PacketConn) {
	codec := &gosnmp.GoSNMP{Version: gosnmp.Version2c, Context: context.Background()}
	buf := make([]byte, 65536)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		req, err := codec.SnmpDecodePacket(slices.Clone(buf[:n])) // values alias the packet
		if err != nil {
			continue
		}
		res := a.answer(req)
		if res == nil {
			continue
		}
		out, err := res.MarshalMsg()
		if err != nil {
			panic(err) // the fake is wrong
		}
		_, _ = conn.WriteTo(out, from)
	}
}

func (a *agent) answer(req *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.silent {
		return nil
	}
	res := &gosnmp.SnmpPacket{Version: req.Version, Community: req.Community, PDUType: gosnmp.GetResponse, RequestID: req.RequestID, Variables: req.Variables}
	for i := range req.Variables {
		req.Variables[i].Name = strings.TrimPrefix(req.Variables[i].Name, ".")
	}
	switch req.PDUType {
	case gosnmp.GetRequest:
		for i, v := range req.Variables {
			c, ok := a.cells[v.Name]
			if !ok {
				c = gosnmp.SnmpPDU{Name: v.Name, Type: gosnmp.NoSuchInstance}
			}
			res.Variables[i] = c
		}
	case gosnmp.GetBulkRequest:
		res.Variables = a.bulk(req)
	case gosnmp.SetRequest:
		a.sets = append(a.sets, req.Variables)
		if a.dieAfter == 0 {
			a.die()
			if a.loseAnswer {
				_, _ = a.commit(req.Variables)
			}
			a.driver.over(0)
			return nil
		}
		if a.dieAfter > 0 {
			a.dieAfter--
		}
		var at int
		res.Error, at = a.commit(req.Variables)
		res.ErrorIndex = uint8(at)
	default:
		return nil // nothing else is asked
	}
	return res
}

func (a *agent) bulk(req *gosnmp.SnmpPacket) []gosnmp.SnmpPDU {
	if a.sorted == nil {
		a.sorted = slices.SortedFunc(maps.Keys(a.cells), compareOID)
	}
	oids := a.sorted
	at := make([]string, len(req.Variables))
	for i, v := range req.Variables {
		at[i] = v.Name
	}
	var out []gosnmp.SnmpPDU
	for range req.MaxRepetitions {
		for i := range at {
			if a.bulkLimit > 0 && len(out) == a.bulkLimit {
				return out
			}
			n, found := slices.BinarySearchFunc(oids, at[i], compareOID)
			if found {
				n++
			}
			if n == len(oids) {
				out = append(out, gosnmp.SnmpPDU{Name: at[i], Type: gosnmp.EndOfMibView})
				continue
			}
			at[i] = oids[n]
			out = append(out, a.cells[oids[n]])
		}
	}
	return out
}

// commit carries out a SET on a copy and keeps that if all went well.
func (a *agent) commit(vars []gosnmp.SnmpPDU) (gosnmp.SNMPError, int) {
	before := maps.Clone(a.cells)
	a.sorted = nil
	for i, v := range vars {
		status := a.change(v, vars, before)
		if status == gosnmp.NoError && a.refuse != nil {
			status = a.refuse(v)
		}
		if status != gosnmp.NoError {
			a.cells = before
			return status, i + 1
		}
	}
	for i, v := range vars {
		if s := a.settle(v, before); s != gosnmp.NoError {
			a.cells = before
			return s, i + 1
		}
	}
	a.bump(hopListIndexNext, hopEntry)
	a.bump(ftnIndexNext, ftnEntry)
	a.bump(resIndexNext, resEntry)
	return gosnmp.NoError, 0
}

// split finds the table, column and index of a cell.
func split(oid string) (entry string, column int, idx string) {
	for e := range agentTables {
		if rest, ok := strings.CutPrefix(oid, e+"."); ok {
			c, i, _ := strings.Cut(rest, ".")
			ids, _ := parseIndex(c)
			return e, int(ids[0]), i
		}
	}
	return "", 0, ""
}

func (a *agent) status(cells map[string]gosnmp.SnmpPDU, entry, idx string) int {
	v, _ := cells[col(entry, agentTables[entry].status)+"."+idx].Value.(int)
	return v
}

// change tests one varbind and stores its value.
func (a *agent) change(v gosnmp.SnmpPDU, vars []gosnmp.SnmpPDU, before map[string]gosnmp.SnmpPDU) gosnmp.SNMPError {
	entry, column, idx := split(v.Name)
	if entry == "" {
		return gosnmp.NotWritable
	}
	rules := agentTables[entry]
	exists := a.status(before, entry, idx) != 0
	if column == rules.status {
		return a.changeStatus(v, vars, entry, idx, exists)
	}
	if a.status(before, entry, idx) == rowActive && !slices.Contains(rules.mutable, column) {
		return gosnmp.InconsistentValue
	}
	a.cells[v.Name] = v
	return gosnmp.NoError
}

func (a *agent) changeStatus(v gosnmp.SnmpPDU, vars []gosnmp.SnmpPDU, entry, idx string, exists bool) gosnmp.SNMPError {
	switch v.Value.(int) {
	case rowDestroy:
		if entry == ftnEntry && a.mapped(idx, vars) {
			return gosnmp.InconsistentValue
		}
		for oid := range a.cells {
			e, _, i := split(oid)
			if e == entry && i == idx {
				delete(a.cells, oid)
			}
		}
		if entry == mapEntry && exists {
			a.relink(idx, true)
		}
	case rowCreateAndGo, 5:
		if exists {
			return gosnmp.InconsistentValue
		}
		if entry == mapEntry {
			if a.separate && slices.ContainsFunc(vars, func(o gosnmp.SnmpPDU) bool { return strings.HasPrefix(o.Name, ftnEntry+".") }) {
				return gosnmp.InconsistentName
			}
			a.relink(idx, false)
		}
		a.cells[v.Name] = v
	default:
		return gosnmp.WrongValue
	}
	return gosnmp.NoError
}

// mapped tells that an interface still uses the FTN; a separate agent does not
// see that the same SET ends this.
func (a *agent) mapped(ftn string, vars []gosnmp.SnmpPDU) bool {
	for oid := range a.cells {
		if e, _, i := split(oid); e == mapEntry && strings.HasSuffix(i, "."+ftn) {
			return true
		}
	}
	return a.separate && slices.ContainsFunc(vars, func(o gosnmp.SnmpPDU) bool {
		e, _, i := split(o.Name)
		return e == mapEntry && strings.HasSuffix(i, "."+ftn)
	})
}

// relink adjusts the row behind the one that comes or goes.
func (a *agent) relink(idx string, gone bool) {
	n, _ := parseIndex(idx)
	from, to := n[1], n[2]
	if gone {
		from, to = n[2], n[1]
	}
	for oid, v := range a.cells {
		e, column, i := split(oid)
		o, _ := parseIndex(i)
		if e != mapEntry || i == idx || o[0] != n[0] || o[1] != from {
			continue
		}
		delete(a.cells, oid)
		v.Name = col(mapEntry, column) + "." + index(n[0], to, o[2])
		a.cells[v.Name] = v
	}
}

// settle turns the actions of RowStatus into states.
func (a *agent) settle(v gosnmp.SnmpPDU, _ map[string]gosnmp.SnmpPDU) gosnmp.SNMPError {
	entry, column, idx := split(v.Name)
	rules := agentTables[entry]
	if column != rules.status || v.Value.(int) != rowCreateAndGo {
		return gosnmp.NoError
	}
	for _, c := range rules.needs {
		if _, ok := a.cells[col(entry, c)+"."+idx]; !ok {
			return gosnmp.InconsistentValue
		}
	}
	v.Value = rowActive
	a.cells[v.Name] = v
	if entry == tunnelEntry {
		a.signalled(idx)
	}
	return gosnmp.NoError
}

// signalled brings a tunnel up: its recorded route is its explicit one.
func (a *agent) signalled(idx string) {
	list := row{cols: map[int]any{0: a.cells[col(tunnelEntry, tunHopList)+"."+idx].Value}}.uint32(0)
	for oid, v := range maps.Clone(a.cells) {
		if e, c, i := split(oid); e == hopEntry && c == hopAddr {
			n, _ := parseIndex(i)
			if n[0] == list {
				v.Name = col(arHopEntry, arHopAddr) + "." + index(list, n[2])
				a.cells[v.Name] = v
			}
		}
	}
	for _, v := range []gosnmp.SnmpPDU{
		uintVar(tunnelEntry, tunARHopList, idx, list),
		intVar(tunnelEntry, tunOper, idx, operUp),
	} {
		a.cells[v.Name] = v
	}
}

// bump makes a scalar …IndexNext the lowest index that is free.
func (a *agent) bump(scalar, entry string) {
	used := make(map[uint32]bool)
	for oid := range a.cells {
		if e, _, i := split(oid); e == entry {
			n, _ := parseIndex(i)
			used[n[0]] = true
		}
	}
	next := uint32(1)
	for used[next] {
		next++
	}
	a.cells[scalar] = gosnmp.SnmpPDU{Name: scalar, Type: gosnmp.Gauge32, Value: next}
}

// config is that of a driver to this agent. It waits long: this machine may be busy.
func (a *agent) config() Config {
	const timeout = 10 * time.Second
	addr := a.addr
	return Config{
		PE: "pe1", RouterID: pe1, Address: addr.String(), Owner: owner, Names: testNames,
		Timeout: timeout,
		dial: a.driver.on(func(ctx context.Context) (*gosnmp.GoSNMP, error) {
			c := &gosnmp.GoSNMP{
				Target: "127.0.0.1", Port: uint16(addr.Port), Version: gosnmp.Version2c, Community: "public",
				Context: ctx, Timeout: timeout,
			}
			return c, c.Connect()
		}),
	}
}
