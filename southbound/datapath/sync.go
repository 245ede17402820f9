package datapath

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/netrack/openflow/ofp"
	"go.uber.org/zap"

	"mpbox/southbound/openflow"
)

// sync brings the switch's tables to what they should be, whatever they hold, and
// without a moment in which a packet finds no flow: everything is installed under
// a new generation, forward first and tap last, then older generations are
// removed by mask.
func (c *conn) sync(ctx context.Context) error {
	d := c.d
	d.write.Lock()
	defer d.write.Unlock()
	if !c.synced.Load() {
		_ = d.declare(ctx) // only remembered; may have been asked for before this session
	}
	d.edge.forgetEnded()
	ctx, cancel := context.WithTimeout(ctx, 6*d.r.cfg.RequestTimeout)
	defer cancel()

	dialect, weak, err := c.introduce(ctx)
	if err != nil {
		return err
	}
	have, err := c.s.FlowStats(ctx, uint8(ofp.TableAll), 0, 0)
	if err != nil {
		return err
	}
	meters, err := c.meters(ctx, dialect)
	if err != nil {
		return err
	}
	used := generations(have)
	d.mu.Lock()
	gen := nextGeneration(d.generation, used)
	d.mu.Unlock()

	var want Tables
	for {
		if want, err = Build(d.bridge, d.r.cfg.Tap, dialect); err != nil {
			return err
		}
		for i := range want.Flows {
			want.Flows[i].Cookie = cookie(kindInfra, gen, 0)
		}
		err = c.install(ctx, want, meters, dialect)
		if err == nil {
			break
		}
		less, what, ok := dialect.less(err)
		if !ok {
			return err
		}
		d.log.Info("switch lacks an extension", zap.String("without", what), zap.Error(err))
		dialect, weak = less, append(weak, what)
		// What was taken of this attempt goes with the old generations.
		used[gen] = true
		gen = nextGeneration(gen, used)
	}
	d.edge.ours(gen)
	if err := c.syncEdge(ctx, gen, dialect); err != nil {
		return err
	}
	foreign, err := c.clean(ctx, have, want, used, meters)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.generation, d.dialect, d.foreign, d.metered = gen, dialect, len(foreign), len(want.Meters) > 0
	d.infra = len(want.Flows)
	d.mu.Unlock()
	d.countEdge()
	c.synced.Store(true)
	if err := c.showLinks(ctx); err != nil {
		return err
	}
	state, reason := Ready, ""
	switch {
	case dialect.Flags == FlagsNone:
		state, reason = Degraded, ErrNoFlags.Error()
	case len(foreign) > 0:
		state = Degraded
		reason = fmt.Sprintf("%d flows of somebody else in the tables of mpbox may keep packets from the tap, the first is %s: remove them", len(foreign), &foreign[0])
	case d.r.cfg.Tap.ThirdACK == ThirdACKConntrack && !dialect.Conntrack:
		state, reason = Degraded, "the switch has no conntrack: third ACKs are not seen; set tap.third_ack to reactive"
	case len(weak) > 0:
		reason = "without " + strings.Join(weak, ", ")
	}
	d.setState(c, state, reason)
	return nil
}

// claim makes mpbox the master of the switch, once for each session. From then on it
// only asks: two controllers that take the role back would do so for ever.
func (c *conn) claim(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.d.r.cfg.RequestTimeout)
	defer cancel()
	role, last, err := c.s.Role(ctx, ofp.ControllerRoleNoChange, 0)
	if err == nil && !c.claimed {
		role, _, err = c.s.Role(ctx, ofp.ControllerRoleMaster, last+1)
		c.claimed = err == nil
	}
	switch {
	case err != nil && !onlyRefused(err, map[int]bool{}):
		return err
	case role == ofp.ControllerRoleSlave:
		return fmt.Errorf("another controller is master of this bridge, mpbox sees no packets: remove it (ovs-vsctl get-controller %[1]s), then ovs-appctl bridge/reconnect %[1]s",
			c.d.bridge.Name)
	}
	return nil
}

// introduce reads what the switch is, and what it cannot do.
func (c *conn) introduce(ctx context.Context) (dialect Dialect, weak []string, err error) {
	d := c.d
	dialect = DialectOVS
	features, err := c.s.MeterFeatures(ctx)
	if err != nil {
		return dialect, nil, err
	}
	if features.MaxMeter == 0 {
		dialect.Meters, dialect.PuntMeter = false, false
		weak = append(weak, withoutMeters)
	}
	ports, err := c.s.Ports(ctx)
	if err != nil {
		return dialect, nil, err
	}
	d.mu.Lock()
	clear(d.ports)
	for _, p := range ports {
		d.ports[p.No] = p
	}
	d.mu.Unlock()
	return dialect, weak, nil
}

