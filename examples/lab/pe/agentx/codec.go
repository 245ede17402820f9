package agentx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	version          = 1
	headerLen        = 20
	maxPayload       = 1 << 20 // no PDU of a manager comes near it
	flagContext      = 0x08
	flagNetworkOrder = 0x10
)

// ErrMalformed is what all decoding errors wrap.
var ErrMalformed = errors.New("malformed AgentX PDU")

// Marshal encodes a PDU (RFC 2741, section 6.1):
//
//	+---------------+---------------+---------------+---------------+
//	|   h.version   |    h.type     |    h.flags    |  <reserved>   |
//	+---------------+---------------+---------------+---------------+
//	|                          h.sessionID                          |
//	|                        h.transactionID                        |
//	|                          h.packetID                           |
//	|                        h.payload_length                       |
//	+---------------------------------------------------------------+
func Marshal(p *PDU) []byte {
	t := p.Body.Type()
	e := &encoder{order: binary.BigEndian}
	flags := uint8(flagNetworkOrder)
	if p.LittleEndian {
		e.order, flags = binary.LittleEndian, 0
	}
	if p.Context != "" && t.hasContext() {
		flags |= flagContext
	}
	e.u8(version)
	e.u8(uint8(t))
	e.u8(flags)
	e.u8(0)
	e.u32(p.SessionID)
	e.u32(p.TransactionID)
	e.u32(p.PacketID)
	e.u32(0) // payload length, below
	if flags&flagContext != 0 {
		e.octets([]byte(p.Context))
	}
	p.Body.encode(e)
	e.order.PutUint32(e.b[16:], uint32(len(e.b)-headerLen))
	return e.b
}

// Unmarshal decodes exactly one PDU.
func Unmarshal(b []byte) (*PDU, error) {
	if len(b) < headerLen {
		return nil, fmt.Errorf("%w: %d bytes of a header of %d", ErrMalformed, len(b), headerLen)
	}
	n, err := payloadLen(b)
	if err != nil {
		return nil, err
	}
	if len(b)-headerLen != n {
		return nil, fmt.Errorf("%w: payload of %d bytes, header says %d", ErrMalformed, len(b)-headerLen, n)
	}
	d := &decoder{b: b, order: order(b[2])}
	d.skip(4)
	p := &PDU{Header: Header{LittleEndian: b[2]&flagNetworkOrder == 0}}
	p.SessionID, p.TransactionID, p.PacketID = d.u32(), d.u32(), d.u32()
	d.skip(4)
	if p.Body = newBody(Type(b[1])); p.Body == nil {
		return nil, fmt.Errorf("%w: PDU type %d", ErrMalformed, b[1])
	}
	if b[2]&flagContext != 0 {
		if !Type(b[1]).hasContext() {
			return nil, fmt.Errorf("%w: context in a PDU of type %d", ErrMalformed, b[1])
		}
		p.Context = string(d.octets())
	}
	p.Body.decode(d)
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes too many", len(d.b))
	}
	if d.err != nil {
		return nil, d.err
	}
	return p, nil
}

// Read reads one PDU from a stream.
func Read(r io.Reader) (*PDU, error) {
	b := make([]byte, headerLen, 512)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read PDU header: %w", err)
	}
	n, err := payloadLen(b)
	if err != nil {
		return nil, err
	}
	b = append(b, make([]byte, n)...)
	if _, err := io.ReadFull(r, b[headerLen:]); err != nil {
		return nil, fmt.Errorf("read PDU payload: %w", err)
	}
	return Unmarshal(b)
}

