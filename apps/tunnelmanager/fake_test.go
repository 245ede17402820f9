package tunnelmanager

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest"

	"mpbox/apps/tunnelmanager/threshold"
	"mpbox/pe-drivers/driver"
	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// network is a small provider: pe1 and pe2, joined over a, b and c.
type network struct {
	t    testing.TB
	mu   sync.Mutex
	down map[string]bool // links by name
	busy bool            // others' reservations come and go
	// topologies, where set, is asked in place of the routers.
	topologies func(pe string) (*topology.TED, error)
	pes        map[string]*router
	edge       *bridges
	conn       func(*router) Conn // the sessions to a PE; nil: one that never waits
}

func newNetwork(t testing.TB) *network {
	n := &network{t: t, down: map[string]bool{}, pes: map[string]*router{}, edge: &bridges{rules: map[uint64]EdgeRule{}, up: true}}
	for i, name := range []string{"pe1", "pe2"} {
		other := []string{"pe2", "pe1"}[i]
		n.pes[name] = &router{net: n, name: name, lsps: map[string]topology.LSP{
			"default_" + name: {Name: "default_" + name, Ingress: name, Egress: other, Oper: topology.OperUp, TunnelID: 1},
		}, ftns: map[string]topology.FTN{}}
	}
	return n
}

func (n *network) ted() *topology.TED {
	b := topology.Builder{}
	addr := func(i, j int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i), byte(j)}) }
	names := []string{"pe1", "pe2", "a", "b", "c"}
	for i, name := range names {
		b.AddNode(topology.Node{Name: name, RouterID: addr(255, i+1)})
	}
	k := 0
	for i, mid := range []string{"a", "b", "c"} {
		for _, end := range []string{"pe1", "pe2"} {
			k++
			from, to := end, mid
			name := from + "-" + to
			m, delay := uint32(10+i), time.Duration(40-i)*time.Millisecond // who costs more is faster
			fi, ti := slices.Index(names, from), slices.Index(names, to)
			down := n.down[name]
			var left [8]float64
			for p := range left {
				left[p] = 20e6
				if n.busy {
					left[p] -= float64(time.Now().UnixMilli() % 1e6)
				}
			}
			b.AddLink(topology.Link{Name: name, From: fi, To: ti, LocalAddr: addr(k, 1), RemoteAddr: addr(k, 2), TEMetric: m, Delay: delay, MaxBandwidth: 20e6, MaxReservable: 20e6, Unreserved: left, Down: down})
			b.AddLink(topology.Link{Name: name, From: ti, To: fi, LocalAddr: addr(k, 2), RemoteAddr: addr(k, 1), TEMetric: m, Delay: delay, MaxBandwidth: 20e6, MaxReservable: 20e6, Unreserved: left, Down: down})
		}
	}
	ted, err := b.Build()
	if err != nil {
		n.t.Fatal(err)
	}
	return ted
}

func (n *network) cut(link string, down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down[link] = down
}

// router is a PE in memory with a real one's rules: it refuses what would leave a
// class on an LSP that is not there, and checks after each operation that every
// class points to an LSP that is up.
type router struct {
	net     *network
	name    string
	lsps    map[string]topology.LSP
	ftns    map[string]topology.FTN
	log     []string
	refuse  func(driver.Op) error
	never   func(topology.LSP) bool // accepted, and does not come up
	dead    bool
	slots   int           // MaxSlots
	slow    time.Duration // what a reading takes
	pending map[string]time.Time
}

func (r *router) Capabilities() driver.Capabilities {
	return driver.Capabilities{Kind: "fake", Write: true, FTN: true, Class: true, ExplicitRoute: true, RecordRoute: true, MaxSlots: r.slots}
}

func (r *router) Close() error { return nil }

