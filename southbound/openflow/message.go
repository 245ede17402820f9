package openflow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	of "github.com/netrack/openflow"
	"github.com/netrack/openflow/ofp"
)

// Message is one message to a switch.
type Message struct {
	Type of.Type
	// Body follows the header; nil if there is none.
	Body io.WriterTo
	// What says for people what the message is for ("tap SYN on port 1"): an error
	// that the switch returns for it is reported with these words.
	What string
}

// maxMessage is the longest message that the length field allows.
const maxMessage = 1<<16 - 1

// AppendMessage appends m in wire format to b.
func AppendMessage(b []byte, xid uint32, m Message) ([]byte, error) {
	start := len(b)
	b = append(b, version13, byte(m.Type), 0, 0)
	b = binary.BigEndian.AppendUint32(b, xid)
	if m.Body != nil {
		w := bytes.NewBuffer(b)
		if _, err := m.Body.WriteTo(w); err != nil {
			return b[:start], fmt.Errorf("encode %s: %w", m, err)
		}
		b = w.Bytes()
	}
	n := len(b) - start
	if n > maxMessage {
		return b[:start], fmt.Errorf("encode %s: %d bytes, a message holds %d", m, n, maxMessage)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	return b, nil
}

func (m Message) String() string {
	if m.What != "" {
		return m.What
	}
	return m.Type.String()
}

// raw is a body that is already in wire format.
type raw []byte

func (r raw) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(r)
	return int64(n), err
}

// Raw is a message whose body (what follows the header) is already encoded:
// for messages that are sent often, from a template.
func Raw(t of.Type, body []byte, what string) Message {
	return Message{Type: t, Body: raw(body), What: what}
}

// FlowMod is OFPT_FLOW_MOD.
func FlowMod(f *ofp.FlowMod, what string) Message {
	return Message{Type: of.TypeFlowMod, Body: f, What: what}
}

// MeterMod is OFPT_METER_MOD.
func MeterMod(m *ofp.MeterMod, what string) Message {
	return Message{Type: of.TypeMeterMod, Body: m, What: what}
}

// PortMod is OFPT_PORT_MOD.
func PortMod(m *ofp.PortMod, what string) Message {
	return Message{Type: of.TypePortMod, Body: m, What: what}
}

// netrack's decoders write the padding they skip into package variables: two
// sessions that decode at once would race. Nothing that is decoded with it is
// frequent.
var decodeMu sync.Mutex

// decode reads b into v and requires that v uses no more than b.
func decode(b []byte, v io.ReaderFrom) error {
	decodeMu.Lock()
	defer decodeMu.Unlock()
	if _, err := v.ReadFrom(bytes.NewReader(b)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}
