package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mpbox/internal/frametest"
	"mpbox/internal/itest"
)

// madeFile is a capture made by hand.
type madeFile struct {
	b    []byte
	now  uint64 // microseconds
	n    int
	wrap func(ip []byte, v6 bool) []byte
}

func newMadeFile(link uint32, start uint64, wrap func(ip []byte, v6 bool) []byte) *madeFile {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	b = le.AppendUint32(le.AppendUint32(b, 0), 0)
	b = le.AppendUint32(le.AppendUint32(b, 65535), link)
	return &madeFile{b: b, now: start, wrap: wrap}
}

func (f *madeFile) raw(frame []byte) {
	le := binary.LittleEndian
	f.now += 10
	f.n++
	f.b = le.AppendUint32(f.b, uint32(f.now/1e6))
	f.b = le.AppendUint32(f.b, uint32(f.now%1e6))
	f.b = le.AppendUint32(f.b, uint32(len(frame)))
	f.b = le.AppendUint32(f.b, uint32(len(frame)))
	f.b = append(f.b, frame...)
}

func (f *madeFile) seg(s frametest.Segment) { f.raw(f.wrap(s.IP(), s.Src.Addr().Is6())) }

func (f *madeFile) write(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, f.b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func ether(ip []byte, v6 bool) []byte {
	if v6 {
		return append(frametest.MAC(0x86dd), ip...)
	}
	return append(frametest.MAC(0x0800), ip...)
}

// madeFlow is a subflow, or an initial one.
type madeFlow struct {
	c, s     netip.AddrPort
	isn      uint32
	v        uint8
	ck, sk   uint64
	cn, sn   uint32
	id       uint8
	join     bool
	back     bool // a join towards the client
	badC     bool // the client's HMAC is wrong
	badS     bool
	noAnswer bool
}

var madeTS = []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}

func (m madeFlow) from(flags uint8, opts ...[]byte) frametest.Segment {
	return frametest.Segment{Src: m.c, Dst: m.s, Flags: flags, Seq: m.isn + 1, Ack: m.isn + 70001, Options: bytes.Join(opts, nil)}
}

func (m madeFlow) to(flags uint8, opts ...[]byte) frametest.Segment {
	return frametest.Segment{Src: m.s, Dst: m.c, Flags: flags, Seq: m.isn + 70001, Ack: m.isn + 1, Options: bytes.Join(opts, nil)}
}

func (m madeFlow) segments() []frametest.Segment {
	o1, o2, o3 := frametest.CapableSYN(m.v, m.ck), frametest.CapableSYNACK(m.v, m.sk), frametest.CapableACK(m.v, m.ck, m.sk)
	if m.join {
		a, b := m.ck, m.sk
		if m.back {
			a, b = b, a
		}
		hs, hc := frametest.HMAC(m.v, b, a, m.sn, m.cn), frametest.HMAC(m.v, a, b, m.cn, m.sn)
		if m.badS {
			hs[0] ^= 1
		}
		if m.badC {
			hc[3] ^= 1
		}
		o1, o2, o3 = frametest.JoinSYN(m.id, m.id%2 == 1, frametest.Token(m.v, b), m.cn), frametest.JoinSYNACK(m.id, m.id%4 == 3, hs, m.sn), frametest.JoinACK(hc)
	}
	mss := []byte{2, 4, 5, 0xb4}
	syn, synack, ack := m.from(frametest.SYN, mss, o1), m.to(frametest.SYN|frametest.ACK, mss, o2), m.from(frametest.ACK, madeTS, o3)
	syn.Seq--
	syn.Ack = 0
	synack.Seq--
	if m.noAnswer {
		return []frametest.Segment{syn}
	}
	return []frametest.Segment{syn, synack, ack}
}

func (m madeFlow) end(rst bool) []frametest.Segment {
	if rst {
		return []frametest.Segment{m.from(frametest.RST)}
	}
	return []frametest.Segment{m.from(frametest.FIN|frametest.ACK, madeTS), m.to(frametest.FIN|frametest.ACK, madeTS)}
}

func madeAddr(v6 bool, net, host, port int) netip.AddrPort {
	if v6 {
		return netip.MustParseAddrPort(fmt.Sprintf("[2001:db8:%x::%x]:%d", net, host, port))
	}
	return netip.MustParseAddrPort(fmt.Sprintf("10.%d.%d.%d:%d", net, host>>8, host&255, port))
}

