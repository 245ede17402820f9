package config

import "go.yaml.in/yaml/v3"

// Items of lists get their defaults here: they exist only once they are read.

// UnmarshalYAML fills in defaults.
func (p *PE) UnmarshalYAML(n *yaml.Node) error {
	type plain PE
	v := plain(defaultPE())
	err := n.Decode(&v)
	*p = PE(v)
	return err
}

// UnmarshalYAML fills in defaults.
func (s *SNMP) UnmarshalYAML(n *yaml.Node) error {
	type plain SNMP
	v := plain(defaultSNMP())
	err := n.Decode(&v)
	*s = SNMP(v)
	return err
}

// UnmarshalYAML fills in defaults.
func (s *SSH) UnmarshalYAML(n *yaml.Node) error {
	type plain SSH
	v := plain(defaultSSH())
	err := n.Decode(&v)
	*s = SSH(v)
	return err
}

// UnmarshalYAML fills in defaults.
func (p *Policy) UnmarshalYAML(n *yaml.Node) error {
	type plain Policy
	v := plain(defaultPolicy())
	v.Name = ""
	err := n.Decode(&v)
	*p = Policy(v)
	return err
}

// UnmarshalYAML fills in defaults.
func (a *Attachment) UnmarshalYAML(n *yaml.Node) error {
	type plain Attachment
	v := plain(defaultAttachment())
	err := n.Decode(&v)
	*a = Attachment(v)
	return err
}
