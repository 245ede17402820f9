// Package mptcp decodes Multipath TCP options, version 1 (RFC 8684) and version 0
// (RFC 6824), and computes the tokens and HMACs of their handshakes. Lengths are
// checked strictly; decoding allocates nothing and keeps nothing. Keys are
// secrets: nothing here prints them.
package mptcp
