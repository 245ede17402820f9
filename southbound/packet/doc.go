// Package packet reads the headers of one frame without allocating: link layer,
// VLAN tags, MPLS labels, IPv4 or IPv6, and TCP with its options. It looks at no
// payload, keeps nothing, and never panics on input; what it cannot read it names
// by a Verdict.
package packet
