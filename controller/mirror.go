package controller

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"mpbox/apps/detector"
	"mpbox/controller/api"
	"mpbox/controller/config"
	"mpbox/southbound/capture"
	"mpbox/southbound/packet"
)

// mirror reads a mirror port and gives what it sees to the tap, as bridges give
// their punts. It owns the port: run opens it, and opens it again whenever the
// interface is back.
//
// A punt's direction follows from the port that it came in at. A copy has no such
// port, so its direction is told by the configuration (a mirror of one direction), by
// the header of ERSPAN type III, or by the prefixes behind the CE. A frame that none
// of these tells is still looked at, but says nothing of where its flow enters or
// leaves: connections are found by it, and not steered by a guess.
type mirror struct {
	cfg     *config.Mirror
	tap     *tap
	log     *zap.Logger
	changed func(api.Mirror)

	entries  []mirrorEntry
	sessions map[uint16]*portPlace // to indexes of entries, by ERSPAN session; 0: any
	scratch  []detector.Frame      // run's

	mu     sync.Mutex
	live   *capture.Live // nil while it is lost
	state  string
	since  time.Time
	err    error
	counts mirrorCounts
	before capture.LiveStats // of what was open before
}

// mirrorEntry is an attachment at a mirror port, with the places of its frames.
type mirrorEntry struct {
	*config.MirrorAttachment
	attachment attachment
	scope      string
	places     [3]detector.PlaceID // by side
}

// mirrorCounts counts frames that the kernel let through.
type mirrorCounts struct{ handshakes, unplaced, undirected uint64 }

// The states of a mirror, in the API's words.
const (
	mirrorListening = "listening"
	mirrorDown      = "down"
	mirrorLost      = "lost"
)

// mirrorRetry is how long to wait before an interface is opened again, mirrorLook how
// often its link is asked for.
const (
	mirrorRetry = 500 * time.Millisecond
	mirrorLook  = 250 * time.Millisecond
)

// newMirrors makes the mirrors of a configuration. Their places are made known
// before the Tracker is built.
func newMirrors(cfg *config.Config, p *places) []*mirror {
	var out []*mirror
	for i := range cfg.Mirrors {
		m := &mirror{cfg: &cfg.Mirrors[i], sessions: map[uint16]*portPlace{}, state: mirrorLost, err: errors.New("not opened yet"), since: time.Now()}
		for j := range m.cfg.Attachments {
			c := &m.cfg.Attachments[j]
			at := p.attachments[c.Name]
			m.entries = append(m.entries, mirrorEntry{
				MirrorAttachment: c, attachment: at, scope: p.scope(at.VPN), places: [3]detector.PlaceID{
					detector.SideUnknown: p.add(at.Attachment, m.cfg.Name, detector.SideUnknown),
					detector.CE:          p.placeOf(c.Name, detector.CE), detector.PE: p.placeOf(c.Name, detector.PE),
				},
			})
			var tags [2]uint16
			copy(tags[:], c.VLAN)
			if m.sessions[c.Session] == nil {
				m.sessions[c.Session] = newPortPlace()
			}
			m.sessions[c.Session].set(tags, detector.PlaceID(j))
		}
		out = append(out, m)
	}
	return out
}

// run reads the port until ctx ends. An interface that is not there, or goes, is
// told of and opened again when it is back.
func (m *mirror) run(ctx context.Context) error {
	for {
		if err := m.read(ctx); err != nil {
			m.become(mirrorLost, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(mirrorRetry):
		}
	}
}

// read opens the port and reads it until it is lost.
func (m *mirror) read(ctx context.Context) error {
	live, err := capture.OpenLive(capture.LiveConfig{
		Interface: m.cfg.Interface, FilterOptions: capture.FilterOptions{ThirdACK: m.cfg.ThirdACK, ERSPAN: m.cfg.ERSPAN},
	})
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.live = live
	m.mu.Unlock()
	defer m.close()

	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { m.watch(ctx, live) })
	defer watch.Wait()
	defer cancel()
	return live.Run(ctx, m.frames)
}

