package datapath

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/netrack/openflow/ofp"
	"go.uber.org/zap"

	"mpbox/southbound/openflow"
)

// fakeSwitch is an OpenFlow switch that keeps flows as bytes. It knows nothing of
// this package's types: what it is sent, it reports.
type fakeSwitch struct {
	t    testing.TB
	c    net.Conn
	dpid uint64
	// refuse returns type and code of an error for a message, or ok.
	refuse func(typ byte, body []byte) (etype, code uint16, refused bool)

	mu    sync.Mutex
	flows map[string][]byte // table, priority, match -> body of the FLOW_MOD
	seen  []byte            // types of messages after the handshake
	role  uint32
	claim uint64 // generation of the last claim, of any controller
}

var be = binary.BigEndian

func (f *fakeSwitch) msg(typ byte, xid uint32, body []byte) {
	b := be.AppendUint16([]byte{4, typ}, uint16(8+len(body)))
	b = be.AppendUint32(b, xid)
	_, _ = f.c.Write(append(b, body...))
}

// serve answers until the connection ends.
func (f *fakeSwitch) serve() {
	f.msg(0, 1, []byte{0, 1, 0, 8, 0, 0, 0, 0x10})
	h := make([]byte, 8)
	for {
		if _, err := io.ReadFull(f.c, h); err != nil {
			return
		}
		body := make([]byte, int(be.Uint16(h[2:]))-8)
		if _, err := io.ReadFull(f.c, body); err != nil {
			return
		}
		f.handle(h[1], be.Uint32(h[4:]), body)
	}
}

func (f *fakeSwitch) handle(typ byte, xid uint32, body []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if typ != 0 && typ != 5 {
		f.seen = append(f.seen, typ)
	}
	if f.refuse != nil {
		if t, c, refused := f.refuse(typ, body); refused {
			b := be.AppendUint16(nil, t)
			b = be.AppendUint16(b, c)
			b = append(b, 4, typ, 0, byte(8+len(body)))
			b = be.AppendUint32(b, xid)
			f.msg(1, xid, append(b, body[:min(len(body), 56)]...))
			return
		}
	}
	switch typ {
	case 2: // ECHO_REQUEST
		f.msg(3, xid, body)
	case 5: // FEATURES_REQUEST
		f.msg(6, xid, append(be.AppendUint64(nil, f.dpid), 0, 0, 0, 0, 254, 0, 0, 0, 0, 0, 0, 0x4f, 0, 0, 0, 0))
	case 14:
		f.flowMod(body)
	case 18:
		f.msg(19, xid, append([]byte{body[0], body[1], 0, 0, 0, 0, 0, 0}, f.multipart(be.Uint16(body), body[8:])...))
	case 20:
		f.msg(21, xid, nil)
	case 24:
		// OFPCR_ROLE_NOCHANGE is 0.
		if role, claim := be.Uint32(body), be.Uint64(body[8:]); role != 0 && claim >= f.claim {
			f.role, f.claim = role, claim
		}
		f.msg(25, xid, be.AppendUint64(be.AppendUint64(nil, uint64(f.role)<<32), f.claim))
	}
}

// matchLen is the length of the match of a FLOW_MOD, with padding.
func matchLen(mod []byte) int { return (int(be.Uint16(mod[42:])) + 7) &^ 7 }

func (f *fakeSwitch) flowMod(b []byte) {
	if f.flows == nil {
		f.flows = map[string][]byte{}
	}
	key := fmt.Sprintf("%d %d %x", b[16], be.Uint16(b[22:]), b[40:40+matchLen(b)])
	cookie, mask := be.Uint64(b), be.Uint64(b[8:])
	switch b[17] {
	case 0: // ADD
		f.flows[key] = b
	case 3: // DELETE: the session uses it with an empty match only
		for k, have := range f.flows {
			if be.Uint64(have)&mask == cookie&mask && (b[16] == 255 || b[16] == have[16]) {
				delete(f.flows, k)
			}
		}
	case 4: // DELETE_STRICT
		if have, ok := f.flows[key]; ok && be.Uint64(have)&mask == cookie&mask {
			delete(f.flows, key)
		}
	}
}

func (f *fakeSwitch) multipart(typ uint16, body []byte) []byte {
	var out []byte
	switch typ {
	case 1: // flows
		cookie, mask := be.Uint64(body[16:]), be.Uint64(body[24:])
		for _, b := range f.flows {
			if be.Uint64(b)&mask != cookie&mask || body[0] != 255 && body[0] != b[16] {
				continue
			}
			e := []byte{0, 0, b[16], 0, 0, 0, 0, 1, 0, 0, 0, 0}
			e = append(e, b[22:24]...) // priority
			e = append(e, b[18:22]...) // time-outs
			e = append(e, b[36:38]...) // flags
			e = append(e, 0, 0, 0, 0)
			e = append(e, b[:8]...)            // cookie
			e = append(e, make([]byte, 16)...) // counters
			e = append(e, b[40:]...)           // match, instructions
			be.PutUint16(e, uint16(len(e)))
			out = append(out, e...)
		}
	case 11: // meter features
		out = append(out, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 15, 1, 0, 0, 0)
	case 13: // ports
		for i := range uint32(4) {
			out = append(be.AppendUint32(out, i+1), 0, 0, 0, 0, 2, 0, 0, 0, 0, byte(i), 0, 0)
			out = append(append(out, fmt.Sprintf("p%d", i+1)...), make([]byte, 14)...)
			out = append(out, make([]byte, 32)...)
		}
	}
	return out
}

// list gives the flows as this package reads them.
func (f *fakeSwitch) list() []Flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Flow
	for _, b := range f.flows {
		out = append(out, parseFlow(statOf(f.t, append(make([]byte, 8), b...))))
	}
	return out
}

func (f *fakeSwitch) count(typ byte) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.Count(f.seen, []byte{typ})
}

// join connects a fake switch to a registry, in a synctest bubble. The returned
// function ends the connection and waits.
func join(t testing.TB, r *Registry, f *fakeSwitch) func() {
	a, b := net.Pipe()
	f.t, f.c, f.role = t, b, uint32(ofp.ControllerRoleEqual)
	if f.dpid == 0 {
		f.dpid = 1
	}
	var wg sync.WaitGroup
	s := openflow.NewSession(a, openflow.Config{}, r.Open)
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() { _ = s.Run(ctx) })
	wg.Go(f.serve)
	return func() {
		cancel()
		_ = b.Close()
		wg.Wait()
	}
}

func newRegistry(t testing.TB, cfg Config) (*Registry, *recorder) {
	t.Helper()
	rec := &recorder{}
	cfg.Handler, cfg.Log = rec, zap.NewNop()
	if cfg.Bridges == nil {
		cfg.Bridges = []Bridge{two}
	}
	r, err := NewRegistry(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r, rec
}
