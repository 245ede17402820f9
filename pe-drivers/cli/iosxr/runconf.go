package iosxr

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// node is a line of a running configuration and what is indented below it.
type node struct {
	line string
	kids []*node
}

// parseTree reads a running configuration by its indentation. "!" ends nothing in
// IOS-XR: it is a comment. Lines that precede the first item (the date, "Building
// configuration...") become items without kids, which nobody looks for.
func parseTree(text string) []*node {
	root := &node{}
	type level struct {
		indent int
		n      *node
	}
	stack := []level{{-1, root}}
	for line := range strings.Lines(text) {
		word := strings.TrimSpace(line)
		if word == "" || strings.HasPrefix(word, "!") {
			continue
		}
		indent := len(line) - len(strings.TrimLeft(line, " "))
		for stack[len(stack)-1].indent >= indent {
			stack = stack[:len(stack)-1]
		}
		n := &node{line: word}
		parent := stack[len(stack)-1].n
		parent.kids = append(parent.kids, n)
		stack = append(stack, level{indent, n})
	}
	return root.kids
}

// after gives the rest of a line that begins with the words.
func (n *node) after(words string) (string, bool) {
	rest, ok := strings.CutPrefix(n.line, words)
	if !ok || rest != "" && rest[0] != ' ' {
		return "", false
	}
	return strings.TrimSpace(rest), true
}

// config is the part of a running configuration that steering is made of.
type config struct {
	paths   map[string]explicitPath
	tunnels map[uint32]tunnelTE
	acls    map[aclName]acl
	classes map[string]classMap
	// policies gives the classes of each policy map in order.
	policies map[string][]policyClass
	// interfaces gives the input service policy of each interface, "" for none.
	interfaces map[string]string
}

// explicitPath is "explicit-path name P".
type explicitPath []pathHop

type pathHop struct {
	index uint32
	addr  netip.Addr // invalid for what is no next-address (exclude-address, …)
	loose bool
}

// tunnelTE is "interface tunnel-teN".
type tunnelTE struct {
	name                  string // signalled-name
	destination           netip.Addr
	kbps                  uint32
	setup, hold           uint8
	affinity, mask        uint32
	path                  string // of the lowest path option; "" is dynamic
	options               int    // how many path options there are
	shutdown, recordRoute bool
	autoroute             bool
	class                 uint8 // forward-class; 0 is the default class
}

type aclName struct {
	v6   bool
	name string
}

func (n aclName) family() string {
	if n.v6 {
		return "ipv6"
	}
	return "ipv4"
}

func (n aclName) String() string { return n.family() + " access-list " + n.name }

// acl gives the text of each entry by its sequence number.
type acl map[uint32]string

// classMap is the set of its match lines.
type classMap map[string]bool

type policyClass struct {
	name    string
	forward uint8 // set forward-class; 0 where the class does something else
}

func newConfig() *config {
	return &config{
		paths: map[string]explicitPath{}, tunnels: map[uint32]tunnelTE{}, acls: map[aclName]acl{},
		classes: map[string]classMap{}, policies: map[string][]policyClass{}, interfaces: map[string]string{},
	}
}

// parseConfig reads running configurations, of which each show command gave one.
func parseConfig(texts ...string) *config {
	c := newConfig()
	for _, text := range texts {
		for _, n := range parseTree(text) {
			c.item(n)
		}
	}
	return c
}

func (c *config) item(n *node) {
	if name, ok := n.after("explicit-path name"); ok {
		c.paths[name] = parsePath(n.kids)
	} else if rest, ok := n.after("interface"); ok {
		c.iface(rest, n.kids)
	} else if name, ok := n.after("ipv4 access-list"); ok {
		c.acls[aclName{false, name}] = parseACL(n.kids)
	} else if name, ok := n.after("ipv6 access-list"); ok {
		c.acls[aclName{true, name}] = parseACL(n.kids)
	} else if rest, ok := n.after("class-map"); ok {
		f := strings.Fields(rest)
		m := classMap{}
		for _, k := range n.kids {
			if match, ok := k.after("match"); ok {
				m[match] = true
			}
		}
		if len(f) > 0 {
			c.classes[f[len(f)-1]] = m // behind "match-any" or "type traffic match-any"
		}
	} else if rest, ok := n.after("policy-map"); ok {
		f := strings.Fields(rest)
		if len(f) > 0 {
			c.policies[f[len(f)-1]] = parsePolicy(n.kids)
		}
	}
}

