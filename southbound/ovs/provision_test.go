package ovs

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func right() State {
	return State{VLANLimit: "2", Bridges: map[string]BridgeState{"br0": {
		FailMode:    "secure",
		OtherConfig: map[string]string{"datapath-id": "0000000000000001", "disable-in-band": "true", "controller-queue-size": "512", "hwaddr": "02:00:00:00:00:01"},
		ExternalIDs: map[string]string{"mpbox-pairs": "1-2"}, DPID: "0000000000000001",
		Protocols:   []string{"OpenFlow10", "OpenFlow13"},
		Controllers: []ControllerState{{Target: "tcp:127.0.0.1:6653", Mode: "out-of-band"}},
		Ports:       map[string]PortState{"ce": {Number: 1}, "pe": {Number: 2}},
	}}}
}

func spec() Spec {
	return Spec{Name: "br0", DPID: 1, Controller: "tcp:127.0.0.1:6653", Pairs: []Pair{{A: 1, B: 2}}}
}

// Each row spoils one thing: exactly that is put right.
func TestChanges(t *testing.T) {
	edit := func(fn func(*BridgeState)) func(*State) {
		return func(s *State) {
			b := s.Bridges["br0"]
			fn(&b)
			s.Bridges["br0"] = b
		}
	}
	for name, tc := range map[string]struct {
		spoil func(*State)
		spec  func(*Spec)
		want  []string
	}{
		"right":            {},
		"no limit of tags": {spoil: func(s *State) { s.VLANLimit = "0" }},
		"default tags":     {spoil: func(s *State) { s.VLANLimit = "" }, want: []string{"Open_vSwitch: other_config:vlan-limit=2"}},
		"floods":           {spoil: edit(func(b *BridgeState) { b.FailMode = "" }), want: []string{"br0: fail mode secure"}},
		"short queue":      {spoil: edit(func(b *BridgeState) { delete(b.OtherConfig, "controller-queue-size") }), want: []string{"br0: other_config:controller-queue-size=512"}},
		"in band":          {spoil: edit(func(b *BridgeState) { delete(b.OtherConfig, "disable-in-band") }), want: []string{"br0: other_config:disable-in-band=true"}},
		"dpid":             {spec: func(s *Spec) { s.DPID = 0xab }, want: []string{"br0: other_config:datapath-id=00000000000000ab"}},
		"pairs":            {spec: func(s *Spec) { s.Pairs = append(s.Pairs, Pair{1, 3, 7}) }, want: []string{"br0: external_ids:mpbox-pairs=1-2,1-3/7"}},
		"all protocols":    {spoil: edit(func(b *BridgeState) { b.Protocols = nil })},
		"old protocols":    {spoil: edit(func(b *BridgeState) { b.Protocols = []string{"OpenFlow10"} }), want: []string{"br0: protocols OpenFlow10,OpenFlow13"}},
		"no controller": {spoil: edit(func(b *BridgeState) { b.Controllers = nil }),
			want: []string{"br0: controller tcp:127.0.0.1:6653", "br0: controller out of band"}},
		"controller's mode": {spoil: edit(func(b *BridgeState) { b.Controllers[0].Mode = "" }), want: []string{"br0: controller out of band"}},
		"interfaces there":  {spec: func(s *Spec) { s.Interfaces = map[uint32]string{1: "ce", 2: "pe"} }},
		"interface missing": {spec: func(s *Spec) { s.Interfaces = map[uint32]string{1: "ce", 3: "new"} },
			want: []string{"br0: add port new", "br0: port new is number 3"}},
		"other number": {spec: func(s *Spec) { s.Interfaces = map[uint32]string{2: "ce"} }, want: []string{"br0: port ce is number 2"}},
		"no bridge": {spoil: func(s *State) { delete(s.Bridges, "br0") }, spec: func(s *Spec) { s.DatapathType = "netdev" }, want: []string{
			"create bridge br0", "br0: other_config:datapath-id=0000000000000001",
			"br0: other_config:disable-in-band=true", "br0: other_config:controller-queue-size=512", "br0: external_ids:mpbox-pairs=1-2",
			"br0: controller tcp:127.0.0.1:6653", "br0: controller out of band"}},
	} {
		t.Run(name, func(t *testing.T) {
			now, s := right(), spec()
			if tc.spoil != nil {
				tc.spoil(&now)
			}
			if tc.spec != nil {
				tc.spec(&s)
			}
			changes, err := Changes(s, now)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range changes {
				got = append(got, c.What)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestChangesRefusesForeign(t *testing.T) {
	for name, spoil := range map[string]func(*BridgeState){
		"port":       func(b *BridgeState) { b.Ports["storage"] = PortState{Number: 9} },
		"controller": func(b *BridgeState) { b.Controllers[0].Target = "tcp:192.0.2.1:6653" },
	} {
		t.Run(name, func(t *testing.T) {
			now := right()
			b := now.Bridges["br0"]
			spoil(&b)
			now.Bridges["br0"] = b
			_, err := Changes(spec(), now)
			if !errors.Is(err, ErrForeign) {
				t.Fatalf("error %v, want ErrForeign", err)
			}
			if name == "controller" && !strings.HasSuffix(err.Error(), "ovs-vsctl set-controller br0 tcp:127.0.0.1:6653") {
				t.Errorf("%q does not say what to do", err)
			}
			if name == "port" && !strings.Contains(err.Error(), "storage (9)") {
				t.Errorf("%q does not name the port", err)
			}
		})
	}
}

func TestPairs(t *testing.T) {
	pairs := []Pair{{1, 2, 0}, {3, 4, 100}}
	text := FormatPairs(pairs)
	if text != "1-2,3-4/100" {
		t.Errorf("FormatPairs: %q", text)
	}
	if got, err := ParsePairs(text); err != nil || !slices.Equal(got, pairs) {
		t.Errorf("ParsePairs(%q) = %v, %v", text, got, err)
	}
	for _, bad := range []string{"", "1", "1-", "-2", "1-1", "0-2", "1-2,", "1-2/0", "1-2/4095", "1-2/x", "1-70000", "65280-1", "a-b"} {
		if got, err := ParsePairs(bad); err == nil {
			t.Errorf("ParsePairs(%q) = %v, want an error", bad, got)
		}
	}
}
