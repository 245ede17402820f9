package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mpbox/controller/api"
	"mpbox/southbound/capture"
)

// Not a test by itself: mpbox, run inside a namespace.
func TestHelperMpbox(t *testing.T) {
	args := os.Getenv("MPBOX_TEST_ARGS")
	if args == "" {
		t.Skip("runs only inside the integration test")
	}
	os.Exit(execute(context.Background(), strings.Fields(args), strings.NewReader(""), os.Stdout, os.Stderr))
}

// mirrorConfig reads the two links of the client by a mirror port, m1; there is no
// bridge. %s: folder, the mirror's key erspan, and the attachments.
const mirrorConfig = `
instance: mirror
openflow: {listen: ["unix:%[1]s/openflow.sock"]}
api: {listen: ["unix:%[1]s/api.sock"]}
store: {path: ""}
vpns: [{name: red}]
mirrors: [{name: span, interface: m1, erspan: %[2]t, attachments: [%[3]s]}]
pes:
  - {name: pe1, router_id: 10.255.0.1, driver: iosxr, poll: 10s, ssh: {address: "192.0.2.1:22", user: u, password: p, host_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChOEYVAVlIAFB6FTGm6h8m5eVkoKNMYqwDJbZMCW"}}
`

const (
	describedA = `vpn: red, pe: pe1, pe_interface: Gi1, prefixes: [10.91.0.1/32]`
	describedB = `vpn: red, pe: pe1, pe_interface: Gi2, prefixes: [10.92.0.1/32]`
)

