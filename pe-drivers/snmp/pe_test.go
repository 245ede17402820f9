package snmp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"

	"mpbox/examples/lab/fabric"
	"mpbox/examples/lab/pe/petest"
	"mpbox/examples/lab/pe/router"
	"mpbox/internal/itest"
	"mpbox/pe-drivers/driver"
	"mpbox/pe-drivers/drivertest"
	"mpbox/topology"
)

// peConfig is that of a driver to the emulated PE behind a real snmpd.
func peConfig(p *petest.PE) Config {
	ids := make(map[netip.Addr]string)
	for _, n := range p.Node.Nodes {
		ids[n.RouterID] = n.Name
	}
	return Config{
		PE: p.Node.Name, RouterID: p.Node.RouterID, Address: p.SNMPAddr, Owner: owner, Names: driver.NewNames(ids),
		User: p.Node.SNMP.User, AuthProtocol: "sha256", AuthPassword: p.Node.SNMP.AuthPassword,
		PrivProtocol: "aes128", PrivPassword: p.Node.SNMP.PrivPassword,
		Timeout: 10 * time.Second, Retries: 2, // this machine may be busy
	}
}

// route goes from pe1 by the links: each hop is the far end's address.
func route(t testing.TB, n fabric.Node, links ...string) []topology.Hop {
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

func setsSeen(t testing.TB, p *petest.PE) int {
	t.Helper()
	events, err := router.ReadEvents(p.Node.EventLog)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range events {
		if e.Source == "snmp" {
			n++
		}
	}
	return n
}

func TestIntegrationConformance(t *testing.T) {
	itest.Need(t, "snmpd")
	p := petest.Start(t, petest.Options{})
	cfg := peConfig(p)
	raw := New(cfg).(*snmpDriver)
	t.Cleanup(func() { _ = raw.Close() })
	write := func(t testing.TB, vars ...gosnmp.SnmpPDU) {
		t.Helper()
		if err := raw.session.set(context.Background(), vars); err != nil {
			t.Fatal(err)
		}
	}
	with := func(change func(*Config)) func(testing.TB) driver.Driver {
		return func(testing.TB) driver.Driver {
			c := cfg
			change(&c)
			return New(c)
		}
	}
	drivertest.Run(t, drivertest.Harness{
		New: with(func(*Config) {}), Owner: owner, Ingress: "pe1", Egress: "pe2", Interface: "GigabitEthernet0/0/0/1",
		Routes:        [][]topology.Hop{route(t, p.Node, "pe1-p1", "p1-pe2"), route(t, p.Node, "pe1-p2", "p2-pe2"), route(t, p.Node, "pe1-p1", "p1-p2", "p2-pe2")},
		Writes:        func(t testing.TB) int { return setsSeen(t, p) },
		WrongPassword: with(func(c *Config) { c.AuthPassword += "x" }),
		Unreachable:   with(func(c *Config) { c.Address, c.Timeout = "127.0.0.1:9", 100*time.Millisecond }),
		Refuse: func(_ testing.TB, what string) func() {
			p.Faults(map[string]string{"lsp": "refuse-tunnel", "ftn": "refuse-ftn"}[what])
			return func() { p.Faults("") }
		},
		HalfMade: func(t testing.TB, lsp, class string) {
			for _, r := range encodeHops(77, lsp, hops("10.0.1.2", "10.0.2.2")) {
				write(t, r...)
			}
			vars := encodeFTN(66, class, topology.FEC{Protocol: 6}, "0.0")
			vars[len(vars)-1].Value = 5 // createAndWait
			write(t, vars...)
		},
		Foreign: func(t testing.TB) (string, string) {
			id := lsrID(p.Node.RouterID)
			tun := tunnel{id: 7, instance: 1, ingress: id, egress: id + 1, name: "noc-1", setup: 7, hold: 7}
			write(t, encodeTunnel(tun)...)
			write(t, encodeFTN(5, "noc-class", topology.FEC{Dst: netip.MustParsePrefix("10.2.0.0/24")}, tun.pointer())...)
			write(t, mapRow{ifIndex: 3, curr: 5}.create()...)
			return "noc-1", "noc-class"
		},
		Many: 100,
	})
}

// What an operator sees when the credentials are wrong, each in its own way.
func TestIntegrationCredentials(t *testing.T) {
	itest.Need(t, "snmpd")
	p := petest.Start(t, petest.Options{})
	for _, c := range []struct {
		name   string
		change func(*Config)
		kind   error
		detail string
		remedy string
	}{
		{"user", func(c *Config) { c.User = "nobody" }, driver.ErrAuth, "usmStatsUnknownUserNames", "correct user"},
		{"auth password", func(c *Config) { c.AuthPassword = "wrong-secret" }, driver.ErrAuth, "usmStatsWrongDigests", "auth_password"},
		{"auth protocol", func(c *Config) { c.AuthProtocol = "sha1" }, driver.ErrAuth, "usmStatsWrongDigests", "auth_password"},
		// snmpd drops what it cannot decrypt without a word.
		{"priv password", func(c *Config) { c.PrivPassword, c.Timeout = "wrong-secret", 3*time.Second }, driver.ErrUnreachable, "", "if this lasts, check priv and priv_password"},
	} {
		cfg := peConfig(p)
		cfg.Retries = 0
		c.change(&cfg)
		d := New(cfg)
		_, err := d.State(t.Context())
		var e *driver.Error
		if !errors.As(err, &e) || !errors.Is(e.Kind, c.kind) || e.Detail != c.detail || e.PE != "pe1" || !strings.Contains(e.Remedy, c.remedy) {
			t.Errorf("wrong %s: %v, want %v, %s, with %q", c.name, err, c.kind, c.detail, c.remedy)
		}
		for _, secret := range []string{cfg.AuthPassword, cfg.PrivPassword} {
			if strings.Contains(fmt.Sprint(err), secret) {
				t.Errorf("the error tells the password: %v", err)
			}
		}
		_ = d.Close()
	}
}

// The agent, or its MPLS part, goes away and comes back under a driver's feet.
func TestIntegrationAgentRestarts(t *testing.T) {
	itest.Need(t, "snmpd")
	p := petest.Start(t, petest.Options{})
	cfg := peConfig(p)
	cfg.Retries, cfg.MaxMessage = 0, 484
	d := New(cfg)
	defer func() { _ = d.Close() }()
	lsp := topology.LSP{
		Name: owner + "pe1-pe2/1", Egress: "pe2", AdminUp: true, SetupPriority: 7, HoldPriority: 7,
		ERO: route(t, p.Node, "pe1-p1", "p1-p2", "p2-pe2"),
	}
	if err := d.Apply(t.Context(), driver.Signal{LSP: lsp}); err != nil {
		t.Fatal(err)
	}

	p.StopProcess()
	// snmpd may take a request to see that its subagent is gone.
	var err error
	for range 3 {
		if _, err = d.State(t.Context()); errors.Is(err, driver.ErrUnreachable) {
			break
		}
	}
	if !errors.Is(err, driver.ErrUnreachable) {
		t.Errorf("without the MPLS agent State gives %v, want unreachable", err)
	}
	p.StartProcess()
	p.WaitRegistered()
	s, err := d.State(t.Context())
	if err != nil || !has(s, lsp.Name) {
		t.Errorf("MPLS agent is back: %v, %+v", err, s.LSPs)
	}

	p.StopSNMPD()
	if _, err := d.State(t.Context()); !errors.Is(err, driver.ErrUnreachable) {
		t.Errorf("without snmpd State gives %v, want unreachable", err)
	}
	p.StartSNMPD()
	p.WaitRegistered()
	s, err = d.State(t.Context())
	if err != nil || !has(s, lsp.Name) {
		t.Errorf("snmpd is back: %v, %+v", err, s.LSPs)
	}

	// It dies between the SET of the hops and that of the tunnel.
	two := lsp
	two.Name = owner + "pe1-pe2/2"
	p.Faults("die-after-sets=1")
	if err := d.Apply(t.Context(), driver.Signal{LSP: two}); err == nil {
		t.Error("the agent died and Apply says nothing")
	}
	p.Died()
	p.StartProcess()
	p.WaitRegistered()
	s, err = d.State(t.Context())
	if err != nil || !has(s, two.Name) {
		t.Fatalf("what is half-made is not told: %v, %+v", err, s.LSPs)
	}
	if err := d.Apply(t.Context(), driver.Release{Name: two.Name}); err != nil {
		t.Fatal(err)
	}
	c := p.Router.Config()
	for id, h := range c.Hops {
		if h.OptionName == two.Name {
			t.Errorf("hop %v is left", id)
		}
	}
}

// An agent that comes back with another engine id costs a second message, not a
// failed call.
func TestIntegrationEngineID(t *testing.T) {
	itest.Need(t, "snmpd")
	dir := t.TempDir()
	addr := fmt.Sprintf("127.0.0.1:%d", petest.FreePort(t))
	start := func(engine string) (stop func()) {
		conf := filepath.Join(dir, engine)
		text := "agentAddress udp:" + addr + "\nexactEngineID " + engine + "\ncreateUser u SHA-256 auth-secret AES priv-secret\nrwuser u authPriv\n"
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("snmpd", "-f", "-C", "-c", conf, "-Lf", "/dev/null")
		cmd.Env = append(os.Environ(), "SNMP_PERSISTENT_DIR="+conf+".d")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	d := New(Config{
		PE: "pe1", RouterID: pe1, Address: addr, User: "u", AuthProtocol: "sha256", AuthPassword: "auth-secret",
		PrivProtocol: "aes128", PrivPassword: "priv-secret", Timeout: 200 * time.Millisecond, Retries: 20,
	}).(*snmpDriver)
	defer func() { _ = d.Close() }()
	ask := func() {
		t.Helper()
		v, err := d.session.get(t.Context(), sysUpTime)
		if err != nil || v[0] == nil {
			t.Fatalf("sysUpTime = %v, %v", v, err)
		}
	}
	stop := start("0x80001f8804706531")
	defer stop()
	for deadline := time.Now().Add(10 * time.Second); ; { // until it listens
		if _, err := d.session.get(t.Context(), sysUpTime); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
	stop()
	defer start("0x80001f8804706532")()
	probe := New(d.cfg).(*snmpDriver)
	defer func() { _ = probe.Close() }()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err := probe.session.get(t.Context(), sysUpTime); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
	ask()
}

func has(s driver.State, name string) bool {
	for _, l := range s.LSPs {
		if l.Name == name {
			return true
		}
	}
	return false
}

// A PE with a thousand tunnels is read in less than a second. A hundred of them are
// up: the emulated PE would take long to signal more.
func TestIntegrationThousandTunnels(t *testing.T) {
	itest.Need(t, "snmpd")
	p := petest.Start(t, petest.Options{Change: func(n *fabric.Node) { n.Labels.Last = n.Labels.First + 9999 }})
	base := p.Router.Config()
	next := base.Clone()
	ero := route(t, p.Node, "pe1-p1", "p1-p2", "p2-pe2")
	for i := range uint32(1000) {
		admin := int32(2)
		if i < 100 {
			admin = adminUp
		}
		next.Tunnels[router.TunnelID{Index: 50000 + i, Instance: 1, Ingress: lsrID(p.Node.RouterID), Egress: lsrID(p.Node.RouterID) + 1}] = router.Tunnel{
			Status: router.Active, Name: fmt.Sprintf("%spe1-pe2/%d", owner, i), Role: roleHead, Signalling: signallingRSVP,
			Setup: 7, Hold: 7, Session: sessionRecordRoute, HopList: i + 1, PathInUse: 1, Admin: admin,
		}
		for n, h := range ero {
			next.Hops[router.HopID{List: i + 1, Option: 1, Hop: uint32(n + 1)}] = router.Hop{
				Status: router.Active, AddrType: addrIPv4, Addr: h.Addr.AsSlice(), PrefixLen: 32, Type: hopStrict, Include: true, PathComp: pathExplicit,
			}
		}
	}
	if err := p.Router.Commit(base, next); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for upLSPs(p) < 100 {
		if time.Now().After(deadline) {
			t.Fatalf("%d LSPs are up, want 100", upLSPs(p))
		}
		<-time.After(50 * time.Millisecond)
	}
	d := New(peConfig(p))
	defer func() { _ = d.Close() }()
	best := time.Hour
	for range 3 { // the machine may be busy with something else
		start := time.Now()
		s, err := d.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(start))
		whole := 0
		for _, l := range s.LSPs {
			if len(l.ERO) == 3 && l.AdminUp == (l.Oper == topology.OperUp) && l.AdminUp == (len(l.RRO) == 3) {
				whole++
			}
		}
		if whole != 1000 {
			t.Fatalf("%d LSPs are told with their routes, want 1000", whole)
		}
	}
	t.Logf("1000 LSPs, 100 of them up, read in %v", best.Round(time.Millisecond))
	if best > slowdown*time.Second {
		t.Errorf("reading took %v", best)
	}
}

func upLSPs(p *petest.PE) int {
	n := 0
	for _, l := range p.Router.Snapshot().LSPs {
		if l.Up && strings.HasPrefix(l.Name, owner) {
			n++
		}
	}
	return n
}
