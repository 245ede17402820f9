package openflow

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	of "github.com/netrack/openflow"
	"github.com/netrack/openflow/ofp"
)

// maxMultipart limits what one answer may hold: a million flows are 200 MB.
const maxMultipart = 512 << 20

// multipart asks for something and collects the bodies of all parts of the answer
// (section 7.3.5).
func (s *Session) multipart(ctx context.Context, t ofp.MultipartType, body io.WriterTo, what string) ([][]byte, error) {
	var parts [][]byte
	total := 0
	reply := func(b []byte) (bool, error) {
		if len(b) < 8 {
			return true, fmt.Errorf("%w: multipart reply of %d bytes", ErrProtocol, len(b))
		}
		if got := ofp.MultipartType(binary.BigEndian.Uint16(b)); got != t {
			return true, fmt.Errorf("%w: %s answered with %s", ErrProtocol, t, got)
		}
		if total += len(b); total > maxMultipart {
			return true, fmt.Errorf("%w: %s answered with more than %d bytes", ErrProtocol, t, maxMultipart)
		}
		parts = append(parts, bytes.Clone(b[8:]))
		return binary.BigEndian.Uint16(b[2:])&uint16(ofp.MultipartReplyMode) == 0, nil
	}
	err := s.do(ctx, of.TypeMultipartReply, reply, Message{
		Type: of.TypeMultipartRequest, Body: ofp.NewMultipartRequest(t, body), What: what,
	})
	if err != nil {
		return nil, err
	}
	return parts, nil
}

// FlowStat is an installed flow.
type FlowStat struct {
	Table          uint8
	Priority       uint16
	Idle, Hard     time.Duration // time-outs; 0 is none
	Flags          ofp.FlowModFlag
	Cookie         uint64
	Age            time.Duration
	Packets, Bytes uint64
	Match          ofp.Match
	// Instructions are in wire format: netrack reads neither a flow with an
	// experimenter's action nor what follows it.
	Instructions []byte
}

// FlowStats reads back the flows of a table (255: all) whose cookie equals cookie
// where mask has ones.
func (s *Session) FlowStats(ctx context.Context, table uint8, cookie, mask uint64) ([]FlowStat, error) {
	parts, err := s.multipart(ctx, ofp.MultipartTypeFlow, &ofp.FlowStatsRequest{
		Table: ofp.Table(table), OutPort: ofp.PortAny, OutGroup: anyGroup, Cookie: cookie, CookieMask: mask,
		Match: ofp.Match{Type: ofp.MatchTypeXM},
	}, "flow stats request")
	if err != nil {
		return nil, fmt.Errorf("read flows: %w", err)
	}
	var flows []FlowStat
	for _, b := range parts {
		for len(b) > 0 {
			f, rest, err := parseFlowStat(b)
			if err != nil {
				return nil, fmt.Errorf("read flows: %w", err)
			}
			flows, b = append(flows, f), rest
		}
	}
	return flows, nil
}

const anyGroup = ofp.Group(0xffffffff) // OFPG_ANY

// parseFlowStat reads one entry (section 7.3.5.2).
func parseFlowStat(b []byte) (FlowStat, []byte, error) {
	const fixed, smallest = 48, 56 // up to the match; with an empty match
	if len(b) < smallest {
		return FlowStat{}, nil, fmt.Errorf("%w: flow entry cut off", ErrProtocol)
	}
	n := int(binary.BigEndian.Uint16(b))
	if n < smallest || n > len(b) {
		return FlowStat{}, nil, fmt.Errorf("%w: flow entry of %d bytes", ErrProtocol, n)
	}
	e, be := b[:n], binary.BigEndian
	mlen := int(be.Uint16(e[fixed+2:]))
	end := fixed + (mlen+7)&^7
	if mlen < 4 || end > n {
		return FlowStat{}, nil, fmt.Errorf("%w: match of %d bytes", ErrProtocol, mlen)
	}
	f := FlowStat{
		Table: e[2], Age: time.Duration(be.Uint32(e[4:]))*time.Second + time.Duration(be.Uint32(e[8:])),
		Priority: be.Uint16(e[12:]),
		Idle:     time.Duration(be.Uint16(e[14:])) * time.Second,
		Hard:     time.Duration(be.Uint16(e[16:])) * time.Second,
		Flags:    ofp.FlowModFlag(be.Uint16(e[18:])), Cookie: be.Uint64(e[24:]),
		Packets: be.Uint64(e[32:]), Bytes: be.Uint64(e[40:]),
		Instructions: e[end:],
	}
	if err := decode(e[fixed:end], &f.Match); err != nil {
		return FlowStat{}, nil, fmt.Errorf("%w: match: %w", ErrProtocol, err)
	}
	return f, b[n:], nil
}

