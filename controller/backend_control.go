package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mpbox/apps/tunnelmanager"
	"mpbox/apps/tunnelmanager/plan"
	"mpbox/controller/api"
	"mpbox/topology"
	"mpbox/topology/disjoint"
)

// control answers what the API asks about demands, plans, thresholds and the
// audit, and hands over what it is told.
type control struct{ manager *tunnelmanager.Manager }

var (
	_ api.Planner    = (*control)(nil)
	_ api.Controller = (*control)(nil)
)

func (c *control) Demands(_ context.Context, q api.Query) (api.Page[api.Demand], error) {
	view := c.manager.View()
	all := make([]api.Demand, 0, len(view.Demands))
	for i := range view.Demands {
		all = append(all, demandView(view, &view.Demands[i]))
	}
	return api.Paginate(all, q, func(d api.Demand) string { return d.ID }, func(d api.Demand) bool {
		return (q.VPN == "" || d.VPN == q.VPN) && (q.State == "" || d.State == q.State) && !d.Since.Before(q.Since) &&
			(q.PE == "" || slices.ContainsFunc(slices.Concat(d.Forward, d.Reverse), func(s api.Slot) bool { return s.Ingress == q.PE || s.Egress == q.PE }))
	}), nil
}

func demandView(view *tunnelmanager.View, d *tunnelmanager.Demand) api.Demand {
	return api.Demand{
		ID: d.ID, VPN: d.VPN, Policy: d.Policy, Connections: d.Connections, Since: d.Since, State: d.State, Reason: d.Reason,
		Requested: d.Level.String(), Achieved: d.Achieved.String(), Shared: sharedView(d.Shared), Thresholds: limitsView(d.Limits),
		Forward: slotViews(view, d.Forward, d.Assignment.Forward), Reverse: slotViews(view, d.Reverse, d.Assignment.Reverse),
	}
}

func sharedView(s disjoint.Shared) api.Shared {
	return api.Shared{Nodes: s.Nodes, Links: s.Links, SRLGs: s.SRLGs}
}

func slotViews(view *tunnelmanager.View, pairs []plan.Pair, lsps []string) []api.Slot {
	var out []api.Slot
	for i, p := range pairs {
		s := api.Slot{Ingress: p.Ingress, Egress: p.Egress}
		if i < len(lsps) {
			s.LSP = lsps[i]
		}
		for j := range view.LSPs {
			if l := &view.LSPs[j]; l.Name == s.LSP && l.Ingress == p.Ingress {
				for _, k := range l.Links {
					s.Route = append(s.Route, view.TED.Links()[k].Name)
				}
			}
		}
		out = append(out, s)
	}
	return out
}

func (c *control) Plans(_ context.Context, q api.Query) (api.Page[api.Plan], error) {
	view := c.manager.View()
	var all []api.Plan
	for _, p := range slices.Backward(view.Plans) {
		all = append(all, planView(view, p))
	}
	return api.Paginate(all, q, func(p api.Plan) string { return api.NewestFirst(planNumber(p.ID)) }, func(p api.Plan) bool {
		return (q.State == "" || p.State == q.State) && !p.At.Before(q.Since)
	}), nil
}

func planNumber(id string) (n uint64) {
	fmt.Sscanf(id, "p%d", &n) //nolint:errcheck // an id of ours; 0 sorts it last
	return n
}

func (c *control) Plan(_ context.Context, id string) (api.Plan, error) {
	view := c.manager.View()
	for _, p := range view.Plans {
		if p.ID == id {
			return planView(view, p), nil
		}
	}
	return api.Plan{}, fmt.Errorf("plan %s: %w", id, api.ErrNotFound)
}

func planView(view *tunnelmanager.View, p *tunnelmanager.Plan) api.Plan {
	o := api.Plan{ID: p.ID, At: p.At, Scope: scopeNames[p.Scope], State: string(p.State), Reason: p.Reason, Actor: p.Actor, Trigger: p.Trigger}
	for _, d := range p.Demands {
		o.Demands = append(o.Demands, api.PlanDemand{ID: d.ID, Requested: d.Requested.String(), Before: d.Before.String(), After: d.After.String(),
			Gain: d.Gain, Shared: sharedView(d.Shared), Unmet: d.Unmet})
	}
	lsps := lspsOf(view, p)
	for i := range p.Ops {
		o.Ops = append(o.Ops, opView(p, &p.Ops[i], view, lsps))
	}
	return o
}

