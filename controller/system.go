package controller

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"mpbox/apps/tunnelmanager"
	"mpbox/controller/api"
	"mpbox/controller/config"
	"mpbox/southbound/datapath"
)

// system answers for the controller itself.
type system struct {
	cfg       *config.Config
	version   string
	tap       *tap
	registry  *datapath.Registry
	mirrors   []*mirror
	manager   *tunnelmanager.Manager
	bgpls     *linkState
	broker    *api.Broker
	started   time.Time
	listening atomic.Bool
}

var _ api.System = (*system)(nil)

func (s *system) Status(context.Context) (api.Status, error) {
	view := s.manager.View()
	s.tap.mu.Lock()
	st := s.tap.tracker.Stats()
	s.tap.mu.Unlock()
	o := api.Status{
		Instance: s.cfg.Instance, Version: s.version, Mode: string(view.Mode), Started: s.started,
		Connections: st.ConnectionsProven + st.ConnectionsUnproven, Subflows: st.Live, Orphans: st.OrphansAsked + st.OrphansAnswered,
		Bindings: len(view.Bindings), LSPs: len(view.LSPs),
		Topology: api.TopologyStatus{Source: sourceName(view.TEDFrom), At: view.TEDAt, BGPLS: s.bgpls.status()},
	}
	if view.TED != nil {
		o.Topology.Nodes, o.Topology.Links = len(view.TED.Nodes()), len(view.TED.Links())
	}
	for _, d := range s.registry.Snapshot() {
		if d.State.Connected() {
			o.Datapaths++
		}
	}
	for _, m := range s.mirrors {
		if m.view().State == mirrorListening {
			o.Mirrors++
		}
	}
	for i := range view.PEs {
		if view.PEs[i].Reachable {
			o.PEs++
		}
	}
	return o, nil
}

func (s *system) Ready(context.Context) error {
	if !s.listening.Load() {
		return errors.New("the API does not listen yet")
	}
	for _, pe := range s.manager.View().PEs {
		if !pe.Read && pe.Err == nil {
			return fmt.Errorf("PE %s has not been read yet", pe.Name)
		}
	}
	return nil
}

func (s *system) Subscribe(ctx context.Context, after uint64) <-chan api.Event {
	return s.broker.Subscribe(ctx, after)
}
