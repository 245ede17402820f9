package iosxr

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

const owner = "mpbox/lab/"

var testNames = driver.NewNames(map[netip.Addr]string{
	addr("10.255.0.1"): "pe1", addr("10.255.0.2"): "pe2", addr("10.255.0.3"): "pe3", addr("10.255.1.1"): "p1", addr("10.255.1.2"): "p2",
})

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func file(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func hops(addrs ...string) []topology.Hop {
	var out []topology.Hop
	for _, a := range addrs {
		out = append(out, topology.Hop{Addr: addr(a)})
	}
	return out
}

var comparing = []cmp.Option{
	cmpopts.EquateComparable(topology.Hop{}, topology.FEC{}, netip.Addr{}, pathHop{}),
	cmp.AllowUnexported(shown{}, config{}, tunnelTE{}, aclName{}, policyClass{}, teLink{}, binding{}, entryAt{}),
}

func TestParseTunnels(t *testing.T) {
	want := []shown{
		{
			iface: "tunnel-te50000", destination: addr("10.255.0.2"), name: "mpbox/lab/pe1-pe2/1", admin: "up", oper: "up",
			status: "path valid, signalling connected", basis: "mpbox-lab-te50000",
			rro: []topology.Hop{{Addr: addr("10.0.1.2"), Label: 24023}, {Addr: addr("10.0.2.2"), Label: 3}},
		},
		{
			iface: "tunnel-te50001", destination: addr("10.255.0.2"), name: "mpbox/lab/pe1-pe2/2", admin: "up", oper: "down",
			status: "path not valid, signalling Down", reason: "No path to destination, 10.255.0.2 (unknown)",
		},
		{
			iface: "tunnel-te1", destination: addr("10.255.0.2"), name: "pe1_t1", admin: "down", oper: "down",
			status: "path not valid, signalling Down",
		},
	}
	if diff := cmp.Diff(want, parseTunnels(file(t, "tunnels_detail.txt")), comparing...); diff != "" {
		t.Error(diff)
	}
	want = []shown{{
		iface: "tunnel-te50000", destination: addr("109.109.109.109"), name: "50000_F17-ASR9922_F109-ASR9001", admin: "up", oper: "up",
		status: "path valid, signalling connected", basis: "50000-EPath_10", reason: "No path to destination, 109.109.109.109 (reverselink)",
	}}
	if diff := cmp.Diff(want, parseTunnels(file(t, "vendor_iosxr_show_mpls_te_tunnel.txt")), comparing...); diff != "" {
		t.Errorf("ASR 9922: %s", diff)
	}
}

// A route as in RFC 4561: node ids, interfaces, both.
func TestRecordedRoute(t *testing.T) {
	a, b, n := addr("10.0.0.1"), addr("10.0.0.2"), addr("10.255.0.1")
	for _, c := range []struct {
		name string
		rec  []recorded
		want []topology.Hop
	}{
		{"interfaces", []recorded{{a, false, 1}, {b, false, 2}}, []topology.Hop{{Addr: a, Label: 1}, {Addr: b, Label: 2}}},
		{"node ids alone", []recorded{{a, true, 1}, {b, true, 2}}, []topology.Hop{{Addr: a, Label: 1}, {Addr: b, Label: 2}}},
		{"both of one router", []recorded{{n, true, 1}, {a, false, 1}, {b, false, 2}}, []topology.Hop{{Addr: a, Label: 1}, {Addr: b, Label: 2}}},
		{"of different routers", []recorded{{n, true, 1}, {b, false, 2}}, []topology.Hop{{Addr: n, Label: 1}, {Addr: b, Label: 2}}},
		{"empty", nil, nil},
	} {
		if diff := cmp.Diff(c.want, route(c.rec), comparing...); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	r := parseTunnels("Name: tunnel-te1  Destination: 1.1.1.1\n Resv Info:\n  Record Route:\n   IPv4 2.2.2.2 (Node-ID)  Label 24004\n   IPv4 10.12.0.2          Label 24004\n  Fspec: x\n   IPv4 9.9.9.9\n")
	if diff := cmp.Diff([]topology.Hop{{Addr: addr("10.12.0.2"), Label: 24004}}, r[0].rro, comparing...); diff != "" {
		t.Errorf("labels on the same line: %s", diff)
	}
}

func TestParseConfig(t *testing.T) {
	c := parseConfig(file(t, "running.txt"))
	steer := "mpbox-lab-fc2-GigabitEthernet0_0_0_1"
	want := &config{
		paths: map[string]explicitPath{
			"mpbox-lab-te50000": {{10, addr("10.0.1.2"), false}, {20, addr("10.0.2.2"), true}},
			"noc":               {{index: 5}},
		},
		tunnels: map[uint32]tunnelTE{
			1: {name: "default_pe1_pe2", destination: addr("10.255.0.2"), setup: 7, hold: 7, mask: 0xffff, options: 1, recordRoute: true, autoroute: true},
			50000: {
				name: "mpbox/lab/pe1-pe2/1", destination: addr("10.255.0.2"), kbps: 2000, setup: 5, hold: 4, affinity: 1, mask: 3,
				path: "mpbox-lab-te50000", options: 1, recordRoute: true, autoroute: true, class: 2,
			},
			50001: {
				name: "mpbox/lab/pe1-pe2/2", destination: addr("10.255.0.2"), setup: 7, hold: 7, mask: 0xffff,
				path: "two", options: 2, shutdown: true,
			},
		},
		acls: map[aclName]acl{
			{false, "noc"}: {10: "permit ipv4 any 10.0.0.0 0.0.255.255", 20: "deny ipv4 any any log"},
			{false, steer}: {
				10: "remark mpbox/lab/flow-1 mpbox/lab/pe1-pe2/1", 11: "permit tcp host 10.1.0.1 eq 4711 host 10.2.0.1 eq www",
				30: "remark mpbox/lab/class-1 mpbox/lab/pe1-pe2/1", 31: "permit ipv4 any 10.2.0.0 0.0.0.255 dscp af11",
			},
			{true, steer}: {10: "remark mpbox/lab/flow-6 mpbox/lab/pe1-pe2/1", 11: "permit tcp host 2001:db8:1::1 eq 4711 host 2001:db8:2::2 eq 8080"},
		},
		classes:  map[string]classMap{steer: {"access-group ipv4 " + steer: true, "access-group ipv6 " + steer: true}},
		policies: map[string][]policyClass{"noc-in": {{name: "gold"}}, "mpbox-lab-GigabitEthernet0_0_0_1": {{steer, 2}}},
		interfaces: map[string]string{
			"Loopback0": "", "GigabitEthernet0/0/0/1": "mpbox-lab-GigabitEthernet0_0_0_1", "GigabitEthernet0/0/0/2": "", "GigabitEthernet0/0/0/3": "noc-in",
		},
	}
	if diff := cmp.Diff(want, c, comparing...); diff != "" {
		t.Error(diff)
	}
	// What a router says when there is nothing.
	if c := parseConfig("Thu Apr  1 05:33:16.701 JST\n% No such configuration item(s)\n"); len(c.paths)+len(c.tunnels)+len(c.acls) != 0 {
		t.Errorf("nothing became %+v", c)
	}
}

func TestACE(t *testing.T) {
	for _, c := range []struct {
		text string
		v6   bool
		fec  topology.FEC
	}{
		{"permit tcp host 10.1.0.1 eq 4711 host 10.2.0.1 eq 80", false, topology.FEC{
			Protocol: 6, SrcPort: 4711, DstPort: 80, Src: netip.MustParsePrefix("10.1.0.1/32"), Dst: netip.MustParsePrefix("10.2.0.1/32"),
		}},
		{"permit ipv4 any 10.2.0.0 0.0.1.255 dscp 46", false, topology.FEC{Dst: netip.MustParsePrefix("10.2.0.0/23"), DSCP: 46, HasDSCP: true}},
		{"permit ipv6 any 2001:db8::/64 dscp 10", true, topology.FEC{Dst: netip.MustParsePrefix("2001:db8::/64"), DSCP: 10, HasDSCP: true}},
		{"permit ipv4 any any dscp 0", false, topology.FEC{HasDSCP: true}},
		{"permit 99 any any", false, topology.FEC{Protocol: 99}},
	} {
		got, err := aceText(c.fec, c.v6)
		if err != nil || got != c.text {
			t.Errorf("%v = %q, %v, want %q", c.fec, got, err, c.text)
		}
		fec, err := parseACE(c.text)
		if err != nil || fec != c.fec {
			t.Errorf("%q = %+v, %v, want %+v", c.text, fec, err, c.fec)
		}
	}
	// As routers show them.
	fec, err := parseACE("permit udp any eq domain 10.0.0.0 0.255.255.255 eq ntp dscp eq cs3")
	if want := (topology.FEC{Protocol: 17, SrcPort: 53, DstPort: 123, Dst: netip.MustParsePrefix("10.0.0.0/8"), DSCP: 24, HasDSCP: true}); err != nil || fec != want {
		t.Errorf("got %+v, %v", fec, err)
	}
	for _, bad := range []string{
		"", "permit", "deny ipv4 any any", "permit tcp", "permit tcp any", "permit tcp any eq", "permit tcp any range 1 2 any",
		"permit tcp host x any", "permit ipv4 10.0.0.0 0.0.1.0 any", "permit ipv4 10.0.0.0 any", "permit ipv4 any any log", "permit ipv4 any any dscp x", "permit ipv4 any any dscp 64",
	} {
		if f, err := parseACE(bad); err == nil {
			t.Errorf("%q is %+v, want an error", bad, f)
		}
	}
	if _, err := aceText(topology.FEC{DstPort: 80}, false); err == nil {
		t.Error("a port without a protocol was written")
	}
	for name, want := range map[string]uint8{"default": 0, "ef": 46, "cs7": 56, "af11": 10, "af43": 38, "63": 63} {
		if got, ok := dscpNumber(name); !ok || got != want {
			t.Errorf("DSCP %s is %d %t, want %d", name, got, ok, want)
		}
	}
}

func TestParseTopology(t *testing.T) {
	nodes := parseTopology(file(t, "topology.txt"))
	if len(nodes) != 4 || !nodes[3].network || nodes[0].network {
		t.Fatalf("%d nodes: %+v", len(nodes), nodes)
	}
	want := teLink{
		neighbour: "10.255.1.1", local: addr("10.0.1.1"), remote: addr("10.0.1.2"), te: 15, igp: 10, flags: 0x12,
		srlgs: []uint32{100, 200}, physical: 1e9, global: 1e8,
		unreserved: [8]float64{1e8, 1e8, 1e8, 1e8, 1e8, 98e6, 98e6, 90e6},
	}
	if diff := cmp.Diff(want, nodes[0].links[0], comparing...); diff != "" {
		t.Error(diff)
	}
	if got := nodes[0].links[1]; len(got.srlgs) != 10 || got.localID != 7 || got.remID != 9 || got.physical != 1e9 {
		t.Errorf("unnumbered link %+v", got)
	}

	ted, err := buildTED(nodes, testNames, 7)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]topology.Link)
	for _, l := range ted.Links() {
		key := ted.Nodes()[l.From].Name + "-" + ted.Nodes()[l.To].Name
		if l.TEMetric == 11 || l.TEMetric == 12 {
			key += " lan"
		}
		got[key] = l
		if l.Reverse < 0 {
			t.Errorf("%s has no opposite direction", key)
		}
	}
	// Not there: the link to a node that is not shown, and p2's link of which p1
	// says nothing.
	var keys []string
	for k := range got {
		keys = append(keys, k)
	}
	if diff := cmp.Diff([]string{"p1-pe1", "p1-pe1 lan", "p2-pe1", "pe1-p1", "pe1-p1 lan", "pe1-p2"}, keys, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("links: %s", diff)
	}
	l := got["pe1-p1"]
	if l.TEMetric != 15 || got["p1-pe1"].TEMetric != 16 || l.AdminGroup != 0x12 || l.MaxBandwidth != 1e9 || l.MaxReservable != 1e8 || l.Unreserved[7] != 90e6 ||
		l.LocalAddr != addr("10.0.1.1") || l.RemoteAddr != addr("10.0.1.2") || len(l.SRLGs) != 2 || l.Delay != time.Duration(0) {
		t.Errorf("pe1-p1 is %+v", l)
	}
	if lan := got["pe1-p1 lan"]; lan.LocalAddr != addr("10.0.8.1") || lan.RemoteAddr != addr("10.0.8.2") {
		t.Errorf("broadcast link %+v", lan)
	}
	if ted.Version() != 7 {
		t.Errorf("version %d", ted.Version())
	}
}

