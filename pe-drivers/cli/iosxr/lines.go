package iosxr

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// lines gives the configuration lines that lead from one configuration to another.
// Each block begins in global configuration mode and ends there. What is referred
// to comes before what refers to it, and goes after it; a commit takes all of it at
// once, so this is for the reader of the commit's record.
func lines(from, to *config) []string {
	var out []string
	out = append(out, pathLines(from, to)...)
	out = append(out, tunnelLines(from, to)...)
	out = append(out, aclLines(from, to)...)
	out = append(out, classLines(from, to)...)
	out = append(out, policyLines(from, to)...)
	out = append(out, interfaceLines(from, to)...)
	return append(out, removals(from, to)...)
}

// block is a submode: the lines are indented by where they stand.
func block(head string, body []string) []string {
	if len(body) == 0 {
		return nil
	}
	out := []string{head}
	for _, l := range body {
		out = append(out, " "+l)
	}
	return append(out, "exit")
}

func pathLines(from, to *config) []string {
	var out []string
	for _, name := range sorted(to.paths) {
		have, want := from.paths[name], to.paths[name]
		if slices.Equal(have, want) {
			continue
		}
		var body []string
		for _, h := range have {
			if !slices.ContainsFunc(want, func(w pathHop) bool { return w.index == h.index }) {
				body = append(body, fmt.Sprintf("no index %d", h.index))
			}
		}
		for _, h := range want {
			if slices.Contains(have, h) {
				continue
			}
			kind := "strict"
			if h.loose {
				kind = "loose"
			}
			body = append(body, fmt.Sprintf("index %d next-address %s ipv4 unicast %s", h.index, kind, h.addr))
		}
		out = append(out, block("explicit-path name "+name, body)...)
	}
	return out
}

func tunnelLines(from, to *config) []string {
	var out []string
	for _, id := range sorted(to.tunnels) {
		want := to.tunnels[id]
		have, there := from.tunnels[id]
		if have == want {
			continue
		}
		var body []string
		if !there {
			body = newTunnel(want)
		}
		if have.shutdown && !want.shutdown {
			body = append(body, "no shutdown")
		}
		switch want.class {
		case have.class:
		case 0:
			body = append(body, "no forward-class")
		default:
			body = append(body, fmt.Sprintf("forward-class %d", want.class))
		}
		// Last: "autoroute announce" opens a submode in some releases.
		switch {
		case want.autoroute && !have.autoroute:
			body = append(body, "autoroute announce")
		case have.autoroute && !want.autoroute:
			body = append(body, "no autoroute announce")
		}
		b := block(fmt.Sprintf("interface tunnel-te%d", id), body)
		if want.autoroute && !have.autoroute {
			b[len(b)-1] = "root"
		}
		out = append(out, b...)
	}
	return out
}

func newTunnel(t tunnelTE) []string {
	body := []string{
		"ipv4 unnumbered Loopback0",
		"signalled-name " + t.name,
	}
	if t.kbps != 0 {
		body = append(body, fmt.Sprintf("signalled-bandwidth %d", t.kbps))
	}
	body = append(body,
		fmt.Sprintf("priority %d %d", t.setup, t.hold),
		"destination "+t.destination.String(),
		"record-route",
		// XR's default, 0x0 mask 0xffff, would keep the LSP off links with a colour.
		fmt.Sprintf("affinity 0x%x mask 0x%x", t.affinity, t.mask))
	if t.path == "" {
		return append(body, "path-option 10 dynamic")
	}
	return append(body, "path-option 10 explicit name "+t.path)
}

func aclLines(from, to *config) []string {
	var out []string
	for _, name := range sortedACLs(to.acls) {
		have, want := from.acls[name], to.acls[name]
		var body []string
		for _, seq := range sorted(have) {
			if _, ok := want[seq]; !ok {
				body = append(body, fmt.Sprintf("no %d", seq))
			}
		}
		for _, seq := range sorted(want) {
			if have[seq] != want[seq] {
				body = append(body, strconv.FormatUint(uint64(seq), 10)+" "+want[seq])
			}
		}
		out = append(out, block(name.String(), body)...)
	}
	return out
}

func classLines(from, to *config) []string {
	var out []string
	for _, name := range sorted(to.classes) {
		have, want := from.classes[name], to.classes[name]
		var body []string
		for _, m := range sorted(have) {
			if !want[m] {
				body = append(body, "no match "+m)
			}
		}
		for _, m := range sorted(want) {
			if !have[m] {
				body = append(body, "match "+m)
			}
		}
		if b := block("class-map match-any "+name, body); b != nil {
			b[len(b)-1] = "end-class-map"
			out = append(out, b...)
		}
	}
	return out
}

func policyLines(from, to *config) []string {
	var out []string
	for _, name := range sorted(to.policies) {
		have, want := from.policies[name], to.policies[name]
		var body []string
		for _, pc := range have {
			if !slices.ContainsFunc(want, func(w policyClass) bool { return w.name == pc.name }) {
				body = append(body, "no class "+pc.name)
			}
		}
		for _, pc := range want {
			if !slices.Contains(have, pc) {
				body = append(body, "class "+pc.name, fmt.Sprintf(" set forward-class %d", pc.forward), "exit")
			}
		}
		if b := block("policy-map "+name, body); b != nil {
			b[len(b)-1] = "end-policy-map"
			out = append(out, b...)
		}
	}
	return out
}

func interfaceLines(from, to *config) []string {
	var out []string
	for _, name := range sorted(to.interfaces) {
		have, want := from.interfaces[name], to.interfaces[name]
		switch {
		case have == want:
		case want == "":
			out = append(out, block("interface "+name, []string{"no service-policy input " + have})...)
		default:
			out = append(out, block("interface "+name, []string{"service-policy input " + want})...)
		}
	}
	return out
}

// removals gives the lines for all that is gone.
func removals(from, to *config) []string {
	var out []string
	gone(from.policies, to.policies, func(name string) { out = append(out, "no policy-map "+name) })
	gone(from.classes, to.classes, func(name string) { out = append(out, "no class-map match-any "+name) })
	for _, name := range sortedACLs(from.acls) {
		if _, ok := to.acls[name]; !ok {
			out = append(out, "no "+name.String())
		}
	}
	gone(from.tunnels, to.tunnels, func(id uint32) { out = append(out, fmt.Sprintf("no interface tunnel-te%d", id)) })
	gone(from.paths, to.paths, func(name string) { out = append(out, "no explicit-path name "+name) })
	return out
}

func gone[K interface{ ~string | ~uint32 }, V any](from, to map[K]V, f func(K)) {
	for _, k := range sorted(from) {
		if _, ok := to[k]; !ok {
			f(k)
		}
	}
}

func sorted[K interface{ ~string | ~uint32 }, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}

func sortedACLs(m map[aclName]acl) []aclName {
	return slices.SortedFunc(maps.Keys(m), func(a, b aclName) int { return strings.Compare(a.String(), b.String()) })
}
