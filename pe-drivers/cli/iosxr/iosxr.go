// Package iosxr drives Cisco IOS-XR routers through their command line over SSH:
// LSPs are tunnel-te interfaces with explicit paths, classes are steered by policy
// based tunnel selection (PBTS). It also reads the TED.
//
// Parsing and planning are pure functions on text; session.go alone talks to the
// router. What is in its configuration is read anew for each Apply, which is one
// candidate configuration and one commit.
package iosxr

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// Config of a driver. Password is never logged and appears in no error.
type Config struct {
	// PE is the router's name in messages; RouterID its MPLS-TE router id.
	PE       string
	RouterID netip.Addr
	// Address is the CLI's host:port.
	Address string
	User    string
	// Password, or KeyFile with a private key in PEM or OpenSSH form, or both.
	Password, KeyFile string
	// HostKey is the router's public key ("ssh-ed25519 AAAA…"), or KnownHosts a file
	// that has it. One of them must be given.
	HostKey, KnownHosts string
	// Owner is the name prefix of what may be changed: "mpbox/lab/".
	Owner string
	// Names translates router ids to node names and back.
	Names driver.Names
	// TunnelIDs is the range, ends included, from which tunnel-te numbers are taken.
	// The zero value is 50000 to 50999.
	TunnelIDs [2]uint32
	// Timeout of a command, 30 s by default; of a commit, 60 s or that of a command
	// where it is longer; of connecting, 10 s.
	Timeout, CommitTimeout, ConnectTimeout time.Duration
	// Log may be nil. It should carry the PE's name.
	Log *zap.Logger
}

// New makes a driver. It logs in with the first request and again after one that
// failed.
func New(cfg Config) driver.Driver { return newDriver(cfg) }

func newDriver(cfg Config) *xrDriver {
	setDefault(&cfg.Timeout, 30*time.Second)
	setDefault(&cfg.CommitTimeout, max(60*time.Second, cfg.Timeout))
	setDefault(&cfg.ConnectTimeout, connectTimeout)
	setDefault(&cfg.TunnelIDs, [2]uint32{50000, 50999})
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &xrDriver{
		cfg:     cfg,
		session: session{cfg: cfg, log: cfg.Log},
		plan:    planner{naming: newNaming(cfg.Owner), names: cfg.Names, tunnelIDs: cfg.TunnelIDs},
	}
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

type xrDriver struct {
	cfg     Config
	session session
	plan    planner
	version uint64 // of the TED
}

var _ driver.TopologyReader = (*xrDriver)(nil)

// Capabilities implements driver.Driver.
func (d *xrDriver) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		Kind: "iosxr", Write: true, FTN: true, Class: true, ExplicitRoute: true, RecordRoute: true,
		Bandwidth: true, MaxSlots: maxClass, Atomic: true,
	}
}

// Close implements driver.Driver.
func (d *xrDriver) Close() error {
	d.session.drop()
	return nil
}

// The commands that show what the driver works with.
var configCommands = []string{
	"show running-config explicit-path",
	"show running-config interface",
	"show running-config class-map",
	"show running-config policy-map",
	"show running-config ipv4 access-list",
	"show running-config ipv6 access-list",
}

func (d *xrDriver) readConfig(ctx context.Context) (*config, error) {
	texts := make([]string, 0, len(configCommands))
	for _, c := range configCommands {
		out, err := d.session.show(ctx, c)
		if err != nil {
			return nil, err
		}
		texts = append(texts, out)
	}
	return parseConfig(texts...), nil
}

// State implements driver.Driver.
func (d *xrDriver) State(ctx context.Context) (driver.State, error) {
	c, err := d.readConfig(ctx)
	if err != nil {
		return driver.State{}, err
	}
	out, err := d.session.show(ctx, "show mpls traffic-eng tunnels detail")
	if err != nil {
		return driver.State{}, err
	}
	s := driver.State{At: time.Now(), LSPs: d.lsps(c, parseTunnels(out))}
	for _, b := range d.plan.bindings(c) {
		s.FTNs = append(s.FTNs, b.ftn)
	}
	return s, nil
}