// watch tells when the port's link comes and goes.
func (m *mirror) watch(ctx context.Context, live *capture.Live) {
	tick := time.NewTicker(mirrorLook)
	defer tick.Stop()
	for {
		if live.Down() {
			m.become(mirrorDown, errors.New("the interface has no link"))
		} else {
			m.become(mirrorListening, nil)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// close keeps the counters of what is closed.
func (m *mirror) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = m.stats()
	if err := m.live.Close(); err != nil {
		m.log.Warn("close mirror port", zap.String("mirror", m.cfg.Name), zap.Error(err))
	}
	m.live = nil
}

// stats are those of all that was open; mu is held.
func (m *mirror) stats() capture.LiveStats {
	s := m.before
	if m.live != nil {
		n := m.live.Stats()
		s.Packets, s.Drops, s.Outgoing, s.Strange = s.Packets+n.Packets, s.Drops+n.Drops, s.Outgoing+n.Outgoing, s.Strange+n.Strange
	}
	return s
}

// become notes a state, and tells of it when it is another one.
func (m *mirror) become(state string, err error) {
	m.mu.Lock()
	same := m.state == state && errorText(m.err) == errorText(err)
	if m.state != state {
		m.since = time.Now()
	}
	m.state, m.err = state, err
	m.mu.Unlock()
	if same {
		return
	}
	log := m.log.Info
	if err != nil {
		log = m.log.Warn
	}
	log("mirror", zap.String("mirror", m.cfg.Name), zap.String("interface", m.cfg.Interface), zap.String("state", state), zap.Error(err))
	m.changed(m.view())
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// frames takes in a batch that arrived at the port.
func (m *mirror) frames(batch []capture.Frame) {
	var n mirrorCounts
	frames := m.scratch[:0]
	for i := range batch {
		f := &batch[i]
		frames = append(frames, detector.Frame{At: f.At, Place: m.place(f, &n), Data: f.Data})
	}
	m.scratch = frames
	m.tap.mu.Lock()
	m.tap.observeFrames(frames)
	m.tap.mu.Unlock()
	if m.tap.events {
		m.tap.wake()
	}
	m.mu.Lock()
	m.counts.handshakes += n.handshakes
	m.counts.unplaced += n.unplaced
	m.counts.undirected += n.undirected
	m.mu.Unlock()
}

// place finds where a frame was copied, and from which side it came there.
func (m *mirror) place(f *capture.Frame, n *mirrorCounts) detector.PlaceID {
	var v packet.View
	tcp := v.Parse(f.Data) == packet.TCP
	if tcp && v.Flags.Has(packet.SYN) {
		n.handshakes++
	}
	e := m.entry(f)
	if e == nil {
		if tcp {
			n.unplaced++
		}
		return detector.NoPlace
	}
	side := detector.SideUnknown
	switch e.Direction {
	case "from_ce":
		side = detector.CE
	case "to_ce":
		side = detector.PE
	case "header":
		if f.Mirror.Type == 3 {
			side = detector.CE
			if f.Mirror.Egress { // the port towards the customer sent it
				side = detector.PE
			}
		}
	default:
		if tcp {
			side = m.sideOf(e, &v)
		}
	}
	if tcp && side == detector.SideUnknown {
		n.undirected++
	}
	return e.places[side]
}

// sideOf tells by the addresses of a frame from which side of an attachment it came:
// one of its ends is behind the CE.
func (m *mirror) sideOf(e *mirrorEntry, v *packet.View) detector.Side {
	src := m.tap.places.byPrefix(e.scope, v.Src().Addr()) == e.Name
	dst := m.tap.places.byPrefix(e.scope, v.Dst().Addr()) == e.Name
	switch {
	case src && !dst:
		return detector.CE
	case dst && !src:
		return detector.PE
	}
	return detector.SideUnknown
}

// entry finds the attachment of a frame, by ERSPAN session and VLAN tags. Of a tag
// that the mirror removed, ERSPAN's header knows.
func (m *mirror) entry(f *capture.Frame) *mirrorEntry {
	tags := vlanTags(f.Data)
	if tags[0] == 0 {
		tags[0] = f.Mirror.VLAN
	}
	for _, session := range []uint16{f.Mirror.Session, 0} {
		if at := m.sessions[session]; at != nil {
			if i := at.by(tags); i != detector.NoPlace {
				return &m.entries[i]
			}
		}
	}
	return nil
}

// view shows the mirror in the API's words.
func (m *mirror) view() api.Mirror {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats()
	o := api.Mirror{
		Name: m.cfg.Name, Interface: m.cfg.Interface, ERSPAN: m.cfg.ERSPAN, ThirdACK: m.cfg.ThirdACK, State: m.state, Since: m.since,
		Frames: s.Packets, Handshakes: m.counts.handshakes, Dropped: s.Drops, Strange: s.Strange,
		Unplaced: m.counts.unplaced, Undirected: m.counts.undirected,
	}
	for i := range m.entries {
		e := &m.entries[i]
		o.Attachments = append(o.Attachments, api.MirrorAttachment{
			Name: e.Name, Direction: e.Direction, VLAN: slices.Clone(e.VLAN), Session: e.Session,
			VPN: e.attachment.VPN, PE: e.attachment.PE, PEInterface: e.attachment.PEInterface,
		})
	}
	if m.err != nil {
		o.Error = &api.Problem{Step: "listen", Detail: m.err.Error(), Remedy: mirrorRemedy(m.state, m.err), At: m.since}
	}
	return o
}

func mirrorRemedy(state string, err error) string {
	switch {
	case errors.Is(err, os.ErrPermission):
		return "run mpbox as root, or give it CAP_NET_RAW (AmbientCapabilities= of its systemd unit)"
	case errors.Is(err, capture.ErrGone):
		return "create the interface, or correct mirrors[].interface; it is taken up by itself when it is there"
	case state == mirrorDown:
		return "set it up (ip link set dev NAME up) and check the cable; it is taken up by itself"
	}
	return ""
}
