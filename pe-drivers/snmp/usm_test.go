package snmp

import (
	"errors"
	"strings"
	"testing"

	"github.com/gosnmp/gosnmp"

	"mpbox/pe-drivers/driver"
)

// What an operator is told follows from what the agent said about this very
// request: a password is wrong only where a Report says so, silence is no answer.
func TestWhatTheAgentSaid(t *testing.T) {
	for _, tt := range []struct {
		name    string
		retries int
		meet    func(usmRequest)
		kind    error  // nil: it is answered
		has     string // in the error's text
		hasNot  string
	}{
		{"all is well", 2, func(r usmRequest) { r.answer() }, nil, "", ""},
		{"lost, and found by the last try", 2, func(r usmRequest) {
			if !r.priv || r.n > 2 {
				r.answer()
				return
			}
			r.lost()
		}, nil, "", ""},
		{"three lost, then the agent has time again", 2, func(r usmRequest) {
			if !r.priv || r.n > 3 {
				r.answer()
				return
			}
			r.lost()
		}, driver.ErrUnreachable, "answers at", "password"},
		{"nothing with privacy is ever answered", 2, func(r usmRequest) {
			if !r.priv {
				r.answer()
				return
			}
			r.lost()
		}, driver.ErrUnreachable, "if this lasts, check priv and priv_password", "Decryption"},
		{"dead after discovery", 1, func(r usmRequest) {
			if r.discovery {
				r.answer()
				return
			}
			r.lost()
		}, driver.ErrUnreachable, "answers at", "password"},
		{"decryption error told", 2, func(r usmRequest) {
			if r.priv {
				r.report(6, r.msgID)
				return
			}
			r.answer()
		}, driver.ErrAuth, "usmStatsDecryptionErrors", ""},
		{"decryption error told of another message", 2, func(r usmRequest) {
			switch {
			case r.priv:
				r.reportOther(6)
			case r.discovery:
				r.answer()
			default:
				r.lost()
			}
		}, driver.ErrUnreachable, "answers at", "password"},
		{"decryption error told of another message, then the answer", 0, func(r usmRequest) {
			if r.priv {
				r.report(6, r.msgID-1000)
			}
			r.answer()
		}, nil, "", ""},
		{"wrong digest told", 2, func(r usmRequest) {
			if r.auth {
				r.report(5, r.msgID)
				return
			}
			r.answer()
		}, driver.ErrAuth, "usmStatsWrongDigests", ""},
		{"wrong digest told of another message", 0, func(r usmRequest) {
			if r.auth {
				r.reportOther(5)
				return
			}
			r.answer()
		}, driver.ErrUnreachable, "answers at", "password"},
		{"the discovery's answer comes twice", 0, func(r usmRequest) {
			if r.discovery {
				r.report(4, r.msgID)
				r.report(4, r.msgID)
				return
			}
			r.answer()
		}, nil, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newUSMAgent(t, tt.meet)
			d := New(a.config(tt.retries)).(*snmpDriver)
			d.session.cfg.dial = a.driver.on(d.session.dialV3)
			defer func() { _ = d.Close() }()
			v, err := d.session.get(t.Context(), sysUpTime)
			if tt.kind == nil {
				if err != nil || len(v) != 1 || v[0] != uint32(42) {
					t.Fatalf("got %v, %v", v, err)
				}
				return
			}
			var e *driver.Error
			if !errors.As(err, &e) || !errors.Is(e.Kind, tt.kind) || !strings.Contains(err.Error(), tt.has) || tt.hasNot != "" && strings.Contains(err.Error(), tt.hasNot) {
				t.Errorf("got %v, want %v with %q and without %q", err, tt.kind, tt.has, tt.hasNot)
			}
		})
	}
}

// A SET goes out once, whatever else comes in meanwhile; and one that is not answered is
// not sent again, for it may have been carried out.
func TestSetIsSentOnce(t *testing.T) {
	const setRequest = 0xa3
	a := newUSMAgent(t, func(r usmRequest) {
		if r.discovery {
			r.report(4, r.msgID)
			r.report(4, r.msgID)
			return
		}
		if r.pdu == setRequest && r.n == 3 {
			r.lost()
			return
		}
		if r.pdu == setRequest {
			r.report(4, r.msgID-1)
			r.report(6, r.msgID-2)
		}
		r.answer()
	})
	d := New(a.config(2)).(*snmpDriver)
	d.session.cfg.dial = a.driver.on(d.session.dialV3)
	defer func() { _ = d.Close() }()
	for _, want := range []error{nil, nil, driver.ErrUnreachable} {
		if err := d.session.set(t.Context(), []gosnmp.SnmpPDU{{Name: sysUpTime, Type: gosnmp.Integer, Value: 1}}); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	if n := a.count(func(r usmRequest) bool { return r.pdu == setRequest }); n != 3 {
		t.Errorf("%d SETs were sent, want 3", n)
	}
}

func TestContextIsInEachRequest(t *testing.T) {
	a := newUSMAgent(t, nil)
	cfg := a.config(0)
	cfg.ContextName = "blue"
	d := New(cfg).(*snmpDriver)
	defer func() { _ = d.Close() }()
	if _, err := d.session.get(t.Context(), sysUpTime); err != nil {
		t.Error(err)
	}
	if _, err := d.session.walk(t.Context(), ifXEntry, ifName); err != nil {
		t.Error(err)
	}
	if err := d.session.set(t.Context(), []gosnmp.SnmpPDU{{Name: sysUpTime, Type: gosnmp.Integer, Value: 1}}); err != nil {
		t.Error(err)
	}
	for _, pdu := range []gosnmp.PDUType{gosnmp.GetRequest, gosnmp.GetBulkRequest, gosnmp.SetRequest} {
		if n := a.count(func(r usmRequest) bool { return r.pdu == int(pdu) && r.priv && r.context == "blue" }); n != 1 {
			t.Errorf("%d of %v are for the context", n, pdu)
		}
	}
	if n := a.count(func(r usmRequest) bool { return r.context != "blue" }); n != 0 {
		t.Errorf("%d messages are for another context", n)
	}
}
