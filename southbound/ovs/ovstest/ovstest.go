// Package ovstest runs an Open vSwitch of its own for a test: ovsdb-server and
// ovs-vswitchd in a private run directory and network namespace, so that no
// switch of the machine is touched, with wires on which tests send and receive
// frames. Tests only.
package ovstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"mpbox/internal/itest"
)

const schema = "/usr/share/openvswitch/vswitch.ovsschema"

// Switch is a running Open vSwitch.
type Switch struct {
	Dir string // run directory: sockets, database, logs
	NS  string // network namespace
	t   testing.TB
	ovs *exec.Cmd
}

var count atomic.Uint32

// Start starts a switch; it is stopped and removed when the test ends.
func Start(t testing.TB) *Switch {
	t.Helper()
	itest.Need(t, "ovs-vsctl", "ovs-ofctl", "ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ip")
	dir, err := os.MkdirTemp("", "mpovs") //nolint:usetesting // paths of unix sockets are limited to 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	s := &Switch{Dir: dir, NS: fmt.Sprintf("mpo%d-%d", os.Getpid(), count.Add(1)), t: t}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s.run("ip", "netns", "add", s.NS)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", s.NS).Run() })
	s.run("ip", "-n", s.NS, "link", "set", "lo", "up")
	s.run("ovsdb-tool", "create", s.path("conf.db"), schema)
	db := s.start("ovsdb-server", s.path("conf.db"), "--remote=punix:"+s.path("db.sock"),
		"--unixctl="+s.path("ovsdb.ctl"), "--log-file="+s.path("ovsdb.log"), "-vconsole:off")
	t.Cleanup(func() { stop(db) })
	s.Until("ovsdb-server listens", func() bool { return exec.Command("ovs-vsctl", "--db="+s.DB(), "--no-wait", "init").Run() == nil })
	s.StartVswitchd()
	t.Cleanup(func() { stop(s.ovs) })
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(s.path("vswitchd.log"))
			t.Logf("ovs-vswitchd: %s", tail(log, 3000))
		}
	})
	return s
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

func (s *Switch) path(name string) string { return filepath.Join(s.Dir, name) }

// DB is the address of the switch's database.
func (s *Switch) DB() string { return "unix:" + s.path("db.sock") }

func (s *Switch) start(name string, args ...string) *exec.Cmd {
	s.t.Helper()
	c := exec.Command("ip", append([]string{"netns", "exec", s.NS, name}, args...)...)
	c.Env = append(os.Environ(), "OVS_RUNDIR="+s.Dir, "OVS_LOGDIR="+s.Dir)
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	return c
}

func stop(c *exec.Cmd) {
	if c != nil && c.ProcessState == nil {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
}

// StartVswitchd starts ovs-vswitchd and waits until it has set up the bridges that
// the database names: it answers on its control socket before that.
func (s *Switch) StartVswitchd() {
	s.t.Helper()
	s.ovs = s.start("ovs-vswitchd", s.DB(), "--unixctl="+s.path("vswitchd.ctl"),
		"--log-file="+s.path("vswitchd.log"), "-vconsole:off", "-vfile:info")
	s.Until("ovs-vswitchd runs", func() bool {
		return exec.Command("ovs-appctl", "-t", s.path("vswitchd.ctl"), "version").Run() == nil
	})
	// ovs-vsctl waits until ovs-vswitchd has done what a change asks for.
	s.VSCtl("--timeout=20", "set", "Open_vSwitch", ".", fmt.Sprintf("external_ids:ovstest-start=%d", count.Add(1)))
}

// Revalidate waits until what ovs-vswitchd has cached agrees with the flow tables.
func (s *Switch) Revalidate() {
	s.t.Helper()
	s.run("ovs-appctl", "-t", s.path("vswitchd.ctl"), "revalidator/wait")
}

// KillVswitchd kills ovs-vswitchd: all flows are lost, as in a crash.
func (s *Switch) KillVswitchd() { stop(s.ovs) }

// Until polls until ok, and fails the test after 20 s.
func (s *Switch) Until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if ok() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		<-ctx.Done()
		cancel()
	}
	s.t.Fatalf("not in 20 s: %s", what)
}

func (s *Switch) run(name string, args ...string) string {
	s.t.Helper()
	out, err := s.Try(name, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// Try runs a command on the switch's run directory.
func (s *Switch) Try(name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), "OVS_RUNDIR="+s.Dir)
	out, err := c.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return strings.TrimSpace(string(out)), nil
}

// VSCtl runs ovs-vsctl.
func (s *Switch) VSCtl(args ...string) string {
	s.t.Helper()
	return s.run("ovs-vsctl", append([]string{"--db=" + s.DB()}, args...)...)
}

// OFCtl runs "ovs-ofctl -O OpenFlow13 command bridge args...".
func (s *Switch) OFCtl(command, bridge string, args ...string) string {
	s.t.Helper()
	return s.run("ovs-ofctl", append([]string{"-O", "OpenFlow13", command, "unix:" + s.path(bridge+".mgmt")}, args...)...)
}

