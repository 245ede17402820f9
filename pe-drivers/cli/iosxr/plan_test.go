package iosxr

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

func testPlanner() planner {
	return planner{naming: newNaming(owner), names: testNames, tunnelIDs: [2]uint32{50000, 50009}}
}

// base is a router with a default tunnel to pe2 and pe3 and two customers.
func base() *config {
	c := newConfig()
	for i, d := range []string{"10.255.0.2", "10.255.0.3"} {
		c.tunnels[uint32(i+1)] = tunnelTE{name: "default" + d, destination: addr(d), setup: 7, hold: 7, mask: 0xffff, options: 1, autoroute: true}
	}
	c.interfaces["GigabitEthernet0/0/0/1"] = ""
	c.interfaces["GigabitEthernet0/0/0/2"] = ""
	return c
}

func lsp(n int, egress string) topology.LSP {
	return topology.LSP{
		Name: fmt.Sprintf("mpbox/lab/pe1-%s/%d", egress, n), Ingress: "pe1", Egress: egress, SetupPriority: 7, HoldPriority: 7,
		ERO: hops("10.0.1.2", fmt.Sprintf("10.0.2.%d", n)),
	}
}

func flow(n int, to topology.LSP) topology.FTN {
	return topology.FTN{
		Name: fmt.Sprintf("mpbox/lab/flow-%d", n), LSP: to.Name,
		FEC: topology.FEC{
			Interface: "GigabitEthernet0/0/0/1", Protocol: 6, SrcPort: uint16(4710 + n), DstPort: 80,
			Src: netip.MustParsePrefix("10.1.0.1/32"), Dst: netip.MustParsePrefix("10.2.0.1/32"),
		},
	}
}

// do applies operations and gives the lines; the configuration moves on.
func do(t testing.TB, c **config, ops ...driver.Op) []string {
	t.Helper()
	p := testPlanner()
	want := (*c).clone()
	for _, op := range ops {
		if err := p.apply(want, op); err != nil {
			t.Fatalf("%s: %v", op, err)
		}
	}
	out := lines(*c, want)
	*c = want
	return out
}

