package xrcli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mpbox/examples/lab/pe/router"
)

// section is a part of a configuration as it is shown: its first line, the lines
// inside, and the lines that close it.
type section struct {
	header string
	body   []string
	footer []string
	// whole sections are shown whole where one line of them changed: the order
	// inside has a meaning, or lines are nested.
	whole bool
}

func (s section) lines() []string { return slices.Concat([]string{s.header}, s.body, s.footer) }

var bang = []string{"!"}

// renderCLI is the running configuration, without what was there from the
// factory.
func renderCLI(c *router.CLI) []section {
	return slices.Concat(renderClasses(c), renderTunnels(c))
}

// renderClasses are access lists, class maps, policy maps and service policies.
func renderClasses(c *router.CLI) []section {
	var ss []section
	names := slices.SortedFunc(maps.Keys(c.ACLs), func(a, b router.ACLName) int {
		return strings.Compare(family(a.V6)+a.Name, family(b.V6)+b.Name)
	})
	for _, n := range names {
		s := section{header: family(n.V6) + " access-list " + n.Name, footer: bang}
		for _, seq := range slices.Sorted(maps.Keys(c.ACLs[n])) {
			s.body = append(s.body, showACE(seq, c.ACLs[n][seq], n.V6))
		}
		ss = append(ss, s)
	}
	for _, n := range slices.Sorted(maps.Keys(c.ClassMaps)) {
		m := c.ClassMaps[n]
		s := section{header: "class-map match-any " + n, footer: []string{" end-class-map", "! "}, whole: true}
		if m.Descr != "" {
			s.body = append(s.body, " description "+m.Descr)
		}
		for _, a := range m.ACLs {
			s.body = append(s.body, " match access-group "+family(a.V6)+" "+a.Name+" ")
		}
		if len(m.DSCPs) > 0 {
			l := " match dscp"
			for _, d := range m.DSCPs {
				l += " " + named(dscps, d)
			}
			s.body = append(s.body, l+" ")
		}
		ss = append(ss, s)
	}
	for _, n := range slices.Sorted(maps.Keys(c.PolicyMaps)) {
		ss = append(ss, renderPolicy(n, c.PolicyMaps[n]))
	}
	for _, n := range slices.Sorted(maps.Keys(c.Policies)) {
		ss = append(ss, section{header: "interface " + n, body: []string{" service-policy input " + c.Policies[n]}, footer: bang})
	}
	return ss
}

func renderPolicy(name string, p router.PolicyMap) section {
	s := section{header: "policy-map " + name, footer: []string{" end-policy-map", "! "}, whole: true}
	if p.Descr != "" {
		s.body = append(s.body, " description "+p.Descr)
	}
	hasDefault := false
	for _, c := range p.Classes {
		hasDefault = hasDefault || c.Name == router.DefaultClass
		s.body = append(s.body, " class "+c.Name+" ")
		if c.Forward != 0 {
			s.body = append(s.body, fmt.Sprintf("  set forward-class %d", c.Forward))
		}
		s.body = append(s.body, " ! ")
	}
	if !hasDefault {
		s.body = append(s.body, " class class-default ", " ! ")
	}
	return s
}

// renderTunnels are explicit paths and tunnel interfaces.
func renderTunnels(c *router.CLI) []section {
	var ss []section
	for _, n := range slices.Sorted(maps.Keys(c.Tunnels)) {
		ss = append(ss, section{header: "interface " + router.TunnelInterface(n), body: renderTunnel(c.Tunnels[n]), footer: bang})
	}
	for _, n := range slices.Sorted(maps.Keys(c.Paths)) {
		s := section{header: "explicit-path name " + n, footer: bang}
		for _, i := range slices.Sorted(maps.Keys(c.Paths[n])) {
			h := c.Paths[n][i]
			kind := "next-address strict"
			switch {
			case h.Exclude:
				kind = "exclude-address"
			case h.Loose:
				kind = "next-address loose"
			}
			s.body = append(s.body, fmt.Sprintf(" index %d %s ipv4 unicast %s", i, kind, h.Addr))
		}
		ss = append(ss, s)
	}
	return ss
}

func renderTunnel(t router.TunnelTE) []string {
	var ls []string
	add := func(on bool, format string, args ...any) {
		if on {
			ls = append(ls, " "+fmt.Sprintf(format, args...))
		}
	}
	add(t.Descr != "", "description %s", t.Descr)
	add(t.Unnumbered != "", "ipv4 unnumbered %s", t.Unnumbered)
	add(t.PrioritySet, "priority %d %d", t.Setup, t.Hold)
	add(t.Signalled != "", "signalled-name %s", t.Signalled)
	add(t.Bandwidth != 0, "signalled-bandwidth %d", t.Bandwidth)
	if t.Autoroute {
		ls = append(ls, " autoroute announce", " !")
	}
	add(t.Destination.IsValid(), "destination %s", t.Destination)
	add(t.Shutdown, "shutdown")
	add(t.RecordRoute, "record-route")
	add(t.AffinitySet, "affinity 0x%x mask 0x%x", t.Affinity, t.Mask)
	add(t.Class != 0, "forward-class %d", t.Class)
	for _, i := range slices.Sorted(maps.Keys(t.Options)) {
		if name := t.Options[i].Explicit; name != "" {
			add(true, "path-option %d explicit name %s", i, name)
		} else {
			add(true, "path-option %d dynamic", i)
		}
	}
	return ls
}

// diff gives what was changed from old to next, as sections of what is new and
// "no" lines for what is gone.
func diff(old, next []section) []section {
	var out []section
	find := func(ss []section, header string) *section {
		for i := range ss {
			if ss[i].header == header {
				return &ss[i]
			}
		}
		return nil
	}
	for _, s := range old {
		if find(next, s.header) == nil {
			out = append(out, section{header: "no " + s.header})
		}
	}
	for _, s := range next {
		was := find(old, s.header)
		switch {
		case was == nil:
			out = append(out, s)
			continue
		case slices.Equal(was.body, s.body):
			continue
		case s.whole:
			out = append(out, s)
			continue
		}
		d := section{header: s.header, footer: s.footer}
		for _, l := range was.body {
			if !slices.Contains(s.body, l) && strings.TrimSpace(l) != "!" {
				d.body = append(d.body, " no"+l)
			}
		}
		for _, l := range s.body {
			if !slices.Contains(was.body, l) {
				d.body = append(d.body, l)
			}
		}
		out = append(out, d)
	}
	return out
}

// changed tells whether next has anything that old has not; what is taken away
// is no change in this sense.
func changed(old, next []section) bool {
	for _, s := range next {
		i := slices.IndexFunc(old, func(o section) bool { return o.header == s.header })
		if i < 0 || slices.ContainsFunc(s.body, func(l string) bool { return !slices.Contains(old[i].body, l) }) {
			return true
		}
	}
	return false
}

func flatten(ss []section) []string {
	var ls []string
	for _, s := range ss {
		ls = append(ls, s.lines()...)
	}
	return ls
}
