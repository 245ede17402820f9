package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"mpbox/apps/detector"
	"mpbox/internal/frametest"
	"mpbox/internal/itest"
	"mpbox/southbound/capture"
)

// Kernel MPTCP between two namespaces, recorded at several places, against the
// oracle. Not a test by itself: a host's process, run inside a namespace.
func TestHelperMPTCPHost(t *testing.T) {
	switch role := os.Getenv("MPBOX_TEST_HOST"); role {
	case "":
		t.Skip("runs only inside the integration test")
	case "server":
		helperServer()
	default:
		helperClient(role)
	}
	os.Exit(0)
}

const helperChunk = 20_000

func helperServer() {
	var lc net.ListenConfig
	lc.SetMultipathTCP(true)
	l, err := lc.Listen(context.Background(), "tcp", "[::]:5001")
	if err != nil {
		fmt.Println("error", err)
		return
	}
	fmt.Println("up")
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}()
	}
}

// helperClient talks to an address, and obeys the lines on its standard input.
func helperClient(addr string) {
	var d net.Dialer
	d.SetMultipathTCP(os.Getenv("MPBOX_TEST_PLAIN") == "")
	d.Timeout = 5 * time.Second
	c, err := d.Dial("tcp", addr)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	buf := make([]byte, helperChunk)
	pass := func(n int) error {
		go func() { _, _ = c.Write(make([]byte, n)) }()
		_, err := io.ReadFull(c, buf[:n])
		return err
	}
	exchange := func() {
		if err := pass(helperChunk); err != nil {
			fmt.Println("error", err)
			return
		}
		fmt.Println("up")
	}
	// One byte each way first: a server that is busy when joins arrive may not have
	// noticed yet that its connection is fully established (RFC 8684, section 3.1),
	// and Linux then refuses them for good.
	if err := pass(1); err != nil {
		fmt.Println("error", err)
		return
	}
	exchange()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "more":
			exchange()
		case "reset":
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
			fmt.Println("up")
			return
		}
	}
	_ = c.Close()
}

// mptcpNet is two hosts, joined by two links.
type mptcpNet struct {
	t              *testing.T
	client, server string // namespaces
	dir            string
}

func shell(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (n *mptcpNet) in(ns string, args ...string) string {
	n.t.Helper()
	return shell(n.t, "ip", append([]string{"netns", "exec", ns}, args...)...)
}

func newMPTCPNet(t *testing.T) *mptcpNet {
	itest.Need(t, "ip", "tcpdump", "tshark")
	id := strconv.Itoa(os.Getpid() % 100000)
	n := &mptcpNet{t: t, client: "mpdc" + id, server: "mpds" + id, dir: t.TempDir()}
	for _, ns := range []string{n.client, n.server} {
		shell(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		shell(t, "ip", "-n", ns, "link", "set", "lo", "up")
		// An ADD_ADDR that is not echoed is sent again after 2 minutes by default.
		shell(t, "ip", "netns", "exec", ns, "sysctl", "-qw", "net.mptcp.add_addr_timeout=1")
	}
	for i := range 2 {
		c, s := fmt.Sprintf("c%d", i), fmt.Sprintf("s%d", i)
		shell(t, "ip", "-n", n.client, "link", "add", c, "type", "veth", "peer", "name", s, "netns", n.server)
		for _, e := range []struct {
			ns, dev string
			host    int
		}{{n.client, c, 1}, {n.server, s, 2}} {
			shell(t, "ip", "-n", e.ns, "link", "set", e.dev, "up")
			for _, extra := range []int{0, 10} {
				shell(t, "ip", "-n", e.ns, "addr", "add", fmt.Sprintf("10.9%d.0.%d/24", i+1, e.host+extra), "dev", e.dev)
				shell(t, "ip", "-n", e.ns, "addr", "add", fmt.Sprintf("fd9%d::%d/64", i+1, e.host+extra), "dev", e.dev, "nodad",
					"preferred_lft", map[int]string{0: "forever", 10: "0"}[extra]) // the first is what connections begin from
			}
		}
	}
	return n
}

// capture starts tcpdump on an interface; the function that it gives ends it.
func (n *mptcpNet) capture(ns, dev, file string) (stop func()) {
	n.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", ns, "tcpdump", "-i", dev, "-n", "-s", "300", "-U", "--immediate-mode", "-Z", "root",
		"-w", filepath.Join(n.dir, file), "tcp")
	errs, err := cmd.StderrPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	lines := bufio.NewScanner(errs)
	for lines.Scan() && !strings.Contains(lines.Text(), "listening on") {
	}
	return func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		for lines.Scan() {
		}
		_ = cmd.Wait()
	}
}