func TestLines(t *testing.T) {
	c := base()
	one, two := lsp(1, "pe2"), lsp(2, "pe2")
	two.ERO, two.Bandwidth, two.SetupPriority, two.HoldPriority, two.IncludeAll, two.ExcludeAny = nil, 2000500, 5, 4, 1, 0x10
	for _, step := range []struct {
		name string
		ops  []driver.Op
		want string
	}{
		{"signal", []driver.Op{driver.Signal{LSP: one}, driver.Signal{LSP: two}}, `
explicit-path name mpbox-lab-te50000
 index 10 next-address strict ipv4 unicast 10.0.1.2
 index 20 next-address strict ipv4 unicast 10.0.2.1
exit
interface tunnel-te50000
 ipv4 unnumbered Loopback0
 signalled-name mpbox/lab/pe1-pe2/1
 priority 7 7
 destination 10.255.0.2
 record-route
 affinity 0x0 mask 0x0
 path-option 10 explicit name mpbox-lab-te50000
exit
interface tunnel-te50001
 ipv4 unnumbered Loopback0
 signalled-name mpbox/lab/pe1-pe2/2
 signalled-bandwidth 2001
 priority 5 4
 destination 10.255.0.2
 record-route
 affinity 0x1 mask 0x11
 path-option 10 dynamic
exit`},
		{"first class", []driver.Op{driver.Bind{FTN: flow(1, one)}}, `
interface tunnel-te50000
 forward-class 1
 autoroute announce
root
ipv4 access-list mpbox-lab-fc1-GigabitEthernet0_0_0_1
 10 remark mpbox/lab/flow-1 mpbox/lab/pe1-pe2/1
 11 permit tcp host 10.1.0.1 eq 4711 host 10.2.0.1 eq 80
exit
class-map match-any mpbox-lab-fc1-GigabitEthernet0_0_0_1
 match access-group ipv4 mpbox-lab-fc1-GigabitEthernet0_0_0_1
end-class-map
policy-map mpbox-lab-GigabitEthernet0_0_0_1
 class mpbox-lab-fc1-GigabitEthernet0_0_0_1
  set forward-class 1
 exit
end-policy-map
interface GigabitEthernet0/0/0/1
 service-policy input mpbox-lab-GigabitEthernet0_0_0_1
exit`},
		{"second class of the LSP", []driver.Op{driver.Bind{FTN: flow(2, one)}}, `
ipv4 access-list mpbox-lab-fc1-GigabitEthernet0_0_0_1
 20 remark mpbox/lab/flow-2 mpbox/lab/pe1-pe2/1
 21 permit tcp host 10.1.0.1 eq 4712 host 10.2.0.1 eq 80
exit`},
		{"the same again", []driver.Op{driver.Signal{LSP: one}, driver.Bind{FTN: flow(2, one)}, driver.Bind{FTN: flow(1, one)}}, ``},
		{"re-point", []driver.Op{driver.Bind{FTN: flow(2, two)}}, `
interface tunnel-te50001
 forward-class 2
 autoroute announce
root
ipv4 access-list mpbox-lab-fc1-GigabitEthernet0_0_0_1
 no 20
 no 21
exit
ipv4 access-list mpbox-lab-fc2-GigabitEthernet0_0_0_1
 10 remark mpbox/lab/flow-2 mpbox/lab/pe1-pe2/2
 11 permit tcp host 10.1.0.1 eq 4712 host 10.2.0.1 eq 80
exit
class-map match-any mpbox-lab-fc2-GigabitEthernet0_0_0_1
 match access-group ipv4 mpbox-lab-fc2-GigabitEthernet0_0_0_1
end-class-map
policy-map mpbox-lab-GigabitEthernet0_0_0_1
 class mpbox-lab-fc2-GigabitEthernet0_0_0_1
  set forward-class 2
 exit
end-policy-map`},
		{"the last class leaves an LSP", []driver.Op{driver.Unbind{Name: "mpbox/lab/flow-1"}}, `
interface tunnel-te50000
 no forward-class
 no autoroute announce
exit
policy-map mpbox-lab-GigabitEthernet0_0_0_1
 no class mpbox-lab-fc1-GigabitEthernet0_0_0_1
end-policy-map
no class-map match-any mpbox-lab-fc1-GigabitEthernet0_0_0_1
no ipv4 access-list mpbox-lab-fc1-GigabitEthernet0_0_0_1`},
		{"the end", []driver.Op{driver.Unbind{Name: "mpbox/lab/flow-2"}, driver.Release{Name: one.Name}, driver.Release{Name: two.Name}}, `
interface GigabitEthernet0/0/0/1
 no service-policy input mpbox-lab-GigabitEthernet0_0_0_1
exit
no policy-map mpbox-lab-GigabitEthernet0_0_0_1
no class-map match-any mpbox-lab-fc2-GigabitEthernet0_0_0_1
no ipv4 access-list mpbox-lab-fc2-GigabitEthernet0_0_0_1
no interface tunnel-te50000
no interface tunnel-te50001
no explicit-path name mpbox-lab-te50000`},
	} {
		got := strings.Join(do(t, &c, step.ops...), "\n")
		if diff := cmp.Diff(strings.TrimPrefix(step.want, "\n"), got); diff != "" {
			t.Fatalf("%s: %s", step.name, diff)
		}
	}
	if diff := cmp.Diff(base(), c, comparing...); diff != "" {
		t.Errorf("something is left: %s", diff)
	}
}

