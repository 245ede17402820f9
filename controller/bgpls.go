package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mpbox/apps/tunnelmanager"
	"mpbox/controller/api"
	"mpbox/controller/config"
	"mpbox/topology"
	"mpbox/topology/bgpls"
)

// linkState gives the tunnel manager the topology that BGP-LS tells, in place of what
// the PEs tell: each change as it comes. While the sessions are lost the last one
// stays; when they are lost for long, the PEs' own counts again.
type linkState struct {
	cfg      *config.BGPLS
	pes      []config.PE
	listener *bgpls.Listener
	manager  interface {
		SetTopology(context.Context, *topology.TED) error
	}
	publish func(api.Event)
	log     *zap.Logger

	picker  picker // loop's
	refused error  // of the manager, for what it was given last; loop's

	mu   sync.Mutex // guards view
	view api.BGPLS
}

// bgplsName is the source's name in the API.
const bgplsName = "bgp-ls"

// sourceName puts a source into the API's words.
func sourceName(s tunnelmanager.TEDSource) string {
	if s == tunnelmanager.TEDTold {
		return bgplsName
	}
	return string(s)
}

// newLinkState gives nil where BGP-LS is not configured.
func newLinkState(cfg *config.Config, m *tunnelmanager.Manager, publish func(api.Event), log *zap.Logger) (*linkState, error) {
	if cfg.BGPLS == nil {
		return nil, nil
	}
	c := bgpls.Config{AS: cfg.BGPLS.ASN, RouterID: cfg.BGPLS.RouterID, Names: namesByID(cfg)}
	if cfg.BGPLS.Listen != "" {
		var err error
		if c.Listen, err = netip.ParseAddrPort(cfg.BGPLS.Listen); err != nil {
			return nil, fmt.Errorf("bgp_ls.listen: %w", err)
		}
	}
	for _, p := range cfg.BGPLS.Peers {
		c.Peers = append(c.Peers, bgpls.Peer{Address: p.Address, AS: p.ASN, Port: p.Port, Passive: p.Passive, Password: string(p.Password)})
	}
	l, err := bgpls.New(c, slog.New(zapHandler{log}))
	if err != nil {
		return nil, err
	}
	b := &linkState{
		cfg: cfg.BGPLS, pes: cfg.PEs, listener: l, manager: m, publish: publish, log: log,
		picker: picker{fallBack: time.Duration(cfg.BGPLS.FallBack)}, view: api.BGPLS{State: bgplsWaiting, Since: time.Now()},
	}
	b.view.Error = b.picker.silent() // no news: nobody can have told yet
	b.view.Error.At = b.view.Since
	return b, nil
}

// run holds the sessions and hands over what they tell, until ctx ends.
func (b *linkState) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := b.listener.Run(ctx); err != nil {
			return fmt.Errorf("bgp_ls: %w (is bgp_ls.listen an address of this machine, and its port free? Below 1024 it takes root or CAP_NET_BIND_SERVICE)", err)
		}
		return nil
	})
	g.Go(func() error { return b.loop(ctx) })
	return g.Wait()
}

func (b *linkState) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-b.listener.Changed():
		}
		// The status first: the TED is then at least as new.
		now, status := time.Now(), b.listener.Status()
		ted := b.listener.TED()
		p := b.picker.next(now, ted, status.Peers)
		b.take(ctx, now, ted, &status, p)
		if !p.again.IsZero() {
			timer.Reset(max(0, p.again.Sub(now)))
		}
	}
}

// take hands a topology over and tells what has changed.
func (b *linkState) take(ctx context.Context, now time.Time, ted *topology.TED, status *bgpls.Status, p pick) {
	v := b.status()
	before := *v
	v.State, v.Error = p.state, p.problem
	if p.give {
		b.refused = b.manager.SetTopology(ctx, p.ted)
		if ctx.Err() != nil || errors.Is(b.refused, tunnelmanager.ErrStopped) {
			return
		}
		if p.ted != nil && b.refused == nil {
			v.Updates, v.Updated = v.Updates+1, now
		}
	}
	if p.state == bgplsInUse && b.refused != nil {
		v.State, v.Error = bgplsRefused, &api.Problem{Step: "take over the topology", Detail: b.refused.Error(),
			Remedy: "correct the routers, or topology.file where the two contradict each other; the one before stays in use"}
	}
	if v.State != before.State {
		v.Since = now
	}
	v.Nodes, v.Links = status.Nodes, status.Links
	v.Notes = status.Notes[:min(len(status.Notes), 20)]
	v.Peers = b.peers(status.Peers)
	if p.state == bgplsInUse {
		v.Unmatched = b.unmatched(ted)
		if v.Error == nil && len(v.Unmatched) > 0 {
			v.Error = &api.Problem{Step: "match PEs", Detail: "not in the topology that BGP-LS tells: " + strings.Join(v.Unmatched, ", "),
				Remedy: "set router_id of the PE to its MPLS-TE router id as BGP-LS tells it (nodes of GET /v1/topology), or have a peer tell its IGP area"}
		}
	}
	if v.Error != nil {
		v.Error.At = now
		if problemText(before.Error) == v.Error.Detail {
			v.Error.At = before.Error.At
		}
	}
	b.mu.Lock()
	b.view = *v
	b.mu.Unlock()
	b.tell(&before, v)
}

