package router_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mpbox/examples/lab/fabric"
	"mpbox/examples/lab/pe/petest"
	"mpbox/examples/lab/pe/router"
)

// bench is a running router on a data plane that remembers. Tests run in a
// synctest bubble: its clock stands still until all is done.
type bench struct {
	*testing.T
	node fabric.Node
	f    *petest.Fabric
	r    *router.Router
	stop func()
}

func start(t *testing.T, node fabric.Node, f *petest.Fabric) *bench {
	t.Helper()
	r, err := router.New(node, f, router.Options{Log: func(err error) { t.Error("router:", err) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	b := &bench{T: t, node: node, f: f, r: r}
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error("Run:", err)
		}
	}
	b.settle()
	return b
}

// settle lets signalling end.
func (b *bench) settle() {
	time.Sleep(100 * time.Millisecond) // of the bubble's clock
	synctest.Wait()
}

// edit commits a change of the configuration.
func (b *bench) edit(f func(c *router.Config)) {
	b.Helper()
	base := b.r.Config()
	next := base.Clone()
	f(next)
	if err := b.r.Commit(base, next); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) link(name string, up bool) {
	b.f.SetLink(name, up)
	b.settle()
}

var (
	pe1, pe2, pe3 = router.AddrID(netip.MustParseAddr("10.255.0.1")), router.AddrID(netip.MustParseAddr("10.255.0.2")), router.AddrID(netip.MustParseAddr("10.255.0.3"))
	row5          = router.TunnelID{Index: 5, Instance: 1, Ingress: pe1, Egress: pe2}
	row6          = router.TunnelID{Index: 6, Instance: 1, Ingress: pe1, Egress: pe2}
	default2      = router.TunnelID{Index: 1, Egress: pe2}
	default3      = router.TunnelID{Index: 2, Egress: pe3}
)

// row adds a tunnel of the MIB by an explicit path of strict hops.
func row(c *router.Config, id router.TunnelID, addrs ...string) {
	t := router.Tunnel{Status: router.Active, Name: fmt.Sprint("t", id.Index), Role: 1, Signalling: 2, Admin: 1, Session: router.RecordRoute}
	for i, a := range addrs {
		t.HopList, t.PathInUse = id.Index, 1
		c.Hops[router.HopID{List: id.Index, Option: 1, Hop: uint32(i + 1)}] = router.Hop{
			Status: router.Active, AddrType: 1, Addr: netip.MustParseAddr(a).AsSlice(), Type: 1, Include: true, PathComp: 2,
		}
	}
	c.Tunnels[id] = t
}

// ftn adds an FTN row for a TCP port, applied to an interface after the others.
func ftn(c *router.Config, n uint32, port uint16, ifIndex uint32, to router.TunnelID) {
	c.FTNs[n] = router.FTN{
		Status: router.Active, Mask: router.FTNProtocol | router.FTNDstPort, Protocol: 6, DstPortMin: port, DstPortMax: port,
		Action: router.FTNRedirectTunnel, Pointer: append(slices.Clone(router.TunnelName), to.Sub()...),
	}
	if ifIndex != 0 {
		c.Maps[ifIndex] = append(c.Maps[ifIndex], router.Map{FTN: n, Status: router.Active})
	}
}

// lsp describes a tunnel: its links, or why it is down.
func (b *bench) lsp(id router.TunnelID) string {
	l := b.r.Snapshot().Find(id)
	if l == nil {
		return "none"
	}
	if !l.Up {
		return "down: " + l.Reason
	}
	p := b.f.Paths()[l.PathID]
	var links []string
	for i, h := range p.Hops {
		links = append(links, h.Link)
		if h.Label != l.Route[i].Label {
			b.Errorf("label %d in the data plane, %d shown", h.Label, l.Route[i].Label)
		}
	}
	return strings.Join(links, " ")
}

// classes describes the classification: "if dport -> tunnel" in order.
func (b *bench) classes() []string {
	tunnels := map[uint32]string{}
	for _, l := range b.r.Snapshot().LSPs {
		if l.Up {
			tunnels[l.PathID] = l.Name
		}
	}
	var out []string
	for _, e := range b.f.Ingress().Entries {
		name, ok := tunnels[e.Path]
		if !ok {
			b.Errorf("entry %v goes to path %d of no tunnel", e.FEC, e.Path)
		}
		out = append(out, fmt.Sprintf("%v -> %s", e.FEC, name))
	}
	return out
}

func (b *bench) want(what, got, want string) {
	b.Helper()
	if got != want {
		b.Errorf("%s: %s, want %s", what, got, want)
	}
}

func bubble(t *testing.T, f func(b *bench)) {
	t.Helper()
	node := petest.Node(t)
	synctest.Test(t, func(t *testing.T) {
		b := start(t, node, petest.NewFabric())
		f(b)
		b.stop()
	})
}

func TestDefaultTunnels(t *testing.T) {
	bubble(t, func(b *bench) {
		b.want("to pe2", b.lsp(default2), "pe1-p1 p1-pe2")
		b.want("to pe3", b.lsp(default3), "pe1-p3 p3-pe3")
		d := b.f.Ingress().Defaults
		s := b.r.Snapshot()
		if len(d) != 2 || d["pe2"] != s.Find(default2).PathID || d["pe3"] != s.Find(default3).PathID {
			b.Error("defaults:", d)
		}
		b.want("name", s.Find(default2).Name, "default_pe1_pe2")
		for _, l := range s.LSPs {
			for _, h := range l.Route {
				if h.Label < b.node.Labels.First || h.Label > b.node.Labels.Last {
					b.Error("label out of range", h.Label)
				}
			}
		}
	})
}

func TestLinkLoss(t *testing.T) {
	bubble(t, func(b *bench) {
		b.edit(func(c *router.Config) {
			row(c, row5, "10.0.3.2", "10.0.4.2")
			row(c, row6)
			ftn(c, 1, 80, 3, row5)
		})
		b.settle()
		b.want("explicit", b.lsp(row5), "pe1-p2 p2-pe2")
		b.want("dynamic", b.lsp(row6), "pe1-p1 p1-pe2")
		want := []string{"GigabitEthernet0/0/0/1 proto=6 dport=80 -> t5"}
		if got := b.classes(); !slices.Equal(got, want) {
			b.Error("classes", got)
		}
		b.link("p2-pe2", false)
		b.want("explicit", b.lsp(row5), "down: Can't reach 10.0.4.2 on 10.255.0.2, from node 10.255.1.2")
		if got := b.classes(); !slices.Equal(got, []string{"GigabitEthernet0/0/0/1 proto=6 dport=80 -> default_pe1_pe2"}) {
			b.Error("classes of a tunnel that is down", got)
		}
		b.link("p1-pe2", false)
		b.want("dynamic re-routes", b.lsp(row6), "pe1-p3 p3-pe2")
		b.want("default re-routes", b.lsp(default2), "pe1-p3 p3-pe2")
		b.link("p3-pe2", false)
		b.want("no way", b.lsp(row6), "down: No path to destination, 10.255.0.2 (unreachable)")
		if _, ok := b.f.Ingress().Defaults["pe2"]; ok || len(b.f.Ingress().Entries) > 0 {
			b.Error("ingress without any LSP to pe2:", b.f.Ingress())
		}
		b.link("p2-pe2", true)
		b.want("explicit returns", b.lsp(row5), "pe1-p2 p2-pe2")
		if got := b.classes(); !slices.Equal(got, want) {
			b.Error("classes", got)
		}
		if n := len(b.f.Paths()); n != 4 {
			b.Errorf("%d paths are installed, want those of 4 tunnels", n)
		}
		if l := b.r.Snapshot().Find(row5); l.Transitions != 3 || l.Changes != 2 {
			b.Errorf("transitions %d, changes %d", l.Transitions, l.Changes)
		}
	})
}

// A tunnel takes its time to come up, and its old path stays until the new one
// is there.
func TestSignallingTakesTime(t *testing.T) {
	bubble(t, func(b *bench) {
		b.edit(func(c *router.Config) { row(c, row5, "10.0.3.2", "10.0.4.2") })
		synctest.Wait()
		b.want("at once", b.lsp(row5), "down: signalling")
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		b.want("after two hops", b.lsp(row5), "pe1-p2 p2-pe2")
		if err := os.WriteFile(b.node.FaultsFile, []byte("slow=1s"), 0o600); err != nil {
			b.Fatal(err)
		}
		b.edit(func(c *router.Config) { row(c, row5, "10.0.5.2", "10.0.6.2") })
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		b.want("before the new path", b.lsp(row5), "pe1-p2 p2-pe2")
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		b.want("after", b.lsp(row5), "pe1-p3 p3-pe2")
		if n := len(b.f.Paths()); n != 3 {
			b.Errorf("%d paths, the old one should be gone", n)
		}
		// A broken path is no path while the next one is signalled.
		b.edit(func(c *router.Config) {
			row(c, row6)
			ftn(c, 1, 80, 3, row6)
			ftn(c, 2, 80, 4, row5)
		})
		time.Sleep(2 * time.Second)
		b.f.SetLink("p1-pe2", false)
		synctest.Wait()
		b.want("dynamic, its link just lost", b.lsp(row6), "down: signalling")
		if got := b.classes(); !slices.Equal(got, []string{"GigabitEthernet0/0/0/2 proto=6 dport=80 -> t5"}) {
			b.Error("classes while tunnel and default are signalled:", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		b.want("dynamic, later", b.lsp(row6), "pe1-p2 p2-pe2")
	})
}

func TestRowStates(t *testing.T) {
	bubble(t, func(b *bench) {
		set := func(f func(t *router.Tunnel)) string {
			b.edit(func(c *router.Config) {
				row(c, row5, "10.0.3.2", "10.0.4.2")
				t := c.Tunnels[row5]
				f(&t)
				c.Tunnels[row5] = t
			})
			b.settle()
			return b.lsp(row5)
		}
		b.want("admin down", set(func(t *router.Tunnel) { t.Admin = 2 }), "down: administratively down")
		b.want("active", set(func(*router.Tunnel) {}), "pe1-p2 p2-pe2")
		b.want("not in service", set(func(t *router.Tunnel) { t.Status = router.NotInService }), "none")
		b.want("no signalling", set(func(t *router.Tunnel) { t.Signalling = router.SignallingNone }), "down: no signalling protocol")
		b.want("no such path", set(func(t *router.Tunnel) { t.HopList = 99 }), "down: Explicit path  has no hops")
		b.want("no list", set(func(t *router.Tunnel) { t.HopList = 0 }), "pe1-p1 p1-pe2")
		b.edit(func(c *router.Config) { delete(c.Tunnels, row5) })
		b.settle()
		b.want("destroyed", b.lsp(row5), "none")
		if n := len(b.f.Paths()); n != 2 {
			b.Errorf("%d paths, want the defaults", n)
		}
	})
}

func TestFTNSemantics(t *testing.T) {
	bubble(t, func(b *bench) {
		b.edit(func(c *router.Config) {
			row(c, row5, "10.0.3.2", "10.0.4.2")
			ftn(c, 1, 81, 4, row5)
			ftn(c, 2, 82, 0, row5)   // not applied to an interface
			ftn(c, 3, 83, 3, row5)   //
			ftn(c, 4, 84, 3, row6)   // to a tunnel that is not there: default
			ftn(c, 5, 85, 3, row5)   // zeroDotZero: no action
			ftn(c, 6, 86, 3, row5)   // not in service
			ftn(c, 7, 87, 5, row5)   // on a core interface
			ftn(c, 8, 88, 3, row5)   // map row not in service
			ftn(c, 9, 89, 999, row5) // moved to ifIndex 0 below: any interface
			f := c.FTNs[5]
			f.Pointer = []uint32{0, 0}
			c.FTNs[5] = f
			f = c.FTNs[6]
			f.Status = router.NotInService
			c.FTNs[6] = f
			ms := c.Maps[3]
			ms[len(ms)-1].Status = router.NotInService
			c.Maps[0] = c.Maps[999]
			delete(c.Maps, 999)
		})
		b.settle()
		want := []string{
			"GigabitEthernet0/0/0/1 proto=6 dport=83 -> t5",
			"GigabitEthernet0/0/0/1 proto=6 dport=84 -> default_pe1_pe2",
			"GigabitEthernet0/0/0/2 proto=6 dport=81 -> t5",
			" proto=6 dport=89 -> t5",
		}
		if got := b.classes(); !slices.Equal(got, want) {
			b.Errorf("classes:\n%s", strings.Join(got, "\n"))
		}
		// Re-pointing changes where the class goes and nothing else of it.
		before := b.f.Ingress().Entries
		b.edit(func(c *router.Config) {
			f := c.FTNs[3]
			f.Pointer = append(slices.Clone(router.TunnelName), default2.Sub()...)
			c.FTNs[3] = f
		})
		b.settle()
		after := b.f.Ingress().Entries
		if after[0].ID != before[0].ID || after[0].FEC != before[0].FEC || after[0].Path == before[0].Path || !slices.Equal(after[1:], before[1:]) {
			b.Errorf("re-pointed: %v, was %v", after, before)
		}
	})
}

// Policy based tunnel selection: forward class and egress PE choose the tunnel.
func TestPBTS(t *testing.T) {
	bubble(t, func(b *bench) {
		dscp := func(d uint8) router.ClassMap { return router.ClassMap{DSCPs: []uint8{d}} }
		te := func(dest string, class uint8, path string) router.TunnelTE {
			t := router.NewTunnelTE()
			t.Unnumbered, t.Destination, t.Class = "Loopback0", netip.MustParseAddr(dest), class
			t.Options[10] = router.PathOption{Explicit: path}
			return t
		}
		b.edit(func(c *router.Config) {
			c.CLI.Paths["VIA2"] = router.ExplicitPath{10: {Addr: netip.MustParseAddr("10.0.3.2")}, 20: {Addr: netip.MustParseAddr("10.0.4.2")}}
			c.CLI.Paths["VIA3"] = router.ExplicitPath{10: {Addr: netip.MustParseAddr("10.0.5.2")}, 20: {Addr: netip.MustParseAddr("10.0.6.2")}}
			c.CLI.Tunnels[102] = te("10.255.0.2", 3, "VIA3")
			c.CLI.Tunnels[101] = te("10.255.0.2", 3, "VIA2")
			c.CLI.Tunnels[103] = te("10.255.0.3", 4, "")
			c.CLI.ClassMaps["A"] = router.ClassMap{ACLs: []router.ACLName{{Name: "L"}}}
			c.CLI.ACLs[router.ACLName{Name: "L"}] = router.ACL{
				20: {Protocol: 6, DstPort: 80}, 10: {Protocol: 17, Dst: netip.MustParsePrefix("10.2.0.0/24")}, 30: {Deny: true},
			}
			c.CLI.ClassMaps["B"] = dscp(10)
			c.CLI.PolicyMaps["P"] = router.PolicyMap{Classes: []router.PolicyClass{{Name: "A", Forward: 3}, {Name: "B", Forward: 4}}}
			c.CLI.Policies["GigabitEthernet0/0/0/2"] = "P"
		})
		b.settle()
		gi := "GigabitEthernet0/0/0/2"
		want := []string{
			gi + " dst=10.2.0.0/24 proto=17 -> pe1_t101", gi + " dst=10.2.0.0/24 proto=17 -> default_pe1_pe3",
			gi + " proto=6 dport=80 -> pe1_t101", gi + " proto=6 dport=80 -> default_pe1_pe3",
			gi + " dscp=10 -> default_pe1_pe2", gi + " dscp=10 -> pe1_t103",
		}
		if got := b.classes(); !slices.Equal(got, want) {
			b.Errorf("classes:\n%s", strings.Join(got, "\n"))
		}
		b.link("p2-pe2", false)
		if got := b.classes(); got[0] != gi+" dst=10.2.0.0/24 proto=17 -> pe1_t102" {
			b.Error("lowest is down, next one:", got[0])
		}
		b.link("p3-pe2", false)
		if got := b.classes(); got[0] != gi+" dst=10.2.0.0/24 proto=17 -> default_pe1_pe2" {
			b.Error("none is up:", got[0])
		}
		// Only tunnels that are announced to routing carry what nothing claims.
		b.link("p2-pe2", true)
		b.edit(func(c *router.Config) {
			d := c.CLI.Tunnels[1]
			d.Shutdown = true
			c.CLI.Tunnels[1] = d
			c.CLI.Tunnels[101] = te("10.255.0.2", 0, "VIA2")
		})
		b.settle()
		b.want("not announced", b.lsp(router.TunnelID{Index: 101, Egress: pe2}), "pe1-p2 p2-pe2")
		if d := b.f.Ingress().Defaults; len(d) != 1 || d["pe3"] == 0 {
			b.Error("defaults without the announced tunnel:", d)
		}
	})
}

// A process that is started again finds its LSPs and disturbs nothing.
func TestRestart(t *testing.T) {
	node := petest.Node(t)
	synctest.Test(t, func(t *testing.T) {
		f := petest.NewFabric()
		b := start(t, node, f)
		b.edit(func(c *router.Config) {
			row(c, row5, "10.0.3.2", "10.0.4.2")
			ftn(c, 1, 80, 3, row5)
			c.CLI.Paths["P"] = router.ExplicitPath{10: {Addr: netip.MustParseAddr("10.0.3.2"), Loose: true}}
			c.CLI.ACLs[router.ACLName{V6: true, Name: "six"}] = router.ACL{10: {Src: netip.MustParsePrefix("2001:db8::/64"), HasDSCP: true}}
			c.CLI.ClassMaps["C"] = router.ClassMap{ACLs: []router.ACLName{{V6: true, Name: "six"}}}
		})
		b.settle()
		b.link("p1-pe2", false)
		b.link("p1-pe2", true) // the default stays on its new path
		paths, ingress, config := f.Paths(), f.Ingress(), b.r.Config()
		snap, programs := b.r.Snapshot(), f.Programs()
		b.stop()

		b = start(t, node, f)
		if !equalJSON(t, f.Paths(), paths) || !equalJSON(t, f.Ingress(), ingress) {
			b.Errorf("data plane after restart: %v %v, was %v %v", f.Paths(), f.Ingress(), paths, ingress)
		}
		if !equalJSON(t, b.r.Config(), config) {
			b.Error("configuration changed over a restart")
		}
		if n := f.Programs(); n != programs {
			b.Errorf("the restart wrote %d times to the data plane", n-programs)
		}
		b.want("tunnel", b.lsp(row5), "pe1-p2 p2-pe2")
		b.want("default", b.lsp(default2), "pe1-p2 p2-pe2")
		was, is := snap.Find(row5), b.r.Snapshot().Find(row5)
		if is.LSPID != was.LSPID || !is.Since.Equal(was.Since) || is.Changes != was.Changes || !slices.Equal(is.Route, was.Route) {
			b.Errorf("LSP after restart %+v, was %+v", is, was)
		}
		// New numbers do not collide with old ones.
		b.edit(func(c *router.Config) { row(c, row6, "10.0.5.2", "10.0.6.2") })
		b.settle()
		b.want("new tunnel", b.lsp(row6), "pe1-p3 p3-pe2")
		b.stop()
	})
}

func equalJSON(t *testing.T, a, b any) bool {
	t.Helper()
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return string(x) == string(y)
}

func TestCommitConflict(t *testing.T) {
	bubble(t, func(b *bench) {
		base := b.r.Config()
		b.edit(func(c *router.Config) { row(c, row5) })
		if err := b.r.Commit(base, base.Clone()); !errors.Is(err, router.ErrConflict) {
			b.Error("a commit made for an old configuration:", err)
		}
	})
}

func TestStateFileBroken(t *testing.T) {
	node := petest.Node(t)
	if err := os.WriteFile(node.StateFile, []byte(`{"config": 5}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := router.New(node, petest.NewFabric(), router.Options{}); err == nil || !strings.Contains(err.Error(), node.StateFile) {
		t.Error("broken state file:", err)
	}
}

func TestFaultsAndEvents(t *testing.T) {
	node := petest.Node(t)
	died := 0
	r, err := router.New(node, petest.NewFabric(), router.Options{Die: func() { died++ }})
	if err != nil {
		t.Fatal(err)
	}
	fault := func(s string) {
		if err := os.WriteFile(node.FaultsFile, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if f := r.Faults(); f.RefuseFTN || f.RefuseTunnel {
		t.Error("faults without a file", f)
	}
	fault("refuse-ftn die-after-sets=2\n")
	if f := r.Faults(); !f.RefuseFTN || f.RefuseTunnel {
		t.Error("faults", f)
	}
	set := func(err error) {
		r.Faults()
		r.RecordSet([]string{"x = 1"}, err)
		r.MayDie()
	}
	set(nil)
	set(os.ErrPermission) // refused: does not count
	r.RecordLine("hostname x")
	r.MayDie()
	if died != 0 {
		t.Error("died after one SET")
	}
	set(nil)
	if died != 1 {
		t.Error("lives after two SETs")
	}
	if b, _ := os.ReadFile(node.FaultsFile); string(b) != "refuse-ftn" {
		t.Errorf("faults file after death: %q", b)
	}
	set(nil)
	set(nil)
	if died != 1 {
		t.Error("died twice")
	}
	es, err := router.ReadEvents(node.EventLog)
	if err != nil || len(es) != 6 {
		t.Fatal("events:", es, err)
	}
	if e := es[1]; e.Seq != 2 || e.Source != "snmp" || e.Kind != "set" || e.Error == "" || e.What[0] != "x = 1" {
		t.Errorf("event %+v", e)
	}
	if e := es[2]; e.Source != "cli" || e.Kind != "line" || e.Error != "" {
		t.Errorf("event %+v", e)
	}
}

func TestNextIndexes(t *testing.T) {
	c := router.NewConfig()
	if c.NextTunnel() != 1 || c.NextFTN() != 1 || c.NextHopList() != 1 || c.NextResource() != 1 {
		t.Error("first indexes are not 1")
	}
	c.Tunnels[router.TunnelID{Index: 7}] = router.Tunnel{}
	c.CLI.Tunnels[9] = router.TunnelTE{}
	if n := c.NextTunnel(); n != 10 {
		t.Error("next tunnel", n)
	}
	c.CLI.Tunnels[65535] = router.TunnelTE{}
	if n := c.NextTunnel(); n != 1 {
		t.Error("next tunnel behind the last", n)
	}
}
