package snmp

import (
	"net"
	"strings"

	"github.com/gosnmp/gosnmp"
)

// tap stands between gosnmp and the socket. It drops what answers none of the
// messages that are waited for: gosnmp takes any Report for the answer to its last
// request, and a late one tells nothing of this. And it keeps the last answer: a
// Report that tells of a wrong password cannot be authenticated, and gosnmp discards
// those without telling what it said; an operator has to know.
type tap struct {
	net.Conn
	// asked are the msgIDs that an answer may have (RFC 3412, section 7.2, step 12).
	asked map[uint32]bool
	auth  bool // these messages are authenticated: discovery is over
	last  []byte
}

func (t *tap) Write(b []byte) (int, error) {
	if h, ok := readHeader(b); ok {
		if h.auth != t.auth {
			clear(t.asked)
		}
		t.auth, t.asked[h.msgID] = h.auth, true
		t.last = t.last[:0]
	}
	return t.Conn.Write(b)
}

func (t *tap) Read(b []byte) (int, error) {
	for {
		n, err := t.Conn.Read(b)
		if err != nil {
			return n, err
		}
		h, ok := readHeader(b[:n])
		if ok && !t.asked[h.msgID] {
			continue
		}
		if h.report { // the question is put anew, or given up: what others say of it comes late
			clear(t.asked)
		}
		t.last = append(t.last[:0], b[:n]...)
		return n, nil
	}
}

// forget ends the wait for answers to what was asked so far.
func (t *tap) forget() {
	if t != nil {
		clear(t.asked)
		t.last = t.last[:0]
	}
}

// header is what can be read of any SNMPv3 message.
type header struct {
	msgID  uint32
	auth   bool
	report bool // a Report in the clear
}

// readHeader reads the header of a message (RFC 3412, section 6); not ok where it is
// no SNMPv3 message.
func readHeader(msg []byte) (h header, ok bool) {
	_, body, _ := element(msg)
	_, version, body := element(body)
	_, global, body := element(body)
	_, id, global := element(global)
	_, _, global = element(global) // the largest message
	_, flags, _ := element(global)
	if len(version) != 1 || version[0] != byte(gosnmp.Version3) || len(id) == 0 || len(id) > 4 || len(flags) != 1 {
		return h, false
	}
	for _, x := range id {
		h.msgID = h.msgID<<8 | uint32(x)
	}
	h.auth = flags[0]&byte(gosnmp.AuthNoPriv) != 0
	_, _, body = element(body) // security parameters
	if tag, scoped, _ := element(body); tag == byte(gosnmp.Sequence) {
		_, _, scoped = element(scoped) // context engine id
		_, _, scoped = element(scoped) // context name
		tag, _, _ = element(scoped)
		h.report = tag == byte(gosnmp.Report)
	}
	return h, true
}

// element takes a BER element off b; lengths need not be the shortest. All is zero
// where there is none.
func element(b []byte) (tag byte, content, rest []byte) {
	if len(b) < 2 {
		return 0, nil, nil
	}
	n, at := int(b[1]), 2
	if n >= 0x80 {
		octets := n & 0x7f
		if octets == 0 || octets > 3 || len(b) < 2+octets {
			return 0, nil, nil
		}
		n, at = 0, 2+octets
		for _, x := range b[2:at] {
			n = n<<8 | int(x)
		}
	}
	if n > len(b)-at {
		return 0, nil, nil
	}
	return b[0], b[at : at+n], b[at+n:]
}

// report gives what a Report in the clear said, nil if the last answer was none.
func (t *tap) report() error {
	if t == nil || len(t.last) == 0 {
		return nil
	}
	c := &gosnmp.GoSNMP{
		Version: gosnmp.Version3, SecurityModel: gosnmp.UserSecurityModel,
		SecurityParameters: &gosnmp.UsmSecurityParameters{UserName: "-"},
	}
	p, err := c.SnmpDecodePacket(t.last)
	if err == nil && p.PDUType == gosnmp.Report && len(p.Variables) == 1 {
		return usmReports[strings.TrimPrefix(p.Variables[0].Name, ".")]
	}
	return nil
}

// usmReports are the counters that a Report names (RFC 3414, section 5).
var usmReports = map[string]error{
	"1.3.6.1.6.3.15.1.1.1.0": gosnmp.ErrUnknownSecurityLevel,
	"1.3.6.1.6.3.15.1.1.2.0": gosnmp.ErrNotInTimeWindow,
	"1.3.6.1.6.3.15.1.1.3.0": gosnmp.ErrUnknownUsername,
	"1.3.6.1.6.3.15.1.1.4.0": gosnmp.ErrUnknownEngineID,
	"1.3.6.1.6.3.15.1.1.5.0": gosnmp.ErrWrongDigest,
	"1.3.6.1.6.3.15.1.1.6.0": gosnmp.ErrDecryption,
}
