package datapath

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/netip"
	"time"

	"github.com/netrack/openflow/ofp"

	"mpbox/southbound/openflow"
)

// Fields of Nicira's extension, class 1 (Open vSwitch's lib/meta-flow.h), and of
// ONF's extension to OpenFlow 1.3 (EXT-109).
const (
	nxmIPFrag   ofp.XMType = 26
	nxmTCPFlags ofp.XMType = 34
	nxmCTState  ofp.XMType = 105
	nxmCTMark   ofp.XMType = 107

	onfTCPFlags ofp.XMType = 42
)

// Experimenters.
const (
	onfID    = 0x4f4e4600
	niciraID = 0x00002320
)

// Bits of ct_state.
const (
	ctNew  = 1 << 0
	ctEst  = 1 << 1
	ctRpl  = 1 << 3
	ctInv  = 1 << 4
	ctTrk  = 1 << 5
	ctBits = ctNew | ctEst | ctRpl | ctInv | ctTrk
)

func be16(v uint16) ofp.XMValue { return binary.BigEndian.AppendUint16(nil, v) }
func be32(v uint32) ofp.XMValue { return binary.BigEndian.AppendUint32(nil, v) }

// encodeMatch lists fields so that each follows what it requires (OpenFlow 1.3.5
// section 7.2.3.8).
func encodeMatch(m Match, d FlagsMatch) ofp.Match {
	out := ofp.Match{Type: ofp.MatchTypeXM}
	field := func(class ofp.XMClass, t ofp.XMType, value, mask ofp.XMValue) {
		out.Fields = append(out.Fields, ofp.XM{Class: class, Type: t, Value: value, Mask: mask})
	}
	basic := func(t ofp.XMType, value ofp.XMValue) { field(ofp.XMClassOpenflowBasic, t, value, nil) }
	if m.InPort != 0 {
		basic(ofp.XMTypeInPort, be32(m.InPort))
	}
	if m.EtherType != 0 {
		basic(ofp.XMTypeEthType, be16(m.EtherType))
	}
	if m.VLAN != 0 {
		basic(ofp.XMTypeVlanID, be16(m.VLAN))
	}
	if m.Proto != 0 {
		basic(ofp.XMTypeIPProto, ofp.XMValue{m.Proto})
	}
	addr := func(a netip.AddrPort, v4, v6, port ofp.XMType) {
		if a.Addr().Is4() {
			basic(v4, a.Addr().AsSlice())
		} else if a.Addr().Is6() {
			basic(v6, a.Addr().AsSlice())
		}
		if a.Port() != 0 {
			basic(port, be16(a.Port()))
		}
	}
	addr(m.Src, ofp.XMTypeIPv4Src, ofp.XMTypeIPv6Src, ofp.XMTypeTCPSrc)
	addr(m.Dst, ofp.XMTypeIPv4Dst, ofp.XMTypeIPv6Dst, ofp.XMTypeTCPDst)
	if m.FlagMask != 0 {
		if d == FlagsONF {
			field(ofp.XMClassExperimenter, onfTCPFlags, append(be32(onfID), be16(m.Flags)...), be16(m.FlagMask))
		} else {
			field(ofp.XMClassNicira1, nxmTCPFlags, be16(m.Flags), be16(m.FlagMask))
		}
	}
	if m.Unfragmented {
		field(ofp.XMClassNicira1, nxmIPFrag, ofp.XMValue{0}, ofp.XMValue{3})
	}
	if m.CT == ctFreshlyEstablished {
		field(ofp.XMClassNicira1, nxmCTState, be32(ctEst|ctTrk), be32(ctBits))
		field(ofp.XMClassNicira1, nxmCTMark, be32(0), nil)
	}
	return out
}

// nicira is an experimenter's action of Nicira: subtype and what follows it.
type nicira struct {
	subtype uint16
	body    []byte
}

// Subtypes of Nicira's actions (Open vSwitch's lib/ofp-actions.c).
const (
	nxastResubmit    = 14
	nxastCT          = 35
	nxastController2 = 37
)

func (a *nicira) Type() ofp.ActionType { return ofp.ActionTypeExperimenter }

// WriteTo writes the action, padded to 8 bytes:
//
//	+---------------+---------------+-------------------------------+
//	| type=0xffff   |    length     |    experimenter=0x00002320    |
//	+---------------+---------------+-------------------------------+
//	|   subtype     |  body ...
func (a *nicira) WriteTo(w io.Writer) (int64, error) {
	n := (10 + len(a.body) + 7) &^ 7
	b := make([]byte, 0, n)
	b = binary.BigEndian.AppendUint16(b, 0xffff)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = binary.BigEndian.AppendUint32(b, niciraID)
	b = binary.BigEndian.AppendUint16(b, a.subtype)
	b = append(b, a.body...)
	k, err := w.Write(b[:n])
	return int64(k), err
}

// ReadFrom is there because netrack's interface asks for it.
func (a *nicira) ReadFrom(io.Reader) (int64, error) { return 0, io.ErrUnexpectedEOF }

// controller2 punts through a meter: properties of type, length and value, each
// padded to 8 bytes (enum nx_action_controller2_prop_type).
func controller2(maxLen uint16, meter uint32) *nicira {
	const propMaxLen, propMeter = 0, 5
	b := make([]byte, 6, 22) // padding
	b = append(b, 0, propMaxLen, 0, 6, byte(maxLen>>8), byte(maxLen), 0, 0)
	b = append(b, 0, propMeter, 0, 8)
	b = binary.BigEndian.AppendUint32(b, meter)
	return &nicira{subtype: nxastController2, body: b}
}

