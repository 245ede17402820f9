package controller

import (
	"go.uber.org/zap"

	"mpbox/southbound/datapath"
	"mpbox/southbound/openflow"
	"mpbox/southbound/packet"
	"mpbox/southbound/packet/mptcp"
)

// expectThirdACKs has the third ACK of each MPTCP handshake punted where its SYN
// was (third_ack reactive): both edges of a connection punt its SYN, so both are
// asked.
func (t *tap) expectThirdACKs(s *openflow.Session, batch []openflow.Punt) {
	for i := range batch {
		var v packet.View
		if v.Parse(batch[i].Frame) != packet.TCP || !v.Flags.Has(packet.SYN) || v.Flags.Has(packet.ACK) || !mptcpSYN(v.Options) {
			continue
		}
		e := datapath.Expectation{InPort: batch[i].InPort, VLAN: v.VLAN[:v.VLANs], Src: v.Src(), Dst: v.Dst()}
		if err := t.registry.Expect(s.DPID(), e); err != nil {
			t.log.Debug("third ACK not expected", zap.String("dpid", datapath.DPIDString(s.DPID())), zap.Error(err))
		}
	}
}

// mptcpSYN tells whether a SYN's options hold one of MPTCP.
func mptcpSYN(list []byte) bool {
	for len(list) > 0 {
		opt, rest, err := mptcp.Next(list)
		if err != nil || opt == nil {
			return false
		}
		var o mptcp.Option
		if o.Decode(opt, mptcp.SYN) == nil && (o.Subtype == mptcp.Capable || o.Subtype == mptcp.Join) {
			return true
		}
		list = rest
	}
	return false
}
