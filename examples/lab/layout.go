package lab

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mpbox/examples/lab/fabric"
)

// Options choose what Up builds.
type Options struct {
	// Name prefixes every namespace, so that labs do not collide; "mpl" by
	// default.
	Name string `json:"name"`
	// Topology is a built-in name or a file.
	Topology string `json:"topology"`
	// PE is the driver in mpbox's configuration: snmp or iosxr. Steer is ftn or
	// class, Mode observe, suggest or auto.
	PE    string `json:"pe"`
	Steer string `json:"steer"`
	Mode  string `json:"mode"`
	// Subflows overrides the topology's number; Rate the capacity of all core
	// links in bit/s.
	Subflows int  `json:"subflows"`
	Rate     Rate `json:"rate,omitempty"`
	// Binary is the mpbox program that runs PE processes and traffic.
	Binary string `json:"binary"`
	// RunRoot is the folder of all labs' run folders.
	RunRoot string `json:"run_root"`
	// BareFabric leaves out snmpd and the PE processes: nothing programs LSPs.
	BareFabric bool `json:"bare_fabric,omitempty"`
}

const (
	maxSubflows    = 8
	hostAddresses  = maxSubflows
	defaultRunRoot = "/run/mpbox-lab"
	defaultName    = "mpl"
)

// Lab is a network laid out: every name, port, address and label of it. It is
// saved in the run folder before anything is built, so that whatever is left
// of a lab can be found by it.
type Lab struct {
	Options Options  `json:"options"`
	Net     *Network `json:"network"`
	RunDir  string   `json:"run_dir"`
	Hosts   []Host   `json:"hosts"`
	Edges   []Edge   `json:"edges"`
	PEs     []PE     `json:"pes"`
	// Routers and Links are the core, as PEs see it too.
	Routers []fabric.Router `json:"routers"`
	Links   []fabric.Link   `json:"links"`
	Routes  []fabric.Route  `json:"routes"`
	MaxFlow uint64          `json:"max_flow"`
}

// Host is a customer's host: a namespace with kernel MPTCP.
type Host struct {
	Name       string          `json:"name"`
	VPN        string          `json:"vpn"`
	Role       string          `json:"role"`
	Namespace  string          `json:"namespace"`
	Interfaces []HostInterface `json:"interfaces"`
}

// HostInterface is one interface of a host, and what it is attached to.
type HostInterface struct {
	Name string `json:"name"`
	MAC  string `json:"mac"`
	// Addresses are in the order in which subflows use them, IPv4 first.
	Addresses []netip.Prefix `json:"addresses"`
	Gateways  []netip.Addr   `json:"gateways"`
	// GatewayMAC is the PE's: hosts have it as a static neighbour.
	GatewayMAC string `json:"gateway_mac"`
	PE         string `json:"pe"`
	Attachment string `json:"attachment"`
}

// Edge is the bridge in front of a PE.
type Edge struct {
	Name        string           `json:"name"`
	DPID        string           `json:"dpid"`
	PE          string           `json:"pe"`
	Attachments []EdgeAttachment `json:"attachments"`
}

// EdgeAttachment is a pair of ports of an edge bridge. CEDev and PEDev are
// interfaces in the fab namespace.
type EdgeAttachment struct {
	Name        string         `json:"name"`
	CEPort      uint32         `json:"ce_port"`
	PEPort      uint32         `json:"pe_port"`
	CEDev       string         `json:"ce_dev"`
	PEDev       string         `json:"pe_dev"`
	VPN         string         `json:"vpn"`
	Host        string         `json:"host"`
	HostDev     string         `json:"host_dev"`
	PEInterface string         `json:"pe_interface"`
	Prefixes    []netip.Prefix `json:"prefixes"`
	// RouterDev is the other end of PEDev, on the PE's bridge.
	RouterDev string `json:"router_dev"`
}

// PE is a PE router's own part.
type PE struct {
	Node fabric.Node `json:"node"`
	// MgmtGateway is the noc's address on the management link.
	MgmtGateway netip.Addr `json:"mgmt_gateway"`
	NocDev      string     `json:"noc_dev"`
	Dir         string     `json:"dir"`
	LogFile     string     `json:"log_file"`
}

var reLab = regexp.MustCompile(`^[a-z][a-z0-9]{0,7}$`)

