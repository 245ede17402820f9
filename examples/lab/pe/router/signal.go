package router

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"mpbox/examples/lab/fabric"
)

// instance is a signalled path of an LSP.
type instance struct {
	Path   fabric.Path `json:"path"`
	LSPID  uint32      `json:"lsp_id"`
	Option uint32      `json:"option"`
	Spec   string      `json:"spec"`
	Kbps   uint32      `json:"kbps"`
	Hold   uint8       `json:"hold"`
	Since  time.Time   `json:"since"`

	edges []int
}

// pending is a path that is being signalled: Path has gone out, Resv is awaited.
type pending struct {
	edges  []int
	option uint32
	spec   string
	ready  time.Time
	// made is the path once labels are given: the data plane may take it only at
	// the second try, and must see the same one.
	made *instance
}

// lsp is the operational state of a tunnel.
type lsp struct {
	head        Head
	cur         *instance
	next        *pending
	reason      string // why it is down
	lastError   string
	lastErrorAt time.Time
	created     time.Time
	downAt      time.Time
	upTotal     time.Duration // of instances that ended
	transitions uint32
	changes     uint32
	changedAt   time.Time
}

// signaller owns the operational state. Its methods run in one goroutine.
type signaller struct {
	node  fabric.Node
	ted   *TED
	plane Plane
	now   func() time.Time
	// save writes the runtime down before the data plane uses it.
	save func() error

	hopDelay   time.Duration // of Path and Resv over one link
	ifName     map[uint32]string
	attachment map[string]bool
	egresses   []string
	byRouterID map[netip.Addr]string

	lsps    map[TunnelID]*lsp
	garbage []uint32 // paths that nothing points to any more
	ids     ids
	placed  fabric.Ingress
	started bool
	// reserved is the bandwidth in kbit/s by edge and priority; nil when it has to
	// be counted again.
	reserved [][8]uint32
	// What was flooded last, and heard of other PEs.
	flooded bookings
	heard   map[string]bookings
	heardAt map[string]time.Time
}

// ids are numbers that are given once and kept over a restart.
type ids struct {
	Path    uint32            `json:"path"`
	LSP     uint32            `json:"lsp"`
	Label   uint32            `json:"label"`
	Entry   uint32            `json:"entry"`
	Entries map[string]uint32 `json:"entries"`
}

func (s *signaller) entryID(key string) uint32 {
	id, ok := s.ids.Entries[key]
	if !ok {
		s.ids.Entry++
		id = s.ids.Entry
		s.ids.Entries[key] = id
	}
	return id
}

func (s *signaller) egressName(a netip.Addr) string { return s.byRouterID[a] }

// label takes the next free label of this PE's range (RFC 3209, section 4.1: the
// downstream router chooses; here each PE has labels of its own on all routers).
func (s *signaller) label(used map[uint32]bool) (uint32, error) {
	r := s.node.Labels
	for range r.Last - r.First + 1 {
		if s.ids.Label < r.First || s.ids.Label >= r.Last {
			s.ids.Label = r.First
		} else {
			s.ids.Label++
		}
		if !used[s.ids.Label] {
			used[s.ids.Label] = true
			return s.ids.Label, nil
		}
	}
	return 0, fmt.Errorf("no free label")
}

// links is the state of the links, with what is reserved on them now.
func (s *signaller) links() linkState {
	if s.reserved == nil {
		s.reserved = make([][8]uint32, len(s.ted.Edges))
		all := append(slices.Collect(maps.Values(s.heard)), s.own())
		for e := range s.ted.Edges {
			for _, b := range all {
				for p, kbps := range b[s.ted.edgeName(e)] {
					s.reserved[e][p] += kbps
				}
			}
		}
	}
	reserved := s.reserved
	return linkState{
		up: s.plane.LinkUp,
		free: func(e int, prio uint8) uint32 {
			return s.ted.Edges[e].Kbps - min(s.ted.Edges[e].Kbps, reserved[e][min(prio, 7)])
		},
	}
}

// pass brings LSPs and data plane to what the configuration and the links now
// ask for. It returns when to look again at the latest, zero if never.
func (s *signaller) pass(ctx context.Context, c *Config, slow time.Duration) (wake time.Time, err error) {
	heads := map[TunnelID]Head{}
	for _, h := range c.Heads(s.node.Name) {
		heads[h.ID] = h
	}
	for id, l := range s.lsps {
		if _, wanted := heads[id]; !wanted {
			s.drop(l, "")
			delete(s.lsps, id)
		}
	}
	now := s.now()
	for _, id := range slices.SortedFunc(maps.Keys(heads), TunnelID.Compare) {
		at, err := s.signal(ctx, heads[id], now, slow)
		if err != nil {
			return now.Add(200 * time.Millisecond), err
		}
		if !at.IsZero() && (wake.IsZero() || at.Before(wake)) {
			wake = at
		}
	}
	if s.preempt() {
		wake = now // they look for another way
	}
	in := s.ingress(c)
	if !reflect.DeepEqual(in, s.placed) {
		if err := s.save(); err != nil {
			return now.Add(200 * time.Millisecond), err
		}
		if err := s.plane.SetIngress(ctx, in); err != nil {
			return now.Add(200 * time.Millisecond), err
		}
		s.placed = in
	}
	for len(s.garbage) > 0 {
		if err := s.plane.RemovePath(ctx, s.garbage[0]); err != nil {
			return now.Add(200 * time.Millisecond), err
		}
		s.garbage = s.garbage[1:]
	}
	return wake, nil
}