// madeConnection gives a connection of a kind that its number chooses.
func madeConnection(i int) (first madeFlow, joins []madeFlow) {
	v6 := i%3 == 1
	first = madeFlow{c: madeAddr(v6, 1, i+1, 4000+i), s: madeAddr(v6, 2, i+1, 443), isn: uint32(i) * 1000, v: uint8(i / 2 % 2),
		ck: uint64(i)*0x9e3779b97f4a7c15 + 1, sk: uint64(i)*0xbf58476d1ce4e5b9 + 7}
	for j := range i % 5 {
		k := first
		k.c = madeAddr((i+j)%4 == 1, 3+j, i+1, 5000+j)
		if k.c.Addr().Is6() {
			k.s = madeAddr(true, 2, i+1, 443)
		} else {
			k.s = madeAddr(false, 2, i+1, 443)
		}
		k.isn, k.cn, k.sn, k.id, k.join = uint32(i*1000+j*10+5), uint32(i*7+j), uint32(i*11+j), uint8(j+1), true
		k.back = (i+j)%7 == 0
		k.badC = (i+j)%11 == 3
		k.noAnswer = (i+j)%13 == 5
		joins = append(joins, k)
	}
	return first, joins
}

// countPackets counts the packets of a little-endian pcap file.
func countPackets(b []byte) (n int) {
	for b = b[24:]; len(b) >= 16; n++ {
		b = b[16+binary.LittleEndian.Uint32(b[8:]):]
	}
	return n
}

// checkMade compares with the oracle, and the counters with tshark's.
func checkMade(t *testing.T, malformed int, paths ...string) {
	t.Helper()
	got, report := detected(t, paths...)
	compareReports(t, got, oracle(t, paths...))
	want := map[string]int{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want["packets"] += countPackets(data)
		for _, p := range readTshark(t, path) {
			want["tcp"]++
			if p.flags&(frametest.SYN|frametest.ACK) == frametest.SYN {
				if slices.Contains(p.subtypes, 0) {
					want["capable"]++
				}
				if slices.Contains(p.subtypes, 1) {
					want["join"]++
				}
			}
		}
	}
	c := report.Counters
	for name, n := range map[string]uint64{"packets": c.Packets, "tcp": c.TCP, "capable": c.MPCapableSYN, "join": c.MPJoinSYN} {
		if int(n) != want[name] {
			t.Errorf("counter %s: %d, tshark has %d", name, n, want[name])
		}
	}
	if int(c.Malformed) != malformed {
		t.Errorf("%d malformed, want %d", c.Malformed, malformed)
	}
}