// A class without addresses is one of both families.
func TestBothFamilies(t *testing.T) {
	c := base()
	f := topology.FTN{Name: "mpbox/lab/class-1", LSP: lsp(1, "pe2").Name, FEC: topology.FEC{Interface: "GigabitEthernet0/0/0/1", DSCP: 10, HasDSCP: true}}
	do(t, &c, driver.Signal{LSP: lsp(1, "pe2")}, driver.Bind{FTN: f})
	p := testPlanner()
	if b := p.bindings(c); len(b) != 1 || b[0].ftn != f || len(c.acls) != 2 {
		t.Errorf("bindings %+v, lists %v", b, c.acls)
	}
	// One half of it is not the class.
	half := c.clone()
	delete(half.acls, aclName{true, p.steer("GigabitEthernet0/0/0/1", 1)})
	do(t, &half, driver.Bind{FTN: f})
	do(t, &c, driver.Unbind{Name: f.Name}, driver.Release{Name: f.LSP})
	if diff := cmp.Diff(base(), c, comparing...); diff != "" {
		t.Errorf("something is left: %s", diff)
	}
}

// Forward classes count for each egress on its own.
func TestForwardClasses(t *testing.T) {
	c := base()
	c.tunnels[9] = tunnelTE{name: "noc", destination: addr("10.255.0.2"), class: 1, options: 1}
	a, b, z := lsp(1, "pe2"), lsp(2, "pe2"), lsp(1, "pe3")
	do(t, &c, driver.Signal{LSP: a}, driver.Signal{LSP: b}, driver.Signal{LSP: z},
		driver.Bind{FTN: flow(1, a)}, driver.Bind{FTN: flow(2, b)}, driver.Bind{FTN: flow(3, z)})
	class := func(l topology.LSP) uint8 { _, t, _ := c.find(l.Name); return t.class }
	if class(a) != 2 || class(b) != 3 || class(z) != 1 {
		t.Errorf("classes %d %d %d, want 2 3 1", class(a), class(b), class(z))
	}
	p := testPlanner()
	if got := p.bindings(c); len(got) != 3 || got[0].ftn != flow(1, a) || got[1].ftn != flow(2, b) || got[2].ftn != flow(3, z) {
		t.Errorf("bindings %+v", got)
	}
}

