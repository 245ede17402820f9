package datapath

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/netrack/openflow/ofp"

	"mpbox/internal/itest"
	"mpbox/southbound/openflow"
)

// The messages about flows, meters and ports, as they are on the wire. says is how
// ovs-ofctl prints them.
var golden = map[string]struct {
	m    openflow.Message
	flow *Flow
	hex  string
	says string
}{
	"tap": {flow: &Flow{Table: TableTap, Priority: 300, Cookie: cookie(kindInfra, 1, 0),
		Match:   Match{InPort: 1, VLAN: vlanPresent | 100, EtherType: etherIPv4, Proto: protoTCP, Flags: FlagSYN, FlagMask: FlagSYN},
		Actions: Actions{Punt: true, MaxLen: 256, Meter: 0x6d00, Goto: TableSteer}},
		hex: `04 0e 0088 00000000    # FLOW_MOD
			6d70010100000000 0000000000000000  # cookie, mask
			00 00 0000 0000 012c   # table 0, add, no time-outs, priority 300
			ffffffff ffffffff ffffffff 0000 0000
			0001 0025              # match, 37 bytes
			80000004 00000001      # in_port 1
			80000a02 0800          # eth_type
			80000c02 1064          # vlan_vid 0x1000|100
			80001401 06            # ip_proto
			00014504 0002 0002     # NXM tcp_flags SYN/SYN
			000000                 # padding to 40
			0004 0028 00000000     # apply actions
			ffff 0020 00002320 0025 000000000000  # controller2
			0000 0006 0100 0000    # max_len 256
			0005 0008 00006d00     # meter
			0001 0008 01 000000    # goto 1`,
		says: "ADD priority=300,tcp,in_port=1,dl_vlan=100,tcp_flags=+syn cookie:0x6d70010100000000 actions=controller(max_len=256,meter_id=27904),goto_table:1"},
	"tap without a meter": {flow: &Flow{Table: TableTap, Priority: 299,
		Match:   Match{InPort: 1, EtherType: etherIPv6, Proto: protoTCP, Flags: FlagFIN, FlagMask: FlagFIN},
		Actions: Actions{Punt: true, MaxLen: 128, Goto: TableSteer}},
		hex: `04 0e 0070 00000000
			0000000000000000 0000000000000000
			00 00 0000 0000 012b ffffffff ffffffff ffffffff 0000 0000
			0001 001f 80000004 00000001 80000a02 86dd 80001401 06 00014504 0001 0001 00
			0004 0018 00000000
			0000 0010 fffffffd 0080 000000000000   # output: controller
			0001 0008 01 000000`,
		says: "priority=299,tcp6,in_port=1,tcp_flags=+fin actions=CONTROLLER:128,goto_table:1"},
	"edge rule": {flow: &Flow{Table: TableSteer, Priority: prioEdge, Cookie: cookie(kindEdge, 2, 7), Idle: time.Minute, Notify: true,
		Match: Match{InPort: 1, EtherType: etherIPv4, Proto: protoTCP,
			Src: netip.MustParseAddrPort("10.1.0.1:40000"), Dst: netip.MustParseAddrPort("10.2.0.1:80")},
		Actions: Actions{SetDSCP: true, DSCP: 10, Goto: TableForward}},
		hex: `04 0e 0088 00000000
			6d70020200000007 0000000000000000
			01 00 003c 0000 03e8 ffffffff ffffffff ffffffff 0001 0000  # idle 60 s, tell when removed
			0001 0033              # match, 51 bytes
			80000004 00000001 80000a02 0800 80001401 06
			80001604 0a010001      # ipv4_src
			80001a02 9c40          # tcp_src
			80001804 0a020001      # ipv4_dst
			80001c02 0050          # tcp_dst
			0000000000             # padding to 56
			0004 0018 00000000
			0019 0010 80001001 0a 000000 00000000   # set_field ip_dscp 10
			0001 0008 02 000000`,
		says: "table:1 priority=1000,tcp,in_port=1,nw_src=10.1.0.1,nw_dst=10.2.0.1,tp_src=40000,tp_dst=80 cookie:0x6d70020200000007 idle:60 send_flow_rem actions=set_field:10->ip_dscp,goto_table:2"},
	"edge rule, IPv6": {flow: &Flow{Table: TableSteer, Priority: prioEdge, Cookie: cookie(kindEdge, 2, 8), Notify: true,
		Match: Match{InPort: 2, EtherType: etherIPv6, Proto: protoTCP,
			Src: netip.MustParseAddrPort("[2001:db8::1]:1"), Dst: netip.MustParseAddrPort("[2001:db8::2]:2")},
		Actions: Actions{Goto: TableForward}},
		hex: `04 0e 0088 00000000
			6d70020200000008 0000000000000000
			01 00 0000 0000 03e8 ffffffff ffffffff ffffffff 0001 0000
			0001 004b
			80000004 00000002 80000a02 86dd 80001401 06
			80003410 20010db8000000000000000000000001 80001a02 0001
			80003610 20010db8000000000000000000000002 80001c02 0002
			0000000000
			0001 0008 02 000000`,
		says: "ipv6_src=2001:db8::1,ipv6_dst=2001:db8::2,tp_src=1,tp_dst=2"},
	"pair": {flow: &Flow{Table: TableForward, Priority: prioPair, Match: Match{InPort: 1}, Actions: Actions{Output: 2}},
		hex: `04 0e 0058 00000000
			0000000000000000 0000000000000000
			02 00 0000 0000 000a ffffffff ffffffff ffffffff 0000 0000
			0001 000c 80000004 00000001 00000000
			0004 0018 00000000 0000 0010 00000002 0000 000000000000`,
		says: "table:2 priority=10,in_port=1 actions=output:2"},
	"conntrack, SYN": {flow: &Flow{Table: TableTap, Priority: 300, Match: Match{EtherType: etherIPv4, Proto: protoTCP},
		Actions: Actions{Track: trackCommit, Zone: 9, Goto: 1}},
		hex: `04 0e 0068 00000000
			0000000000000000 0000000000000000
			00 00 0000 0000 012c ffffffff ffffffff ffffffff 0000 0000
			0001 000f 80000a02 0800 80001401 06 00
			0004 0020 00000000
			ffff 0018 00002320 0023 0001   # ct, commit
			00000000 0009 ff 000000 0000   # zone 9, go on here, no ALG
			0001 0008 01 000000`,
		says: "ct(commit,zone=9),goto_table:1"},
	"conntrack, look": {flow: &Flow{Table: TableTap, Priority: 100, Match: Match{EtherType: etherIPv4, Proto: protoTCP, Unfragmented: true},
		Actions: Actions{Track: trackLook, Zone: 9}},
		hex: `04 0e 0068 00000000
			0000000000000000 0000000000000000
			00 00 0000 0000 0064 ffffffff ffffffff ffffffff 0000 0000
			0001 0015 80000a02 0800 80001401 06 00013502 00 03   # NXM ip_frag 0/3
			000000
			0004 0020 00000000
			ffff 0018 00002320 0023 0000 00000000 0009 03 000000 0000`,
		says: "tcp,nw_frag=no actions=ct(table=3,zone=9)"},
	"conntrack, first of an established": {flow: &Flow{Table: tableTracked, Priority: 100,
		Match:   Match{EtherType: etherIPv4, Proto: protoTCP, CT: ctFreshlyEstablished},
		Actions: Actions{Track: trackMark, Zone: 9, Goto: 1}},
		hex: `04 0e 0098 00000000
			0000000000000000 0000000000000000
			03 00 0000 0000 0064 ffffffff ffffffff ffffffff 0000 0000
			0001 0023 80000a02 0800 80001401 06
			0001d308 00000022 0000003b   # ct_state +est+trk-new-rpl-inv
			0001d604 00000000            # ct_mark 0
			0000000000
			0004 0040 00000000
			ffff 0028 00002320 0023 0001 00000000 0009 ff 000000 0000
			0019 0010 0001d604 00000001 00000000   # set_field ct_mark 1
			ffff 0010 00002320 000e fff8 01 000000 # resubmit to table 1: gotos go forward`,
		says: "ct_state=-new+est-rpl-inv+trk,ct_mark=0,tcp actions=ct(commit,zone=9,exec(set_field:0x1->ct_mark)),resubmit(,1)"},
	"delete by cookie": {m: deleteCookies(cookie(kindInfra, 3, 0), genMask, ""),
		hex: `04 0e 0038 00000000
			6d70010300000000 ffffffff00000000
			ff 03 0000 0000 0000 ffffffff ffffffff ffffffff 0000 0000
			0001 0004 00000000`,
		says: "DEL table:255 priority=0 cookie:0x6d70010300000000/0xffffffff00000000"},
	"delete a flow": {m: deleteFlow(&Flow{Table: 1, Priority: 5, Cookie: 6, Match: Match{InPort: 7}}, FlagsNXM),
		hex: `04 0e 0040 00000000
			0000000000000006 ffffffffffffffff
			01 04 0000 0000 0005 ffffffff ffffffff ffffffff 0000 0000
			0001 000c 80000004 00000007 00000000`,
		says: "DEL_STRICT table:1 priority=5,in_port=7 cookie:0x6/0xffffffffffffffff"},
	"remove expectation": {m: removeExpectation(cookie(kindExpect, 1, 0x99)),
		hex: `04 0e 0038 00000000
			6d70030100000099 ffffffffffffffff
			00 03 0000 0000 0000 ffffffff ffffffff ffffffff 0000 0000
			0001 0004 00000000`,
		says: "DEL priority=0 cookie:0x6d70030100000099/0xffffffffffffffff"},
	"add meter": {m: setMeter(Meter{0x6d00, 5000}, false),
		hex: `04 1d 0020 00000000 0000 000a 00006d00   # add, packets/s, stats
			0001 0010 00001388 00000000 00000000       # drop above 5000`,
		says: "ADD meter=27904 pktps stats bands="},
	"change meter": {m: setMeter(Meter{controllerMeter, 1}, true),
		hex: `04 1d 0020 00000000 0001 000a fffffffe
			0001 0010 00000001 00000000 00000000`,
		says: "MOD meter=controller pktps stats bands="},
	"delete meter": {m: deleteMeter(0x6d01), hex: `04 1d 0010 00000000 0002 0000 00006d01`, says: "DEL meter=27905"},
	"port off": {m: setPort(portChange{openflow.Port{No: 2, Addr: macB}, true}),
		hex: `04 10 0028 00000000 00000002 00000000 020000000002 0000
			00000001 00000001 00000000 00000000`,
		says: "port: 2: addr:02:00:00:00:00:02\n     config: PORT_DOWN\n     mask:   PORT_DOWN"},
	"port on": {m: setPort(portChange{openflow.Port{No: 2, Addr: macB}, false}),
		hex: `04 10 0028 00000000 00000002 00000000 020000000002 0000
			00000000 00000001 00000000 00000000`,
		says: "config: 0\n     mask:   PORT_DOWN"},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// statOf turns a FLOW_MOD into what a switch would report of the flow.
func statOf(t testing.TB, mod []byte) openflow.FlowStat {
	t.Helper()
	b := mod[8:]
	be := binary.BigEndian
	s := openflow.FlowStat{Cookie: be.Uint64(b), Table: b[16], Idle: time.Duration(be.Uint16(b[18:])) * time.Second,
		Hard: time.Duration(be.Uint16(b[20:])) * time.Second, Priority: be.Uint16(b[22:]), Flags: ofp.FlowModFlag(be.Uint16(b[36:]))}
	n := (int(be.Uint16(b[42:])) + 7) &^ 7
	if _, err := s.Match.ReadFrom(bytes.NewReader(b[40 : 40+n])); err != nil {
		t.Fatal(err)
	}
	s.Instructions = b[40+n:]
	return s
}

func TestGolden(t *testing.T) {
	for name, tc := range golden {
		t.Run(name, func(t *testing.T) {
			if tc.flow != nil {
				tc.m = addFlow(tc.flow, FlagsNXM)
			}
			want := unhex(t, tc.hex)
			got, err := openflow.AppendMessage(nil, 0, tc.m)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v\n got %x\nwant %x", err, got, want)
			}
			if tc.flow == nil {
				return
			}
			if back := parseFlow(statOf(t, want)); back != *tc.flow {
				t.Errorf("read back %+v\nwant %+v", back, *tc.flow)
			}
		})
	}
}

