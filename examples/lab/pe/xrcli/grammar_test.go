package xrcli

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mpbox/examples/lab/pe/router"
)

func TestMatch(t *testing.T) {
	var cmds []command[string]
	for _, s := range []string{
		"show tunnels [<0-99>] [detail|tabular]", "show topology", "show version", "shut", "set name <word>",
		"note <line>", "to <ipv4>", "via <te>|<if>", "mask <hex>",
	} {
		for _, p := range parse(s) {
			cmds = append(cmds, command[string]{p, s})
		}
	}
	for _, c := range []struct{ line, want string }{
		{"show tunnels", "show tunnels"},
		{"  sho  tun 007 det ", "show tunnels 7 detail"},
		{"show tunnels 100", "invalid 13"},
		{"show tunnels detail 7", "invalid 20"},
		{"show t", "ambiguous"},
		{"sh v", "ambiguous"}, // show or shut
		{"show", "incomplete"},
		{"SHOW VERSION", "show version"},
		{"shut", "shut"},
		{"shut up", "invalid 5"},
		{"set name x|y", "set name x|y"},
		{"note  a  b ", "note a  b "},
		{"note", "incomplete"},
		{"to 1.2.3", "invalid 3"},
		{"to 1.2.3.4", "to 1.2.3.4"},
		{"to ::1", "invalid 3"},
		{"via tunnel-te5", "via tunnel-te5"},
		{"via gi0/0/0/1", "via GigabitEthernet0/0/0/1"},
		{"via x0", "invalid 4"},
		{"mask FF", "mask 0xff"},
		{"", "incomplete"},
	} {
		_, a, err := match(cmds, c.line)
		got := strings.Join(a.words, " ")
		var invalid invalidError
		switch {
		case errors.As(err, &invalid):
			got = fmt.Sprint("invalid ", invalid.at)
		case errors.Is(err, errAmbiguous):
			got = "ambiguous"
		case errors.Is(err, errIncomplete):
			got = "incomplete"
		}
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
	}
}

// No line breaks the configuration mode, and what one line sets can be shown.
func FuzzConfigure(f *testing.F) {
	for _, s := range []string{
		"explicit-path name P index 10 next-address strict ipv4 unicast 10.0.0.1",
		"interface tunnel-te5 affinity 0x1 mask 0x3", "no interface tunnel-te5 path-option 10",
		"ipv4 access-list A 10 permit tcp host 10.1.0.1 eq 4711 host 10.2.0.1 eq 80",
		"ipv6 access-list A permit ipv6 any 2001:db8::/32 dscp ef", "class-map match-any C match dscp ef 10",
		"policy-map P class C set forward-class 3", "interface gi0/0/0/1 service-policy input P",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		text, no := strings.CutPrefix(line, "no ")
		e, a, err := match(configCommands, text)
		if err != nil || e.noOnly && !no {
			return
		}
		c := router.NewConfig()
		if err := e.apply(&c.CLI, a, no); err != nil {
			return
		}
		for _, s := range renderCLI(&c.CLI) {
			if s.header == "" || len(s.footer) == 0 {
				t.Errorf("%q shows as %+v", line, s)
			}
		}
		validate(router.NewConfig(), c, nil, router.Faults{RefuseTunnel: true, RefuseFTN: true})
	})
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "00:00:00", 96*time.Minute + 30*time.Second: "01:36:30",
		89 * time.Hour: "3d17h", (3*7*24 + 49) * time.Hour: "3w2d",
	} {
		if got := ago(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