// IP runs ip in the switch's namespace.
func (s *Switch) IP(args ...string) string {
	s.t.Helper()
	return s.run("ip", append([]string{"-n", s.NS}, args...)...)
}

// AddBridge adds a bridge in fail mode secure, with a port for each wire: the
// first is OpenFlow port 1.
func (s *Switch) AddBridge(name string, dpid uint64, wires int) []*Wire {
	s.t.Helper()
	args := []string{"--", "add-br", name, "--", "set", "bridge", name, "datapath_type=netdev", "fail_mode=secure",
		"protocols=OpenFlow13", fmt.Sprintf("other_config:datapath-id=%016x", dpid), "other_config:disable-in-band=true"}
	out := make([]*Wire, wires)
	for i := range out {
		out[i] = s.NewWire(fmt.Sprintf("%s-%d", name, i+1))
		args = append(args, "--", "add-port", name, out[i].Port, "--", "set", "interface", out[i].Port,
			fmt.Sprintf("ofport_request=%d", i+1))
	}
	s.VSCtl(args...)
	return out
}

// Wire is a veth pair: one end is a port of a bridge, tests send and receive on the
// other.
type Wire struct {
	// Port is the interface in the bridge, Far the other end.
	Port, Far string
	s         *Switch
	fd        int
}

// NewWire adds a wire that is in no bridge yet.
func (s *Switch) NewWire(name string) *Wire {
	s.t.Helper()
	w := &Wire{Port: name, Far: name + "f", s: s}
	s.IP("link", "add", w.Port, "type", "veth", "peer", "name", w.Far)
	for _, i := range []string{w.Port, w.Far} {
		_, _ = s.Try("ip", "netns", "exec", s.NS, "sysctl", "-qw", "net.ipv6.conf."+i+".disable_ipv6=1")
		s.IP("link", "set", i, "up")
	}
	w.fd = s.packetSocket(w.Far)
	s.t.Cleanup(func() { _ = unix.Close(w.fd) })
	return w
}

// InNamespace runs fn on a thread in a network namespace: sockets it opens stay
// there.
func InNamespace(name string, fn func() error) error {
	done := make(chan error)
	go func() {
		// The thread is not unlocked: it ends with the goroutine, in that namespace.
		runtime.LockOSThread()
		ns, err := netns.GetFromName(name)
		if err == nil {
			defer func() { _ = ns.Close() }()
			err = netns.Set(ns)
		}
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	return <-done
}

func (s *Switch) packetSocket(ifname string) int {
	s.t.Helper()
	fd := -1
	err := InNamespace(s.NS, func() (err error) {
		all := uint16(unix.ETH_P_ALL)
		proto := all<<8 | all>>8
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(proto)); err != nil {
			return err
		}
		ifi, err := ifIndex(fd, ifname)
		if err != nil {
			return err
		}
		// Tags that the kernel takes out of frames come as auxiliary data.
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
			return err
		}
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: ifi})
	})
	if err != nil {
		s.t.Fatalf("packet socket on %s: %v", ifname, err)
	}
	return fd
}

func ifIndex(fd int, name string) (int, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
		return 0, err
	}
	return int(req.Uint32()), nil
}

// Send puts a frame on the wire, towards the bridge.
func (w *Wire) Send(frame []byte) {
	w.s.t.Helper()
	for {
		_, err := unix.Write(w.fd, frame)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOBUFS) {
			fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLOUT}}
			_, _ = unix.Poll(fds, 10)
			continue
		}
		if err != nil {
			w.s.t.Fatalf("send on %s: %v", w.Far, err)
		}
		return
	}
}

// Receive returns the next frame that the bridge put on the wire; nil if there is
// none within the time.
func (w *Wire) Receive(within time.Duration) []byte {
	buf, oob := make([]byte, 2048), make([]byte, 256)
	for end := time.Now().Add(within); ; {
		n, on, _, from, err := unix.Recvmsg(w.fd, buf, oob, unix.MSG_DONTWAIT)
		if err == nil {
			if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
				continue // our own
			}
			return retag(buf[:n], oob[:on])
		}
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
		_, _ = unix.Poll(fds, int(left/time.Millisecond)+1)
	}
}

// retag puts the tag back that the kernel took out of the frame.
func retag(frame, oob []byte) []byte {
	msgs, _ := unix.ParseSocketControlMessage(oob)
	for _, m := range msgs {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < 20 {
			continue
		}
		// struct tpacket_auxdata: status, len, snaplen (u32), mac, net, tci, tpid (u16),
		// in the machine's byte order, which is little-endian here.
		status := uint32(m.Data[0]) | uint32(m.Data[1])<<8
		if status&unix.TP_STATUS_VLAN_VALID == 0 {
			continue
		}
		tpid := []byte{0x81, 0}
		if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
			tpid = []byte{m.Data[19], m.Data[18]}
		}
		out := append([]byte(nil), frame[:12]...)
		out = append(out, tpid...)
		out = append(out, m.Data[17], m.Data[16])
		return append(out, frame[12:]...)
	}
	return frame
}

// Drain throws away what has arrived so far.
func (w *Wire) Drain() {
	for w.Receive(0) != nil {
		continue
	}
}
