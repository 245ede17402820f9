// Package openflow is one session with one switch: OpenFlow 1.3 (ONF TS-025)
// from hello to close, seen from the controller.
//
// A session has one reader goroutine and one writer goroutine. The reader
// decodes PACKET_INs in place and hands them to the Handler in batches, in
// order; everything else that the switch says is handled between two batches,
// so that an answer never overtakes the packets before it. Requests are matched
// to their answers by xid.
//
// Types, framing and encoding are those of github.com/netrack/openflow, which
// nobody maintains: everything known to be wrong in it is worked around here
// (its decoders share padding buffers and lose list elements), and no other
// package decodes with it. What flows mean is not known here: see
// southbound/datapath.
package openflow
