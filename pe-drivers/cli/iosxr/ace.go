package iosxr

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"mpbox/topology"
)

// aceText writes a class as an entry of an access list. v6 chooses the family for
// a class that names no address.
func aceText(f topology.FEC, v6 bool) (string, error) {
	proto := map[uint8]string{6: "tcp", 17: "udp", 132: "sctp", 1: "icmp", 58: "icmpv6"}[f.Protocol]
	switch {
	case f.Protocol == 0 && v6:
		proto = "ipv6"
	case f.Protocol == 0:
		proto = "ipv4"
	case proto == "":
		proto = strconv.Itoa(int(f.Protocol))
	}
	if (f.SrcPort != 0 || f.DstPort != 0) && f.Protocol != 6 && f.Protocol != 17 && f.Protocol != 132 {
		return "", fmt.Errorf("ports need protocol TCP, UDP or SCTP")
	}
	s := "permit " + proto + addrText(f.Src) + portText(f.SrcPort) + addrText(f.Dst) + portText(f.DstPort)
	if f.HasDSCP {
		s += " dscp " + strconv.Itoa(int(f.DSCP))
	}
	return s, nil
}

func addrText(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return " any"
	case p.IsSingleIP():
		return " host " + p.Addr().String()
	case p.Addr().Is4():
		return " " + p.Masked().Addr().String() + " " + wildcard(p.Bits()).String()
	}
	return " " + p.Masked().String()
}

// wildcard is the inverse of a netmask.
func wildcard(bits int) netip.Addr {
	m := ^uint32(0) >> bits
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)})
}

func portText(p uint16) string {
	if p == 0 {
		return ""
	}
	return " eq " + strconv.Itoa(int(p))
}

// parseACE reads an entry of an access list as far as a FEC can hold it.
func parseACE(text string) (topology.FEC, error) {
	var f topology.FEC
	w := strings.Fields(text)
	next := func() string {
		if len(w) == 0 {
			return ""
		}
		s := w[0]
		w = w[1:]
		return s
	}
	if next() != "permit" {
		return f, fmt.Errorf("access list entry %q: not a permit", text)
	}
	proto, ok := protocolNumber(next())
	if !ok {
		return f, fmt.Errorf("access list entry %q: unknown protocol", text)
	}
	f.Protocol = proto
	for _, end := range []struct {
		addr *netip.Prefix
		port *uint16
	}{{&f.Src, &f.SrcPort}, {&f.Dst, &f.DstPort}} {
		if err := parseAddr(next, end.addr); err != nil {
			return f, fmt.Errorf("access list entry %q: %w", text, err)
		}
		if len(w) > 0 && w[0] == "eq" {
			next()
			p, ok := portNumber(next())
			if !ok {
				return f, fmt.Errorf("access list entry %q: unknown port", text)
			}
			*end.port = p
		}
	}
	if len(w) > 0 && w[0] == "dscp" {
		next()
		if len(w) > 0 && w[0] == "eq" {
			next()
		}
		d, ok := dscpNumber(next())
		if !ok {
			return f, fmt.Errorf("access list entry %q: unknown DSCP", text)
		}
		f.DSCP, f.HasDSCP = d, true
	}
	if len(w) > 0 {
		return f, fmt.Errorf("access list entry %q: %q is not understood", text, strings.Join(w, " "))
	}
	return f, nil
}

func parseAddr(next func() string, out *netip.Prefix) error {
	switch s := next(); {
	case s == "any":
	case s == "host":
		a, err := netip.ParseAddr(next())
		if err != nil {
			return err
		}
		*out = netip.PrefixFrom(a, a.BitLen())
	case strings.Contains(s, "/"):
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return err
		}
		*out = p
	default:
		a, err := netip.ParseAddr(s)
		if err != nil {
			return err
		}
		mask, err := netip.ParseAddr(next())
		if err != nil {
			return err
		}
		for bits := 0; bits <= 32; bits++ {
			if wildcard(bits) == mask {
				*out = netip.PrefixFrom(a, bits)
				return nil
			}
		}
		return fmt.Errorf("wildcard %s is no prefix", mask)
	}
	return nil
}

func protocolNumber(s string) (uint8, bool) {
	if n, ok := map[string]uint8{
		"ipv4": 0, "ipv6": 0, "icmp": 1, "igmp": 2, "ipinip": 4, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ahp": 51,
		"icmpv6": 58, "eigrp": 88, "ospf": 89, "nos": 94, "pim": 103, "pcp": 108, "sctp": 132,
	}[s]; ok {
		return n, true
	}
	n, err := strconv.ParseUint(s, 10, 8)
	return uint8(n), err == nil
}

// Ports and DSCPs are shown by name where IOS-XR knows one, however they were
// entered.
var portNames = map[string]uint16{
	"echo": 7, "discard": 9, "systat": 11, "daytime": 13, "chargen": 19, "ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23,
	"smtp": 25, "time": 37, "nameserver": 42, "whois": 43, "tacacs": 49, "domain": 53, "bootps": 67, "bootpc": 68, "tftp": 69,
	"gopher": 70, "finger": 79, "www": 80, "hostname": 101, "pop2": 109, "pop3": 110, "sunrpc": 111, "ident": 113, "nntp": 119,
	"ntp": 123, "netbios-ns": 137, "netbios-dgm": 138, "netbios-ss": 139, "snmp": 161, "snmptrap": 162, "xdmcp": 177, "bgp": 179,
	"irc": 194, "dnsix": 195, "mobile-ip": 434, "https": 443, "pim-auto-rp": 496, "isakmp": 500, "biff": 512, "exec": 512,
	"login": 513, "who": 513, "cmd": 514, "syslog": 514, "lpd": 515, "talk": 517, "rip": 520, "uucp": 540, "klogin": 543,
	"kshell": 544, "ldp": 646,
}

func portNumber(s string) (uint16, bool) {
	if n, ok := portNames[s]; ok {
		return n, true
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}

func dscpNumber(s string) (uint8, bool) {
	switch {
	case s == "default":
		return 0, true
	case s == "ef":
		return 46, true
	case len(s) == 3 && s[:2] == "cs" && s[2] >= '1' && s[2] <= '7':
		return (s[2] - '0') * 8, true
	case len(s) == 4 && s[:2] == "af" && s[2] >= '1' && s[2] <= '4' && s[3] >= '1' && s[3] <= '3':
		return (s[2]-'0')*8 + (s[3]-'0')*2, true
	}
	n, err := strconv.ParseUint(s, 10, 8)
	return uint8(n), err == nil && n < 64
}