const withoutMeters = "meters: punts are not limited"

// less is the dialect to try after err, and what it goes without.
func (d Dialect) less(err error) (less Dialect, what string, ok bool) {
	first, ok := firstRefusal(err)
	if !ok {
		return d, "", false
	}
	switch first.Type {
	case ofp.ErrTypeMeterModFailed:
		if d.Meters {
			d.Meters, d.PuntMeter = false, false
			return d, withoutMeters, true
		}
	case ofp.ErrTypeBadAction, ofp.ErrTypeBadInstruction:
		switch {
		case d.Conntrack && strings.Contains(first.Cause, "ct("):
			d.Conntrack = false
			return d, "conntrack", true
		case d.PuntMeter:
			d.PuntMeter = false
			return d, "a meter per attachment: one limits all punts of the switch", true
		}
	case ofp.ErrTypeBadMatch:
		switch {
		case d.Flags == FlagsNXM:
			d.Flags, d.Conntrack = FlagsONF, false
			return d, "Nicira's match on TCP flags", true
		case d.Flags == FlagsONF:
			d.Flags = FlagsNone
			return d, "a match on TCP flags", true
		}
	}
	return d, "", false
}

// firstRefusal finds the first of the switch's answers in err; false where err
// holds anything else.
func firstRefusal(err error) (*openflow.SwitchError, bool) {
	var e *openflow.SwitchError
	return e, onlyRefused(err, map[int]bool{}) && errors.As(err, &e)
}

// install puts meters and flows on the switch, with a barrier before the tap: its
// gotos need their targets.
func (c *conn) install(ctx context.Context, want Tables, meters map[uint32]bool, dialect Dialect) error {
	var msgs []openflow.Message
	for _, m := range want.Meters {
		msgs = append(msgs, setMeter(m, meters[m.ID]))
	}
	tap := slices.IndexFunc(want.Flows, func(f Flow) bool { return f.Table == TableTap })
	for i := range want.Flows[:tap] {
		msgs = append(msgs, addFlow(&want.Flows[i], dialect.Flags))
	}
	if err := c.s.Commit(ctx, msgs...); err != nil {
		return err
	}
	for _, m := range want.Meters {
		meters[m.ID] = true
	}
	msgs = msgs[:0]
	for i := range want.Flows[tap:] {
		msgs = append(msgs, addFlow(&want.Flows[tap+i], dialect.Flags))
	}
	return c.s.Commit(ctx, msgs...)
}

// meters lists the meters that exist.
func (c *conn) meters(ctx context.Context, dialect Dialect) (map[uint32]bool, error) {
	have := map[uint32]bool{}
	if !dialect.Meters {
		return have, nil
	}
	ids, err := c.s.Meters(ctx)
	if err != nil && !onlyRefused(err, map[int]bool{}) {
		return nil, err
	}
	for _, id := range ids {
		have[id] = true
	}
	return have, nil
}

// syncEdge installs all declared edge rules under the new generation.
func (c *conn) syncEdge(ctx context.Context, gen uint8, dialect Dialect) error {
	t := &c.d.edge
	add := make([]*edgeEntry, 0, len(t.rules))
	for _, e := range t.rules {
		e.installed = false
		e.flow.Cookie = cookie(kindEdge, gen, handleOf(e.flow.Cookie))
		add = append(add, e)
	}
	t.keepOnly()
	if err := c.installEdge(ctx, add, dialect.Flags); err != nil && !onlyRefused(err, map[int]bool{}) {
		return err
	}
	return nil
}

// clean removes what is not wanted any more, and returns the flows of others that
// stay.
func (c *conn) clean(ctx context.Context, have []openflow.FlowStat, want Tables, used map[uint8]bool, meters map[uint32]bool) ([]Flow, error) {
	var msgs []openflow.Message
	for gen := range used {
		msgs = append(msgs,
			deleteCookies(cookie(kindInfra, gen, 0), genMask, "removal of an old generation"),
			deleteCookies(cookie(kindExpect, gen, 0), genMask, "removal of old expectations"))
		if c.d.edge.declared {
			msgs = append(msgs, deleteCookies(cookie(kindEdge, gen, 0), genMask, "removal of old edge rules"))
		}
	}
	if !c.d.edge.declared {
		c.d.edge.old = used
	}
	var foreign []Flow
	keys := map[flowKey]bool{}
	for _, f := range want.Flows {
		keys[f.key()] = true
	}
	for _, s := range have {
		f := parseFlow(s)
		switch {
		case owned(f.Cookie) || f.Table >= tableCount || keys[f.key()]:
			// Ours, out of our way, or replaced by ours.
		case plainPair(f, want), ovsDefault(f):
			// A wire that somebody else laid before us: ours does the same and more. Or
			// what Open vSwitch puts on a new bridge: it would flood.
			msgs = append(msgs, deleteFlow(&f, FlagsNXM))
		default:
			foreign = append(foreign, f)
		}
	}
	wanted := map[uint32]bool{}
	for _, m := range want.Meters {
		wanted[m.ID] = true
	}
	for id := range meters {
		// The switch removes flows with their meter: only now.
		if !wanted[id] && id >= meterBase && id < meterBase+0x10000 {
			msgs = append(msgs, deleteMeter(id))
		}
	}
	if len(msgs) == 0 {
		return foreign, nil
	}
	return foreign, c.s.Commit(ctx, msgs...)
}

