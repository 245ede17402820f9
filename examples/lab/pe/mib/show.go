package mib

import (
	"encoding/binary"

	"mpbox/examples/lab/pe/agentx"
	"mpbox/examples/lab/pe/router"
)

var (
	outSegmentEntry = oidLSR.Append(7, 1)
	xcEntry         = oidLSR.Append(10, 1)
)

// Interface types (IANAifType-MIB).
const (
	ifEthernet   = 6
	ifLoopback   = 24
	ifMPLSTunnel = 150
)

func (v *view) interfaces() {
	n := v.r.Node()
	count := int32(0)
	row := func(index uint32, name, alias string, kind int32, bps uint64, up bool) {
		count++
		x := func(col uint32, val agentx.Value) { v.add(oidIfEntry, val, col, index) }
		x(1, agentx.Int(int32(index)))
		x(2, agentx.String(name))
		x(3, agentx.Int(kind))
		x(4, agentx.Int(1514))
		x(5, agentx.Uint(uint32(min(bps, 1<<32-1))))
		x(7, agentx.Int(1))
		oper := agentx.Int(2)
		if up {
			oper = agentx.Int(1)
		}
		x(8, oper)
		v.add(oidIfXEntry, agentx.String(name), 1, index)
		v.add(oidIfXEntry, agentx.Uint(uint32(bps/1e6)), 15, index)
		v.add(oidIfXEntry, agentx.String(alias), 18, index)
	}
	up := map[string]bool{}
	for e, edge := range v.r.TED().Edges {
		up[edge.Link] = v.snap.Up[e]
	}
	for _, i := range n.Interfaces {
		kind := int32(ifEthernet)
		if i.Link == "" && i.Attachment == "" && i.Address.IsValid() && i.Address.Bits() == i.Address.Addr().BitLen() {
			kind = ifLoopback
		}
		row(i.IfIndex, i.Name, i.Link+i.Attachment, kind, i.RateBPS, i.Link == "" || up[i.Link])
	}
	for _, x := range listTunnels(v) {
		if x.row.IsIf {
			name := x.row.Name
			if x.lsp != nil && x.lsp.CLI {
				name = router.TunnelInterface(x.index[0])
			}
			row(tunnelIfIndex(x.index), name, x.row.Descr, ifMPLSTunnel, 0, x.up())
		}
	}
	v.add(oidIfNumber, agentx.Int(count), 0)
}

// scalars: the numbers that a manager may take next, and counts.
func (v *view) scalars() {
	c := v.snap.Config
	active := uint32(0)
	for _, l := range v.snap.LSPs {
		if l.Up {
			active++
		}
	}
	v.add(oidTE, agentx.Uint(uint32(len(c.Tunnels)+len(c.CLI.Tunnels))), 1, 1, 0)
	v.add(oidTE, agentx.Uint(active), 1, 2, 0)
	v.add(oidTE, agentx.Octets([]byte{0x40}), 1, 3, 0) // ospf
	v.add(oidTE, agentx.Uint(255), 1, 4, 0)            // mplsTunnelMaxHops
	v.add(oidTE, agentx.Uint(c.NextTunnel()), 2, 1, 0)
	v.add(oidTE, agentx.Uint(c.NextHopList()), 2, 3, 0)
	v.add(oidTE, agentx.Uint(c.NextResource()), 2, 5, 0)
	v.add(oidTE, truth(false), 2, 11, 0)
	v.add(oidFTN, agentx.Uint(c.NextFTN()), 1, 0)
	v.add(oidLSR, agentx.Uint(0), 6, 0) // mplsOutSegmentIndexNext: read-only table
	v.add(oidLSR, agentx.Uint(0), 9, 0) // mplsXCIndexNext: read-only table
	v.add(oidLSR, agentx.Uint(2), 11, 0)
}

