package openflow

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	of "github.com/netrack/openflow"
	"github.com/netrack/openflow/ofp"

	"mpbox/internal/itest"
)

// The messages that this package sends by itself, as ONF TS-025 writes them.
// Those about flows are in southbound/datapath.
var sent = map[string]struct {
	ask  func(ctx context.Context, s *Session) error
	hex  string // with xid 0
	says string // a part of what ovs-ofctl prints for it
}{
	"role": {func(ctx context.Context, s *Session) error {
		_, _, err := s.Role(ctx, ofp.ControllerRoleMaster, 0x0102030405060708)
		return err
	}, `04 18 0018 00000000 # ROLE_REQUEST
		00000002 00000000    # master
		0102030405060708     # generation`, "role=primary generation_id=72623859790382856"},
	"barrier": {func(ctx context.Context, s *Session) error { return s.Commit(ctx) },
		`04 14 0008 00000000`, "OFPT_BARRIER_REQUEST"},
	"echo": {func(ctx context.Context, s *Session) error { return s.Ping(ctx) },
		`04 02 0008 00000000`, "OFPT_ECHO_REQUEST"},
	"flows": {func(ctx context.Context, s *Session) error {
		_, err := s.FlowStats(ctx, 255, 0x6d70<<48, 0xffff<<48)
		return err
	}, `04 12 0038 00000000  # MULTIPART_REQUEST
		0001 0000 00000000   # flow
		ff 000000            # all tables
		ffffffff ffffffff    # any port, any group
		00000000
		6d70000000000000 ffff000000000000
		0001 0004 00000000   # empty match`, "OFPST_FLOW request"},
	"ports": {func(ctx context.Context, s *Session) error { _, err := s.Ports(ctx); return err },
		`04 12 0010 00000000 000d 0000 00000000`, "OFPST_PORT_DESC request"},
	"description": {func(ctx context.Context, s *Session) error { _, err := s.Description(ctx); return err },
		`04 12 0010 00000000 0000 0000 00000000`, "OFPST_DESC request"},
	"meter features": {func(ctx context.Context, s *Session) error { _, err := s.MeterFeatures(ctx); return err },
		`04 12 0010 00000000 000b 0000 00000000`, "OFPST_METER_FEATURES request"},
	"meter stats": {func(ctx context.Context, s *Session) error { _, err := s.MeterStats(ctx); return err },
		`04 12 0018 00000000 0009 0000 00000000 ffffffff 00000000`, "OFPST_METER request"},
	"meters": {func(ctx context.Context, s *Session) error { _, err := s.Meters(ctx); return err },
		`04 12 0018 00000000 000a 0000 00000000 ffffffff 00000000`, "OFPST_METER_CONFIG request"},
}

func TestSentMessages(t *testing.T) {
	for name, tc := range sent {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, Config{}, nil)
				r.greet(1)
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				result := make(chan error, 1)
				go func() { result <- tc.ask(ctx, r.s) }()
				want := unhex(t, tc.hex)
				m := r.want(want[1])
				if got := msg(m.typ, 0, m.body...); !bytes.Equal(got, want) {
					t.Errorf("sent %x\n want %x", got, want)
				}
				// Refused, the error tells so; a switch without meters has none.
				r.send(msg(1, m.xid, append([]byte{0, 1, 0, 2}, want...)...))
				var e *SwitchError
				if err := <-result; name != "meter features" && (!errors.As(err, &e) || e.Type != ofp.ErrTypeBadRequest || e.Index != 0) {
					t.Errorf("refused: %v", err)
				}
				_ = r.end()
			})
		})
	}
}

// TestIntegrationOfpPrint has Open vSwitch read the golden bytes.
func TestIntegrationOfpPrint(t *testing.T) {
	itest.Need(t, "ovs-ofctl")
	for name, tc := range sent {
		m := unhex(t, tc.hex)
		out, err := exec.Command("ovs-ofctl", "ofp-print", hex.EncodeToString(m)).CombinedOutput()
		if err != nil || !strings.Contains(string(out), tc.says) || strings.Contains(string(out), "***") {
			t.Errorf("%s: ovs-ofctl reads %s (%v), want %q in it", name, out, err, tc.says)
		}
	}
}

