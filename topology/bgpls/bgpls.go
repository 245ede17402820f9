// Package bgpls learns the TED from routers by BGP Link-State (RFC 9552, RFC
// 8571 for delays): an embedded GoBGP speaker takes sessions, and every change
// becomes a new snapshot. It announces nothing.
//
// The routers' IGP is believed as it is told, with the IGP's own check that both
// ends of a link agree it is there (RFC 2328, section 16.1, step 2b). A session
// that is lost takes no link with it: what was learnt stays, marked as stale in
// Status, until the peer is back and has told all of it again.
package bgpls

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"

	"mpbox/topology"
)

// Config of a listener.
type Config struct {
	// AS and RouterID of our end.
	AS       uint32
	RouterID netip.Addr
	// Listen is where routers may connect; the zero value listens nowhere, and
	// only sessions of our own making are held.
	Listen netip.AddrPort
	Peers  []Peer
	// Names of router ids. They win over the host names that routers tell: no other
	// router is called by one of them.
	Names map[netip.Addr]string
	// Quiet is how long a new session must have told nothing more before what it did
	// not tell again is forgotten, where the peer sends no end-of-RIB marker; 0
	// means 10 s.
	Quiet time.Duration
	// Settle is how long changes are collected before a snapshot is made; 0 means
	// 50 ms. A change is in a snapshot at most twice as long after it was heard.
	Settle time.Duration
}

// Peer is a router that tells its TED.
type Peer struct {
	Address netip.Addr
	// AS of the peer; ours for internal BGP.
	AS uint32
	// Port to connect to; 0 means 179.
	Port uint16
	// Passive peers connect to us; we do not to them.
	Passive bool
	// Password of TCP MD5 (RFC 2385); empty for none.
	Password string
}

// Status of a listener, for people.
type Status struct {
	// Peers in the order of the configuration.
	Peers []PeerStatus
	// Nodes and Links of the last snapshot, and its version.
	Nodes, Links int
	Version      uint64
	// Notes are what was left out of it, and why.
	Notes []string
}

// PeerStatus is how the session with a peer is.
type PeerStatus struct {
	Address netip.Addr
	// Stands: the session is established. Told: and all that the peer had to tell is
	// in the snapshot.
	Stands, Told bool
	// Since is when the session came or went, zero if it never was; Heard when the
	// peer last told something.
	Since, Heard time.Time
	// Reason is why the last session ended.
	Reason string
}

// Listener holds the sessions and the last snapshot.
type Listener struct {
	cfg     Config
	log     *slog.Logger
	changed chan struct{} // one slot: snapshots are coalesced
	heard   chan struct{} // one slot: the store has changed
	ted     atomic.Pointer[topology.TED]

	mu    sync.Mutex // guards what follows
	store *store
	peers map[netip.Addr]*PeerStatus
	notes []string
}

// New checks the configuration. A nil logger is silent; sessions are not logged here
// but shown in Status.
func New(cfg Config, log *slog.Logger) (*Listener, error) {
	switch {
	case cfg.AS == 0:
		return nil, errors.New("bgp-ls: AS 0: give our AS number")
	case !cfg.RouterID.Is4():
		return nil, fmt.Errorf("bgp-ls: router id %s: want an IPv4 address", cfg.RouterID)
	case len(cfg.Peers) == 0:
		return nil, errors.New("bgp-ls: no peers: name a router that tells its topology")
	}
	seen := map[netip.Addr]bool{}
	for _, p := range cfg.Peers {
		switch {
		case !p.Address.IsValid() || p.AS == 0:
			return nil, fmt.Errorf("bgp-ls: peer %s: want its address and AS number", p.Address)
		case seen[p.Address]:
			return nil, fmt.Errorf("bgp-ls: peer %s is given twice", p.Address)
		case p.Passive && !cfg.Listen.IsValid():
			return nil, fmt.Errorf("bgp-ls: peer %s is passive, and nothing listens for it", p.Address)
		}
		seen[p.Address] = true
	}
	cfg.Settle = cmp.Or(cfg.Settle, 50*time.Millisecond)
	cfg.Quiet = cmp.Or(cfg.Quiet, 10*time.Second)
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &Listener{
		cfg: cfg, log: log, store: newStore(), peers: map[netip.Addr]*PeerStatus{},
		changed: make(chan struct{}, 1), heard: make(chan struct{}, 1),
	}
	for _, p := range cfg.Peers {
		l.peers[p.Address] = &PeerStatus{Address: p.Address}
	}
	return l, nil
}

// TED is the last snapshot; nil until a peer has told a first node.
func (l *Listener) TED() *topology.TED { return l.ted.Load() }

// Changed is signalled when TED has a new snapshot, and when a session comes, goes,
// or has told all.
func (l *Listener) Changed() <-chan struct{} { return l.changed }

// Status tells how the sessions are.
func (l *Listener) Status() Status {
	var s Status
	if t := l.ted.Load(); t != nil {
		s.Nodes, s.Links, s.Version = len(t.Nodes()), len(t.Links()), t.Version()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.cfg.Peers {
		s.Peers = append(s.Peers, *l.peers[p.Address])
	}
	s.Notes = append(s.Notes, l.notes...)
	return s
}

// Run holds the sessions until ctx is done.
func (l *Listener) Run(ctx context.Context) error {
	bgpServer := server.NewBgpServer(server.LoggerOption(l.log, nil))
	served := make(chan struct{})
	go func() {
		defer close(served)
		bgpServer.Serve()
	}()
	defer func() {
		bgpServer.Stop()
		<-served
	}()
	if err := l.start(ctx, bgpServer); err != nil {
		return err
	}
	tick := time.NewTicker(l.cfg.Quiet / 4)
	defer tick.Stop()
	version := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			l.sweepQuiet(now)
			continue
		case <-l.heard:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(l.cfg.Settle):
		}
		version++
		l.snapshot(version)
	}
}