// lspsOf are the LSPs that there are, with the links of their routes; those that a plan
// signals have the routes that it gives them.
func lspsOf(view *tunnelmanager.View, p *tunnelmanager.Plan) map[topology.LSPKey][]int {
	out := map[topology.LSPKey][]int{}
	for i := range view.LSPs {
		out[view.LSPs[i].Key()] = view.LSPs[i].Links
	}
	for _, l := range p.Signal {
		if view.TED != nil {
			if links, err := view.TED.Route(l.Ingress, l.ERO); err == nil {
				out[l.Key()] = links
			}
		}
	}
	return out
}

func opView(p *tunnelmanager.Plan, op *tunnelmanager.Op, view *tunnelmanager.View, lsps map[topology.LSPKey][]int) api.PlanOp {
	links, there := lsps[topology.LSPKey{Ingress: op.PE, Name: op.LSP}]
	o := api.PlanOp{N: op.N, PE: op.PE, Op: string(op.Op), LSP: op.LSP, FTN: op.FTN, Demand: op.Demand, Direction: op.Direction, After: op.After, State: string(op.State)}
	if op.Demand != "" {
		o.Slot = &op.Slot
	}
	for _, k := range links {
		o.Route = append(o.Route, view.TED.Links()[k].Name)
	}
	if f := op.Failure; op.State == tunnelmanager.OpFailed {
		o.Error = &api.Problem{Step: f.Step, Detail: f.Detail, Remedy: f.Remedy, At: f.At}
	}
	if op.Op == plan.OpRelease && !there && (p.State == tunnelmanager.PlanDone || p.State == tunnelmanager.PlanFailed) {
		o.State = string(tunnelmanager.OpDone)
	}
	return o
}

var scopeNames = map[plan.Scope]string{plan.Evaluate: "evaluate", plan.Incremental: "incremental", plan.Redesign: "redesign"}

func (c *control) Approve(ctx context.Context, actor, id string) (api.Plan, error) {
	p, err := c.manager.Approve(ctx, actor, id)
	switch {
	case errors.Is(err, tunnelmanager.ErrNoPlan):
		return api.Plan{}, fmt.Errorf("%w: %w", api.ErrNotFound, err)
	case errors.Is(err, tunnelmanager.ErrNotProposed):
		return api.Plan{}, fmt.Errorf("%w: %w", api.ErrConflict, err)
	case err != nil:
		return api.Plan{}, unavailable(err)
	}
	return planView(c.manager.View(), p), nil
}

// unavailable says of a manager that has stopped that it may be asked again.
func unavailable(err error) error {
	if errors.Is(err, tunnelmanager.ErrStopped) {
		return fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	return err
}

func (c *control) Propose(ctx context.Context, actor, scope string) (api.Plan, error) {
	for s, name := range scopeNames {
		if name != scope {
			continue
		}
		p, err := c.manager.Propose(ctx, actor, s)
		if err != nil {
			return api.Plan{}, fmt.Errorf("%w: %w", api.ErrUnavailable, err)
		}
		return planView(c.manager.View(), p), nil
	}
	return api.Plan{}, &api.InvalidError{Field: "scope", Detail: fmt.Sprintf("%q: want evaluate, incremental or redesign", scope)}
}

func (c *control) Mode(context.Context) (api.Mode, error) {
	return api.Mode{Mode: string(c.manager.View().Mode)}, nil
}

func (c *control) SetMode(ctx context.Context, actor string, m api.Mode) (api.Mode, error) {
	if !tunnelmanager.Mode(m.Mode).Valid() {
		return api.Mode{}, &api.InvalidError{Field: "mode", Detail: fmt.Sprintf("%q: want observe, suggest or auto", m.Mode)}
	}
	return m, unavailable(c.manager.SetMode(ctx, actor, tunnelmanager.Mode(m.Mode)))
}

func (c *control) Changes(_ context.Context, q api.Query) (api.Page[api.Change], error) {
	view := c.manager.View()
	all := make([]api.Change, 0, len(view.Changes))
	for i := range slices.Backward(view.Changes) {
		all = append(all, changeView(&view.Changes[i]))
	}
	return api.Paginate(all, q, func(c api.Change) string { return api.NewestFirst(c.ID) }, func(c api.Change) bool {
		return (q.State == "" || c.Result == q.State) && (q.PE == "" || c.PE == q.PE) && (q.VPN == "" || c.VPN == q.VPN || strings.HasPrefix(c.Subject, q.VPN+".")) &&
			!c.At.Before(q.Since)
	}), nil
}

func changeView(c *tunnelmanager.Change) api.Change {
	return api.Change{ID: c.ID, At: c.At, Actor: c.Actor, Action: c.Action, Subject: c.Subject, VPN: c.VPN, PE: c.PE, Plan: c.Plan,
		Step: c.Step, Result: c.Result, Detail: c.Detail, Remedy: c.Remedy}
}
