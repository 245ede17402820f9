package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"mpbox/apps/tunnelmanager"
	"mpbox/controller/api"
	"mpbox/controller/config"
	"mpbox/pe-drivers/driver"
	"mpbox/topology"
	"mpbox/topology/bgpls"
	"mpbox/topology/bgpls/bgplstest"
	"mpbox/topology/disjoint"
)

func TestMain(m *testing.M) { bgplstest.Main(m) }

// headEnd is a PE that does what it is asked, and notices no failure by itself.
type headEnd struct {
	mu   sync.Mutex
	lsps []topology.LSP
	ftns []topology.FTN
	sets int
}

func (h *headEnd) Capabilities() driver.Capabilities {
	return driver.Capabilities{Kind: "fake", Write: true, FTN: true, ExplicitRoute: true, RecordRoute: true}
}

func (h *headEnd) Close() error { return nil }

func (h *headEnd) State(context.Context) (driver.State, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return driver.State{At: time.Now(), LSPs: slices.Clone(h.lsps), FTNs: slices.Clone(h.ftns)}, nil
}

func (h *headEnd) Apply(_ context.Context, ops ...driver.Op) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, op := range ops {
		h.sets++
		switch o := op.(type) {
		case driver.Signal:
			l := o.LSP
			l.Oper, l.RRO, l.TunnelID = topology.OperUp, l.ERO, uint32(50000+h.sets)
			h.lsps = append(h.lsps, l)
		case driver.Bind:
			h.ftns = append(slices.DeleteFunc(h.ftns, func(f topology.FTN) bool { return f.Name == o.FTN.Name }), o.FTN)
		case driver.Unbind:
			h.ftns = slices.DeleteFunc(h.ftns, func(f topology.FTN) bool { return f.Name == o.Name })
		case driver.Release:
			h.lsps = slices.DeleteFunc(h.lsps, func(l topology.LSP) bool { return l.Name == o.Name })
		}
	}
	return nil
}

func (h *headEnd) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sets
}

// farApart finds two nodes of a network that have disjoint paths, in both directions,
// of more than one link each.
func farApart(t *testing.T, ted *topology.TED) (a, b int) {
	t.Helper()
	for a = range ted.Nodes() {
		for b = len(ted.Nodes()) - 1; b > a; b-- {
			ok := true
			for _, q := range [][2]int{{a, b}, {b, a}} {
				from, to := ted.Nodes()[q[0]].Name, ted.Nodes()[q[1]].Name
				res, err := disjoint.Find(ted, disjoint.Query{From: []string{from}, To: []string{to}, K: 3, Level: disjoint.Node, Strict: true})
				ok = ok && err == nil && !slices.ContainsFunc(res.Paths, func(p disjoint.Path) bool {
					links, err := ted.Route(from, ted.ERO(p.Links))
					return err != nil || len(links) < 2 || !slices.Equal(links, p.Links)
				})
			}
			if ok {
				return a, b
			}
		}
	}
	t.Fatal("no two nodes of the network have disjoint paths")
	return 0, 0
}