// Ports reads back the ports of the switch.
func (s *Session) Ports(ctx context.Context) ([]Port, error) {
	parts, err := s.multipart(ctx, ofp.MultipartTypePortDescription, nil, "port description request")
	if err != nil {
		return nil, fmt.Errorf("read ports: %w", err)
	}
	const size = 64
	var ports []Port
	for _, b := range parts {
		for ; len(b) >= size; b = b[size:] {
			var p ofp.Port
			if err := decode(b[:size], &p); err != nil {
				return nil, fmt.Errorf("read ports: %w", err)
			}
			ports = append(ports, portOf(&p))
		}
	}
	return ports, nil
}

// Description is what a switch says about itself.
type Description struct{ Manufacturer, Hardware, Software, Serial, Datapath string }

// Description reads the switch's description.
func (s *Session) Description(ctx context.Context) (Description, error) {
	parts, err := s.multipart(ctx, ofp.MultipartTypeDescription, nil, "description request")
	if err != nil {
		return Description{}, fmt.Errorf("read description: %w", err)
	}
	var d ofp.Description
	if err := decode(bytes.Join(parts, nil), &d); err != nil {
		return Description{}, fmt.Errorf("read description: %w", err)
	}
	text := func(t string) string { t, _, _ = strings.Cut(t, "\x00"); return printable([]byte(t)) }
	return Description{text(d.Manufacturer), text(d.Hardware), text(d.Software), text(d.SerialNum), text(d.Datapath)}, nil
}

// MeterFeatures tells how many meters a switch has; a switch without any has 0.
func (s *Session) MeterFeatures(ctx context.Context) (ofp.MeterFeatures, error) {
	parts, err := s.multipart(ctx, ofp.MultipartTypeMeterFeatures, nil, "meter features request")
	var refused *SwitchError
	if errors.As(err, &refused) {
		return ofp.MeterFeatures{}, nil
	}
	if err != nil {
		return ofp.MeterFeatures{}, fmt.Errorf("read meter features: %w", err)
	}
	var f ofp.MeterFeatures
	if err := decode(bytes.Join(parts, nil), &f); err != nil {
		return f, fmt.Errorf("read meter features: %w", err)
	}
	return f, nil
}

// MeterStat counts what went into a meter and what it dropped.
type MeterStat struct {
	Meter            uint32
	PacketsIn        uint64
	Dropped          uint64
	BytesIn, BytesDr uint64
}

// MeterStats reads the counters of all meters (section 7.3.5.11).
func (s *Session) MeterStats(ctx context.Context) ([]MeterStat, error) {
	parts, err := s.multipart(ctx, ofp.MultipartTypeMeter, &ofp.MeterStatsRequest{Meter: ofp.MeterAll}, "meter stats request")
	if err != nil {
		return nil, fmt.Errorf("read meters: %w", err)
	}
	var all []MeterStat
	be := binary.BigEndian
	for _, b := range parts {
		for len(b) >= 40 {
			n := int(be.Uint16(b[4:]))
			if n < 40 || n > len(b) {
				return nil, fmt.Errorf("read meters: %w: entry of %d bytes", ErrProtocol, n)
			}
			m := MeterStat{Meter: be.Uint32(b), PacketsIn: be.Uint64(b[16:]), BytesIn: be.Uint64(b[24:])}
			for band := b[40:n]; len(band) >= 16; band = band[16:] {
				m.Dropped += be.Uint64(band)
				m.BytesDr += be.Uint64(band[8:])
			}
			all, b = append(all, m), b[n:]
		}
	}
	return all, nil
}

// Meters lists the meters that exist (section 7.3.5.12).
func (s *Session) Meters(ctx context.Context) ([]uint32, error) {
	parts, err := s.multipart(ctx, ofp.MultipartTypeMeterConfig, &ofp.MeterConfigRequest{Meter: ofp.MeterAll}, "meter config request")
	if err != nil {
		return nil, fmt.Errorf("read meters: %w", err)
	}
	var all []uint32
	for _, b := range parts {
		for len(b) >= 8 {
			n := int(binary.BigEndian.Uint16(b))
			if n < 8 || n > len(b) {
				return nil, fmt.Errorf("read meters: %w: entry of %d bytes", ErrProtocol, n)
			}
			all, b = append(all, binary.BigEndian.Uint32(b[4:])), b[n:]
		}
	}
	return all, nil
}