// tell logs and publishes what differs.
func (b *linkState) tell(before, now *api.BGPLS) {
	for i, p := range now.Peers {
		was := peerDown
		if i < len(before.Peers) {
			was = before.Peers[i].State
		}
		if p.State == was {
			continue
		}
		log := b.log.Info
		if p.State == peerDown {
			log = b.log.Warn
		}
		log("BGP-LS session", zap.String("peer", p.Address), zap.String("state", p.State), zap.String("reason", p.Reason))
		b.publish(api.Event{Type: "topology", Action: "changed", Subject: bgplsName + " " + p.Address, State: p.State, Data: p})
	}
	if before.State == now.State && problemText(before.Error) == problemText(now.Error) {
		return
	}
	log, detail := b.log.Info, zap.Skip()
	if now.Error != nil {
		log, detail = b.log.Warn, zap.String("reason", now.Error.Detail)
	}
	log("BGP-LS topology", zap.String("state", now.State), zap.Int("nodes", now.Nodes), zap.Int("links", now.Links), detail)
	b.publish(api.Event{Type: "topology", Action: "changed", Subject: bgplsName, State: now.State, Data: *now})
}

func problemText(p *api.Problem) string {
	if p == nil {
		return ""
	}
	return p.Detail
}

// status shows it in the API's words; nil where it is not configured.
func (b *linkState) status() *api.BGPLS {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.view
	if v.Error != nil {
		e := *v.Error
		v.Error = &e
	}
	return &v
}

// The states of a peer, in the API's words.
const (
	peerDown    = "down"
	peerSyncing = "syncing"
	peerUp      = "up"
)

func (b *linkState) peers(status []bgpls.PeerStatus) (out []api.BGPLSPeer) {
	for i, p := range status {
		v := api.BGPLSPeer{Address: p.Address.String(), ASN: b.cfg.Peers[i].ASN, State: peerDown, Since: p.Since, Heard: p.Heard, Reason: p.Reason}
		switch {
		case p.Told:
			v.State = peerUp
		case p.Stands:
			v.State = peerSyncing
		}
		out = append(out, v)
	}
	return out
}

// unmatched are the PEs that are no node. The listener gives routers their configured
// names, by router id.
func (b *linkState) unmatched(ted *topology.TED) (out []string) {
	for i := range b.pes {
		if _, ok := ted.NodeIndex(b.pes[i].Name); !ok {
			out = append(out, fmt.Sprintf("%s (%s)", b.pes[i].Name, b.pes[i].RouterID))
		}
	}
	return out
}

// The states of the source, in the API's words.
const (
	bgplsWaiting    = "waiting"
	bgplsInUse      = "in_use"
	bgplsHeld       = "held"
	bgplsRefused    = "refused"
	bgplsLost       = "lost"
	bgplsFallenBack = "fallen_back"
)

// gather is how long the first peer that has told all waits for the others: half a
// network is no ground to plan on. rest is how long a topology that lost more than
// half of its links must not change before it is believed: an IGP that dies takes them
// away a part at a time.
const (
	gather = 15 * time.Second
	rest   = 3 * time.Second
)

// picker decides which topology the tunnel manager is given.
type picker struct {
	fallBack time.Duration // 0: never

	given   *topology.TED // nil: none, or that of the PEs
	givenAt time.Time
	base    int       // links of the last one that rested, or of what grew from it
	had     bool      // one was given before
	first   time.Time // since when a peer has told all; zero while none has
	lost    time.Time // since when none has that had; zero while one has
	held    *topology.TED
	heldAt  time.Time
}

