package detector

import "net/netip"

// Restore makes a connection known that was there before a restart: by its token
// and tuples, without keys. Later joins are matched by token; they cannot be
// verified. Joins that have ended are left out. It gives
// the connection's new id, 0 when there is no room or nothing to restore.
func (t *Tracker) Restore(v Connection) ConnID {
	scope, ok := t.scope[v.Scope]
	if !ok {
		return 0
	}
	var k ref
	t.p.at, t.p.tick = v.LastSeen, t.tick(v.LastSeen)
	for i := range v.Subflows {
		f := &v.Subflows[i]
		if f.State > Established && (f.Join || f.State == Failed) {
			continue
		}
		k = t.restoreSub(k, scope, &v, f)
	}
	if k == 0 {
		return 0
	}
	c := t.conns.at(k)
	if v.HasClientToken {
		t.setClientToken(k, c, v.ClientToken)
	}
	c.created, c.bytes = v.Created, v.Bytes
	t.settleConn(k, c)
	t.stats.Restored++
	t.emit(EventConnectionNew, k, 0)
	t.adopt(k, scope, v.Token)
	if v.HasClientToken && v.ClientToken != v.Token {
		t.adopt(k, scope, v.ClientToken)
	}
	return connID(k, c)
}

func (t *Tracker) restoreSub(k ref, scope uint16, v *Connection, f *Subflow) ref {
	p := t.p
	p.scope, p.src, p.dst = scope, endpointOf(f.Client), endpointOf(f.Server)
	p.hash = t.h.tuple(scope, &p.src, &p.dst)
	t.lookup()
	flags := fSYN
	switch f.State {
	case Established:
		flags |= fSYNACK
	case Closed:
		flags |= fSYNACK | fGone
	}
	set := func(on bool, flag uint16) {
		if on {
			flags |= flag
		}
	}
	set(f.Join, fJoin)
	set(f.Backup, fBackup)
	set(f.Alias, fAlias)
	set(f.Reverse, fReverse)
	set(f.Verified == Verified, fVerified)
	set(f.Verified == Forged, fForged)
	r, s := t.open(true, 0, flags)
	if k != 0 && t.conns.at(k).gen == 0 {
		k = 0 // evicted to make room
	}
	if r == 0 {
		return k
	}
	s.created, s.token = f.Created, v.Token
	if f.Established >= f.Created && f.Established != 0 {
		s.answered = micros(f.Established - f.Created)
	}
	s.clientID, s.serverID = f.AddressID, f.ServerAddressID
	s.place = [4]uint32{uint32(f.ToServer.Ingress) + 1, uint32(f.ToServer.Egress) + 1, uint32(f.ToClient.Ingress) + 1, uint32(f.ToClient.Egress) + 1}
	if k == 0 {
		if k = t.newConnection(s, v.Version, v.Token, t.h.token(scope, v.Token)); k == 0 {
			t.drop(r)
			return 0
		}
		c := t.conns.at(k)
		c.flags |= cRestored | cProven
	}
	c := t.conns.at(k)
	if !f.Join && !f.Alias && c.initial == 0 {
		c.initial = r
	}
	if t.attach(k, c, r, s) {
		t.settle(r, s)
	}
	if t.conns.at(k).gen == 0 {
		return 0
	}
	return k
}

// FlowEnded tells that an edge rule that counted a flow (packets from src to dst,
// in the scope of a place) is gone after carrying bytes; idle, that it was for want
// of packets: then the subflow has ended.
func (t *Tracker) FlowEnded(at int64, place PlaceID, src, dst netip.AddrPort, bytes uint64, idle bool) {
	if int(place) >= len(t.places) {
		t.stats.UnknownPlace++
		return
	}
	p := t.p
	p.at, p.tick, p.place, p.side, p.scope = at, t.tick(at), uint32(place)+1, SideUnknown, t.places[place].scope
	p.src, p.dst = endpointOf(src), endpointOf(dst)
	p.hash = t.h.tuple(p.scope, &p.src, &p.dst)
	t.lookup()
	r, dir := t.current()
	if r == 0 {
		return
	}
	s := t.subs.at(r)
	if s.conn != 0 {
		c := t.conns.at(s.conn)
		if s.flags&fReverse != 0 {
			dir = 1 - dir
		}
		c.bytes[dir] += bytes
		t.stats.Bytes[dir] += bytes
	}
	if idle && !s.ended() {
		t.stats.ClosedIdle++
		s.flags |= fGone
		t.settle(r, s)
		return
	}
	t.changed(r, s)
}
