package router

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"mpbox/examples/lab/fabric"
)

// Snapshot is what the management front ends show. It never changes.
type Snapshot struct {
	At     time.Time
	Config *Config
	// LSPs are the tunnels that begin here, in the order of mplsTunnelTable.
	LSPs []LSP
	// Up are the edges of the TED whose links are up.
	Up []bool
	// Free is the bandwidth in kbit/s that each priority can still reserve.
	Free [][8]uint32
}

// LSP is the state of a tunnel.
type LSP struct {
	Head
	Up bool
	// Signalling is set while a path is being set up, the first one or the next.
	Signalling bool
	// Reason is why it is down, LastError the last failure to find a path.
	Reason      string
	LastError   string
	LastErrorAt time.Time
	// Of the path in use.
	LSPID     uint32
	PathID    uint32
	Option    uint32
	Route     []RouteHop
	TE, IGP   uint64
	Created   time.Time
	Since     time.Time // of the present state
	UpTotal   time.Duration
	Changes   uint32
	ChangedAt time.Time
	// Transitions counts changes between up and down.
	Transitions uint32
}

// RouteHop is a link of an LSP's route, and the router at its end.
type RouteHop struct {
	Edge   int // of the TED
	Remote netip.Addr
	NodeID netip.Addr
	Label  uint32
}

// Find gives the state of a tunnel, nil where it is not signalled.
func (s *Snapshot) Find(id TunnelID) *LSP {
	i, ok := slices.BinarySearchFunc(s.LSPs, id, func(l LSP, id TunnelID) int { return l.ID.Compare(id) })
	if !ok {
		return nil
	}
	return &s.LSPs[i]
}

// Snapshot gives the present state.
func (r *Router) Snapshot() *Snapshot { return r.snap.Load() }

// publish makes a new snapshot; only the signaller calls it. Between passes a
// commit replaces the configuration in it.
func (r *Router) publish() {
	snap := r.sig.snapshot()
	r.mu.Lock()
	defer r.mu.Unlock()
	snap.Config = r.config
	r.snap.Store(snap)
}

func (s *signaller) snapshot() *Snapshot {
	snap := &Snapshot{At: s.now(), Up: make([]bool, len(s.ted.Edges)), Free: make([][8]uint32, len(s.ted.Edges))}
	links := s.links()
	for e := range s.ted.Edges {
		snap.Up[e] = links.up(s.ted.Edges[e].Link)
		for p := range uint8(8) {
			snap.Free[e][p] = links.free(e, p)
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(s.lsps), TunnelID.Compare) {
		snap.LSPs = append(snap.LSPs, s.lsps[id].show(s.ted))
	}
	return snap
}

func (l *lsp) show(ted *TED) LSP {
	v := LSP{
		Head: l.head, Up: l.cur != nil, Signalling: l.next != nil, Reason: l.reason, LastError: l.lastError, LastErrorAt: l.lastErrorAt,
		Created: l.created, Since: l.downAt, UpTotal: l.upTotal, Changes: l.changes, ChangedAt: l.changedAt,
		Transitions: l.transitions,
	}
	if l.cur == nil {
		return v
	}
	v.LSPID, v.PathID, v.Option, v.Since = l.cur.LSPID, l.cur.Path.ID, l.cur.Option, l.cur.Since
	for i, e := range l.cur.edges {
		ed := ted.Edges[e]
		v.TE += uint64(ed.TE)
		v.IGP += uint64(ed.IGP)
		v.Route = append(v.Route, RouteHop{Edge: e, Remote: ed.Remote, NodeID: ted.Nodes[ed.To].RouterID, Label: l.cur.Path.Hops[i].Label})
	}
	return v
}

// counterCache keeps the data plane's counters for a second: that is how often
// they change.
type counterCache struct {
	mu sync.Mutex
	at time.Time
	c  fabric.Counters
}

// Counters gives packets and bytes by path and by entry; empty where the data
// plane does not answer.
func (r *Router) Counters() fabric.Counters {
	r.counts.mu.Lock()
	defer r.counts.mu.Unlock()
	if time.Since(r.counts.at) < time.Second {
		return r.counts.c
	}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	c, err := r.plane.Counters(ctx)
	if err != nil {
		r.opts.Log(err)
	} else {
		r.counts.c = c
	}
	r.counts.at = time.Now()
	return r.counts.c
}
