package api

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// fake is a controller in a known state: 5 connections of 2 subflows, one plan.
type fake struct {
	*Broker

	mu         sync.Mutex
	thresholds Thresholds
	mode       Mode
	planState  string
	changes    []Change
	notReady   error
}

var five = 5

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newFake() *fake {
	return &fake{
		Broker: NewBroker(16),
		thresholds: Thresholds{MinConnections: 1, MinSubflows: 2, MinGain: 1.1, MinAge: Duration(time.Second),
			Settle: Duration(500 * time.Millisecond), HoldDown: Duration(10 * time.Second), MaxOpsPerMinute: 600, ReleaseDelay: Duration(30 * time.Second),
			Rules: []ThresholdRule{{RuleMatch{VPN: "red", Ingress: "pe1"}, Limits{MinConnections: &five}}}},
		mode:      Mode{"suggest"},
		planState: "proposed",
	}
}

func (f *fake) backend() Backend { return Backend{f, f, f, f, f} }

func (f *fake) connections() []Connection {
	yes := true
	var out []Connection
	for i := range 5 {
		c := Connection{
			ID: fmt.Sprintf("c%d", i), Token: fmt.Sprintf("7f3a9c0%d", i), Version: 1, VPN: []string{"red", "blue"}[i%2],
			Client: "10.1.0.1:40001", Server: "10.2.0.1:443", Since: t0.Add(time.Duration(i) * time.Minute), State: "established", Policy: "default", Demand: "d1",
		}
		if i == 4 {
			c.State = "closed"
		}
		for j, kind := range []string{"initial", "join"} {
			s := Subflow{
				ID: fmt.Sprintf("%s.%d", c.ID, j), Connection: c.ID, Token: c.Token, VPN: c.VPN, Kind: kind, Client: c.Client, Server: c.Server,
				State: c.State, AddressID: j, Since: c.Since, Listed: c.Since.Add(time.Millisecond),
				Flows: Flows{
					C2S: Flow{Ingress: Place{"edge1-a", "pe1"}, Egress: Place{"edge2-a", "pe2"}, LSP: "mpbox/lab/pe1-pe2/1", Binding: "b1", BindingState: "verified", Route: []string{"pe1-p1", "p1-pe2"}},
					S2C: Flow{Ingress: Place{"edge2-a", "pe2"}, Egress: Place{"edge1-a", "pe1"}, BindingState: "none"},
				},
			}
			if j == 0 {
				s.Verified = &yes
			}
			c.Subflows = append(c.Subflows, s)
		}
		out = append(out, c)
	}
	return out
}

func (f *fake) Connections(_ context.Context, q Query) (Page[Connection], error) {
	return Paginate(f.connections(), q, func(c Connection) string { return c.ID }, func(c Connection) bool {
		return (q.VPN == "" || c.VPN == q.VPN) && (q.State == "" || c.State == q.State) && (q.PE == "" || q.PE == "pe1" || q.PE == "pe2") && !c.Since.Before(q.Since)
	}), nil
}

func (f *fake) Connection(_ context.Context, id string) (Connection, error) {
	for _, c := range f.connections() {
		if c.ID == id {
			return c, nil
		}
	}
	return Connection{}, fmt.Errorf("connection %s: %w", id, ErrNotFound)
}

func (f *fake) Subflows(_ context.Context, q Query) (Page[Subflow], error) {
	var all []Subflow
	for _, c := range f.connections() {
		all = append(all, c.Subflows...)
	}
	return Paginate(all, q, func(s Subflow) string { return s.ID }, nil), nil
}

func (f *fake) binding() Binding {
	dscp := 3
	return Binding{ID: "b1", VPN: "red", Connection: "c0", Subflow: "c0.0", Direction: "c2s", PE: "pe1", Egress: "pe2",
		FEC: "GigabitEthernet0/0/0/1 src=10.1.0.1/32", LSP: "mpbox/lab/pe1-pe2/1", Steer: "class", DSCP: &dscp, State: "verified", Since: t0, Verified: t0, Route: []string{"pe1-p1"}}
}

func (f *fake) Bindings(_ context.Context, q Query) (Page[Binding], error) {
	return Paginate([]Binding{f.binding()}, q, func(b Binding) string { return b.ID }, func(b Binding) bool { return q.State == "" || b.State == q.State }), nil
}

