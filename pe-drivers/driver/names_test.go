package driver

import (
	"net/netip"
	"testing"
)

func TestNames(t *testing.T) {
	id := netip.MustParseAddr("10.255.0.1")
	n := NewNames(map[netip.Addr]string{id: "pe1"})
	if got := n.Name(id); got != "pe1" {
		t.Errorf("Name(%s) = %q, want pe1", id, got)
	}
	if got, ok := n.RouterID("pe1"); !ok || got != id {
		t.Errorf("RouterID(pe1) = %v %v, want %v", got, ok, id)
	}
	// A router that nobody named is called by its id, both ways.
	other := netip.MustParseAddr("10.255.0.9")
	if got := n.Name(other); got != "10.255.0.9" {
		t.Errorf("Name(%s) = %q", other, got)
	}
	if got, ok := n.RouterID("10.255.0.9"); !ok || got != other {
		t.Errorf("RouterID(10.255.0.9) = %v %v", got, ok)
	}
	if _, ok := n.RouterID("pe9"); ok {
		t.Error("RouterID(pe9) is known, want unknown")
	}
	if got := n.Name(netip.Addr{}); got != "" {
		t.Errorf("Name(invalid) = %q, want nothing", got)
	}
	if got := (Names{}).Name(id); got != "10.255.0.1" {
		t.Errorf("zero Names: Name = %q", got)
	}
}
