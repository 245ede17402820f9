package datapath

import (
	"encoding/binary"
	"net/netip"

	"github.com/netrack/openflow/ofp"

	"mpbox/southbound/openflow"
)

// parseFlow reads back an installed flow. What mpbox never installs is kept in the
// Other fields, so that the flow equals none of ours.
func parseFlow(s openflow.FlowStat) Flow {
	return Flow{
		Table: s.Table, Priority: s.Priority, Cookie: s.Cookie, Idle: s.Idle, Hard: s.Hard,
		Notify: s.Flags&ofp.FlowFlagSendFlowRem != 0,
		Match:  parseMatch(s.Match), Actions: parseActions(s.Instructions),
	}
}

func parseMatch(in ofp.Match) Match {
	var m Match
	var src, dst netip.Addr
	var sport, dport uint16
	ctState := false
	for _, f := range in.Fields {
		v, ok := f.Value, false
		u16 := func(p *uint16) bool {
			if len(v) != 2 || len(f.Mask) != 0 {
				return false
			}
			*p = binary.BigEndian.Uint16(v)
			return true
		}
		ip := func(p *netip.Addr) bool {
			if len(f.Mask) != 0 {
				return false
			}
			*p, ok = netip.AddrFromSlice(v)
			return ok
		}
		switch f.Class {
		case ofp.XMClassOpenflowBasic:
			switch f.Type {
			case ofp.XMTypeInPort:
				if ok = len(v) == 4; ok {
					m.InPort = binary.BigEndian.Uint32(v)
				}
			case ofp.XMTypeEthType:
				ok = u16(&m.EtherType)
			case ofp.XMTypeVlanID:
				ok = u16(&m.VLAN)
			case ofp.XMTypeIPProto:
				if ok = len(v) == 1; ok {
					m.Proto = v[0]
				}
			case ofp.XMTypeIPv4Src, ofp.XMTypeIPv6Src:
				ok = ip(&src)
			case ofp.XMTypeIPv4Dst, ofp.XMTypeIPv6Dst:
				ok = ip(&dst)
			case ofp.XMTypeTCPSrc:
				ok = u16(&sport)
			case ofp.XMTypeTCPDst:
				ok = u16(&dport)
			}
		case ofp.XMClassNicira1:
			switch {
			case f.Type == nxmTCPFlags && len(v) == 2 && len(f.Mask) == 2:
				m.Flags, m.FlagMask = binary.BigEndian.Uint16(v), binary.BigEndian.Uint16(f.Mask)
				ok = true
			case f.Type == nxmIPFrag && len(v) == 1 && v[0] == 0 && len(f.Mask) == 1 && f.Mask[0] == 3:
				m.Unfragmented, ok = true, true
			case f.Type == nxmCTState && len(v) == 4 && len(f.Mask) == 4 &&
				binary.BigEndian.Uint32(v) == ctEst|ctTrk && binary.BigEndian.Uint32(f.Mask) == ctBits:
				ctState, ok = true, true
			case f.Type == nxmCTMark && len(v) == 4 && binary.BigEndian.Uint32(v) == 0 && len(f.Mask) == 0 && ctState:
				m.CT, ok = ctFreshlyEstablished, true
			}
		case ofp.XMClassExperimenter:
			// netrack halves the whole for value and mask, experimenter id included.
			all := append(append([]byte(nil), f.Value...), f.Mask...)
			if f.Type == onfTCPFlags && len(all) == 8 && binary.BigEndian.Uint32(all) == onfID {
				m.Flags, m.FlagMask = binary.BigEndian.Uint16(all[4:]), binary.BigEndian.Uint16(all[6:])
				ok = true
			}
		}
		if !ok {
			m.Other += string(appendXM(nil, f))
		}
	}
	if src.IsValid() || sport != 0 {
		m.Src = netip.AddrPortFrom(src, sport)
	}
	if dst.IsValid() || dport != 0 {
		m.Dst = netip.AddrPortFrom(dst, dport)
	}
	return m
}