// The spelling of IOS-XE.
func TestParseTopologyXE(t *testing.T) {
	nodes := parseTopology(file(t, "vendor_iosxe_show_mpls_te_topology.txt"))
	if len(nodes) != 1 || nodes[0].routerID != addr("1.1.1.1") || len(nodes[0].links) != 2 {
		t.Fatalf("%+v", nodes)
	}
	l := nodes[0].links[0]
	if l.designated != "172.15.145.5" || l.local != addr("172.15.145.14") || l.te != 1 || l.igp != 1 || l.physical != 1e10 || l.global != 7499999e3 || l.unreserved[7] != 7499999e3 || l.srlgs != nil {
		t.Errorf("link %+v", l)
	}
	x := parseTopology("IGP Id: 0000.0000.0001.00, MPLS TE Id:10.0.0.1 Router Node  (isis level-2)\n" +
		"      link[0]: Point-to-Point, Nbr IGP Id: 0000.0000.0002.00, nbr_node_id:2, gen:2\n" +
		"          frag_id 0, Intf Address:10.12.0.1, Nbr Intf Address:10.12.0.2\n          SRLGs: 7 \n")
	l = x[0].links[0]
	if l.neighbour != "0000.0000.0002.00" || l.local != addr("10.12.0.1") || l.remote != addr("10.12.0.2") || len(l.srlgs) != 1 {
		t.Errorf("IS-IS link %+v", l)
	}
}

