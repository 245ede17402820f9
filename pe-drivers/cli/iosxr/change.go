package iosxr

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// planner turns operations into the configuration that should be: a pure function
// of the configuration that is.
type planner struct {
	naming
	names     driver.Names
	tunnelIDs [2]uint32
}

// refusal is why an operation cannot be carried out; nothing was sent.
type refusal struct {
	kind           error
	detail, remedy string
}

func (r *refusal) Error() string { return r.detail }

func rejected(detail, remedy string) error { return &refusal{driver.ErrRejected, detail, remedy} }

func unsupported(detail, remedy string) error { return &refusal{driver.ErrUnsupported, detail, remedy} }

func (c *config) clone() *config {
	n := &config{
		paths: maps.Clone(c.paths), tunnels: maps.Clone(c.tunnels), acls: make(map[aclName]acl, len(c.acls)),
		classes: make(map[string]classMap, len(c.classes)), policies: make(map[string][]policyClass, len(c.policies)),
		interfaces: maps.Clone(c.interfaces),
	}
	for k, v := range c.acls {
		n.acls[k] = maps.Clone(v)
	}
	for k, v := range c.classes {
		n.classes[k] = maps.Clone(v)
	}
	for k, v := range c.policies {
		n.policies[k] = slices.Clone(v)
	}
	return n
}

// apply carries out one operation on c.
func (p *planner) apply(c *config, op driver.Op) error {
	switch op := op.(type) {
	case driver.Signal:
		return p.signal(c, op.LSP)
	case driver.Bind:
		return p.bind(c, op.FTN)
	case driver.Unbind:
		if err := p.checkOwned(op.Name); err != nil {
			return err
		}
		p.unbind(c, op.Name)
		return nil
	case driver.Release:
		return p.release(c, op.Name)
	}
	return unsupported("the operation is unknown", "use another driver for this PE")
}

func (p *planner) checkOwned(name string) error {
	switch {
	case !p.owns(name):
		return unsupported("the name does not begin with "+p.owner, "only what this instance of mpbox made may be changed")
	case strings.ContainsAny(name, " \t\r\n\"?!|") || len(name) > maxName:
		return unsupported(fmt.Sprintf("the name has a blank or more than %d characters", maxName), "shorten instance in the configuration")
	}
	return nil
}

// signal adds the tunnel and its path. The tunnel gets no forward class before a
// class is bound to it: unbound, it uses up no slot, and draws no traffic.
func (p *planner) signal(c *config, l topology.LSP) error {
	if err := p.checkOwned(l.Name); err != nil {
		return err
	}
	want, path, err := p.tunnel(l)
	if err != nil {
		return err
	}
	if id, have, ok := c.find(l.Name); ok {
		return c.sameTunnel(id, have, want, path)
	}
	id, err := p.tunnelID(c, l.TunnelID)
	if err != nil {
		return err
	}
	if len(path) > 0 {
		want.path = p.path(id)
		c.paths[want.path] = path
	} else {
		delete(c.paths, p.path(id)) // a left-over of that number
	}
	c.tunnels[id] = want
	return nil
}

// tunnel is the interface that an LSP asks for, but for the name of its path.
func (p *planner) tunnel(l topology.LSP) (tunnelTE, explicitPath, error) {
	egress, ok := p.names.RouterID(l.Egress)
	if !ok || !egress.Is4() {
		return tunnelTE{}, nil, unsupported("no IPv4 router id is known for egress "+l.Egress, "give its router id in pes or in names of topology")
	}
	value, mask, err := affinity(l)
	if err != nil {
		return tunnelTE{}, nil, err
	}
	t := tunnelTE{
		name: l.Name, destination: egress, setup: l.SetupPriority, hold: l.HoldPriority,
		affinity: value, mask: mask, options: 1, recordRoute: true,
	}
	if l.Bandwidth > 0 {
		t.kbps = uint32(min((l.Bandwidth+999)/1000, 1<<32-1))
	}
	var path explicitPath
	for i, h := range l.ERO {
		if !h.Addr.Is4() {
			return tunnelTE{}, nil, unsupported(fmt.Sprintf("hop %d of the route has no IPv4 address", i+1), "")
		}
		path = append(path, pathHop{index: uint32(10 * (i + 1)), addr: h.Addr, loose: h.Loose}) // #nosec G115 -- routes are short
	}
	return t, path, nil
}

