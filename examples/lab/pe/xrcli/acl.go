package xrcli

import (
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"mpbox/examples/lab/pe/router"
)

func aclCommands(add adder) {
	for _, fam := range []string{"ipv4", "ipv6"} {
		v6 := fam == "ipv6"
		list := fam + " access-list <word>"
		key := func(a args) router.ACLName { return router.ACLName{V6: v6, Name: a.params[0]} }
		add(list, edit{mode: "config-" + fam + "-acl", apply: func(c *router.CLI, a args, no bool) error {
			if no {
				delete(c.ACLs, key(a))
			} else if c.ACLs[key(a)] == nil {
				c.ACLs[key(a)] = router.ACL{}
			}
			return nil
		}})
		put := func(c *router.CLI, a args, seq uint32, action, rule string) error {
			e, err := parseACE(action, rule, v6)
			if err != nil {
				return a.shift(err)
			}
			l := c.ACLs[key(a)]
			if l == nil {
				l = router.ACL{}
				c.ACLs[key(a)] = l
			}
			if seq == 0 { // XR numbers by tens
				seq = 10
				if n := len(l); n > 0 {
					seq = slices.Max(slices.Collect(maps.Keys(l)))/10*10 + 10
				}
			}
			l[seq] = e
			return nil
		}
		add(list+" <1-2147483646> permit|deny|remark <line>", edit{apply: func(c *router.CLI, a args, no bool) error {
			if no {
				delete(c.ACLs[key(a)], number(a.params[1]))
				return nil
			}
			return put(c, a, number(a.params[1]), a.words[4], a.params[2])
		}})
		add(list+" permit|deny|remark <line>", edit{apply: func(c *router.CLI, a args, no bool) error {
			if no {
				e, err := parseACE(a.words[3], a.params[1], v6)
				maps.DeleteFunc(c.ACLs[key(a)], func(_ uint32, o router.ACE) bool { return o == e })
				return a.shift(err)
			}
			return put(c, a, 0, a.words[3], a.params[1])
		}})
		add(list+" <1-2147483646>", edit{noOnly: true, apply: func(c *router.CLI, a args, _ bool) error {
			delete(c.ACLs[key(a)], number(a.params[1]))
			return nil
		}})
	}
}