func (f *fake) Explain(ctx context.Context, id string) (Explanation, error) {
	c, err := f.Connection(ctx, id)
	if err != nil {
		return Explanation{}, err
	}
	d := f.demand()
	return Explanation{Connection: c, Verdict: "bound: 2 of 2 subflows", Facts: []Fact{{Question: "subflows", Value: "2", Wanted: "at least 2 (min_subflows)", OK: true}},
		Demand: &d, Bindings: []Binding{f.binding()}}, nil
}

func (f *fake) Datapaths(context.Context) ([]Datapath, error) {
	return []Datapath{
		{DPID: "0000000000000001", Name: "edge1", Connected: true, Ready: true, Since: t0, Tap: Tap{ThirdACK: "off"},
			Attachments: []Attachment{{Name: "edge1-a", CEPort: 1, PEPort: 2, VPN: "red", PE: "pe1", PEInterface: "Gi1", Up: true}}},
		{DPID: "0000000000000002", Name: "edge2", Since: t0, Tap: Tap{ThirdACK: "off"}, Error: &Problem{Step: "connect", Detail: "no session", Remedy: "set its controller", At: t0},
			Attachments: []Attachment{{Name: "edge2-a", CEPort: 1, PEPort: 2, VPN: "blue", PE: "pe2"}}},
	}, nil
}

func (f *fake) Mirrors(context.Context) ([]Mirror, error) {
	return []Mirror{
		{Name: "span1", Interface: "ens5", ThirdACK: true, State: "listening", Since: t0, Frames: 9, Handshakes: 4,
			Attachments: []MirrorAttachment{{Name: "edge1-a", Direction: "prefixes", VPN: "red", PE: "pe1"}}},
		{Name: "span2", Interface: "ens6", ERSPAN: true, State: "lost", Since: t0, Error: &Problem{Step: "listen", Detail: "no such interface", At: t0},
			Attachments: []MirrorAttachment{{Name: "edge2-a", Direction: "header", Session: 7, VLAN: []uint16{5}, VPN: "blue", PE: "pe2"}}},
	}, nil
}

func (f *fake) PEs(context.Context) ([]PE, error) {
	return []PE{
		{Name: "pe1", RouterID: "10.255.0.1", Driver: "snmp", Steer: "ftn", Reachable: true, LastRead: t0, LSPs: 2, SetsSent: 7},
		{Name: "pe2", RouterID: "10.255.0.2", Driver: "iosxr", Steer: "class", Error: &Problem{Step: "connect", Detail: "timeout", Remedy: "check the address"}},
	}, nil
}

func (f *fake) LSPs(_ context.Context, q Query) (Page[LSP], error) {
	return Paginate([]LSP{
		{Name: "core-1", Ingress: "pe1", Egress: "pe2", State: "down", Reason: "no path", Priorities: []int{7, 7}},
		{Name: "mpbox/lab/pe1-pe2/1", Ingress: "pe1", Egress: "pe2", Owned: true, AdminUp: true, State: "up", ERO: []string{"10.0.0.2"}, Route: []string{"pe1-p1", "p1-pe2"}, Nodes: []string{"pe1", "p1", "pe2"}, Priorities: []int{7, 7}, Bindings: 1},
	}, q, func(l LSP) string { return l.Name }, func(l LSP) bool { return q.State == "" || l.State == q.State }), nil
}

func (f *fake) Topology(context.Context) (Topology, error) {
	return Topology{Version: 3, At: t0, Source: "pes", Sources: []Source{{Name: "pe1", At: t0}},
		Nodes: []Node{{Name: "pe1", RouterID: "10.255.0.1", PE: true}, {Name: "p1"}, {Name: "pe2", PE: true}},
		Links: []Link{
			{Name: "pe1-p1", From: "pe1", To: "p1", TEMetric: 10, MaxBandwidth: 20e6, SRLGs: []uint32{7}, Delay: Duration(time.Millisecond)},
			{Name: "pe1-p1", From: "p1", To: "pe1", TEMetric: 10},
			{Name: "p1-pe2", From: "p1", To: "pe2", TEMetric: 10, Down: true},
		}}, nil
}

func (f *fake) demand() Demand {
	return Demand{ID: "d1", VPN: "red", Policy: "default", Connections: 3, Since: t0, State: "met", Requested: "node", Achieved: "node",
		Forward: []Slot{{Ingress: "pe1", Egress: "pe2", LSP: "mpbox/lab/pe1-pe2/1"}, {Ingress: "pe1", Egress: "pe2"}}}
}

func (f *fake) Demands(_ context.Context, q Query) (Page[Demand], error) {
	return Paginate([]Demand{f.demand()}, q, func(d Demand) string { return d.ID }, nil), nil
}