func TestIntegrationDetectMadeCaptures(t *testing.T) {
	itest.Need(t, "tshark")
	const start = 1_700_000_000_000_000
	put := func(b ...byte) func(ip []byte, v6 bool) []byte {
		return func(ip []byte, v6 bool) []byte {
			out := bytes.Clone(b)
			for i := range len(out) - 1 {
				if out[i] == 0xee && out[i+1] == 0xee { // the ethertype
					out[i], out[i+1] = 8, 0
					if v6 {
						out[i], out[i+1] = 0x86, 0xdd
					}
				}
			}
			return append(out, ip...)
		}
	}
	mac := func(b ...byte) []byte { return append(bytes.Clone(frametest.MAC(0)[:12]), b...) }
	for _, tc := range []struct {
		name string
		link uint32
		wrap func(ip []byte, v6 bool) []byte
	}{
		{"Ethernet", 1, ether},
		{"VLAN", 1, put(mac(0x81, 0, 0, 5, 0xee, 0xee)...)},
		{"QinQ", 1, put(mac(0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 0xee, 0xee)...)},
		{"MPLS", 1, put(mac(0x88, 0x47, 0, 1, 0, 64, 0, 1, 0x11, 64)...)},
		{"cooked", 113, put(0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0xee, 0xee)},
		{"cooked 2", 276, put(0xee, 0xee, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0)},
		{"raw", 101, put()},
		{"PPP", 9, func(ip []byte, v6 bool) []byte {
			if v6 {
				return append([]byte{0xff, 3, 0, 0x57}, ip...)
			}
			return append([]byte{0xff, 3, 0, 0x21}, ip...)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newMadeFile(tc.link, start, tc.wrap)
			for i := range 40 {
				first, joins := madeConnection(i)
				for _, m := range append([]madeFlow{first}, joins...) {
					if i%9 == 8 && !m.join {
						continue // joins only
					}
					for _, s := range m.segments() {
						f.seg(s)
						if i%6 == 2 {
							f.seg(s) // sent again
						}
					}
					if i%4 != 1 && !m.noAnswer {
						for _, s := range m.end(i%4 == 3) {
							f.seg(s)
						}
					}
				}
			}
			dir := t.TempDir()
			checkMade(t, 0, f.write(t, dir, "all.pcap"))
		})
	}
	t.Run("several vantage points, clocks apart", func(t *testing.T) {
		// One sees the clients' side, one the servers', 3 ms early, one joins only.
		near, far, joined := newMadeFile(1, start, ether), newMadeFile(101, start-3000, put()), newMadeFile(1, start+5000, ether)
		for i := range 60 {
			first, joins := madeConnection(i)
			for _, m := range append([]madeFlow{first}, joins...) {
				for k, s := range append(m.segments(), m.end(i%2 == 0)...) {
					if m.noAnswer && k > 0 {
						break
					}
					if i%10 != 9 || m.join {
						near.seg(s)
					}
					far.seg(s)
					if m.join {
						joined.seg(s)
					}
				}
			}
		}
		dir := t.TempDir()
		a, b, c := near.write(t, dir, "near.pcap"), far.write(t, dir, "far.pcap"), joined.write(t, dir, "joined.pcap")
		checkMade(t, 0, a, b, c)
		checkMade(t, 0, c, b)
		checkMade(t, 0, a)
		checkMade(t, 0, c) // orphans
	})
	t.Run("malformed", func(t *testing.T) {
		f := newMadeFile(1, start, ether)
		first, _ := madeConnection(2)
		other, _ := madeConnection(3)
		bad := 0
		wrong := func(s frametest.Segment) { bad++; f.seg(s) }
		for _, s := range first.segments() {
			f.seg(s)
		}
		// Broken options beside a good connection: none of these hides its TCP header,
		// nor the connection.
		wrong(first.from(frametest.ACK, []byte{30, 5, 0x20, 1, 2}))              // DSS too short
		wrong(first.from(frametest.ACK, []byte{30, 11, 0x30, 1, 1, 2, 3, 4, 5})) // runs over the end
		wrong(first.from(frametest.ACK, []byte{30, 0, 1, 1}))                    // length 0
		wrong(first.from(frametest.ACK, []byte{1, 1, 1, 30}))                    // no length
		wrong(other.from(frametest.SYN, []byte{30, 10, 0x10, 1, 2, 3, 4, 5, 6, 7}))
		for _, s := range first.end(false) {
			f.seg(s)
		}
		dir := t.TempDir()
		path := f.write(t, dir, "bad.pcap")
		got, report := detected(t, path)
		if len(got) != 1 || report.Connections[0].Subflows[0].State != "closed" || report.Counters.TCP != uint64(f.n) ||
			report.Counters.Malformed != uint64(bad) {
			t.Errorf("%+v", report)
		}
		if n := len(readTshark(t, path)); n != f.n {
			t.Errorf("tshark sees %d TCP packets of %d", n, f.n)
		}
	})
}

