package controller

import (
	"context"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"mpbox/apps/detector"
	"mpbox/apps/tunnelmanager"
	"mpbox/controller/api"
	"mpbox/topology"
)

// flowReader answers what the API asks about connections, subflows and bindings:
// the detector's view, with the tunnel manager's bindings laid over it.
type flowReader struct {
	tap     *tap
	flows   *flows
	manager *tunnelmanager.Manager
}

var _ api.FlowReader = (*flowReader)(nil)

// connectionID names a connection over restarts: its token, and what tells it from
// another one with the same token.
func connectionID(c *detector.Connection) string {
	return fmt.Sprintf("%08x-%s", c.Token, shortHash(c.Scope, c.Client.String(), c.Server.String()))
}

func subflowID(scope string, s *detector.Subflow) string {
	return shortHash(scope, s.Client.String(), s.Server.String())
}

func shortHash(parts ...string) string {
	h := fnv.New32a()
	for _, p := range parts {
		fmt.Fprintf(h, "%s\n", p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (r *flowReader) Connections(ctx context.Context, q api.Query) (api.Page[api.Connection], error) {
	var p api.Page[api.Connection]
	view := r.manager.View()
	next, err := r.connections(ctx, q, func(c *detector.Connection) bool {
		if q.State == "" || connectionState(c) == q.State {
			p.Items = append(p.Items, r.connection(view, c))
		}
		return q.Limit == 0 || len(p.Items) < q.Limit
	})
	p.Next = next
	return p, err
}

func (r *flowReader) connections(ctx context.Context, q api.Query, f func(*detector.Connection) bool) (next string, err error) {
	return walk(ctx, r.tap, r.tap.tracker.Connections, q, func(c *detector.Connection) detector.ConnID { return c.ID }, f)
}

// walkTime is how long a request may look for what it selects: more than a million
// connections take.
const walkTime = 2 * time.Second

// walk calls f with the connections or orphans that a query selects, in order, until
// it returns false or walkTime is over; then it tells where the next page begins.
// The tracker is held for one call of list at a time.
func walk[ID ~uint64, T any](ctx context.Context, t *tap, list func(after ID, limit int, f detector.Filter) ([]T, ID, bool), q api.Query, id func(*T) ID, f func(*T) bool) (next string, err error) {
	var after ID
	if q.After != "" {
		n, err := strconv.ParseUint(q.After, 10, 64)
		if err != nil {
			return "", &api.InvalidError{Field: "after", Detail: "want the next of an earlier answer"}
		}
		after = ID(n)
	}
	filter := detector.Filter{VPN: q.VPN, PE: q.PE}
	if !q.Since.IsZero() {
		filter.Since = q.Since.UnixNano()
	}
	inTime, cancel := context.WithTimeout(ctx, walkTime)
	defer cancel()
	for inTime.Err() == nil {
		t.mu.Lock()
		page, last, more := list(after, 200, filter)
		t.mu.Unlock()
		for i := range page {
			if !f(&page[i]) {
				return strconv.FormatUint(uint64(id(&page[i])), 10), nil
			}
		}
		if !more {
			return "", nil
		}
		after = last
	}
	return strconv.FormatUint(uint64(after), 10), ctx.Err()
}

func (r *flowReader) connection(view *tunnelmanager.View, c *detector.Connection) api.Connection {
	o := api.Connection{
		ID: connectionID(c), Token: fmt.Sprintf("%08x", c.Token), Version: int(c.Version), VPN: c.VPN, Since: time.Unix(0, c.Created),
		State: connectionState(c), Demand: view.DemandOf[uint64(c.ID)], Restored: c.Restored, Bytes: r.flows.bytes(c),
	}
	if c.Client.IsValid() {
		o.Client, o.Server = c.Client.String(), c.Server.String()
	}
	for i := range view.Demands {
		if view.Demands[i].ID == o.Demand {
			o.Policy = view.Demands[i].Policy
		}
	}
	for i := range c.Subflows {
		o.Subflows = append(o.Subflows, r.subflow(view, c, &c.Subflows[i]))
	}
	return o
}

func connectionState(c *detector.Connection) string {
	if c.Closed {
		return "closed"
	}
	best := detector.Syn
	for i := range c.Subflows {
		if c.Subflows[i].State == detector.Established {
			best = detector.Established
		}
	}
	return best.String()
}

func (r *flowReader) subflow(view *tunnelmanager.View, c *detector.Connection, s *detector.Subflow) api.Subflow {
	o := api.Subflow{
		ID: subflowID(c.Scope, s), Token: fmt.Sprintf("%08x", c.Token), VPN: c.VPN, Kind: "initial",
		Client: s.Client.String(), Server: s.Server.String(), State: s.State.String(), Verified: verdict(s.Verified), Backup: s.Backup,
		AddressID: int(s.AddressID), Since: time.Unix(0, s.Created), Listed: r.flows.listedAt(s.ID),
	}
	if c.ID != 0 { // else an orphan
		o.Connection = connectionID(c)
	}
	if s.Join {
		o.Kind = "join"
	}
	o.Flows.C2S = r.flow(view, r.flows.flow(s.ToServer, s.Client, s.Server))
	o.Flows.S2C = r.flow(view, r.flows.flow(s.ToClient, s.Server, s.Client))
	return o
}

func (r *flowReader) flow(view *tunnelmanager.View, f tunnelmanager.Flow) api.Flow {
	o := api.Flow{Ingress: r.place(f.Ingress), Egress: r.place(f.Egress), BindingState: "none"}
	o.Bytes, _ = r.flows.counters.of(f.CountRule().ID)
	if b := view.ByFlow[r.manager.FlowName(f)]; b != nil {
		o.LSP, o.Binding, o.BindingState, o.Route = b.LSP, b.Name, string(b.State), b.Route
	}
	return o
}

func (r *flowReader) place(attachment string) api.Place {
	return api.Place{Attachment: attachment, PE: r.flows.places.attachments[attachment].PE}
}

func (r *flowReader) Connection(_ context.Context, id string) (api.Connection, error) {
	c, ok := r.find(id)
	if !ok {
		return api.Connection{}, fmt.Errorf("connection %s: %w", id, api.ErrNotFound)
	}
	return r.connection(r.manager.View(), &c), nil
}

// find looks a connection up by its API id, or by its token alone.
func (r *flowReader) find(id string) (detector.Connection, bool) {
	text, _, _ := strings.Cut(id, "-")
	token, err := strconv.ParseUint(text, 16, 32)
	if err != nil {
		return detector.Connection{}, false
	}
	var after detector.ConnID
	for more := true; more; {
		var page []detector.Connection
		r.tap.mu.Lock()
		page, after, more = r.tap.tracker.Connections(after, 10, detector.Filter{Token: uint32(token), HasToken: true})
		r.tap.mu.Unlock()
		for i := range page {
			if full := connectionID(&page[i]); full == id || text == id {
				return page[i], true
			}
		}
	}
	return detector.Connection{}, false
}

// orphansAfter begins the key of a page of Subflows that has orphans only.
const orphansAfter = "orphans "

// Subflows are those of the connections, connection by connection, then the
// orphans. Their key is the connection's, so a page may be longer than its limit
// by the subflows of one connection.
func (r *flowReader) Subflows(ctx context.Context, q api.Query) (api.Page[api.Subflow], error) {
	var p api.Page[api.Subflow]
	view := r.manager.View()
	add := func(c *detector.Connection, s *detector.Subflow) {
		if q.State == "" || s.State.String() == q.State {
			p.Items = append(p.Items, r.subflow(view, c, s))
		}
	}
	room := func() bool { return q.Limit == 0 || len(p.Items) < q.Limit }
	var err error
	var orphans bool
	if q.After, orphans = strings.CutPrefix(q.After, orphansAfter); !orphans {
		p.Next, err = r.connections(ctx, q, func(c *detector.Connection) bool {
			for i := range c.Subflows {
				add(c, &c.Subflows[i])
			}
			return room()
		})
		if err != nil || p.Next != "" {
			return p, err
		}
		q.After = ""
	}
	p.Next, err = walk(ctx, r.tap, r.tap.tracker.Orphans, q, func(o *detector.Orphan) detector.SubflowID { return o.ID }, func(o *detector.Orphan) bool {
		add(&detector.Connection{Token: o.Token, Scope: o.Scope, VPN: o.VPN}, &o.Subflow)
		return room()
	})
	if p.Next != "" {
		p.Next = orphansAfter + p.Next
	}
	return p, err
}

func (r *flowReader) Bindings(_ context.Context, q api.Query) (api.Page[api.Binding], error) {
	view := r.manager.View()
	all := make([]api.Binding, 0, len(view.Bindings))
	for _, b := range view.Bindings {
		all = append(all, r.binding(b))
	}
	return api.Paginate(all, q, func(b api.Binding) string { return b.ID }, func(b api.Binding) bool {
		return (q.VPN == "" || b.VPN == q.VPN) && (q.PE == "" || b.PE == q.PE || b.Egress == q.PE) && (q.State == "" || b.State == q.State) && !b.Since.Before(q.Since)
	}), nil
}

func (r *flowReader) binding(b *tunnelmanager.Binding) api.Binding {
	o := api.Binding{
		ID: b.Name, VPN: b.VPN, Direction: b.Direction.String(), PE: b.PE, Egress: b.EgressPE, LSP: b.LSP, Default: b.Default, Slot: b.Slot,
		Steer: string(b.Steer), State: string(b.State), Reason: b.Reason, Since: b.Since, Verified: b.VerifiedAt, Route: b.Route,
	}
	if !b.Default {
		o.FEC, o.FTN = b.FEC.String(), b.FTN
	}
	if b.Class != 0 {
		n := int(b.Class)
		o.DSCP = &n
	}
	r.tap.mu.Lock()
	c, ok := r.tap.tracker.Connection(detector.ConnID(b.Connection))
	r.tap.mu.Unlock()
	if !ok {
		return o
	}
	o.Connection = connectionID(&c)
	for i := range c.Subflows {
		if uint64(c.Subflows[i].ID) == b.Subflow {
			o.Subflow = subflowID(c.Scope, &c.Subflows[i])
			if c.Subflows[i].Reverse { // the subflow's client is the connection's server
				o.Direction = map[string]string{"c2s": "s2c", "s2c": "c2s"}[o.Direction]
			}
		}
	}
	return o
}

// Explain says why a connection rides where it does.
func (r *flowReader) Explain(_ context.Context, id string) (api.Explanation, error) {
	c, ok := r.find(id)
	if !ok {
		return api.Explanation{}, fmt.Errorf("connection %s: %w", id, api.ErrNotFound)
	}
	view := r.manager.View()
	o := api.Explanation{Connection: r.connection(view, &c)}
	why := r.manager.Explain(r.flows.translate(&c))
	o.Verdict = why.Verdict
	for _, f := range why.Facts {
		o.Facts = append(o.Facts, api.Fact{Question: f.Question, Value: f.Value, Wanted: f.Wanted, OK: f.OK})
	}
	subjects, lsps := map[string]bool{}, map[topology.LSPKey]bool{}
	for i := range view.Demands {
		if d := &view.Demands[i]; d.ID == o.Connection.Demand {
			v := demandView(view, d)
			o.Demand = &v
			subjects[d.ID] = true
		}
	}
	for _, b := range view.Bindings {
		if b.Connection == uint64(c.ID) {
			o.Bindings = append(o.Bindings, r.binding(b))
			subjects[b.Name] = true
			lsps[topology.LSPKey{Ingress: b.PE, Name: b.LSP}] = true
		}
	}
	for i := range slices.Backward(view.Changes) {
		c := &view.Changes[i]
		if (subjects[c.Subject] || lsps[topology.LSPKey{Ingress: c.PE, Name: c.Subject}]) && len(o.Changes) < 50 {
			o.Changes = append(o.Changes, changeView(c))
		}
	}
	return o, nil
}