// plainPair tells that f does nothing but join the ports of a pair of ours.
func plainPair(f Flow, want Tables) bool {
	if f.Match != (Match{InPort: f.Match.InPort}) || f.Actions != (Actions{Output: f.Actions.Output}) {
		return false
	}
	return slices.ContainsFunc(want.Flows, func(w Flow) bool {
		return w.Table == TableForward && w.Match.InPort == f.Match.InPort && w.Actions.Output == f.Actions.Output
	})
}

// ovsDefault tells that f is the one flow of a new bridge that is not in fail mode
// secure: it switches like a learning switch, from each port to all others.
func ovsDefault(f Flow) bool {
	return f.Table == TableTap && f.Priority == 0 && f.Cookie == 0 && f.Match == (Match{}) &&
		f.Actions == (Actions{Output: uint32(ofp.PortNormal)})
}

// generations lists those of mpbox's flows on the switch.
func generations(have []openflow.FlowStat) map[uint8]bool {
	used := map[uint8]bool{}
	for _, f := range have {
		if owned(f.Cookie) {
			used[generationOf(f.Cookie)] = true
		}
	}
	return used
}

// dropOldEdge removes the edge rules of earlier runs, which stayed until somebody
// declared rules.
func (c *conn) dropOldEdge() []openflow.Message {
	var msgs []openflow.Message
	for gen := range c.d.edge.old {
		msgs = append(msgs, deleteCookies(cookie(kindEdge, gen, 0), genMask, "removal of old edge rules"))
	}
	c.d.edge.old = nil
	return msgs
}

// audit reads the tables back from time to time: somebody may have changed them.
func (c *conn) audit(ctx context.Context) error {
	d := c.d
	d.write.Lock()
	defer d.write.Unlock()
	d.edge.forgetEnded()
	ctx, cancel := context.WithTimeout(ctx, d.r.cfg.RequestTimeout)
	defer cancel()
	stats, err := c.s.FlowStats(ctx, uint8(ofp.TableAll), CookieOwner, CookieOwnerMask)
	if err != nil {
		return err
	}
	d.mu.Lock()
	gen, dialect := d.generation, d.dialect
	d.mu.Unlock()
	want, err := Build(d.bridge, d.r.cfg.Tap, dialect)
	if err != nil {
		return err
	}
	have := map[flowKey]Flow{}
	for _, s := range stats {
		f := parseFlow(s)
		if generationOf(f.Cookie) == gen {
			have[f.key()] = f
		}
	}
	missing := 0
	for i := range want.Flows {
		if f, ok := have[want.Flows[i].key()]; !ok || !f.same(&want.Flows[i]) {
			missing++
		}
	}
	for _, e := range d.edge.rules {
		if f, ok := have[e.flow.key()]; e.installed && (!ok || !f.same(&e.flow)) {
			missing++
		}
	}
	if dialect.Meters {
		c.readDrops(ctx)
	}
	d.edge.mu.Lock()
	ended := len(d.edge.gone) > 0 // while we read: look again next time
	d.edge.mu.Unlock()
	if missing > 0 && !ended {
		d.log.Warn("flows are missing on the switch: they are installed again", zap.Int("missing", missing))
		signal(c.resync)
	}
	return nil
}

// readDrops counts the punts that meters dropped.
func (c *conn) readDrops(ctx context.Context) {
	stats, err := c.s.MeterStats(ctx)
	if err != nil {
		return
	}
	var n uint64
	for _, m := range stats {
		if m.Meter >= meterBase && m.Meter < meterBase+0x10000 || m.Meter == controllerMeter {
			n += m.Dropped
		}
	}
	c.d.mu.Lock()
	c.d.meterDrops = n
	c.d.mu.Unlock()
}
