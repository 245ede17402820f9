package detector

// EventKind says what happened.
type EventKind uint8

// The kinds of events.
const (
	// EventConnectionNew: there is something to know about a connection; Connection
	// tells it.
	EventConnectionNew EventKind = iota
	// EventConnectionClosed: no subflow lives. It is kept for Config.Linger, and may
	// live again.
	EventConnectionClosed
	// EventSubflowNew: a join was matched to its connection.
	EventSubflowNew
	EventSubflowEstablished
	EventSubflowVerified
	// EventSubflowForged: a HMAC was wrong.
	EventSubflowForged
	// EventSubflowChanged: backup flag, places or bytes.
	EventSubflowChanged
	EventSubflowClosed
	// EventConnectionChanged: addresses or fallback.
	EventConnectionChanged
	// EventConnectionGone: Connection does not tell it any more.
	EventConnectionGone
	// EventsLost: there were more than MaxEvents; look at the connections anew.
	EventsLost
)

var eventNames = [...]string{"connection-new", "connection-closed", "subflow-new", "subflow-established",
	"subflow-verified", "subflow-forged", "subflow-changed", "subflow-closed", "connection-changed", "connection-gone", "events-lost"}

func (k EventKind) String() string { return eventNames[k] }

// Event names what changed; Tracker.Connection tells how it is now, if it is still
// there.
type Event struct {
	At         int64 // unix ns of the packet that caused it
	Connection ConnID
	Subflow    SubflowID // 0 for events of a connection
	Kind       EventKind
}

// SetEvents changes of which connections there are events.
func (t *Tracker) SetEvents(s EventScope) { t.cfg.Events = s }

// Drain gives the events since the last call, in order.
func (t *Tracker) Drain(f func(Event)) {
	for _, e := range t.events {
		f(e)
	}
	t.events = t.events[:0]
}

func (t *Tracker) emit(kind EventKind, k, r ref) {
	if t.cfg.Events == EventsNone || k == 0 {
		return
	}
	c := t.conns.at(k)
	if t.cfg.Events == EventsMultipath && c.flags&cAnnounced == 0 {
		return
	}
	t.push(Event{At: t.p.at, Connection: connID(k, c), Subflow: t.subflowID(r), Kind: kind})
}

func (t *Tracker) push(e Event) {
	switch n := len(t.events); {
	case n < t.cfg.MaxEvents:
		t.events = append(t.events, e)
	case t.events[n-1].Kind == EventsLost:
		t.stats.EventsLost++
	default:
		t.stats.EventsLost += 2
		t.events[n-1] = Event{At: e.At, Kind: EventsLost}
	}
}

// established tells of a subflow that carries traffic now; with the second one a
// connection becomes worth telling of.
func (t *Tracker) established(k ref, c *connection, r ref, _ *subflow) {
	t.announce(k, c)
	t.emit(EventSubflowEstablished, k, r)
}

func (t *Tracker) announce(k ref, c *connection) {
	if t.cfg.Events != EventsMultipath || !t.steerable || c.flags&cAnnounced != 0 || c.live < 2 {
		return
	}
	n := 0
	for r := c.first; r != 0; {
		s := t.subs.at(r)
		if s.class == classLive && s.flags&(fAlias|fForged) == 0 && (t.canSteer(s.place[0]) || t.canSteer(s.place[2])) {
			n++
		}
		r = s.next
	}
	if n >= 2 {
		c.flags |= cAnnounced
		t.emit(EventConnectionNew, k, 0)
	}
}

func (t *Tracker) canSteer(place uint32) bool { return place != 0 && t.places[place-1].steerable }

// changed tells that a live subflow's places or backup flag changed.
func (t *Tracker) changed(r ref, s *subflow) {
	if t.cfg.Events == EventsNone || s.conn == 0 {
		return
	}
	t.announce(s.conn, t.conns.at(s.conn))
	t.emit(EventSubflowChanged, s.conn, r)
}
