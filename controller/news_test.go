package controller

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"mpbox/apps/detector"
	"mpbox/apps/tunnelmanager"
	"mpbox/apps/tunnelmanager/plan"
	"mpbox/apps/tunnelmanager/threshold"
	"mpbox/controller/api"
	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// What differs from one snapshot to the next is told, each thing once, and nothing
// else.
func TestEventsOfWhatDiffers(t *testing.T) {
	lsp := func(name, state string) tunnelmanager.LSPView {
		return tunnelmanager.LSPView{LSP: topology.LSP{Name: name, Ingress: "pe1"}, State: state}
	}
	demand := func(id, state, reason string, got disjoint.Level) tunnelmanager.Demand {
		return tunnelmanager.Demand{Demand: plan.Demand{ID: id, VPN: "red"}, State: state, Reason: reason, Achieved: got}
	}
	pe := func(name string, reachable bool) tunnelmanager.PEView {
		return tunnelmanager.PEView{PE: tunnelmanager.PE{Name: name}, Reachable: reachable}
	}
	three := 3
	before := &tunnelmanager.View{
		Mode: tunnelmanager.Suggest, LSPs: []tunnelmanager.LSPView{lsp("a", "up"), lsp("b", "up"), lsp("c", "up")},
		Demands: []tunnelmanager.Demand{demand("d1", "waiting", "1 s old", disjoint.None), demand("d2", "met", "", disjoint.Node)},
		PEs:     []tunnelmanager.PEView{pe("pe1", true), pe("pe2", true)},
	}
	now := &tunnelmanager.View{
		Mode: tunnelmanager.Auto, LSPs: []tunnelmanager.LSPView{lsp("b", "down"), lsp("c", "up"), lsp("d", "signalling")},
		Demands: []tunnelmanager.Demand{demand("d1", "waiting", "2 s old", disjoint.None), demand("d2", "met", "", disjoint.Link)},
		PEs:     []tunnelmanager.PEView{pe("pe1", true), pe("pe2", false)},
		TED:     &topology.TED{},
		Rules:   threshold.Rules{{Match: threshold.Match{VPN: "red"}, Patch: threshold.Patch{MinConnections: &three}}},
	}
	c := &Controller{broker: api.NewBroker(64)}
	events := c.broker.Subscribe(t.Context(), 0)
	got := func() (out []string) {
		for {
			select {
			case e := <-events:
				out = append(out, fmt.Sprintf("%s %s %s %s", e.Type, e.Action, e.Subject, e.State))
				if e.Action == "removed" && e.Data != nil {
					t.Errorf("%s was removed, and is shown: %v", e.Subject, e.Data)
				}
			default:
				return out
			}
		}
	}
	c.publishViews(now, now)
	if e := got(); len(e) > 0 {
		t.Errorf("nothing differs: %q", e)
	}
	c.publishViews(before, now)
	want := []string{
		"mode changed auto ", "threshold changed thresholds ", "topology changed topology ", "pe changed pe2 unreachable",
		"lsp removed a up", "lsp changed b down", "lsp added d signalling", "demand changed d2 met",
	}
	if e := got(); !slices.Equal(e, want) {
		t.Errorf("got %q", e)
	}
}

// Of a subflow that has news, its connection is told, and itself.
func TestEventsOfASubflow(t *testing.T) {
	c := newNews(t)
	events := c.broker.Subscribe(t.Context(), 0)
	conn := &detector.Connection{ID: 7, VPN: "red", Scope: "red", Subflows: []detector.Subflow{{ID: 8, State: detector.Established}, {ID: 9, Join: true, State: detector.Established}}}
	c.publishFlow(detector.Event{Kind: detector.EventSubflowNew, Connection: 7, Subflow: 9}, conn)
	for _, want := range []string{"subflow added established", "connection changed established"} {
		e := <-events
		if got := fmt.Sprintf("%s %s %s", e.Type, e.Action, e.State); got != want || e.Type == "subflow" && e.Data.(api.Subflow).Kind != "join" {
			t.Errorf("got %s %v, want %s", got, e.Data, want)
		}
	}
}

