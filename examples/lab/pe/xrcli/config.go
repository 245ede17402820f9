package xrcli

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"mpbox/examples/lab/pe/router"
)

// edit is what a configuration command does to the target configuration.
type edit struct {
	// mode is the submode that the command opens, as in the prompt.
	mode string
	// noOnly commands exist after "no" only: with fewer words than they are set by.
	noOnly bool
	apply  func(c *router.CLI, a args, no bool) error
}

// configCommands are the commands of configuration mode, each with the whole way
// to it: a line of a submode is matched with the submode's words before it.
var configCommands = buildConfig()

func buildConfig() []command[edit] {
	var cmds []command[edit]
	add := func(text string, e edit) {
		for _, p := range parse(text) {
			cmds = append(cmds, command[edit]{p, e})
		}
	}
	pathCommands(add)
	tunnelCommands(add)
	interfaceCommands(add)
	aclCommands(add)
	classCommands(add)
	return cmds
}

type adder func(text string, e edit)

func number(s string) uint32 {
	n, _ := strconv.ParseUint(s, 0, 32) // the grammar checked it
	return uint32(n)
}

func (a args) has(word string) bool { return slices.Contains(a.words, word) }

func pathCommands(add adder) {
	const path = "explicit-path name <word>"
	add(path, edit{mode: "config-expl-path", apply: func(c *router.CLI, a args, no bool) error {
		if no {
			delete(c.Paths, a.params[0])
		} else if c.Paths[a.params[0]] == nil {
			c.Paths[a.params[0]] = router.ExplicitPath{}
		}
		return nil
	}})
	index := func(c *router.CLI, a args, no bool) error {
		p := c.Paths[a.params[0]]
		if p == nil {
			p = router.ExplicitPath{}
			c.Paths[a.params[0]] = p
		}
		i := number(a.params[1])
		if no {
			delete(p, i)
			return nil
		}
		p[i] = router.PathHop{Addr: netip.MustParseAddr(a.params[2]), Loose: a.has("loose"), Exclude: a.has("exclude-address")}
		return nil
	}
	add(path+" index <1-65535> next-address [strict|loose] ipv4 unicast <ipv4>", edit{apply: index})
	add(path+" index <1-65535> exclude-address ipv4 unicast <ipv4>", edit{apply: index})
	add(path+" index <1-65535>", edit{noOnly: true, apply: index})
}

// tunnel edits interface tunnel-te.
func tunnel(f func(t *router.TunnelTE, a args, no bool) error) func(*router.CLI, args, bool) error {
	return func(c *router.CLI, a args, no bool) error {
		n := number(strings.TrimPrefix(a.params[0], "tunnel-te"))
		t, ok := c.Tunnels[n]
		if !ok {
			if no {
				return nil
			}
			t = router.NewTunnelTE()
		}
		a.params = a.params[1:]
		if err := f(&t, a, no); err != nil {
			return err
		}
		c.Tunnels[n] = t
		return nil
	}
}

func tunnelCommands(add adder) {
	const te = "interface <te>"
	add(te, edit{mode: "config-if", apply: func(c *router.CLI, a args, no bool) error {
		n := number(strings.TrimPrefix(a.params[0], "tunnel-te"))
		if no {
			delete(c.Tunnels, n)
		} else if _, ok := c.Tunnels[n]; !ok {
			c.Tunnels[n] = router.NewTunnelTE()
		}
		return nil
	}})
	leaf := func(text, short string, f func(t *router.TunnelTE, a args, no bool)) {
		e := edit{apply: tunnel(func(t *router.TunnelTE, a args, no bool) error {
			f(t, a, no)
			return nil
		})}
		add(te+" "+text, e)
		if short != "" {
			e.noOnly = true
			add(te+" "+short, e)
		}
	}
	// str gives the parameter, or nothing after "no".
	str := func(a args, no bool) string {
		if no {
			return ""
		}
		return a.params[0]
	}
	leaf("description <line>", "description", func(t *router.TunnelTE, a args, no bool) { t.Descr = str(a, no) })
	leaf("ipv4 unnumbered <if>", "ipv4 unnumbered", func(t *router.TunnelTE, a args, no bool) { t.Unnumbered = str(a, no) })
	leaf("signalled-name <word>", "signalled-name", func(t *router.TunnelTE, a args, no bool) { t.Signalled = str(a, no) })
	leaf("destination <ipv4>", "destination", func(t *router.TunnelTE, a args, no bool) {
		t.Destination = netip.Addr{}
		if !no {
			t.Destination = netip.MustParseAddr(a.params[0])
		}
	})
	leaf("record-route", "", func(t *router.TunnelTE, _ args, no bool) { t.RecordRoute = !no })
	leaf("autoroute announce", "autoroute", func(t *router.TunnelTE, _ args, no bool) { t.Autoroute = !no })
	leaf("shutdown", "", func(t *router.TunnelTE, _ args, no bool) { t.Shutdown = !no })
	leaf("logging events lsp-status state", "", func(*router.TunnelTE, args, bool) {})
	leaf("signalled-bandwidth <0-4294967295>", "signalled-bandwidth", func(t *router.TunnelTE, a args, no bool) {
		t.Bandwidth = 0
		if !no {
			t.Bandwidth = number(a.params[0])
		}
	})
	leaf("priority <0-7> <0-7>", "priority", func(t *router.TunnelTE, a args, no bool) {
		t.Setup, t.Hold, t.PrioritySet = 7, 7, false
		if !no {
			t.Setup, t.Hold, t.PrioritySet = uint8(number(a.params[0])), uint8(number(a.params[1])), true
		}
	})
	leaf("affinity <hex> mask <hex>", "affinity", func(t *router.TunnelTE, a args, no bool) {
		t.Affinity, t.Mask, t.AffinitySet = 0, 0xffff, false
		if !no {
			t.Affinity, t.Mask, t.AffinitySet = number(a.params[0]), number(a.params[1]), true
		}
	})
	leaf("forward-class <1-7>", "forward-class", func(t *router.TunnelTE, a args, no bool) {
		t.Class = 0
		if !no {
			t.Class = uint8(number(a.params[0]))
		}
	})
	option := func(t *router.TunnelTE, a args, no bool) {
		i := number(a.params[0])
		if t.Options == nil {
			t.Options = map[uint32]router.PathOption{}
		}
		switch {
		case no:
			delete(t.Options, i)
		case a.has("explicit"):
			t.Options[i] = router.PathOption{Explicit: a.params[1]}
		default:
			t.Options[i] = router.PathOption{}
		}
	}
	leaf("path-option <1-1000> explicit name <word>", "path-option <1-1000>", option)
	leaf("path-option <1-1000> dynamic", "", option)
}