func TestRefused(t *testing.T) {
	one := lsp(1, "pe2")
	with := func(change func(*config)) *config {
		c := base()
		do(t, &c, driver.Signal{LSP: one})
		change(c)
		return c
	}
	changed := func(f topology.FTN, change func(*topology.FTN)) topology.FTN { change(&f); return f }
	for _, c := range []struct {
		name string
		have *config
		op   driver.Op
		kind error
		says string
	}{
		{"no default tunnel", with(func(c *config) { delete(c.tunnels, 1) }), driver.Bind{FTN: flow(1, one)}, driver.ErrRejected, "no default tunnel"},
		{"policy of somebody else", with(func(c *config) { c.interfaces["GigabitEthernet0/0/0/1"] = "noc-in" }), driver.Bind{FTN: flow(1, one)}, driver.ErrRejected, "service-policy input noc-in"},
		{"foreign LSP without class", with(func(*config) {}), driver.Bind{FTN: changed(flow(1, one), func(f *topology.FTN) { f.LSP = "default10.255.0.2" })}, driver.ErrRejected, "no forward class"},
		{"class used twice", with(func(c *config) {
			c.tunnels[7] = tunnelTE{name: "noc-a", destination: addr("10.255.0.2"), class: 4}
			c.tunnels[8] = tunnelTE{name: "noc-b", destination: addr("10.255.0.2"), class: 4}
		}), driver.Bind{FTN: changed(flow(1, one), func(f *topology.FTN) { f.LSP = "noc-a" })}, driver.ErrRejected, "also that of another tunnel"},
		{"port without protocol", with(func(*config) {}), driver.Bind{FTN: changed(flow(1, one), func(f *topology.FTN) { f.FEC.Protocol = 0 })}, driver.ErrUnsupported, "ports need"},
		{"two families", with(func(*config) {}), driver.Bind{FTN: changed(flow(1, one), func(f *topology.FTN) { f.FEC.Dst = netip.MustParsePrefix("::1/128") })}, driver.ErrUnsupported, "families"},
		{"name with a blank", base(), driver.Signal{LSP: topology.LSP{Name: owner + "a b", Egress: "pe2"}}, driver.ErrUnsupported, "blank"},
		{"long name", base(), driver.Signal{LSP: topology.LSP{Name: owner + strings.Repeat("x", 64), Egress: "pe2"}}, driver.ErrUnsupported, "63 characters"},
		{"unknown egress", base(), driver.Signal{LSP: lsp(1, "pe9")}, driver.ErrUnsupported, "pe9"},
		{"hop of IPv6", base(), driver.Signal{LSP: topology.LSP{Name: owner + "x", Egress: "pe2", ERO: hops("::1")}}, driver.ErrUnsupported, "hop 1"},
		{"any of two groups", base(), driver.Signal{LSP: topology.LSP{Name: owner + "x", Egress: "pe2", IncludeAny: 3}}, driver.ErrUnsupported, "any one"},
		{"included and excluded", base(), driver.Signal{LSP: topology.LSP{Name: owner + "x", Egress: "pe2", IncludeAll: 1, ExcludeAny: 1}}, driver.ErrUnsupported, "both"},
		{"number in use", with(func(*config) {}), driver.Signal{LSP: topology.LSP{Name: owner + "x", Egress: "pe2", TunnelID: 50000}}, driver.ErrRejected, "tunnel-te50000"},
		{"numbers used up", with(func(c *config) {
			for id := uint32(50000); id < 50010; id++ {
				c.tunnels[id] = tunnelTE{}
			}
		}), driver.Signal{LSP: topology.LSP{Name: owner + "x", Egress: "pe2"}}, driver.ErrRejected, "50009"},
		{"other affinity", with(func(*config) {}), driver.Signal{LSP: func() topology.LSP { l := one; l.ExcludeAny = 1; return l }()}, driver.ErrRejected, "affinity"},
	} {
		p := testPlanner()
		before := c.have.clone()
		err := p.apply(c.have, c.op)
		var r *refusal
		if !errors.As(err, &r) || !errors.Is(r.kind, c.kind) || !strings.Contains(r.detail, c.says) {
			t.Errorf("%s: %v, want %v and %q", c.name, err, c.kind, c.says)
		}
		if got := lines(before, c.have); len(got) != 0 {
			t.Errorf("%s: it left %q", c.name, got)
		}
	}
}

// A class is told as in effect only if all that it needs is there; binding it again
// repairs it.
func TestBrokenChain(t *testing.T) {
	one := lsp(1, "pe2")
	iface := "GigabitEthernet0/0/0/1"
	p := testPlanner()
	steer, policy := p.steer(iface, 1), p.policy(iface)
	for name, damage := range map[string]func(*config){
		"service-policy":  func(c *config) { c.interfaces[iface] = "" },
		"class in policy": func(c *config) { c.policies[policy] = nil },
		"forward class":   func(c *config) { c.policies[policy] = []policyClass{{steer, 2}} },
		"class-map":       func(c *config) { c.classes[steer] = classMap{} },
		"entry":           func(c *config) { delete(c.acls[aclName{false, steer}], 11) },
		"other entry":     func(c *config) { c.acls[aclName{false, steer}][11] = "deny ipv4 any any" },
		"tunnel's class":  func(c *config) { t := c.tunnels[50000]; t.class = 0; c.tunnels[50000] = t },
		"shared class": func(c *config) {
			c.tunnels[60000] = tunnelTE{name: "mpbox/lab/pe1-pe2/9", destination: addr("10.255.0.2"), class: 1}
		},
	} {
		c := base()
		do(t, &c, driver.Signal{LSP: one}, driver.Bind{FTN: flow(1, one)})
		damage(c)
		b := p.bindings(c)
		if len(b) != 1 || b[0].inEffect || b[0].ftn.LSP != "" {
			t.Errorf("without %s: %+v, want it told as not in effect", name, b)
			continue
		}
		if name == "shared class" {
			continue // the other tunnel has to give way first
		}
		do(t, &c, driver.Bind{FTN: flow(1, one)})
		if b := p.bindings(c); len(b) != 1 || b[0].ftn != flow(1, one) {
			t.Errorf("%s repaired: %+v", name, b)
		}
		do(t, &c, driver.Unbind{Name: flow(1, one).Name}, driver.Release{Name: one.Name})
		if left := lines(base(), c); len(left) != 0 {
			t.Errorf("%s: %q is left", name, left)
		}
	}
}

