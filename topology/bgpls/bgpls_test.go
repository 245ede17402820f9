package bgpls

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mpbox/topology"
	"mpbox/topology/bgpls/bgplstest"
)

const loopback = "127.0.0.1"

func TestMain(m *testing.M) { bgplstest.Main(m) }

// await waits until the listener's TED is as wanted, and tells how long it took.
func await(t *testing.T, l *Listener, limit time.Duration, what string, ok func(*topology.TED) bool) time.Duration {
	t.Helper()
	start := time.Now()
	timeout := time.After(limit)
	for {
		if ted := l.TED(); ted != nil && ok(ted) {
			return time.Since(start)
		}
		select {
		case <-l.Changed():
		case <-timeout:
			n := -1
			if ted := l.TED(); ted != nil {
				n = len(ted.Links())
			}
			t.Fatalf("%s: not after %v: %d links, %+v", what, limit, n, l.Status())
		}
	}
}

func awaitUp(t *testing.T, l *Listener, up bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); l.Status().Peers[0].Told != up; {
		if time.Now().After(deadline) {
			t.Fatalf("up is not %v: %+v", up, l.Status())
		}
		select {
		case <-t.Context().Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestNetworkOfAHundredNodes(t *testing.T) {
	source := bgplstest.Network(100)
	port := bgplstest.FreePort(t)
	l, err := New(Config{
		AS: 65002, RouterID: netip.MustParseAddr("10.0.0.8"), Listen: netip.AddrPortFrom(netip.MustParseAddr(loopback), port),
		Peers: []Peer{{Address: netip.MustParseAddr(loopback), AS: 65001, Passive: true}}, Quiet: 400 * time.Millisecond,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	defer func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run does not end")
		}
	}()

	s := bgplstest.Start(t, port, false)
	await(t, l, 20*time.Second, "the whole network", func(ted *topology.TED) bool { return topology.Equal(source, ted) })
	awaitUp(t, l, true)
	if st := l.Status(); len(st.Notes) > 0 || st.Nodes != 100 {
		t.Errorf("status %+v", st)
	}

	// Told in tens of milliseconds; the rest is for a machine with other work.
	const soon = 5 * time.Second
	// A link goes down at both ends, and comes back. It must be a link of one whose
	// addresses tell it apart.
	lost, opposite := 0, source.Links()[0].Reverse
	s.Say("withdraw", lost, opposite)
	took := await(t, l, soon, "link lost", func(ted *topology.TED) bool { return len(ted.Links()) == len(source.Links())-2 })
	t.Logf("a lost link was seen after %v", took)
	s.Say("add", lost, opposite)
	took = await(t, l, soon, "link back", func(ted *topology.TED) bool { return topology.Equal(source, ted) })
	t.Logf("the link back was seen after %v", took)

	// A router dies: its neighbours withdraw, its own links stay told for a while.
	s.Say("withdraw", lost)
	await(t, l, soon, "one direction lost", func(ted *topology.TED) bool {
		d := topology.Diff(source, ted)
		return len(d) == 2 && strings.Contains(strings.Join(d, "\n"), "down false -> true")
	})
	s.Say("add", lost)
	await(t, l, soon, "both directions back", func(ted *topology.TED) bool { return topology.Equal(source, ted) })

	// The session is lost: nothing falls out of the TED.
	s.Stop()
	awaitUp(t, l, false)
	if !topology.Equal(source, l.TED()) {
		t.Errorf("without a session the TED is another: %v", topology.Diff(source, l.TED()))
	}

	// It is back, and the network is another: what is not told again goes.
	less := without(t, source, lost)
	bgplstest.Start(t, port, true, lost, opposite)
	await(t, l, 20*time.Second, "told again", func(ted *topology.TED) bool { return topology.Equal(less, ted) })
}

// With another password nothing is heard, with the same one everything.
func TestPassword(t *testing.T) {
	port := bgplstest.FreePort(t)
	l, err := New(Config{
		AS: 65002, RouterID: netip.MustParseAddr("10.0.0.8"), Listen: netip.AddrPortFrom(netip.MustParseAddr(loopback), port),
		Peers: []Peer{{Address: netip.MustParseAddr(loopback), AS: 65001, Passive: true, Password: "right"}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	t.Setenv(bgplstest.PasswordEnv, "wrong")
	bgplstest.Start(t, port, true)
	select {
	case <-l.Changed():
		t.Errorf("heard with a wrong password: %+v", l.Status())
	case <-time.After(3 * time.Second):
	}
	t.Setenv(bgplstest.PasswordEnv, "right")
	bgplstest.Start(t, port, true)
	awaitUp(t, l, true)
}

// without rebuilds a network without a link.
func without(t *testing.T, ted *topology.TED, link int) *topology.TED {
	t.Helper()
	b := &topology.Builder{}
	for _, n := range ted.Nodes() {
		b.AddNode(n)
	}
	for i, l := range ted.Links() {
		if i != link && i != ted.Links()[link].Reverse {
			b.AddLink(l)
		}
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestConfigRefused(t *testing.T) {
	good := Config{AS: 1, RouterID: netip.MustParseAddr("10.0.0.1"), Peers: []Peer{{Address: netip.MustParseAddr("10.0.0.2"), AS: 1}}}
	if _, err := New(good, nil); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"AS 0":      func(c *Config) { c.AS = 0 },
		"router id": func(c *Config) { c.RouterID = netip.MustParseAddr("::1") },
		"no peers":  func(c *Config) { c.Peers = nil },
		"AS number": func(c *Config) { c.Peers = []Peer{{Address: good.Peers[0].Address}} },
		"twice":     func(c *Config) { c.Peers = append(c.Peers, c.Peers[0]) },
		"passive":   func(c *Config) { c.Peers = []Peer{{Address: good.Peers[0].Address, AS: 1, Passive: true}} },
	} {
		c := good
		c.Peers = append([]Peer(nil), good.Peers...)
		change(&c)
		if _, err := New(c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestRunEndsAllItStarted(t *testing.T) {
	before := goleak.IgnoreCurrent()
	l, err := New(Config{
		AS: 65002, RouterID: netip.MustParseAddr("10.0.0.8"), Listen: netip.AddrPortFrom(netip.MustParseAddr(loopback), bgplstest.FreePort(t)),
		Peers: []Peer{{Address: netip.MustParseAddr("127.0.0.77"), AS: 65001}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; {
		err := goleak.Find(before)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestPortInUse(t *testing.T) {
	busy, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	l, err := New(Config{
		AS: 65002, RouterID: netip.MustParseAddr("10.0.0.8"), Listen: netip.MustParseAddrPort(busy.Addr().String()),
		Peers: []Peer{{Address: netip.MustParseAddr("127.0.0.77"), AS: 65001}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), busy.Addr().String()) {
		t.Errorf("a port in use: %v", err)
	}
}
