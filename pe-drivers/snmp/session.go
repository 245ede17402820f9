package snmp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gosnmp/gosnmp"
	"go.uber.org/zap"
)

// dialFunc opens a connection to the agent.
type dialFunc func(ctx context.Context) (*gosnmp.GoSNMP, error)

// session is the connection to one agent. It connects when it must, and forgets
// the connection after a failure: engine id, boots and time are then learnt anew
// (RFC 3414, section 4).
type session struct {
	cfg  Config
	log  *zap.Logger
	conn *gosnmp.GoSNMP
	// proven: a request was answered on this connection.
	proven bool
	// sets counts the SET messages that were sent.
	sets int
}

func (s *session) drop() {
	if s.conn != nil {
		if s.conn.Conn != nil {
			_ = s.conn.Conn.Close() // nothing is lost with a UDP socket
		}
		s.conn = nil
	}
}

var authProtocols = map[string]gosnmp.SnmpV3AuthProtocol{
	"sha1": gosnmp.SHA, "sha224": gosnmp.SHA224, "sha256": gosnmp.SHA256, "sha384": gosnmp.SHA384, "sha512": gosnmp.SHA512,
}

// A key that is longer than the digest of auth is extended in Blumenthal's way, not in
// Reeder's (gosnmp's AES192C and AES256C).
var privProtocols = map[string]gosnmp.SnmpV3PrivProtocol{
	"aes128": gosnmp.AES, "aes192": gosnmp.AES192, "aes256": gosnmp.AES256,
}

// errUnknownProtocol: the driver knows no such authentication or privacy protocol.
var errUnknownProtocol = errors.New("unknown protocol")

// dialV3 opens a SNMPv3 authPriv connection.
func (s *session) dialV3(ctx context.Context) (*gosnmp.GoSNMP, error) {
	auth, ok := authProtocols[s.cfg.AuthProtocol]
	if !ok {
		return nil, fmt.Errorf("%w: auth %q", errUnknownProtocol, s.cfg.AuthProtocol)
	}
	priv, ok := privProtocols[s.cfg.PrivProtocol]
	if !ok {
		return nil, fmt.Errorf("%w: priv %q", errUnknownProtocol, s.cfg.PrivProtocol)
	}
	host, port, err := splitAddress(s.cfg.Address)
	if err != nil {
		return nil, err
	}
	c := &gosnmp.GoSNMP{
		Target: host, Port: port, Version: gosnmp.Version3, Context: ctx, Timeout: s.cfg.Timeout,
		MsgFlags: gosnmp.AuthPriv, SecurityModel: gosnmp.UserSecurityModel, ContextName: s.cfg.ContextName,
		SecurityParameters: &gosnmp.UsmSecurityParameters{
			UserName:               s.cfg.User,
			AuthenticationProtocol: auth, AuthenticationPassphrase: s.cfg.AuthPassword,
			PrivacyProtocol: priv, PrivacyPassphrase: s.cfg.PrivPassword,
		},
	}
	if err := c.Connect(); err != nil {
		return nil, err
	}
	c.Conn = &tap{Conn: c.Conn, asked: map[uint32]bool{}}
	return c, nil
}

func splitAddress(a string) (host string, port uint16, err error) {
	if !strings.Contains(a, ":") || strings.HasSuffix(a, "]") { // without a port
		return strings.Trim(a, "[]"), 161, nil
	}
	host, p, err := net.SplitHostPort(a)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(p, 10, 16)
	return host, uint16(n), err
}

// do runs one request. An agent that has another engine id than the one learnt did
// not process the request (RFC 3414, section 3.2): it is sent again.
func (s *session) do(ctx context.Context, step string, retries int, request func(*gosnmp.GoSNMP) (*gosnmp.SnmpPacket, error)) (*gosnmp.SnmpPacket, error) {
	fresh := s.conn == nil
	r, err := s.once(ctx, retries, request)
	if !fresh && errors.Is(err, gosnmp.ErrUnknownEngineID) {
		r, err = s.once(ctx, retries, request)
	}
	if err != nil {
		return nil, s.failure(ctx, step, err)
	}
	return r, nil
}