// pick is what a picker decided.
type pick struct {
	give    bool
	ted     *topology.TED // nil: that of the PEs
	state   string
	problem *api.Problem
	again   time.Time // when to look again without news
}

// next decides by the last snapshot and the sessions as they are now.
func (p *picker) next(now time.Time, ted *topology.TED, peers []bgpls.PeerStatus) pick {
	told := func(s bgpls.PeerStatus) bool { return s.Told }
	if !slices.ContainsFunc(peers, told) {
		return p.without(now)
	}
	p.lost = time.Time{}
	if p.first.IsZero() {
		p.first = now
	}
	complete := !slices.ContainsFunc(peers, func(s bgpls.PeerStatus) bool { return !s.Told })
	if until := p.first.Add(gather); p.given == nil && !complete && now.Before(until) {
		return pick{state: p.idle(), again: until}
	}
	up := linksUp(ted)
	if up == 0 {
		return pick{state: bgplsRefused, problem: &api.Problem{Step: "read the topology", Detail: "the peers tell no link that is up: the one before stays in use",
			Remedy: "look at the IGP of the peers, and whether they export it (distribute link-state)"}}
	}
	if p.given == nil || now.Sub(p.givenAt) >= rest {
		p.base = linksUp(p.given)
	}
	if 2*up < p.base {
		if p.held != ted {
			p.held, p.heldAt = ted, now
		}
		if until := p.heldAt.Add(rest); now.Before(until) {
			return pick{state: bgplsHeld, again: until, problem: &api.Problem{Step: "read the topology",
				Detail: fmt.Sprintf("%d of %d links went away: the one before stays until nothing has changed for %s", p.base-up, p.base, rest),
				Remedy: "look at the IGP of the peers"}}
		}
		p.base = up
	}
	o := pick{give: p.given != ted, ted: ted, state: bgplsInUse}
	if o.give {
		p.givenAt = now
	}
	p.base = max(p.base, up)
	p.given, p.had = ted, true
	return o
}

// without is what counts while no peer has told all.
func (p *picker) without(now time.Time) pick {
	p.first = time.Time{}
	if p.given == nil {
		return pick{state: p.idle(), problem: p.silent()}
	}
	if p.lost.IsZero() {
		p.lost = now
	}
	o := pick{state: bgplsLost, problem: &api.Problem{Step: "hold BGP sessions", Detail: "no session stands: the last topology stays in use", Remedy: sessionRemedy}}
	if p.fallBack == 0 {
		return o
	}
	if until := p.lost.Add(p.fallBack); now.Before(until) {
		o.again = until
		return o
	}
	p.given = nil
	return pick{give: true, state: bgplsFallenBack, problem: p.silent()}
}

// idle is the state while nothing of it is given.
func (p *picker) idle() string {
	if p.had {
		return bgplsFallenBack
	}
	return bgplsWaiting
}

func (p *picker) silent() *api.Problem {
	if p.had {
		return &api.Problem{Step: "hold BGP sessions", Detail: fmt.Sprintf("no session for %s: the topology that PEs tell is used, or the last one where they tell none", p.fallBack), Remedy: sessionRemedy}
	}
	return &api.Problem{Step: "hold BGP sessions", Detail: "no peer has told its topology yet", Remedy: sessionRemedy}
}

const sessionRemedy = "check address, AS numbers and password of bgp_ls.peers at both ends, and the link-state address family there"

func linksUp(ted *topology.TED) (n int) {
	if ted == nil {
		return 0
	}
	for i := range ted.Links() {
		if !ted.Links()[i].Down {
			n++
		}
	}
	return n
}

// zapHandler passes on what the BGP speaker warns of.
type zapHandler struct{ log *zap.Logger }

// Enabled takes warnings and errors: sessions are told of by linkState.
func (zapHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle writes one record.
func (h zapHandler) Handle(_ context.Context, r slog.Record) error {
	var fields []zap.Field
	r.Attrs(func(a slog.Attr) bool { fields = append(fields, zap.String(a.Key, a.Value.String())); return true })
	h.log.Warn("BGP: "+r.Message, fields...)
	return nil
}

// WithAttrs keeps attributes for all records.
func (h zapHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.log = h.log.With(zap.String(a.Key, a.Value.String()))
	}
	return h
}

// WithGroup is not told apart.
func (h zapHandler) WithGroup(string) slog.Handler { return h }
