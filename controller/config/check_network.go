package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

// vpns checks the VPNs and gives their names.
func (k *checker) vpns() []string {
	names := k.unique("VPN")
	known := []string{DefaultVPN}
	for i, v := range k.c.VPNs {
		names.check(v.Name, "vpns", i, "name")
		known = append(known, v.Name)
	}
	if v := k.c.OpenFlow.Observe.VPN; !slices.Contains(known, v) {
		k.fail(path("openflow", "observe", "vpn"), unknownName(v, "vpns", known), "openflow.observe.vpn: no VPN is named %q", v)
	}
	return known
}

// unknownName is the remedy for a name that is not there.
func unknownName(name, list string, known []string) string {
	if near := nearest(name, known); near != "" && near != name {
		return fmt.Sprintf("did you mean %s? Otherwise add it to %s", near, list)
	}
	return "add it to " + list + ", or remove it here"
}

// attachments checks those of bridges and of mirrors against each other.
type attachments struct {
	k         *checker
	vpns, pes []string
	names     *unique
	places    *unique
	nets      map[string]*overlaps // by VPN
	prefixes  map[string][]netip.Prefix
}

func (k *checker) attachments(vpns []string) *attachments {
	as := &attachments{
		k: k, vpns: vpns, names: k.unique("attachment"), places: k.unique("PE interface"), nets: map[string]*overlaps{}, prefixes: map[string][]netip.Prefix{},
	}
	for _, p := range k.c.PEs {
		as.pes = append(as.pes, p.Name)
	}
	return as
}

// known gives the names of those that were checked.
func (as *attachments) known() []string { return slices.Sorted(maps.Keys(as.prefixes)) }

// check checks what an attachment says of VPN, PE and networks.
func (as *attachments) check(a Attachment, at ...any) {
	k := as.k
	below := func(key string) []any { return append(slices.Clone(at), key) }
	here := func(key string) []string { return path(below(key)...) }
	as.names.check(a.Name, below("name")...)
	as.prefixes[a.Name] = append(as.prefixes[a.Name], a.Prefixes...)
	if !slices.Contains(as.vpns, a.VPN) {
		k.fail(here("vpn"), unknownName(a.VPN, "vpns", as.vpns), "attachment %s: no VPN is named %q", a.Name, a.VPN)
	}
	switch {
	case a.PE == "" && a.PEInterface != "":
		k.fail(here("pe_interface"), "add pe: NAME", "attachment %s: pe_interface without pe", a.Name)
	case a.PE == "":
	case !slices.Contains(as.pes, a.PE):
		k.fail(here("pe"), unknownName(a.PE, "pes", as.pes), "attachment %s: no PE is named %q", a.Name, a.PE)
	case a.PEInterface == "":
		k.fail(here("pe"), "add pe_interface: that PE's own name of the port, like GigabitEthernet0/0/0/1",
			"attachment %s: pe_interface is missing, flows cannot be steered without it", a.Name)
	default:
		as.places.check(a.PE+" "+a.PEInterface, below("pe_interface")...)
	}
	if as.nets[a.VPN] == nil {
		as.nets[a.VPN] = &overlaps{}
	}
	for n, prefix := range a.Prefixes {
		as.nets[a.VPN].add(k, a, prefix, append(below("prefixes"), n))
	}
}

func (k *checker) bridges(as *attachments) {
	names, dpids := k.unique("bridge"), k.unique("dpid")
	for i, b := range k.c.Bridges {
		names.check(b.Name, "bridges", i, "name")
		if b.DPID != 0 {
			dpids.check(b.DPID.String(), "bridges", i, "dpid")
		} else if _, v, ok := k.find(path("bridges", i, "dpid")...); ok && v.ShortTag() != "!!null" {
			k.fail(path("bridges", i, "dpid"), "use the bridge's own, as ovs-vsctl get bridge NAME datapath_id shows it",
				"bridges[%d].dpid: 0 is no datapath id", i)
		}
		k.ports(i, b)
		for j, a := range b.Attachments {
			as.check(a, "bridges", i, "attachments", j)
		}
	}
}

