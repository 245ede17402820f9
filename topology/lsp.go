package topology

import (
	"cmp"
	"net/netip"
)

// Hop is one hop of an ERO or RRO (RFC 3209, sections 4.3 and 4.4).
type Hop struct {
	// Addr is the address of the interface by which the hop's node is entered
	// (strict hops), or any address of the node (loose hops, router ids).
	Addr netip.Addr
	// Loose marks a loose hop: any route may lead to it.
	Loose bool
	// Label is the label that the node recorded; 0 where none is known (RRO only).
	Label uint32
}

// OperState is the operational state of an LSP.
type OperState uint8

// States of an LSP as its head end reports them.
const (
	OperUnknown OperState = iota
	OperDown
	OperUp
)

func (s OperState) String() string {
	return [...]string{"unknown", "down", "up"}[min(s, OperUp)]
}

// LSP is a label switched path, as intended (what an operation asks for) or as
// its head end reports it.
type LSP struct {
	// Name is the symbolic name (RFC 3209 session name). A name that begins with
	// "mpbox/<instance>/" is owned by that instance; all others are read-only.
	Name string
	// Ingress and Egress are node names of the TED.
	Ingress, Egress string
	// ERO is the intended route: every hop after the ingress node. Empty means
	// that the head end computes it.
	ERO []Hop
	// RRO is the actual route as recorded; empty while the LSP is down or the
	// head end does not tell.
	RRO []Hop
	// AdminUp is the administrative state; Oper the operational one.
	AdminUp bool
	Oper    OperState
	// Reason is the head end's words for why the LSP is not up; may be empty.
	Reason string
	// Bandwidth is what the LSP reserves, in bit/s.
	Bandwidth float64
	// SetupPriority and HoldPriority are 0 (best) to 7 (RFC 3209, section 4.7).
	SetupPriority, HoldPriority uint8
	// IncludeAny, IncludeAll and ExcludeAny are admin-group masks (RFC 3209,
	// section 4.7.4).
	IncludeAny, IncludeAll, ExcludeAny uint32
	// TunnelID is the head end's number for it (RSVP tunnel id, tunnel-teN,
	// PLSP-ID); 0 lets the driver choose.
	TunnelID uint32
}

// LSPKey identifies an LSP among those of several PEs. Its name alone does not: a
// name is unique at its head end only, and "tunnel-te1" is on every router.
type LSPKey struct{ Ingress, Name string }

// Key identifies the LSP among those of several PEs.
func (l *LSP) Key() LSPKey { return LSPKey{l.Ingress, l.Name} }

// Compare orders by name, and by head end where names are the same.
func (a LSPKey) Compare(b LSPKey) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Ingress, b.Ingress))
}
