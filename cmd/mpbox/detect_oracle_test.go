package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6824
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// The oracle: what `mpbox detect` should say of captures, computed from what
// tshark reads of the options, with maps and crypto/hmac, sharing nothing with the
// detector.

type oraclePacket struct {
	time     float64
	vantage  string
	src, dst netip.AddrPort
	flags    uint64
	seq, ack uint32
	subtypes []int
	versions []int
	sendKey  uint64
	recvKey  uint64
	hasSend  bool
	hasRecv  bool
	token    uint32
	nonce    uint32
	trunc    uint64
	mac      []byte
	backup   bool
	addrID   int
}

var tsharkFields = []string{
	"frame.time_epoch", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "tcp.flags",
	"tcp.seq_raw", "tcp.ack_raw", "tcp.options.mptcp.subtype", "tcp.options.mptcp.version",
	"tcp.options.mptcp.sendkey", "tcp.options.mptcp.recvkey", "tcp.options.mptcp.recvtok",
	"tcp.options.mptcp.sendrand", "tcp.options.mptcp.sendtrunchmac", "tcp.options.mptcp.sendhmac",
	"tcp.options.mptcp.backup.flag", "tcp.options.mptcp.addrid",
}

// tsharked keeps what tshark said of a file.
var tsharked = map[string][]oraclePacket{}

func readTshark(t *testing.T, path string) (packets []oraclePacket) {
	t.Helper()
	if known, ok := tsharked[path]; ok {
		return known
	}
	defer func() { tsharked[path] = packets }()
	args := []string{"-r", path, "-n", "-T", "fields", "-E", "separator=|", "-E", "occurrence=a", "-E", "aggregator=,",
		"-o", "ip.defragment:false", "-o", "ipv6.defragment:false", "-Y", "tcp"}
	for _, f := range tsharkFields {
		args = append(args, "-e", f)
	}
	cmd := exec.Command("tshark", args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark %s: %v\n%s", path, err, errs.String())
	}
	base := filepath.Base(path)
	vantage := strings.TrimSuffix(base, filepath.Ext(base))
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "|")
		if len(f) != len(tsharkFields) {
			t.Fatalf("tshark gave %d fields: %q", len(f), line)
		}
		p := oraclePacket{vantage: vantage}
		p.time, _ = strconv.ParseFloat(f[0], 64)
		src, dst := f[1], f[2]
		if src == "" {
			src, dst = f[3], f[4]
		}
		// The inner header is the one that counts.
		addr := func(s, port string) netip.AddrPort {
			s = s[strings.LastIndex(s, ",")+1:]
			n, _ := strconv.Atoi(port)
			return netip.AddrPortFrom(netip.MustParseAddr(s), uint16(n))
		}
		p.src, p.dst = addr(src, f[5]), addr(dst, f[6])
		p.flags, _ = strconv.ParseUint(f[7], 0, 16)
		num := func(s string) uint64 {
			n, err := strconv.ParseUint(s, 0, 64)
			if err != nil && s != "" {
				t.Fatalf("tshark field %q", s)
			}
			return n
		}
		first := func(s string) string { a, _, _ := strings.Cut(s, ","); return a }
		p.seq, p.ack = uint32(num(f[8])), uint32(num(f[9]))
		for _, s := range strings.FieldsFunc(f[10], func(r rune) bool { return r == ',' }) {
			p.subtypes = append(p.subtypes, int(num(s)))
		}
		for _, s := range strings.FieldsFunc(f[11], func(r rune) bool { return r == ',' }) {
			p.versions = append(p.versions, int(num(s)))
		}
		p.hasSend, p.hasRecv = f[12] != "", f[13] != ""
		p.sendKey, p.recvKey = num(first(f[12])), num(first(f[13]))
		p.token, p.nonce, p.trunc = uint32(num(first(f[14]))), uint32(num(first(f[15]))), num(first(f[16]))
		p.mac, _ = hex.DecodeString(strings.ReplaceAll(first(f[17]), ":", ""))
		p.backup = strings.HasSuffix(f[18], "1") || strings.HasSuffix(f[18], "True")
		p.addrID = int(num(first(f[19])))
		packets = append(packets, p)
	}
	return packets
}

type tuple struct{ client, server netip.AddrPort }

