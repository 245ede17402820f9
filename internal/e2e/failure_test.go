package e2e

import (
	"maps"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mpbox/examples/lab"
)

// kill -9: goodput stays. Started again, mpbox adopts what is there, tells the
// routers nothing, shows the same bindings, and a join made after the restart
// finds its connection.
func TestIntegrationRestart(t *testing.T) {
	for _, tc := range []struct{ pe, steer string }{{"snmp", "ftn"}, {"iosxr", "class"}} {
		t.Run(tc.pe+"/"+tc.steer, func(t *testing.T) {
			l := up(t, "four-path", tc.pe, tc.steer, func(o *lab.Options) { o.Subflows = 3 })
			c := start(t, l)
			tr := traffic(t, l, lab.TrafficSpec{})
			if err := tr.WaitSubflows(t.Context(), 3, 30*time.Second); err != nil {
				t.Fatal(err)
			}
			c.verified(60*time.Second, 6)
			c.wait(60*time.Second, "no plan is running", func() bool { return len(c.list("/v1/plans", "state", "running")) == 0 })
			bound, told, plans := c.lsps(), sets(t, l), c.list("/v1/plans")
			before, err := tr.Rate(t.Context(), 3*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			c.stop(syscall.SIGKILL)
			dead := rate(t, tr, 3*time.Second, 0.75*before)
			if dead < 0.75*before {
				t.Errorf("goodput %.1f Mbit/s with mpbox, %.1f with mpbox dead", before/1e6, dead/1e6)
			}
			c = start(t, l)
			c.verified(30*time.Second, 6)
			// Plans show routes when the topology is known.
			c.wait(15*time.Second, "the same plans are shown", func() bool { return reflect.DeepEqual(c.list("/v1/plans"), plans) })
			time.Sleep(2 * time.Second)
			if got := c.lsps(); !maps.Equal(got, bound) {
				t.Errorf("bindings before %v, after %v", bound, got)
			}
			if got := c.list("/v1/plans"); len(got) == 0 || !reflect.DeepEqual(got, plans) {
				t.Errorf("plans before %v, after %v", plans, got)
			}
			if n := sets(t, l); n != told {
				t.Errorf("after the restart the routers were told %d things more", n-told)
			}
			oneMoreSubflow(t, l)
			c.wait(30*time.Second, "the join finds its connection", func() bool {
				conns, n := c.list("/v1/connections"), 0
				if len(conns) != 1 {
					return false
				}
				for _, s := range c.list("/v1/subflows", "state", "established") {
					if s.str("connection") == conns[0].str("id") {
						n++
					}
				}
				return n == 4
			})
			c.verified(60*time.Second, 8)
			for id, lsp := range bound {
				if got := c.lsps()[id]; got != lsp {
					t.Errorf("%s moved from %s to %s when the connection grew", id, lsp, got)
				}
			}
		})
	}
}

// oneMoreSubflow has the client open a fourth subflow, from its fourth address.
func oneMoreSubflow(t *testing.T, l *lab.Lab) {
	t.Helper()
	client := l.Host(l.Net.Lab.Client)
	dev := client.Interfaces[0]
	addr := dev.Addresses[3].Addr().String()
	for _, cmd := range [][]string{
		{l.Net.Lab.Server, "ip", "mptcp", "limits", "set", "subflow", "8", "add_addr_accepted", "8"},
		{client.Name, "ip", "mptcp", "limits", "set", "subflow", "8", "add_addr_accepted", "8"},
		{client.Name, "ip", "mptcp", "endpoint", "add", addr, "dev", dev.Name, "subflow"},
	} {
		line, err := l.Exec(cmd[0], cmd[1:]...)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", line, err, out)
		}
	}
}

// coreLink gives the lab's name of a link.
func coreLink(t *testing.T, l *lab.Lab, name string) string {
	t.Helper()
	for _, k := range l.Links {
		if ends(k.Name) == ends(name) {
			return k.Name
		}
	}
	t.Fatalf("no core link %s", name)
	return ""
}

