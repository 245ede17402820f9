package lab

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Status is a lab as others see it: where to run their own traffic and captures,
// and how to reach the parts.
type Status struct {
	Name       string           `json:"name"`
	Topology   string           `json:"topology"`
	PE         string           `json:"pe"`
	Steer      string           `json:"steer"`
	RunDir     string           `json:"run_dir"`
	Hosts      []StatusHost     `json:"hosts"`
	Links      []StatusLink     `json:"links"`
	PEs        []StatusPE       `json:"pes"`
	Edges      []Edge           `json:"edges"`
	Controller StatusController `json:"controller"`
	OVS        StatusOVS        `json:"ovs"`
	// Client, Server and Subflows are the demo's; MaxFlow is what those subflows can
	// carry between them at most, in bit/s.
	Client   string `json:"client"`
	Server   string `json:"server"`
	Subflows int    `json:"subflows"`
	MaxFlow  uint64 `json:"max_flow"`
}

// StatusHost is a host. Addresses are its own, without prefix lengths.
type StatusHost struct {
	Name       string            `json:"name"`
	Namespace  string            `json:"namespace"`
	VPN        string            `json:"vpn"`
	Role       string            `json:"role"`
	Addresses  []netip.Addr      `json:"addresses"`
	Interfaces []StatusInterface `json:"interfaces"`
	Exec       string            `json:"exec"`
}

// StatusInterface is one interface of a host.
type StatusInterface struct {
	Name       string         `json:"name"`
	MAC        string         `json:"mac"`
	Addresses  []netip.Prefix `json:"addresses"`
	Gateway    netip.Addr     `json:"gateway"`
	Gateways   []netip.Addr   `json:"gateways"`
	PE         string         `json:"pe"`
	Attachment string         `json:"attachment"`
}

// StatusLink is a core link, or the access link of a host (kind "access").
type StatusLink struct {
	Name string      `json:"name"`
	Kind string      `json:"kind"`
	Ends []StatusEnd `json:"ends"`
	// RateBPS is the capacity of each direction; 0 is not limited.
	RateBPS uint64   `json:"rate_bps"`
	SRLGs   []uint32 `json:"srlgs,omitempty"`
	Metric  uint32   `json:"metric,omitempty"`
	Up      bool     `json:"up"`
}

// StatusEnd is one end of a link.
type StatusEnd struct {
	Node      string       `json:"node"`
	Namespace string       `json:"namespace"`
	Interface string       `json:"interface"`
	Address   netip.Prefix `json:"address,omitzero"`
}

// StatusPE is a PE and how it is managed.
type StatusPE struct {
	Name      string     `json:"name"`
	RouterID  netip.Addr `json:"router_id"`
	Namespace string     `json:"namespace"`
	SNMP      struct {
		Address      string `json:"address"`
		User         string `json:"user"`
		Auth         string `json:"auth"`
		AuthPassword string `json:"auth_password"`
		Priv         string `json:"priv"`
		PrivPassword string `json:"priv_password"`
	} `json:"snmp"`
	SSH struct {
		Address  string `json:"address"`
		User     string `json:"user"`
		Password string `json:"password"`
		HostKey  string `json:"host_key"`
	} `json:"ssh"`
	// EventLog lists what the router was told (SETs and commits), one JSON object
	// a line; LogFile is the process's own log.
	EventLog string  `json:"event_log"`
	LogFile  string  `json:"log_file"`
	Process  Process `json:"process"`
	SNMPD    Process `json:"snmpd"`
}

// Process is a running part and the command line that starts it again; PID is 0
// if it does not run.
type Process struct {
	PID     int      `json:"pid"`
	Command []string `json:"command"`
	Shell   string   `json:"shell"`
}

// StatusController is where mpbox runs.
type StatusController struct {
	Namespace string `json:"namespace"`
	Config    string `json:"config"`
	API       string `json:"api"`
	// APISocket is the same API, reached from any namespace: mpbox --server.
	APISocket      string   `json:"api_socket"`
	OpenflowSocket string   `json:"openflow_socket"`
	Command        []string `json:"command"`
	Shell          string   `json:"shell"`
}

// StatusOVS is the lab's own Open vSwitch.
type StatusOVS struct {
	Namespace string  `json:"namespace"`
	RunDir    string  `json:"run_dir"`
	DB        string  `json:"db"`
	VSwitchd  Process `json:"vswitchd"`
	OVSDB     Process `json:"ovsdb"`
	// Guard restores port pairs on edge bridges when vswitchd is restarted without
	// a controller.
	Guard Process `json:"guard"`
}

