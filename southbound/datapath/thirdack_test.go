package datapath

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"sync"
	"testing"
	"time"

	"mpbox/internal/itest"
	"mpbox/southbound/openflow"
	"mpbox/southbound/ovs/ovstest"
)

// expecter sets an expectation at both edges for each SYN, as the controller does
// for those with an MPTCP option, and counts connections and third ACKs.
type expecter struct {
	recorder
	r     *Registry
	mu    sync.Mutex
	syn   map[netip.AddrPort]bool // clients
	ack   map[netip.AddrPort]bool
	more  int // punted packets that are neither of a handshake nor of an end
	punts int
}

func (x *expecter) Punts(_ *openflow.Session, _ int64, batch []openflow.Punt) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.punts += len(batch)
	for _, p := range batch {
		if len(p.Frame) < 54 || p.Frame[12] != 8 || p.Frame[13] != 0 {
			continue
		}
		ip := p.Frame[14:]
		src := netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[12:])), binary.BigEndian.Uint16(ip[20:]))
		dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[16:])), binary.BigEndian.Uint16(ip[22:]))
		switch flags := uint16(ip[33]) & (FlagSYN | FlagACK | FlagFIN | FlagRST); {
		case flags == FlagSYN && !x.syn[src]:
			x.syn[src] = true
			// Both edges of the way, client to server: in at port 1, then at port 2.
			_ = x.r.Expect(1, Expectation{InPort: 1, Src: src, Dst: dst})
			_ = x.r.Expect(2, Expectation{InPort: 2, Src: src, Dst: dst})
		case flags == FlagACK && x.syn[src] && !x.ack[src]:
			x.ack[src] = true
		case flags == FlagACK:
			x.more++
		}
	}
}

// settled waits until all SYNs were punted and nothing more comes, gives what came
// besides, and begins anew.
func (x *expecter) settled(sw *ovstest.Switch, conns int) (acks, more int) {
	sw.Until("all SYNs", func() bool { x.mu.Lock(); defer x.mu.Unlock(); return len(x.syn) >= conns })
	sw.Until("nothing more is punted", func() bool {
		x.mu.Lock()
		before := x.punts
		x.mu.Unlock()
		time.Sleep(300 * time.Millisecond)
		x.mu.Lock()
		defer x.mu.Unlock()
		return x.punts == before
	})
	x.mu.Lock()
	defer x.mu.Unlock()
	acks, more = len(x.ack), x.more
	x.more = 0
	clear(x.syn)
	clear(x.ack)
	return acks, more
}

// TestIntegrationThirdACKRate has the kernel open connections through two edge
// bridges, at a round trip below half a millisecond, and counts how many third ACKs
// are seen. A reactive rule runs against that round trip, and whatever else the machine
// does takes part: what can be seen is the best of three rounds.
func TestIntegrationThirdACKRate(t *testing.T) {
	itest.Need(t, "ethtool")
	for _, tc := range []struct {
		mode ThirdACK
		min  float64
	}{{ThirdACKReactive, 0.85}, {ThirdACKConntrack, 0.99}} {
		t.Run(tc.mode.String(), func(t *testing.T) {
			const conns, workers = 1000, 4
			sw := ovstest.Start(t)
			hosts := twoHosts(t, sw)
			att := []Attachment{{Name: "a", CEPort: 1, PEPort: 2}}
			x := &expecter{syn: map[netip.AddrPort]bool{}, ack: map[netip.AddrPort]bool{}}
			addr := "unix:" + sw.Dir + "/of.sock"
			r, err := NewRegistry(Config{Tap: Tap{ThirdACK: tc.mode, PuntRate: 100000}, Handler: x, Bridges: []Bridge{
				{Name: "e1", DPID: 1, Attachments: att}, {Name: "e2", DPID: 2, Attachments: att}}})
			if err != nil {
				t.Fatal(err)
			}
			x.r = r
			serve(t, addr, r)
			for _, b := range []string{"e1", "e2"} {
				sw.VSCtl("set-controller", b, addr)
			}
			sw.Until("ready", func() bool {
				s := r.Snapshot()
				return s[0].State == Ready && s[1].State == Ready
			})
			best := 0.0
			for range 3 {
				took := connect(t, hosts, conns, workers)
				acks, more := x.settled(sw, conns)
				t.Logf("%s: %d of %d third ACKs, %.0f connections/s, %d other punts", tc.mode, acks, conns, conns/took.Seconds(), more)
				if best = max(best, float64(acks)/conns); best >= tc.min {
					return
				}
			}
			t.Errorf("%.1f %% of the third ACKs, want %.0f %%", 100*best, 100*tc.min)
		})
	}
}

