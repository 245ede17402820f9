package lab

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"mpbox/examples/lab/fabric"
)

func load(t *testing.T, name string) *Network {
	t.Helper()
	n, err := LoadNetwork(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNetworksLoadAndMaxFlow(t *testing.T) {
	want := map[string]uint64{
		"one-path": 50e6, "two-path": 40e6, "two-vpn": 40e6, "four-path": 40e6, "trap": 40e6, "dual-homed": 40e6, "shared-srlg": 40e6,
	}
	for _, name := range Networks() {
		n := load(t, name)
		if got := n.MaxFlow(n.Lab.Client, n.Lab.Server, n.Lab.Subflows); got != want[name] {
			t.Errorf("%s: max flow %d, want %d", name, got, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("not built in: %v", want)
	}
}

func TestMaxFlow(t *testing.T) {
	n := load(t, "four-path")
	for _, c := range []struct {
		subflows int
		down     []string
		want     uint64
	}{
		{1, nil, 10e6}, {3, nil, 30e6}, {4, nil, 40e6}, {8, nil, 40e6},
		{3, []string{"p1-pe2"}, 30e6}, {4, []string{"p1-pe2"}, 30e6},
		// p3 still reaches p2's way out, but p2-pe2 carries one path only.
		{4, []string{"p3-p5"}, 30e6}, {4, []string{"p2-pe2", "p3-p5"}, 20e6},
		{4, []string{"pe1-p1", "pe1-p2", "pe1-p3", "pe1-p4"}, 0},
	} {
		if got := n.MaxFlow("client", "server", c.subflows, c.down...); got != c.want {
			t.Errorf("%d subflows without %v: %d, want %d", c.subflows, c.down, got, c.want)
		}
	}
	// Unequal links: two subflows over 10M and 30M get 10 + 10 at most when alike,
	// or 30 alone; over one link of 30M, 3 x 10M.
	for _, i := range []int{0, 1} {
		n.Links[i].Bandwidth = 30e6
	}
	if got := n.MaxFlow("client", "server", 1); got != 30e6 {
		t.Errorf("one subflow over the widest path: %d", got)
	}
	if got := n.MaxFlow("client", "server", 4); got != 40e6 {
		t.Errorf("four subflows over unequal paths: %d", got)
	}
	// Each of a dual-homed client's attachments has its own subflow.
	d := load(t, "dual-homed")
	if got := d.MaxFlow("client", "server", 2, "pe1-p1", "pe1-p2"); got != 20e6 {
		t.Errorf("dual-homed with one attachment cut off: %d", got)
	}
}

func TestParseNetworkErrors(t *testing.T) {
	good := `
nodes: [{name: pe1, router_id: 10.255.0.1}, {name: pe2, router_id: 10.255.0.2}]
links: [{a: pe1, b: pe2, a_address: 10.0.0.0, b_address: 10.0.0.1}]
lab:
  hosts:
    - {name: c, vpn: red, attach: [{pe: pe1, prefixes: [10.1.0.0/24]}]}
    - {name: s, vpn: red, attach: [{pe: pe2, prefixes: [10.2.0.0/24]}]}
`
	if _, err := ParseNetwork("good", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"nodes:", "nodse:", "nodse"},
		{"name: pe2,", "name: routername,", "at most 6"},
		{"name: pe2,", "name: pe1,", "unique"},
		{"10.255.0.2", "10.255.0.1", "router_id of its own"},
		{"b: pe2", "b: pe3", "two different nodes"},
		{"b_address: 10.0.0.1", "b_address: 10.0.0.0", "used once"},
		{"10.1.0.0/24]", "10.1.0.1/24]", "host bits"},
		{"10.1.0.0/24]", "fd00::/64]", "IPv4"},
		{"pe: pe1", "pe: pe9", `no node "pe9"`},
		{"name: s, vpn: red", "name: s", "vpn"},
		{"name: s,", "name: fab,", "unique"},
		{"lab:\n", "lab:\n  subflows: 9\n", "1 to 8"},
		{"lab:\n", "lab:\n  client: x\n", "two different hosts"},
		{"a: pe1,", "a: pe1, bandwidth: fast,", "rate"},
	} {
		_, err := ParseNetwork("bad", []byte(strings.Replace(good, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: error %v, want one about %q", c.new, c.old, err, c.want)
		}
	}
	if _, err := LoadNetwork("nowhere"); err == nil || !strings.Contains(err.Error(), "two-path") {
		t.Errorf("unknown name: %v, want the list of names", err)
	}
}

func TestLayoutIsConsistent(t *testing.T) {
	for _, name := range Networks() {
		l, err := Layout(load(t, name), Options{Name: "lab"})
		if err != nil {
			t.Fatal(err)
		}
		devs, ports := map[string]bool{}, map[string]bool{}
		dev := func(d string) {
			if len(d) > 15 || devs[d] {
				t.Errorf("%s: interface %s is too long or used twice", name, d)
			}
			devs[d] = true
		}
		port := func(bridge string, n uint32) {
			k := bridge + "/" + Rate(n).String()
			if ports[k] {
				t.Errorf("%s: port %s is used twice", name, k)
			}
			ports[k] = true
		}
		for _, k := range l.Links {
			dev(k.A.Netdev)
			dev(k.B.Netdev)
			port(k.A.Node, k.A.OFPort)
			port(k.B.Node, k.B.OFPort)
		}
		for _, e := range l.Edges {
			dev(e.Name)
			for _, a := range e.Attachments {
				dev(a.CEDev)
				dev(a.PEDev)
				dev(a.RouterDev)
				port(e.Name, a.CEPort)
				port(e.Name, a.PEPort)
			}
		}
		labels, ifs := map[uint32]bool{}, map[string]bool{}
		for _, r := range l.Routes {
			if labels[r.Label] || r.Label < 16 || r.Label >= 20000 {
				t.Errorf("%s: VPN label %d is used twice or out of range", name, r.Label)
			}
			labels[r.Label] = true
		}
		for i, p := range l.PEs {
			for _, a := range p.Node.Attachments {
				port(p.Node.Name, a.OFPort)
				if a.IfIndex == 0 || !slices.ContainsFunc(p.Node.Interfaces, func(i fabric.Interface) bool { return i.IfIndex == a.IfIndex && i.Name == a.Interface }) {
					t.Errorf("%s: attachment %s has no interface", name, a.Name)
				}
			}
			for _, i := range p.Node.Interfaces {
				ifs[p.Node.Name+i.Name] = true
			}
			if i > 0 && p.Node.Labels.First <= l.PEs[i-1].Node.Labels.Last {
				t.Errorf("%s: label ranges overlap", name)
			}
		}
	}
}

func TestGraph(t *testing.T) {
	for _, name := range Networks() {
		n := load(t, name)
		for _, format := range []string{"dot", "mermaid", "svg"} {
			out, err := n.Graph(format)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range n.Nodes {
				if !strings.Contains(out, r.Name) {
					t.Errorf("%s %s: no %s", name, format, r.Name)
				}
			}
			if format != "svg" {
				continue
			}
			d := xml.NewDecoder(strings.NewReader(out))
			for {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%s: svg: %v", name, err)
				}
			}
		}
	}
	if _, err := load(t, "trap").Graph("png"); err == nil {
		t.Error("png was drawn")
	}
}
