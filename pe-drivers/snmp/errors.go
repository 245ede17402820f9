package snmp

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gosnmp/gosnmp"

	"mpbox/pe-drivers/driver"
)

// statusWords are the error-status values of RFC 3416, section 3, with what an
// operator can do about a SET that met them.
var statusWords = map[gosnmp.SNMPError][2]string{
	gosnmp.TooBig:              {"tooBig", "let the PE's agent take and send SNMP messages of 1400 octets"},
	gosnmp.NoSuchName:          {"noSuchName", "check that the agent serves this MIB"},
	gosnmp.BadValue:            {"badValue", "the PE does not support this value; see its log"},
	gosnmp.ReadOnly:            {"readOnly", "this PE serves the MIB read-only: use another driver for it"},
	gosnmp.GenErr:              {"genErr", "see the PE's log; its MPLS agent may have failed"},
	gosnmp.NoAccess:            {"noAccess", "give the SNMP user a write view on MPLS-TE-STD-MIB and MPLS-FTN-STD-MIB"},
	gosnmp.WrongType:           {"wrongType", "the PE implements another version of the MIB; report this with the agent's version"},
	gosnmp.WrongLength:         {"wrongLength", "the PE allows shorter names: shorten instance in the configuration"},
	gosnmp.WrongEncoding:       {"wrongEncoding", "report this with the agent's version"},
	gosnmp.WrongValue:          {"wrongValue", "the PE does not accept this value; see its log"},
	gosnmp.NoCreation:          {"noCreation", "the PE cannot make this row; check that its MPLS agent runs"},
	gosnmp.InconsistentValue:   {"inconsistentValue", "the value conflicts with what the PE holds; see its log"},
	gosnmp.ResourceUnavailable: {"resourceUnavailable", "the PE has no room for the row; release tunnels or classes"},
	gosnmp.CommitFailed:        {"commitFailed", "see the PE's log; nothing was changed"},
	gosnmp.UndoFailed:          {"undoFailed", "see the PE's log and check the row: the PE could not take the change back"},
	gosnmp.AuthorizationError:  {"authorizationError", "give the SNMP user a write view on MPLS-TE-STD-MIB and MPLS-FTN-STD-MIB"},
	gosnmp.NotWritable:         {"notWritable", "check that the PE's MPLS agent runs; if it serves the MIB read-only, use another driver for this PE"},
	gosnmp.InconsistentName:    {"inconsistentName", "the row conflicts with another one; see the PE's log"},
}

func (s *session) fail(kind error, step, detail, remedy string, err error) error {
	return &driver.Error{PE: s.cfg.PE, Step: step, Kind: kind, Detail: detail, Remedy: remedy, Err: err}
}

func (s *session) unexpected(step, format string, args ...any) error {
	s.drop()
	return s.fail(driver.ErrProtocol, step, fmt.Sprintf(format, args...), "report this with the agent's version", nil)
}

// refusal is an answer whose error-status is not noError. gosnmp gives no error
// for these. vars are the varbinds of a SET: the index tells which one it was.
func (s *session) refusal(step string, r *gosnmp.SnmpPacket, vars []gosnmp.SnmpPDU) error {
	words, ok := statusWords[r.Error]
	if !ok {
		words = [2]string{"error-status", "see the PE's log"}
	}
	if i := int(r.ErrorIndex); i >= 1 && i <= len(vars) {
		step = "SET " + describeSet(vars[i-1])
	}
	return s.fail(driver.ErrRejected, step, fmt.Sprintf("%s(%d)", words[0], r.Error), words[1],
		&refused{status: r.Error, index: int(r.ErrorIndex)})
}

// refused keeps what a refusal said, for the driver's own decisions.
type refused struct {
	status gosnmp.SNMPError
	index  int // of the varbind, from 1; 0 where unknown
}

func (r *refused) Error() string { return fmt.Sprintf("error-index %d", r.index) }

// failure maps an error of the transport or of SNMPv3's security.
func (s *session) failure(ctx context.Context, step string, err error) error {
	check := func(what string) string {
		return fmt.Sprintf("check %s of SNMP user %q on the PE and in the configuration", what, s.cfg.User)
	}
	switch {
	case ctx.Err() != nil:
		return s.fail(driver.ErrUnreachable, step, "", "", context.Cause(ctx))
	case errors.Is(err, gosnmp.ErrUnknownUsername):
		return s.fail(driver.ErrAuth, step, "usmStatsUnknownUserNames", fmt.Sprintf("add SNMP user %q on the PE, or correct user in the configuration", s.cfg.User), nil)
	case errors.Is(err, gosnmp.ErrWrongDigest):
		return s.fail(driver.ErrAuth, step, "usmStatsWrongDigests", check("auth and auth_password"), nil)
	case errors.Is(err, gosnmp.ErrDecryption):
		return s.fail(driver.ErrAuth, step, "usmStatsDecryptionErrors", check("priv and priv_password"), nil)
	case errors.Is(err, gosnmp.ErrUnknownSecurityLevel):
		return s.fail(driver.ErrAuth, step, "usmStatsUnsupportedSecLevels", fmt.Sprintf("allow SNMP user %q authPriv on the PE", s.cfg.User), nil)
	case errors.Is(err, gosnmp.ErrNotInTimeWindow), errors.Is(err, gosnmp.ErrUnknownEngineID),
		errors.Is(err, gosnmp.ErrUnknownReportPDU), errors.Is(err, gosnmp.ErrUnknownPDUHandlers),
		errors.Is(err, gosnmp.ErrUnknownSecurityModels), errors.Is(err, gosnmp.ErrInvalidMsgs):
		return s.fail(driver.ErrProtocol, step, "", "check the agent's clock and SNMPv3 configuration, and context", err)
	case errors.Is(err, errUnknownProtocol), strings.Contains(err.Error(), "Passphrase"):
		return s.fail(driver.ErrUnsupported, step, "", "correct the snmp section of this PE in the configuration", err)
	case strings.HasPrefix(err.Error(), "marshal"):
		return s.fail(driver.ErrProtocol, step, "", "report this", err)
	}
	remedy := fmt.Sprintf("check that the agent runs and answers at %s", s.cfg.Address)
	if errors.Is(err, errSilentWithPrivacy) {
		remedy += "; it answered a message without privacy: if this lasts, " + check("priv and priv_password")
	}
	if s.cfg.ContextName != "" {
		remedy += fmt.Sprintf("; one that has no context %q may be silent", s.cfg.ContextName)
	}
	if strings.HasPrefix(step, "SET ") {
		remedy += "; whether the PE took the change is unknown until it is read back"
	}
	return s.fail(driver.ErrUnreachable, step, "", remedy, err)
}
