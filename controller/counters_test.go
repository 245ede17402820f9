package controller

import (
	"net/netip"
	"testing"
	"time"

	"mpbox/apps/detector"
	"mpbox/apps/tunnelmanager"
	"mpbox/southbound/datapath"
)

// The bytes of a flow, over a rule that is replaced, lost with its bridge, withdrawn,
// and declared again.
func TestBytesOfAFlowAreCountedOnce(t *testing.T) {
	var c counters
	flow := tunnelmanager.Flow{Ingress: "plain", Src: netip.MustParseAddrPort("10.1.0.1:4000"), Dst: netip.MustParseAddrPort("10.2.0.1:80")}
	rule := flow.CountRule()
	id, now := rule.ID, time.Now()
	restore := tunnelmanager.EdgeRule{ID: 7, FromPE: true}
	read := func(bytes map[uint64]uint64) map[uint64]uint64 { c.reading(); return c.read(bytes, now) }
	want := func(what string, all, unheard uint64) {
		t.Helper()
		if a, u := c.of(id); a != all || u != unheard {
			t.Errorf("%s: %d bytes, %d not heard of; want %d, %d", what, a, u, all, unheard)
		}
	}
	if _, ok := c.end(id, 5); ok || len(read(map[uint64]uint64{id: 9})) > 0 {
		t.Error("counted a flow that nobody declared")
	}
	c.declare([]tunnelmanager.EdgeRule{rule, restore}, now)
	if got := read(map[uint64]uint64{id: 100, 7: 100}); len(got) != 1 || got[id] != 100 {
		t.Errorf("read %v", got)
	}
	rule.Mark, rule.DSCP = true, 11
	c.declare([]tunnelmanager.EdgeRule{rule, restore}, now)
	read(map[uint64]uint64{id: 150})
	want("replaced in place", 150, 150)
	read(nil)
	want("the bridge does not answer", 150, 150)
	read(map[uint64]uint64{id: 20})
	want("the bridge came back empty", 170, 170)
	c.declare(nil, now)
	want("withdrawn", 170, 170)
	c.reading()
	if r, ok := c.end(id, 30); !ok || r != rule {
		t.Errorf("end of %v", r)
	}
	c.read(map[uint64]uint64{id: 25}, now)
	want("ended while it was read", 180, 150)
	c.declare([]tunnelmanager.EdgeRule{rule}, now)
	now = now.Add(2 * keepCounted)
	read(map[uint64]uint64{id: 4})
	want("declared again", 184, 154)
	c.declare(nil, now)
	now = now.Add(keepCounted)
	read(nil)
	want("long withdrawn", 0, 0)
}

// A connection's bytes, live and after its close, when the rules are withdrawn first and
// their ends are heard then.
func TestBytesOfAConnection(t *testing.T) {
	p := testPlaces()
	tr := detector.New(detector.Config{Places: p.list})
	f := &flows{places: p, tap: &tap{tracker: tr, news: make(chan struct{}, 1)}}
	ce, pe := p.placeOf("plain", detector.CE), p.placeOf("plain", detector.PE)
	client, server := netip.MustParseAddrPort("10.1.0.1:4000"), netip.MustParseAddrPort("10.3.0.1:80")
	id := tr.Restore(detector.Connection{Token: 1, Version: 1, Scope: "red", Client: client, Server: server, Created: time.Now().UnixNano(),
		Subflows: []detector.Subflow{{Client: client, Server: server, State: detector.Established,
			ToServer: detector.Path{Ingress: ce, Egress: detector.NoPlace}, ToClient: detector.Path{Ingress: detector.NoPlace, Egress: pe}}}})
	r := &flowReader{flows: f, tap: f.tap, manager: newManager(t)}
	want := func(what string, bytes uint64) {
		t.Helper()
		c, ok := tr.Connection(id)
		if v := r.connection(r.manager.View(), &c); !ok || v.Bytes != bytes || v.Subflows[0].Flows.C2S.Bytes != bytes || v.Subflows[0].Flows.S2C.Bytes != 0 {
			t.Errorf("%s: %d bytes of the connection, %+v; want %d", what, v.Bytes, v.Subflows[0].Flows, bytes)
		}
	}
	rule := tunnelmanager.Flow{Ingress: "plain", Src: client, Dst: server}.CountRule()
	f.counters.declare([]tunnelmanager.EdgeRule{rule}, time.Now())
	f.counters.reading()
	f.counters.read(map[uint64]uint64{rule.ID: 1000}, time.Now())
	want("live", 1000)
	f.counters.declare(nil, time.Now())
	f.ruleEnded(1, datapath.End{ID: rule.ID, Reason: datapath.EndDeleted, Bytes: 1200})
	want("withdrawn", 1200)
}
