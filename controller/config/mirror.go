package config

import (
	"fmt"
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Mirror is a port to which a switch copies what passes some attachments, for
// handshakes to be read from it instead of, or besides, a bridge's tap.
type Mirror struct {
	Name        string             `yaml:"name" jsonschema:"required,pattern=^[A-Za-z0-9][A-Za-z0-9._-]{0\\,31}$" jsonschema_description:"Name, in the API and in metrics."`
	Interface   string             `yaml:"interface" jsonschema:"required,pattern=^[^ /:%]{1\\,15}$" jsonschema_description:"Interface of this machine that the copies arrive at; it needs no address, unless they come as ERSPAN. It may come and go."`
	ERSPAN      bool               `yaml:"erspan" jsonschema_description:"The copies come from afar, in ERSPAN (type I, II or III)."`
	ThirdACK    bool               `yaml:"third_ack" jsonschema_description:"Also read the third packets of MPTCP handshakes, which verify a join."`
	Attachments []MirrorAttachment `yaml:"attachments" jsonschema:"required,minItems=1" jsonschema_description:"Whose frames are copied there."`
}

// MirrorAttachment is an attachment whose frames arrive at a mirror port.
type MirrorAttachment struct {
	Name        string         `yaml:"name" jsonschema:"required,pattern=^[A-Za-z0-9][A-Za-z0-9._-]{0\\,31}$" jsonschema_description:"Name of the attachment. One that a bridge or another entry describes needs no more; others are described here, with vpn."`
	Direction   string         `yaml:"direction" jsonschema:"enum=prefixes,enum=from_ce,enum=to_ce,enum=header" jsonschema_description:"Which way the copied frames went. prefixes: both ways; the attachment's prefixes tell. from_ce: from the customer (what a port towards it received, or one towards the PE sent). to_ce: to the customer. header: both ways; the header of ERSPAN type III tells, of a port towards the customer."`
	VLAN        []uint16       `yaml:"vlan,flow" jsonschema:"maxItems=2,minimum=1,maximum=4094" jsonschema_description:"VLAN ids of its copied frames: none, outer, or outer and inner."`
	Session     uint16         `yaml:"session,omitempty" jsonschema:"maximum=1023" jsonschema_description:"ERSPAN session that it comes in; 0: any."`
	VPN         string         `yaml:"vpn,omitempty" jsonschema_description:"VPN that it belongs to."`
	PE          string         `yaml:"pe,omitempty" jsonschema_description:"PE behind it, which must steer by ftn: there is no bridge to mark packets. Empty: connections are shown, not steered."`
	PEInterface string         `yaml:"pe_interface,omitempty" jsonschema_description:"That PE's own name of the interface."`
	Prefixes    []netip.Prefix `yaml:"prefixes,omitempty" jsonschema_description:"The customer's networks there."`
}

// Described tells whether the attachment is described here, rather than by a
// bridge or another entry.
func (a *MirrorAttachment) Described() bool { return a.VPN != "" }

// Attachment gives what is described, as of an attachment of a bridge.
func (a *MirrorAttachment) Attachment() Attachment {
	return Attachment{Name: a.Name, VPN: a.VPN, PE: a.PE, PEInterface: a.PEInterface, Prefixes: a.Prefixes}
}

// defaultMirror reads third ACKs: the kernel picks them out, so they cost little.
func defaultMirror() Mirror { return Mirror{ThirdACK: true} }

func defaultMirrorAttachment() MirrorAttachment { return MirrorAttachment{Direction: "prefixes"} }

// UnmarshalYAML fills in defaults.
func (m *Mirror) UnmarshalYAML(n *yaml.Node) error {
	type plain Mirror
	v := plain(defaultMirror())
	err := n.Decode(&v)
	*m = Mirror(v)
	return err
}

// UnmarshalYAML fills in defaults.
func (a *MirrorAttachment) UnmarshalYAML(n *yaml.Node) error {
	type plain MirrorAttachment
	v := plain(defaultMirrorAttachment())
	err := n.Decode(&v)
	*a = MirrorAttachment(v)
	return err
}

// mirrors checks the mirrors, and the attachments that they describe together with
// those of bridges.
func (k *checker) mirrors(attachments *attachments) {
	names, ports := k.unique("mirror"), k.unique("interface")
	for i := range k.c.Mirrors {
		m := &k.c.Mirrors[i]
		names.check(m.Name, "mirrors", i, "name")
		ports.check(m.Interface, "mirrors", i, "interface")
		for j := range m.Attachments {
			if a := &m.Attachments[j]; a.Described() {
				at := []any{"mirrors", i, "attachments", j}
				attachments.check(a.Attachment(), at...)
				k.mirroredPE(a, path(append(at, "pe")...))
			}
		}
	}
	for i := range k.c.Mirrors {
		used := k.unique(fmt.Sprintf("mirror %s: attachment of", k.c.Mirrors[i].Name))
		for j := range k.c.Mirrors[i].Attachments {
			k.mirrored(attachments, used, i, j)
		}
	}
}

// mirroredPE: marks are set by an edge bridge, and here is none.
func (k *checker) mirroredPE(a *MirrorAttachment, at []string) {
	for _, p := range k.c.PEs {
		if p.Name == a.PE && p.Steer == "class" {
			k.fail(at, "set steer: ftn of that PE, or describe the attachment at a bridge",
				"attachment %s: PE %s steers by %s, which needs an edge bridge", a.Name, p.Name, p.Steer)
		}
	}
}

// mirrored checks one entry, once all attachments are known.
func (k *checker) mirrored(attachments *attachments, used *unique, i, j int) {
	m := &k.c.Mirrors[i]
	a := &m.Attachments[j]
	at := func(key string) []string { return path("mirrors", i, "attachments", j, key) }
	what := "untagged frames"
	if len(a.VLAN) > 0 {
		what = fmt.Sprintf("VLAN %v", a.VLAN)
	}
	if a.Session != 0 {
		what += fmt.Sprintf(" in session %d", a.Session)
	}
	used.check(what, "mirrors", i, "attachments", j)
	if a.Session != 0 && !m.ERSPAN {
		k.fail(at("session"), "remove it, or set erspan: true", "mirror %s: session without erspan", m.Name)
	}
	if a.Direction == "header" && !m.ERSPAN {
		k.fail(at("direction"), "use prefixes, from_ce or to_ce, or set erspan: true", "mirror %s: direction header without erspan", m.Name)
	}
	prefixes, known := attachments.prefixes[a.Name]
	described := k.written("mirrors", i, "attachments", j, "vpn") // well or badly
	switch {
	case a.Name == "":
	case !known && !described:
		near := unknownName(a.Name, "a bridge", attachments.known())
		k.fail(at("name"), near+"; or describe it here: add vpn, and pe, pe_interface and prefixes where they are known",
			"mirror %s: no attachment is named %q", m.Name, a.Name)
	case !described && (a.PE != "" || a.PEInterface != "" || len(a.Prefixes) > 0):
		key := "pe"
		if a.PE == "" {
			key = "prefixes"
		}
		if a.PE == "" && len(a.Prefixes) == 0 {
			key = "pe_interface"
		}
		k.fail(at(key), "leave pe, pe_interface and prefixes there alone", "attachment %s is described elsewhere", a.Name)
	case known && a.Direction == "prefixes" && !slices.ContainsFunc(prefixes, netip.Prefix.IsValid):
		k.fail(at("name"), "give the attachment prefixes; or mirror each direction by itself, and set direction to from_ce and to_ce",
			"mirror %s: attachment %s has no prefixes, so it cannot be told which way a frame went", m.Name, a.Name)
	}
}
