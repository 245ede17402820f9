// Package detector finds Multipath TCP connections and their subflows in tapped
// handshakes. The Tracker is pure: time is an argument, and there is no clock, no
// I/O and no goroutine. It has two stages: the handshake of one tuple
// (handshake.go), and the correlation of tuples by VPN scope and token
// (correlate.go), which learns from the first only what happened. Keys never
// leave this package.
//
// A Tracker belongs to one goroutine. All of its memory is in slabs and indexes
// without pointers, bounded by Config.
package detector
