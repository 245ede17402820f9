package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mpbox/examples/lab/fabric"
)

// probes sends numbered UDP packets from client to server until stop is called,
// which tells how many were sent and which were lost. While mostUnderWay of them have
// not arrived yet, it sends no more: what a machine had no time for is not lost.
func (b *bare) probes() (sentSoFar func() int64, stop func() (sent int64, lost []int64)) {
	b.t.Helper()
	client, server := b.Host("client"), b.Host("server")
	var in net.PacketConn
	var out net.Conn
	err := within(server.Namespace, func() (err error) {
		in, err = net.ListenPacket("udp", net.JoinHostPort(server.Addr(true).String(), "9999"))
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	err = within(client.Namespace, func() (err error) {
		out, err = net.Dial("udp", in.LocalAddr().String())
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	const mostUnderWay = 32 // less than a socket's buffer holds
	seen := map[int64]bool{}
	var sent, received atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 16)
		for {
			n, _, err := in.ReadFrom(buf)
			if err != nil {
				return
			}
			if n == 8 {
				seen[int64(binary.BigEndian.Uint64(buf))] = true
				received.Store(int64(len(seen)))
			}
		}
	}()
	ctx, cancel := context.WithCancel(b.t.Context())
	var sending sync.WaitGroup
	sending.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if n := sent.Load(); n-received.Load() < mostUnderWay {
				_, _ = out.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
				sent.Store(n + 1)
			}
		}
	})
	return sent.Load, func() (int64, []int64) {
		cancel()
		sending.Wait()
		_ = poll(b.t.Context(), 10*time.Second, func() error { // what is under way arrives
			if n := received.Load(); n < sent.Load() {
				return fmt.Errorf("%d received", n)
			}
			return nil
		})
		_, _ = in.Close(), out.Close()
		<-done
		var lost []int64
		for i := range sent.Load() {
			if !seen[i] {
				lost = append(lost, i)
			}
		}
		return sent.Load(), lost
	}
}

func TestIntegrationMakeBeforeBreak(t *testing.T) {
	b := bareLab(t, "two-path")
	b.route("pe1", "pe2", []string{"pe1-p1", "p1-pe2"}, []string{"pe1-p2", "p2-pe2"})
	b.start()
	ctx := t.Context()
	f, n := b.fabs["pe1"], b.pe("pe1").Node
	sentSoFar, stop := b.probes()
	// Each turn: a new LSP on the other path, re-point, remove the old one.
	old := b.lsps["pe1>pe2"][0].ID
	for i, end := 0, time.Now().Add(30*time.Second); i < 20 || sentSoFar() < 500 && time.Now().Before(end); i++ {
		p := b.path("pe1", "pe2", 2+i, [][]string{{"pe1-p2", "p2-pe2"}, {"pe1-p1", "p1-pe2"}}[i%2])
		if err := f.InstallPath(ctx, p); err != nil {
			t.Fatal(err)
		}
		if err := f.SetIngress(ctx, fabric.Ingress{Defaults: map[string]uint32{"pe2": p.ID}}); err != nil {
			t.Fatal(err)
		}
		if err := f.RemovePath(ctx, old); err != nil {
			t.Fatal(err)
		}
		old = p.ID
	}
	// The process of the PE restarts, and knows of the last path only.
	again := b.startFabric(n)
	if err := again.Start(ctx, []fabric.Path{f.Paths()[old]}, fabric.Ingress{Defaults: map[string]uint32{"pe2": old}}); err != nil {
		t.Fatal(err)
	}
	sent, lost := stop()
	if sent < 500 || len(lost) > 0 {
		t.Errorf("lost %d of %d packets: %v", len(lost), sent, lost)
	}
	// Nothing of pe1's other paths is left on any router, pe2's are.
	sleep(ctx, 600*time.Millisecond)
	for _, r := range n.Nodes {
		for _, line := range b.flows(r.Mgmt) {
			cookie := strings.TrimPrefix(strings.SplitN(strings.TrimSpace(line), ",", 2)[0], "cookie=0x")
			c, err := strconv.ParseUint(cookie, 16, 64)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if c>>40 == 0x102 && uint32(c) != old {
				t.Errorf("left on %s: %s", r.Name, line)
			}
		}
	}
	if c, err := again.Counters(ctx); err != nil || len(c.Paths) != 1 {
		t.Errorf("counters %v, error %v: want one path", c, err)
	}
}

func (b *bare) flows(mgmt string) []string {
	out, err := runIn(b.t.Context(), "", "ovs-ofctl", "-O", "OpenFlow15", "dump-flows", "unix:"+mgmt)
	if err != nil {
		b.t.Fatal(err)
	}
	return slices.DeleteFunc(strings.Split(out, "\n"), func(l string) bool { return !strings.Contains(l, "cookie=") })
}