// An instance whose name begins with another one's keeps off its objects.
func TestInstances(t *testing.T) {
	p, q := newNaming("mpbox/lab/"), newNaming("mpbox/lab-2/")
	name := q.steer("GigabitEthernet0/0/0/1", 3)
	if _, _, ok := p.parseSteer(name); ok {
		t.Errorf("%s of another instance is taken for ours", name)
	}
	if class, iface, ok := q.parseSteer(name); !ok || class != 3 || iface != "GigabitEthernet0_0_0_1" {
		t.Errorf("%s is %d %s %t", name, class, iface, ok)
	}
	if p.owns("mpbox/lab-2/x") || !p.owns("mpbox/lab/x") {
		t.Error("ownership of names")
	}
}

func TestComment(t *testing.T) {
	got := comment([]driver.Op{driver.Signal{LSP: lsp(1, "pe2")}, driver.Release{Name: "x"}})
	if got != "mpbox: signal mpbox/lab/pe1-pe2/1 and 1 more" {
		t.Errorf("comment %q", got)
	}
	if got := comment([]driver.Op{driver.Release{Name: strings.Repeat("ü?", 60)}}); len(got) > 60 || strings.ContainsAny(got, "?ü") {
		t.Errorf("comment %q", got)
	}
}

func TestReasons(t *testing.T) {
	out := `
!! SEMANTIC ERRORS: This configuration was rejected by
!! the system due to semantic errors. The individual
!! errors with each failed configuration command can be
!! found below.

interface HundredGigE0/7/0/2
 ipv4 access-group FILTER-IN ingress compress level 3
!!% 'dnx_feat_mgr' detected the 'resource not available' condition 'ACL compression is not supported'
!
end
`
	want := "interface HundredGigE0/7/0/2 / ipv4 access-group FILTER-IN ingress compress level 3: " +
		"'dnx_feat_mgr' detected the 'resource not available' condition 'ACL compression is not supported'"
	if got := reasons(out); got != want {
		t.Errorf("got %q", got)
	}
	out = "Mon Nov 23 08:29:47.006 UTC\n!! x\n\ninterface tunnel-te1\n a\n b\n c\n d\n!\n!!% 'te' detected 'it'\n!\nend\n"
	if got := reasons(out); got != "interface tunnel-te1 / a / b / c / …: 'te' detected 'it'" {
		t.Errorf("got %q", got)
	}
	if got := words("Mon Nov 23 08:29:47.006 UTC\n        ^\n% Invalid input detected at '^' marker.\n"); got != "% Invalid input detected at '^' marker." {
		t.Errorf("words %q", got)
	}
}

// The order of lines does not depend on the order of maps.
func TestLinesAreStable(t *testing.T) {
	var first []string
	for i := range 10 {
		c := base()
		var ops []driver.Op
		for n := range 5 {
			ops = append(ops, driver.Signal{LSP: lsp(n, "pe2")}, driver.Bind{FTN: flow(n, lsp(n, "pe2"))})
		}
		got := do(t, &c, ops...)
		if i == 0 {
			first = got
		}
		if !slices.Equal(got, first) {
			t.Fatalf("run %d differs", i)
		}
	}
	if len(first) == 0 {
		t.Error("no lines")
	}
}
