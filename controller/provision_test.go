package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"

	"mpbox/controller/api"
	"mpbox/controller/config"
	"mpbox/southbound/datapath"
	"mpbox/southbound/ovs"
	"mpbox/southbound/ovs/ovstest"
)

// oneBridge is a configuration with one bridge, edge2, and the network of it.
func oneBridge(t *testing.T, db config.Endpoint, log *zap.Logger) (*provisioner, func() api.Datapath) {
	t.Helper()
	cfg := &config.Config{OVSDB: db, OpenFlow: config.OpenFlow{Listen: []config.Endpoint{"127.0.0.1:6653"}}, Bridges: []config.Bridge{
		{Name: "edge2", DPID: 2, Attachments: []config.Attachment{{Name: "rome", CEPort: 1, PEPort: 2}}}}}
	r, err := datapath.NewRegistry(datapath.Config{Bridges: bridges(cfg)})
	if err != nil {
		t.Fatal(err)
	}
	n := &network{cfg: cfg, registry: r, bridges: newProvisioner(cfg, r, log)}
	return n.bridges, func() api.Datapath {
		t.Helper()
		all, err := n.Datapaths(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatalf("%v, %v", all, err)
		}
		return all[0]
	}
}

// Whatever is wrong with a bridge is tried again, shown, and logged once. A bridge that
// was right is looked at only when it has been away for some time.
func TestBridgesAreProvisionedAgain(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	p, shown := oneBridge(t, "192.0.2.1:6640", zap.New(core))
	var answer error
	calls := 0
	p.provision = func(_ context.Context, db string, s ovs.Spec) ([]ovs.Change, error) {
		calls++
		if want := []ovs.Pair{{A: 1, B: 2}}; db != "tcp:192.0.2.1:6640" || s.DPID != 2 || s.Controller != "tcp:127.0.0.1:6653" || !slices.Equal(s.Pairs, want) {
			t.Errorf("%+v by %s", s, db)
		}
		return nil, answer
	}
	start := time.Now()
	state := datapath.Status{DPID: 2, Since: start}
	p.datapaths = func() []datapath.Status { return []datapath.Status{state} }
	away, foreign := errors.New("no answer"), fmt.Errorf("edge2: %w", ovs.ErrForeign)
	logged := 0
	for _, tc := range []struct {
		at     time.Duration
		state  datapath.State
		since  time.Duration
		answer error
		asked  bool
		logs   int
	}{
		{0, datapath.Disconnected, 0, away, true, 1},
		{5 * time.Second, datapath.Disconnected, 0, away, true, 0},
		{10 * time.Second, datapath.Disconnected, 0, foreign, true, 1},
		{15 * time.Second, datapath.Disconnected, 0, nil, false, 0},
		{40 * time.Second, datapath.Disconnected, 0, foreign, true, 0},
		{70 * time.Second, datapath.Ready, 60 * time.Second, foreign, true, 0}, // its controller came to us nevertheless
		{100 * time.Second, datapath.Ready, 60 * time.Second, nil, true, 0},
		{500 * time.Second, datapath.Degraded, 60 * time.Second, away, false, 0},
		{600 * time.Second, datapath.Disconnected, 590 * time.Second, away, false, 0},
		{620 * time.Second, datapath.Disconnected, 590 * time.Second, nil, true, 0},
		{625 * time.Second, datapath.Disconnected, 590 * time.Second, away, false, 0},
		{650 * time.Second, datapath.Disconnected, 590 * time.Second, foreign, true, 1},
		{680 * time.Second, datapath.Disconnected, 590 * time.Second, nil, true, 0},
	} {
		state.State, state.Since, answer = tc.state, start.Add(tc.since), tc.answer
		before := calls
		p.look(t.Context(), start.Add(tc.at))
		if asked := calls > before; asked != tc.asked {
			t.Errorf("at %s: asked %v, want %v", tc.at, asked, tc.asked)
		}
		if n := logs.Len() - logged; n != tc.logs {
			t.Errorf("at %s: logged %d times, want %d", tc.at, n, tc.logs)
		}
		logged = logs.Len()
		e := shown().Error
		if tc.asked && (e != nil) != (tc.answer != nil) || e != nil && tc.asked && (e.Step != "provision" || e.Detail != tc.answer.Error()) {
			t.Errorf("at %s: shown %+v, want %v", tc.at, e, tc.answer)
		}
	}
}

func TestProblemOfADatapath(t *testing.T) {
	foreign := &api.Problem{Step: "provision", Detail: "another controller"}
	for _, tc := range []struct {
		state     datapath.State
		reason    string
		provision *api.Problem
		want      string
	}{
		{datapath.Ready, "", nil, ""},
		{datapath.Ready, "", foreign, "provision: another controller"},
		{datapath.Degraded, "slave", foreign, "degraded: slave"},
		{datapath.Degraded, "slave", nil, "degraded: slave"},
		{datapath.Disconnected, "", foreign, "provision: another controller"},
		{datapath.Disconnected, "EOF", foreign, "provision: another controller"},
		{datapath.Disconnected, "EOF", nil, "disconnected: EOF"},
	} {
		got := ""
		if p := datapathProblem(&datapath.Status{State: tc.state, Reason: tc.reason}, tc.provision); p != nil {
			got = p.Step + ": " + p.Detail
		}
		if got != tc.want {
			t.Errorf("%s, %q: %q, want %q", tc.state, tc.reason, got, tc.want)
		}
	}
}

func TestProvisionerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := oneBridge(t, "unix:/none", zap.NewNop())
		ctx, cancel := context.WithCancel(t.Context())
		var at []time.Duration
		start := time.Now()
		p.provision = func(context.Context, string, ovs.Spec) ([]ovs.Change, error) {
			at = append(at, time.Since(start))
			return nil, ovs.ErrForeign
		}
		done := make(chan struct{})
		go func() { p.run(ctx); close(done) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		cancel()
		<-done
		if want := []time.Duration{0, 30 * time.Second, time.Minute}; !slices.Equal(at, want) {
			t.Errorf("looked at %v, want %v", at, want)
		}
	})
	p, _ := oneBridge(t, "", zap.NewNop())
	p.run(t.Context()) // nothing to do
}

// A bridge of another controller is taken over when that is removed, and gets mpbox
// again when somebody takes it away.
func TestIntegrationBridgeIsProvisionedAgain(t *testing.T) {
	sw := ovstest.Start(t)
	sw.AddBridge("edge2", 2, 2)
	sw.VSCtl("set-controller", "edge2", "tcp:127.0.0.1:9999")
	p, shown := oneBridge(t, config.Endpoint(sw.DB()), zaptest.NewLogger(t))
	now := time.Now()
	look := func(want string) {
		t.Helper()
		now = now.Add(provisionAgain)
		p.look(t.Context(), now)
		if got := sw.VSCtl("get-controller", "edge2"); got != want {
			t.Errorf("controller %q, want %q", got, want)
		}
	}
	look("tcp:127.0.0.1:9999")
	if e := shown().Error; e == nil || !strings.Contains(e.Detail, "ovs-vsctl set-controller edge2 tcp:127.0.0.1:6653") {
		t.Errorf("shown %+v", e)
	}
	for range 2 {
		sw.VSCtl("del-controller", "edge2")
		look("tcp:127.0.0.1:6653")
		if e := shown().Error; e != nil {
			t.Errorf("shown %+v", e)
		}
	}
}
