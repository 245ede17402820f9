package controller

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"mpbox/apps/detector"
	"mpbox/apps/tunnelmanager"
	"mpbox/southbound/datapath"
)

// expireEvery is how often the tracker looks for what is over.
const expireEvery = 50 * time.Millisecond

// flows turns what the detector knows of a connection into what the tunnel
// manager is told of it, and the end of edge rules into news for the detector.
type flows struct {
	places  *places
	tap     *tap
	manager *tunnelmanager.Manager
	log     *zap.Logger
	publish func(detector.Event, *detector.Connection)

	counters counters

	mu     sync.Mutex                       // for listed, which drain alone writes
	listed map[detector.SubflowID]time.Time // when a subflow could be shown first
	// sweepAt is how many are listed before those of ended connections are dropped.
	sweepAt int
}

// run drains the tracker's events and lets its time go by.
func (f *flows) run(ctx context.Context) error {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.tap.news:
		case now := <-tick.C:
			f.tap.mu.Lock()
			f.tap.tracker.Expire(now.UnixNano())
			f.tap.mu.Unlock()
		}
		f.drain()
	}
}

// drain tells the tunnel manager of every connection that has news, once.
func (f *flows) drain() {
	var all []detector.Event
	seen := map[detector.ConnID]*detector.Connection{}
	var ids, ended []detector.ConnID
	lost := false
	f.tap.mu.Lock()
	t := f.tap.tracker
	t.Drain(func(e detector.Event) {
		all = append(all, e)
		lost = lost || e.Kind == detector.EventsLost
	})
	f.tap.mu.Unlock()
	for _, e := range all {
		id := e.Connection
		if _, ok := seen[id]; !ok && id != 0 {
			seen[id] = nil
			ids = append(ids, id)
		}
	}
	holding(&f.tap.mu, ids, func(id detector.ConnID) {
		if c, ok := t.Connection(id); ok && !c.Closed {
			seen[id] = &c
		} else {
			ended = append(ended, id)
		}
	})
	if lost {
		f.resync()
	}
	if len(all) == 0 {
		return
	}
	now := time.Now()
	for id, c := range seen {
		if c != nil {
			f.list(c, now)
			f.manager.Put(f.translate(c))
		} else {
			f.manager.Remove(uint64(id))
		}
	}
	f.unlist(ended)
	for _, e := range all {
		f.publish(e, seen[e.Connection])
	}
}

// resync tells of every connection that could be steered, after events were lost;
// ends were among them, so all others are over.
func (f *flows) resync() {
	f.log.Warn("detector events were lost; telling the tunnel manager of all connections anew")
	var after detector.ConnID
	live := map[uint64]bool{}
	for more := true; more; {
		var page []detector.Connection
		f.tap.mu.Lock()
		page, after, more = f.tap.tracker.Connections(after, 1000, detector.Filter{Live: true, MinSubflows: 2})
		f.tap.mu.Unlock()
		for i := range page {
			live[uint64(page[i].ID)] = true
			f.manager.Put(f.translate(&page[i]))
		}
	}
	f.manager.Retain(live)
}

func (f *flows) list(c *detector.Connection, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range c.Subflows {
		id := c.Subflows[i].ID
		if _, ok := f.listed[id]; !ok {
			f.listed[id] = now
		}
	}
}