// rebuilt is a network under the configured names, without a link.
func rebuilt(t *testing.T, ted *topology.TED, names map[netip.Addr]string, but int) *topology.TED {
	t.Helper()
	b := &topology.Builder{}
	for _, n := range ted.Nodes() {
		if called := names[n.RouterID]; called != "" {
			n.Name = called
		}
		b.AddNode(n)
	}
	for i, l := range ted.Links() {
		if but < 0 || i != but && i != ted.Links()[but].Reverse {
			l.Name = "" // made of the names of nodes
			b.AddLink(l)
		}
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// bgplsLab is a controller whose topology comes from a speaker, and its two PEs.
type bgplsLab struct {
	*testing.T
	c      *Controller
	ends   map[string]*headEnd
	source *topology.TED
	names  map[netip.Addr]string
	port   uint16
}

// start runs a whole controller: pe1 and pe2 are nodes of the network, pe9 is none.
func startBGPLS(t *testing.T) *bgplsLab {
	t.Helper()
	lab := &bgplsLab{T: t, source: bgplstest.Network(100), port: bgplstest.FreePort(t), ends: map[string]*headEnd{"pe9": {}}}
	a, b := farApart(t, lab.source)
	id := func(i int) netip.Addr { return lab.source.Nodes()[i].RouterID }
	lab.names = map[netip.Addr]string{id(a): "pe1", id(b): "pe2"}
	for _, q := range [][2]string{{"pe1", "pe2"}, {"pe2", "pe1"}} {
		ted := rebuilt(t, lab.source, lab.names, -1)
		res, err := disjoint.Find(ted, disjoint.Query{From: q[:1], To: q[1:], K: 1})
		if err != nil {
			t.Fatal(err)
		}
		lab.ends[q[0]] = &headEnd{lsps: []topology.LSP{{Name: "default", Ingress: q[0], Egress: q[1], Oper: topology.OperUp, AdminUp: true, TunnelID: 1, RRO: ted.ERO(res.Paths[0].Links)}}}
	}
	dir := t.TempDir()
	const session = `driver: snmp, poll: 100ms, snmp: {address: "127.0.0.1:1", user: u, auth_password: authauth, priv_password: privpriv}`
	cfg, err := config.Parse(filepath.Join(dir, "mpbox.yaml"), fmt.Appendf(nil, `
mode: auto
openflow: {listen: ["unix:%[1]s/of.sock"]}
api: {listen: ["unix:%[1]s/api.sock"]}
store: {path: %[1]s/mpbox.db}
bgp_ls: {asn: 65002, router_id: 10.0.0.8, listen: "127.0.0.1:%[2]d", fall_back: 4s, peers: [{address: 127.0.0.1, asn: 65001, passive: true}]}
pes:
  - {name: pe1, router_id: %[3]s, %[5]s}
  - {name: pe2, router_id: %[4]s, %[5]s}
  - {name: pe9, router_id: 10.99.0.9, %[5]s}
mirrors:
  - {name: m, interface: mpboxnone, attachments: [{name: ce1, vpn: default, pe: pe1, pe_interface: Gi1, direction: from_ce, vlan: [1]}, {name: ce2, vpn: default, pe: pe2, pe_interface: Gi1, direction: from_ce, vlan: [2]}]}
policies: [{name: default, disjoint: node}]
thresholds: {min_age: 0s, settle: 0s, release_delay: 1h, max_ops_per_minute: 10000}
`, dir, lab.port, id(a), id(b), session))
	if err != nil {
		t.Fatal(err)
	}
	log := zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	lab.c, err = build(cfg, "test", log, func(_ *config.Config, pe *config.PE, _ driver.Names, _ *zap.Logger) (tunnelmanager.Conn, error) {
		return tunnelmanager.Conn{Driver: lab.ends[pe.Name]}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- lab.c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Run does not end")
		}
	})
	return lab
}

func (lab *bgplsLab) status() api.Status {
	lab.Helper()
	s, err := lab.c.system.Status(lab.Context())
	if err != nil {
		lab.Fatal(err)
	}
	return s
}

func (lab *bgplsLab) view() *tunnelmanager.View { return lab.c.manager.View() }

// await polls until ok, and tells how long it took.
func (lab *bgplsLab) await(limit time.Duration, what string, ok func() bool) time.Duration {
	lab.Helper()
	start := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(start) > limit {
			lab.Fatalf("%s: not after %s: %+v", what, limit, lab.status().Topology)
		}
		<-tick.C
	}
	return time.Since(start)
}

func (lab *bgplsLab) sets() int { return lab.ends["pe1"].count() + lab.ends["pe2"].count() }

func (lab *bgplsLab) verified() bool {
	v := lab.view()
	return len(v.Bindings) == 4 && !slices.ContainsFunc(v.Bindings, func(b *tunnelmanager.Binding) bool { return b.State != tunnelmanager.BindingVerified })
}