// A connection goes by its public id and VPN to the end: changed to closed as long as
// the list has it, removed when it has left; also where nobody listened before.
func TestEventsOfAConnectionsEnd(t *testing.T) {
	for _, early := range []bool{true, false} {
		c := newNews(t)
		var events <-chan api.Event
		told := func() (out []string) {
			c.flows.drain()
			for events != nil {
				select {
				case e := <-events:
					out = append(out, fmt.Sprintf("%s %s %s %s %s %t", e.Type, e.Action, e.Subject, e.VPN, e.State, e.Data != nil))
				default:
					return out
				}
			}
			return nil
		}
		if early {
			events = c.broker.Subscribe(t.Context(), 0)
		}
		at, server := time.Now().UnixNano(), netip.MustParseAddrPort("10.9.0.1:80")
		there := detector.Path{Ingress: c.places.placeOf("plain", detector.CE), Egress: detector.NoPlace}
		v := detector.Connection{Token: 0x4259e1b8, Scope: "red", Created: at, LastSeen: at}
		for _, port := range []uint16{4000, 4001} {
			v.Subflows = append(v.Subflows, detector.Subflow{Join: port != 4000, Client: netip.AddrPortFrom(netip.MustParseAddr("10.1.0.1"), port), Server: server,
				State: detector.Established, Established: at, ToServer: there, ToClient: detector.Path{Ingress: detector.NoPlace, Egress: detector.NoPlace}})
		}
		if c.tap.tracker.Restore(v) == 0 {
			t.Fatal("not restored")
		}
		v.Client, v.Server = v.Subflows[0].Client, server
		id := connectionID(&v)
		if got := told(); early && !slices.Contains(got, "connection added "+id+" red established true") {
			t.Errorf("added: %q", got)
		}
		for i := range v.Subflows {
			c.tap.tracker.FlowEnded(at, there.Ingress, v.Subflows[i].Client, server, 1, true)
		}
		if got := told(); early && (!slices.Contains(got, "subflow changed "+subflowID("red", &v.Subflows[1])+" red closed true") || got[len(got)-1] != "connection changed "+id+" red closed true") {
			t.Errorf("closed: %q", got)
		}
		if !early {
			events = c.broker.Subscribe(t.Context(), 0)
		}
		c.tap.tracker.Expire(at + int64(time.Minute))
		if got := told(); !slices.Equal(got, []string{"connection removed " + id + " red closed false"}) {
			t.Errorf("removed: %q", got)
		}
		if len(c.told) > 0 {
			t.Errorf("remembered for ever: %v", c.told)
		}
	}
}

// After events were lost subscribers read the lists, and what is gone is forgotten.
func TestLostEventsAreTold(t *testing.T) {
	c := newNews(t)
	events := c.broker.Subscribe(t.Context(), 0)
	c.told[7] = connectionName{"x", "red"}
	c.publishFlow(detector.Event{Kind: detector.EventsLost}, nil)
	if e := <-events; e.Type != "lost" || len(c.told) > 0 {
		t.Errorf("told %+v, remembered %v", e, c.told)
	}
}

// newNews gives what is between the detector and the subscribers.
func newNews(t *testing.T) *Controller {
	t.Helper()
	p := testPlaces()
	c := &Controller{broker: api.NewBroker(64), manager: newManager(t), places: p, told: map[detector.ConnID]connectionName{}}
	c.tap = &tap{tracker: detector.New(detector.Config{Places: p.list, Events: detector.EventsMultipath})}
	c.flows = &flows{places: p, tap: c.tap, manager: c.manager, publish: c.publishFlow, listed: map[detector.SubflowID]time.Time{}}
	c.reader = &flowReader{tap: c.tap, flows: c.flows, manager: c.manager}
	return c
}

func newManager(t *testing.T) *tunnelmanager.Manager {
	t.Helper()
	m, err := tunnelmanager.New(tunnelmanager.Config{Owner: "mpbox/lab/"}, nil, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