// signal moves one LSP a step on its way; the returned time is when the next step
// is due, zero if none is.
func (s *signaller) signal(ctx context.Context, h Head, now time.Time, slow time.Duration) (time.Time, error) {
	l := s.lsps[h.ID]
	if l == nil {
		l = &lsp{created: now, downAt: now}
		s.lsps[h.ID] = l
	}
	l.head = h
	switch {
	case !h.Admin:
		s.drop(l, "administratively down")
		return time.Time{}, nil
	case h.Why != "":
		s.drop(l, h.Why)
		return time.Time{}, nil
	}
	links := s.links()
	broken := l.cur != nil && slices.ContainsFunc(l.cur.edges, func(e int) bool { return !links.up(s.ted.Edges[e].Link) })
	if l.cur != nil && !broken && l.cur.Spec == h.spec() {
		l.next = nil
		return time.Time{}, nil
	}
	if broken {
		s.drop(l, "")
	}
	edges, option, err := s.route(h, links)
	if err != nil {
		// The old path, if any, no longer is what was asked for.
		s.drop(l, err.Error())
		if l.lastError != err.Error() {
			l.lastError, l.lastErrorAt = err.Error(), now
		}
		return time.Time{}, nil
	}
	if l.next == nil || !slices.Equal(l.next.edges, edges) || l.next.spec != h.spec() {
		l.next = &pending{edges: edges, option: option, spec: h.spec(), ready: now.Add(slow + time.Duration(len(edges))*s.hopDelay)}
	}
	if now.Before(l.next.ready) {
		if l.cur == nil {
			l.reason = "signalling"
		}
		return l.next.ready, nil
	}
	if err := s.install(ctx, l, now); err != nil {
		if l.cur == nil {
			l.reason = err.Error()
		}
		return time.Time{}, err
	}
	return time.Time{}, nil
}

// route is the first path option that leads anywhere.
func (s *signaller) route(h Head, links linkState) ([]int, uint32, error) {
	to := s.ted.Node(h.Egress)
	from := s.ted.byName[s.node.Name]
	if to < 0 || to == from || !s.ted.Nodes[to].PE {
		return nil, 0, noPath(h.Egress, "unknown")
	}
	var first error
	for _, o := range h.Options {
		var edges []int
		var err error
		if o.Missing {
			err = saidf("Explicit path %s has no hops", o.Name)
		} else {
			edges, err = s.ted.explicit(from, to, o.Hops, h.constraints(), links)
		}
		if err == nil {
			return edges, o.Index, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, 0, first
}

// install puts the pending path into the data plane and makes it the current
// one; the old one goes once nothing points to it.
func (s *signaller) install(ctx context.Context, l *lsp, now time.Time) error {
	if l.next.made == nil {
		made, err := s.allot(l, now)
		if err != nil {
			return err
		}
		l.next.made = made
	}
	in := l.next.made
	if err := s.plane.InstallPath(ctx, in.Path); err != nil {
		return err
	}
	if l.cur == nil {
		l.transitions++
	} else {
		l.upTotal += now.Sub(l.cur.Since)
		s.garbage = append(s.garbage, l.cur.Path.ID)
	}
	l.cur, l.next, l.reason = in, nil, ""
	l.changes++
	l.changedAt = now
	s.reserved = nil
	return nil
}

// allot gives the pending path an id, an LSP ID and labels.
func (s *signaller) allot(l *lsp, now time.Time) (*instance, error) {
	used := map[uint32]bool{}
	for _, o := range s.lsps {
		if o.cur != nil {
			for _, h := range o.cur.Path.Hops {
				used[h.Label] = true
			}
		}
		if o.next != nil && o.next.made != nil {
			for _, h := range o.next.made.Path.Hops {
				used[h.Label] = true
			}
		}
	}
	s.ids.Path++
	s.ids.LSP = s.ids.LSP%65535 + 1 // RFC 3209: an LSP ID has 16 bits
	in := &instance{
		Path: fabric.Path{ID: s.ids.Path}, LSPID: s.ids.LSP, Option: l.next.option, Spec: l.next.spec,
		Kbps: l.head.Kbps, Hold: l.head.Hold, Since: now, edges: l.next.edges,
	}
	for _, e := range l.next.edges {
		label, err := s.label(used)
		if err != nil {
			return nil, err
		}
		in.Path.Hops = append(in.Path.Hops, fabric.Hop{Link: s.ted.Edges[e].Link, Label: label})
	}
	return in, nil
}

// drop takes an LSP down.
func (s *signaller) drop(l *lsp, reason string) {
	l.next, l.reason = nil, reason
	if l.cur == nil {
		return
	}
	now := s.now()
	l.upTotal += now.Sub(l.cur.Since)
	s.garbage = append(s.garbage, l.cur.Path.ID)
	l.cur, l.downAt = nil, now
	s.reserved = nil
	l.transitions++
}

// preempt drops LSPs of this PE from links on which better ones now hold what
// they had (RFC 3209, section 4.7.3): the worst holding priority first, of equals
// the latest. True if one was dropped.
func (s *signaller) preempt() bool {
	dropped := false
	for {
		var worst *lsp
		links := s.links()
		for _, id := range slices.SortedFunc(maps.Keys(s.lsps), TunnelID.Compare) {
			l := s.lsps[id]
			if l.cur == nil || l.cur.Kbps == 0 || l.cur.Hold == 0 || !slices.ContainsFunc(l.cur.edges, func(e int) bool {
				full, better := s.reserved[e][l.cur.Hold] > s.ted.Edges[e].Kbps, links.free(e, l.cur.Hold-1) < s.ted.Edges[e].Kbps
				return full && better
			}) {
				continue
			}
			if worst == nil || l.cur.Hold > worst.cur.Hold || l.cur.Hold == worst.cur.Hold && l.cur.Since.After(worst.cur.Since) {
				worst = l
			}
		}
		if worst == nil {
			return dropped
		}
		s.drop(worst, "preempted")
		dropped = true
	}
}
