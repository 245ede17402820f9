package fabric

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mpbox/topology"
)

// testNode is pe1 of a square: pe1-p1-pe2 and pe1-p2-pe2.
func testNode() Node {
	router := func(name, id string, pe bool) Router {
		return Router{Name: name, RouterID: netip.MustParseAddr(id), PE: pe, Bridge: name, Mgmt: name}
	}
	end := func(node, dev string, port uint32) LinkEnd { return LinkEnd{Node: node, Netdev: dev, OFPort: port} }
	return Node{
		Name: "pe1", FabNamespace: "none",
		Nodes: []Router{router("pe1", "10.255.0.1", true), router("p1", "10.255.1.1", false), router("p2", "10.255.1.2", false), router("pe2", "10.255.0.2", true)},
		Links: []Link{
			{Name: "pe1-p1", A: end("pe1", "a", 101), B: end("p1", "b", 101)},
			{Name: "p1-pe2", A: end("p1", "c", 102), B: end("pe2", "d", 101)},
			{Name: "pe1-p2", A: end("pe1", "e", 102), B: end("p2", "f", 101)},
			{Name: "p2-pe2", A: end("p2", "g", 102), B: end("pe2", "h", 102)},
		},
		Attachments: []Attachment{{Name: "edge1-1", VPN: "red", Interface: "Gi1", OFPort: 1, MAC: "02:00:00:00:00:01"}},
		Routes: []Route{
			{VPN: "red", Prefix: netip.MustParsePrefix("10.1.0.0/24"), Egress: "pe1", Label: 1000, OFPort: 1, MAC: "02:00:00:00:00:01", HostMAC: "02:00:00:00:00:02"},
			{VPN: "red", Prefix: netip.MustParsePrefix("10.2.0.0/24"), Egress: "pe2", Label: 2000, OFPort: 1, MAC: "02:00:00:00:01:01", HostMAC: "02:00:00:00:01:02"},
			{VPN: "blue", Prefix: netip.MustParsePrefix("10.2.0.0/24"), Egress: "pe2", Label: 2001, OFPort: 2, MAC: "02:00:00:00:02:01", HostMAC: "02:00:00:00:02:02"},
		},
	}
}

// switches records what is written, and keeps nothing.
type switches struct {
	mu    sync.Mutex
	calls []string // "router: line"
	have  map[string][]string
	err   error
}

func (s *switches) write(_ context.Context, mgmt string, lines []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	for _, l := range lines {
		s.calls = append(s.calls, mgmt+": "+l)
	}
	return nil
}

func (s *switches) dump(_ context.Context, mgmt, _ string) ([]string, error) {
	return s.have[mgmt], nil
}

func (s *switches) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func newFabric(t *testing.T) (*Fabric, *switches) {
	t.Helper()
	f, err := New(testNode())
	if err != nil {
		t.Fatal(err)
	}
	s := &switches{have: map[string][]string{}}
	f.ofctl, f.dump = s.write, s.dump
	return f, s
}

var upper = Path{ID: 1, Hops: []Hop{{"pe1-p1", 20000}, {"p1-pe2", 20001}}}
var lower = Path{ID: 2, Hops: []Hop{{"pe1-p2", 20010}, {"p2-pe2", 20011}}}

func TestInstallPathWritesDownstreamFirst(t *testing.T) {
	f, s := newFabric(t)
	if err := f.InstallPath(t.Context(), upper); err != nil {
		t.Fatal(err)
	}
	calls := s.take()
	slices.Sort(calls[:2]) // transit and egress at once
	want := []string{
		"p1: add table=0,priority=20,in_port=101,mpls,mpls_label=20000,cookie=0x1020000000001,actions=set_field:20001->mpls_label,dec_mpls_ttl,output:102",
		"pe2: add table=0,priority=20,in_port=101,mpls,mpls_label=20001,mpls_bos=0,cookie=0x1020000000001,actions=pop_mpls:0x8847,goto_table:20",
		"pe1: add table=3,priority=10,reg2=1,ip,cookie=0x1020000000001,actions=push_mpls:0x8847,move:NXM_NX_REG0[0..19]->OXM_OF_MPLS_LABEL[0..19],push_mpls:0x8847,set_field:20000->mpls_label,output:101",
		"pe1: add table=3,priority=10,reg2=1,ipv6,cookie=0x1020000000001,actions=push_mpls:0x8847,move:NXM_NX_REG0[0..19]->OXM_OF_MPLS_LABEL[0..19],push_mpls:0x8847,set_field:20000->mpls_label,output:101",
	}
	if !slices.Equal(calls, want) {
		t.Errorf("wrote\n%s\nwant\n%s", strings.Join(calls, "\n"), strings.Join(want, "\n"))
	}
}