// No output, however short it is cut, makes a parser panic.
func TestTruncated(t *testing.T) {
	for _, name := range []string{"tunnels_detail.txt", "topology.txt", "running.txt", "vendor_iosxr_show_mpls_te_tunnel.txt", "vendor_iosxe_show_mpls_te_topology.txt"} {
		text := file(t, name)
		for i := range len(text) {
			parseTunnels(text[:i])
			parseConfig(text[:i])
			if i%16 == 0 {
				_, _ = buildTED(parseTopology(text[:i]), testNames, 1)
			}
		}
	}
}

// Lines of other white space than blanks have no words either.
func TestWhiteSpace(t *testing.T) {
	for _, blank := range []string{"\v", "\f", "\t", "\u00a0", "\u2003", "\u0085"} {
		c := parseConfig("interface tunnel-te1\n " + blank + "\n destination 10.0.0.1\npolicy-map p\n class " + blank + "\nclass-map " + blank + "\n")
		if c.tunnels[1].destination != addr("10.0.0.1") {
			t.Errorf("%q: %+v", blank, c.tunnels)
		}
	}
}

// Outputs with characters and pieces changed at random: what a noisy line or an
// unknown release may show.
func TestGarbled(t *testing.T) {
	p := planner{naming: newNaming(owner), names: testNames, tunnelIDs: [2]uint32{50000, 50999}}
	for _, name := range []string{"tunnels_detail.txt", "topology.txt", "running.txt"} {
		whole := file(t, name)
		rapid.Check(t, func(t *rapid.T) {
			b := []byte(whole)
			for range rapid.IntRange(0, 20).Draw(t, "changes") {
				at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
				if rapid.Bool().Draw(t, "cut") {
					b = append(b[:at], b[min(len(b), at+rapid.IntRange(0, 200).Draw(t, "length")):]...)
				} else {
					b[at] = rapid.Byte().Draw(t, "byte")
				}
				if len(b) == 0 {
					return
				}
			}
			text := string(b)
			parseTunnels(text)
			_, _ = buildTED(parseTopology(text), testNames, 1)
			p.bindings(parseConfig(text))
			for line := range strings.Lines(text) {
				_, _ = parseACE(strings.TrimSpace(line))
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"tunnels_detail.txt", "topology.txt", "running.txt"} {
		f.Add(file(f, name))
	}
	p := planner{naming: newNaming(owner), names: testNames, tunnelIDs: [2]uint32{50000, 50999}}
	f.Fuzz(func(_ *testing.T, text string) {
		parseTunnels(text)
		_, _ = buildTED(parseTopology(text), testNames, 1)
		p.bindings(parseConfig(text))
		_, _ = parseACE(text)
	})
}