func interfaceCommands(add adder) {
	add("interface <if>", edit{mode: "config-if", apply: func(c *router.CLI, a args, no bool) error {
		if no {
			delete(c.Policies, a.params[0])
		}
		return nil
	}})
	policy := func(c *router.CLI, a args, no bool) error {
		if no {
			delete(c.Policies, a.params[0])
		} else {
			c.Policies[a.params[0]] = a.params[1]
		}
		return nil
	}
	add("interface <if> service-policy [type] [pbr|qos] input <word>", edit{apply: policy})
	add("interface <if> service-policy input", edit{noOnly: true, apply: policy})
}

func classCommands(add adder) {
	classMap := func(f func(m *router.ClassMap, a args, no bool) error) func(*router.CLI, args, bool) error {
		return func(c *router.CLI, a args, no bool) error {
			name := a.params[0]
			m := c.ClassMaps[name]
			a.params = a.params[1:]
			if err := f(&m, a, no); err != nil {
				return err
			}
			c.ClassMaps[name] = m
			return nil
		}
	}
	for _, cm := range []string{"class-map match-any <word>", "class-map type qos|traffic match-any <word>"} {
		add(cm, edit{mode: "config-cmap", apply: func(c *router.CLI, a args, no bool) error {
			if no {
				delete(c.ClassMaps, a.params[0])
			} else {
				m := c.ClassMaps[a.params[0]]
				c.ClassMaps[a.params[0]] = m
			}
			return nil
		}})
		add(cm+" match access-group ipv4|ipv6 <word>", edit{apply: classMap(func(m *router.ClassMap, a args, no bool) error {
			n := router.ACLName{V6: a.has("ipv6"), Name: a.params[0]}
			m.ACLs = slices.DeleteFunc(m.ACLs, func(o router.ACLName) bool { return o == n })
			if !no {
				m.ACLs = append(m.ACLs, n)
			}
			return nil
		})})
		add(cm+" match dscp [ipv4|ipv6] <line>", edit{apply: classMap(func(m *router.ClassMap, a args, no bool) error {
			for _, w := range split(a.params[0]) {
				d, ok := parseDSCP(w.s)
				if !ok {
					return invalidError{a.lineAt + w.at}
				}
				m.DSCPs = slices.DeleteFunc(m.DSCPs, func(o uint8) bool { return o == d })
				if !no {
					m.DSCPs = append(m.DSCPs, d)
				}
			}
			return nil
		})})
		add(cm+" description <line>", edit{apply: classMap(func(m *router.ClassMap, a args, no bool) error {
			m.Descr = ""
			if !no {
				m.Descr = a.params[0]
			}
			return nil
		})})
	}
	add("class-map <word>", edit{noOnly: true, apply: func(c *router.CLI, a args, _ bool) error {
		delete(c.ClassMaps, a.params[0])
		return nil
	}})
	for _, pm := range []string{"policy-map <word>", "policy-map type qos|pbr <word>"} {
		policyCommands(add, pm)
	}
}