func (f *fake) plan() Plan {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Plan{ID: "p1", At: t0, Scope: "incremental", Trigger: "demand d1", State: f.planState,
		Demands: []PlanDemand{{ID: "d1", Requested: "node", Before: "none", After: "node", Gain: 2}},
		Ops:     []PlanOp{{N: 1, PE: "pe1", Op: "signal", LSP: "mpbox/lab/pe1-pe2/1", State: "waiting"}, {N: 2, PE: "pe1", Op: "bind", After: []int{1}, State: "waiting"}}}
}

func (f *fake) Plans(_ context.Context, q Query) (Page[Plan], error) {
	return Paginate([]Plan{f.plan()}, q, func(p Plan) string { return p.ID }, func(p Plan) bool { return q.State == "" || p.State == q.State }), nil
}

func (f *fake) Plan(_ context.Context, id string) (Plan, error) {
	if id != "p1" {
		return Plan{}, fmt.Errorf("plan %s: %w", id, ErrNotFound)
	}
	return f.plan(), nil
}

func (f *fake) Approve(ctx context.Context, actor, id string) (Plan, error) {
	p, err := f.Plan(ctx, id)
	if err != nil {
		return Plan{}, err
	}
	if p.State != "proposed" {
		return Plan{}, fmt.Errorf("plan %s is %s: %w", id, p.State, ErrConflict)
	}
	f.mu.Lock()
	f.planState = "running"
	f.mu.Unlock()
	f.audit(actor, "approve", id)
	p = f.plan()
	p.Actor = actor
	return p, nil
}

func (f *fake) Propose(_ context.Context, _, scope string) (Plan, error) {
	if scope == "redesign" {
		return Plan{}, fmt.Errorf("redesign: %w", ErrUnsupported)
	}
	return f.plan(), nil
}

func (f *fake) audit(actor, action, subject string) {
	f.mu.Lock()
	c := Change{ID: uint64(len(f.changes)) + 1, At: t0, Actor: actor, Action: action, Subject: subject, Result: "ok"}
	f.changes = append(f.changes, c)
	f.mu.Unlock()
	f.Publish(Event{Type: "change", Action: "added", Subject: subject, Data: c})
}

func (f *fake) Thresholds(context.Context) (Thresholds, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.thresholds, nil
}

func (f *fake) SetThresholds(_ context.Context, actor string, t Thresholds) (Thresholds, error) {
	if t.MinBytes == 13 {
		return Thresholds{}, &InvalidError{Field: "min_bytes", Detail: "13 is bad luck"}
	}
	for i, r := range t.Rules {
		if r.VPN == "rde" || r.Limits == (Limits{}) {
			return Thresholds{}, &InvalidError{Field: fmt.Sprintf("rules[%d]", i) + map[bool]string{true: ".vpn"}[r.VPN == "rde"], Detail: "as the tunnel manager says"}
		}
	}
	f.mu.Lock()
	f.thresholds = t
	f.mu.Unlock()
	f.audit(actor, "threshold", "thresholds")
	return t, nil
}

func (f *fake) Mode(context.Context) (Mode, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mode, nil
}

func (f *fake) SetMode(_ context.Context, actor string, m Mode) (Mode, error) {
	f.mu.Lock()
	f.mode = m
	f.mu.Unlock()
	f.audit(actor, "mode", m.Mode)
	return m, nil
}

func (f *fake) Changes(_ context.Context, q Query) (Page[Change], error) {
	f.mu.Lock()
	all := slices.Clone(f.changes)
	f.mu.Unlock()
	slices.Reverse(all)
	return Paginate(all, q, func(c Change) string { return NewestFirst(c.ID) }, nil), nil
}

func (f *fake) Status(context.Context) (Status, error) {
	return Status{Instance: "lab", Version: "test", Mode: "suggest", Started: t0, Connections: 5, Topology: TopologyStatus{Source: "bgp-ls", At: t0, Nodes: 3, Links: 3, BGPLS: &BGPLS{
		State: "lost", Since: t0, Peers: []BGPLSPeer{{Address: "192.0.2.1", ASN: 65000, State: "down", Since: t0, Heard: t0, Reason: "hold timer expired"}, {Address: "192.0.2.2", ASN: 65001, State: "down"}},
		Nodes: 3, Links: 3, Updates: 2, Updated: t0, Unmatched: []string{"pe9 (10.255.0.9)"}, Error: &Problem{Step: "hold BGP sessions", Detail: "no session stands", Remedy: "check it", At: t0}}}}, nil
}

func (f *fake) Ready(context.Context) error { return f.notReady }