// once runs a request on an open connection and closes that if it fails. A
// cancelled context closes the socket, which is what ends a read that waits.
func (s *session) once(ctx context.Context, retries int, request func(*gosnmp.GoSNMP) (*gosnmp.SnmpPacket, error)) (*gosnmp.SnmpPacket, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.conn == nil {
		dial := s.cfg.dial
		if dial == nil {
			dial = s.dialV3
		}
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		s.conn, s.proven = conn, false
		s.log.Debug("connected", zap.String("address", s.cfg.Address))
	}
	c := s.conn
	c.Context, c.Retries = ctx, retries
	stop := context.AfterFunc(ctx, func() { _ = c.Conn.Close() }) // wakes the reader; ctx tells why
	t, _ := c.Conn.(*tap)
	t.forget()
	r, err := request(c)
	switch {
	case err != nil && ctx.Err() != nil:
	case errors.Is(err, gosnmp.ErrMaxRetriesExceeded): // no answer in time
		if !s.proven && s.silentWithPrivacy(c) {
			err = fmt.Errorf("%w: %w", errSilentWithPrivacy, err)
		}
	case err != nil:
		if report := t.report(); report != nil {
			err = report
		}
	case err == nil && r.PDUType == gosnmp.Report:
		err = gosnmp.ErrUnknownReportPDU // gosnmp's own second try failed
	}
	if !stop() || err != nil {
		s.drop()
	}
	s.proven = s.proven || err == nil
	return r, err
}

// errSilentWithPrivacy: an agent answers without privacy, and not with it.
var errSilentWithPrivacy = errors.New("no answer with privacy, one without")

// silentWithPrivacy finds out more of an agent that told its engine id and then
// nothing. A wrong privacy key decrypts to garbage, which agents may drop without a
// word (RFC 3414 knows no error for it); but an agent that had no time is silent too.
// It is asked without privacy, which is answered, if only by a refusal, and once more
// with it. That proves nothing, but tells an operator where to look.
func (s *session) silentWithPrivacy(c *gosnmp.GoSNMP) bool {
	usm, ok := c.SecurityParameters.(*gosnmp.UsmSecurityParameters)
	if !ok || usm.AuthoritativeEngineID == "" {
		return false
	}
	t, _ := c.Conn.(*tap)
	answered := func(flags gosnmp.SnmpV3MsgFlags) bool {
		c.MsgFlags, c.Retries = flags, 0
		t.forget()
		_, err := c.Get([]string{sysUpTime})
		return err == nil || errors.Is(cmp.Or(t.report(), err), gosnmp.ErrUnknownSecurityLevel)
	}
	return answered(gosnmp.AuthNoPriv) && !answered(gosnmp.AuthPriv)
}

// get reads scalars and cells. A cell that the agent does not have is nil.
func (s *session) get(ctx context.Context, oids ...string) ([]any, error) {
	step := "GET " + names(oids)
	r, err := s.do(ctx, step, s.cfg.Retries, func(c *gosnmp.GoSNMP) (*gosnmp.SnmpPacket, error) { return c.Get(oids) })
	if err != nil {
		return nil, err
	}
	if r.Error != gosnmp.NoError {
		return nil, s.refusal(step, r, nil)
	}
	if len(r.Variables) != len(oids) {
		return nil, s.unexpected(step, "%d values for %d questions", len(r.Variables), len(oids))
	}
	out := make([]any, len(oids))
	for i, v := range r.Variables {
		if !missing(v.Type) {
			out[i] = v.Value
		}
	}
	return out, nil
}

func missing(t gosnmp.Asn1BER) bool {
	return t == gosnmp.NoSuchObject || t == gosnmp.NoSuchInstance || t == gosnmp.EndOfMibView || t == gosnmp.Null
}

