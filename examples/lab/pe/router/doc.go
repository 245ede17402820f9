// Package router is the inside of an emulated PE router: its configuration,
// the signalling of its LSPs over the TED, its FEC-to-NHLFE table, and what
// survives a restart. Two management front ends, packages mib and xrcli, change
// one and the same configuration through Router.Commit and read one Snapshot.
//
// A Config is never changed once it is committed: editors clone it. The
// signaller, one goroutine under Router.Run, owns all that is operational and
// alone talks to the data plane.
package router
