package controller

import (
	"fmt"
	"slices"
	"testing"

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
	c := &Controller{broker: api.NewBroker(64), manager: newManager(t)}
	p := testPlaces()
	c.reader = &flowReader{manager: c.manager, flows: &flows{places: p}}
	events := c.broker.Subscribe(t.Context(), 0)
	conn := &detector.Connection{ID: 7, VPN: "red", Scope: "red", Subflows: []detector.Subflow{{ID: 8, State: detector.Established}, {ID: 9, Join: true, State: detector.Established}}}
	c.publishFlow(detector.Event{Kind: detector.EventSubflowNew, Connection: 7, Subflow: 9}, conn)
	c.publishFlow(detector.Event{Kind: detector.EventSubflowClosed, Connection: 7, Subflow: 8}, nil)
	for _, want := range []string{"subflow added established", "connection changed established", "connection changed "} {
		e := <-events
		if got := fmt.Sprintf("%s %s %s", e.Type, e.Action, e.State); got != want || e.Type == "subflow" && e.Data.(api.Subflow).Kind != "join" {
			t.Errorf("got %s %v, want %s", got, e.Data, want)
		}
	}
}

func newManager(t *testing.T) *tunnelmanager.Manager {
	t.Helper()
	m, err := tunnelmanager.New(tunnelmanager.Config{Owner: "mpbox/lab/"}, nil, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