// TestIntegrationOfpPrint has Open vSwitch read the golden bytes.
func TestIntegrationOfpPrint(t *testing.T) {
	itest.Need(t, "ovs-ofctl")
	for name, tc := range golden {
		out, err := exec.Command("ovs-ofctl", "ofp-print", hex.EncodeToString(unhex(t, tc.hex)), "2").CombinedOutput()
		if err != nil || !strings.Contains(string(out), tc.says) || strings.Contains(string(out), "***") {
			t.Errorf("%s: ovs-ofctl reads\n%s(%v), want\n%s", name, out, err, tc.says)
		}
	}
}

// All flows that Build makes survive the wire, in both ways of matching flags.
func TestRoundTrip(t *testing.T) {
	b := Bridge{Name: "e", DPID: 1, Attachments: []Attachment{{CEPort: 1, PEPort: 2, VLAN: []uint16{7}}, {CEPort: 1, PEPort: 2}, {CEPort: 3, PEPort: 4, Zone: 77}}}
	for _, d := range []Dialect{DialectOVS, {Flags: FlagsONF, Meters: true}} {
		for _, f := range mustBuild(t, b, Tap{ThirdACK: ThirdACKConntrack}, d).Flows {
			m, err := openflow.AppendMessage(nil, 1, addFlow(&f, d.Flags))
			if err != nil {
				t.Fatal(err)
			}
			if back := parseFlow(statOf(t, m)); back != f {
				t.Errorf("%s\nread back %s", &f, &back)
			}
		}
	}
}