func (o *Options) setDefaults() error {
	for _, d := range []struct {
		field *string
		value string
	}{
		{&o.Name, defaultName}, {&o.Topology, "two-path"}, {&o.PE, "snmp"}, {&o.Steer, "ftn"},
		{&o.Mode, "observe"}, {&o.RunRoot, defaultRunRoot},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	for _, c := range []struct{ what, value, choices string }{
		{"pe", o.PE, "snmp iosxr"}, {"steer", o.Steer, "ftn class"}, {"mode", o.Mode, "observe suggest auto"},
	} {
		if !strings.Contains(" "+c.choices+" ", " "+c.value+" ") {
			return OptionError{fmt.Sprintf("%s %q: want one of: %s", c.what, c.value, c.choices)}
		}
	}
	if !reLab.MatchString(o.Name) {
		return OptionError{fmt.Sprintf("name %q: want at most 8 lower-case letters and digits", o.Name)}
	}
	if o.Subflows < 0 || o.Subflows > maxSubflows {
		return OptionError{fmt.Sprintf("subflows %d: want 1 to %d", o.Subflows, maxSubflows)}
	}
	return nil
}

// OptionError is an option that cannot be meant.
type OptionError struct{ msg string }

func (e OptionError) Error() string { return e.msg }

// Layout computes the lab of a network. Secrets in it are made up anew.
func Layout(n *Network, o Options) (*Lab, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	if o.Subflows == 0 {
		o.Subflows = n.Lab.Subflows
	}
	if o.Rate != 0 {
		for i := range n.Links {
			n.Links[i].Bandwidth = o.Rate
		}
	}
	l := &Lab{Options: o, Net: n, RunDir: filepath.Join(o.RunRoot, o.Name)}
	l.layoutCore()
	for i := range n.Nodes {
		if n.isPE(n.Nodes[i].Name) {
			l.addPE(i)
		}
	}
	for i := range n.Lab.Hosts {
		l.addHost(i)
	}
	for i := range l.PEs {
		l.finishPE(&l.PEs[i])
	}
	l.MaxFlow = n.MaxFlow(n.Lab.Client, n.Lab.Server, o.Subflows)
	return l, nil
}

func (l *Lab) ns(name string) string { return l.Options.Name + "-" + name }

// Noc and Fab are the namespaces of the management network and of the switches.
func (l *Lab) Noc() string { return l.ns("noc") }

// Fab is the namespace of the switches.
func (l *Lab) Fab() string { return l.ns("fab") }

func (l *Lab) ovsDir() string      { return filepath.Join(l.RunDir, "ovs") }
func (l *Lab) dbSocket() string    { return filepath.Join(l.ovsDir(), "db.sock") }
func (l *Lab) vswitchdCtl() string { return filepath.Join(l.ovsDir(), "vswitchd.ctl") }

// openflowSocket is where mpbox listens: vswitchd connects to unix sockets in its
// own run folder only.
func (l *Lab) openflowSocket() string { return filepath.Join(l.ovsDir(), "openflow.sock") }

// ConfigFile is mpbox's configuration for this lab.
func (l *Lab) ConfigFile() string { return filepath.Join(l.RunDir, "mpbox.yaml") }

func (l *Lab) mgmt(bridge string) string { return filepath.Join(l.ovsDir(), bridge+".mgmt") }

// Core ports are numbered from 101 on each router, attachments from 1.
const firstCorePort = 101

func (l *Lab) layoutCore() {
	ports := map[string]uint32{}
	devs := map[string]bool{}
	end := func(node, far string, a netip.Addr) fabric.LinkEnd {
		dev := node + "-" + far
		for k := 2; devs[dev]; k++ {
			dev = fmt.Sprintf("%s-%s.%d", node, far, k)
		}
		devs[dev] = true
		e := fabric.LinkEnd{
			Node: node, Address: netip.PrefixFrom(a, 31), Netdev: dev, OFPort: firstCorePort + ports[node],
			Interface: fmt.Sprintf("GigabitEthernet0/0/1/%d", ports[node]),
		}
		ports[node]++
		return e
	}
	for _, r := range l.Net.Nodes {
		l.Routers = append(l.Routers, fabric.Router{
			Name: r.Name, RouterID: r.RouterID, PE: l.Net.isPE(r.Name), Bridge: r.Name, Mgmt: l.mgmt(r.Name),
		})
	}
	for _, k := range l.Net.Links {
		l.Links = append(l.Links, fabric.Link{
			Name: k.Name, A: end(k.A, k.B, k.AAddress), B: end(k.B, k.A, k.BAddress),
			TEMetric: k.Metric, IGPMetric: k.IGPMetric, AdminGroup: k.AdminGroup, SRLGs: k.SRLGs, RateBPS: uint64(k.Bandwidth),
		})
	}
}

// addPE lays out a PE and the edge bridge in front of it.
func (l *Lab) addPE(node int) {
	r := l.Net.Nodes[node]
	i := len(l.PEs) + 1
	mgmt := netip.AddrFrom4([4]byte{198, 18, byte(i >> 6), byte(i<<2 + 2)})
	dir := filepath.Join(l.RunDir, r.Name)
	file := func(suffix string) string { return filepath.Join(l.RunDir, r.Name+suffix) }
	l.PEs = append(l.PEs, PE{
		MgmtGateway: mgmt.Prev(), NocDev: r.Name, Dir: dir, LogFile: filepath.Join(dir, "pe.log"),
		Node: fabric.Node{
			Lab: l.Options.Name, Name: r.Name, RouterID: r.RouterID, Mgmt: mgmt,
			SNMP: fabric.SNMP{
				Address: netip.AddrPortFrom(mgmt, 161), User: "mpbox",
				AuthPassword: newSecret(), PrivPassword: newSecret(),
			},
			SSH: fabric.SSH{
				Address: netip.AddrPortFrom(mgmt, 22), User: "mpbox", Password: newSecret(),
				HostKeyFile: filepath.Join(dir, "ssh_host_key"),
			},
			RunDir: l.RunDir, AgentX: filepath.Join(dir, "agentx.sock"),
			StateFile: file(".state.json"), FaultsFile: file(".faults"), EventLog: file(".log"),
			Namespace: l.ns(r.Name), FabNamespace: l.Fab(), VSwitchd: l.vswitchdCtl(),
			Labels: fabric.Range{First: uint32(i) * 20000, Last: uint32(i)*20000 + 19999},
		},
	})
	edge := "edge-" + r.Name
	if n, ok := strings.CutPrefix(r.Name, "pe"); ok && n != "" {
		edge = "edge" + n
	}
	l.Edges = append(l.Edges, Edge{Name: edge, DPID: fmt.Sprintf("%016x", i), PE: r.Name})
}

// addHost lays out a host, its attachments, and the VPN routes to it.
func (l *Lab) addHost(number int) {
	nh := l.Net.Lab.Hosts[number]
	h := Host{Name: nh.Name, VPN: nh.VPN, Role: nh.Role, Namespace: l.ns(nh.Name)}
	for k, a := range nh.Attach {
		p := l.pe(a.PE)
		edge := l.edge(a.PE)
		n := uint32(len(edge.Attachments) + 1) // 1, 2, … on this PE
		att := EdgeAttachment{
			Name:   edge.Name + "-" + strconv.Itoa(int(n)),
			CEPort: 2*n - 1, PEPort: 2 * n, CEDev: fmt.Sprintf("%sc%d", edge.Name, n), PEDev: fmt.Sprintf("%sp%d", edge.Name, n),
			VPN: nh.VPN, Host: nh.Name, HostDev: "eth" + strconv.Itoa(k),
			PEInterface: fmt.Sprintf("GigabitEthernet0/0/0/%d", n), Prefixes: a.Prefixes,
			RouterDev: fmt.Sprintf("%sa%d", a.PE, n),
		}
		peIndex := 1 + slices.IndexFunc(l.PEs, func(x PE) bool { return x.Node.Name == a.PE })
		peMAC := fmt.Sprintf("02:4d:50:00:%02x:%02x", peIndex, n)
		hi := HostInterface{
			Name: att.HostDev, MAC: fmt.Sprintf("02:4d:50:01:%02x:%02x", number+1, k), GatewayMAC: peMAC, PE: a.PE, Attachment: att.Name,
		}
		p.Node.Attachments = append(p.Node.Attachments, fabric.Attachment{
			Name: att.Name, VPN: nh.VPN, Interface: att.PEInterface, OFPort: n, Netdev: att.RouterDev, MAC: peMAC,
		})
		for _, prefix := range a.Prefixes {
			addrs, gw := hostAddrs(prefix)
			hi.Addresses, hi.Gateways = append(hi.Addresses, addrs...), append(hi.Gateways, gw)
			l.Routes = append(l.Routes, fabric.Route{
				VPN: nh.VPN, Prefix: prefix, Egress: a.PE, Label: uint32(1000*peIndex + l.routesOf(a.PE)),
				Attachment: att.Name, OFPort: n, MAC: peMAC, HostMAC: hi.MAC,
			})
		}
		edge.Attachments = append(edge.Attachments, att)
		h.Interfaces = append(h.Interfaces, hi)
	}
	l.Hosts = append(l.Hosts, h)
}

// hostAddrs gives a host's addresses in its subnet (.1 and up) and the gateway
// (.254, ::fe).
func hostAddrs(p netip.Prefix) (addrs []netip.Prefix, gateway netip.Addr) {
	a := p.Addr()
	for i := 1; i <= 254; i++ {
		a = a.Next()
		if i <= hostAddresses {
			addrs = append(addrs, netip.PrefixFrom(a, p.Bits()))
		}
	}
	return addrs, a
}

// finishPE fills in what depends on all the others.
func (l *Lab) finishPE(p *PE) {
	n := &p.Node
	n.Nodes, n.Links, n.Routes = l.Routers, l.Links, l.Routes
	add := func(i fabric.Interface) uint32 {
		i.IfIndex = uint32(len(n.Interfaces) + 1)
		n.Interfaces = append(n.Interfaces, i)
		return i.IfIndex
	}
	add(fabric.Interface{Name: "Loopback0", Address: netip.PrefixFrom(n.RouterID, 32)})
	add(fabric.Interface{Name: "MgmtEth0/RP0/CPU0/0", Address: netip.PrefixFrom(n.Mgmt, 30), RateBPS: 1e9})
	for i := range n.Attachments {
		a := &n.Attachments[i]
		a.IfIndex = add(fabric.Interface{Name: a.Interface, Attachment: a.Name, RateBPS: 1e9, MAC: a.MAC})
	}
	for _, k := range l.Links {
		if near, _, ok := k.End(n.Name); ok {
			add(fabric.Interface{Name: near.Interface, Address: near.Address, Link: k.Name, RateBPS: k.RateBPS})
		}
	}
}

func (l *Lab) pe(name string) *PE {
	if i := slices.IndexFunc(l.PEs, func(p PE) bool { return p.Node.Name == name }); i >= 0 {
		return &l.PEs[i]
	}
	return nil
}

func (l *Lab) edge(pe string) *Edge {
	if i := slices.IndexFunc(l.Edges, func(e Edge) bool { return e.PE == pe }); i >= 0 {
		return &l.Edges[i]
	}
	return nil
}

// Host gives a host by name, nil if there is none.
func (l *Lab) Host(name string) *Host {
	if i := slices.IndexFunc(l.Hosts, func(h Host) bool { return h.Name == name }); i >= 0 {
		return &l.Hosts[i]
	}
	return nil
}

func (l *Lab) routesOf(pe string) (n int) {
	for _, r := range l.Routes {
		if r.Egress == pe {
			n++
		}
	}
	return n
}

// namespaces lists all namespaces of the lab.
func (l *Lab) namespaces() []string {
	all := []string{l.Fab(), l.Noc()}
	for _, p := range l.PEs {
		all = append(all, p.Node.Namespace)
	}
	for _, h := range l.Hosts {
		all = append(all, h.Namespace)
	}
	return all
}

// address gives the i-th address (0, 1, …) of the host in the family, in the
// order in which subflows use them: over the interfaces in turn.
func (h *Host) address(i int, v4 bool) (HostInterface, netip.Prefix) {
	hi := h.Interfaces[i%len(h.Interfaces)]
	k := i / len(h.Interfaces)
	for _, a := range hi.Addresses {
		if a.Addr().Is4() == v4 {
			if k == 0 {
				return hi, a
			}
			k--
		}
	}
	return hi, netip.Prefix{}
}

// Addr gives the host's first address in the family.
func (h *Host) Addr(v4 bool) netip.Addr {
	_, a := h.address(0, v4)
	return a.Addr()
}
