package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"mpbox/apps/detector"
	"mpbox/apps/tunnelmanager"
	"mpbox/southbound/datapath"
)

// sortedKeys gives the keys of a map in order.
func sortedKeys[K interface{ ~string | ~uint64 }, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}

// edge puts the tunnel manager's edge rules onto the bridges.
type edge struct {
	places   *places
	registry *datapath.Registry
	idle     time.Duration
	counters *counters
}

var _ tunnelmanager.Edge = (*edge)(nil)

// SetRules declares the rules of every bridge.
func (e *edge) SetRules(ctx context.Context, rules []tunnelmanager.EdgeRule) error {
	byBridge := map[uint64][]datapath.EdgeRule{}
	for dpid := range e.places.byDatapath {
		byBridge[dpid] = nil
	}
	for _, r := range rules {
		a, ok := e.places.attachments[r.Attachment]
		if !ok {
			return fmt.Errorf("edge rule at unknown attachment %s", r.Attachment)
		}
		o := datapath.EdgeRule{ID: r.ID, InPort: a.CEPort, VLAN: a.VLAN, Src: r.Src, Dst: r.Dst, IdleTimeout: e.idle}
		if r.FromPE {
			o.InPort = a.PEPort
		}
		if r.Mark {
			o.Action = datapath.MarkDSCP(r.DSCP)
		}
		byBridge[a.dpid] = append(byBridge[a.dpid], o)
	}
	e.counters.declare(rules, time.Now())
	return eachBridge(sortedKeys(byBridge), func(dpid uint64) error {
		return e.registry.SetEdgeRules(ctx, dpid, byBridge[dpid])
	})
}

// Rules reads the rules of the bridges that are connected.
func (e *edge) Rules(ctx context.Context) (tunnelmanager.EdgeState, error) {
	s := tunnelmanager.EdgeState{Rules: map[uint64]tunnelmanager.EdgeRule{}, Attachments: map[string]bool{}}
	var mu sync.Mutex // guards s.Rules, bytes and answered
	bytes, answered := map[uint64]uint64{}, map[uint64]bool{}
	e.counters.reading()
	err := eachBridge(sortedKeys(e.places.byDatapath), func(dpid uint64) error {
		installed, err := e.registry.InstalledEdgeRules(ctx, dpid)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		answered[dpid] = true
		for _, i := range installed {
			r := tunnelmanager.EdgeRule{Src: i.Src, Dst: i.Dst}
			r.Attachment, r.FromPE = e.places.at(dpid, i.InPort, i.VLAN)
			r.DSCP, r.Mark = i.Action.DSCP()
			r.ID = r.Key()
			s.Rules[r.ID] = r
			bytes[r.ID] = i.Bytes
		}
		return nil
	})
	for name, a := range e.places.attachments {
		if answered[a.dpid] {
			s.Attachments[name] = true
		}
	}
	s.Bytes = e.counters.read(bytes, time.Now())
	return s, err
}

// eachBridge calls f for the bridges side by side, so that none waits for a slow one.
// A bridge that is not connected is no error.
func eachBridge(dpids []uint64, f func(dpid uint64) error) error {
	errs := make([]error, len(dpids))
	var g errgroup.Group
	g.SetLimit(64)
	for i, dpid := range dpids {
		g.Go(func() error {
			if err := f(dpid); !errors.Is(err, datapath.ErrNotConnected) {
				errs[i] = err
			}
			return nil
		})
	}
	_ = g.Wait() // in errs
	return errors.Join(errs...)
}

// at finds the attachment of a port and just these VLAN tags, and whether the port is
// the PE's.
func (p *places) at(dpid uint64, port uint32, vlan []uint16) (name string, fromPE bool) {
	on := p.byDatapath[dpid][port]
	if on == nil {
		return "", false
	}
	id := on.untagged
	if len(vlan) > 0 {
		var tags [2]uint16
		copy(tags[:], vlan)
		var ok bool
		if id, ok = on.tagged[tags]; !ok {
			return "", false
		}
	}
	pl := p.place(id)
	return pl.Attachment, pl.Side == detector.PE
}