// used is a link of the source that an LSP of ours, with flows on it, is on.
func (lab *bgplsLab) used() int {
	lab.Helper()
	v := lab.view()
	for i := range v.LSPs {
		if l := &v.LSPs[i]; l.Owned && l.Bindings > 0 && len(l.Links) > 1 {
			want := v.TED.Links()[l.Links[1]]
			nodes, of := lab.source.Nodes(), v.TED.Nodes()
			for j, s := range lab.source.Links() {
				if nodes[s.From].RouterID == of[want.From].RouterID && nodes[s.To].RouterID == of[want.To].RouterID && s.LocalAddr == want.LocalAddr && s.LocalID == want.LocalID {
					return j
				}
			}
		}
	}
	lab.Fatalf("no LSP of ours: %+v", v.LSPs)
	return 0
}

// rides tells whether a flow's LSP passes a link of the source.
func (lab *bgplsLab) rides(link int) bool {
	s := lab.source.Links()[link]
	v := lab.view()
	for _, d := range v.Demands {
		for _, name := range slices.Concat(d.Assignment.Forward, d.Assignment.Reverse) {
			for i := range v.LSPs {
				if v.LSPs[i].Name != name {
					continue
				}
				for _, h := range append(v.LSPs[i].ERO, v.LSPs[i].RRO...) {
					if h.Addr.IsValid() && (h.Addr == s.LocalAddr || h.Addr == s.RemoteAddr) {
						return true
					}
				}
			}
		}
	}
	return false
}