func (r *router) State(context.Context) (driver.State, error) {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	if d := r.slow; d > 0 {
		r.net.mu.Unlock()
		time.Sleep(d)
		r.net.mu.Lock()
	}
	if r.dead {
		return driver.State{}, &driver.Error{PE: r.name, Step: "read", Kind: driver.ErrUnreachable, Remedy: "look at the cable"}
	}
	ted := r.net.ted()
	s := driver.State{At: time.Now()}
	for _, name := range sortedKeys(r.lsps) {
		l := r.lsps[name]
		if len(l.ERO) == 0 { // the head end's own: the best path that is up
			res, err := disjoint.Find(ted, disjoint.Query{From: []string{l.Ingress}, To: []string{l.Egress}, K: 1})
			l.Oper = topology.OperDown
			if err == nil {
				l.Oper, l.RRO = topology.OperUp, ted.ERO(res.Paths[0].Links)
			}
		} else {
			l.RRO, l.Oper, l.Reason = nil, topology.OperDown, ""
			links, err := ted.Route(l.Ingress, l.ERO)
			if err != nil {
				r.net.t.Errorf("LSP %s has a route that is none: %v", name, err)
			} else if r.never != nil && r.never(l) {
				l.Reason = "no bandwidth at 10.0.255.4"
			} else if !slices.ContainsFunc(links, func(i int) bool { return ted.Links()[i].Down }) && time.Now().After(r.pending[name]) {
				l.Oper, l.RRO = topology.OperUp, l.ERO
			}
		}
		r.lsps[name] = l
		s.LSPs = append(s.LSPs, l)
	}
	for _, name := range sortedKeys(r.ftns) {
		s.FTNs = append(s.FTNs, r.ftns[name])
	}
	return s, nil
}

func (r *router) Topology(context.Context) (*topology.TED, error) {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	if r.dead {
		return nil, driver.ErrUnreachable
	}
	if f := r.net.topologies; f != nil {
		return f(r.name)
	}
	return r.net.ted(), nil
}

func (r *router) Apply(_ context.Context, ops ...driver.Op) error {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	for _, op := range ops {
		if r.dead {
			return &driver.Error{PE: r.name, Step: op.String(), Kind: driver.ErrUnreachable}
		}
		if r.refuse != nil {
			if err := r.refuse(op); err != nil {
				return err
			}
		}
		r.log = append(r.log, op.String())
		switch o := op.(type) {
		case driver.Signal:
			if _, ok := r.lsps[o.LSP.Name]; ok {
				r.net.t.Errorf("%s: LSP %s signalled twice", r.name, o.LSP.Name)
			}
			l := o.LSP
			l.Oper = topology.OperDown
			r.lsps[l.Name] = l
			if r.pending == nil {
				r.pending = map[string]time.Time{}
			}
			r.pending[l.Name] = time.Now().Add(200 * time.Millisecond)
		case driver.Bind:
			if l, ok := r.lsps[o.FTN.LSP]; !ok || l.Oper != topology.OperUp {
				r.net.t.Errorf("%s: class %s bound to LSP %s, which is not up", r.name, o.FTN.Name, o.FTN.LSP)
			}
			r.ftns[o.FTN.Name] = o.FTN
		case driver.Unbind:
			f := r.ftns[o.Name]
			marks, _ := r.net.edge.Rules(context.Background())
			for _, rule := range marks.Rules {
				if f.FEC.HasDSCP && rule.Mark && !rule.FromPE && rule.DSCP == f.FEC.DSCP {
					r.net.t.Errorf("%s: class %s unbound while %v is marked with it", r.name, o.Name, rule.Src)
				}
			}
			delete(r.ftns, o.Name)
		case driver.Release:
			for _, f := range r.ftns {
				if f.LSP == o.Name {
					r.net.t.Errorf("%s: LSP %s released while %s points to it", r.name, o.Name, f.Name)
				}
			}
			if !strings.HasPrefix(o.Name, "mpbox/lab/") {
				r.net.t.Errorf("%s: foreign LSP %s released", r.name, o.Name)
			}
			delete(r.lsps, o.Name)
		}
	}
	return nil
}

// sets gives the operations since the last call.
func (r *router) sets() []string {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	l := r.log
	r.log = nil
	return l
}

// bridges are the edge in memory.
type bridges struct {
	mu    sync.Mutex
	rules map[uint64]EdgeRule
	bytes map[uint64]uint64 // counted, by rule
	up    bool
	set   func([]EdgeRule) // looks at what is set; may be nil
}

func (b *bridges) SetRules(_ context.Context, rules []EdgeRule) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.set != nil {
		b.set(rules)
	}
	b.rules = map[uint64]EdgeRule{}
	for _, r := range rules {
		b.rules[r.ID] = r
	}
	return nil
}