// conntrack is NXAST_CT: flags, zone, the table in which the packet goes on (255:
// right here), and actions on the connection.
func conntrack(t Track, zone uint16) *nicira {
	const commit = 1
	flags, table := uint16(0), uint8(255)
	var exec bytes.Buffer
	switch t {
	case trackCommit:
		flags = commit
	case trackMark:
		flags = commit
		set := ofp.ActionSetField{Field: ofp.XM{Class: ofp.XMClassNicira1, Type: nxmCTMark, Value: be32(1)}}
		_, _ = set.WriteTo(&exec) // a Buffer takes everything
	case trackLook:
		table = tableTracked
	}
	b := binary.BigEndian.AppendUint16(nil, flags)
	b = append(b, 0, 0, 0, 0) // no source field for the zone: a number
	b = binary.BigEndian.AppendUint16(b, zone)
	b = append(b, table, 0, 0, 0, 0, 0) // no ALG
	return &nicira{subtype: nxastCT, body: append(b, exec.Bytes()...)}
}

// resubmit goes on in a table that a goto cannot reach: one with a lower number.
func resubmit(table uint8) *nicira {
	return &nicira{subtype: nxastResubmit, body: []byte{0xff, 0xf8, table, 0, 0, 0}} // in_port stays
}

func encodeActions(a Actions, table uint8) ofp.Instructions {
	var acts ofp.Actions
	if a.Punt {
		if a.Meter != 0 {
			acts = append(acts, controller2(a.MaxLen, a.Meter))
		} else {
			acts = append(acts, &ofp.ActionOutput{Port: ofp.PortController, MaxLen: a.MaxLen})
		}
	}
	if a.SetDSCP {
		acts = append(acts, &ofp.ActionSetField{Field: ofp.XM{
			Class: ofp.XMClassOpenflowBasic, Type: ofp.XMTypeIPDSCP, Value: ofp.XMValue{a.DSCP}}})
	}
	if a.Track != trackNone {
		acts = append(acts, conntrack(a.Track, a.Zone))
	}
	if a.Output != 0 {
		acts = append(acts, &ofp.ActionOutput{Port: ofp.PortNo(a.Output)})
	}
	backwards := a.Goto != 0 && a.Goto < table
	if backwards {
		acts = append(acts, resubmit(a.Goto))
	}
	var ins ofp.Instructions
	if len(acts) > 0 {
		ins = append(ins, &ofp.InstructionApplyActions{Actions: acts})
	}
	if a.Goto != 0 && !backwards {
		ins = append(ins, &ofp.InstructionGotoTable{Table: ofp.Table(a.Goto)})
	}
	return ins
}

const anyGroup = ofp.Group(0xffffffff) // OFPG_ANY

// addFlow installs f, or puts it in the place of the flow with its match and
// priority, whose counters it takes over.
func addFlow(f *Flow, d FlagsMatch) openflow.Message {
	mod := &ofp.FlowMod{
		Command: ofp.FlowAdd, Table: ofp.Table(f.Table), Priority: f.Priority, Cookie: f.Cookie,
		IdleTimeout: uint16(f.Idle / time.Second), HardTimeout: uint16(f.Hard / time.Second),
		Buffer: ofp.NoBuffer, OutPort: ofp.PortAny, OutGroup: anyGroup,
		Match: encodeMatch(f.Match, d), Instructions: encodeActions(f.Actions, f.Table),
	}
	if f.Notify {
		mod.Flags = ofp.FlowFlagSendFlowRem
	}
	return openflow.FlowMod(mod, "flow "+f.String())
}

// deleteFlow removes exactly the flow with f's table, priority and match, if its
// cookie is f's.
func deleteFlow(f *Flow, d FlagsMatch) openflow.Message {
	return openflow.FlowMod(&ofp.FlowMod{
		Command: ofp.FlowDeleteStrict, Table: ofp.Table(f.Table), Priority: f.Priority,
		Cookie: f.Cookie, CookieMask: ^uint64(0),
		Buffer: ofp.NoBuffer, OutPort: ofp.PortAny, OutGroup: anyGroup,
		Match: encodeMatch(f.Match, d),
	}, "removal of flow "+f.String())
}

// deleteCookies removes all flows whose cookie equals value where mask has ones.
func deleteCookies(value, mask uint64, what string) openflow.Message {
	return openflow.FlowMod(&ofp.FlowMod{
		Command: ofp.FlowDelete, Table: ofp.TableAll, Cookie: value, CookieMask: mask,
		Buffer: ofp.NoBuffer, OutPort: ofp.PortAny, OutGroup: anyGroup,
		Match: ofp.Match{Type: ofp.MatchTypeXM},
	}, what)
}

// setMeter creates or changes a meter. Its burst is a second's worth.
func setMeter(m Meter, exists bool) openflow.Message {
	cmd := ofp.MeterAdd
	if exists {
		cmd = ofp.MeterModify
	}
	return openflow.MeterMod(&ofp.MeterMod{
		Command: cmd, Meter: ofp.Meter(m.ID), Flags: ofp.MeterFlagPacketPerSec | ofp.MeterFlagStats,
		Bands: ofp.MeterBands{&ofp.MeterBandDrop{Rate: m.Rate}},
	}, "meter "+m.String())
}

func deleteMeter(id uint32) openflow.Message {
	m := Meter{ID: id}
	return openflow.MeterMod(&ofp.MeterMod{Command: ofp.MeterDelete, Meter: ofp.Meter(id)}, "removal of meter "+m.String())
}
