package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Tools are the programs that a lab needs.
var Tools = []string{"ip", "tc", "ethtool", "sysctl", "setsid", "ovsdb-server", "ovsdb-tool", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "snmpd"}

// Progress is told what Up and Down are doing; nil tells nobody.
type Progress func(step string)

func (p Progress) say(format string, a ...any) {
	if p != nil {
		p(fmt.Sprintf(format, a...))
	}
}

// Up builds a lab and returns when it forwards packets. If it fails, or ctx
// ends, it takes away what it built.
func Up(ctx context.Context, n *Network, o Options, progress Progress) (*Lab, error) {
	l, err := Layout(n, o)
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("bring lab up: needs root, for network namespaces")
	}
	for _, t := range Tools {
		if _, err := exec.LookPath(t); err != nil {
			return nil, fmt.Errorf("bring lab up: %s is missing: run make deps", t)
		}
	}
	if err := l.claim(); err != nil {
		return nil, err
	}
	// The lab's daemons must not hold what the caller left open: a lock, a pipe.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, fmt.Errorf("bring lab up: mark open files: %w", err)
	}
	for _, s := range l.steps() {
		progress.say("%s", s.name)
		if err := s.do(ctx); err != nil {
			progress.say("failed, cleaning up")
			down, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			return nil, errors.Join(fmt.Errorf("bring lab up: %s: %w", s.name, err), l.remove(down))
		}
	}
	return l, nil
}

type step struct {
	name string
	do   func(context.Context) error
}

func (l *Lab) steps() []step {
	steps := []step{
		{"network namespaces", l.makeNamespaces},
		{"links", l.makeLinks},
		{"Open vSwitch", l.startOVS},
		{"bridges", l.makeBridges},
		{"hosts with MPTCP", l.setupHosts},
		{"link rates", l.setRates},
	}
	if !l.Options.BareFabric {
		steps = append(steps, step{"SNMP agents", l.startSNMP}, step{"PE routers", l.startPEs}, step{"guard of the edge bridges", l.startGuard})
	}
	steps = append(steps, step{"mpbox configuration", l.writeConfig})
	if !l.Options.BareFabric {
		steps = append(steps, step{"end-to-end check", l.checkForwarding})
	}
	return steps
}

// claim makes the run folder and saves the layout in it: from here on Down
// finds the lab.
func (l *Lab) claim() error {
	if err := os.MkdirAll(l.Options.RunRoot, 0o755); err != nil {
		return fmt.Errorf("bring lab up: %w", err)
	}
	if err := os.Mkdir(l.RunDir, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("bring lab up: lab %s is there already (%s): take it down first: mpbox lab down --name %s",
				l.Options.Name, l.RunDir, l.Options.Name)
		}
		return fmt.Errorf("bring lab up: %w", err)
	}
	for i := range l.PEs {
		p := &l.PEs[i]
		err := os.Mkdir(p.Dir, 0o700)
		if err == nil {
			p.Node.SSH.HostKey, err = writeHostKey(p.Node.SSH.HostKeyFile)
		}
		if err == nil {
			err = writeJSON(filepath.Join(l.RunDir, p.Node.Name+".json"), p.Node)
		}
		if err != nil {
			_ = os.RemoveAll(l.RunDir)
			return fmt.Errorf("bring lab up: %w", err)
		}
	}
	if err := writeJSON(filepath.Join(l.RunDir, stateFile), l); err != nil {
		_ = os.RemoveAll(l.RunDir)
		return fmt.Errorf("bring lab up: %w", err)
	}
	return nil
}

const stateFile = "lab.json"

func writeJSON(file string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o600)
}

