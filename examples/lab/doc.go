// Package lab is an emulated provider network with real parts: hosts with
// kernel MPTCP, Open vSwitch bridges as edges and label switching routers, a
// real snmpd and an IOS-XR-like CLI on each PE. It is there to show and test
// mpbox from outside: of mpbox it imports the vocabulary (topology) and nothing
// else, so that lab and product share no encoder whose bugs would cancel out.
//
// A Network is what a topology file says. A Lab is a network laid out: names,
// ports, addresses, labels; computing it is pure. Up builds it, Down removes it.
// Everything lives in network namespaces "<lab>-…" and one folder under /run.
package lab
