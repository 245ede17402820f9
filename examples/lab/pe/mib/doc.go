// Package mib shows a router as SNMP objects: MPLS-TE-STD-MIB (RFC 3812) and
// MPLS-FTN-STD-MIB (RFC 3814) with SET, MPLS-LSR-STD-MIB (RFC 3813) and the
// interface tables (RFC 2863) read-only. It is an agentx.Handler.
//
// A SET is tested as a whole on a copy of the configuration: row by row with
// RFC 2579's row states, whatever the order of its variables. Nothing is changed
// if one of them is wrong, and the error names it.
package mib

import "mpbox/examples/lab/pe/agentx"

var (
	oidIfNumber = agentx.MustOID("1.3.6.1.2.1.2.1")
	oidIfEntry  = agentx.MustOID("1.3.6.1.2.1.2.2.1")
	oidIfXEntry = agentx.MustOID("1.3.6.1.2.1.31.1.1.1")
	oidLSR      = agentx.MustOID("1.3.6.1.2.1.10.166.2.1")
	oidTE       = agentx.MustOID("1.3.6.1.2.1.10.166.3")
	oidFTN      = agentx.MustOID("1.3.6.1.2.1.10.166.8.1")
)

// Subtrees are the parts of the tree that a router serves.
func Subtrees() []agentx.Subtree {
	var ts []agentx.Subtree
	for _, s := range []string{
		"1.3.6.1.2.1.2", "1.3.6.1.2.1.31.1.1",
		// All of mplsStdMIB at once: snmpd tests the variables of each registration
		// apart, and a SET over two of our tables has to be one.
		"1.3.6.1.2.1.10.166",
	} {
		// Before snmpd's own tables, which would show the PE's namespace.
		ts = append(ts, agentx.Subtree{OID: agentx.MustOID(s), Priority: 50})
	}
	return ts
}
