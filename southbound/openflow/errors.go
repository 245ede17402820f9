package openflow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	of "github.com/netrack/openflow"
	"github.com/netrack/openflow/ofp"
)

// Why a session ended, or a request failed. Test with errors.Is.
var (
	// ErrVersion: the switch does not speak OpenFlow 1.3.
	ErrVersion = errors.New("switch does not speak OpenFlow 1.3 (ovs-vsctl set bridge BR protocols=OpenFlow13)")
	// ErrProtocol: the switch sent something that OpenFlow 1.3 does not allow.
	ErrProtocol = errors.New("malformed OpenFlow message")
	// ErrSilent: the switch did not answer an echo request in time.
	ErrSilent = errors.New("switch does not answer echo requests")
	// ErrBacklog: the switch does not read what is sent to it.
	ErrBacklog = errors.New("switch does not read what is sent to it")
	// ErrClosed: the session is over.
	ErrClosed = errors.New("OpenFlow session closed")
	// ErrHandshake: the switch did not introduce itself in time.
	ErrHandshake = errors.New("no OpenFlow handshake in time")
)

// SwitchError is an error message of a switch (OFPT_ERROR), with the message of
// ours that caused it.
type SwitchError struct {
	Type ofp.ErrType
	Code ofp.ErrCode
	XID  uint32
	// Index is that of the message in its Commit; -1 where none waits for it.
	Index int
	// Cause is Message.What of the message with that xid, or the type of message
	// that the switch returned; Text is what a HELLO_FAILED says.
	Cause, Text string
}

func (e *SwitchError) Error() string {
	// netrack's names read ErrTypeBadMatch, ErrCodeBadMatchBadField.
	kind := strings.TrimPrefix(e.Type.String(), "ErrType")
	name := ofp.Error{Type: e.Type, Code: e.Code}.String()
	if i := strings.LastIndex(name, "ErrCode"); i >= 0 {
		kind = strings.TrimSpace(name[i+len("ErrCode"):])
	} else {
		kind = fmt.Sprintf("%s(%d)", kind, e.Code)
	}
	s := "switch refused"
	if e.Cause != "" {
		s += " " + e.Cause
	}
	s += ": " + kind
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// Is reports whether target is a *SwitchError of the same type and code, so that
// callers can compare with errors.Is.
func (e *SwitchError) Is(target error) bool {
	t, ok := target.(*SwitchError)
	return ok && t.Type == e.Type && t.Code == e.Code
}

// parseError reads a whole OFPT_ERROR message.
func parseError(m []byte) (*SwitchError, error) {
	var body ofp.Error
	if err := decode(m[headerLen:], &body); err != nil {
		return nil, fmt.Errorf("read error message: %w", err)
	}
	e := &SwitchError{Type: body.Type, Code: body.Code, XID: binary.BigEndian.Uint32(m[4:]), Index: -1}
	switch {
	case body.Type == ofp.ErrTypeHelloFailed:
		e.Text = printable(body.Data)
	case len(body.Data) >= headerLen:
		// The data begins with the message that was refused (section 7.4.4).
		e.Cause = of.Type(body.Data[1]).String()
	}
	return e, nil
}

// printable makes a switch's text safe to log.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b))
}