// A network told by BGP-LS is planned on; a link that it withdraws is avoided within a
// second; what is lost with the session, or by an IGP that dies, tears nothing.
func TestBGPLSReachesThePlanner(t *testing.T) {
	lab := startBGPLS(t)
	if s := lab.status().Topology; s.Source != "none" || s.BGPLS.State != bgplsWaiting || s.BGPLS.Error == nil || s.BGPLS.Peers == nil && s.Links != 0 {
		t.Errorf("before a session: %+v", s)
	}
	var mu sync.Mutex
	var told []string
	events := lab.c.broker.Subscribe(t.Context(), 0)
	go func() {
		for e := range events {
			if e.Type == "topology" && e.Subject != "topology" {
				mu.Lock()
				told = append(told, e.Subject+" "+e.State)
				mu.Unlock()
			}
		}
	}()
	speaker := bgplstest.Start(t, lab.port, true)
	whole := rebuilt(t, lab.source, lab.names, -1)
	sameAs := func(want *topology.TED) func() bool {
		return func() bool {
			v := lab.view()
			return v.TEDFrom == tunnelmanager.TEDTold && topology.Equal(want, v.TED)
		}
	}
	lab.await(20*time.Second, "the whole network", sameAs(whole))
	lab.await(10*time.Second, "the status", func() bool { return lab.status().Topology.BGPLS.State == bgplsInUse })
	s := lab.status().Topology
	if s.Source != "bgp-ls" || s.Nodes != 100 || s.BGPLS.State != bgplsInUse || s.BGPLS.Peers[0].State != peerUp || len(s.BGPLS.Unmatched) != 1 ||
		s.BGPLS.Unmatched[0] != "pe9 (10.99.0.9)" || s.BGPLS.Error == nil || !strings.Contains(s.BGPLS.Error.Remedy, "router_id") || s.BGPLS.Updates != 1 {
		t.Errorf("status %+v, %+v", s, s.BGPLS)
	}

	lab.c.manager.Put(twoSubflows())
	lab.await(10*time.Second, "the flows on LSPs", lab.verified)

	// The links under the LSPs go, one after the other, and come back.
	for range 3 {
		link := lab.used()
		back := lab.source.Links()[link].Reverse
		plans := len(lab.view().Plans)
		began := time.Now()
		speaker.Say("withdraw", link, back)
		lab.await(slack*time.Second, "the link gone", sameAs(rebuilt(t, lab.source, lab.names, link)))
		seen := time.Since(began)
		lab.await(slack*time.Second-seen, "a plan without the link", func() bool { return len(lab.view().Plans) > plans && !lab.rides(link) })
		t.Logf("a withdrawn link was in the manager's TED after %v, and avoided by a plan after %v", seen.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		lab.await(10*time.Second, "the flows on other LSPs", func() bool { return lab.verified() && !lab.rides(link) })
		speaker.Say("add", link, back)
		lab.await(slack*time.Second, "the link back", sameAs(whole))
	}

	// The IGP behind the peer dies: all links are withdrawn.
	lab.await(10*time.Second, "the flows at rest", lab.verified)
	sets, plans, updates := lab.sets(), len(lab.view().Plans), lab.status().Topology.BGPLS.Updates
	all := make([]int, len(lab.source.Links()))
	for i := range all {
		all[i] = i
	}
	speaker.Say("withdraw", all...)
	lab.await(10*time.Second, "the empty network refused", func() bool { return lab.status().Topology.BGPLS.State == bgplsRefused })
	lab.await(10*time.Second, "the flows on their LSPs", lab.verified)
	if v := lab.view(); 2*len(v.TED.Links()) < len(all) {
		t.Errorf("%d links left of %d", len(v.TED.Links()), len(all))
	}
	if lab.status().Topology.BGPLS.Updates == updates { // else a part of it came first, as a failure would
		lab.untouched(sets, plans, "an empty network")
	}
	speaker.Say("add", all...)
	lab.await(20*time.Second, "the network back", func() bool { return sameAs(whole)() && lab.status().Topology.BGPLS.State == bgplsInUse })

	// The session is lost, for longer than fall_back: no PE tells a topology, so it stays.
	lab.await(10*time.Second, "the flows at rest", lab.verified)
	sets, plans = lab.sets(), len(lab.view().Plans)
	speaker.Stop()
	lab.await(10*time.Second, "the session lost", func() bool { return lab.status().Topology.BGPLS.State == bgplsLost })
	if b := lab.status().Topology.BGPLS; b.Peers[0].State != peerDown || b.Peers[0].Reason == "" || b.Error == nil {
		t.Errorf("lost: %+v", b)
	}
	if m := metricsOf(lab.c); !strings.Contains(m, `mpbox_bgpls_session_up{peer="127.0.0.1"} 0`) || !strings.Contains(m, `mpbox_topology_source{source="bgp-ls"} 1`) ||
		!strings.Contains(m, "mpbox_bgpls_unmatched_pes 1") {
		t.Error(m)
	}
	lab.await(10*time.Second, "fallen back", func() bool { return lab.status().Topology.BGPLS.State == bgplsFallenBack })
	lab.untouched(sets, plans, "a lost session")
	if !sameAs(whole)() {
		t.Error("the last topology did not stay")
	}

	// It is back, and another.
	link := lab.used()
	bgplstest.Start(t, lab.port, true, link, lab.source.Links()[link].Reverse)
	lab.await(30*time.Second, "told again", sameAs(rebuilt(t, lab.source, lab.names, link)))
	lab.await(slack*time.Second, "a plan without the link", func() bool { return !lab.rides(link) })

	last := "bgp-ls in_use"
	lab.await(10*time.Second, "the events", func() bool { mu.Lock(); defer mu.Unlock(); return told[len(told)-1] == last })
	mu.Lock()
	defer mu.Unlock()
	if got, want := strings.Join(slices.Compact(told), ", "), "bgp-ls 127.0.0.1 syncing, bgp-ls 127.0.0.1 up, bgp-ls in_use"; !strings.HasPrefix(got, want) ||
		!strings.Contains(got, "bgp-ls refused, bgp-ls") || !strings.Contains(got, "127.0.0.1 down, bgp-ls lost, bgp-ls fallen_back, bgp-ls 127.0.0.1 syncing") {
		t.Errorf("events: %s", got)
	}
}

// untouched: nothing was planned and nothing sent, and flows are where they were.
func (lab *bgplsLab) untouched(sets, plans int, what string) {
	lab.Helper()
	if n := lab.sets(); n != sets {
		lab.Errorf("%s led to %d operations", what, n-sets)
	}
	if n := len(lab.view().Plans); n != plans {
		lab.Errorf("%s led to %d plans", what, n-plans)
	}
	if !lab.verified() {
		lab.Errorf("%s: bindings %+v", what, lab.view().Bindings)
	}
}

func twoSubflows() tunnelmanager.Connection {
	c := tunnelmanager.Connection{ID: 1, Token: 1, Version: 1, VPN: config.DefaultVPN, Since: time.Now().Add(-time.Minute)}
	for i := range uint16(2) {
		cl, sv := netip.AddrPortFrom(netip.MustParseAddr("192.168.1.1"), 4000+i), netip.MustParseAddrPort("192.168.2.1:80")
		c.Subflows = append(c.Subflows, tunnelmanager.Subflow{ID: uint64(i + 1), Established: true, Since: c.Since, Flows: [2]tunnelmanager.Flow{
			{Ingress: "ce1", Egress: "ce2", Src: cl, Dst: sv}, {Ingress: "ce2", Egress: "ce1", Src: sv, Dst: cl}}})
	}
	return c
}

func metricsOf(c *Controller) string {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Host = "localhost"
	c.api.Handler().ServeHTTP(w, r)
	return w.Body.String()
}

// What the tunnel manager is given, second by second.
func TestPickTopology(t *testing.T) {
	net := func(links int) *topology.TED {
		b := &topology.Builder{}
		for i := range links + 1 {
			b.AddNode(topology.Node{Name: fmt.Sprint(i)})
			if i > 0 {
				b.AddOneWay(topology.Link{From: i - 1, To: i})
			}
		}
		ted, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		return ted
	}
	ten, nine, six, four, three, none := net(10), net(9), net(6), net(4), net(3), net(0)
	const down, syncing, up = 0, 1, 2
	type step struct {
		at    int // seconds
		ted   *topology.TED
		peers []int
		want  string // state, and links of what is given: "-" nothing, "pes"
		again int    // seconds; 0: never
	}
	for name, steps := range map[string][]step{
		"one peer": {
			{0, nil, []int{down}, "waiting -", 0}, {1, four, []int{syncing}, "waiting -", 0}, {2, ten, []int{up}, "in_use 10", 0},
			{3, ten, []int{up}, "in_use -", 0}, {4, nine, []int{up}, "in_use 9", 0},
		},
		"the second is waited for": {
			{0, four, []int{up, down}, "waiting -", 15}, {5, four, []int{up, syncing}, "waiting -", 15}, {6, ten, []int{up, up}, "in_use 10", 0},
			{7, ten, []int{down, up}, "in_use -", 0}, {8, nine, []int{down, up}, "in_use 9", 0},
		},
		"but not for ever":         {{0, ten, []int{up, down}, "waiting -", 15}, {15, ten, []int{up, down}, "in_use 10", 0}},
		"empty from the beginning": {{0, nil, []int{up}, "refused -", 0}, {1, none, []int{up}, "refused -", 0}, {2, ten, []int{up}, "in_use 10", 0}},
		"lost, and back in time": {
			{0, ten, []int{up}, "in_use 10", 0}, {1, ten, []int{down}, "lost -", 61}, {30, ten, []int{syncing}, "lost -", 61},
			{31, nine, []int{up}, "in_use 9", 0}, {40, nine, []int{down}, "lost -", 100},
		},
		"lost for long": {
			{0, ten, []int{up}, "in_use 10", 0}, {1, ten, []int{down}, "lost -", 61}, {61, ten, []int{down}, "fallen_back pes", 0},
			{70, ten, []int{down}, "fallen_back -", 0}, {80, ten, []int{syncing}, "fallen_back -", 0}, {81, ten, []int{up}, "in_use 10", 0},
		},
		"shrinks to nothing": {
			{0, ten, []int{up}, "in_use 10", 0}, {1, four, []int{up}, "held -", 4}, {3, three, []int{up}, "held -", 6}, {4, none, []int{up}, "refused -", 0},
			{99, none, []int{up}, "refused -", 0}, {100, nine, []int{up}, "in_use 9", 0},
		},
		"shrinks in steps": {
			{0, ten, []int{up}, "in_use 10", 0}, {10, nine, []int{up}, "in_use 9", 0}, {11, six, []int{up}, "in_use 6", 0}, {12, four, []int{up}, "held -", 15},
			{13, none, []int{up}, "refused -", 0}, {14, six, []int{up}, "in_use -", 0}, {20, four, []int{up}, "in_use 4", 0},
		},
		"more than half is really gone": {
			{0, ten, []int{up}, "in_use 10", 0}, {1, four, []int{up}, "held -", 4}, {4, four, []int{up}, "in_use 4", 0}, {5, three, []int{up}, "in_use 3", 0},
		},
	} {
		p := picker{fallBack: time.Minute}
		t0 := time.Unix(1_000_000, 0)
		for i, s := range steps {
			var peers []bgpls.PeerStatus
			for _, x := range s.peers {
				peers = append(peers, bgpls.PeerStatus{Stands: x >= syncing, Told: x == up})
			}
			got := p.next(t0.Add(time.Duration(s.at)*time.Second), s.ted, peers)
			text := got.state + " -"
			if got.give {
				text = got.state + " pes"
				if got.ted != nil {
					text = fmt.Sprintf("%s %d", got.state, len(got.ted.Links()))
				}
			}
			again := 0
			if !got.again.IsZero() {
				again = int(got.again.Sub(t0).Seconds())
			}
			if text != s.want || again != s.again {
				t.Errorf("%s: step %d: %s, again at %d; want %s, %d", name, i, text, again, s.want, s.again)
			}
			if (got.problem == nil) != (got.state == bgplsInUse || got.state == bgplsWaiting && slices.Contains(s.peers, up)) {
				t.Errorf("%s: step %d: %s with problem %v", name, i, got.state, got.problem)
			}
		}
	}
}

// A topology that the tunnel manager refuses is shown as refused until there is another.
func TestRefusedTopologyIsShown(t *testing.T) {
	ted := bgplstest.Network(5)
	m := &refuser{err: fmt.Errorf("two of one name")}
	var states []string
	b := &linkState{cfg: &config.BGPLS{Peers: []config.BGPLSPeer{{ASN: 1}}}, manager: m, log: zap.NewNop(), publish: func(e api.Event) { states = append(states, e.State) }}
	look := func(ted *topology.TED) {
		s := bgpls.Status{Peers: []bgpls.PeerStatus{{Address: netip.MustParseAddr("192.0.2.1"), Stands: true, Told: true}}}
		b.take(t.Context(), time.Now(), ted, &s, b.picker.next(time.Now(), ted, s.Peers))
	}
	look(ted)
	look(ted)
	if v := b.status(); v.State != bgplsRefused || v.Error == nil || v.Error.Detail != "two of one name" || v.Updates != 0 {
		t.Errorf("%+v", v)
	}
	m.err = nil
	look(bgplstest.Network(6))
	if v := b.status(); v.State != bgplsInUse || v.Error != nil || v.Updates != 1 || m.n != 2 {
		t.Errorf("%+v", v)
	}
	if got := strings.Join(states, " "); got != "up refused in_use" {
		t.Errorf("events: %s", got)
	}
	if _, err := json.Marshal(b.status()); err != nil {
		t.Error(err)
	}
}

type refuser struct {
	err error
	n   int
}

func (r *refuser) SetTopology(context.Context, *topology.TED) error { r.n++; return r.err }