var protocols = map[string]uint8{"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "icmpv6": 58, "ospf": 89, "sctp": 132}

// Ports and DSCPs that have names are shown by name.
var ports = map[string]uint16{
	"ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "tftp": 69,
	"www": 80, "pop3": 110, "ntp": 123, "snmp": 161, "bgp": 179, "ldp": 646,
}

var dscps = map[string]uint8{
	"default": 0, "cs1": 8, "cs2": 16, "cs3": 24, "cs4": 32, "cs5": 40, "cs6": 48, "cs7": 56, "ef": 46,
	"af11": 10, "af12": 12, "af13": 14, "af21": 18, "af22": 20, "af23": 22,
	"af31": 26, "af32": 28, "af33": 30, "af41": 34, "af42": 36, "af43": 38,
}

// named gives a number's name, or its digits.
func named[N uint8 | uint16](names map[string]N, n N) string {
	for s, v := range names {
		if v == n {
			return s
		}
	}
	return strconv.FormatUint(uint64(n), 10)
}

func parseNumber[N uint8 | uint16](names map[string]N, limit uint64, w string) (N, bool) {
	if n, ok := names[strings.ToLower(w)]; ok {
		return n, true
	}
	n, err := strconv.ParseUint(w, 10, 16)
	return N(n), err == nil && n <= limit
}

func parseDSCP(w string) (uint8, bool) { return parseNumber(dscps, 63, w) }

// shift gives an error in a <line> parameter its column in the whole line.
func (a args) shift(err error) error {
	var invalid invalidError
	if errors.As(err, &invalid) {
		return invalidError{a.lineAt + invalid.at}
	}
	return err
}

// aceWords is the rest of an access list entry that is being parsed.
type aceWords struct {
	w    words
	v6   bool
	last int // column of the word that was taken last
	out  bool
}

func (a *aceWords) next() string {
	if len(a.w) == 0 {
		a.out = true
		return ""
	}
	w := a.w[0]
	a.w, a.last = a.w[1:], w.at
	return w.s
}

// fail: words are missing, or the last one was wrong.
func (a *aceWords) fail() error {
	if a.out {
		return errIncomplete
	}
	return invalidError{a.last}
}

// parseACE reads an entry behind its number and its action: tcp host A eq p any
// dscp ef.
func parseACE(action, rule string, v6 bool) (router.ACE, error) {
	var e router.ACE
	if action == "remark" {
		e.Remark = rule
		return e, nil
	}
	e.Deny = action == "deny"
	a := aceWords{w: split(rule), v6: v6}
	if proto := strings.ToLower(a.next()); proto != family(v6) && (v6 || proto != "ip") {
		n, ok := parseNumber(protocols, 255, proto)
		if !ok {
			return e, a.fail()
		}
		e.Protocol = n
	}
	var ok bool
	if e.Src, e.SrcPort, ok = a.end(e.Protocol); !ok {
		return e, a.fail()
	}
	if e.Dst, e.DstPort, ok = a.end(e.Protocol); !ok {
		return e, a.fail()
	}
	if len(a.w) > 0 {
		if a.next() != "dscp" {
			return e, a.fail()
		}
		if e.DSCP, e.HasDSCP = parseDSCP(a.next()); !e.HasDSCP {
			return e, a.fail()
		}
	}
	if len(a.w) > 0 {
		return e, invalidError{a.w[0].at}
	}
	return e, nil
}

// end reads an address and a port: any, host A, A WILDCARD or A/LEN; eq PORT.
func (a *aceWords) end(proto uint8) (p netip.Prefix, port uint16, ok bool) {
	w := a.next()
	switch w {
	case "any":
	case "host":
		addr, err := netip.ParseAddr(a.next())
		if err != nil || addr.Is6() != a.v6 {
			return p, 0, false
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	default:
		var err error
		if p, err = netip.ParsePrefix(w); err != nil {
			addr, err := netip.ParseAddr(w)
			if err != nil || a.v6 {
				return p, 0, false
			}
			n, ok := wildcardBits(a.next())
			if !ok {
				return p, 0, false
			}
			p = netip.PrefixFrom(addr, n)
		}
		if p = p.Masked(); p.Addr().Is6() != a.v6 {
			return p, 0, false
		}
	}
	if len(a.w) > 0 && a.w[0].s == "eq" && (proto == 6 || proto == 17 || proto == 132) {
		a.next()
		port, ok = parseNumber(ports, 65535, a.next())
		return p, port, ok && port != 0
	}
	return p, 0, true
}

// wildcardBits gives the prefix length of a wildcard mask without holes.
func wildcardBits(w string) (int, bool) {
	addr, err := netip.ParseAddr(w)
	if err != nil || !addr.Is4() {
		return 0, false
	}
	n := router.AddrID(addr)
	return 32 - bits.Len32(n), n&(n+1) == 0
}

// showACE writes an entry as the running configuration does.
func showACE(seq uint32, e router.ACE, v6 bool) string {
	if e.Remark != "" {
		return fmt.Sprintf(" %d remark %s", seq, e.Remark)
	}
	b := &strings.Builder{}
	fmt.Fprintf(b, " %d permit ", seq)
	if e.Deny {
		b.Reset()
		fmt.Fprintf(b, " %d deny ", seq)
	}
	if e.Protocol == 0 {
		b.WriteString(family(v6))
	} else {
		b.WriteString(named(protocols, e.Protocol))
	}
	side := func(p netip.Prefix, port uint16) {
		switch {
		case !p.IsValid():
			b.WriteString(" any")
		case p.IsSingleIP():
			b.WriteString(" host " + p.Addr().String())
		case v6:
			b.WriteString(" " + p.String())
		default:
			fmt.Fprintf(b, " %s %s", p.Addr(), router.IDAddr(uint32(uint64(1)<<(32-p.Bits())-1)))
		}
		if port != 0 {
			b.WriteString(" eq " + named(ports, port))
		}
	}
	side(e.Src, e.SrcPort)
	side(e.Dst, e.DstPort)
	if e.HasDSCP {
		b.WriteString(" dscp " + named(dscps, e.DSCP))
	}
	return b.String()
}