// A flow that differs from ours in anything is not taken for ours.
func TestParseKeepsWhatItDoesNotKnow(t *testing.T) {
	base := openflow.FlowStat{Match: ofp.Match{Type: ofp.MatchTypeXM}}
	xm := func(class ofp.XMClass, typ ofp.XMType, value, mask ofp.XMValue) openflow.FlowStat {
		s := base
		s.Match.Fields = []ofp.XM{{Class: class, Type: typ, Value: value, Mask: mask}}
		return s
	}
	for name, s := range map[string]openflow.FlowStat{
		"masked address":    xm(ofp.XMClassOpenflowBasic, ofp.XMTypeIPv4Src, ofp.XMValue{10, 0, 0, 0}, ofp.XMValue{255, 0, 0, 0}),
		"masked VLAN":       xm(ofp.XMClassOpenflowBasic, ofp.XMTypeVlanID, ofp.XMValue{16, 0}, ofp.XMValue{16, 0}),
		"metadata":          xm(ofp.XMClassOpenflowBasic, ofp.XMTypeMetadata, make(ofp.XMValue, 8), nil),
		"register":          xm(ofp.XMClassNicira1, 0, make(ofp.XMValue, 4), nil),
		"ct_mark alone":     xm(ofp.XMClassNicira1, nxmCTMark, make(ofp.XMValue, 4), nil),
		"other ct_state":    xm(ofp.XMClassNicira1, nxmCTState, be32(ctEst|ctTrk), be32(ctEst|ctTrk)),
		"other fragments":   xm(ofp.XMClassNicira1, nxmIPFrag, ofp.XMValue{1}, ofp.XMValue{1}),
		"other experiment":  xm(ofp.XMClassExperimenter, onfTCPFlags, make(ofp.XMValue, 4), make(ofp.XMValue, 4)),
		"truncated in_port": xm(ofp.XMClassOpenflowBasic, ofp.XMTypeInPort, ofp.XMValue{1}, nil),
	} {
		if f := parseFlow(s); f.Match.Other == "" {
			t.Errorf("%s: %+v", name, f.Match)
		}
	}
	for name, ins := range map[string]string{
		"write actions":      "0003 0008 00000000",
		"meter":              "0006 0008 00000001",
		"two outputs":        "0004 0028 00000000 0000 0010 00000002 0000 000000000000 0000 0010 00000003 0000 000000000000",
		"set another field":  "0004 0018 00000000 0019 0010 80000c02 1001 0000 00000000",
		"experimenter":       "0004 0018 00000000 ffff 0010 00001234 0025 000000000000",
		"learn":              "0004 0018 00000000 ffff 0010 00002320 0010 000000000000",
		"ct with another":    "0004 0020 00000000 ffff 0018 00002320 0023 0002 00000000 0009 ff 000000 0000",
		"controller2 paused": "0004 0020 00000000 ffff 0018 00002320 0025 000000000000 0004 0004 00000000",
	} {
		s := base
		s.Instructions = unhex(t, ins)
		if f := parseFlow(s); f.Actions.Other == "" {
			t.Errorf("%s: %+v", name, f.Actions)
		}
	}
}

func FuzzParseActions(f *testing.F) {
	for _, tc := range golden {
		if tc.flow != nil {
			b := unhex(f, tc.hex)
			f.Add(b[len(b)-32:])
		}
	}
	f.Fuzz(func(_ *testing.T, b []byte) { parseActions(b) })
}