// unlist forgets when the subflows of ended connections were shown first: those
// that the tracker does not know any more. It looks at all of them, so it does that
// only when they have doubled.
func (f *flows) unlist(ended []detector.ConnID) {
	if len(ended) == 0 || len(f.listed) <= f.sweepAt {
		return
	}
	var gone []detector.SubflowID
	holding(&f.tap.mu, slices.Collect(maps.Keys(f.listed)), func(id detector.SubflowID) {
		if f.tap.tracker.ConnectionOf(id) == 0 {
			gone = append(gone, id)
		}
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range gone {
		delete(f.listed, id)
	}
	f.sweepAt = 2*len(f.listed) + 1024
}

// perHold is how many connections or subflows are looked up in one hold of the tracker.
const perHold = 1000

// holding calls f with each item while mu is held, which it gives back after every
// perHold of them.
func holding[T any](mu sync.Locker, items []T, f func(T)) {
	for some := range slices.Chunk(items, perHold) {
		mu.Lock()
		for _, x := range some {
			f(x)
		}
		mu.Unlock()
	}
}

func (f *flows) listedAt(id detector.SubflowID) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.listed[id]
}

// translate puts a connection into the tunnel manager's words.
func (f *flows) translate(c *detector.Connection) tunnelmanager.Connection {
	out := tunnelmanager.Connection{
		ID: uint64(c.ID), Token: c.Token, Version: c.Version, VPN: c.VPN, Since: time.Unix(0, c.Created), Bytes: c.Bytes[0] + c.Bytes[1],
	}
	for i := range c.Subflows {
		s := &c.Subflows[i]
		if s.Alias || s.State >= detector.Closed {
			continue
		}
		sub := tunnelmanager.Subflow{
			ID: uint64(s.ID), Join: s.Join, AddressID: s.AddressID, Reverse: s.Reverse, Backup: s.Backup,
			Established: s.State == detector.Established, Verified: verdict(s.Verified), Since: time.Unix(0, s.Created),
		}
		there := f.flow(s.ToServer, s.Client, s.Server)
		back := f.flow(s.ToClient, s.Server, s.Client)
		there.DSCP, back.DSCP = f.dscp(c.Scope, there), f.dscp(c.Scope, back)
		if s.Reverse {
			there, back = back, there
		}
		sub.Flows = [2]tunnelmanager.Flow{there, back}
		out.Subflows = append(out.Subflows, sub)
	}
	return out
}

// bytes is what edge rules have counted of a connection.
func (f *flows) bytes(c *detector.Connection) uint64 {
	sum := c.Bytes[0] + c.Bytes[1]
	for i := range c.Subflows {
		s := &c.Subflows[i]
		if s.Alias {
			continue // its packets are the other subflow's
		}
		for _, x := range [2]tunnelmanager.Flow{f.flow(s.ToServer, s.Client, s.Server), f.flow(s.ToClient, s.Server, s.Client)} {
			_, unheard := f.counters.of(x.CountRule().ID)
			sum += unheard
		}
	}
	return sum
}

// dscp is the customer's own for a flow.
func (f *flows) dscp(scope string, x tunnelmanager.Flow) uint8 {
	f.tap.mu.Lock()
	defer f.tap.mu.Unlock()
	return f.tap.dscps[dscpKey{scope, x.Src, x.Dst}]
}

func verdict(v detector.Verdict) *bool {
	yes, no := true, false
	switch v {
	case detector.Verified:
		return &yes
	case detector.Forged:
		return &no
	case detector.Unknown:
	}
	return nil
}

// flow says where a flow enters and leaves; where the far side has no tap, by the
// prefixes of the VPN's attachments.
func (f *flows) flow(p detector.Path, src, dst netip.AddrPort) tunnelmanager.Flow {
	out := tunnelmanager.Flow{Src: src, Dst: dst}
	in := f.places.place(p.Ingress)
	out.Ingress = in.Attachment
	if e := f.places.place(p.Egress); e.Attachment != "" {
		out.Egress = e.Attachment
	} else if in.Attachment != "" {
		out.Egress = f.places.byPrefix(in.Scope, dst.Addr())
	}
	return out
}

// place gives a configured place; the zero one for others.
func (p *places) place(id detector.PlaceID) detector.Place {
	if int(id) >= len(p.list) {
		return detector.Place{}
	}
	return p.list[id]
}

// byPrefix gives the attachment whose longest prefix holds an address; "" where
// none or more than one does.
func (p *places) byPrefix(scope string, a netip.Addr) string {
	best, bits := "", -1
	for _, x := range p.prefixes[scope] {
		switch {
		case x.Bits() < bits:
			return best
		case !x.Contains(a):
		case bits < 0:
			best, bits = x.attachment, x.Bits()
		case x.attachment != best:
			return ""
		}
	}
	return best
}

// ruleEnded tells the detector of a bound flow whose edge rule is gone.
func (f *flows) ruleEnded(_ uint64, e datapath.End) {
	r, ok := f.counters.end(e.ID, e.Bytes)
	if !ok {
		return
	}
	place := f.places.placeOf(r.Attachment, detector.CE)
	f.tap.mu.Lock()
	f.tap.tracker.FlowEnded(time.Now().UnixNano(), place, r.Src, r.Dst, e.Bytes, e.Reason == datapath.EndIdle)
	f.tap.mu.Unlock()
	f.tap.wake()
}

func (p *places) placeOf(attachment string, side detector.Side) detector.PlaceID {
	for i := range p.list {
		if p.list[i].Attachment == attachment && p.list[i].Side == side {
			return detector.PlaceID(i)
		}
	}
	return detector.NoPlace
}

// restore puts back, before anything runs, the connections that were bound before
// a restart: into the detector, so that later joins find them by token, and into the
// tunnel manager. Those that the detector refuses are forgotten.
func (f *flows) restore(bound []tunnelmanager.Bound) {
	var refused []tunnelmanager.Bound
	why := map[string]int{}
	defer func() {
		f.manager.Discard(refused)
		if n := len(bound) - len(refused); n > 0 {
			f.log.Info("bound connections restored", zap.Int("connections", n))
		}
		if len(refused) > 0 {
			var text []string
			for _, w := range sortedKeys(why) {
				text = append(text, fmt.Sprintf("%d %s", why[w], w))
			}
			f.log.Warn("bound connections not restored, and forgotten", zap.Int("connections", len(refused)), zap.String("why", strings.Join(text, ", ")))
		}
	}()
	now := time.Now().UnixNano()
	for i := range bound {
		b := &bound[i]
		c := detector.Connection{Token: b.Token, Version: b.Version, Scope: f.places.scope(b.VPN), Created: b.Since.UnixNano(), LastSeen: now}
		for j := range b.Subflows {
			s := &b.Subflows[j]
			there, back := s.Flows[tunnelmanager.C2S], s.Flows[tunnelmanager.S2C]
			if !s.Join {
				c.Client, c.Server = there.Src, there.Dst
			}
			for _, x := range s.Flows {
				if f.tap.dscps != nil && x.DSCP != 0 {
					f.tap.dscps.set(dscpKey{c.Scope, x.Src, x.Dst}, x.DSCP)
				}
			}
			if s.Reverse {
				there, back = back, there
			}
			d := detector.Subflow{Join: s.Join, Client: there.Src, Server: there.Dst, Backup: s.Backup, AddressID: s.AddressID, Reverse: s.Reverse,
				ToServer: f.path(there), ToClient: f.path(back), Created: s.Since.UnixNano()}
			if s.Established {
				d.State, d.Established = detector.Established, d.Created
			}
			if s.Verified != nil && *s.Verified {
				d.Verified = detector.Verified
			}
			c.Subflows = append(c.Subflows, d)
		}
		id := f.tap.tracker.Restore(c)
		v, ok := f.tap.tracker.Connection(id)
		if id == 0 || !ok {
			refused = append(refused, *b)
			why[f.whyRefused(&c)]++
			continue
		}
		v.VPN = b.VPN
		f.manager.PutBack(*b, f.translate(&v))
	}
}

// whyRefused tells why the detector did not take a connection back.
func (f *flows) whyRefused(c *detector.Connection) string {
	switch {
	case !slices.ContainsFunc(f.places.list, func(p detector.Place) bool { return p.Scope == c.Scope }):
		return "of a VPN that is not configured"
	case len(c.Subflows) == 0:
		return "with no subflow left"
	}
	return "for want of room (detector.max_connections, max_subflows)"
}

func (f *flows) path(x tunnelmanager.Flow) detector.Path {
	return detector.Path{Ingress: f.places.placeOf(x.Ingress, detector.CE), Egress: f.places.placeOf(x.Egress, detector.PE)}
}
