package xrcli_test

import (
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mpbox/examples/lab/pe/petest"
)

func TestLoginRefused(t *testing.T) {
	p := petest.Start(t, petest.Options{NoSNMP: true})
	if c, err := dial(t, p, "wrong"); err == nil {
		_ = c.Close()
		t.Error("a wrong password was taken")
	}
	c, err := dial(t, p, p.Node.SSH.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Output("show version")
	if err != nil || !strings.Contains(string(out), "Cisco IOS XR Software") {
		t.Errorf("command without a shell: %q, %v", out, err)
	}
}

// A screen has 24 lines until the client says otherwise.
func TestPaging(t *testing.T) {
	p := petest.Start(t, petest.Options{NoSNMP: true})
	settle(t, p)
	x := login(t, p)
	out := x.do("show mpls traffic-eng topology")
	if n := strings.Count(out, "\n"); !strings.HasSuffix(out, " --More-- ") || n != 25 {
		t.Errorf("first page has %d lines and ends in %q", n, out[len(out)-20:])
	}
	more := func(key string) string {
		if _, err := io.WriteString(x.in, key); err != nil {
			t.Fatal(err)
		}
		return x.expect(rePrompt)
	}
	if out := more("\r"); strings.Count(out, "\n") != 1 || !strings.HasSuffix(out, " --More-- ") {
		t.Errorf("one more line: %q", out)
	}
	if out := more(" "); strings.Count(out, "\n") != 23 {
		t.Errorf("one more page: %q", out)
	}
	if out := more("q"); !strings.HasSuffix(out, "pe1#") || strings.Contains(out, "Link") {
		t.Errorf("quit: %q", out)
	}
	x.do("terminal length 0")
	if out := x.do("show mpls traffic-eng topology"); strings.Contains(out, "More") || strings.Count(out, "Link[") != 16 {
		t.Error("paged at length 0, or cut")
	}
}

func TestLineEditing(t *testing.T) {
	p := petest.Start(t, petest.Options{NoSNMP: true})
	x := login(t, p)
	if out := x.do("show versiox\x7fn"); !strings.Contains(out, "IOS XR Software") {
		t.Errorf("backspace: %q", out)
	}
	if out := x.do("garbage\x15show version"); !strings.Contains(out, "IOS XR Software") {
		t.Errorf("ctrl-U: %q", out)
	}
	if out := x.do("garbage\x03"); strings.Contains(out, "Invalid") {
		t.Errorf("ctrl-C: %q", out)
	}
}

// Two sessions: the second to commit is told about the first.
func TestCommitsOfOthers(t *testing.T) {
	p := petest.Start(t, petest.Options{NoSNMP: true})
	a, b := login(t, p), login(t, p)
	for _, x := range []*terminal{a, b} {
		x.do("configure")
	}
	a.do("explicit-path name A index 1 next-address strict ipv4 unicast 10.0.1.2")
	b.do("explicit-path name B index 1 next-address strict ipv4 unicast 10.0.1.2")
	a.do("commit")
	if out := b.do("commit"); !strings.Contains(out, "Would you like to proceed") {
		t.Errorf("second commit: %q", out)
	}
	if b.do(""); len(p.Router.Config().CLI.Paths) != 1 {
		t.Error("commit went on without consent")
	}
	b.do("commit")
	b.do("yes")
	if paths := p.Router.Config().CLI.Paths; len(paths) != 2 {
		t.Error("both commits together:", paths)
	}
	if out := b.do("commit"); !strings.Contains(out, "% No configuration changes") {
		t.Errorf("commit of nothing: %q", out)
	}
}

// What show running-config prints can be typed in again and gives the same.
func TestRunningConfigTypedInAgain(t *testing.T) {
	first := petest.Start(t, petest.Options{NoSNMP: true})
	x := login(t, first)
	x.do("terminal length 0")
	x.do("configure")
	for _, l := range strings.Split(`explicit-path name P
 index 10 next-address strict ipv4 unicast 10.0.3.2
 index 20 next-address loose ipv4 unicast 10.255.0.2
 index 30 exclude-address ipv4 unicast 10.0.1.2
interface tunnel-te7
 ipv4 unnumbered Loopback0
 description some words | and more
 signalled-name mpbox/lab/pe1-pe2/1
 destination 10.255.0.2
 autoroute announce
 record-route
 shutdown
 signalled-bandwidth 10
 priority 3 3
 affinity 0x1 mask 0xff
 forward-class 7
 path-option 10 explicit name P
 path-option 20 dynamic
ipv4 access-list L
 10 permit tcp host 1.2.3.4 eq 80 10.0.0.0/8 eq 443
 20 deny udp any 10.1.0.0 0.0.255.255 eq 53
 30 permit 47 any any
 40 remark what this is for
 50 permit ipv4 any any dscp 63
ipv6 access-list L
 10 permit tcp 2001:db8::/32 any dscp cs1
class-map match-any C
 description hello
 match access-group ipv4 L
 match access-group ipv6 L
 match dscp ef 1
 end-class-map
policy-map P
 class C
  set forward-class 7
 class class-default
  set forward-class 1
 end-policy-map
interface GigabitEthernet0/0/0/2
 service-policy input P`, "\n") {
		if out := x.do(l); strings.Contains(out, "%") {
			t.Fatalf("%s: %q", l, out)
		}
	}
	if out := x.do("commit"); strings.Contains(out, "%") {
		t.Fatal(out, x.do("show configuration failed"))
	}
	x.do("end")
	text := x.do("show running-config")

	second := petest.Start(t, petest.Options{NoSNMP: true})
	y := login(t, second)
	y.do("terminal length 0")
	y.do("configure")
	factory := regexp.MustCompile(`^(hostname|mpls traffic-eng| description customer| ipv4 address|Building|!! IOS|RP/0|end$|show|.* UTC$)`)
	skip := false
	for _, l := range strings.Split(text, "\n") {
		if l == "mpls traffic-eng" {
			skip = true
		}
		if !factory.MatchString(l) && !skip {
			if out := y.do(l); strings.Contains(out, "%") {
				t.Errorf("%q: %q", l, out)
			}
		}
		skip = skip && l != "!"
	}
	if out := y.do("commit"); strings.Contains(out, "%") {
		t.Fatal(out, y.do("show configuration failed"))
	}
	y.do("end")
	if d := cmp.Diff(reDate.ReplaceAllString(text, ""), reDate.ReplaceAllString(y.do("show running-config"), "")); d != "" {
		t.Error("(-first +second):", d)
	}
}
