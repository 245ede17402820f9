package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"mpbox/examples/topologies"
)

// Network is a topology file. It is the product's own topology format; what
// only the lab needs is under "lab".
type Network struct {
	// Name is the file's name without extension.
	Name  string    `yaml:"-"`
	Nodes []NetNode `yaml:"nodes"`
	Links []NetLink `yaml:"links"`
	Lab   NetLab    `yaml:"lab"`
}

// NetNode is a router. Routers that hosts attach to are PEs, the rest P.
type NetNode struct {
	Name     string     `yaml:"name"`
	RouterID netip.Addr `yaml:"router_id"`
}

// NetLink is a core link, both directions.
type NetLink struct {
	Name       string     `yaml:"name"`
	A          string     `yaml:"a"`
	B          string     `yaml:"b"`
	Metric     uint32     `yaml:"metric"`
	IGPMetric  uint32     `yaml:"igp_metric"`
	AdminGroup uint32     `yaml:"admin_group"`
	SRLGs      []uint32   `yaml:"srlgs"`
	Bandwidth  Rate       `yaml:"bandwidth"`
	AAddress   netip.Addr `yaml:"a_address"`
	BAddress   netip.Addr `yaml:"b_address"`
}

// NetLab is the lab's part of a topology file.
type NetLab struct {
	// Subflows is how many subflows the hosts open by default.
	Subflows int `yaml:"subflows"`
	// Disjoint is the degree that the lab's policy asks for; "node" by default.
	Disjoint string    `yaml:"disjoint"`
	Hosts    []NetHost `yaml:"hosts"`
	// Client and Server are the hosts of the demo; the first two by default.
	Client string `yaml:"client"`
	Server string `yaml:"server"`
}

// NetHost is a customer's host.
type NetHost struct {
	Name string `yaml:"name"`
	VPN  string `yaml:"vpn"`
	// Role is client (it opens connections, and subflows from its further
	// addresses) or server. By default the first host of a VPN is its client.
	Role   string      `yaml:"role"`
	Attach []NetAttach `yaml:"attach"`
}

// Roles of hosts.
const (
	RoleClient = "client"
	RoleServer = "server"
)

// NetAttach is one interface of a host.
type NetAttach struct {
	PE string `yaml:"pe"`
	// Prefixes are the subnets of the interface, at most one per family.
	Prefixes []netip.Prefix `yaml:"prefixes"`
}

// Rate is a rate in bit/s; in files a number, or a number with k, M or G.
type Rate uint64

// UnmarshalYAML reads 20000000 or 20M.
func (r *Rate) UnmarshalYAML(n *yaml.Node) error {
	v, err := ParseRate(n.Value)
	*r = v
	return err
}