// captured waits until captures have all that was sent: tcpdump drops what it has not
// read yet when it is told to end. A last frame is sent on each link, to nobody; files
// tells how often a capture sees it.
func (n *mptcpNet) captured(files map[string]int) {
	n.t.Helper()
	last := []byte("the last frame")
	frame := frametest.Segment{
		Src: netip.MustParseAddrPort("192.0.2.1:9"), Dst: netip.MustParseAddrPort("192.0.2.2:9"), Flags: frametest.ACK, Payload: last,
	}.Ethernet()
	for _, dev := range []string{"c0", "c1"} {
		if err := n.sender(n.client, dev)(frame); err != nil {
			n.t.Fatal(err)
		}
	}
	for file, times := range files {
		eventually(n.t, "the last frame in "+file, func() bool {
			b, err := os.ReadFile(filepath.Join(n.dir, file))
			return err == nil && bytes.Count(b, last) == times
		})
	}
}

// raceExit: under the race detector a process would wait a second before it ends.
const raceExit = "GORACE=atexit_sleep_ms=0"

// host runs a helper; say sends it a line and waits for its answer.
type host struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

func (n *mptcpNet) host(ns, role string, env ...string) *host {
	n.t.Helper()
	h := &host{t: n.t, cmd: exec.Command("ip", "netns", "exec", ns, os.Args[0], "-test.run=^TestHelperMPTCPHost$")}
	h.cmd.Env = append(append(os.Environ(), raceExit, "MPBOX_TEST_HOST="+role), env...)
	var err error
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		n.t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	h.lines = bufio.NewScanner(out)
	h.wait()
	return h
}

func (h *host) wait() {
	h.t.Helper()
	if !h.lines.Scan() || h.lines.Text() != "up" {
		h.t.Fatalf("host: %q %v", h.lines.Text(), h.lines.Err())
	}
}

func (h *host) say(line string) {
	h.t.Helper()
	if _, err := io.WriteString(h.in, line+"\n"); err != nil {
		h.t.Fatal(err)
	}
	h.wait()
}

func (h *host) end() {
	_ = h.in.Close()
	_ = h.cmd.Wait()
}

// counter reads an MPTCP counter of a namespace.
func (n *mptcpNet) counter(ns, name string) int {
	n.t.Helper()
	var names []string
	for line := range strings.Lines(n.in(ns, "cat", "/proc/net/netstat")) {
		f := strings.Fields(line)
		if f[0] != "MPTcpExt:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i, v := range f {
			if names[i] == name {
				x, _ := strconv.Atoi(v)
				return x
			}
		}
	}
	return 0
}

// eventually waits until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	if !within(10*time.Second, f) {
		t.Fatalf("waited in vain: %s", what)
	}
}

