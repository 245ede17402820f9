package controller

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"mpbox/apps/detector"
	"mpbox/apps/tunnelmanager"
	"mpbox/controller/store"
)

// What cannot be put back after a restart is forgotten, once and with a word: else
// it would be kept for ever.
func TestWhatIsNotRestoredIsForgotten(t *testing.T) {
	s, err := store.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	bound := func(token uint32, vpn string, host byte, established bool) tunnelmanager.Bound {
		cl := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, host}), 4000)
		sv := netip.MustParseAddrPort("10.2.0.1:80")
		c := tunnelmanager.Connection{ID: 1, Token: token, Version: 1, VPN: vpn, Since: time.Now(), Subflows: []tunnelmanager.Subflow{{
			ID: 1, Established: established, Since: time.Now(), Flows: [2]tunnelmanager.Flow{{Ingress: "plain", Src: cl, Dst: sv}, {Egress: "plain", Src: sv, Dst: cl}},
		}}}
		return tunnelmanager.Bound{Connection: c, Rides: map[string]string{vpn: "x"}}
	}
	none := bound(3, "red", 3, true)
	none.Subflows = nil
	kept := newState(s)
	if err := kept.Write(map[string]any{
		"bound/red/1/10.1.0.1:4000":     bound(1, "red", 1, true),
		"bound/removed/2/10.1.0.2:4000": bound(2, "removed", 2, true),
		"bound/red/3/invalid AddrPort":  none,
		"bound/red/4/10.9.9.9:9":        bound(4, "red", 4, true), // as a release before this one named it
		"bound/red/5/10.1.0.5:4000":     bound(5, "red", 5, true),
		"bound/red/6/10.1.0.6:4000":     bound(6, "red", 6, true),
	}); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	log := zap.New(core)
	m, err := tunnelmanager.New(tunnelmanager.Config{Owner: "mpbox/lab/"}, nil, nil, kept, log)
	if err != nil {
		t.Fatal(err)
	}
	p := testPlaces()
	f := &flows{places: p, manager: m, log: log, listed: map[detector.SubflowID]time.Time{},
		tap: &tap{tracker: detector.New(detector.Config{Places: p.list, MaxConnections: 3})}}
	was, err := m.Bound()
	if err != nil {
		t.Fatal(err)
	}
	f.restore(was)

	var keys []string
	if err := kept.Each("bound/", func(key string, _ func(any) error) error { keys = append(keys, key); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"bound/red/1/10.1.0.1:4000", "bound/red/4/10.1.0.4:4000", "bound/red/5/10.1.0.5:4000"}; !slices.Equal(keys, want) {
		t.Errorf("kept %v, want %v", keys, want)
	}
	told := logs.FilterMessageSnippet("not restored").All()
	if len(told) != 1 {
		t.Fatalf("told %v", told)
	}
	fields := told[0].ContextMap()
	if fields["connections"] != int64(3) || !strings.Contains(fields["why"].(string), "1 of a VPN that is not configured") ||
		!strings.Contains(fields["why"].(string), "1 with no subflow left") || !strings.Contains(fields["why"].(string), "1 for want of room") {
		t.Errorf("told %v", fields)
	}
}
