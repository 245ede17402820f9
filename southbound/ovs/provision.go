package ovs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/digitalocean/go-openvswitch/ovs"
	"github.com/digitalocean/go-openvswitch/ovsdb"
)

// Spec is how a bridge should be.
type Spec struct {
	Name string
	DPID uint64
	// Controller is where mpbox listens, as Open vSwitch writes it: unix:/path,
	// tcp:127.0.0.1:6653, ssl:192.0.2.1:6653.
	Controller string
	// Pairs of ports that the bridge joins.
	Pairs []Pair
	// Interfaces to add where they are missing, by OpenFlow port number; may be
	// empty: then the ports are expected to be there.
	Interfaces map[uint32]string
	// DatapathType of a bridge that has to be created: "" (kernel) or "netdev".
	DatapathType string
}

// Pair is two ports that are joined; VLAN, if not 0, limits it to frames with this
// outer tag.
type Pair struct {
	A, B uint32
	VLAN uint16
}

// pairsKey holds the pairs in a bridge's external_ids, for the guard.
const pairsKey = "mpbox-pairs"

// FormatPairs writes pairs like "1-2,3-4/100".
func FormatPairs(pairs []Pair) string {
	out := make([]string, len(pairs))
	for i, p := range pairs {
		out[i] = fmt.Sprintf("%d-%d", p.A, p.B)
		if p.VLAN != 0 {
			out[i] += fmt.Sprintf("/%d", p.VLAN)
		}
	}
	return strings.Join(out, ",")
}

// ParsePairs reads what FormatPairs writes.
func ParsePairs(s string) ([]Pair, error) {
	var out []Pair
	for _, f := range strings.Split(s, ",") {
		var p Pair
		ports, tag, tagged := strings.Cut(f, "/")
		a, b, ok := strings.Cut(ports, "-")
		na, err1 := strconv.ParseUint(a, 10, 16)
		nb, err2 := strconv.ParseUint(b, 10, 16)
		p.A, p.B = uint32(na), uint32(nb)
		if tagged {
			v, err := strconv.ParseUint(tag, 10, 16)
			if err != nil || v == 0 || v > 4094 {
				return nil, fmt.Errorf("read %s %q: VLAN of %q", pairsKey, s, f)
			}
			p.VLAN = uint16(v)
		}
		if !ok || err1 != nil || err2 != nil || na == 0 || nb == 0 || na == nb || na >= 0xff00 || nb >= 0xff00 {
			return nil, fmt.Errorf("read %s %q: %q is no pair of ports", pairsKey, s, f)
		}
		out = append(out, p)
	}
	return out, nil
}

// Errors that callers decide by.
var (
	// ErrForeign: the bridge is somebody else's too.
	ErrForeign = errors.New("the bridge is used for something else as well")
)

// Change is one thing to change, in words for people, and how.
type Change struct {
	What string
	// The bridge is created, or there is an operation on the database, or one through
	// ovs-vsctl, which waits until ovs-vswitchd has carried it out.
	create bool
	op     ovsdb.TransactOp
	vsctl  func(*ovs.Client) error
}

func (c Change) String() string { return c.What }

