package config

import (
	"net/netip"
	"time"
)

// PE is a provider edge router and how it is reached.
type PE struct {
	Name      string     `yaml:"name" jsonschema:"required,pattern=^[A-Za-z0-9][A-Za-z0-9._-]{0\\,31}$" jsonschema_description:"Name; its node in the topology has the same."`
	RouterID  netip.Addr `yaml:"router_id" jsonschema:"required,format=address" jsonschema_description:"MPLS-TE router id (RFC 3630, section 2.4.1)."`
	Driver    string     `yaml:"driver" jsonschema:"required,enum=snmp,enum=iosxr" jsonschema_description:"What LSPs and table entries are read and written by. snmp: MPLS-TE-STD and MPLS-FTN-STD MIB, needs snmp. iosxr: CLI, needs ssh."`
	Topology  string     `yaml:"topology" jsonschema:"enum=iosxr,enum=none" jsonschema_description:"What its view of the network is read by. iosxr: CLI, needs ssh."`
	Steer     string     `yaml:"steer" jsonschema:"enum=ftn,enum=class" jsonschema_description:"How a subflow is told apart. ftn: the PE matches addresses and ports. class: the edge bridge marks a DSCP, the PE maps it."`
	SNMP      *SNMP      `yaml:"snmp,omitempty" jsonschema_description:"SNMPv3, authPriv."`
	SSH       *SSH       `yaml:"ssh,omitempty" jsonschema_description:"CLI over SSH."`
	TunnelIDs [2]uint32  `yaml:"tunnel_ids,flow" jsonschema_description:"First and last tunnel number that mpbox may use there."`
	Poll      Duration   `yaml:"poll" jsonschema_description:"How often LSPs and table entries are read; 100ms to 10m."`
}

// SNMP is a session of SNMPv3 with the user-based security model (RFC 3414).
type SNMP struct {
	Address          string   `yaml:"address" jsonschema:"required,format=hostport" jsonschema_description:"host:port, usually port 161."`
	User             string   `yaml:"user" jsonschema:"required,minLength=1" jsonschema_description:"Security name."`
	Context          string   `yaml:"context,omitempty" jsonschema_description:"Context name of each request; empty: the default context."`
	Auth             string   `yaml:"auth" jsonschema:"enum=sha1,enum=sha224,enum=sha256,enum=sha384,enum=sha512" jsonschema_description:"Authentication protocol (RFC 3414, RFC 7860)."`
	AuthPassword     Secret   `yaml:"auth_password,omitempty" jsonschema:"minLength=8" jsonschema_description:"Authentication password."`
	AuthPasswordFile string   `yaml:"auth_password_file,omitempty" jsonschema_description:"File with it, not readable by others."`
	Priv             string   `yaml:"priv" jsonschema:"enum=aes128,enum=aes192,enum=aes256" jsonschema_description:"Privacy protocol. aes128: RFC 3826. aes192, aes256: draft-blumenthal-aes-usm-04, as net-snmp has them; with a PE that extends keys in Reeder's way (Cisco), use sha256 or better, whose keys need no extension."`
	PrivPassword     Secret   `yaml:"priv_password,omitempty" jsonschema:"minLength=8" jsonschema_description:"Privacy password."`
	PrivPasswordFile string   `yaml:"priv_password_file,omitempty" jsonschema_description:"File with it, not readable by others."`
	Timeout          Duration `yaml:"timeout" jsonschema_description:"For one request."`
	Retries          int      `yaml:"retries" jsonschema:"minimum=0,maximum=10" jsonschema_description:"How often a read without an answer is sent again; 0: never. Writes are sent once."`
}

// SSH is a session with a router's CLI.
type SSH struct {
	Address      string   `yaml:"address" jsonschema:"required,format=hostport" jsonschema_description:"host:port, usually port 22."`
	User         string   `yaml:"user" jsonschema:"required,minLength=1"`
	Password     Secret   `yaml:"password,omitempty" jsonschema:"minLength=1"`
	PasswordFile string   `yaml:"password_file,omitempty" jsonschema_description:"File with the password, not readable by others."`
	KeyFile      string   `yaml:"key_file,omitempty" jsonschema_description:"File with a private key, not readable by others."`
	HostKey      string   `yaml:"host_key,omitempty" jsonschema_description:"The router's public key, as ssh-keyscan shows it: ssh-ed25519 AAAA…"`
	KnownHosts   string   `yaml:"known_hosts,omitempty" jsonschema_description:"File with host keys, in place of host_key."`
	Timeout      Duration `yaml:"timeout" jsonschema_description:"For one command."`
}

func defaultPE() PE {
	return PE{Topology: "none", Steer: "ftn", TunnelIDs: [2]uint32{50000, 50999}, Poll: Duration(time.Second)}
}

func defaultSNMP() SNMP {
	return SNMP{Auth: "sha256", Priv: "aes128", Timeout: Duration(2 * time.Second), Retries: 2}
}

func defaultSSH() SSH { return SSH{Timeout: Duration(10 * time.Second)} }