// Joins beyond what is listed are counted, and the operator is told.
func TestDetectTellsWhatIsNotListed(t *testing.T) {
	f := newMadeFile(1, 1_700_000_000_000_000, ether)
	_, joins := madeConnection(22)
	lost := joins[0]
	lost.sk = 4711
	for i := range maxListed + 3 {
		lost.c, lost.cn = madeAddr(false, 9, i, 5000), uint32(i)
		for _, s := range lost.segments() {
			f.seg(s)
		}
	}
	var out, errs bytes.Buffer
	path := f.write(t, t.TempDir(), "many.pcap")
	if code := execute(t.Context(), []string{"detect", "--json", path}, strings.NewReader(""), &out, &errs); code != 0 || !strings.Contains(errs.String(), "warning: 3 subflows are counted and not listed") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

// TestDetectCommand: what scripts rely on, without other tools.
func TestDetectCommand(t *testing.T) {
	dir := t.TempDir()
	a, b := newMadeFile(1, 1_700_000_000_000_000, ether), newMadeFile(1, 1_700_000_000_000_500, ether)
	first, joins := madeConnection(22)
	lost := joins[0]
	lost.sk, lost.c = 4711, madeAddr(false, 9, 9, 9)
	for _, m := range append([]madeFlow{first, lost}, joins...) {
		for _, s := range m.segments() {
			a.seg(s)
			b.seg(s)
		}
	}
	client, server := a.write(t, dir, "client_2.pcap"), b.write(t, dir, "server_2.pcap")
	var out, errs bytes.Buffer
	if code := execute(t.Context(), []string{"detect", "--json", client, server}, strings.NewReader(""), &out, &errs); code != 0 || errs.Len() > 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	var r map[string]any
	dec := json.NewDecoder(&out)
	if err := dec.Decode(&r); err != nil || dec.More() {
		t.Fatalf("not one JSON document: %v", err)
	}
	conns := r["connections"].([]any)
	c := conns[0].(map[string]any)
	if len(conns) != 1 || c["token"] != fmt.Sprintf("%08x", frametest.Token(first.v, first.sk)) || c["version"] != float64(first.v) ||
		c["client"] != first.c.String() || c["server"] != first.s.String() {
		t.Errorf("%v", c)
	}
	s := c["subflows"].([]any)[1].(map[string]any)
	for key, want := range map[string]any{"kind": "join", "client": joins[0].c.String(), "server": joins[0].s.String(), "state": "established",
		"verified": true, "backup": false, "address_id": 1.0} {
		if s[key] != want {
			t.Errorf("subflow %s: %v, want %v", key, s[key], want)
		}
	}
	if v := fmt.Sprint(s["vantage"]); v != "[client_2 server_2]" {
		t.Errorf("vantage %s", v)
	}
	orphan := r["orphans"].([]any)[0].(map[string]any)
	if orphan["token"] != fmt.Sprintf("%08x", frametest.Token(lost.v, lost.sk)) || len(orphan["subflows"].([]any)) != 1 {
		t.Errorf("%v", orphan)
	}
	if o := orphan["subflows"].([]any)[0].(map[string]any); o["verified"] != nil || o["kind"] != "join" {
		t.Errorf("%v", o)
	}
	counters := r["counters"].(map[string]any)
	for key, want := range map[string]float64{"packets": 24, "tcp": 24, "mp_capable_syn": 2, "mp_join_syn": 6, "malformed": 0} {
		if counters[key] != want {
			t.Errorf("counter %s: %v, want %v", key, counters[key], want)
		}
	}
	// The table, empty input, and errors.
	run := func(stdin string, args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := execute(t.Context(), append([]string{"detect"}, args...), strings.NewReader(stdin), &out, &errs)
		return code, out.String(), errs.String()
	}
	if code, out, _ := run("", client); code != 0 || !strings.Contains(out, first.c.String()) || !strings.Contains(out, "1 connections, 1 orphan tokens") {
		t.Errorf("%d %s", code, out)
	}
	data, _ := os.ReadFile(client)
	if code, out, _ := run(string(data), "--json", "-"); code != 0 || !strings.Contains(out, `"stdin"`) {
		t.Errorf("%d %s", code, out)
	}
	if code, out, errs := run(string(data[:len(data)-3]), "--json", "-"); code != 0 || !json.Valid([]byte(out)) || !strings.Contains(errs, "warning") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	empty := newMadeFile(1, 0, ether).write(t, dir, "empty.pcap")
	if code, out, _ := run("", "--json", empty); code != 0 || !strings.Contains(out, `"connections": []`) || !strings.Contains(out, `"orphans": []`) {
		t.Errorf("%d %s", code, out)
	}
	for _, tc := range []struct {
		args []string
		code int
	}{
		{nil, 2}, {[]string{"-o", "xml", client}, 2}, {[]string{"--nonsense", client}, 2},
		{[]string{filepath.Join(dir, "none.pcap")}, 1}, {[]string{"detect_made_test.go"}, 1},
	} {
		if code, out, errs := run("", tc.args...); code != tc.code || out != "" || errs == "" {
			t.Errorf("%v: exit code %d, want %d; %q %q", tc.args, code, tc.code, out, errs)
		}
	}
}