func policyCommands(add adder, pm string) {
	add(pm, edit{mode: "config-pmap", apply: func(c *router.CLI, a args, no bool) error {
		if no {
			delete(c.PolicyMaps, a.params[0])
		} else {
			p := c.PolicyMaps[a.params[0]]
			c.PolicyMaps[a.params[0]] = p
		}
		return nil
	}})
	add(pm+" description <line>", edit{apply: func(c *router.CLI, a args, no bool) error {
		p := c.PolicyMaps[a.params[0]]
		p.Descr = ""
		if !no {
			p.Descr = a.params[1]
		}
		c.PolicyMaps[a.params[0]] = p
		return nil
	}})
	// class gives the place of a class in its policy; a new one comes before
	// class-default.
	class := func(p *router.PolicyMap, name string) int {
		named := func(n string) func(router.PolicyClass) bool {
			return func(c router.PolicyClass) bool { return c.Name == n }
		}
		if i := slices.IndexFunc(p.Classes, named(name)); i >= 0 {
			return i
		}
		at := slices.IndexFunc(p.Classes, named(router.DefaultClass))
		if at < 0 {
			at = len(p.Classes)
		}
		p.Classes = slices.Insert(p.Classes, at, router.PolicyClass{Name: name})
		return at
	}
	change := func(f func(p *router.PolicyMap, i int, a args, no bool)) func(*router.CLI, args, bool) error {
		return func(c *router.CLI, a args, no bool) error {
			p := c.PolicyMaps[a.params[0]]
			i := class(&p, a.params[1])
			f(&p, i, args{params: a.params[2:], words: a.words}, no)
			c.PolicyMaps[a.params[0]] = p
			return nil
		}
	}
	for _, cl := range []string{pm + " class <word>", pm + " class type qos|traffic <word>"} {
		add(cl, edit{mode: "config-pmap-c", apply: change(func(p *router.PolicyMap, i int, _ args, no bool) {
			if no {
				p.Classes = slices.Delete(p.Classes, i, i+1)
			}
		})})
		set := change(func(p *router.PolicyMap, i int, a args, no bool) {
			p.Classes[i].Forward = 0
			if !no {
				p.Classes[i].Forward = uint8(number(a.params[0]))
			}
		})
		add(cl+" set forward-class <0-7>", edit{apply: set})
		add(cl+" set forward-class", edit{noOnly: true, apply: set})
	}
}

// semanticError is a part of the target configuration that commit refuses.
type semanticError struct {
	lines []string // as "show configuration failed" prints them
	why   string
}

// validate tells what of a change is wrong as a whole.
func validate(old, next *router.Config, node interfaces, f router.Faults) []semanticError {
	var errs []semanticError
	bad := func(why string, lines ...string) { errs = append(errs, semanticError{lines, why}) }
	c := &next.CLI
	for n := range c.Tunnels {
		for id := range next.Tunnels {
			if id.Index == n {
				bad(fmt.Sprintf("'te_control' detected the 'warning' condition 'Tunnel id %d is in use by the MPLS-TE-STD-MIB'", n),
					"interface "+router.TunnelInterface(n))
			}
		}
	}
	for name, p := range c.PolicyMaps {
		for _, cl := range p.Classes {
			if _, ok := c.ClassMaps[cl.Name]; !ok && cl.Name != router.DefaultClass {
				bad(fmt.Sprintf("'qos-ea' detected the 'warning' condition 'Class-map %s not configured'", cl.Name),
					"policy-map "+name, " class "+cl.Name)
			}
		}
	}
	for name, m := range c.ClassMaps {
		for _, a := range m.ACLs {
			if _, ok := c.ACLs[a]; !ok {
				bad(fmt.Sprintf("'pfilter-ea' detected the 'warning' condition 'Access-list %s not configured'", a.Name),
					"class-map match-any "+name, " match access-group "+family(a.V6)+" "+a.Name)
			}
		}
	}
	for ifName, policy := range c.Policies {
		if _, ok := c.PolicyMaps[policy]; !ok {
			bad(fmt.Sprintf("'policymgr' detected the 'warning' condition 'Policy-map %s not configured'", policy),
				"interface "+ifName, " service-policy input "+policy)
		}
		if !node.has(ifName) {
			bad("'policymgr' detected the 'warning' condition 'Interface does not exist'",
				"interface "+ifName, " service-policy input "+policy)
		}
	}
	if f.RefuseTunnel && changed(renderTunnels(&old.CLI), renderTunnels(c)) {
		bad("'te_control' detected the 'resource not available' condition 'Out of resource'", flatten(diff(renderTunnels(&old.CLI), renderTunnels(c)))...)
	}
	if f.RefuseFTN && changed(renderClasses(&old.CLI), renderClasses(c)) {
		bad("'qos-ea' detected the 'resource not available' condition 'Out of resource'", flatten(diff(renderClasses(&old.CLI), renderClasses(c)))...)
	}
	slices.SortFunc(errs, func(a, b semanticError) int { return slices.Compare(a.lines, b.lines) })
	return errs
}

// interfaces are the names of a router's interfaces.
type interfaces []string

func (i interfaces) has(name string) bool { return slices.Contains(i, name) }

func family(v6 bool) string {
	if v6 {
		return "ipv6"
	}
	return "ipv4"
}