// With mpbox dead, vswitchd is restarted: traffic returns, and nothing crosses
// port pairs.
func TestIntegrationSwitchRestartWithoutController(t *testing.T) {
	l := up(t, "two-vpn", "snmp", "ftn", nil)
	c := start(t, l)
	client, server := hosts(l, l.Hosts[0].VPN)
	tr := traffic(t, l, lab.TrafficSpec{Client: client, Server: server})
	c.verified(60*time.Second, 4)
	c.stop(syscall.SIGKILL)
	status, err := l.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.OVS.VSwitchd.PID == 0 {
		t.Fatal("no vswitchd")
	}
	if err := syscall.Kill(status.OVS.VSwitchd.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, 20*time.Second, "end of vswitchd", func() bool { return syscall.Kill(status.OVS.VSwitchd.PID, 0) != nil })
	command := l.VSwitchdCommand()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
	from := time.Now()
	for {
		rate, err := tr.Rate(t.Context(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if rate > 1e6 {
			break
		}
		if time.Since(from) > 60*time.Second {
			t.Fatal("traffic does not return")
		}
	}
	t.Logf("traffic returned %s after vswitchd was started again", time.Since(from).Round(100*time.Millisecond))
	// A frame that no table knows must leave an edge bridge by its pair's port only.
	for _, e := range l.Edges {
		if len(e.Attachments) < 2 {
			continue
		}
		a, b := e.Attachments[0], e.Attachments[1]
		out, err := exec.Command("ovs-appctl", "-t", appctl(t, l), "ofproto/trace", e.Name, "in_port="+itoa(a.CEPort)+",dl_dst=ff:ff:ff:ff:ff:ff").CombinedOutput()
		if err != nil {
			t.Fatalf("trace: %v\n%s", err, out)
		}
		actions := string(out[strings.LastIndex(string(out), "Datapath actions"):])
		t.Logf("%s port %d: %s (pair %d-%d, other pair %d-%d)", e.Name, a.CEPort, strings.TrimSpace(actions), a.CEPort, a.PEPort, b.CEPort, b.PEPort)
		if strings.Contains(actions, ",") {
			t.Errorf("%s: a broadcast leaves by several ports: %s", e.Name, actions)
		}
	}
}

func appctl(t *testing.T, l *lab.Lab) string {
	t.Helper()
	status, err := l.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return status.OVS.RunDir + "/vswitchd.ctl"
}

func hosts(l *lab.Lab, vpn string) (client, server string) {
	for _, h := range l.Hosts {
		if h.VPN != vpn {
			continue
		}
		if h.Role == lab.RoleClient {
			client = h.Name
		} else {
			server = h.Name
		}
	}
	return client, server
}

// A core link under one LSP is cut: within 5 s every binding avoids it, and
// goodput is what the rest can carry.
func TestIntegrationCutLink(t *testing.T) {
	for _, pe := range []string{"snmp", "iosxr"} {
		t.Run(pe, func(t *testing.T) {
			l := up(t, "four-path", pe, "ftn", func(o *lab.Options) { o.Subflows = 3 })
			c := start(t, l)
			tr := traffic(t, l, lab.TrafficSpec{})
			c.verified(60*time.Second, 6)
			var link string
			for try := 1; ; try++ {
				var took time.Duration
				if link, took = cut(t, l, c); took <= 5*time.Second {
					break
				}
				if try == 3 { // other work on the machine only makes it slower
					t.Fatalf("every binding avoids %s after %s, which is too late", link, took)
				}
				if err := l.SetLink(t.Context(), link, true); err != nil {
					t.Fatal(err)
				}
				c.verified(30*time.Second, 6)
			}
			left := float64(l.Net.MaxFlow(l.Net.Lab.Client, l.Net.Lab.Server, 3, link))
			time.Sleep(2 * time.Second) // TCP's own recovery
			got := rate(t, tr, 4*time.Second, 0.85*left)
			t.Logf("goodput %.1f Mbit/s of %.1f", got/1e6, left/1e6)
			if got < 0.85*left {
				t.Errorf("goodput %.1f Mbit/s of the %.1f that are left", got/1e6, left/1e6)
			}
		})
	}
}

// cut takes down a core link that a binding uses, and gives the time after which none does.
func cut(t *testing.T, l *lab.Lab, c *controller) (link string, took time.Duration) {
	t.Helper()
	route := c.list("/v1/bindings", "direction", "c2s")[1]["route"].([]any)
	link = coreLink(t, l, route[len(route)/2].(string))
	from := time.Now()
	if err := l.SetLink(t.Context(), link, false); err != nil {
		t.Fatal(err)
	}
	c.wait(30*time.Second, "every binding avoids "+link, func() bool {
		all := c.list("/v1/bindings")
		for _, b := range all {
			if b.str("state") != "verified" || slices.ContainsFunc(b["route"].([]any), func(r any) bool { return ends(r.(string)) == ends(link) }) {
				return false
			}
		}
		return len(all) == 6
	})
	took = time.Since(from)
	t.Logf("every binding avoids %s after %s", link, took.Round(time.Millisecond))
	return link, took
}

// Control plane refuses: the operator sees PE, step and remedy; traffic stays; once
// the PE accepts, the work is resumed and nothing half-made is left.
func TestIntegrationRefusals(t *testing.T) {
	for _, tc := range []struct {
		name, pe string
		break_   func(*testing.T, *lab.Lab)
		mend     func(*testing.T, *lab.Lab)
		says     []string
	}{
		{"row refused", "snmp", fault("refuse-ftn"), fault("off"), []string{"mplsFTN"}},
		{"tunnel refused", "snmp", fault("refuse-tunnel"), fault("off"), []string{"mplsTunnel"}},
		{"tunnel refused on the CLI", "iosxr", fault("refuse-tunnel"), fault("off"), []string{"commit"}},
		{"agent dies between two SETs", "snmp", fault("die-after-sets=1"), revive, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := up(t, "two-path", tc.pe, "ftn", nil)
			tc.break_(t, l)
			c := start(t, l)
			tr := traffic(t, l, lab.TrafficSpec{})
			if len(tc.says) > 0 {
				c.wait(30*time.Second, "the refusal is shown", func() bool {
					for _, ch := range c.list("/v1/changes?limit=200", "result", "failed", "pe", "pe1") {
						ok := ch.str("step") != "<nil>"
						for _, s := range tc.says {
							ok = ok && strings.Contains(ch.str("step")+ch.str("detail"), s)
						}
						if ok && ch["remedy"] != nil {
							t.Logf("%s: %s: %s (%s)", ch.str("pe"), ch.str("step"), ch.str("detail"), ch.str("remedy"))
							return true
						}
					}
					return false
				})
			} else {
				c.wait(30*time.Second, "the agent is dead", func() bool {
					status, err := l.Status(t.Context())
					return err == nil && status.PEs[0].Process.PID == 0
				})
				c.wait(30*time.Second, "the PE is seen to be lost", func() bool {
					return len(c.list("/v1/pes", "name", "pe1", "reachable", "false")) == 1 || len(c.list("/v1/changes?limit=200", "result", "failed", "pe", "pe1")) > 0
				})
			}
			if got := rate(t, tr, 2*time.Second, 10e6); got < 10e6 {
				t.Errorf("traffic did not stay: %.1f Mbit/s", got/1e6)
			}
			tc.mend(t, l)
			c.verified(60*time.Second, 4)
			if err := tr.Stop(); err != nil {
				t.Error(err)
			}
			c.set("PATCH", "/v1/thresholds", object{"release_delay": "1s"})
			c.wait(30*time.Second, "nothing of ours is left", func() bool {
				pes := c.list("/v1/pes", "owned", "0")
				return len(pes) == len(l.PEs)
			})
		})
	}
}

func fault(words string) func(*testing.T, *lab.Lab) {
	return func(t *testing.T, l *lab.Lab) {
		t.Helper()
		if err := l.SetFault("pe1", words); err != nil {
			t.Fatal(err)
		}
	}
}

// revive mends and starts the PE process that died.
func revive(t *testing.T, l *lab.Lab) {
	t.Helper()
	fault("off")(t, l)
	if err := l.StartPE(t.Context(), &l.PEs[0]); err != nil {
		t.Fatal(err)
	}
}

// Wrong credentials and a PE that does not answer: which PE, which step, what to do.
func TestIntegrationUnreachable(t *testing.T) {
	l := up(t, "two-path", "snmp", "ftn", nil)
	file := l.ConfigFile()
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	i := strings.Index(string(good), "auth_password: ")
	bad := string(good[:i]) + "auth_password: wrong-password\n" + string(good[i+strings.IndexByte(string(good[i:]), '\n')+1:])
	if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	c := start(t, l)
	traffic(t, l, lab.TrafficSpec{})
	var problem object
	c.wait(30*time.Second, "the wrong password is shown", func() bool {
		for _, pe := range c.list("/v1/pes", "name", "pe1", "reachable", "false") {
			problem, _ = pe["error"].(map[string]any)
		}
		return problem != nil
	})
	t.Logf("pe1: %v", problem)
	if !strings.Contains(problem.str("detail"), "credentials") || problem["remedy"] == nil {
		t.Errorf("problem %v names no credentials or no remedy", problem)
	}
	c.stop(syscall.SIGTERM)
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	c = start(t, l)
	traffic(t, l, lab.TrafficSpec{}) // the first connection's handshake was seen by the other mpbox
	c.verified(30*time.Second, 4)
	status, err := l.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.PEs[0].SNMPD.PID == 0 {
		t.Fatal("no snmpd")
	}
	if err := syscall.Kill(status.PEs[0].SNMPD.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.wait(30*time.Second, "the lost PE is shown", func() bool {
		pes := c.list("/v1/pes", "name", "pe1", "reachable", "false")
		return len(pes) == 1 && pes[0]["error"] != nil && pes[0]["error"].(map[string]any)["remedy"] != nil
	})
}