// within waits until f holds, and tells whether it did in time.
func within(limit time.Duration, f func() bool) bool {
	deadline := time.Now().Add(limit)
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		if f() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

func (n *mptcpNet) quiet() {
	n.t.Helper()
	eventually(n.t, "no open connection", func() bool {
		for _, ns := range []string{n.client, n.server} {
			if out := n.in(ns, "ss", "-Htn", "state", "connected", "exclude", "time-wait"); strings.TrimSpace(out) != "" {
				return false
			}
		}
		return true
	})
}

func TestIntegrationDetectKernelMPTCP(t *testing.T) {
	n := newMPTCPNet(t)
	server := n.host(n.server, "server")
	defer server.end()
	defer func() { _ = server.cmd.Process.Kill() }()

	for _, tc := range []struct {
		name string
		addr string
		// Endpoints of the hosts, and how many joins they make.
		client, server []string
		joins          int
		act            func(c *host)
		plain          bool
	}{
		{name: "v4 one path", addr: "10.91.0.2:5001"},
		{name: "v6 one path", addr: "[fd91::2]:5001"},
		{name: "plain TCP falls back", addr: "10.91.0.2:5001", plain: true},
		{name: "v4 several paths", addr: "10.91.0.2:5001", joins: 3,
			client: []string{"10.91.0.11 subflow", "10.92.0.1 subflow", "10.92.0.11 subflow"}},
		{name: "v6 several paths", addr: "[fd91::2]:5001", joins: 2,
			client: []string{"fd91::11 subflow", "fd92::1 subflow"}},
		{name: "address signalling, the second link sees only the join", addr: "10.91.0.2:5001", joins: 1,
			server: []string{"10.92.0.2 signal"}},
		{name: "mixed families", addr: "[fd91::2]:5001", joins: 1,
			server: []string{"10.92.0.2 signal"}},
		{name: "joins towards the client", addr: "10.91.0.2:5001", joins: 1,
			client: []string{"10.92.0.1 port 7001 signal"}},
		{name: "joins both ways", addr: "10.91.0.2:5001", joins: 2,
			client: []string{"10.91.0.11 subflow", "10.92.0.1 port 7002 signal"}},
		{name: "backup", addr: "10.91.0.2:5001", joins: 2,
			client: []string{"10.91.0.11 subflow backup", "10.92.0.1 subflow"},
			act: func(c *host) {
				n.in(n.client, "ip", "mptcp", "endpoint", "change", "id", "2", "backup")
				c.say("more")
				n.in(n.client, "ip", "mptcp", "endpoint", "change", "id", "1", "nobackup")
				c.say("more")
			}},
		{name: "address removed", addr: "10.91.0.2:5001", joins: 2,
			client: []string{"10.91.0.11 subflow", "10.92.0.1 subflow"},
			act: func(c *host) {
				n.in(n.client, "ip", "mptcp", "endpoint", "delete", "id", "1")
				c.say("more")
			}},
		{name: "fast close", addr: "10.91.0.2:5001", joins: 2,
			client: []string{"10.91.0.11 subflow", "10.92.0.1 subflow"},
			act:    func(c *host) { c.say("reset") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n.t = t
			n.dir = t.TempDir()
			for ns, endpoints := range map[string][]string{n.client: tc.client, n.server: tc.server} {
				n.in(ns, "ip", "mptcp", "endpoint", "flush")
				n.in(ns, "ip", "mptcp", "limits", "set", "subflows", "8", "add_addr_accepted", "8")
				for _, e := range endpoints {
					n.in(ns, append([]string{"ip", "mptcp", "endpoint", "add"}, strings.Fields(e)...)...)
				}
			}
			joined := func() int {
				return n.counter(n.client, "MPJoinAckRx") + n.counter(n.server, "MPJoinAckRx")
			}
			var env []string
			if tc.plain {
				env = []string{"MPBOX_TEST_PLAIN=1"}
			}
			// The kernel gives up a join that the other end, not yet fully established,
			// resets (RFC 8684 section 3.2): then once more, with captures of that alone.
			record := func() bool {
				before := joined()
				stops := []func(){
					n.capture(n.client, "any", "client.pcap"),
					n.capture(n.server, "s0", "first.pcap"),
					n.capture(n.server, "s1", "second.pcap"),
				}
				c := n.host(n.client, tc.addr, env...)
				c.say("more")
				made := within(3*time.Second, func() bool { return joined()-before >= tc.joins })
				c.say("more")
				if made && tc.act != nil {
					tc.act(c)
				}
				c.end()
				n.quiet()
				n.captured(map[string]int{"client.pcap": 2, "first.pcap": 1, "second.pcap": 1})
				for _, stop := range stops {
					stop()
				}
				return made
			}
			for try := 1; !record(); try++ {
				t.Logf("the kernel has not made %d joins", tc.joins)
				if try == 5 {
					t.FailNow()
				}
			}
			path := func(name string) string { return filepath.Join(n.dir, name) }
			for _, files := range [][]string{
				{path("client.pcap"), path("first.pcap"), path("second.pcap")},
				{path("client.pcap")},
				{path("first.pcap"), path("second.pcap")},
				{path("second.pcap")}, // joins only, or nothing
			} {
				got, report := detected(t, files...)
				compareReports(t, got, oracle(t, files...))
				if len(files) != 3 {
					continue
				}
				if want := 1; !tc.plain && len(report.Connections) != want {
					t.Fatalf("%d connections, want %d", len(report.Connections), want)
				}
				if tc.plain {
					if len(report.Connections) != 0 {
						t.Fatalf("plain TCP listed: %v", report.Connections)
					}
					continue
				}
				n := 0
				for _, s := range report.Connections[0].Subflows {
					if s.Verified == nil || !*s.Verified {
						t.Errorf("not verified: %+v", s)
					}
					if s.State != "closed" {
						t.Errorf("not closed: %+v", s)
					}
					if s.Kind == "join" {
						n++
					}
				}
				if n != tc.joins {
					t.Errorf("%d joins, want %d", n, tc.joins)
				}
			}
		})
	}
}

// TestIntegrationLiveCapture: the same traffic read live, through the kernel's
// filter, and once more as a remote mirror would send it, feeds a Tracker as the
// files do.
func TestIntegrationLiveCapture(t *testing.T) {
	n := newMPTCPNet(t)
	n.in(n.client, "ip", "mptcp", "endpoint", "add", "10.92.0.1", "subflow")
	for _, ns := range []string{n.client, n.server} {
		n.in(ns, "ip", "mptcp", "limits", "set", "subflows", "8", "add_addr_accepted", "8")
	}
	// The mirror's session has an interface of its own.
	shell(t, "ip", "-n", n.client, "link", "add", "m0", "type", "veth", "peer", "name", "m1")
	shell(t, "ip", "-n", n.client, "link", "set", "m0", "mtu", "9000", "up")
	shell(t, "ip", "-n", n.client, "link", "set", "m1", "mtu", "9000", "up")

	var mu sync.Mutex
	near := detector.New(detector.Config{Places: []detector.Place{{Name: "near"}}})
	far := detector.New(detector.Config{Places: []detector.Place{{Name: "far"}}})
	feed := func(tr *detector.Tracker, frames []capture.Frame) {
		mu.Lock()
		defer mu.Unlock()
		batch := make([]detector.Frame, 0, len(frames))
		for _, f := range frames {
			batch = append(batch, detector.Frame{At: f.At, Data: f.Data})
		}
		tr.ObserveFrames(batch)
	}
	third := capture.FilterOptions{ThirdACK: true}
	links := n.live(n.client, capture.LiveConfig{Interface: "c0", FilterOptions: third, Outgoing: true},
		capture.LiveConfig{Interface: "c1", FilterOptions: third, Outgoing: true},
		capture.LiveConfig{Interface: "m1", FilterOptions: capture.FilterOptions{ThirdACK: true, ERSPAN: true}})
	mirror := n.sender(n.client, "m0")
	var reading [3]sync.WaitGroup
	var cancel [3]context.CancelFunc
	stop := func(some ...int) {
		for _, i := range some {
			cancel[i]()
			reading[i].Wait()
		}
	}
	t.Cleanup(func() { stop(0, 1, 2) }) // before they are closed
	for i, l := range links {
		var ctx context.Context
		ctx, cancel[i] = context.WithCancel(t.Context())
		reading[i].Go(func() {
			err := l.Run(ctx, func(frames []capture.Frame) {
				if i == 2 {
					feed(far, frames)
					return
				}
				feed(near, frames)
				for _, f := range frames {
					if err := mirror(erspan(100, f.Data)); err != nil {
						t.Errorf("send: %v", err)
					}
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	server := n.host(n.server, "server")
	defer server.end()
	defer func() { _ = server.cmd.Process.Kill() }()
	c := n.host(n.client, "10.91.0.2:5001")
	for range 20 {
		c.say("more") // data that the filter keeps out
	}
	find := func(tr *detector.Tracker) (detector.Connection, bool) {
		mu.Lock()
		defer mu.Unlock()
		all, _, _ := tr.Connections(0, 10, detector.Filter{})
		if len(all) != 1 || len(all[0].Subflows) != 2 || all[0].Subflows[1].Verified != detector.Verified {
			return detector.Connection{}, false
		}
		return all[0], true
	}
	for _, tr := range []*detector.Tracker{near, far} {
		eventually(t, "a connection with a verified join", func() bool { _, ok := find(tr); return ok })
	}
	c.end()
	for _, tr := range []*detector.Tracker{near, far} {
		eventually(t, "its end", func() bool { k, ok := find(tr); return ok && k.Closed })
	}
	// The links are not read any more, so no more is mirrored; what was is on its way.
	stop(0, 1)
	eventually(t, "all that was mirrored", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return links[2].Stats().Packets == near.Stats().Packets
	})
	stop(2)
	mu.Lock()
	defer mu.Unlock()
	// 400 kB went each way: some hundred segments.
	if s := near.Stats(); s.Packets > 60 || s.CapableSYN != 1 || s.JoinSYN != 1 {
		t.Errorf("the filter let %d packets through: %+v", s.Packets, s)
	}
	if s := links[0].Stats(); s.Packets == 0 || s.Drops != 0 {
		t.Errorf("%+v", s)
	}
	if s := links[2].Stats(); s.Packets != near.Stats().Packets || s.Strange != 0 {
		t.Errorf("%d packets mirrored, %+v arrived", near.Stats().Packets, s)
	}
}

// live opens interfaces of a namespace.
func (n *mptcpNet) live(ns string, cfg ...capture.LiveConfig) (links []*capture.Live) {
	n.t.Helper()
	n.within(ns, func() error {
		for _, c := range cfg {
			l, err := capture.OpenLive(c)
			if err != nil {
				return err
			}
			n.t.Cleanup(func() { _ = l.Close() })
			links = append(links, l)
		}
		return nil
	})
	return links
}

// within runs f on a thread of a namespace.
func (n *mptcpNet) within(ns string, f func() error) {
	n.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		h, err := netns.GetFromName(ns)
		if err == nil {
			err = netns.Set(h)
			_ = h.Close()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		n.t.Fatal(err)
	}
}

var mirrorAddr, collectorAddr = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

// erspan puts a frame into ERSPAN type II.
func erspan(session uint16, frame []byte) []byte {
	p := binary.BigEndian.AppendUint16([]byte{0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0}, session)
	p = append(append(p, 0, 0, 0, 0), frame...)
	out := append(frametest.MAC(0x0800), frametest.IPv4(mirrorAddr, collectorAddr, 47, nil, 0, len(p))...)
	return append(out, p...)
}

// sender gives a function that sends frames out of an interface.
func (n *mptcpNet) sender(ns, dev string) func(frame []byte) error {
	n.t.Helper()
	var fd int
	var index int
	n.within(ns, func() (err error) {
		ifc, err := net.InterfaceByName(dev)
		if err != nil {
			return err
		}
		index = ifc.Index
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	n.t.Cleanup(func() { _ = unix.Close(fd) })
	return func(frame []byte) error {
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: index})
	}
}
