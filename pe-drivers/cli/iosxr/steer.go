package iosxr

import (
	"slices"
	"strings"

	"mpbox/topology"
)

// A class is an entry of an access list, with a remark in front that names the
// class and the LSP:
//
//	ipv4 access-list mpbox-lab-fc2-GigabitEthernet0_0_0_1
//	 10 remark mpbox/lab/flow-1 mpbox/lab/pe1-pe2/1
//	 11 permit tcp host 10.1.0.1 eq 4711 host 10.2.0.1 eq 80
//
// The list is matched by the class map of that name, which the interface's policy
// map gives forward class 2, which the LSP's tunnel carries. A class is in effect
// if every part of this is there.

// binding is a class as it is configured.
type binding struct {
	ftn  topology.FTN
	told string // the LSP that the remark names
	// at are the lists that hold it, with the sequence number of its remark.
	at []entryAt
	// inEffect: the whole chain from interface to tunnel is there.
	inEffect bool
}

type entryAt struct {
	list   aclName
	remark uint32
}

// bindings reads the classes of ours, in order of their names.
func (p *planner) bindings(c *config) []binding {
	byName := make(map[string]*binding)
	for list, entries := range c.acls {
		class, flatName, ok := p.parseSteer(list.name)
		if !ok {
			continue
		}
		iface := p.steered(c, list, class, flatName)
		for seq, text := range entries {
			remark, ok := strings.CutPrefix(text, "remark ")
			if !ok {
				continue
			}
			words := strings.Fields(remark)
			if len(words) != 2 || !p.owns(words[0]) {
				continue
			}
			b, seen := byName[words[0]]
			if !seen {
				b = &binding{ftn: topology.FTN{Name: words[0]}, told: words[1], inEffect: true}
				byName[words[0]] = b
			}
			b.at = append(b.at, entryAt{list, seq})
			p.read(c, b, words[1], class, iface, entries[seq+1])
		}
	}
	out := make([]binding, 0, len(byName))
	for _, b := range byName {
		if !b.inEffect {
			b.ftn.LSP = ""
		}
		out = append(out, *b)
	}
	slices.SortFunc(out, func(a, b binding) int { return strings.Compare(a.ftn.Name, b.ftn.Name) })
	return out
}

// read adds what one list tells about a class.
func (p *planner) read(c *config, b *binding, lsp string, class uint8, iface, ace string) {
	fec, err := parseACE(ace)
	fec.Interface = iface
	_, t, ok := c.find(lsp)
	b.inEffect = b.inEffect && err == nil && iface != "" && ok && t.class == class && c.alone(t)
	if len(b.at) == 1 {
		b.ftn.FEC, b.ftn.LSP = fec, lsp
		return
	}
	// The same class in the list of the other family, or in two lists: then it is
	// not as it should be.
	b.inEffect = b.inEffect && b.ftn.FEC == fec && b.ftn.LSP == lsp && len(families(fec)) == 2
}

// steered gives the interface on which a list is in effect, "" for none.
func (p *planner) steered(c *config, list aclName, class uint8, flatName string) string {
	if !c.classes[list.name]["access-group "+list.family()+" "+list.name] {
		return ""
	}
	for iface, policy := range c.interfaces {
		if policy != p.policy(iface) || flat(iface) != flatName {
			continue
		}
		if slices.Contains(c.policies[policy], policyClass{name: list.name, forward: class}) {
			return iface
		}
	}
	return ""
}

// alone tells that no other tunnel shares the tunnel's class and destination: XR
// would spread the class over both.
func (c *config) alone(t tunnelTE) bool {
	n := 0
	for _, o := range c.tunnels {
		if o.destination == t.destination && o.class == t.class {
			n++
		}
	}
	return n == 1
}

// addEntries writes the class into the lists of a forward class, and what leads to
// these.
func (p *planner) addEntries(c *config, f topology.FTN, class uint8) error {
	iface := f.FEC.Interface
	name := p.steer(iface, class)
	for _, v6 := range families(f.FEC) {
		ace, err := aceText(f.FEC, v6)
		if err != nil {
			return unsupported(err.Error(), "")
		}
		list := aclName{v6, name}
		if c.acls[list] == nil {
			c.acls[list] = acl{}
		}
		seq := c.acls[list].free()
		c.acls[list][seq] = "remark " + f.Name + " " + f.LSP
		c.acls[list][seq+1] = ace
		if c.classes[name] == nil {
			c.classes[name] = classMap{}
		}
		c.classes[name]["access-group "+list.family()+" "+name] = true
	}
	policy := p.policy(iface)
	want := policyClass{name: name, forward: class}
	if i := slices.IndexFunc(c.policies[policy], func(pc policyClass) bool { return pc.name == name }); i >= 0 {
		c.policies[policy][i] = want
	} else {
		c.policies[policy] = append(c.policies[policy], want)
	}
	c.interfaces[iface] = policy
	return nil
}

// free is the lowest sequence number with room for a remark and its entry.
func (a acl) free() uint32 {
	for seq := uint32(10); ; seq += 10 {
		if _, used := a[seq]; used {
			continue
		}
		if _, used := a[seq+1]; !used {
			return seq
		}
	}
}

func (p *planner) unbind(c *config, name string) {
	p.drop(c, name)
	p.freeClasses(c)
}

// drop removes the class's entries, and of what led to them all that is empty then:
// an access list without entries would match everything.
func (p *planner) drop(c *config, name string) {
	for _, b := range p.bindings(c) {
		if b.ftn.Name != name {
			continue
		}
		for _, at := range b.at {
			delete(c.acls[at.list], at.remark)
			if text := c.acls[at.list][at.remark+1]; !strings.HasPrefix(text, "remark ") {
				delete(c.acls[at.list], at.remark+1)
			}
			p.dropEmpty(c, at.list)
		}
	}
}

func (p *planner) dropEmpty(c *config, list aclName) {
	if len(c.acls[list]) > 0 {
		return
	}
	delete(c.acls, list)
	delete(c.classes[list.name], "access-group "+list.family()+" "+list.name)
	if len(c.classes[list.name]) > 0 {
		return
	}
	delete(c.classes, list.name)
	for policy, classes := range c.policies {
		if !strings.HasPrefix(policy, p.base+"-") {
			continue
		}
		rest := slices.DeleteFunc(classes, func(pc policyClass) bool { return pc.name == list.name })
		c.policies[policy] = rest
		if len(rest) > 0 || len(rest) == len(classes) {
			continue
		}
		delete(c.policies, policy)
		for iface, used := range c.interfaces {
			if used == policy {
				c.interfaces[iface] = ""
			}
		}
	}
}