type oracleSubflow struct {
	tuple
	isn             uint32
	join            bool
	first           int
	version         int
	serverKey       uint64
	hasServerKey    bool
	clientKey       uint64
	hasClientKey    bool
	said, echoed    bool
	token           uint32
	cnonce, snonce  uint32
	trunc           uint64
	mac             []byte
	syn, synack     bool
	finC, finS, rst bool
	backup          bool
	addrID          int
	vantage         map[string]bool
	owner           *oracleSubflow
	reverse         bool
	lastSYN         float64
	tokenS, tokenC  uint32
}

func oracleToken(version int, key uint64) uint32 {
	k := binary.BigEndian.AppendUint64(nil, key)
	if version == 0 {
		d := sha1.Sum(k) //nolint:gosec // RFC 6824
		return binary.BigEndian.Uint32(d[:])
	}
	d := sha256.Sum256(k)
	return binary.BigEndian.Uint32(d[:])
}

func oracleHMAC(version int, own, peer uint64, ownNonce, peerNonce uint32) []byte {
	k := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, own), peer)
	h := hmac.New(sha256.New, k)
	if version == 0 {
		h = hmac.New(sha1.New, k)
	}
	h.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, ownNonce), peerNonce))
	return h.Sum(nil)
}

// oracle computes the report of captures; orphans and connections only.
func oracle(t *testing.T, paths ...string) map[string]any {
	var packets []oraclePacket
	for _, p := range paths {
		packets = append(packets, readTshark(t, p)...)
	}
	sort.SliceStable(packets, func(i, j int) bool { return packets[i].time < packets[j].time })
	live := map[tuple]*oracleSubflow{}
	var all []*oracleSubflow
	get := func(c, s netip.AddrPort, isn uint32, join bool, i int) *oracleSubflow {
		k := tuple{c, s}
		f := live[k]
		if f == nil || f.isn != isn {
			f = &oracleSubflow{tuple: k, isn: isn, join: join, first: i, vantage: map[string]bool{}}
			live[k] = f
			all = append(all, f)
		}
		return f
	}
	for i := range packets {
		p := &packets[i]
		has := func(sub int) bool { return slices.Contains(p.subtypes, sub) }
		version := 0
		if len(p.versions) > 0 {
			version = p.versions[0]
		}
		const fin, syn, rst, ack = 1, 2, 4, 16
		var f *oracleSubflow
		fromClient := true
		switch {
		case p.flags&(syn|ack|rst) == syn && (has(0) || has(1)):
			f = get(p.src, p.dst, p.seq, has(1), i)
			if !f.syn {
				f.syn = true
				f.version = version
				if has(1) {
					f.token, f.cnonce, f.backup, f.addrID = p.token, p.nonce, p.backup, p.addrID
				} else if p.hasSend {
					f.clientKey, f.hasClientKey = p.sendKey, true
				}
			}
			f.lastSYN = p.time
		case p.flags&(syn|ack|rst) == syn|ack && (has(0) && p.hasSend || has(1)):
			f = get(p.dst, p.src, p.ack-1, has(1), i)
			fromClient = false
			if !f.synack {
				f.synack = true
				if has(1) {
					f.snonce, f.trunc, f.backup = p.nonce, p.trunc, p.backup
				} else {
					f.version, f.serverKey, f.hasServerKey, f.said = version, p.sendKey, true, true
				}
			}
		default:
			if f = live[tuple{p.src, p.dst}]; f == nil {
				if f = live[tuple{p.dst, p.src}]; f != nil {
					fromClient = false
				}
			}
		}
		if f == nil {
			if p.flags&(syn|rst) == 0 && has(0) && p.hasSend && p.hasRecv {
				f = get(p.src, p.dst, p.seq-1, false, i)
				f.version, f.synack = version, true
			} else {
				continue
			}
		}
		f.vantage[p.vantage] = true
		if p.flags&(syn|rst) == 0 && has(0) && p.hasSend && p.hasRecv && fromClient {
			if !f.hasServerKey || f.serverKey == p.recvKey {
				f.serverKey, f.hasServerKey, f.echoed = p.recvKey, true, true
				f.clientKey, f.hasClientKey = p.sendKey, true
			}
		}
		if p.flags&(syn|rst) == 0 && has(1) && len(p.mac) == 20 && fromClient && f.mac == nil {
			f.mac = p.mac
		}
		if p.flags&syn == 0 && has(5) {
			f.backup = p.backup
		}
		if p.flags&fin != 0 {
			if fromClient {
				f.finC = true
			} else {
				f.finS = true
			}
		}
		if p.flags&rst != 0 {
			f.rst = true
		}
	}
	// Tokens of all keys, then the joins.
	byToken := map[uint32][]*oracleSubflow{}
	var conns []*oracleSubflow
	for _, f := range all {
		if f.join || !f.hasServerKey {
			continue
		}
		f.tokenS = oracleToken(f.version, f.serverKey)
		byToken[f.tokenS] = append(byToken[f.tokenS], f)
		if f.hasClientKey {
			f.tokenC = oracleToken(f.version, f.clientKey)
			byToken[f.tokenC] = append(byToken[f.tokenC], f)
		}
		conns = append(conns, f)
	}
	orphans := map[string][]any{}
	members := map[*oracleSubflow][]any{}
	render := func(f *oracleSubflow) map[string]any {
		var state string
		ended := f.rst || f.finC && f.finS || (f.finC || f.finS) && !f.synack
		switch {
		case ended && (f.synack || f.finC || f.finS):
			state = "closed"
		case f.synack:
			state = "established"
		default:
			state = "failed"
		}
		var verified any
		switch {
		case !f.join:
			if f.said && f.echoed {
				verified = true
			}
		case f.owner != nil && f.owner.hasClientKey && f.syn && f.synack:
			from, to := f.owner.clientKey, f.owner.serverKey
			if f.reverse {
				from, to = to, from
			}
			v := f.owner.version
			if binary.BigEndian.Uint64(oracleHMAC(v, to, from, f.snonce, f.cnonce)) != f.trunc {
				verified = false
			}
			if f.mac != nil {
				verified = bytes.Equal(oracleHMAC(v, from, to, f.cnonce, f.snonce)[:20], f.mac)
			}
		}
		kind := "initial"
		if f.join {
			kind = "join"
		}
		names := make([]string, 0, len(f.vantage))
		for n := range f.vantage {
			names = append(names, n)
		}
		sort.Strings(names)
		return map[string]any{"kind": kind, "client": f.client.String(), "server": f.server.String(), "state": state,
			"verified": verified, "backup": f.backup, "address_id": f.addrID, "vantage": names}
	}
	for _, f := range all {
		switch {
		case !f.join && f.hasServerKey:
			members[f] = append(members[f], render(f))
		case f.join && f.syn:
			if owners := byToken[f.token]; len(owners) > 0 {
				f.owner = owners[0]
				f.reverse = f.token != f.owner.tokenS
				members[f.owner] = append(members[f.owner], render(f))
			} else {
				token := fmt.Sprintf("%08x", f.token)
				orphans[token] = append(orphans[token], render(f))
			}
		}
	}
	report := map[string]any{}
	for _, c := range conns {
		report[fmt.Sprintf("%08x %d %v %v", c.tokenS, c.version, c.client, c.server)] = members[c]
	}
	for token, subflows := range orphans {
		report["orphan "+token] = subflows
	}
	return report
}