func (b *bridges) Rules(context.Context) (EdgeState, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := EdgeState{Rules: map[uint64]EdgeRule{}, Attachments: map[string]bool{"ce1": b.up, "ce2": b.up}}
	for id, r := range b.rules {
		s.Rules[id] = r
	}
	s.Bytes = maps.Clone(b.bytes)
	return s, nil
}

// memory is a Store that lives as long as the test.
type memory struct{ values map[string]any }

func (s *memory) Load(key string, v any) (bool, error) {
	x, ok := s.values[key]
	if ok {
		assign(v, x)
	}
	return ok, nil
}

func (s *memory) Each(prefix string, f func(string, func(any) error) error) error {
	for _, k := range sortedKeys(s.values) {
		if strings.HasPrefix(k, prefix) {
			if err := f(k, func(v any) error { assign(v, s.values[k]); return nil }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *memory) Write(values map[string]any) error {
	for k, v := range values {
		if v == nil {
			delete(s.values, k)
		} else {
			s.values[k] = v
		}
	}
	return nil
}

func limitsForTest() threshold.Limits {
	return threshold.Limits{MinConnections: 1, MinSubflows: 2, MinGain: 1.1, Settle: 100 * time.Millisecond,
		HoldDown: 10 * time.Second, MaxOpsPerMinute: 600, ReleaseDelay: 5 * time.Second}
}

// start runs a manager over the network until the test ends it.
func (n *network) start(mode Mode, steer Steer, store Store, change func(*Config)) (*Manager, func()) {
	n.t.Helper()
	cfg := Config{
		Owner: "mpbox/lab/", Mode: mode, Thresholds: limitsForTest(),
		Attachments: []Attachment{
			{Name: "ce1", VPN: "red", PE: "pe1", Interface: "Gi1", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
			{Name: "ce2", VPN: "red", PE: "pe2", Interface: "Gi2", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}},
		},
		PEs: []PE{
			{Name: "pe1", Steer: steer, Poll: time.Second, Limit: 5 * time.Second, TEDLimit: 5 * time.Second},
			{Name: "pe2", Steer: steer, Poll: time.Second, Limit: 5 * time.Second, TEDLimit: 5 * time.Second},
		},
		Policies: []Policy{{Name: "default", Level: disjoint.NodeSRLG}},
	}
	if change != nil {
		change(&cfg)
	}
	conns := map[string]Conn{}
	for name, r := range n.pes {
		conns[name] = Conn{Driver: r, Topology: r}
		if n.conn != nil {
			conns[name] = n.conn(r)
		}
	}
	m, err := New(cfg, conns, n.edge, store, zaptest.NewLogger(n.t))
	if err != nil {
		n.t.Fatal(err)
	}
	bound, err := m.Bound()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, b := range bound {
		m.PutBack(b, b.Connection)
	}
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	return m, func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Errorf("Run: %v", err)
		}
	}
}

// conn is a connection with so many subflows between ce1 and ce2.
func conn(id uint64, subflows int) Connection {
	c := Connection{ID: id, Token: uint32(id), Version: 1, VPN: "red", Since: time.Now()}
	for i := range subflows {
		cl := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(id), byte(i + 1)}), 4000)
		sv := netip.MustParseAddrPort("10.2.0.1:80")
		c.Subflows = append(c.Subflows, Subflow{ID: id*100 + uint64(i), Established: true, Since: time.Now().Add(time.Duration(i)),
			Flows: [2]Flow{{Ingress: "ce1", Egress: "ce2", Src: cl, Dst: sv}, {Ingress: "ce2", Egress: "ce1", Src: sv, Dst: cl}}})
	}
	return c
}

// settle lets the manager's clock run.
func settle(d time.Duration) {
	time.Sleep(d) // the bubble's clock
	synctest.Wait()
}

func states(m *Manager) map[BindingState]int {
	out := map[BindingState]int{}
	for _, b := range m.View().Bindings {
		out[b.State]++
	}
	return out
}

func verbs(ops []string) string {
	n := map[string]int{}
	for _, o := range ops {
		n[strings.Fields(o)[0]]++
	}
	var out []string
	for _, v := range []string{"signal", "bind", "unbind", "release"} {
		if n[v] > 0 {
			out = append(out, fmt.Sprintf("%s %d", v, n[v]))
		}
	}
	return strings.Join(out, ", ")
}