// TestIntegrationMirror: a switch that mpbox has no session with copies the two links
// of a host to it, untouched or in ERSPAN, and mpbox run finds the host's connection
// and its join; also after the mirror port was down, and after it was gone.
func TestIntegrationMirror(t *testing.T) {
	for _, tc := range []struct {
		name        string
		erspan      bool
		attachments string
		// copied makes the copy of a frame of a link (0, 1).
		copied func(link int, fromCE bool, frame []byte) []byte
	}{
		{
			name:        "plain, by prefixes, the second link in a VLAN",
			attachments: "{name: a, " + describedA + "}, {name: b, vlan: [20], " + describedB + "}",
			copied: func(link int, _ bool, frame []byte) []byte {
				if link == 0 {
					return frame
				}
				return append(append(append([]byte(nil), frame[:12]...), 0x81, 0, 0, 20), frame[12:]...)
			},
		},
		{
			name: "ERSPAN, the second link's directions apart", erspan: true,
			attachments: "{name: a, session: 1, " + describedA + "}, {name: b, session: 21, direction: from_ce, vpn: red}, {name: b, session: 22, direction: to_ce}",
			copied: func(link int, fromCE bool, frame []byte) []byte {
				session := uint16(1)
				if link == 1 {
					session = map[bool]uint16{true: 21, false: 22}[fromCE]
				}
				return erspan(session, frame)
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newMPTCPNet(t)
			box := "mpdm" + strings.TrimPrefix(n.client, "mpdc")
			shell(t, "ip", "netns", "add", box)
			t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", box).Run() })
			n.in(n.server, "ip", "mptcp", "endpoint", "add", "10.92.0.2", "signal")
			for _, ns := range []string{n.client, n.server} {
				n.in(ns, "ip", "mptcp", "limits", "set", "subflows", "8", "add_addr_accepted", "8")
			}
			c := n.box(box, fmt.Sprintf(mirrorConfig, n.dir, tc.erspan, tc.attachments))
			told := c.events("mirror")
			// It is not there yet: that is no reason to end.
			c.mirror("lost")
			n.mirrorPort(box)
			told("listening", "lost", "down") // before the stream was open, or after; opened before it was up
			c.mirror("listening")
			n.copyLinks(tc.copied)
			server := n.host(n.server, "server")
			defer server.end()
			defer func() { _ = server.cmd.Process.Kill() }()

			// Closed connections stay listed for a while, which a slow run may outlast.
			found := map[string]bool{}
			oneMore := func() api.Connection {
				h := n.host(n.client, "10.91.0.2:5001")
				defer h.end()
				h.say("more")
				var more []api.Connection
				eventually(t, fmt.Sprintf("connection %d and its join", len(found)+1), func() bool {
					more = slices.DeleteFunc(c.connections(), func(k api.Connection) bool { return found[k.ID] })
					return len(more) == 1 && whole(more[0])
				})
				found[more[0].ID] = true
				return more[0]
			}
			last := oneMore()
			for i, want := range []api.Place{{Attachment: "a", PE: "pe1"}, {Attachment: "b", PE: map[bool]string{false: "pe1"}[tc.erspan]}} {
				if f := last.Subflows[i].Flows; f.C2S.Ingress != want || f.S2C.Egress != want || f.S2C.Ingress != (api.Place{}) {
					t.Errorf("subflow %d: %+v, want %+v", i, f, want)
				}
			}
			if last.VPN != "red" {
				t.Errorf("VPN %q", last.VPN)
			}

			shell(t, "ip", "-n", box, "link", "set", "m1", "down")
			c.mirror("down")
			told("down")
			shell(t, "ip", "-n", box, "link", "set", "m1", "up")
			c.mirror("listening")
			told("listening")
			oneMore()

			if tc.erspan { // away, and back before it was missed
				shell(t, "ip", "-n", box, "link", "set", "m1", "netns", n.client)
				shell(t, "ip", "-n", n.client, "link", "set", "m1", "netns", box)
				shell(t, "ip", "-n", box, "link", "set", "m1", "up")
			} else {
				shell(t, "ip", "-n", box, "link", "del", "m1")
				c.mirror("lost")
				n.mirrorPort(box)
				n.copyLinks(tc.copied)
			}
			told("lost", "down")              // what is deleted goes down first
			told("listening", "lost", "down") // still away, or not yet up, when it was tried again
			m := c.mirror("listening")
			if m.Frames == 0 {
				t.Error("the counters began anew")
			}
			oneMore()

			m = c.mirror("listening")
			if m.Handshakes < 3*4 || m.Dropped+m.Unplaced+m.Strange+m.Undirected != 0 {
				t.Errorf("%+v", m)
			}
			for _, line := range []string{`mpbox_mirror_up{mirror="span"} 1`, fmt.Sprintf(`mpbox_mirror_handshakes_total{mirror="span"} %d`, m.Handshakes),
				`mpbox_mirror_dropped_total{mirror="span",reason="kernel"} 0`, `mpbox_mptcp_joins_total{result="matched"} 3`} {
				if text := string(c.get("/metrics")); !strings.Contains(text, line+"\n") {
					t.Errorf("metrics lack %s", line)
				}
			}
		})
	}
}

// whole tells whether a connection has its two subflows, verified, in both directions.
func whole(c api.Connection) bool {
	if len(c.Subflows) != 2 || c.Subflows[1].Kind != "join" {
		return false
	}
	for _, s := range c.Subflows {
		if s.Verified == nil || !*s.Verified || s.Flows.S2C.Egress.Attachment == "" {
			return false
		}
	}
	return true
}

// mirrorPort makes m1 in mpbox's namespace, and m0 at the switch.
func (n *mptcpNet) mirrorPort(box string) {
	n.t.Helper()
	shell(n.t, "ip", "-n", n.client, "link", "add", "m0", "type", "veth", "peer", "name", "m1", "netns", box)
	shell(n.t, "ip", "-n", n.client, "link", "set", "m0", "up")
	shell(n.t, "ip", "-n", box, "link", "set", "m1", "up")
}