// detected runs the command and brings its output into the oracle's form.
func detected(t *testing.T, paths ...string) (map[string]any, detectReport) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := execute(t.Context(), append([]string{"detect", "--json"}, paths...), strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatalf("mpbox detect: exit code %d\n%s", code, errs.String())
	}
	var r detectReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	report := map[string]any{}
	list := func(subflows []detectSubflow) []any {
		var all []any
		for _, s := range subflows {
			var verified any
			if s.Verified != nil {
				verified = *s.Verified
			}
			all = append(all, map[string]any{"kind": s.Kind, "client": s.Client, "server": s.Server, "state": s.State,
				"verified": verified, "backup": s.Backup, "address_id": s.AddressID, "vantage": s.Vantage})
		}
		return all
	}
	for _, c := range r.Connections {
		report[fmt.Sprintf("%s %d %s %s", c.Token, c.Version, c.Client, c.Server)] = list(c.Subflows)
	}
	for _, o := range r.Orphans {
		report["orphan "+o.Token] = list(o.Subflows)
	}
	return report, r
}

// compareReports fails the test where the two differ.
func compareReports(t *testing.T, got, want map[string]any) {
	t.Helper()
	flat := func(m map[string]any) []string {
		var lines []string
		for k, subflows := range m {
			for _, s := range subflows.([]any) {
				b, _ := json.Marshal(s)
				lines = append(lines, k+" "+string(b))
			}
		}
		sort.Strings(lines)
		return lines
	}
	a, b := flat(got), flat(want)
	for _, l := range a {
		if !slices.Contains(b, l) {
			t.Errorf("only mpbox says:  %s", l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			t.Errorf("only tshark says: %s", l)
		}
	}
}
