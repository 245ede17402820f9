package openflow

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	of "github.com/netrack/openflow"
	"github.com/netrack/openflow/ofp"
)

// FlowRemoved tells how a flow ended and what it had carried.
type FlowRemoved struct {
	Cookie   uint64
	Priority uint16
	Table    uint8
	Reason   ofp.FlowRemovedReason
	// Duration is how long the flow was installed.
	Duration       time.Duration
	Packets, Bytes uint64
	Match          ofp.Match
}

// Port is a port of a switch (section 7.2.1).
type Port struct {
	No   uint32
	Addr net.HardwareAddr
	Name string
	// Config is what the controller (or the switch's operator) set, State what the
	// switch observes.
	Config ofp.PortConfig
	State  ofp.PortState
	// Speed is the current bit rate in kbit/s, 0 where the switch does not know.
	Speed uint32
}

// LinkDown tells that there is no carrier, or that the port was switched off.
func (p Port) LinkDown() bool { return p.State&ofp.PortStateLinkDown != 0 || p.AdminDown() }

// AdminDown tells that the port was switched off.
func (p Port) AdminDown() bool { return p.Config&ofp.PortConfigDown != 0 }

func portOf(p *ofp.Port) Port {
	return Port{
		No: uint32(p.PortNo), Addr: p.HWAddr, Config: p.Config, State: p.State, Speed: p.CurrSpeed,
		// netrack keeps the padding of the name.
		Name: printable([]byte(strings.TrimRight(p.Name, "\x00"))),
	}
}

// PortStatus tells what happened to a port.
type PortStatus struct {
	Reason ofp.PortReason
	Port   Port
}

// Stats of a session.
type Stats struct {
	// Punts were delivered. Malformed messages were dropped: PACKET_INs, and
	// messages whose body could not be read. Early packets came before the
	// handshake was over.
	Punts, Malformed, Early uint64
	// Errors are error messages of the switch, answered or not.
	Errors uint64
	// Echoes are requests sent to a silent switch.
	Echoes uint64
}

type stats struct{ punts, malformed, early, errors, echoes atomic.Uint64 }

// Stats counts what the session did so far.
func (s *Session) Stats() Stats {
	c := &s.stats
	return Stats{Punts: c.punts.Load(), Malformed: c.malformed.Load(), Early: c.early.Load(),
		Errors: c.errors.Load(), Echoes: c.echoes.Load()}
}

// control handles one whole message that is not a PACKET_IN.
func (s *Session) control(m []byte, features Message) error {
	if m[0] != version13 && of.Type(m[1]) != of.TypeHello && of.Type(m[1]) != of.TypeError {
		return fmt.Errorf("%w: version %d after the handshake", ErrProtocol, m[0])
	}
	xid, body := binary.BigEndian.Uint32(m[4:]), m[headerLen:]
	switch t := of.Type(m[1]); t {
	case of.TypeHello:
		if s.greeted {
			return nil
		}
		s.greeted = true
		if err := s.negotiate(m); err != nil {
			return err
		}
		return s.Send(features)
	case of.TypeEchoRequest:
		// In its place in the stream: what was sent before it has been handled.
		m[1] = byte(of.TypeEchoReply)
		err := s.out.sendRaw(m)
		return err
	case of.TypeFeaturesReply:
		return s.introduce(body)
	case of.TypeError:
		return s.refused(m)
	case of.TypePacketIn:
		s.stats.early.Add(1)
	case of.TypeFlowRemoved:
		s.flowRemoved(body)
	case of.TypePortStatus:
		s.portStatus(body)
	case of.TypeEchoReply, of.TypeBarrierReply, of.TypeMultipartReply, of.TypeRoleReply,
		of.TypeGetConfigReply, of.TypeGetAsyncReply:
		s.requests.answer(t, xid, body)
	default:
		// Section 6.1: what is not known is refused, not ignored; but a switch has no
		// use for such an answer, and asks nothing of us that needs one.
		s.stats.malformed.Add(1)
	}
	return nil
}

// negotiate reads the switch's hello (sections 6.3.1 and 7.5.1).
func (s *Session) negotiate(m []byte) error {
	if speaks13(m) {
		return nil
	}
	_ = s.Send(Message{Type: of.TypeError, Body: &ofp.Error{
		Type: ofp.ErrTypeHelloFailed, Code: ofp.ErrCodeHelloFailedIncompatible,
		Data: []byte("mpbox speaks OpenFlow 1.3 only"),
	}})
	return fmt.Errorf("%w: it offered version %d", ErrVersion, m[0])
}

// speaks13 reads a whole hello message. With a version bitmap both sides take the
// highest bit they share, else the lower of the two versions.
func speaks13(m []byte) bool {
	for b := m[headerLen:]; len(b) >= 4; {
		t, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if n < 4 || n > len(b) {
			break
		}
		if t == uint16(ofp.HelloElemTypeVersionBitmap) && n >= 8 {
			return binary.BigEndian.Uint32(b[4:])&(1<<version13) != 0
		}
		b = b[min((n+7)&^7, len(b)):]
	}
	return m[0] >= version13
}

// introduce takes the features and lets the handler in.
func (s *Session) introduce(body []byte) error {
	if s.handler != nil {
		return nil
	}
	if err := decode(body, &s.features); err != nil {
		return fmt.Errorf("read features: %w: %w", ErrProtocol, err)
	}
	if s.features.AuxiliaryID != 0 {
		return fmt.Errorf("%w: auxiliary connections are not used", ErrProtocol)
	}
	h, err := s.open(s)
	if err != nil {
		return err
	}
	s.handler = h
	close(s.opened)
	return nil
}

func (s *Session) refused(m []byte) error {
	s.stats.errors.Add(1)
	e, err := parseError(m)
	switch {
	case err != nil:
		s.stats.malformed.Add(1)
	case s.handler == nil:
		return fmt.Errorf("in the handshake: %w", e)
	case !s.requests.refuse(e):
		s.handler.Error(s, e)
	}
	return nil
}

func (s *Session) flowRemoved(body []byte) {
	var f ofp.FlowRemoved
	if err := decode(body, &f); err != nil {
		s.stats.malformed.Add(1)
		return
	}
	if s.handler == nil {
		return
	}
	s.handler.FlowRemoved(s, FlowRemoved{
		Cookie: f.Cookie, Priority: f.Priority, Table: uint8(f.Table), Reason: f.Reason,
		Duration: time.Duration(f.DurationSec)*time.Second + time.Duration(f.DurationNSec),
		Packets:  f.PacketCount, Bytes: f.ByteCount, Match: f.Match,
	})
}

func (s *Session) portStatus(body []byte) {
	var p ofp.PortStatus
	if err := decode(body, &p); err != nil {
		s.stats.malformed.Add(1)
		return
	}
	if s.handler == nil {
		return
	}
	s.handler.PortStatus(s, PortStatus{Reason: p.Reason, Port: portOf(&p.Port)})
}