func order(flags byte) byteOrder {
	if flags&flagNetworkOrder != 0 {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// payloadLen checks the fixed part of a header.
func payloadLen(b []byte) (int, error) {
	if b[0] != version {
		return 0, fmt.Errorf("%w: version %d", ErrMalformed, b[0])
	}
	n := order(b[2]).Uint32(b[16:])
	if n > maxPayload || n%4 != 0 {
		return 0, fmt.Errorf("%w: payload length %d", ErrMalformed, n)
	}
	return int(n), nil
}

type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

type encoder struct {
	b     []byte
	order byteOrder
}

func (e *encoder) u8(v uint8)   { e.b = append(e.b, v) }
func (e *encoder) u16(v uint16) { e.b = e.order.AppendUint16(e.b, v) }
func (e *encoder) u32(v uint32) { e.b = e.order.AppendUint32(e.b, v) }
func (e *encoder) zero(n int)   { e.b = append(e.b, make([]byte, n)...) }

// oid encodes an object identifier (RFC 2741, section 5.1). 1.3.6.1.x, x from 1
// to 255, is sent as a prefix.
func (e *encoder) oid(o OID, include bool) {
	prefix := uint8(0)
	if len(o) >= 5 && o[0] == 1 && o[1] == 3 && o[2] == 6 && o[3] == 1 && o[4] > 0 && o[4] < 256 {
		prefix, o = uint8(o[4]), o[5:]
	}
	e.u8(uint8(len(o)))
	e.u8(prefix)
	if include {
		e.u8(1)
	} else {
		e.u8(0)
	}
	e.u8(0)
	for _, n := range o {
		e.u32(n)
	}
}

// octets encodes an octet string, padded to four bytes (RFC 2741, section 5.3).
func (e *encoder) octets(b []byte) {
	e.u32(uint32(len(b)))
	e.b = append(e.b, b...)
	e.zero(-len(b) & 3)
}

func (e *encoder) ranges(rs []SearchRange) {
	for _, r := range rs {
		e.oid(r.Start, r.Include)
		e.oid(r.End, false)
	}
}

func (e *encoder) varBinds(vbs []VarBind) {
	for _, vb := range vbs {
		e.u16(uint16(vb.Value.Type))
		e.u16(0)
		e.oid(vb.Name, false)
		switch vb.Value.Type {
		case Integer, Counter32, Gauge32, TimeTicks:
			e.u32(uint32(vb.Value.Num))
		case Counter64:
			e.b = e.order.AppendUint64(e.b, vb.Value.Num)
		case OctetString, IPAddress, Opaque:
			e.octets(vb.Value.Bytes)
		case ObjectID:
			e.oid(vb.Value.OID, false)
		case Null, NoSuchObject, NoSuchInstance, EndOfMibView: // the type says all
		}
	}
}

// decoder keeps the first error; after it all reads give zero values.
type decoder struct {
	b     []byte
	order byteOrder
	err   error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
	d.b = nil
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || len(d.b) < n {
		d.fail("%d bytes wanted, %d left", n, len(d.b))
		return make([]byte, min(n, 8))
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) skip(n int)  { d.take(n) }
func (d *decoder) u8() uint8   { return d.take(1)[0] }
func (d *decoder) u16() uint16 { return d.order.Uint16(d.take(2)) }
func (d *decoder) u32() uint32 { return d.order.Uint32(d.take(4)) }
func (d *decoder) u64() uint64 { return d.order.Uint64(d.take(8)) }

func (d *decoder) oid() (OID, bool) {
	h := d.take(4)
	n, prefix, include := int(h[0]), h[1], h[2] != 0
	if n > MaxSubIDs || (prefix != 0 && n+5 > MaxSubIDs) {
		d.fail("object identifier of %d sub-identifiers", n)
	}
	if d.err != nil || len(d.b) < 4*n {
		d.fail("object identifier is cut short")
		return nil, false
	}
	if n == 0 && prefix == 0 {
		return nil, include // the null identifier
	}
	oid := make(OID, 0, n+5)
	if prefix != 0 {
		oid = append(oid, 1, 3, 6, 1, uint32(prefix))
	}
	for range n {
		oid = append(oid, d.u32())
	}
	return oid, include
}

func (d *decoder) octets() []byte {
	n := int(d.u32())
	if d.err != nil || n > len(d.b) || (n+3)&^3 > len(d.b) {
		d.fail("octet string of %d bytes is cut short", n)
		return nil
	}
	b := append([]byte{}, d.take(n)...)
	d.skip(-n & 3)
	return b
}

func (d *decoder) ranges() []SearchRange {
	var rs []SearchRange
	for d.err == nil && len(d.b) > 0 {
		var r SearchRange
		r.Start, r.Include = d.oid()
		r.End, _ = d.oid()
		rs = append(rs, r)
	}
	return rs
}

func (d *decoder) varBinds() []VarBind {
	var vbs []VarBind
	for d.err == nil && len(d.b) > 0 {
		v := Value{Type: ValueType(d.u16())}
		d.skip(2)
		name, _ := d.oid()
		switch v.Type {
		case Integer, Counter32, Gauge32, TimeTicks:
			v.Num = uint64(d.u32())
		case Counter64:
			v.Num = d.u64()
		case OctetString, Opaque:
			v.Bytes = d.octets()
		case IPAddress:
			if v.Bytes = d.octets(); len(v.Bytes) != 4 {
				d.fail("IpAddress of %d bytes", len(v.Bytes))
			}
		case ObjectID:
			v.OID, _ = d.oid()
		case Null, NoSuchObject, NoSuchInstance, EndOfMibView:
		default:
			d.fail("value of %v", v.Type)
		}
		vbs = append(vbs, VarBind{Name: name, Value: v})
	}
	return vbs
}