func (l *Listener) start(ctx context.Context, s *server.BgpServer) error {
	global := &api.Global{Asn: l.cfg.AS, RouterId: l.cfg.RouterID.String(), ListenPort: -1}
	if l.cfg.Listen.IsValid() {
		global.ListenPort = int32(l.cfg.Listen.Port())
		global.ListenAddresses = []string{l.cfg.Listen.Addr().String()}
	}
	if err := s.StartBgp(ctx, &api.StartBgpRequest{Global: global}); err != nil {
		return fmt.Errorf("start BGP at %s: %w", l.cfg.Listen, err)
	}
	// What is heard from peers, not what GoBGP takes for best: that would lose all
	// with the session.
	err := s.WatchEvent(ctx, server.WatchEventMessageCallbacks{
		OnPathUpdate: l.paths, OnPathEor: l.endOfRIB, OnPeerUpdate: l.peer,
	}, server.WatchUpdate(true, "", ""), server.WatchEor(true), server.WatchPeer())
	if err != nil {
		return fmt.Errorf("watch BGP: %w", err)
	}
	for _, p := range l.cfg.Peers {
		if err := s.AddPeer(ctx, &api.AddPeerRequest{Peer: peerConfig(p)}); err != nil {
			return fmt.Errorf("add BGP peer %s: %w", p.Address, err)
		}
	}
	return nil
}

func peerConfig(p Peer) *api.Peer {
	port := uint32(p.Port)
	if port == 0 {
		port = 179
	}
	return &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: p.Address.String(), PeerAsn: p.AS, AuthPassword: p.Password},
		Transport: &api.Transport{PassiveMode: p.Passive, RemotePort: port},
		Timers:    &api.Timers{Config: &api.TimersConfig{ConnectRetry: 5, IdleHoldTimeAfterReset: 5, HoldTime: 90, KeepaliveInterval: 30}},
		// Makes peers send the end-of-RIB marker; what is kept while a session is lost
		// is our own affair.
		GracefulRestart: &api.GracefulRestart{Enabled: true, HelperOnly: true, RestartTime: 1},
		// Route reflectors in another AS may be some hops away.
		EbgpMultihop: &api.EbgpMultihop{Enabled: true, MultihopTtl: 255},
		AfiSafis: []*api.AfiSafi{{Config: &api.AfiSafiConfig{
			Family: &api.Family{Afi: api.Family_AFI_LS, Safi: api.Family_SAFI_LS}, Enabled: true,
		}}},
	}
}

// paths takes what a peer announced or withdrew. GoBGP calls it, like the two
// below, from one goroutine.
func (l *Listener) paths(list []*apiutil.Path, at time.Time) {
	l.mu.Lock()
	for _, p := range list {
		l.store.update(p)
		if s, ok := l.peers[p.PeerAddress]; ok {
			s.Heard = at
		}
	}
	l.mu.Unlock()
	poke(l.heard)
}

// endOfRIB: the peer has told all (RFC 4724, section 2).
func (l *Listener) endOfRIB(p *apiutil.Path, _ time.Time) {
	if p.Family != bgp.RF_LS {
		return
	}
	l.mu.Lock()
	l.allTold(p.PeerAddress)
	l.mu.Unlock()
}

// sweepQuiet takes peers that have told nothing for a while for ones that have
// told all.
func (l *Listener) sweepQuiet(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for addr, s := range l.peers {
		if s.Stands && !l.store.whole[addr] && now.Sub(s.Heard) >= l.cfg.Quiet {
			l.allTold(addr)
		}
	}
}

// allTold forgets what a peer did not tell again since its session was lost.
func (l *Listener) allTold(addr netip.Addr) {
	if s, ok := l.peers[addr]; ok && s.Stands && !l.store.whole[addr] {
		l.store.sweep(addr)
		poke(l.heard)
	}
}

func (l *Listener) peer(ev *apiutil.WatchEventMessage_PeerEvent, at time.Time) {
	addr, stands := ev.Peer.State.NeighborAddress, ev.Peer.State.SessionState == bgp.BGP_FSM_ESTABLISHED
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.peers[addr]
	if !ok || s.Stands == stands {
		return
	}
	s.Stands, s.Told, s.Since = stands, false, at
	if stands {
		s.Heard, s.Reason = at, ""
	} else {
		s.Reason = cmp.Or(ev.Peer.State.DisconnectMessage, "the connection ended")
		l.store.stale(addr)
	}
	poke(l.heard)
	poke(l.changed)
}

// poke fills a one-slot channel.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// snapshot makes a TED of what is known now.
func (l *Listener) snapshot(version uint64) {
	l.mu.Lock()
	ted, notes, err := l.store.build(version, l.cfg.Names)
	whole := maps.Clone(l.store.whole)
	l.notes = notes
	if err != nil {
		l.notes = append(l.notes, err.Error())
	}
	l.mu.Unlock()
	if err != nil {
		l.log.Error("BGP-LS topology refused: the last one stays", "err", err)
		return
	}
	if old := l.ted.Load(); old == nil && len(ted.Nodes()) > 0 || old != nil && !topology.Equal(old, ted) {
		l.ted.Store(ted)
	}
	l.mu.Lock()
	for addr, s := range l.peers {
		s.Told = s.Stands && whole[addr] && l.store.whole[addr]
	}
	l.mu.Unlock()
	poke(l.changed) // also where the TED is the same: a peer may have told all
}