// lsps joins what is configured with what is signalled.
func (d *xrDriver) lsps(c *config, heads []shown) []topology.LSP {
	var out []topology.LSP
	seen := make(map[uint32]bool)
	for _, h := range heads {
		id, ok := tunnelNumber(h.iface)
		if !ok {
			continue
		}
		seen[id] = true
		t, configured := c.tunnels[id]
		l := topology.LSP{
			Name: h.name, Ingress: d.cfg.Names.Name(d.cfg.RouterID), Egress: d.cfg.Names.Name(h.destination), TunnelID: id,
			AdminUp: h.admin == "up", Oper: topology.OperDown,
		}
		if configured {
			d.intended(&l, c, t, h.basis)
		}
		if h.oper == "up" {
			l.Oper, l.RRO = topology.OperUp, h.rro
		} else if l.Reason = h.reason; l.Reason == "" {
			l.Reason = h.status
		}
		if l.Name == "" {
			l.Name = h.iface
		}
		out = append(out, l)
	}
	// A tunnel that was committed a moment ago may not be shown yet.
	for _, id := range sorted(c.tunnels) {
		if seen[id] {
			continue
		}
		t := c.tunnels[id]
		l := topology.LSP{
			Name: t.name, Ingress: d.cfg.Names.Name(d.cfg.RouterID), Egress: d.cfg.Names.Name(t.destination), TunnelID: id,
			AdminUp: !t.shutdown, Oper: topology.OperUnknown, Reason: "not signalled yet",
		}
		d.intended(&l, c, t, "")
		if l.Name == "" {
			l.Name = fmt.Sprintf("tunnel-te%d", id)
		}
		out = append(out, l)
	}
	return out
}

// intended adds what the configuration says of an LSP. basis is the explicit path
// in use, where there are several.
func (d *xrDriver) intended(l *topology.LSP, c *config, t tunnelTE, basis string) {
	if t.name != "" {
		l.Name = t.name
	}
	l.Egress = d.cfg.Names.Name(t.destination)
	l.Bandwidth = float64(t.kbps) * 1000
	l.SetupPriority, l.HoldPriority = t.setup, t.hold
	l.IncludeAll, l.ExcludeAny = t.affinity&t.mask, t.mask&^t.affinity
	path := t.path
	if t.options > 1 && basis != "" {
		path = basis
	}
	for _, h := range c.paths[path] {
		l.ERO = append(l.ERO, topology.Hop{Addr: h.addr, Loose: h.loose})
	}
}

func tunnelNumber(iface string) (uint32, bool) {
	var n uint32
	_, err := fmt.Sscanf(iface, "tunnel-te%d", &n)
	return n, err == nil
}

// conflicts is how often a commit is planned again because somebody else committed.
const conflicts = 3

// Apply implements driver.Driver.
func (d *xrDriver) Apply(ctx context.Context, ops ...driver.Op) error {
	if len(ops) == 0 {
		return nil
	}
	var err error
	for range conflicts {
		if err = d.applyOnce(ctx, ops); !errors.Is(err, errConflict) {
			return err
		}
	}
	return d.session.fail(driver.ErrRejected, "commit", errConflict.Error(), "other sessions configure this router: try again later", nil)
}

// applyOnce plans on the configuration as it is, and commits. The candidate is
// opened first: from then on the router tells at the commit if others committed.
func (d *xrDriver) applyOnce(ctx context.Context, ops []driver.Op) error {
	if err := d.session.configure(ctx); err != nil {
		return err
	}
	have, err := d.readConfig(ctx)
	var todo []string
	if err == nil {
		todo, err = d.todo(have, ops)
	}
	if err != nil || len(todo) == 0 {
		d.session.abort(ctx)
		return err
	}
	return d.session.commit(ctx, todo, comment(ops))
}

// todo gives the lines that the operations need.
func (d *xrDriver) todo(have *config, ops []driver.Op) ([]string, error) {
	want := have.clone()
	for _, op := range ops {
		err := d.plan.apply(want, op)
		var r *refusal
		if errors.As(err, &r) {
			if r.remedy == "" {
				r.remedy = "this PE cannot do that: steer other classes or routes through it"
			}
			return nil, d.session.fail(r.kind, op.String(), r.detail, r.remedy, nil)
		}
		if err != nil {
			return nil, err
		}
	}
	return lines(have, want), nil
}

// comment is what the router keeps of a commit: 60 characters are allowed.
func comment(ops []driver.Op) string {
	s := "mpbox: " + ops[0].String()
	if len(ops) > 1 {
		s += fmt.Sprintf(" and %d more", len(ops)-1)
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '?' || r == '!' || r == '|' {
			return '-'
		}
		return r
	}, s)
	return s[:min(len(s), 60)]
}

// Topology implements driver.TopologyReader.
func (d *xrDriver) Topology(ctx context.Context) (*topology.TED, error) {
	const command = "show mpls traffic-eng topology"
	out, err := d.session.show(ctx, command)
	if err != nil {
		return nil, err
	}
	nodes := parseTopology(out)
	if len(nodes) == 0 {
		return nil, d.session.fail(driver.ErrProtocol, command, "no node is shown", "check that mpls traffic-eng runs on the PE", nil)
	}
	d.version++
	t, err := buildTED(nodes, d.cfg.Names, d.version)
	if err != nil {
		return nil, d.session.fail(driver.ErrProtocol, command, "", "report this with the command's output", err)
	}
	return t, nil
}
