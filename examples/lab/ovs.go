package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// The lab's own Open vSwitch: both daemons in the fab namespace, all files in
// the run folder.

func (l *Lab) ovsEnv() []string {
	d := l.ovsDir()
	return []string{"env", "OVS_RUNDIR=" + d, "OVS_LOGDIR=" + d, "OVS_DBDIR=" + d, "OVS_SYSCONFDIR=" + d}
}

// VSwitchdCommand is the command line that starts ovs-vswitchd (again). It runs
// in real time where that is allowed: a switch's hardware does not wait for the
// machine's other processes. (A nice value would count among the processes of
// one session only, see autogroup in sched(7).)
func (l *Lab) VSwitchdCommand() []string {
	d := l.ovsDir()
	args := append(l.ovsEnv(), "sh", "-c", realTime, "sh", "ovs-vswitchd", "--detach", "--no-chdir",
		"--pidfile="+filepath.Join(d, "ovs-vswitchd.pid"), "--log-file="+filepath.Join(d, "ovs-vswitchd.log"),
		"--unixctl="+l.vswitchdCtl(), "-vconsole:off", "-vfile:info", "unix:"+l.dbSocket())
	return inNamespace(l.Fab(), args...)
}

var mayRunInRealTime = sync.OnceValue(func() bool { return exec.Command("chrt", "--rr", "2", "true").Run() == nil })

const realTime = `chrt --rr -p 1 $$ 2>/dev/null; exec "$@"`

func (l *Lab) dbCommand() []string {
	d := l.ovsDir()
	return inNamespace(l.Fab(), append(l.ovsEnv(), "ovsdb-server", "--detach", "--no-chdir",
		"--pidfile="+filepath.Join(d, "ovsdb-server.pid"), "--log-file="+filepath.Join(d, "ovsdb-server.log"),
		"--unixctl="+filepath.Join(d, "ovsdb-server.ctl"), "--remote=punix:"+l.dbSocket(), "-vconsole:off",
		filepath.Join(d, "conf.db"))...)
}

const ovsSchema = "/usr/share/openvswitch/vswitch.ovsschema"

func (l *Lab) startOVS(ctx context.Context) error {
	if err := os.Mkdir(l.ovsDir(), 0o755); err != nil {
		return err
	}
	if err := run(ctx, "ovsdb-tool", "create", filepath.Join(l.ovsDir(), "conf.db"), ovsSchema); err != nil {
		return err
	}
	db := l.dbCommand()
	if err := run(ctx, db[0], db[1:]...); err != nil {
		return err
	}
	// vlan-limit 2: packets with two VLAN tags are seen into; one revalidator and
	// handler is enough for a lab.
	if err := l.vsctl(ctx, "--no-wait", "init", "--", "set", "Open_vSwitch", ".",
		"other_config:vlan-limit=2", "other_config:n-handler-threads=1", "other_config:n-revalidator-threads=1"); err != nil {
		return err
	}
	vs := l.VSwitchdCommand()
	return run(ctx, vs[0], vs[1:]...)
}

func (l *Lab) vsctl(ctx context.Context, args ...string) error {
	return run(ctx, "ovs-vsctl", append([]string{"--timeout=20", "--db=unix:" + l.dbSocket()}, args...)...)
}

// makeBridges makes all bridges in one transaction. All are fail-mode secure: no
// bridge ever floods. Only edge bridges have a controller.
func (l *Lab) makeBridges(ctx context.Context) error {
	var args []string
	add := func(format string, a ...any) {
		args = append(args, "--")
		args = append(args, strings.Fields(fmt.Sprintf(format, a...))...)
	}
	bridge := func(name, dpid string) {
		add("add-br %s", name)
		add("set Bridge %s datapath_type=netdev fail_mode=secure other_config:datapath-id=%s other_config:disable-in-band=true", name, dpid)
	}
	port := func(bridge, dev string, n uint32) {
		add("add-port %s %s", bridge, dev)
		add("set Interface %s ofport_request=%d", dev, n)
	}
	for i, r := range l.Routers {
		bridge(r.Bridge, fmt.Sprintf("%016x", 0x1000+i))
	}
	for _, k := range l.Links {
		port(k.A.Node, k.A.Netdev, k.A.OFPort)
		port(k.B.Node, k.B.Netdev, k.B.OFPort)
	}
	for i, e := range l.Edges {
		bridge(e.Name, e.DPID)
		// One second at most between attempts to reach mpbox.
		add("set-controller %s unix:%s", e.Name, l.openflowSocket())
		add("set Controller %s max_backoff=1000 inactivity_probe=5000", e.Name)
		for k, a := range e.Attachments {
			port(e.Name, a.CEDev, a.CEPort)
			port(e.Name, a.PEDev, a.PEPort)
			port(e.PE, a.RouterDev, l.PEs[i].Node.Attachments[k].OFPort)
		}
	}
	if err := l.vsctl(ctx, args[1:]...); err != nil {
		return err
	}
	for _, e := range l.Edges {
		if err := l.joinPorts(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// joinPorts installs plain port pairs on an edge bridge, at the lowest priority:
// what mpbox installs goes before.
func (l *Lab) joinPorts(ctx context.Context, e Edge) error {
	var flows []string
	for _, a := range e.Attachments {
		flows = append(flows,
			fmt.Sprintf("add cookie=0x6c6162,priority=1,in_port=%d,actions=output:%d", a.CEPort, a.PEPort),
			fmt.Sprintf("add cookie=0x6c6162,priority=1,in_port=%d,actions=output:%d", a.PEPort, a.CEPort))
	}
	_, err := runIn(ctx, strings.Join(flows, "\n")+"\n", "ovs-ofctl", "--bundle", "-O", "OpenFlow15", "add-flows", "unix:"+l.mgmt(e.Name), "-")
	return err
}