// copyLinks is the switch: it copies what passes c0 and c1 to m0, until m0 is gone.
// What is not a handshake is left out, as TestIntegrationLiveCapture has that.
func (n *mptcpNet) copyLinks(copied func(link int, fromCE bool, frame []byte) []byte) {
	n.t.Helper()
	send := n.sender(n.client, "m0")
	var cfg []capture.LiveConfig
	for _, dev := range []string{"c0", "c1"} {
		cfg = append(cfg, capture.LiveConfig{Interface: dev, FilterOptions: capture.FilterOptions{ThirdACK: true}, Outgoing: true})
	}
	ctx, cancel := context.WithCancel(n.t.Context())
	var wg sync.WaitGroup
	links := n.live(n.client, cfg...)
	n.t.Cleanup(func() { cancel(); wg.Wait() })
	for i, l := range links {
		wg.Go(func() {
			_ = l.Run(ctx, func(frames []capture.Frame) {
				for _, f := range frames {
					// The client's addresses end in 1; m0 may be gone by now.
					_ = send(copied(i, f.Data[14+15] == 1, f.Data))
				}
			})
		})
	}
}

// boxed is an mpbox that runs in a namespace.
type boxed struct {
	t    *testing.T
	http http.Client
}

// box runs mpbox with a configuration until the test ends.
func (n *mptcpNet) box(ns, config string) *boxed {
	n.t.Helper()
	file, socket := filepath.Join(n.dir, "mpbox.yaml"), filepath.Join(n.dir, "api.sock")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", ns, os.Args[0], "-test.run=^TestHelperMpbox$")
	cmd.Env = append(os.Environ(), raceExit, "MPBOX_TEST_ARGS=run --config "+file)
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			n.t.Errorf("mpbox: %v", err)
		}
		if n.t.Failed() {
			n.t.Log(log.String())
		}
	})
	b := &boxed{t: n.t, http: http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}}
	n.t.Cleanup(b.http.CloseIdleConnections)
	eventually(n.t, "the API", func() bool { // the socket is there before it listens
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return b
}

func (b *boxed) get(path string) []byte {
	b.t.Helper()
	r, err := b.http.Get("http://localhost" + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		b.t.Fatalf("%s: %s %v %s", path, r.Status, err, body)
	}
	return body
}

func list[T any](b *boxed, path string) []T {
	b.t.Helper()
	var page api.ListBody[T]
	if err := json.Unmarshal(b.get(path), &page); err != nil {
		b.t.Fatal(err)
	}
	return page.Items
}

func (b *boxed) connections() []api.Connection { return list[api.Connection](b, "/v1/connections") }

// mirror waits until the mirror is in a state.
func (b *boxed) mirror(state string) (m api.Mirror) {
	b.t.Helper()
	eventually(b.t, "the mirror "+state, func() bool {
		all := list[api.Mirror](b, "/v1/mirrors")
		if len(all) == 1 {
			m = all[0]
		}
		return m.State == state && (state == "listening") == (m.Error == nil)
	})
	return m
}

// events reads events of a type; told wants the next one to have a state, but for those
// before it that may be there or not.
func (b *boxed) events(kind string) (told func(state string, skip ...string)) {
	b.t.Helper()
	r, err := b.http.Get("http://localhost/v1/events?type=" + kind) //nolint:bodyclose // closed in Cleanup
	if err != nil {
		b.t.Fatal(err)
	}
	states := make(chan string, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for in := bufio.NewScanner(r.Body); in.Scan(); {
			data, ok := strings.CutPrefix(in.Text(), "data: ")
			var e api.Event
			if ok && json.Unmarshal([]byte(data), &e) == nil {
				states <- e.State
			}
		}
	}()
	b.t.Cleanup(func() { _ = r.Body.Close(); <-done })
	next := func() string {
		select {
		case s := <-states:
			return s
		case <-time.After(10 * time.Second):
			return "none"
		}
	}
	return func(state string, skip ...string) {
		b.t.Helper()
		got := next()
		for slices.Contains(skip, got) {
			got = next()
		}
		if got != state {
			b.t.Fatalf("event: %s, want %s", got, state)
		}
	}
}