// answer runs ask, and answers its request with the given multipart bodies.
func answer(t *testing.T, typ byte, bodies [][]byte, ask func(ctx context.Context, s *Session) error) error {
	t.Helper()
	r := start(t, Config{}, nil)
	r.greet(1)
	synctest.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- ask(ctx, r.s) }()
	xid := r.want(18).xid
	for i, b := range bodies {
		more := byte(1)
		if i == len(bodies)-1 {
			more = 0
		}
		r.send(msg(19, xid, append([]byte{0, typ, 0, more, 0, 0, 0, 0}, b...)...))
	}
	err := <-result
	_ = r.end()
	return err
}

const flowEntry = `
	0070 01 00            # 112 bytes, table 1
	0000000a 0000000f     # 10 s, 15 ns
	03e8 003c 0000 0001   # priority 1000, idle 60 s, hard 0, flags: tell when removed
	00000000
	6d70020100000007      # cookie
	0000000000000009      # packets
	0000000000000400      # bytes
	0001 0016             # match, 22 bytes
	80000004 00000001     # in_port 1
	80000a02 0800         # eth_type
	80001401 06           # ip_proto: cut below to 22 bytes with padding
	000000
	0004 0018 00000000    # apply actions
	ffff 0010 00002320 0025 000000000000  # an experimenter's action, that netrack cannot read
	0001 0008 02 000000   # goto 2`

func TestFlowStats(t *testing.T) {
	// The match: 4 + 8 + 6 + 5 = 23 bytes, padded to 24.
	entry := unhex(t, flowEntry)
	entry[51] = 23
	entry = append(entry[:71:71], append([]byte{0}, entry[74:]...)...)
	entry[0], entry[1] = byte(len(entry)>>8), byte(len(entry))
	synctest.Test(t, func(t *testing.T) {
		var flows []FlowStat
		// Three entries in two parts.
		err := answer(t, 1, [][]byte{append(bytes.Clone(entry), entry...), entry}, func(ctx context.Context, s *Session) (err error) {
			flows, err = s.FlowStats(ctx, 255, 0, 0)
			return err
		})
		if err != nil || len(flows) != 3 {
			t.Fatalf("%d flows, %v", len(flows), err)
		}
		for _, f := range flows {
			if f.Table != 1 || f.Age != 10*time.Second+15 || f.Priority != 1000 || f.Idle != time.Minute || f.Hard != 0 ||
				f.Flags != ofp.FlowFlagSendFlowRem || f.Cookie != 0x6d70020100000007 || f.Packets != 9 || f.Bytes != 0x400 ||
				len(f.Match.Fields) != 3 || len(f.Instructions) != 32 || f.Instructions[1] != 4 {
				t.Errorf("flow %+v", f)
			}
		}
	})
	for n := range entry {
		if _, _, err := parseFlowStat(entry[:n:n]); !errors.Is(err, ErrProtocol) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

func FuzzFlowStats(f *testing.F) {
	f.Add(unhex(f, flowEntry))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			s, rest, err := parseFlowStat(b)
			if err != nil {
				return
			}
			if len(rest) >= len(b) || len(s.Instructions) > len(b) {
				t.Fatal("no progress")
			}
			b = rest
		}
	})
}

func TestReadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ports []Port
		err := answer(t, 13, [][]byte{portDesc(1, "ce1", 0, 4), append(portDesc(2, "pe1", 0, 1), portDesc(3, "x", 1, 0)...)},
			func(ctx context.Context, s *Session) (err error) { ports, err = s.Ports(ctx); return err })
		if err != nil || len(ports) != 3 {
			t.Fatalf("ports %v, %v", ports, err)
		}
		for i, want := range []struct {
			name        string
			down, admin bool
		}{{"ce1", false, false}, {"pe1", true, false}, {"x", true, true}} {
			if p := ports[i]; p.No != uint32(i+1) || p.Name != want.name || p.LinkDown() != want.down || p.AdminDown() != want.admin {
				t.Errorf("port %+v, want %+v", p, want)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var d Description
		body := make([]byte, 1056)
		copy(body, "Nicira, Inc.")
		copy(body[256:], "Open vSwitch")
		copy(body[512:], "3.1.0\x00junk")
		copy(body[768:], "None")
		copy(body[800:], "br0\x1b[31m")
		err := answer(t, 0, [][]byte{body}, func(ctx context.Context, s *Session) (err error) { d, err = s.Description(ctx); return err })
		if want := (Description{"Nicira, Inc.", "Open vSwitch", "3.1.0", "None", "br0[31m"}); err != nil || d != want {
			t.Errorf("description %+v, %v", d, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var f ofp.MeterFeatures
		err := answer(t, 11, [][]byte{unhex(t, "00030d40 00000002 0000000f 01 00 0000")},
			func(ctx context.Context, s *Session) (err error) { f, err = s.MeterFeatures(ctx); return err })
		if err != nil || f.MaxMeter != 200000 {
			t.Errorf("meter features %+v, %v", f, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var all []MeterStat
		entry := unhex(t, `00006d00 0038 000000000000 00000002
			00000000000003e8 0000000000010000 00000005 00000000
			0000000000000300 000000000000c000`)
		err := answer(t, 9, [][]byte{entry, entry}, func(ctx context.Context, s *Session) (err error) { all, err = s.MeterStats(ctx); return err })
		if want := (MeterStat{0x6d00, 1000, 768, 65536, 49152}); err != nil || len(all) != 2 || all[0] != want || all[1] != want {
			t.Errorf("meter stats %+v, %v", all, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var all []uint32
		err := answer(t, 10, [][]byte{unhex(t, `0018 0005 00006d00 0001 0010 00001388 00000000 00000000
			0018 0005 00006d01 0001 0010 00001388 00000000 00000000`)},
			func(ctx context.Context, s *Session) (err error) { all, err = s.Meters(ctx); return err })
		if err != nil || len(all) != 2 || all[0] != 0x6d00 || all[1] != 0x6d01 {
			t.Errorf("meters %x, %v", all, err)
		}
	})
}

func TestReadBackRefusesNonsense(t *testing.T) {
	for name, tc := range map[string]struct {
		typ  byte
		body []byte
		ask  func(ctx context.Context, s *Session) error
	}{
		"another type":      {13, nil, func(ctx context.Context, s *Session) error { _, err := s.FlowStats(ctx, 0, 0, 0); return err }},
		"flow of no length": {1, make([]byte, 56), func(ctx context.Context, s *Session) error { _, err := s.FlowStats(ctx, 0, 0, 0); return err }},
		"meter of no length": {10, make([]byte, 8), func(ctx context.Context, s *Session) error {
			_, err := s.Meters(ctx)
			return err
		}},
		"meter stats of no length": {9, make([]byte, 40), func(ctx context.Context, s *Session) error {
			_, err := s.MeterStats(ctx)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := answer(t, tc.typ, [][]byte{tc.body}, tc.ask); !errors.Is(err, ErrProtocol) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func TestAppendMessage(t *testing.T) {
	b, err := AppendMessage([]byte{0xee}, 0x01020304, Raw(of.TypeFlowMod, []byte{9, 8}, ""))
	if want := []byte{0xee, 4, 14, 0, 10, 1, 2, 3, 4, 9, 8}; err != nil || !bytes.Equal(b, want) {
		t.Errorf("%x, %v", b, err)
	}
	b, err = AppendMessage([]byte{0xee}, 1, Raw(of.TypeFlowMod, make([]byte, maxMessage), "the big one"))
	if err == nil || !strings.Contains(err.Error(), "the big one") || len(b) != 1 {
		t.Errorf("too long: %d bytes, %v", len(b), err)
	}
}

func TestListen(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:6653", "nonsense", "example.com:1"} {
		if l, err := Listen(addr, nil); err == nil {
			_ = l.Close()
			t.Errorf("listens on %q without TLS", addr)
		}
	}
	for _, addr := range []string{"127.0.0.1:0", "localhost:0"} {
		l, err := Listen(addr, nil)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		_ = l.Close()
	}
	path := t.TempDir() + "/of.sock"
	l, err := Listen("unix:"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Listen("unix:"+path, nil); err == nil {
		_ = again.Close()
		t.Error("takes the socket of a process that lives")
	}
	// One that a dead process left.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	if l, err = Listen("unix:"+path, nil); err != nil {
		t.Errorf("stale socket: %v", err)
	} else {
		_ = l.Close()
	}
}
