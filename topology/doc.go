// Package topology is the vocabulary of the MPLS-TE network: the traffic
// engineering database (TED), label switched paths (LSP) and their routes (ERO,
// RRO), and the forwarding equivalence classes (FEC) that an LER maps to them.
//
// What is here are values: no clock, no I/O, no goroutine. Importers of files
// and listeners live in sub-packages, path search lives in topology/disjoint.
// It imports nothing else of mpbox.
package topology
