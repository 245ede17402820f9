package driver

import (
	"errors"
	"strings"
)

// What went wrong, for callers that decide by it. Test with errors.Is.
var (
	// ErrUnreachable: no answer; what the PE holds is unknown. Try again later.
	ErrUnreachable = errors.New("PE unreachable")
	// ErrAuth: the PE refused the credentials. Trying again does not help.
	ErrAuth = errors.New("PE refused the credentials")
	// ErrRejected: the PE understood and said no. Trying the same again does not help.
	ErrRejected = errors.New("PE rejected the operation")
	// ErrUnsupported: this driver or PE cannot do that at all; nothing was sent.
	ErrUnsupported = errors.New("not supported by this PE")
	// ErrProtocol: the PE's answer could not be understood.
	ErrProtocol = errors.New("unexpected answer from PE")
)

// Error tells an operator which PE, which step, what it said and what to do.
type Error struct {
	PE     string // name of the PE in the configuration
	Step   string // "SET mplsTunnelRowStatus.5.1.… = createAndGo(4)", "commit"
	Kind   error  // one of the Err… above
	Detail string // the PE's own words
	Remedy string // what the operator can do
	Err    error  // what lies beneath; may be nil
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.PE + ": " + e.Step + ": " + e.Kind.Error())
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Remedy != "" {
		b.WriteString(" (" + e.Remedy + ")")
	}
	return b.String()
}

// Unwrap gives both the kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}