// hops between the edge bridges.
const hops = 3

// twoHosts are namespaces 10.9.0.1 and 10.9.0.2, each behind an edge bridge (port 1 to
// the host, port 2 to the core).
func twoHosts(t *testing.T, sw *ovstest.Switch) [2]string {
	t.Helper()
	sw.VSCtl("--", "add-br", "e1", "--", "set", "bridge", "e1", "datapath_type=netdev", "fail_mode=secure", "other_config:datapath-id=0000000000000001", "other_config:controller-queue-size=512",
		"--", "add-br", "e2", "--", "set", "bridge", "e2", "datapath_type=netdev", "fail_mode=secure", "other_config:datapath-id=0000000000000002", "other_config:controller-queue-size=512")
	var hosts [2]string
	for i := range hosts {
		ns, port, bridge := fmt.Sprintf("%sh%d", sw.NS, i+1), fmt.Sprintf("h%d", i+1), fmt.Sprintf("e%d", i+1)
		hosts[i] = ns
		run(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		sw.IP("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", ns)
		sw.IP("link", "set", port, "up")
		run(t, "ip", "-n", ns, "addr", "add", fmt.Sprintf("10.9.0.%d/24", i+1), "dev", "eth0")
		run(t, "ip", "-n", ns, "link", "set", "eth0", "up")
		run(t, "ip", "netns", "exec", ns, "ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off", "gro", "off")
		sw.VSCtl("--", "add-port", bridge, port, "--", "set", "interface", port, "ofport_request=1")
	}
	// A core of bridges between the edges: each adds to the round trip what a hop does.
	last := "e1"
	for i := range hops + 1 {
		next := "e2"
		if i < hops {
			next = fmt.Sprintf("c%d", i)
			sw.VSCtl("--", "add-br", next, "--", "set", "bridge", next, "datapath_type=netdev", "fail_mode=secure")
			for _, f := range []string{"in_port=1,actions=output:2", "in_port=2,actions=output:1"} {
				sw.OFCtl("add-flow", next, f)
			}
		}
		near, far := fmt.Sprintf("l%da", i), fmt.Sprintf("l%db", i)
		sw.IP("link", "add", near, "type", "veth", "peer", "name", far)
		sw.IP("link", "set", near, "up")
		sw.IP("link", "set", far, "up")
		number := "ofport_request=1"
		if next == "e2" {
			number = "ofport_request=2"
		}
		sw.VSCtl("--", "add-port", last, near, "--", "set", "interface", near, "ofport_request=2",
			"--", "add-port", next, far, "--", "set", "interface", far, number)
		last = next
	}
	return hosts
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

// connect opens connections from the first host to the second, sends a few bytes on
// each and closes it.
func connect(t *testing.T, hosts [2]string, conns, workers int) time.Duration {
	t.Helper()
	var l net.Listener
	if err := ovstest.InNamespace(hosts[1], func() (err error) {
		l, err = net.Listen("tcp", "10.9.0.2:5000")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { _, _ = io.Copy(c, c); _ = c.Close() })
		}
	})
	began := time.Now()
	var clients sync.WaitGroup
	for range workers {
		clients.Go(func() {
			err := ovstest.InNamespace(hosts[0], func() error {
				buf := make([]byte, 3000)
				for range conns / workers {
					c, err := net.DialTimeout("tcp", "10.9.0.2:5000", 5*time.Second)
					if err != nil {
						return err
					}
					_ = c.SetDeadline(time.Now().Add(5 * time.Second))
					if _, err = c.Write(buf); err == nil {
						_, err = io.ReadFull(c, buf)
					}
					_ = c.Close()
					if err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
	took := time.Since(began)
	out, _ := exec.Command("ip", "netns", "exec", hosts[0], "ping", "-c", "20", "-i", "0.01", "-q", "10.9.0.2").CombinedOutput()
	t.Logf("%s", out[bytes.LastIndex(out[:max(len(out)-1, 0)], []byte("\n"))+1:])
	_ = l.Close()
	all.Wait()
	return took
}