// ports checks that no two attachments of a bridge share a place: a port towards
// the customer, or one towards the PE, with the same VLANs.
func (k *checker) ports(i int, b Bridge) {
	used := k.unique("bridge " + b.Name + ":")
	for j, a := range b.Attachments {
		tags := ""
		if len(a.VLAN) > 0 {
			tags = fmt.Sprintf(" with VLAN %v", a.VLAN)
		}
		if a.CEPort != 0 {
			used.check(fmt.Sprintf("port %d%s", a.CEPort, tags), "bridges", i, "attachments", j, "ce_port")
		}
		if a.PEPort != 0 {
			used.check(fmt.Sprintf("port %d%s", a.PEPort, tags), "bridges", i, "attachments", j, "pe_port")
		}
	}
}

// overlaps finds prefixes of one VPN that have addresses in common: the far side
// of a flow would be in two places.
type overlaps struct {
	list []placedPrefix
}

type placedPrefix struct {
	prefix netip.Prefix
	att    Attachment
	at     []any
}

func (o *overlaps) add(k *checker, a Attachment, p netip.Prefix, at []any) {
	if !p.IsValid() {
		return
	}
	for _, x := range o.list {
		if !x.prefix.Overlaps(p) {
			continue
		}
		remedy := "leave each address at one attachment; prefixes are only for far sides without a tap, so a site that is attached twice may have none"
		if x.att.Name == a.Name {
			remedy = "remove one of them"
		}
		k.fail(path(at...), remedy, "attachment %s: prefix %s overlaps %s of attachment %s (%s) in VPN %s",
			a.Name, p, x.prefix, x.att.Name, k.line(x.at...), a.VPN)
		break
	}
	o.list = append(o.list, placedPrefix{p, a, at})
}

func (k *checker) pes() {
	names, ids := k.unique("PE"), k.unique("router id")
	for i := range k.c.PEs {
		p := &k.c.PEs[i]
		names.check(p.Name, "pes", i, "name")
		if p.RouterID.IsValid() {
			ids.check(p.RouterID.String(), "pes", i, "router_id")
		}
		k.within(p.Poll, 100*time.Millisecond, 10*time.Minute, "pes", i, "poll")
		if p.TunnelIDs[0] > p.TunnelIDs[1] || p.TunnelIDs[1] > 65535 || p.TunnelIDs[0] == 0 {
			k.fail(path("pes", i, "tunnel_ids"), "use [first, last] from 1 to 65535, like [50000, 50999]",
				"PE %s: tunnel_ids %v is no range", p.Name, p.TunnelIDs)
		}
		for _, session := range []struct {
			key, value, needs string
			has               bool
		}{
			{"driver", p.Driver, "snmp", p.SNMP != nil}, {"driver", p.Driver, "iosxr", p.SSH != nil},
			{"topology", p.Topology, "iosxr", p.SSH != nil},
		} {
			block := map[string]string{"snmp": "snmp", "iosxr": "ssh"}[session.needs]
			if session.value == session.needs && !session.has && !k.written("pes", i, block) {
				k.fail(path("pes", i, session.key), "add "+block+": {address: …, user: …}",
					"PE %s: %s is %s, and %s is missing", p.Name, session.key, session.value, block)
			}
		}
		if p.SNMP != nil {
			k.snmp(i, p)
		}
		if p.SSH != nil {
			k.ssh(i, p)
		}
	}
}

// written reports whether the file holds something there, good or bad.
func (k *checker) written(at ...any) bool {
	_, _, ok := k.find(path(at...)...)
	return ok
}

func (k *checker) snmp(i int, p *PE) {
	s := p.SNMP
	k.within(s.Timeout, 100*time.Millisecond, time.Minute, "pes", i, "snmp", "timeout")
	k.secret(&s.AuthPassword, &s.AuthPasswordFile, 8, "pes", i, "snmp", "auth_password")
	k.secret(&s.PrivPassword, &s.PrivPasswordFile, 8, "pes", i, "snmp", "priv_password")
}