func shellLine(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if strings.ContainsAny(a, " \t'\"$&;|<>()*?") {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

func process(pidFile string, command []string) Process {
	p := Process{Command: command, Shell: shellLine(command)}
	b, err := os.ReadFile(pidFile)
	if err != nil {
		return p
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err == nil && alive(pid) {
		p.PID = pid
	}
	return p
}

// findProcess finds a running process by its command line in a namespace ("ip
// netns exec" becomes what it runs).
func findProcess(command []string) int {
	want := strings.Join(command[4:], "\x00") + "\x00"
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && string(b) == want {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			return pid
		}
	}
	return 0
}

// alive tells whether a process runs; one that has ended and was not yet waited
// for does not.
func alive(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, ok := strings.Cut(string(b), ") ")
	return ok && !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

// Status looks at a lab that is up.
func (l *Lab) Status(ctx context.Context) (Status, error) {
	s := Status{
		Name: l.Options.Name, Topology: l.Net.Name, PE: l.Options.PE, Steer: l.Options.Steer, RunDir: l.RunDir,
		Edges: l.Edges, Client: l.Net.Lab.Client, Server: l.Net.Lab.Server, Subflows: l.Options.Subflows, MaxFlow: l.MaxFlow,
		Controller: StatusController{
			Namespace: l.Noc(), Config: l.ConfigFile(), API: "http://" + apiAddress, APISocket: "unix:" + l.apiSocket(), OpenflowSocket: l.openflowSocket(),
			Command: l.ControllerCommand(), Shell: shellLine(l.ControllerCommand()),
		},
		OVS: StatusOVS{
			Namespace: l.Fab(), RunDir: l.ovsDir(), DB: "unix:" + l.dbSocket(),
			VSwitchd: process(filepath.Join(l.ovsDir(), "ovs-vswitchd.pid"), l.VSwitchdCommand()),
			OVSDB:    process(filepath.Join(l.ovsDir(), "ovsdb-server.pid"), l.dbCommand()),
			Guard:    Process{PID: findProcess(l.guardCommand()), Command: l.guardCommand(), Shell: shellLine(l.guardCommand())},
		},
	}
	for _, h := range l.Hosts {
		s.Hosts = append(s.Hosts, statusHost(h))
	}
	up, err := l.linkStates(ctx)
	if err != nil {
		return s, err
	}
	s.Links = l.statusLinks(up)
	for i := range l.PEs {
		s.PEs = append(s.PEs, l.statusPE(&l.PEs[i]))
	}
	return s, nil
}

func statusHost(h Host) StatusHost {
	sh := StatusHost{Name: h.Name, Namespace: h.Namespace, VPN: h.VPN, Role: h.Role, Exec: shellLine(inNamespace(h.Namespace))}
	for _, i := range h.Interfaces {
		sh.Interfaces = append(sh.Interfaces, StatusInterface{
			Name: i.Name, MAC: i.MAC, Addresses: i.Addresses, Gateway: i.Gateways[0], Gateways: i.Gateways, PE: i.PE, Attachment: i.Attachment,
		})
	}
	for _, v4 := range []bool{true, false} {
		for k := range hostAddresses * len(h.Interfaces) {
			if _, a := h.address(k, v4); a.IsValid() {
				sh.Addresses = append(sh.Addresses, a.Addr())
			}
		}
	}
	return sh
}

func (l *Lab) statusLinks(up map[string]bool) []StatusLink {
	var links []StatusLink
	for _, k := range l.Links {
		links = append(links, StatusLink{
			Name: k.Name, Kind: "core", RateBPS: k.RateBPS, SRLGs: k.SRLGs, Metric: k.TEMetric, Up: up[k.A.Netdev] && up[k.B.Netdev],
			Ends: []StatusEnd{
				{Node: k.A.Node, Namespace: l.Fab(), Interface: k.A.Netdev, Address: k.A.Address},
				{Node: k.B.Node, Namespace: l.Fab(), Interface: k.B.Netdev, Address: k.B.Address},
			},
		})
	}
	for _, e := range l.Edges {
		for _, a := range e.Attachments {
			links = append(links,
				StatusLink{Name: a.Host + "-" + a.Name, Kind: "access", Up: up[a.CEDev], Ends: []StatusEnd{
					{Node: a.Host, Namespace: l.Host(a.Host).Namespace, Interface: a.HostDev},
					{Node: e.Name, Namespace: l.Fab(), Interface: a.CEDev},
				}},
				StatusLink{Name: a.Name + "-" + e.PE, Kind: "access", Up: up[a.PEDev] && up[a.RouterDev], Ends: []StatusEnd{
					{Node: e.Name, Namespace: l.Fab(), Interface: a.PEDev},
					{Node: e.PE, Namespace: l.Fab(), Interface: a.RouterDev},
				}})
		}
	}
	return links
}

func (l *Lab) statusPE(p *PE) StatusPE {
	n := p.Node
	s := StatusPE{
		Name: n.Name, RouterID: n.RouterID, Namespace: n.Namespace, EventLog: n.EventLog, LogFile: p.LogFile,
		Process: process(p.PIDFile(), p.Command(l)), SNMPD: process(p.SNMPPIDFile(), p.SNMPCommand()),
	}
	s.SNMP.Address, s.SNMP.User = n.SNMP.Address.String(), n.SNMP.User
	s.SNMP.Auth, s.SNMP.AuthPassword, s.SNMP.Priv, s.SNMP.PrivPassword = "sha256", n.SNMP.AuthPassword, "aes128", n.SNMP.PrivPassword
	s.SSH.Address, s.SSH.User, s.SSH.Password, s.SSH.HostKey = n.SSH.Address.String(), n.SSH.User, n.SSH.Password, n.SSH.HostKey
	return s
}

// linkStates tells which interfaces of the fab namespace have carrier.
func (l *Lab) linkStates(ctx context.Context) (map[string]bool, error) {
	out, err := runIn(ctx, "", "ip", "-n", l.Fab(), "-o", "link", "show")
	if err != nil {
		return nil, err
	}
	up := map[string]bool{}
	for line := range strings.Lines(out) {
		// 5: pe1-p1@if4: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu …
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(fields[1], ":"), "@")
		up[name] = strings.Contains(fields[2], "LOWER_UP")
	}
	return up, nil
}

// SetLink takes a core link down, or up again.
func (l *Lab) SetLink(ctx context.Context, name string, up bool) error {
	state := map[bool]string{true: "up", false: "down"}[up]
	for _, k := range l.Links {
		if k.Name == name {
			return run(ctx, "ip", "-n", l.Fab(), "link", "set", k.A.Netdev, state)
		}
	}
	return OptionError{"link " + name + ": no such core link"}
}