// affinity writes an LSP's constraints as IOS-XR does: a link is used if its bits
// under the mask equal the value.
func affinity(l topology.LSP) (value, mask uint32, err error) {
	if l.IncludeAny&(l.IncludeAny-1) != 0 {
		return 0, 0, unsupported("affinity: any one of several groups cannot be asked for", "name one group in include_any of the policy, or use include_all and exclude_any")
	}
	value = l.IncludeAll | l.IncludeAny
	if value&l.ExcludeAny != 0 {
		return 0, 0, unsupported("affinity: a group is both included and excluded", "remove it from exclude_any of the policy, or from include_all or include_any")
	}
	return value, value | l.ExcludeAny, nil
}

func (c *config) find(name string) (uint32, tunnelTE, bool) {
	for id, t := range c.tunnels {
		if t.name == name {
			return id, t, true
		}
	}
	return 0, tunnelTE{}, false
}

// sameTunnel accepts a tunnel that is there already, if it is the one that is
// asked for.
func (c *config) sameTunnel(id uint32, have, want tunnelTE, path explicitPath) error {
	sameHop := func(a, b pathHop) bool { return a.addr == b.addr && a.loose == b.loose }
	if have.destination != want.destination || have.options != 1 || !slices.EqualFunc(c.paths[have.path], path, sameHop) {
		return rejected("an LSP of that name has another route", "signal the new route under a new name (make-before-break)")
	}
	if have.kbps != want.kbps || have.setup != want.setup || have.hold != want.hold || have.affinity != want.affinity || have.mask != want.mask {
		return rejected("an LSP of that name has another bandwidth, priority or affinity", "signal it under a new name (make-before-break)")
	}
	have.shutdown = false
	c.tunnels[id] = have
	return nil
}

func (p *planner) tunnelID(c *config, want uint32) (uint32, error) {
	if want != 0 {
		if _, used := c.tunnels[want]; used {
			return 0, rejected(fmt.Sprintf("interface tunnel-te%d is in use", want), "leave the tunnel number to the driver")
		}
		return want, nil
	}
	for id := p.tunnelIDs[0]; id <= p.tunnelIDs[1] && id != 0; id++ {
		if _, used := c.tunnels[id]; !used {
			return id, nil
		}
	}
	return 0, rejected(fmt.Sprintf("no tunnel number from %d to %d is free", p.tunnelIDs[0], p.tunnelIDs[1]), "widen tunnel_ids of this PE")
}

// release removes the tunnel and its path.
func (p *planner) release(c *config, name string) error {
	if err := p.checkOwned(name); err != nil {
		return err
	}
	id, t, ok := c.find(name)
	if !ok {
		return nil
	}
	for _, b := range p.bindings(c) {
		if b.ftn.LSP == name {
			return rejected("class "+b.ftn.Name+" still points to it", "unbind or re-point the class first")
		}
	}
	delete(c.tunnels, id)
	if t.path == p.path(id) {
		delete(c.paths, t.path)
	}
	return nil
}

// bind puts the class's entry into the access list of its LSP's forward class.
func (p *planner) bind(c *config, f topology.FTN) error {
	if err := p.checkOwned(f.Name); err != nil {
		return err
	}
	if err := checkFEC(f.FEC); err != nil {
		return unsupported(err.Error(), "")
	}
	id, t, ok := c.find(f.LSP)
	if !ok {
		return rejected("the PE has no LSP of that name", "signal the LSP first")
	}
	policy, known := c.interfaces[f.FEC.Interface]
	if !known {
		return rejected(fmt.Sprintf("the PE has no interface %q in its configuration", f.FEC.Interface), "correct pe_interface of the attachment")
	}
	if policy != "" && policy != p.policy(f.FEC.Interface) {
		return rejected(fmt.Sprintf("the interface has service-policy input %s of somebody else", policy), "remove that policy from the interface")
	}
	if len(p.steer(f.FEC.Interface, 1)) > maxName {
		return unsupported(fmt.Sprintf("the policy's name would have more than %d characters", maxName), "shorten instance in the configuration")
	}
	for _, b := range p.bindings(c) {
		if b.ftn.Name != f.Name {
			continue
		}
		if b.inEffect && sameFEC(b.ftn.FEC, f.FEC) && b.ftn.LSP == f.LSP {
			return nil
		}
		if b.inEffect && !sameFEC(b.ftn.FEC, f.FEC) {
			return rejected("a class of that name matches other packets", "unbind it first, or use a new name")
		}
	}
	class, err := p.forwardClass(c, id, t)
	if err != nil {
		return err
	}
	p.drop(c, f.Name)
	if err := p.addEntries(c, f, class); err != nil {
		return err
	}
	p.freeClasses(c)
	return nil
}