func TestIntegrationSwitchRestartAndLinks(t *testing.T) {
	b := bareLab(t, "two-path")
	b.route("pe1", "pe2", []string{"pe1-p1", "p1-pe2"}, []string{"pe1-p2", "p2-pe2"})
	b.start()
	ctx := t.Context()
	before := map[string]int{}
	for _, r := range b.Routers {
		before[r.Name] = len(b.flows(r.Mgmt))
	}
	// vswitchd is killed and started again: the fabrics write all flows anew.
	st, err := b.Status(ctx)
	if err != nil || st.OVS.VSwitchd.PID == 0 {
		t.Fatalf("status %+v, error %v", st.OVS, err)
	}
	if err := unix.Kill(st.OVS.VSwitchd.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := poll(ctx, 20*time.Second, func() error {
		if alive(st.OVS.VSwitchd.PID) {
			return fmt.Errorf("vswitchd lives")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := run(ctx, st.OVS.VSwitchd.Command[0], st.OVS.VSwitchd.Command[1:]...); err != nil {
		t.Fatal(err)
	}
	for _, e := range b.Edges { // no guard here
		if err := b.joinPorts(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.checkForwarding(ctx); err != nil {
		t.Fatal(err)
	}
	if err := poll(ctx, 20*time.Second, func() error {
		for _, r := range b.Routers {
			if n := len(b.flows(r.Mgmt)); n != before[r.Name] {
				return fmt.Errorf("%s has %d flows, had %d", r.Name, n, before[r.Name])
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	// A link is cut: all PEs hear of it, and again when it is mended.
	for _, up := range []bool{false, true} {
		if err := b.SetLink(ctx, "p1-pe2", up); err != nil {
			t.Fatal(err)
		}
		for name, f := range b.fabs {
			select {
			case <-f.Changed():
			case <-time.After(20 * time.Second):
				t.Fatalf("%s did not hear of the link", name)
			}
			if f.LinkUp("p1-pe2") != up || !f.LinkUp("pe1-p1") {
				t.Errorf("%s: link states are wrong", name)
			}
		}
	}
	if err := b.checkForwarding(ctx); err != nil {
		t.Errorf("after the link is mended: %v", err)
	}
}

func TestIntegrationTwoVPNs(t *testing.T) {
	b := bareLab(t, "two-vpn")
	b.route("pe1", "pe2", []string{"pe1-p1", "p1-pe2"}, []string{"pe1-p2", "p2-pe2"})
	b.start()
	ctx := t.Context()
	// The same addresses, and the same port, in two VPNs: each is answered by its own.
	red, _ := b.run(TrafficSpec{Port: 5001})
	blue, _ := b.run(TrafficSpec{Client: "client2", Server: "server2", Port: 5001})
	labels := map[uint32]bool{}
	if err := poll(ctx, 15*time.Second, func() error {
		counts, err := b.CountFlows(ctx, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for k := range counts {
			labels[k.VPNLabel] = true
		}
		// Two VPNs, two directions.
		if len(labels) < 4 || red.Bytes() == 0 || blue.Bytes() == 0 {
			return fmt.Errorf("VPN labels seen %v, want 4; received %d in red, %d in blue", labels, red.Bytes(), blue.Bytes())
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if len(labels) > 4 {
		t.Errorf("VPN labels seen %v, want 4", labels)
	}
	// Red is steered; blue, which has the same addresses, stays.
	conns, err := red.Subflows()
	if err != nil {
		t.Fatal(err)
	}
	b.spread("red", conns[0].Subflows)
	b.checkLinks("red", conns[0].Subflows)
	for _, tr := range []*Traffic{red, blue} {
		if err := tr.Stop(); err != nil {
			t.Error(err)
		}
	}
	// Nothing crosses from one VPN into the other: a server of blue's is not red's.
	if err := within(b.Host("server2").Namespace, func() error {
		ln, err := net.Listen("tcp", net.JoinHostPort(b.Host("server2").Addr(true).String(), "5002"))
		if err == nil {
			t.Cleanup(func() { _ = ln.Close() })
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for client, want := range map[string]bool{"client": false, "client2": true} {
		limit := 2 * time.Second
		if want {
			limit = 10 * time.Second
		}
		err := within(b.Host(client).Namespace, func() error {
			c, err := net.DialTimeout("tcp", net.JoinHostPort(b.Host("server2").Addr(true).String(), "5002"), limit)
			if err == nil {
				_ = c.Close()
			}
			return err
		})
		if (err == nil) != want {
			t.Errorf("%s to blue's server: %v", client, err)
		}
	}
}
