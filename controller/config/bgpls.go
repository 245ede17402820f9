package config

import (
	"fmt"
	"net/netip"
	"time"

	"go.yaml.in/yaml/v3"
)

// BGPLS is a BGP speaker that learns the network's topology and announces nothing.
type BGPLS struct {
	ASN      uint32      `yaml:"asn" jsonschema:"required,minimum=1" jsonschema_description:"Our AS number."`
	RouterID netip.Addr  `yaml:"router_id" jsonschema:"required,format=address" jsonschema_description:"Our BGP identifier: an IPv4 address that no router has."`
	Listen   string      `yaml:"listen,omitempty" jsonschema:"format=hostport" jsonschema_description:"Where peers may connect, like 192.0.2.10:179 or [::]:179; only those named below are answered. Ports below 1024 take root or CAP_NET_BIND_SERVICE. Empty: mpbox connects to the peers."`
	FallBack Duration    `yaml:"fall_back" jsonschema_description:"How long all sessions must have been lost before the topology that PEs tell (topology of pes) is used instead; until then, and where no PE tells any, the last one stays. 1s to 24h; 0s: never."`
	Peers    []BGPLSPeer `yaml:"peers" jsonschema:"required,minItems=1" jsonschema_description:"Routers or route reflectors that tell their topology. One is enough for each IGP area; of several that tell the same, the loss of one loses nothing."`
}

// BGPLSPeer is a router that tells its topology.
type BGPLSPeer struct {
	Address      netip.Addr `yaml:"address" jsonschema:"required,format=address" jsonschema_description:"Where its session comes from or is made to."`
	ASN          uint32     `yaml:"asn,omitempty" jsonschema:"minimum=1" jsonschema_description:"Its AS number; left out: ours."`
	Port         uint16     `yaml:"port" jsonschema:"minimum=1" jsonschema_description:"TCP port to connect to."`
	Passive      bool       `yaml:"passive" jsonschema_description:"It connects to us, at listen; we do not to it."`
	Password     Secret     `yaml:"password,omitempty" jsonschema:"minLength=1" jsonschema_description:"Of TCP MD5 (RFC 2385), the same on the router. Without one, anybody who can use the peer's address can tell us a topology."`
	PasswordFile string     `yaml:"password_file,omitempty" jsonschema_description:"File with it, not readable by others."`
}

func defaultBGPLS() BGPLS         { return BGPLS{FallBack: Duration(time.Minute)} }
func defaultBGPLSPeer() BGPLSPeer { return BGPLSPeer{Port: 179} }

// UnmarshalYAML fills in defaults.
func (b *BGPLS) UnmarshalYAML(n *yaml.Node) error {
	type plain BGPLS
	v := plain(defaultBGPLS())
	err := n.Decode(&v)
	*b = BGPLS(v)
	return err
}

// UnmarshalYAML fills in defaults.
func (p *BGPLSPeer) UnmarshalYAML(n *yaml.Node) error {
	type plain BGPLSPeer
	v := plain(defaultBGPLSPeer())
	err := n.Decode(&v)
	*p = BGPLSPeer(v)
	return err
}

// bgpls checks the BGP speaker.
func (k *checker) bgpls() {
	b := k.c.BGPLS
	if b == nil {
		return
	}
	if b.FallBack != 0 {
		k.within(b.FallBack, time.Second, 24*time.Hour, "bgp_ls", "fall_back")
	}
	if b.RouterID.IsValid() && !b.RouterID.Is4() {
		k.fail(path("bgp_ls", "router_id"), "use an IPv4 address, also where peers have IPv6 ones (RFC 4271, section 4.2)", "bgp_ls.router_id: %s is no IPv4 address", b.RouterID)
	}
	for i := range k.c.PEs {
		if p := &k.c.PEs[i]; b.RouterID.IsValid() && p.RouterID == b.RouterID {
			k.fail(path("bgp_ls", "router_id"), "use an address that no router has, such as one of this machine", "bgp_ls.router_id: %s is that of PE %s", b.RouterID, p.Name)
		}
	}
	if _, err := netip.ParseAddrPort(b.Listen); b.Listen != "" && err != nil {
		k.fail(path("bgp_ls", "listen"), "write an address of this machine, not a name: 192.0.2.10:179, or 0.0.0.0:179 for all", "bgp_ls.listen: %s is no address and port", b.Listen)
	}
	seen := k.unique("BGP-LS peer")
	for i := range b.Peers {
		k.bgplsPeer(b, i, seen)
	}
}

func (k *checker) bgplsPeer(b *BGPLS, i int, seen *unique) {
	p := &b.Peers[i]
	at := func(key string) []any { return []any{"bgp_ls", "peers", i, key} }
	if p.Address.IsValid() {
		seen.check(p.Address.String(), at("address")...)
		if p.Address.IsUnspecified() || p.Address.IsMulticast() {
			k.fail(path(at("address")...), "use the address that its session comes from", "bgp_ls.peers[%d].address: %s is no router's", i, p.Address)
		}
	}
	if p.ASN == 0 && !k.written(at("asn")...) {
		p.ASN = b.ASN
	}
	if p.Passive && b.Listen == "" && !k.written("bgp_ls", "listen") {
		k.fail(path(at("passive")...), "add bgp_ls.listen: ADDRESS:179, or remove passive",
			"BGP-LS peer %s is passive, and nothing listens for it", p.Address)
	}
	if p.Passive && p.Port != 0 && p.Port != defaultBGPLSPeer().Port {
		k.fail(path(at("port")...), "remove it, or passive", "BGP-LS peer %s: port is where we connect to, and passive says that we do not", p.Address)
	}
	if k.written(at("password")...) || k.written(at("password_file")...) {
		k.secret(&p.Password, &p.PasswordFile, 1, at("password")...)
	}
	if len(p.Password) > maxMD5 {
		k.fail(path(at("password")...), fmt.Sprintf("use at most %d characters", maxMD5), "BGP-LS peer %s: the password is too long for TCP MD5", p.Address)
	}
}

// maxMD5 is what Linux takes (TCP_MD5SIG_MAXKEYLEN).
const maxMD5 = 80