func parsePath(kids []*node) explicitPath {
	var p explicitPath
	for _, k := range kids {
		f := strings.Fields(k.line)
		if len(f) < 3 || f[0] != "index" {
			continue
		}
		n, err := strconv.ParseUint(f[1], 10, 32)
		if err != nil {
			continue
		}
		h := pathHop{index: uint32(n)}
		if f[2] == "next-address" {
			h.loose = f[3%len(f)] == "loose"
			h.addr, _ = netip.ParseAddr(f[len(f)-1])
		}
		p = append(p, h)
	}
	return p
}

func parseACL(kids []*node) acl {
	a := acl{}
	for _, k := range kids {
		seq, text, _ := strings.Cut(k.line, " ")
		if n, err := strconv.ParseUint(seq, 10, 32); err == nil {
			a[uint32(n)] = text
		}
	}
	return a
}

func parsePolicy(kids []*node) []policyClass {
	classes := []policyClass{}
	for _, k := range kids {
		rest, ok := k.after("class")
		if !ok {
			continue
		}
		f := strings.Fields(rest) // "C" or "type traffic C"
		if len(f) == 0 || f[len(f)-1] == "class-default" {
			continue // always there, and never ours
		}
		pc := policyClass{name: f[len(f)-1]}
		for _, s := range k.kids {
			if v, ok := s.after("set forward-class"); ok {
				n, _ := strconv.ParseUint(v, 10, 8)
				pc.forward = uint8(n)
			}
		}
		classes = append(classes, pc)
	}
	return classes
}

var tunnelInterface = regexp.MustCompile(`^tunnel-te(\d+)$`)

func (c *config) iface(name string, kids []*node) {
	if m := tunnelInterface.FindStringSubmatch(name); m != nil {
		if n, err := strconv.ParseUint(m[1], 10, 32); err == nil {
			c.tunnels[uint32(n)] = parseTunnel(kids)
		}
		return
	}
	c.interfaces[name] = ""
	for _, k := range kids {
		if p, ok := k.after("service-policy input"); ok {
			c.interfaces[name] = p
		} else if p, ok := k.after("service-policy type pbr input"); ok {
			c.interfaces[name] = p
		}
	}
}

// parseTunnel reads a tunnel interface. What it does not say is XR's default:
// priorities 7 7, affinity 0x0 under mask 0xffff.
func parseTunnel(kids []*node) tunnelTE {
	t := tunnelTE{setup: 7, hold: 7, mask: 0xffff}
	lowest := uint64(1) << 32
	for _, k := range kids {
		f := strings.Fields(k.line)
		word := func(i int) string {
			if i < len(f) {
				return f[i]
			}
			return ""
		}
		switch f[0] {
		case "signalled-name":
			t.name = word(1)
		case "destination":
			t.destination, _ = netip.ParseAddr(word(1))
		case "signalled-bandwidth":
			n, _ := strconv.ParseUint(word(1), 10, 32)
			t.kbps = uint32(n)
		case "priority":
			t.setup, t.hold = priority(word(1)), priority(word(2))
		case "affinity":
			if word(2) == "mask" {
				t.affinity, t.mask = hex(word(1)), hex(word(3))
			}
		case "path-option":
			n, err := strconv.ParseUint(word(1), 10, 32)
			if err != nil {
				continue
			}
			t.options++
			if n < lowest {
				lowest, t.path = n, ""
				if word(2) == "explicit" {
					t.path = word(4) // explicit name P
				}
			}
		case "shutdown":
			t.shutdown = true
		case "record-route":
			t.recordRoute = true
		case "autoroute":
			t.autoroute = t.autoroute || word(1) == "announce"
		case "forward-class":
			n, _ := strconv.ParseUint(word(1), 10, 3)
			t.class = uint8(n)
		}
	}
	return t
}

func priority(s string) uint8 {
	n, err := strconv.ParseUint(s, 10, 3)
	if err != nil {
		return 7
	}
	return uint8(n)
}

func hex(s string) uint32 {
	n, _ := strconv.ParseUint(s, 0, 32)
	return uint32(n)
}
