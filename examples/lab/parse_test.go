package lab

import (
	"net/netip"
	"testing"
)

func TestParseMPLS(t *testing.T) {
	tcp := []byte{0x30, 0x39, 0x00, 0x50} // ports 12345, 80
	ip4 := append([]byte{
		0x45, 0, 0, 24, 0, 0, 0, 0, 63, 6, 0, 0, // version and length, …, TTL, TCP
		10, 1, 0, 1, 10, 2, 0, 1,
	}, tcp...)
	ip6 := append([]byte{
		0x60, 0, 0, 0, 0, 4, 6, 63, // version, …, length, TCP, hop limit
		0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
		0xfd, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
	}, tcp...)
	stack := []byte{
		0x04, 0xe2, 0x00, 0x3f, // LSP label 20000, TTL 63
		0x00, 0x7d, 0x01, 0x3f, // VPN label 2000, bottom of stack
	}
	key := func(src, dst string) FlowKey {
		return FlowKey{2000, netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)}
	}
	for _, c := range []struct {
		packet []byte
		want   FlowKey
	}{
		{append(stack[:8:8], ip4...), key("10.1.0.1:12345", "10.2.0.1:80")},
		{append(stack[:8:8], ip6...), key("[fd00:1::1]:12345", "[fd00:2::1]:80")},
		{append(stack[4:8:8], ip4...), key("10.1.0.1:12345", "10.2.0.1:80")},
	} {
		got, ok := parseMPLS(c.packet)
		if !ok || got != c.want {
			t.Errorf("%x: %+v, %v", c.packet, got, ok)
		}
		for n := range c.packet {
			if _, ok := parseMPLS(c.packet[:n]); ok {
				t.Errorf("%x was taken for a flow", c.packet[:n])
			}
		}
	}
	other := append(stack[:8:8], ip4...)
	other[8+9] = 1 // ICMP
	if _, ok := parseMPLS(other); ok {
		t.Error("ICMP was taken for a flow")
	}
}

func TestDisjointness(t *testing.T) {
	l, err := Layout(load(t, "shared-srlg"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	four, err := Layout(load(t, "four-path"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	up, mid, low := []string{"pe1-p1", "p1-pe2"}, []string{"pe1-p2", "p2-pe2"}, []string{"pe1-p3", "p3-pe2"}
	for _, c := range []struct {
		l      *Lab
		routes [][]string
		most   string
		want   string
	}{
		{l, [][]string{up, up}, "node-srlg", "none"},
		{l, [][]string{up, mid}, "node-srlg", "node"},
		{l, [][]string{up, low}, "node-srlg", "node-srlg"},
		{l, [][]string{up, low, mid}, "node-srlg", "node"},
		{l, [][]string{up, low}, "node", "node"},
		{l, [][]string{up, mid}, "srlg", "link"},
		{l, [][]string{up, low}, "srlg", "srlg"},
		// Two paths that meet at p3 share no link.
		{four, [][]string{{"pe1-p2", "p2-p3", "p3-p5", "p5-pe2"}, {"pe1-p3", "p2-p3", "p2-pe2"}}, "node", "none"},
		{four, [][]string{{"pe1-p3", "p3-p5", "p5-pe2"}, {"pe1-p4", "p4-p6", "p5-p6", "p5-pe2"}}, "node", "none"},
		{four, [][]string{{"pe1-p3", "p3-p5", "p5-pe2"}, {"pe1-p4", "p4-p6", "p6-pe2"}}, "node", "node"},
	} {
		if got := c.l.disjointness(c.routes, c.most); got != c.want {
			t.Errorf("%v asked for %s: %s, want %s", c.routes, c.most, got, c.want)
		}
	}
}

func TestParseRate(t *testing.T) {
	for in, want := range map[string]Rate{"20M": 20e6, "1.5G": 1.5e9, "64k": 64e3, "1000": 1000} {
		got, err := ParseRate(in)
		if err != nil || got != want {
			t.Errorf("%s: %d, %v", in, got, err)
		}
		if in != "1000" && got.String() != in {
			t.Errorf("%s is written %s", in, got)
		}
	}
	for _, in := range []string{"", "M", "-1M", "20Mbit", "1e30"} {
		if r, err := ParseRate(in); err == nil {
			t.Errorf("%q: %d", in, r)
		}
	}
}