// routes are mplsTunnelARHopTable, the recorded route where recording was asked
// for, and mplsTunnelCHopTable, the computed one.
func (v *view) routes() {
	ar, ch := oidTE.Append(2, 7, 1), oidTE.Append(2, 8, 1)
	for _, l := range v.snap.LSPs {
		if !l.Up {
			continue
		}
		for i, h := range l.Route {
			index := []uint32{l.PathID, uint32(i + 1)}
			addr := agentx.Octets(h.Remote.AsSlice())
			at := func(col uint32) []uint32 { return append([]uint32{col}, index...) }
			if l.Record {
				v.add(ar, agentx.Int(1), at(3)...)
				v.add(ar, addr, at(4)...)
				v.add(ar, agentx.String(""), at(5)...)
				v.add(ar, agentx.Octets([]byte{0, 0}), at(6)...)
			}
			v.add(ch, agentx.Int(1), at(3)...)
			v.add(ch, addr, at(4)...)
			v.add(ch, agentx.Uint(32), at(5)...)
			v.add(ch, agentx.String(""), at(6)...)
			v.add(ch, agentx.String(""), at(7)...)
			v.add(ch, agentx.Octets([]byte{0, 0}), at(8)...)
			v.add(ch, agentx.Int(1), at(9)...) // strict
		}
	}
}

var (
	tunnelPerfEntry = oidTE.Append(2, 9, 1)
	ftnPerfEntry    = oidFTN.Append(6, 1)
	perfTables      = []agentx.OID{tunnelPerfEntry, ftnPerfEntry}
)

// perf is mplsTunnelPerfTable and mplsFTNPerfTable.
func (v *view) perf() {
	counts := v.r.Counters()
	tunnel, ftn := tunnelPerfEntry, ftnPerfEntry
	for _, l := range v.snap.LSPs {
		n := counts.Paths[l.PathID]
		for col, val := range map[uint32]agentx.Value{
			1: counter32(n.Packets), 2: counter64(n.Packets), 3: counter32(0), 4: counter32(n.Bytes), 5: counter64(n.Bytes),
		} {
			v.add(tunnel, val, append([]uint32{col}, l.ID.Sub()...)...)
		}
	}
	for ifIndex, ms := range v.snap.Config.Maps {
		for _, m := range ms {
			n := counts.Entries[v.r.FTNEntry(ifIndex, m.FTN)]
			v.add(ftn, counter64(n.Packets), 3, ifIndex, m.FTN)
			v.add(ftn, counter64(n.Bytes), 4, ifIndex, m.FTN)
		}
	}
}

// lsr is mplsOutSegmentTable and mplsXCTable: the LSPs that begin here. The
// in-segment of a head is the single octet 0 (RFC 3813, section 7).
func (v *view) lsr() {
	n := v.r.Node()
	ifIndex := map[string]uint32{}
	for _, i := range n.Interfaces {
		ifIndex[i.Name] = i.IfIndex
	}
	for _, l := range v.snap.LSPs {
		if !l.Up {
			continue
		}
		first := l.Route[0]
		id := segmentIndex(l.PathID)
		out := func(col uint32, val agentx.Value) { v.add(outSegmentEntry, val, append([]uint32{col}, id...)...) }
		out(2, agentx.Int(int32(ifIndex[v.r.TED().Edges[first.Edge].Interface])))
		out(3, truth(true))
		out(4, agentx.Uint(first.Label))
		out(5, agentx.Pointer(zeroDotZero))
		out(6, agentx.Int(1))
		out(7, agentx.Octets(first.Remote.AsSlice()))
		out(8, agentx.Octets(octets(l.PathID)))
		out(9, agentx.Int(ownerRSVP))
		out(10, agentx.Pointer(zeroDotZero))
		out(11, agentx.Int(1))
		out(12, agentx.Int(2))
		xc := func(col uint32, val agentx.Value) {
			v.add(xcEntry, val, append([]uint32{col}, xcIndex(l.PathID)...)...)
		}
		xc(4, agentx.Octets([]byte{byte(l.LSPID >> 8), byte(l.LSPID)}))
		xc(5, agentx.Octets([]byte{0}))
		xc(6, agentx.Int(ownerRSVP))
		xc(7, agentx.Int(1))
		xc(8, agentx.Int(2))
		xc(9, agentx.Int(1))
		xc(10, agentx.Int(1))
	}
}

func octets(id uint32) []byte { return binary.BigEndian.AppendUint32(nil, id) }

// segmentIndex is an MplsIndexType of four octets as an index: length first.
func segmentIndex(id uint32) []uint32 {
	out := []uint32{4}
	for _, b := range octets(id) {
		out = append(out, uint32(b))
	}
	return out
}

// xcIndex is the index of mplsXCTable: cross-connect, in-segment, out-segment.
func xcIndex(path uint32) []uint32 {
	return append(append(segmentIndex(path), 1, 0), segmentIndex(path)...)
}
