package controller

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"mpbox/apps/tunnelmanager"
	"mpbox/controller/config"
	"mpbox/southbound/datapath"
	"mpbox/southbound/openflow"
)

// bridge is the other end of an OpenFlow session, in bytes: it agrees to everything,
// and shows nothing. One that is stuck answers nothing more.
type bridge struct {
	conn  net.Conn
	stuck atomic.Bool
	flows atomic.Int32 // FLOW_MODs since the session began
}

func (b *bridge) send(typ byte, xid uint32, body []byte) {
	m := binary.BigEndian.AppendUint16([]byte{4, typ}, uint16(8+len(body)))
	_, _ = b.conn.Write(append(binary.BigEndian.AppendUint32(m, xid), body...))
}

func (b *bridge) serve(dpid uint64) {
	b.send(0, 1, []byte{0, 1, 0, 8, 0, 0, 0, 0x10}) // HELLO, version 4
	for h := make([]byte, 8); ; {
		if _, err := io.ReadFull(b.conn, h); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint16(h[2:])-8)
		if _, err := io.ReadFull(b.conn, body); err != nil {
			return
		}
		xid := binary.BigEndian.Uint32(h[4:])
		switch typ := h[1]; {
		case typ == 14:
			b.flows.Add(1)
		case b.stuck.Load():
		case typ == 5: // FEATURES_REQUEST
			b.send(6, xid, append(binary.BigEndian.AppendUint64(nil, dpid), make([]byte, 16)...))
		case typ == 18 && body[1] == 11: // no meters
			b.send(19, xid, append(body[:8:8], make([]byte, 16)...))
		case typ == 18:
			b.send(19, xid, body[:8])
		case typ == 2, typ == 20, typ == 24: // ECHO_REQUEST, BARRIER_REQUEST, ROLE_REQUEST
			b.send(typ+1, xid, body)
		}
	}
}

// A bridge that does not answer holds up neither the rules of the others nor what is
// read of them.
func TestSlowBridgeHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := &config.Config{VPNs: []config.VPN{{Name: "red"}}}
		var rules []tunnelmanager.EdgeRule
		for i := range uint64(4) {
			name := fmt.Sprintf("ce%d", i)
			cfg.Bridges = append(cfg.Bridges, config.Bridge{Name: fmt.Sprintf("edge%d", i), DPID: config.DPID(i + 1),
				Attachments: []config.Attachment{{Name: name, CEPort: 1, PEPort: 2, VPN: "red"}}})
			rules = append(rules, tunnelmanager.EdgeRule{Attachment: name, Src: netip.MustParseAddrPort("10.1.0.1:4000"), Dst: netip.MustParseAddrPort("10.2.0.1:80")})
			rules[i].ID = rules[i].Key()
		}
		r, err := datapath.NewRegistry(datapath.Config{Bridges: bridges(cfg), Log: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		all := make([]*bridge, len(cfg.Bridges))
		for i := range all {
			ours, theirs := net.Pipe()
			all[i] = &bridge{conn: theirs}
			running.Go(func() { _ = openflow.NewSession(ours, openflow.Config{}, r.Open).Run(ctx) })
			running.Go(func() { all[i].serve(uint64(i + 1)) })
		}
		defer running.Wait()
		defer cancel()
		synctest.Wait()
		for i, b := range all {
			b.stuck.Store(i < 2)
			b.flows.Store(0)
		}
		e := &edge{places: newPlaces(cfg), registry: r, counters: new(counters)}
		began := time.Now()
		told := make(chan error, 1)
		go func() { told <- e.SetRules(ctx, rules) }()
		synctest.Wait()
		for i, b := range all {
			if b.flows.Load() != 1 {
				t.Errorf("%s was sent %d rules at once, want 1", cfg.Bridges[i].Name, b.flows.Load())
			}
		}
		got, _ := e.Rules(ctx)
		if len(got.Attachments) != 2 || !got.Attachments["ce2"] || !got.Attachments["ce3"] {
			t.Errorf("attachments %v answered, want ce2 and ce3", got.Attachments)
		}
		if err := <-told; err == nil || time.Since(began) > 10*time.Second {
			t.Errorf("%v after %s, want two time-outs at once", err, time.Since(began))
		}
	})
}