func TestPathChecks(t *testing.T) {
	for name, p := range map[string]Path{
		"no id":            {Hops: upper.Hops},
		"no hops":          {ID: 1},
		"starts elsewhere": {ID: 1, Hops: []Hop{{"p1-pe2", 20001}}},
		"jumps":            {ID: 1, Hops: []Hop{{"pe1-p1", 20000}, {"p2-pe2", 20001}}},
		"ends at a P":      {ID: 1, Hops: []Hop{{"pe1-p1", 20000}}},
		"returns":          {ID: 1, Hops: []Hop{{"pe1-p1", 20000}, {"pe1-p1", 20001}}},
		"reserved label":   {ID: 1, Hops: []Hop{{"pe1-p1", 3}, {"p1-pe2", 20001}}},
		"label too large":  {ID: 1, Hops: []Hop{{"pe1-p1", 1 << 20}, {"p1-pe2", 20001}}},
	} {
		f, s := newFabric(t)
		if err := f.InstallPath(t.Context(), p); !errors.Is(err, ErrPath) {
			t.Errorf("%s: error %v, want ErrPath", name, err)
		}
		if calls := s.take(); len(calls) > 0 {
			t.Errorf("%s: wrote %v", name, calls)
		}
	}
	f, _ := newFabric(t)
	if err := f.InstallPath(t.Context(), Path{ID: 1, Hops: []Hop{{"pe1-p9", 20000}}}); !errors.Is(err, ErrUnknownLink) {
		t.Errorf("unknown link: %v", err)
	}
	// The same path again repairs; another route under its id is refused.
	for range 2 {
		if err := f.InstallPath(t.Context(), upper); err != nil {
			t.Error(err)
		}
	}
	if err := f.InstallPath(t.Context(), Path{ID: 1, Hops: lower.Hops}); !errors.Is(err, ErrPath) {
		t.Errorf("another route under the same id: %v", err)
	}
}

func entry(id uint32, port uint16, path uint32) Entry {
	return Entry{ID: id, Path: path, FEC: topology.FEC{
		Interface: "Gi1", Src: netip.MustParsePrefix("10.1.0.1/32"), Dst: netip.MustParsePrefix("10.2.0.1/32"), Protocol: 6, SrcPort: port, DstPort: 80,
	}}
}

