package iosxr

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"mpbox/examples/lab/fabric"
	"mpbox/examples/lab/pe/petest"
	"mpbox/examples/lab/pe/router"
	"mpbox/pe-drivers/driver"
	"mpbox/pe-drivers/drivertest"
	"mpbox/topology"
)

// startPE starts an emulated PE with its SSH server alone.
func startPE(t testing.TB) (*petest.PE, Config) {
	t.Helper()
	p := petest.Start(t, petest.Options{NoSNMP: true})
	ids := make(map[netip.Addr]string)
	for _, n := range p.Node.Nodes {
		ids[n.RouterID] = n.Name
	}
	return p, Config{
		PE: p.Node.Name, RouterID: p.Node.RouterID, Address: p.SSHAddr, Owner: owner, Names: driver.NewNames(ids),
		User: p.Node.SSH.User, Password: p.Node.SSH.Password, HostKey: p.Node.SSH.HostKey,
	}
}

func linkRoute(t testing.TB, n fabric.Node, links ...string) []topology.Hop {
	t.Helper()
	at := "pe1"
	var out []topology.Hop
	for _, name := range links {
		found := false
		for _, l := range n.Links {
			if _, far, ok := l.End(at); ok && l.Name == name {
				out, at, found = append(out, topology.Hop{Addr: far.Address.Addr()}), far.Node, true
				break
			}
		}
		if !found {
			t.Fatalf("no link %s at %s", name, at)
		}
	}
	return out
}

// writes counts the commits, and lines that were never committed as one more.
func writes(t testing.TB, p *petest.PE) int {
	t.Helper()
	events, err := router.ReadEvents(p.Node.EventLog)
	if err != nil {
		t.Fatal(err)
	}
	n, open := 0, 0
	for _, e := range events {
		switch {
		case e.Source != "cli":
		case e.Kind == "commit":
			n, open = n+1, 0
		default:
			open = 1
		}
	}
	return n + open
}

func TestConformance(t *testing.T) {
	p, cfg := startPE(t)
	with := func(change func(*Config)) func(testing.TB) driver.Driver {
		return func(testing.TB) driver.Driver {
			c := cfg
			change(&c)
			return New(c)
		}
	}
	drivertest.Run(t, drivertest.Harness{
		New: with(func(*Config) {}), Owner: owner, Ingress: "pe1", Egress: "pe2", Interface: "GigabitEthernet0/0/0/1",
		Routes:        [][]topology.Hop{linkRoute(t, p.Node, "pe1-p1", "p1-pe2"), linkRoute(t, p.Node, "pe1-p2", "p2-pe2"), linkRoute(t, p.Node, "pe1-p1", "p1-p2", "p2-pe2")},
		Writes:        func(t testing.TB) int { return writes(t, p) },
		WrongPassword: with(func(c *Config) { c.Password += "x" }),
		Unreachable:   with(func(c *Config) { c.Address = "127.0.0.1:1" }),
		Refuse: func(_ testing.TB, what string) func() {
			p.Faults(map[string]string{"lsp": "refuse-tunnel", "ftn": "refuse-ftn"}[what])
			return func() { p.Faults("") }
		},
		Foreign: func(t testing.TB) (string, string) {
			base := p.Router.Config()
			next := base.Clone()
			tun := router.NewTunnelTE()
			tun.Unnumbered, tun.Signalled, tun.Destination = "Loopback0", "noc-1", netip.MustParseAddr("10.255.0.2")
			tun.Class, tun.Options = 1, map[uint32]router.PathOption{10: {}}
			next.CLI.Tunnels[77] = tun
			next.CLI.ACLs[router.ACLName{Name: "noc"}] = router.ACL{10: {Protocol: 6}}
			if err := p.Router.Commit(base, next); err != nil {
				t.Fatal(err)
			}
			return "noc-1", ""
		},
	})
}

// The router's own words reach the operator.
func TestRouterRefuses(t *testing.T) {
	p, cfg := startPE(t)
	d := New(cfg)
	defer func() { _ = d.Close() }()
	p.Faults("refuse-tunnel")
	err := d.Apply(t.Context(), driver.Signal{LSP: topology.LSP{Name: owner + "pe1-pe2/1", Egress: "pe2", SetupPriority: 7, HoldPriority: 7}})
	var e *driver.Error
	if !errors.As(err, &e) || !strings.HasPrefix(e.Step, "commit comment mpbox: signal mpbox/lab/pe1-pe2/1") || !strings.Contains(e.Detail, "interface tunnel-te50000") {
		t.Errorf("got %v", err)
	}
	p.Faults("")
	// Nothing of it is left in a candidate that the next commit would carry.
	if err := d.Apply(t.Context(), driver.Signal{LSP: topology.LSP{Name: owner + "pe1-pe2/2", Egress: "pe2", SetupPriority: 7, HoldPriority: 7}}); err != nil {
		t.Fatal(err)
	}
	s, err := d.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range s.LSPs {
		if l.Name == owner+"pe1-pe2/1" {
			t.Errorf("the refused LSP is there: %+v", l)
		}
	}
}

