package driver

import (
	"maps"
	"net/netip"
)

// Names translates between router ids, which PEs write, and the node names of
// the TED. The zero value knows no names: a router is then called by its id.
type Names struct {
	byID   map[netip.Addr]string
	byName map[string]netip.Addr
}

// NewNames builds the translation from router id to name. Of two ids with one
// name, which one RouterID gives is undefined.
func NewNames(ids map[netip.Addr]string) Names {
	n := Names{byID: maps.Clone(ids), byName: make(map[string]netip.Addr, len(ids))}
	for id, name := range ids {
		n.byName[name] = id
	}
	return n
}

// Name of the router with that id: the id's own text where no name is known, ""
// for an invalid id.
func (n Names) Name(id netip.Addr) string {
	if name, ok := n.byID[id]; ok {
		return name
	}
	if !id.IsValid() {
		return ""
	}
	return id.String()
}

// RouterID of the node with that name, which may be a router id in text.
func (n Names) RouterID(name string) (netip.Addr, bool) {
	if id, ok := n.byName[name]; ok {
		return id, true
	}
	id, err := netip.ParseAddr(name)
	return id, err == nil
}