// forwardClass gives the LSP's forward class. A tunnel of ours that has none gets
// the lowest that no other tunnel to its egress has.
func (p *planner) forwardClass(c *config, id uint32, t tunnelTE) (uint8, error) {
	used := make(map[uint8]bool)
	hasDefault := false
	for other, o := range c.tunnels {
		if other == id || o.destination != t.destination {
			continue
		}
		used[o.class] = true
		hasDefault = hasDefault || o.class == 0 && o.autoroute && !o.shutdown && !p.owns(o.name)
	}
	switch {
	case t.class != 0 && used[t.class]:
		return 0, rejected(fmt.Sprintf("forward class %d of the LSP is also that of another tunnel to %s", t.class, t.destination), "give the other tunnel another forward class")
	case t.class != 0:
		return t.class, nil
	case !p.owns(t.name):
		return 0, rejected("the LSP is not of this instance of mpbox, and has no forward class", "give tunnel "+t.name+" a forward class of its own")
	case !hasDefault:
		// XR would send what has no class into the tunnel with the lowest one.
		return 0, rejected(fmt.Sprintf("there is no default tunnel to %s: traffic that is not steered would follow the LSP as well", t.destination),
			"configure a tunnel with autoroute announce and no forward-class to that PE")
	}
	for class := uint8(1); class <= maxClass; class++ {
		if !used[class] {
			t.class, t.autoroute = class, true
			c.tunnels[id] = t
			return class, nil
		}
	}
	return 0, rejected(fmt.Sprintf("all %d forward classes to %s are in use", maxClass, t.destination), "release classes from another LSP to that PE first")
}

// maxClass is the highest forward class; 0 is the default one.
const maxClass = 7

// freeClasses takes the forward class from tunnels of ours to which no class is
// bound any more.
func (p *planner) freeClasses(c *config) {
	bound := make(map[string]bool)
	for _, b := range p.bindings(c) {
		bound[b.ftn.LSP] = true
		bound[b.told] = true
	}
	for id, t := range c.tunnels {
		if p.owns(t.name) && t.class != 0 && !bound[t.name] {
			t.class, t.autoroute = 0, false
			c.tunnels[id] = t
		}
	}
}

func checkFEC(f topology.FEC) error {
	switch {
	case f.Interface == "":
		return fmt.Errorf("the class names no interface")
	case f.Src.IsValid() && f.Dst.IsValid() && f.Src.Addr().Is4() != f.Dst.Addr().Is4():
		return fmt.Errorf("source and destination are of different families")
	case f.DSCP > 63:
		return fmt.Errorf("DSCP %d is above 63", f.DSCP)
	}
	_, err := aceText(f, false)
	return err
}

func sameFEC(a, b topology.FEC) bool {
	norm := func(f topology.FEC) topology.FEC {
		f.Src, f.Dst = f.Src.Masked(), f.Dst.Masked()
		if !f.HasDSCP {
			f.DSCP = 0
		}
		return f
	}
	return norm(a) == norm(b)
}

// families in which a class is written: both where it names no address.
func families(f topology.FEC) []bool {
	for _, p := range []netip.Prefix{f.Src, f.Dst} {
		if p.IsValid() {
			return []bool{p.Addr().Is6()}
		}
	}
	return []bool{false, true}
}