func appendXM(b []byte, f ofp.XM) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(f.Class))
	b = append(b, byte(f.Type)<<1, byte(len(f.Value)+len(f.Mask)))
	return append(append(b, f.Value...), f.Mask...)
}

// parseActions reads instructions in wire format (sections 7.2.4 and 7.2.5).
func parseActions(b []byte) Actions {
	var a Actions
	eachTLV(b, func(t uint16, ins []byte) {
		switch {
		case t == uint16(ofp.InstructionTypeGotoTable) && len(ins) == 8:
			a.Goto = ins[4]
		case t == uint16(ofp.InstructionTypeApplyActions) && len(ins) >= 8:
			eachTLV(ins[8:], func(t uint16, act []byte) {
				if !a.parseAction(t, act) {
					a.Other += string(act)
				}
			})
		default:
			a.Other += string(ins)
		}
	})
	return a
}

// eachTLV walks type-length-value structures whose length counts the header.
func eachTLV(b []byte, fn func(t uint16, tlv []byte)) {
	for len(b) >= 4 {
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < 4 || n > len(b) {
			return
		}
		fn(binary.BigEndian.Uint16(b), b[:n])
		b = b[n:]
	}
}

func (a *Actions) parseAction(t uint16, b []byte) bool {
	be := binary.BigEndian
	switch ofp.ActionType(t) {
	case ofp.ActionTypeOutput:
		if len(b) != 16 {
			return false
		}
		port := be.Uint32(b[4:])
		if port == uint32(ofp.PortController) {
			a.Punt, a.MaxLen = true, be.Uint16(b[8:])
			return true
		}
		if a.Output != 0 {
			return false
		}
		a.Output = port
		return true
	case ofp.ActionTypeSetField:
		if len(b) < 9 || be.Uint32(b[4:]) != 0x80001001 { // OFPXMT_OFB_IP_DSCP
			return false
		}
		a.SetDSCP, a.DSCP = true, b[8]
		return true
	case ofp.ActionTypeExperimenter:
		if len(b) < 16 || be.Uint32(b[4:]) != niciraID {
			return false
		}
		switch be.Uint16(b[8:]) {
		case nxastResubmit:
			if len(b) != 16 || be.Uint16(b[10:]) != 0xfff8 || a.Goto != 0 {
				return false
			}
			a.Goto = b[12]
			return true
		case nxastController2:
			return a.parseController2(b[16:])
		case nxastCT:
			return a.parseCT(b)
		}
	}
	return false
}

func (a *Actions) parseController2(props []byte) bool {
	a.Punt = true
	for len(props) >= 4 {
		n := int(binary.BigEndian.Uint16(props[2:]))
		if n < 4 || n > len(props) {
			return false
		}
		switch t := binary.BigEndian.Uint16(props); {
		case t == 0 && (n == 6 || n == 8): // Open vSwitch counts the padding
			a.MaxLen = binary.BigEndian.Uint16(props[4:])
		case t == 5 && n == 8:
			a.Meter = binary.BigEndian.Uint32(props[4:])
		default:
			return false
		}
		props = props[min((n+7)&^7, len(props)):]
	}
	return true
}

func (a *Actions) parseCT(b []byte) bool {
	if len(b) < 24 || a.Track != trackNone {
		return false
	}
	flags, table, exec := binary.BigEndian.Uint16(b[10:]), b[18], b[24:]
	switch {
	case flags == 0 && table == tableTracked && len(exec) == 0:
		a.Track = trackLook
	case flags == 0 && table == 255 && len(exec) == 0:
		a.Track = trackUpdate
	case flags == 1 && table == 255 && len(exec) == 0:
		a.Track = trackCommit
	case flags == 1 && table == 255 && len(exec) == 16:
		a.Track = trackMark
	default:
		return false
	}
	a.Zone = binary.BigEndian.Uint16(b[16:])
	return true
}
