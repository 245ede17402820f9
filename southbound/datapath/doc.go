// Package datapath keeps the edge bridges as they should be: it knows which
// switches there are, which flows each should hold and which it holds, and
// carries the one over into the other without a gap in forwarding.
//
// What a bridge should hold is a pure function of its configuration and its edge
// rules: Build. The pipeline has three tables:
//
//	tap 0      a packet that belongs to a TCP handshake or ends a connection is
//	           copied to the controller, through a meter; every packet goes on
//	steer 1    edge rules: one connection's packets are counted or marked (DSCP)
//	forward 2  port pairs: what comes in at the CE's port leaves at the PE's, and
//	           the other way round; nothing else leaves anywhere
//
// All flows are permanent except edge rules (idle time-out) and the short-lived
// expectations of a third ACK: a bridge whose controller is dead keeps forwarding.
// Cookies carry an owner, a kind and a generation. After a reconnect everything
// is installed again under a new generation, then what is left of older ones is
// removed by mask: at no time is a packet without its flow.
//
// This package does not know what packets mean (southbound/packet), nor VPNs, PEs
// and LSPs.
package datapath