// Changes decides what has to change so that s is met; nil when all is right. It
// refuses (ErrForeign) bridges that carry what s does not name.
func Changes(s Spec, now State) ([]Change, error) {
	b, exists := now.Bridges[s.Name]
	var out []Change
	add := func(c Change) { out = append(out, c) }
	if exists {
		if err := s.foreign(b); err != nil {
			return nil, err
		}
	}
	if !exists {
		add(Change{What: "create bridge " + s.Name, create: true})
		b.FailMode, b.Protocols = string(ovs.FailModeSecure), []string{ovs.ProtocolOpenFlow13}
	}
	if b.FailMode != string(ovs.FailModeSecure) {
		// Before anything else: standalone floods.
		add(Change{What: s.Name + ": fail mode secure", vsctl: func(c *ovs.Client) error {
			return c.VSwitch.SetFailMode(s.Name, ovs.FailModeSecure)
		}})
	}
	row := []ovsdb.Cond{ovsdb.Equal("name", s.Name)}
	set := func(column string, have map[string]string, key, value string) {
		if have[key] != value {
			add(Change{What: fmt.Sprintf("%s: %s:%s=%s", s.Name, column, key, value),
				op: mutate{table: "Bridge", column: column, where: row, set: map[string]string{key: value}}})
		}
	}
	set("other_config", b.OtherConfig, "datapath-id", fmt.Sprintf("%016x", s.DPID))
	// In-band control installs hidden flows that match customers' packets.
	set("other_config", b.OtherConfig, "disable-in-band", "true")
	// Punts wait here for mpbox. With the default of 100, a reader that is away for some
	// milliseconds loses handshakes, which no counter of OpenFlow shows; 512 is the most.
	set("other_config", b.OtherConfig, "controller-queue-size", "512")
	set("external_ids", b.ExternalIDs, pairsKey, FormatPairs(s.Pairs))
	if n, err := strconv.Atoi(now.VLANLimit); err != nil || n == 1 {
		// With the default of 1, what is behind a second tag is not seen. 0 is no limit.
		add(Change{What: "Open_vSwitch: other_config:vlan-limit=2",
			op: mutate{table: "Open_vSwitch", column: "other_config", set: map[string]string{"vlan-limit": "2"}}})
	}
	// No protocols means all of them.
	if len(b.Protocols) > 0 && !slices.Contains(b.Protocols, ovs.ProtocolOpenFlow13) {
		protocols := append(slices.Clone(b.Protocols), ovs.ProtocolOpenFlow13)
		add(Change{What: s.Name + ": protocols " + strings.Join(protocols, ","), vsctl: func(c *ovs.Client) error {
			return c.VSwitch.Set.Bridge(s.Name, ovs.BridgeOptions{Protocols: protocols})
		}})
	}
	for _, n := range slices.Sorted(maps.Keys(s.Interfaces)) {
		ifname := s.Interfaces[n]
		p, ok := b.Ports[ifname]
		if !ok {
			add(Change{What: fmt.Sprintf("%s: add port %s", s.Name, ifname), vsctl: func(c *ovs.Client) error {
				return c.VSwitch.AddPort(s.Name, ifname)
			}})
		}
		if p.Number != int64(n) {
			add(Change{What: fmt.Sprintf("%s: port %s is number %d", s.Name, ifname, n),
				op: update{table: "Interface", where: []ovsdb.Cond{ovsdb.Equal("name", ifname)}, row: map[string]any{"ofport_request": n}}})
		}
	}
	if s.Controller != "" {
		// Last: a controller that connects finds the bridge in order. A bridge that gets
		// its first controller forgets its flows: until it is connected, in some
		// milliseconds, nothing passes.
		same := len(b.Controllers) == 1 && b.Controllers[0].Target == s.Controller
		if !same {
			add(Change{What: s.Name + ": controller " + s.Controller, vsctl: func(c *ovs.Client) error {
				return c.VSwitch.SetController(s.Name, s.Controller)
			}})
		}
		if !same || b.Controllers[0].Mode != "out-of-band" {
			add(Change{What: s.Name + ": controller out of band",
				op: update{table: "Controller", where: []ovsdb.Cond{ovsdb.Equal("target", s.Controller)},
					row: map[string]any{"connection_mode": "out-of-band"}}})
		}
	}
	return out, nil
}

// foreign refuses what s does not name.
func (s Spec) foreign(b BridgeState) error {
	named := map[int64]bool{}
	for _, p := range s.Pairs {
		named[int64(p.A)], named[int64(p.B)] = true, true
	}
	var ports []string
	for name, p := range b.Ports {
		wanted := slices.Contains(slices.Collect(maps.Values(s.Interfaces)), name)
		if !named[p.Number] && !wanted {
			ports = append(ports, fmt.Sprintf("%s (%d)", name, p.Number))
		}
	}
	slices.Sort(ports)
	if len(ports) > 0 {
		return fmt.Errorf("bridge %s: %w: no attachment names its ports %s: name them, or move them to another bridge",
			s.Name, ErrForeign, strings.Join(ports, ", "))
	}
	for _, c := range b.Controllers {
		if c.Target != s.Controller {
			return fmt.Errorf("bridge %s: %w: it has the controller %s: replace it: ovs-vsctl set-controller %s %s",
				s.Name, ErrForeign, c.Target, s.Name, s.Controller)
		}
	}
	return nil
}

