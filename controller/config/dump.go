package config

import (
	"bytes"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Dump writes the configuration in force as YAML: defaults filled in, file names
// resolved, secrets left out. What it writes can be loaded again where secrets are
// in files.
func (c *Config) Dump() ([]byte, error) {
	d := *c
	d.PEs = make([]PE, len(c.PEs))
	for i, p := range c.PEs {
		if p.SNMP != nil {
			s := *p.SNMP
			blankIf(&s.AuthPassword, s.AuthPasswordFile)
			blankIf(&s.PrivPassword, s.PrivPasswordFile)
			p.SNMP = &s
		}
		if p.SSH != nil {
			s := *p.SSH
			blankIf(&s.Password, s.PasswordFile)
			p.SSH = &s
		}
		d.PEs[i] = p
	}
	if c.BGPLS != nil {
		ls := *c.BGPLS
		ls.Peers = slices.Clone(ls.Peers)
		for i := range ls.Peers {
			blankIf(&ls.Peers[i].Password, ls.Peers[i].PasswordFile)
		}
		d.BGPLS = &ls
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&d); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	return b.Bytes(), enc.Close()
}

// blankIf drops a password that came from a file.
func blankIf(s *Secret, file string) {
	if file != "" {
		*s = ""
	}
}
