package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// The types below are mpbox's configuration as an operator would write it. They
// are the lab's own on purpose: if mpbox changes its words, the lab notices.

type mpboxConfig struct {
	Instance   string         `yaml:"instance"`
	Mode       string         `yaml:"mode"`
	Openflow   map[string]any `yaml:"openflow"`
	OVSDB      string         `yaml:"ovsdb"`
	Bridges    []cfgBridge    `yaml:"bridges"`
	VPNs       []cfgVPN       `yaml:"vpns"`
	PEs        []cfgPE        `yaml:"pes"`
	Topology   map[string]any `yaml:"topology"`
	Policies   []cfgPolicy    `yaml:"policies"`
	Thresholds cfgThresholds  `yaml:"thresholds"`
	API        map[string]any `yaml:"api"`
	Store      map[string]any `yaml:"store"`
	Log        map[string]any `yaml:"log"`
}

type cfgBridge struct {
	Name        string          `yaml:"name"`
	DPID        string          `yaml:"dpid"`
	Attachments []cfgAttachment `yaml:"attachments"`
}

type cfgAttachment struct {
	Name        string         `yaml:"name"`
	CEPort      uint32         `yaml:"ce_port"`
	PEPort      uint32         `yaml:"pe_port"`
	VPN         string         `yaml:"vpn"`
	PE          string         `yaml:"pe"`
	PEInterface string         `yaml:"pe_interface"`
	Prefixes    []netip.Prefix `yaml:"prefixes"`
}

type cfgVPN struct {
	Name  string `yaml:"name"`
	Scope string `yaml:"scope"`
}

type cfgPE struct {
	Name      string     `yaml:"name"`
	RouterID  netip.Addr `yaml:"router_id"`
	Driver    string     `yaml:"driver"`
	Topology  string     `yaml:"topology"`
	Steer     string     `yaml:"steer"`
	SNMP      cfgSNMP    `yaml:"snmp"`
	SSH       cfgSSH     `yaml:"ssh"`
	TunnelIDs []int      `yaml:"tunnel_ids,flow"`
	Poll      string     `yaml:"poll"`
}

type cfgSNMP struct {
	Address      string `yaml:"address"`
	User         string `yaml:"user"`
	Auth         string `yaml:"auth"`
	AuthPassword string `yaml:"auth_password"`
	Priv         string `yaml:"priv"`
	PrivPassword string `yaml:"priv_password"`
}

type cfgSSH struct {
	Address  string `yaml:"address"`
	User     string `yaml:"user"`
	Password string `yaml:"password"`
	HostKey  string `yaml:"host_key"`
}

type cfgPolicy struct {
	Name     string            `yaml:"name"`
	Match    map[string]string `yaml:"match"`
	Disjoint string            `yaml:"disjoint"`
	Metric   string            `yaml:"metric"`
}

type cfgThresholds struct {
	MinConnections int     `yaml:"min_connections"`
	MinSubflows    int     `yaml:"min_subflows"`
	MinGain        float64 `yaml:"min_gain"`
	MinAge         string  `yaml:"min_age"`
	Settle         string  `yaml:"settle"`
	HoldDown       string  `yaml:"hold_down"`
	MaxOps         int     `yaml:"max_ops_per_minute"`
	ReleaseDelay   string  `yaml:"release_delay"`
}

// tunnel ids that mpbox may use on a PE.
var tunnelIDs = []int{50000, 50999}

func (l *Lab) mpboxConfig() mpboxConfig {
	c := mpboxConfig{
		Instance: l.Options.Name, Mode: l.Options.Mode,
		Openflow: map[string]any{"listen": []string{"unix:" + l.openflowSocket()}},
		OVSDB:    "unix:" + l.dbSocket(),
		Policies: []cfgPolicy{{Name: "default", Match: map[string]string{"vpn": "*"}, Disjoint: l.Net.Lab.Disjoint, Metric: "te"}},
		Thresholds: cfgThresholds{
			MinConnections: 1, MinSubflows: 2, MinGain: 1.1, MinAge: "1s", Settle: "500ms", HoldDown: "10s",
			MaxOps: 600, ReleaseDelay: "30s",
		},
		API:   map[string]any{"listen": []string{apiAddress, "unix:" + l.apiSocket()}},
		Store: map[string]any{"path": filepath.Join(l.RunDir, "mpbox.db")},
		Log:   map[string]any{"level": "info", "format": "console"},
	}
	vpns := map[string]bool{}
	for _, e := range l.Edges {
		b := cfgBridge{Name: e.Name, DPID: e.DPID}
		for _, a := range e.Attachments {
			b.Attachments = append(b.Attachments, cfgAttachment{
				Name: a.Name, CEPort: a.CEPort, PEPort: a.PEPort, VPN: a.VPN, PE: e.PE, PEInterface: a.PEInterface, Prefixes: a.Prefixes,
			})
			if !vpns[a.VPN] {
				vpns[a.VPN] = true
				c.VPNs = append(c.VPNs, cfgVPN{Name: a.VPN, Scope: a.VPN})
			}
		}
		c.Bridges = append(c.Bridges, b)
	}
	for _, p := range l.PEs {
		n := p.Node
		c.PEs = append(c.PEs, cfgPE{
			Name: n.Name, RouterID: n.RouterID, Driver: l.Options.PE, Topology: "iosxr", Steer: l.Options.Steer,
			SNMP: cfgSNMP{
				Address: n.SNMP.Address.String(), User: n.SNMP.User, Auth: "sha256", AuthPassword: n.SNMP.AuthPassword,
				Priv: "aes128", PrivPassword: n.SNMP.PrivPassword,
			},
			SSH:       cfgSSH{Address: n.SSH.Address.String(), User: n.SSH.User, Password: n.SSH.Password, HostKey: n.SSH.HostKey},
			TunnelIDs: tunnelIDs, Poll: "1s",
		})
	}
	names := map[string]string{}
	for _, r := range l.Routers {
		names[r.RouterID.String()] = r.Name
	}
	c.Topology = map[string]any{"names": names}
	return c
}

const apiAddress = "127.0.0.1:8080"

// apiSocket is where the API can be reached from any namespace.
func (l *Lab) apiSocket() string { return filepath.Join(l.RunDir, "api.sock") }

// writeConfig writes mpbox's configuration. It has passwords in it.
func (l *Lab) writeConfig(context.Context) error {
	b, err := yaml.Marshal(l.mpboxConfig())
	if err != nil {
		return err
	}
	head := fmt.Sprintf("# mpbox in lab %s. Start it with:\n#   %s\n", l.Options.Name, shellLine(l.ControllerCommand()))
	return os.WriteFile(l.ConfigFile(), append([]byte(head), b...), 0o600)
}

// ControllerCommand is the command line that starts mpbox in the lab. The lab's switch
// runs in real time; where it may, mpbox runs before it: a controller that waits for
// its turn on the same two cores would lose punts.
func (l *Lab) ControllerCommand() []string {
	binary := l.Options.Binary
	if binary == "" {
		binary = "mpbox"
	}
	args := []string{binary, "run", "--config", l.ConfigFile()}
	if mayRunInRealTime() {
		args = append([]string{"chrt", "--rr", "2"}, args...)
	}
	return inNamespace(l.Noc(), args...)
}