func (k *checker) ssh(i int, p *PE) {
	s := p.SSH
	k.within(s.Timeout, 100*time.Millisecond, 10*time.Minute, "pes", i, "ssh", "timeout")
	if s.KeyFile != "" {
		k.file(&s.KeyFile)
		k.readSecret(s.KeyFile, path("pes", i, "ssh", "key_file"))
	}
	if s.KeyFile == "" || s.Password != "" || s.PasswordFile != "" {
		k.secret(&s.Password, &s.PasswordFile, 1, "pes", i, "ssh", "password")
	}
	switch {
	case s.HostKey == "" && s.KnownHosts == "":
		if !k.written("pes", i, "ssh", "host_key") && !k.written("pes", i, "ssh", "known_hosts") {
			k.fail(path("pes", i, "ssh"), "add host_key, as ssh-keyscan shows it, after comparing it with the router's own",
				"PE %s: ssh has neither host_key nor known_hosts, the router could be anybody", p.Name)
		}
	case s.HostKey != "" && s.KnownHosts != "":
		k.fail(path("pes", i, "ssh", "known_hosts"), "keep one of them", "PE %s: ssh has both host_key and known_hosts", p.Name)
	case s.HostKey != "":
		if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s.HostKey)); err != nil {
			k.fail(path("pes", i, "ssh", "host_key"), "write type and key as ssh-keyscan shows them, without the address: ssh-ed25519 AAAA…",
				"PE %s: host_key is no public key", p.Name)
		}
	default:
		k.file(&s.KnownHosts)
		k.readable(s.KnownHosts, path("pes", i, "ssh", "known_hosts"))
	}
}

func (k *checker) topology() {
	t := &k.c.Topology
	k.within(t.Poll, 100*time.Millisecond, 10*time.Minute, "topology", "poll")
	if t.File != "" {
		k.file(&t.File)
		k.readable(t.File, path("topology", "file"))
	}
	byName := map[string]netip.Addr{}
	byID := map[netip.Addr]string{}
	for _, p := range k.c.PEs {
		byName[p.Name], byID[p.RouterID] = p.RouterID, p.Name
	}
	ids := make([]netip.Addr, 0, len(t.Names))
	for id := range t.Names {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, netip.Addr.Compare)
	for _, id := range ids {
		name := t.Names[id]
		at := path("topology", "names", id)
		if pe, ok := byID[id]; ok && pe != name {
			k.fail(at, "remove it here", "topology.names: router id %s is that of PE %s", id, pe)
		} else if other, ok := byName[name]; ok && other != id {
			k.fail(at, "choose another name", "topology.names: the name %s is that of %s already", name, other)
		}
		byName[name] = id
	}
}

func (k *checker) policies(vpns []string) {
	names := k.unique("policy")
	catchAll := -1
	for i, p := range k.c.Policies {
		names.check(p.Name, "policies", i, "name")
		if p.Match.VPN != "*" && p.Match.VPN != "" && !slices.Contains(vpns, p.Match.VPN) {
			k.fail(path("policies", i, "match", "vpn"), unknownName(p.Match.VPN, "vpns", vpns), "policy %s: no VPN is named %q", p.Name, p.Match.VPN)
		}
		if catchAll >= 0 {
			k.fail(path("policies", i, "name"), "move it up", "policy %s is never used: policy %s before it matches every connection",
				p.Name, k.c.Policies[catchAll].Name)
		} else if (p.Match.VPN == "*" || p.Match.VPN == "") && len(p.Match.Prefixes) == 0 && len(p.Match.Ports) == 0 {
			catchAll = i
		}
		if p.LSP.HoldPriority > p.LSP.SetupPriority {
			k.fail(path("policies", i, "lsp", "hold_priority"), "use a hold_priority that is not greater than setup_priority (RFC 3209, section 4.7.1)",
				"policy %s: hold_priority %d is worse than setup_priority %d, such LSPs would tear each other down", p.Name, p.LSP.HoldPriority, p.LSP.SetupPriority)
		}
		if p.RequireVerified && k.c.Tap.ThirdACK == "off" && !slices.ContainsFunc(k.c.Mirrors, func(m Mirror) bool { return m.ThirdACK }) {
			k.fail(path("policies", i, "require_verified"), "set tap.third_ack to conntrack or reactive, or third_ack of a mirror to true",
				"policy %s: require_verified, and tap.third_ack is off: nothing would ever be verified", p.Name)
		}
		if both := p.LSP.ExcludeAny & p.LSP.IncludeAll; both != 0 {
			k.fail(path("policies", i, "lsp", "exclude_any"), "remove the common groups from one of them",
				"policy %s: admin groups %#x are in include_all and in exclude_any, no link can have them", p.Name, both)
		}
		for j, n := range p.Constraints.AvoidNodes {
			if slices.Contains(p.Constraints.RequireNodes, n) {
				k.fail(path("policies", i, "constraints", "avoid_nodes", j), "remove it from one of them",
					"policy %s: node %s is in avoid_nodes and in require_nodes", p.Name, n)
			}
		}
	}
}