func TestTopologyOfPE(t *testing.T) {
	p, cfg := startPE(t)
	d := newDriver(cfg)
	ted, err := d.Topology(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(ted.Nodes()) != len(p.Node.Nodes) || len(ted.Links()) != 2*len(p.Node.Links) {
		t.Errorf("%d nodes and %d links, want %d and %d", len(ted.Nodes()), len(ted.Links()), len(p.Node.Nodes), 2*len(p.Node.Links))
	}
	for _, l := range p.Node.Links {
		found := false
		for _, got := range ted.Links() {
			if got.LocalAddr != l.A.Address.Addr() {
				continue
			}
			found = true
			if ted.Nodes()[got.From].Name != l.A.Node || ted.Nodes()[got.To].Name != l.B.Node || got.TEMetric != l.TEMetric || len(got.SRLGs) != len(l.SRLGs) || got.MaxBandwidth != float64(l.RateBPS) {
				t.Errorf("link %s is read as %+v", l.Name, got)
			}
		}
		if !found {
			t.Errorf("link %s is not there", l.Name)
		}
	}
	p.Fabric.SetLink("pe1-p1", false)
	deadline := time.Now().Add(5 * time.Second)
	for len(ted.Links()) != 2*len(p.Node.Links)-2 {
		if time.Now().After(deadline) {
			t.Fatalf("%d links after one was lost", len(ted.Links()))
		}
		if ted, err = d.Topology(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A router that restarts costs one failed call, and the next one logs in again.
func TestReconnect(t *testing.T) {
	p, cfg := startPE(t)
	// The router restarts: what runs for it later is not the driver's.
	router := goleak.IgnoreCurrent()
	d := New(cfg)
	if _, err := d.State(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.StopProcess()
	if _, err := d.State(t.Context()); !errors.Is(err, driver.ErrUnreachable) {
		t.Errorf("without the router: %v, want unreachable", err)
	}
	p.StartProcess()
	if _, err := d.State(t.Context()); err != nil {
		t.Errorf("the router is back: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	p.StopProcess()
	// The connections' readers may need a moment.
	leak := goleak.Find(router)
	for end := time.Now().Add(10 * time.Second); leak != nil && time.Now().Before(end); {
		leak = goleak.Find(router)
	}
	if leak != nil {
		t.Error(leak)
	}
	p.StartProcess()
}

func TestHostKey(t *testing.T) {
	p, cfg := startPE(t)
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	right, _, _, _, err := ssh.ParseAuthorizedKey([]byte(p.Node.SSH.HostKey))
	if err != nil {
		t.Fatal(err)
	}
	known := func(key ssh.PublicKey) string {
		f := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(f, []byte(knownhosts.Line([]string{cfg.Address}, key)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, c := range []struct {
		name   string
		change func(*Config)
		kind   error
	}{
		{"known key", func(*Config) {}, nil},
		{"known_hosts", func(c *Config) { c.HostKey, c.KnownHosts = "", known(right) }, nil},
		{"another key", func(c *Config) { c.HostKey = string(ssh.MarshalAuthorizedKey(other)) }, driver.ErrProtocol},
		{"another key in known_hosts", func(c *Config) { c.HostKey, c.KnownHosts = "", known(other) }, driver.ErrProtocol},
		{"none", func(c *Config) { c.HostKey = "" }, driver.ErrUnsupported},
		{"garbage", func(c *Config) { c.HostKey = "ssh-ed25519 x" }, driver.ErrUnsupported},
		{"no file", func(c *Config) { c.HostKey, c.KnownHosts = "", "/nonexistent" }, driver.ErrUnsupported},
		{"no password", func(c *Config) { c.Password = "" }, driver.ErrUnsupported},
		{"no key file", func(c *Config) { c.KeyFile = "/nonexistent" }, driver.ErrUnsupported},
		{"wrong user", func(c *Config) { c.User = "nobody" }, driver.ErrAuth},
	} {
		cc := cfg
		c.change(&cc)
		d := New(cc)
		_, err := d.State(t.Context())
		if c.kind == nil && err != nil || c.kind != nil && !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		}
		var e *driver.Error
		if c.kind != nil && (!errors.As(err, &e) || e.Remedy == "") {
			t.Errorf("%s: %v has no remedy", c.name, err)
		}
		if strings.Contains(fmt.Sprint(err), cfg.Password) {
			t.Errorf("%s: the error tells the password", c.name)
		}
		_ = d.Close()
	}
}

// A router that accepts the connection and says nothing does not hang anybody.
func TestSilentRouter(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	_, cfg := startPE(t)
	cfg.Address, cfg.ConnectTimeout = ln.Addr().String(), 100*time.Millisecond
	d := New(cfg)
	defer func() { _ = d.Close() }()
	start := time.Now()
	if _, err := d.State(t.Context()); !errors.Is(err, driver.ErrUnreachable) {
		t.Errorf("got %v, want unreachable", err)
	}
	cfg.ConnectTimeout = time.Minute
	d = New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := d.State(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
}