// ParseRate reads a rate in bit/s: 20000000, 20M, 1.5G.
func ParseRate(s string) (Rate, error) {
	digits, unit := s, 1.0
	for suffix, u := range map[string]float64{"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9} {
		if d, ok := strings.CutSuffix(s, suffix); ok {
			digits, unit = d, u
		}
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || f <= 0 || f*unit > 1e12 {
		return 0, fmt.Errorf("rate %q: want bit/s as a number, or like 20M", s)
	}
	return Rate(f * unit), nil
}

// Networks lists the built-in topologies by name.
func Networks() []string {
	files, _ := fs.Glob(topologies.FS, "*.yaml")
	for i, f := range files {
		files[i] = strings.TrimSuffix(f, ".yaml")
	}
	slices.Sort(files)
	return files
}

// LoadNetwork reads a built-in topology by name, or a file by path.
func LoadNetwork(nameOrPath string) (*Network, error) {
	if slices.Contains(Networks(), nameOrPath) {
		b, err := topologies.FS.ReadFile(nameOrPath + ".yaml")
		if err != nil {
			return nil, fmt.Errorf("load topology %s: %w", nameOrPath, err)
		}
		return ParseNetwork(nameOrPath, b)
	}
	b, err := os.ReadFile(nameOrPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("load topology %q: neither a file nor one of %s", nameOrPath, strings.Join(Networks(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("load topology: %w", err)
	}
	name := nameOrPath[strings.LastIndexByte(nameOrPath, '/')+1:]
	return ParseNetwork(strings.TrimSuffix(strings.TrimSuffix(name, ".yaml"), ".yml"), b)
}

// ParseNetwork reads and checks a topology file.
func ParseNetwork(name string, b []byte) (*Network, error) {
	n := &Network{Name: name}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(n); err != nil {
		return nil, fmt.Errorf("read topology %s: %w", name, err)
	}
	n.setDefaults()
	if err := n.check(); err != nil {
		return nil, fmt.Errorf("read topology %s: %w", name, err)
	}
	return n, nil
}

func (n *Network) setDefaults() {
	used := map[string]bool{}
	for i := range n.Links {
		l := &n.Links[i]
		if l.Name == "" {
			l.Name = l.A + "-" + l.B
			for k := 2; used[l.Name]; k++ {
				l.Name = fmt.Sprintf("%s-%s.%d", l.A, l.B, k)
			}
		}
		used[l.Name] = true
		if l.Metric == 0 {
			l.Metric = 1
		}
		if l.IGPMetric == 0 {
			l.IGPMetric = l.Metric
		}
		if l.Bandwidth == 0 {
			l.Bandwidth = 20e6
		}
	}
	if n.Lab.Subflows == 0 {
		n.Lab.Subflows = 2
	}
	if n.Lab.Disjoint == "" {
		n.Lab.Disjoint = "node"
	}
	clients := map[string]bool{}
	for i := range n.Lab.Hosts {
		h := &n.Lab.Hosts[i]
		if h.Role == "" {
			h.Role = RoleServer
			if !clients[h.VPN] {
				h.Role = RoleClient
			}
		}
		clients[h.VPN] = true
	}
	if len(n.Lab.Hosts) > 1 {
		if n.Lab.Client == "" {
			n.Lab.Client = n.Lab.Hosts[0].Name
		}
		if n.Lab.Server == "" {
			n.Lab.Server = n.Lab.Hosts[1].Name
		}
	}
}

// Names become namespaces, bridges and interfaces of at most 15 characters.
var (
	reNode = regexp.MustCompile(`^[a-z][a-z0-9]{0,5}$`)
	reHost = regexp.MustCompile(`^[a-z][a-z0-9]{0,11}$`)
)

func (n *Network) check() error {
	seen := map[string]bool{"noc": true, "fab": true}
	ids := map[netip.Addr]string{}
	for _, r := range n.Nodes {
		if !reNode.MatchString(r.Name) || seen[r.Name] {
			return fmt.Errorf("node %q: want a unique name of at most 6 lower-case letters and digits", r.Name)
		}
		if !r.RouterID.Is4() || ids[r.RouterID] != "" {
			return fmt.Errorf("node %s: want a router_id of its own (IPv4)", r.Name)
		}
		seen[r.Name], ids[r.RouterID] = true, r.Name
	}
	links := map[string]bool{}
	for _, l := range n.Links {
		if !n.hasNode(l.A) || !n.hasNode(l.B) || l.A == l.B {
			return fmt.Errorf("link %s: want two different nodes, got %q and %q", l.Name, l.A, l.B)
		}
		if links[l.Name] {
			return fmt.Errorf("link %s: the name is used twice", l.Name)
		}
		links[l.Name] = true
		for _, a := range []netip.Addr{l.AAddress, l.BAddress} {
			if !a.Is4() || ids[a] != "" {
				return fmt.Errorf("link %s: want a_address and b_address, each used once (IPv4)", l.Name)
			}
			ids[a] = l.Name
		}
	}
	if len(n.Lab.Hosts) < 2 {
		return errors.New("lab.hosts: want at least two hosts")
	}
	for _, h := range n.Lab.Hosts {
		if !reHost.MatchString(h.Name) || seen[h.Name] {
			return fmt.Errorf("host %q: want a unique name of at most 12 lower-case letters and digits", h.Name)
		}
		seen[h.Name] = true
		if h.VPN == "" || len(h.Attach) == 0 {
			return fmt.Errorf("host %s: want a vpn and at least one attach", h.Name)
		}
		if h.Role != RoleClient && h.Role != RoleServer {
			return fmt.Errorf("host %s: role %q: want client or server", h.Name, h.Role)
		}
		for _, a := range h.Attach {
			if !n.hasNode(a.PE) {
				return fmt.Errorf("host %s: no node %q to attach to", h.Name, a.PE)
			}
			if err := checkPrefixes(a.Prefixes); err != nil {
				return fmt.Errorf("host %s at %s: %w", h.Name, a.PE, err)
			}
		}
	}
	if !seen[n.Lab.Client] || !seen[n.Lab.Server] || n.Lab.Client == n.Lab.Server {
		return errors.New("lab.client, lab.server: want two different hosts")
	}
	if n.Lab.Subflows < 1 || n.Lab.Subflows > maxSubflows {
		return fmt.Errorf("lab.subflows: want 1 to %d", maxSubflows)
	}
	return nil
}

func checkPrefixes(ps []netip.Prefix) error {
	families := map[bool]bool{}
	for _, p := range ps {
		if p != p.Masked() || p.Addr().BitLen()-p.Bits() < 8 {
			return fmt.Errorf("prefix %s: want a subnet (host bits zero) with room for 256 addresses", p)
		}
		if families[p.Addr().Is4()] {
			return fmt.Errorf("prefix %s: one per family", p)
		}
		families[p.Addr().Is4()] = true
	}
	if !families[true] {
		return errors.New("want an IPv4 prefix")
	}
	return nil
}

func (n *Network) hasNode(name string) bool {
	return slices.ContainsFunc(n.Nodes, func(r NetNode) bool { return r.Name == name })
}

// isPE tells whether any host attaches to the router.
func (n *Network) isPE(name string) bool {
	return slices.ContainsFunc(n.Lab.Hosts, func(h NetHost) bool {
		return slices.ContainsFunc(h.Attach, func(a NetAttach) bool { return a.PE == name })
	})
}

func (n *Network) host(name string) *NetHost {
	for i := range n.Lab.Hosts {
		if n.Lab.Hosts[i].Name == name {
			return &n.Lab.Hosts[i]
		}
	}
	return nil
}
