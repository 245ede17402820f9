package detector

import (
	"encoding/binary"

	"mpbox/southbound/packet"
	"mpbox/southbound/packet/mptcp"
)

// address is one that an end of a connection advertised (RFC 8684 section 3.4.1).
type address struct {
	hi, lo       uint64
	conn         ref
	next         ref // of the connection
	older, newer ref
	port         uint16
	id           uint8
	client       bool // advertised by the connection's client
}

// maxAddresses of one connection.
const maxAddresses = 16

// segmentOptions takes in the options of a segment without SYN. r is the subflow
// that it belongs to, 0 if none is known; it gives the subflow after that.
func (t *Tracker) segmentOptions(r ref, dir int) ref {
	bad := false
	for opt := t.p.nextOption(); opt != nil; opt = t.p.nextOption() {
		if err := t.opt.Decode(opt, mptcp.ACK); err != nil {
			bad = t.optionError(err) || bad
			continue
		}
		r = t.signal(r, dir)
	}
	if bad || t.p.broken && !t.p.v.OptionsCut {
		t.stats.Malformed++
	}
	return r
}

// signal acts on the option that was just decoded.
func (t *Tracker) signal(r ref, dir int) ref {
	o := &t.opt
	switch o.Subtype {
	case mptcp.Capable:
		t.stats.CapableACK++
		if t.p.v.Flags.Has(packet.ACK) && !t.p.v.Flags.Has(packet.RST) {
			return t.onCapableACK(r, dir)
		}
	case mptcp.Join:
		t.stats.JoinACK++
		if r != 0 && dir == toServer {
			t.onJoinACK(r, t.subs.at(r), o.MAC)
		}
	case mptcp.AddAddr:
		t.stats.AddAddr++
		t.onAddAddr(r, dir)
	case mptcp.RemoveAddr:
		t.stats.RemoveAddr++
		t.onRemoveAddr(r, dir)
	case mptcp.Prio:
		t.stats.Prio++
		t.onPrio(r, dir)
	case mptcp.FastClose:
		t.stats.FastClose++
		t.onFastClose(r, dir)
	case mptcp.Fail:
		t.stats.Fail++
		if r != 0 {
			t.onFail(t.subs.at(r))
		}
	case mptcp.TCPRst:
		t.stats.TCPRst++
	}
	return r
}

// fromClient tells whether the sender of a packet is the client of the subflow's
// connection.
func (s *subflow) fromClient(dir int) bool { return (dir == toServer) == (s.flags&fReverse == 0) }

func (t *Tracker) onAddAddr(r ref, dir int) {
	o := &t.opt
	if r == 0 || o.Echo {
		return
	}
	s := t.subs.at(r)
	if s.conn == 0 {
		return
	}
	c := t.conns.at(s.conn)
	b := o.Addr.As16()
	hi, lo := binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])
	client := s.fromClient(dir)
	n := 0
	for x := c.addrs; x != 0; {
		a := t.addrs.at(x)
		if a.client == client && a.id == o.AddrID {
			if a.hi != hi || a.lo != lo || a.port != o.Port {
				a.hi, a.lo, a.port = hi, lo, o.Port
				t.emit(EventConnectionChanged, s.conn, 0)
			}
			return
		}
		n++
		x = a.next
	}
	if n >= maxAddresses {
		return
	}
	if t.addrCount >= t.cfg.MaxAddresses {
		t.dropAddress(t.oldAddr)
	}
	x := t.freeAddr
	if x != 0 {
		t.freeAddr = t.addrs.at(x).next
	} else {
		x = t.addrs.extend()
	}
	*t.addrs.at(x) = address{hi: hi, lo: lo, port: o.Port, id: o.AddrID, client: client,
		conn: s.conn, next: c.addrs, older: t.newAddr}
	if t.newAddr != 0 {
		t.addrs.at(t.newAddr).newer = x
	} else {
		t.oldAddr = x
	}
	t.newAddr = x
	c.addrs = x
	t.addrCount++
	t.emit(EventConnectionChanged, s.conn, 0)
}