func (l *Lab) makeNamespaces(ctx context.Context) error {
	for _, ns := range l.namespaces() {
		if err := run(ctx, "ip", "netns", "add", ns); err != nil {
			return err
		}
		// Links carry MPLS or packets of the hosts only: no neighbour discovery.
		sysctls := []string{"net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"}
		if l.isHostNamespace(ns) {
			sysctls = []string{
				"net.mptcp.enabled=1", "net.ipv6.conf.default.accept_ra=0", "net.ipv6.conf.default.accept_dad=0",
				"net.ipv4.conf.default.rp_filter=0", "net.ipv4.conf.all.rp_filter=0",
				// A lab's runs are to be alike: nothing is learnt from earlier connections.
				"net.ipv4.tcp_no_metrics_save=1",
			}
		}
		if err := run(ctx, "ip", inNamespace(ns, append([]string{"sysctl", "-q", "-w"}, sysctls...)...)[1:]...); err != nil {
			return err
		}
		if err := run(ctx, "ip", "-n", ns, "link", "set", "lo", "up"); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) isHostNamespace(ns string) bool {
	for _, h := range l.Hosts {
		if h.Namespace == ns {
			return true
		}
	}
	return false
}

// coreMTU leaves room for two labels under a customer's 1500 bytes.
const coreMTU = 1600

func (l *Lab) makeLinks(ctx context.Context) error {
	var b batch
	veth := func(a, z string) {
		b.add("link add %s mtu %d type veth peer name %s mtu %d", a, coreMTU, z, coreMTU)
		b.add("link set %s up", a)
		b.add("link set %s up", z)
	}
	for _, k := range l.Links {
		veth(k.A.Netdev, k.B.Netdev)
	}
	for _, e := range l.Edges {
		for _, a := range e.Attachments {
			veth(a.PEDev, a.RouterDev)
			b.add("link add %s type veth peer name %s netns %s", a.CEDev, a.HostDev, l.Host(a.Host).Namespace)
			b.add("link set %s up", a.CEDev)
		}
	}
	if err := b.run(ctx, "ip", l.Fab()); err != nil {
		return err
	}
	var noc batch
	for _, p := range l.PEs {
		noc.add("link add %s type veth peer name mgmt0 netns %s", p.NocDev, p.Node.Namespace)
		noc.add("addr add %s/30 dev %s", p.MgmtGateway, p.NocDev)
		noc.add("link set %s up", p.NocDev)
	}
	if err := noc.run(ctx, "ip", l.Noc()); err != nil {
		return err
	}
	for _, p := range l.PEs {
		pe := batch{"addr add " + p.Node.Mgmt.String() + "/30 dev mgmt0", "link set mgmt0 up"}
		if err := pe.run(ctx, "ip", p.Node.Namespace); err != nil {
			return err
		}
	}
	return nil
}

// setupHosts gives the hosts their addresses, static neighbours and MPTCP
// endpoints.
func (l *Lab) setupHosts(ctx context.Context) error {
	for i := range l.Hosts {
		h := &l.Hosts[i]
		var b batch
		for k, hi := range h.Interfaces {
			b.add("link set %s address %s up", hi.Name, hi.MAC)
			first := map[bool]bool{true: true, false: true}
			for _, a := range hi.Addresses {
				v4 := a.Addr().Is4()
				opts := ""
				if !v4 {
					opts = " nodad"
					if !first[v4] {
						opts += " preferred_lft 0" // for explicit use only
					}
				}
				first[v4] = false
				b.add("addr add %s dev %s%s", a, hi.Name, opts)
			}
			for _, gw := range hi.Gateways {
				b.add("neigh replace %s lladdr %s dev %s nud permanent", gw, hi.GatewayMAC, hi.Name)
				b.add("route add default via %s dev %s metric %d", gw, hi.Name, 100+k)
			}
		}
		if err := b.run(ctx, "ip", h.Namespace); err != nil {
			return err
		}
		if err := l.routeBySource(ctx, h); err != nil {
			return err
		}
		for _, hi := range h.Interfaces {
			// With Open vSwitch in user space nobody else finishes what is offloaded.
			if err := run(ctx, "ip", inNamespace(h.Namespace, "ethtool", "-K", hi.Name, "tx", "off", "tso", "off", "gso", "off", "gro", "off")[1:]...); err != nil {
				return err
			}
		}
	}
	return l.SetSubflows(ctx, l.Options.Subflows)
}

// setRates limits the core links in both directions. The queue holds 50 ms: about
// what cubic needs to fill the link, without hiding its losses.
func (l *Lab) setRates(ctx context.Context) error {
	var b batch
	for _, k := range l.Links {
		for _, dev := range []string{k.A.Netdev, k.B.Netdev} {
			b.add("qdisc replace dev %s root tbf rate %dbit burst 16kb latency 50ms", dev, k.RateBPS)
		}
	}
	return b.run(ctx, "tc", l.Fab())
}