// walk reads columns of a table side by side: each GETBULK goes on where the last
// one ended in every column.
func (s *session) walk(ctx context.Context, entry string, columns ...int) (table, error) {
	type cursor struct {
		column int
		prefix string // "1.3.6….5."
		at     string // the last index seen
	}
	cursors := make([]*cursor, len(columns))
	for i, c := range columns {
		cursors[i] = &cursor{column: c, prefix: col(entry, c) + "."}
	}
	base, _ := describe(col(entry, columns[0]))
	step := "walk " + base
	var rows rowSet
	for len(cursors) > 0 {
		oids := make([]string, len(cursors))
		for i, c := range cursors {
			oids[i] = strings.TrimSuffix(c.prefix+c.at, ".")
		}
		r, err := s.do(ctx, step, s.cfg.Retries, func(c *gosnmp.GoSNMP) (*gosnmp.SnmpPacket, error) {
			return c.GetBulk(oids, 0, uint32(s.cfg.MaxRepetitions)) // #nosec G115 -- a small number
		})
		if err != nil {
			return nil, err
		}
		if r.Error != gosnmp.NoError {
			return nil, s.refusal(step, r, nil)
		}
		if len(r.Variables) == 0 {
			return nil, s.unexpected(step, "an empty answer")
		}
		// RFC 3416, section 4.2.3: the answers come row by row, in the order of the
		// questions, and may be cut short anywhere.
		ended := make(map[*cursor]bool)
		for i, v := range r.Variables {
			c := cursors[i%len(cursors)]
			name := strings.TrimPrefix(v.Name, ".")
			idx, inside := strings.CutPrefix(name, c.prefix)
			if ended[c] || missing(v.Type) || !inside {
				ended[c] = true
				continue
			}
			if c.at != "" && compareOID(idx, c.at) <= 0 {
				return nil, s.unexpected(step, "OID %s does not follow %s", name, c.prefix+c.at)
			}
			c.at = idx
			if !rows.add(idx, c.column, v.Value) {
				return nil, s.unexpected(step, "OID %s", name)
			}
		}
		rest := cursors[:0]
		for _, c := range cursors {
			if !ended[c] {
				rest = append(rest, c)
			}
		}
		cursors = rest
	}
	return rows.table(), nil
}

// set sends one SET: all of its varbinds take effect or none (RFC 3416, section
// 4.2.5).
func (s *session) set(ctx context.Context, vars []gosnmp.SnmpPDU) error {
	step := "SET " + describeSet(vars[len(vars)-1])
	s.sets++
	start := time.Now()
	r, err := s.do(ctx, step, 0, func(c *gosnmp.GoSNMP) (*gosnmp.SnmpPacket, error) { return c.Set(vars) })
	if err != nil {
		return err
	}
	if r.Error != gosnmp.NoError {
		return s.refusal(step, r, vars)
	}
	s.log.Debug("set", zap.String("last", step), zap.Int("varbinds", len(vars)), zap.Duration("took", time.Since(start)))
	return nil
}

// setRows sends rows in as few SETs as fit, never a row in two. It tells how many
// rows were accepted.
func (s *session) setRows(ctx context.Context, rows [][]gosnmp.SnmpPDU) (accepted int, err error) {
	for _, message := range pack(rows, s.cfg.MaxMessage) {
		if err := s.set(ctx, slices.Concat(message...)); err != nil {
			return accepted, err
		}
		accepted += len(message)
	}
	return accepted, nil
}

// messageOverhead is what SNMPv3 with authPriv adds around the varbinds, rounded up.
const messageOverhead = 160

// pack joins rows to messages of at most size octets; a row that is larger than
// that goes alone.
func pack(rows [][]gosnmp.SnmpPDU, size int) [][][]gosnmp.SnmpPDU {
	var out [][][]gosnmp.SnmpPDU
	room := 0
	for _, r := range rows {
		need := 0
		for _, v := range r {
			need += varbindSize(v)
		}
		if len(out) == 0 || need > room {
			out = append(out, nil)
			room = size - messageOverhead
		}
		out[len(out)-1] = append(out[len(out)-1], r)
		room -= need
	}
	return out
}

// varbindSize is the upper bound of a varbind's length in BER.
func varbindSize(v gosnmp.SnmpPDU) int {
	oidSize := func(oid string) int { // each sub-identifier in groups of 7 bits
		n := 2
		for part := range strings.SplitSeq(oid, ".") {
			id, _ := strconv.ParseUint(part, 10, 32)
			for n++; id > 127; id >>= 7 {
				n++
			}
		}
		return n
	}
	n := 4 + oidSize(v.Name)
	switch x := v.Value.(type) {
	case string:
		if v.Type == gosnmp.ObjectIdentifier {
			return n + oidSize(x)
		}
		return n + 4 + len(x)
	case []byte:
		return n + 4 + len(x)
	}
	return n + 7
}

func names(oids []string) string {
	out := make([]string, len(oids))
	for i, o := range oids {
		out[i], _ = describe(o)
	}
	return strings.Join(out, ", ")
}