func TestSetIngressWritesOnlyWhatChanges(t *testing.T) {
	f, s := newFabric(t)
	for _, p := range []Path{upper, lower} {
		if err := f.InstallPath(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	s.take()
	set := func(in Ingress, want ...string) {
		t.Helper()
		if err := f.SetIngress(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		calls := s.take()
		slices.Sort(calls)
		slices.Sort(want)
		if !slices.Equal(calls, want) {
			t.Errorf("wrote\n%s\nwant\n%s", strings.Join(calls, "\n"), strings.Join(want, "\n"))
		}
	}
	match := func(priority, port string) string {
		return "table=2,priority=" + priority + ",reg1=4,in_port=1,ip,nw_proto=6,nw_src=10.1.0.1/32,nw_dst=10.2.0.1/32,tcp_src=" + port + ",tcp_dst=80"
	}
	defaults := map[string]uint32{"pe2": 1}
	set(Ingress{Defaults: defaults}, "pe1: add table=2,priority=1,reg1=4,cookie=0x1040000000001,actions=set_field:1->reg2,goto_table:3")
	// Appended entries come behind, and leave those before alone.
	set(Ingress{Entries: []Entry{entry(7, 1000, 2)}, Defaults: defaults},
		"pe1: add "+match("60000", "1000")+",cookie=0x1030000000007,actions=set_field:2->reg2,goto_table:3")
	set(Ingress{Entries: []Entry{entry(7, 1000, 2), entry(8, 1001, 2)}, Defaults: defaults},
		"pe1: add "+match("59999", "1001")+",cookie=0x1030000000008,actions=set_field:2->reg2,goto_table:3")
	// Re-pointing replaces the flow, it is never away.
	set(Ingress{Entries: []Entry{entry(7, 1000, 1), entry(8, 1001, 2)}, Defaults: defaults},
		"pe1: add "+match("60000", "1000")+",cookie=0x1030000000007,actions=set_field:1->reg2,goto_table:3")
	// Removing the first leaves the second where it is.
	set(Ingress{Entries: []Entry{entry(8, 1001, 2)}, Defaults: defaults}, "pe1: delete_strict "+match("60000", "1000"))
	set(Ingress{Entries: []Entry{entry(8, 1001, 2)}, Defaults: defaults})
	// A new first one renumbers.
	set(Ingress{Entries: []Entry{entry(9, 1002, 2), entry(8, 1001, 2)}, Defaults: defaults},
		"pe1: add "+match("60000", "1002")+",cookie=0x1030000000009,actions=set_field:2->reg2,goto_table:3")
	set(Ingress{Defaults: defaults}, "pe1: delete_strict "+match("60000", "1002"), "pe1: delete_strict "+match("59999", "1001"))
}

func TestSetIngressRefuses(t *testing.T) {
	f, s := newFabric(t)
	if err := f.InstallPath(t.Context(), upper); err != nil {
		t.Fatal(err)
	}
	s.take()
	bad := entry(1, 1000, 1)
	bad.FEC.Protocol = 0
	foreign := entry(1, 1000, 1)
	foreign.FEC.Interface = "Gi9"
	mixed := entry(1, 1000, 1)
	mixed.FEC.Src = netip.MustParsePrefix("fd00::1/128")
	for name, in := range map[string]Ingress{
		"path is not there":    {Entries: []Entry{entry(1, 1000, 2)}},
		"default is not there": {Defaults: map[string]uint32{"pe2": 9}},
		"default to elsewhere": {Defaults: map[string]uint32{"p1": 1}},
		"id twice":             {Entries: []Entry{entry(1, 1000, 1), entry(1, 1001, 1)}},
		"id 0":                 {Entries: []Entry{entry(0, 1000, 1)}},
		"ports of no protocol": {Entries: []Entry{bad}},
		"unknown interface":    {Entries: []Entry{foreign}},
		"two families":         {Entries: []Entry{mixed}},
	} {
		if err := f.SetIngress(t.Context(), in); err == nil {
			t.Errorf("%s: no error", name)
		}
		if calls := s.take(); len(calls) > 0 {
			t.Errorf("%s: wrote %v", name, calls)
		}
	}
}

func TestFECMatches(t *testing.T) {
	f, _ := newFabric(t)
	for _, c := range []struct {
		fec  topology.FEC
		want []string
	}{
		{topology.FEC{Interface: "Gi1", DSCP: 10, HasDSCP: true}, []string{"in_port=1,ip,ip_dscp=10", "in_port=1,ipv6,ip_dscp=10"}},
		{topology.FEC{HasDSCP: true, Dst: netip.MustParsePrefix("10.2.0.0/24")}, []string{"ip,nw_dst=10.2.0.0/24,ip_dscp=0"}},
		{topology.FEC{Protocol: 17, Src: netip.MustParsePrefix("fd00::1/128"), DstPort: 53}, []string{"ipv6,nw_proto=17,ipv6_src=fd00::1/128,udp_dst=53"}},
		{topology.FEC{}, []string{"ip", "ipv6"}},
	} {
		if got := f.fecMatches(Entry{FEC: c.fec}); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.fec, got, c.want)
		}
	}
}

func TestStartWritesAllAndSweepsOwn(t *testing.T) {
	f, s := newFabric(t)
	s.have["p1"] = []string{
		" cookie=0x1020000000001, duration=1s, table=0, …",  // path 1: wanted
		" cookie=0x1020000000005, duration=1s, table=0, …",  // path 5: stale
		" cookie=0x1020000000005, duration=1s, table=20, …", // the same
	}
	s.have["pe1"] = []string{" cookie=0x1030000000003, table=2, …", " cookie=0x1040000000001, table=2, …", " cookie=0x1010000000000, table=1, …", "NXST_FLOW reply"}
	if err := f.Start(t.Context(), []Path{upper}, Ingress{Defaults: map[string]uint32{"pe2": 1}}); err != nil {
		t.Fatal(err)
	}
	var deletes []string
	calls := s.take()
	for _, c := range calls {
		if strings.Contains(c, "delete") {
			deletes = append(deletes, c)
		}
	}
	want := []string{"pe1: delete cookie=0x1000000000000/0xffff000000000000,table=2", "p1: delete cookie=0x1020000000005/-1"}
	if !slices.Equal(deletes, want) {
		t.Errorf("deletes %v, want %v", deletes, want)
	}
	all := strings.Join(calls, "\n")
	for _, flow := range []string{
		// The route of the attachment's VPN only, by its own label.
		"pe1: add table=1,priority=124,in_port=1,ip,nw_dst=10.2.0.0/24,cookie=0x1010000000000,actions=dec_ttl,set_field:0x7d0->reg0,set_field:4->reg1,goto_table:2",
		"pe1: add table=20,priority=10,mpls,mpls_label=1000,mpls_bos=1,cookie=0x1010000000000,actions=pop_mpls:0x0800,set_field:02:00:00:00:00:01->eth_src,set_field:02:00:00:00:00:02->eth_dst,output:1",
	} {
		if !strings.Contains(all, flow) {
			t.Errorf("no flow %s in\n%s", flow, all)
		}
	}
	if strings.Contains(all, "0x7d1") {
		t.Errorf("the route of another VPN is in\n%s", all)
	}
	// What is delivered elsewhere is not this PE's to pop.
	if strings.Contains(all, "mpls_label=2000,") {
		t.Errorf("pops another PE's VPN label:\n%s", all)
	}
}

func TestRemovePathDrains(t *testing.T) {
	defer goleak.VerifyNone(t)
	synctest.Test(t, func(t *testing.T) {
		f, s := newFabric(t)
		if err := f.InstallPath(t.Context(), upper); err != nil {
			t.Fatal(err)
		}
		s.take()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.finishRemovals(ctx); close(done) }()
		if err := f.RemovePath(ctx, 1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, want := s.take(), []string{"pe1: delete cookie=0x1020000000001/-1,table=3"}; !slices.Equal(got, want) {
			t.Errorf("at once: %v, want %v", got, want)
		}
		time.Sleep(drain - time.Millisecond)
		synctest.Wait()
		if got := s.take(); len(got) > 0 {
			t.Errorf("too early: %v", got)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		want := []string{"pe1: delete cookie=0x1020000000001/-1", "p1: delete cookie=0x1020000000001/-1", "pe2: delete cookie=0x1020000000001/-1"}
		if got := s.take(); !slices.Equal(got, want) {
			t.Errorf("then: %v, want %v", got, want)
		}
		// Installed again while it drains: it stays.
		for _, step := range []error{f.InstallPath(ctx, upper), f.RemovePath(ctx, 1), f.InstallPath(ctx, upper)} {
			if step != nil {
				t.Fatal(step)
			}
		}
		s.take()
		time.Sleep(2 * drain)
		synctest.Wait()
		if got := s.take(); len(got) > 0 {
			t.Errorf("a path in use was removed: %v", got)
		}
		if err := f.RemovePath(ctx, 77); err != nil {
			t.Errorf("unknown path: %v", err)
		}
		cancel()
		<-done
	})
}

func TestFailedWriteChangesNothing(t *testing.T) {
	f, s := newFabric(t)
	s.err = errors.New("switch is away")
	if err := f.InstallPath(t.Context(), upper); !errors.Is(err, s.err) {
		t.Errorf("install: %v", err)
	}
	if len(f.Paths()) != 0 {
		t.Error("a path that was not written counts as installed")
	}
}

func TestCounters(t *testing.T) {
	f, s := newFabric(t)
	s.have["pe1"] = []string{
		" cookie=0x1020000000001, duration=1.0s, table=3, n_packets=5, n_bytes=500, idle_age=0, priority=10,ip,reg2=0x1 actions=…",
		" cookie=0x1020000000001, duration=1.0s, table=3, n_packets=2, n_bytes=200, idle_age=0, priority=10,ipv6,reg2=0x1 actions=…",
		" cookie=0x1020000000002, duration=1.0s, table=0, n_packets=9, n_bytes=900, priority=20,mpls actions=…",
		" cookie=0x1030000000007, duration=1.0s, table=2, n_packets=3, n_bytes=300, priority=60000 actions=…",
		" cookie=0x1010000000000, duration=1.0s, table=1, n_packets=8, n_bytes=800, priority=124 actions=…",
	}
	c, err := f.Counters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Paths) != 1 || c.Paths[1] != (Counter{7, 700}) || len(c.Entries) != 1 || c.Entries[7] != (Counter{3, 300}) {
		t.Errorf("counters %+v", c)
	}
}

func TestNoteLinks(t *testing.T) {
	f, _ := newFabric(t)
	up := map[string]bool{"a": true, "b": true, "c": true, "d": true}
	f.noteLinks(up)
	select {
	case <-f.Changed():
		t.Error("changed without a change")
	default:
	}
	up["d"] = false // one end is enough
	f.noteLinks(up)
	select {
	case <-f.Changed():
	default:
		t.Error("not told of a link that went down")
	}
	if f.LinkUp("p1-pe2") || !f.LinkUp("pe1-p1") {
		t.Error("link states are wrong")
	}
}