// Provision brings a bridge to its spec and returns what it changed. It can be
// called again at any time: when all is right it changes nothing.
func Provision(ctx context.Context, db string, s Spec) ([]Change, error) {
	c, err := dialDB(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("provision bridge %s: %w", s.Name, err)
	}
	defer func() { _ = c.Close() }()
	var done []Change
	// Some changes show only when others have been made: numbers of new ports.
	for range 3 {
		now, err := readState(ctx, c)
		if err != nil {
			return done, fmt.Errorf("provision bridge %s: %w", s.Name, err)
		}
		changes, err := Changes(s, now)
		if err != nil || len(changes) == 0 {
			return done, wrap("provision bridge", err)
		}
		for _, ch := range changes {
			if ch.create {
				err = s.create(ctx, db)
			} else {
				err = ch.apply(ctx, c, client(ctx, db))
			}
			if err != nil {
				return done, fmt.Errorf("provision bridge: %s: %w", ch, err)
			}
			done = append(done, ch)
		}
	}
	now, err := readState(ctx, c)
	if err != nil {
		return done, fmt.Errorf("provision bridge %s: %w", s.Name, err)
	}
	// The module does not report refused operations: reading back does.
	if left, err := Changes(s, now); err != nil || len(left) > 0 {
		return done, fmt.Errorf("provision bridge %s: the database did not take %v (%w)", s.Name, left, cmpErr(err))
	}
	return done, nil
}

// create adds the bridge. The module's AddBridge knows no columns, but a bridge that
// is not secure from its first moment floods, and one with a datapath that the
// machine does not have hangs: they go into the same transaction.
func (s Spec) create(ctx context.Context, db string) error {
	columns := []string{"--", "set", "bridge", s.Name, "fail_mode=secure", "protocols=" + ovs.ProtocolOpenFlow13}
	if s.DatapathType != "" {
		columns = append(columns, "datapath_type="+s.DatapathType)
	}
	return client(ctx, db, ovs.Exec(func(cmd string, args ...string) ([]byte, error) {
		return runTool(ctx, db, cmd, append(args, columns...)...)
	})).VSwitch.AddBridge(s.Name)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

var errNotTaken = errors.New("see ovs-vsctl show, and the log of ovsdb-server")

func cmpErr(err error) error {
	if err == nil {
		return errNotTaken
	}
	return err
}

func (c Change) apply(ctx context.Context, db *ovsdb.Client, o *ovs.Client) error {
	if c.vsctl != nil {
		return c.vsctl(o)
	}
	_, err := db.Transact(ctx, database, []ovsdb.TransactOp{c.op})
	return err
}

// toolTimeout limits each run of a tool of Open vSwitch.
const toolTimeout = 15 * time.Second

func runTool(ctx context.Context, db, cmd string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	if cmd == "ovs-vsctl" {
		// Without its own time-out it waits for ovs-vswitchd for ever.
		args = append([]string{"--db=" + db, "--timeout=10"}, args...)
	}
	return exec.CommandContext(ctx, cmd, args...).CombinedOutput()
}

// client runs the tools of Open vSwitch on the database at db.
func client(ctx context.Context, db string, options ...ovs.OptionFunc) *ovs.Client {
	run := ovs.Exec(func(cmd string, args ...string) ([]byte, error) { return runTool(ctx, db, cmd, args...) })
	pipe := ovs.Pipe(func(stdin io.Reader, cmd string, args ...string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, toolTimeout)
		defer cancel()
		c := exec.CommandContext(ctx, cmd, args...)
		c.Stdin = stdin
		return c.CombinedOutput()
	})
	return ovs.New(append([]ovs.OptionFunc{run, pipe}, options...)...)
}