func (t *Tracker) dropAddress(x ref) {
	a := t.addrs.at(x)
	c := t.conns.at(a.conn)
	if c.addrs == x {
		c.addrs = a.next
	} else {
		for y := c.addrs; y != 0; {
			o := t.addrs.at(y)
			if o.next == x {
				o.next = a.next
				break
			}
			y = o.next
		}
	}
	if a.older != 0 {
		t.addrs.at(a.older).newer = a.newer
	} else {
		t.oldAddr = a.newer
	}
	if a.newer != 0 {
		t.addrs.at(a.newer).older = a.older
	} else {
		t.newAddr = a.older
	}
	*a = address{next: t.freeAddr}
	t.freeAddr = x
	t.addrCount--
}

// advertised tells whether an end of a connection has announced an address: the
// client's when client, else the server's.
func (t *Tracker) advertised(c *connection, hi, lo uint64, client bool) bool {
	for x := c.addrs; x != 0; {
		a := t.addrs.at(x)
		if a.client == client && a.hi == hi && a.lo == lo {
			return true
		}
		x = a.next
	}
	return false
}

// onRemoveAddr forgets advertised addresses. Subflows that use one end by RST or
// FIN of their own (RFC 8684 section 3.4.2 has the hosts make sure first).
func (t *Tracker) onRemoveAddr(r ref, dir int) {
	if r == 0 {
		return
	}
	s := t.subs.at(r)
	if s.conn == 0 {
		return
	}
	client := s.fromClient(dir)
	c := t.conns.at(s.conn)
	for _, id := range t.opt.IDs {
		for x := c.addrs; x != 0; {
			a := t.addrs.at(x)
			next := a.next
			if a.id == id && a.client == client {
				t.dropAddress(x)
				t.emit(EventConnectionChanged, s.conn, 0)
			}
			x = next
		}
	}
}

// onPrio: RFC 8684 section 3.3.8. Version 0 may mean the subflows of another
// address of the sender.
func (t *Tracker) onPrio(r ref, dir int) {
	if r == 0 {
		return
	}
	o := &t.opt
	s := t.subs.at(r)
	if o.HasAddrID && s.conn != 0 && t.conns.at(s.conn).version != 0 {
		t.stats.Mismatched++ // version 0 alone has an address id here
		return
	}
	if !o.HasAddrID || s.conn == 0 {
		t.setBackup(r, s, o.Backup)
		return
	}
	client := s.fromClient(dir)
	for x := t.conns.at(s.conn).first; x != 0; {
		y := t.subs.at(x)
		id := y.clientID
		if y.fromClient(toServer) != client {
			id = y.serverID
		}
		if id == o.AddrID {
			t.setBackup(x, y, o.Backup)
		}
		x = y.next
	}
}

func (t *Tracker) setBackup(r ref, s *subflow, backup bool) {
	if backup == (s.flags&fBackup != 0) {
		return
	}
	s.flags ^= fBackup
	t.changed(r, s)
}

// onFastClose: RFC 8684 section 3.5. With the receiver's right key it ends the
// whole connection; a wrong key counts for nothing, and with a key that cannot be
// judged the subflow's own RST tells.
func (t *Tracker) onFastClose(r ref, dir int) {
	if r == 0 {
		return
	}
	s := t.subs.at(r)
	if s.conn == 0 {
		return
	}
	c := t.conns.at(s.conn)
	key, known := c.serverKey, c.flags&cServerKey != 0
	if !s.fromClient(dir) {
		key, known = c.clientKey, c.flags&cClientKey != 0
	}
	if !known {
		return
	}
	if key != t.opt.Key {
		t.stats.Mismatched++
		return
	}
	for x := c.first; x != 0; {
		y := t.subs.at(x)
		next := y.next
		if !y.ended() {
			t.stats.ClosedFast++
			y.flags |= fGone
			t.settle(x, y)
		}
		x = next
	}
}

// onFail: RFC 8684 section 3.7. A connection with a single subflow goes on as
// plain TCP.
func (t *Tracker) onFail(s *subflow) {
	if s.conn == 0 {
		return
	}
	c := t.conns.at(s.conn)
	if c.live == 1 && c.flags&cFallback == 0 {
		c.flags |= cFallback
		t.stats.Fallen++
		t.emit(EventConnectionChanged, s.conn, 0)
	}
}
