package openflow

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	of "github.com/netrack/openflow"
	"github.com/netrack/openflow/ofp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// puntMsg is a PACKET_IN with one byte of frame.
func puntMsg(port uint32, frame ...byte) []byte {
	b := []byte{0xff, 0xff, 0xff, 0xff, 0, 60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0, 12, 0x80, 0, 0, 4}
	b = binary.BigEndian.AppendUint32(b, port)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return msg(10, 0, append(b, frame...)...)
}

func TestHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{}, nil)
		hello := r.want(0)
		if want := []byte{0, 1, 0, 8, 0, 0, 0, 0x10}; !bytes.Equal(hello.body, want) {
			t.Errorf("hello %x, want %x", hello.body, want)
		}
		r.send(helloWithBitmap)
		// Before the features are known packets have no handler: they are dropped.
		r.send(puntMsg(1), features(r.want(5).xid, 0xabcd))
		synctest.Wait()
		if r.s.DPID() != 0xabcd {
			t.Errorf("dpid %x", r.s.DPID())
		}
		if s := r.s.Stats(); s.Early != 1 || s.Punts != 0 {
			t.Errorf("stats %+v", s)
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
		if len(r.rec.closed) != 1 || !errors.Is(r.rec.closed[0], context.Canceled) {
			t.Errorf("closed: %v", r.rec.closed)
		}
	})
}

func TestVersions(t *testing.T) {
	hello := func(version byte, elements ...byte) []byte {
		m := msg(0, 1, elements...)
		m[0] = version
		return m
	}
	for name, tc := range map[string]struct {
		hello []byte
		ok    bool
	}{
		"1.3 without bitmap":             {hello(4), true},
		"1.0 without bitmap":             {hello(1), false},
		"1.5 without bitmap":             {hello(6), true},
		"1.5 with 1.3 in its bitmap":     {hello(6, 0, 1, 0, 8, 0, 0, 0, 0x52), true},
		"1.5 without 1.3 in its bitmap":  {hello(6, 0, 1, 0, 8, 0, 0, 0, 0x42), false},
		"1.0 with 1.3 in its bitmap":     {hello(1, 0, 1, 0, 8, 0, 0, 0, 0x12), true},
		"another element before bitmap":  {hello(6, 0, 9, 0, 5, 1, 0, 0, 0, 0, 1, 0, 8, 0, 0, 0, 0x10), true},
		"element longer than the hello":  {hello(4, 0, 1, 0, 200, 0, 0, 0, 0), true},
		"element shorter than its head":  {hello(4, 0, 1, 0, 2, 0, 0, 0, 0), true},
		"bitmap without a word (ignore)": {hello(4, 0, 1, 0, 4, 0, 0, 0, 0), true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, Config{}, nil)
				r.want(0)
				go r.send(tc.hello)
				if tc.ok {
					r.want(5)
					_ = r.end()
					return
				}
				// HELLO_FAILED, incompatible, and why.
				e := r.want(1)
				if !bytes.HasPrefix(e.body, []byte{0, 0, 0, 0}) || !strings.Contains(string(e.body), "1.3") {
					t.Errorf("error message %q", e.body)
				}
				if err := <-r.done; !errors.Is(err, ErrVersion) {
					t.Errorf("ended with %v", err)
				}
			})
		})
	}
}

func TestHandshakeFails(t *testing.T) {
	for name, tc := range map[string]struct {
		play func(r *running)
		want error
		text string
	}{
		"silence":            {func(*running) {}, ErrHandshake, ""},
		"hello, then silent": {func(r *running) { r.want(0); r.send(helloWithBitmap); r.want(5) }, ErrHandshake, ""},
		"hello failed": {func(r *running) {
			r.want(0)
			r.send(msg(1, 1, append([]byte{0, 0, 0, 0}, "no common\x00 version"...)...))
		}, nil, "no common version"},
		"refused by open": {func(r *running) { r.greet(1) }, errRefused, ""},
		"auxiliary connection": {func(r *running) {
			r.want(0)
			r.send(helloWithBitmap)
			f := features(r.want(5).xid, 1)
			f[21] = 1
			r.send(f)
		}, ErrProtocol, ""},
		"length below the header": {func(r *running) { r.want(0); r.send([]byte{4, 2, 0, 7, 0, 0, 0, 0}) }, ErrProtocol, ""},
		"another version later":   {func(r *running) { r.want(0); r.send([]byte{1, 2, 0, 8, 0, 0, 0, 0}) }, ErrProtocol, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, Config{}, func(*Session) (Handler, error) { return nil, errRefused })
				go func() {
					tc.play(r)
					r.drain()
				}()
				err := <-r.done
				if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
					t.Errorf("ended with %v, want %v %s", err, tc.want, tc.text)
				}
				_ = r.c.Close()
			})
		})
	}
}

// The stream may be cut anywhere: messages arrive whole and in order.
func TestPuntsInAnyChunks(t *testing.T) {
	var stream []byte
	const n = 700 // more than two batches
	for i := range n {
		stream = append(stream, puntMsg(uint32(i+1), make([]byte, i%90)...)...)
	}
	big := puntMsg(9999, make([]byte, maxMessage-42)...)
	stream = append(stream, big...)
	for _, chunk := range []int{1, 7, 41, 4096, len(stream)} {
		stream, want := stream, n+1
		if chunk == 1 { // takes its time
			stream, want = stream[:len(stream)-len(big)], n
		}
		t.Run(fmt.Sprint(chunk), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, Config{}, nil)
				r.greet(1)
				for c := range slices.Chunk(stream, chunk) {
					r.send(c)
				}
				synctest.Wait()
				if len(r.rec.punts) != want {
					t.Fatalf("%d punts, want %d", len(r.rec.punts), want)
				}
				for i, p := range r.rec.punts[:n] {
					if p.InPort != uint32(i+1) || len(p.Frame) != i%90 || p.Cookie != 7 || p.Reason != 1 {
						t.Fatalf("punt %d is %+v", i, p)
					}
				}
				if p := r.rec.punts[want-1]; want > n && (p.InPort != 9999 || len(p.Frame) != maxMessage-42) {
					t.Errorf("largest message: port %d, %d bytes", p.InPort, len(p.Frame))
				}
				if s := r.s.Stats(); s.Punts != uint64(want) || s.Malformed != 0 {
					t.Errorf("stats %+v", s)
				}
				_ = r.end()
			})
		})
	}
}

// A socket is read another way than a pipe: the same must come out.
func TestPuntsOverSockets(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			addr := "127.0.0.1:0"
			if network == "unix" {
				addr = "unix:" + t.TempDir() + "/s"
			}
			l, err := Listen(addr, nil)
			if err != nil {
				t.Fatal(err)
			}
			rec := &record{}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- NewServer(Config{}, nil, func(*Session) (Handler, error) { return rec, nil }).Serve(ctx, l)
			}()
			c, err := net.Dial(network, l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			f := &fakeSwitch{t, c}
			f.greet(5)
			var stream []byte
			const n = 20000 // megabytes: many reads, messages across their edges
			for i := range n {
				stream = append(stream, puntMsg(uint32(i+1), make([]byte, i%200)...)...)
			}
			go f.send(append(stream, msg(2, 77, 'x')...))
			if e := f.want(3); e.xid != 77 || string(e.body) != "x" {
				t.Errorf("echo reply %+v", e)
			}
			rec.mu.Lock()
			if len(rec.punts) != n {
				t.Errorf("%d of %d punts before the echo reply", len(rec.punts), n)
			}
			for i, p := range rec.punts {
				if p.InPort != uint32(i+1) || len(p.Frame) != i%200 {
					t.Fatalf("punt %d is %+v", i, p)
				}
			}
			rec.mu.Unlock()
			_ = c.Close()
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if len(rec.closed) != 1 {
				t.Errorf("closed %v", rec.closed)
			}
		})
	}
}

// An echo reply promises that all that came before was handled; what the switch
// says is handled in the order in which it was said.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{}, nil)
		r.greet(1)
		synctest.Wait()
		handled := make(chan struct{})
		r.rec.onPunts = sync.OnceFunc(func() { time.Sleep(time.Second); close(handled) })
		go r.send(puntMsg(1), puntMsg(2), msg(2, 42, 1, 2, 3), portStatus(2, 7), puntMsg(3))
		e := r.want(3)
		select {
		case <-handled:
		default:
			t.Error("echo reply before the punts were handled")
		}
		if e.xid != 42 || !bytes.Equal(e.body, []byte{1, 2, 3}) {
			t.Errorf("echo reply %+v", e)
		}
		synctest.Wait()
		if want := []string{"punts", "port", "punts"}; !slices.Equal(r.rec.events, want) {
			t.Errorf("events %v, want %v", r.rec.events, want)
		}
		_ = r.end()
	})
}

func TestLiveness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{EchoInterval: 5 * time.Second, EchoTimeout: 15 * time.Second}, nil)
		r.greet(1)
		// A switch that answers stays, for as long as it likes.
		for range 10 {
			e := r.want(2)
			r.send(msg(3, e.xid))
		}
		if err := r.s.Err(); err != nil {
			t.Fatal(err)
		}
		// One that does not is given up.
		began := time.Now()
		go r.drain()
		if err := <-r.done; !errors.Is(err, ErrSilent) {
			t.Errorf("ended with %v", err)
		}
		if d := time.Since(began); d < 10*time.Second || d > 25*time.Second {
			t.Errorf("given up after %s", d)
		}
	})
}

// A handler that is slow is not a switch that is silent.
func TestSlowHandlerIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{EchoInterval: 5 * time.Second, EchoTimeout: 15 * time.Second}, nil)
		r.greet(1)
		synctest.Wait()
		r.rec.onPunts = func() { time.Sleep(time.Minute) }
		r.send(puntMsg(1))
		time.Sleep(50 * time.Second)
		if err := r.s.Err(); err != nil {
			t.Errorf("ended with %v", err)
		}
		go r.drain()
		_ = r.end()
	})
}

func TestCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{}, nil)
		r.greet(1)
		synctest.Wait()
		result := make(chan error, 1)
		go func() {
			result <- r.s.Commit(t.Context(), Raw(of.TypeFlowMod, []byte{1}, "first"), Raw(of.TypeFlowMod, []byte{2}, "second"), Raw(of.TypeMeterMod, nil, "third"))
		}()
		first, second, third, barrier := r.want(14), r.want(14), r.want(29), r.want(20)
		if second.xid != first.xid+1 || third.xid != first.xid+2 || barrier.xid != first.xid+3 {
			t.Errorf("xids %d %d %d %d", first.xid, second.xid, third.xid, barrier.xid)
		}
		// The switch refuses the second and the third, among things that are not about it.
		r.send(msg(1, second.xid, 0, 4, 0, 9), puntMsg(1), msg(1, third.xid, 0, 12, 0, 5), msg(21, barrier.xid+9), msg(1, 12345, 0, 1, 0, 0, 4, 13, 0, 8, 0, 0, 0, 0))
		synctest.Wait()
		select {
		case err := <-result:
			t.Fatalf("returned before the barrier: %v", err)
		default:
		}
		r.send(msg(21, barrier.xid))
		err := <-result
		if err == nil || !strings.Contains(err.Error(), "second: BadMatch") || !strings.Contains(err.Error(), "third: MeterModFailed") {
			t.Errorf("error %v", err)
		}
		if !errors.Is(err, &SwitchError{Type: ofp.ErrTypeBadMatch, Code: 9}) {
			t.Errorf("%v is not the error of the switch", err)
		}
		var e *SwitchError
		if !errors.As(err, &e) || e.Index != 1 || e.XID != second.xid {
			t.Errorf("first refusal %+v", e)
		}
		if len(r.rec.errors) != 1 || r.rec.errors[0].XID != 12345 || r.rec.errors[0].Index != -1 || r.rec.errors[0].Cause != "TypePacketOut" {
			t.Errorf("errors of nobody: %+v", r.rec.errors)
		}
		_ = r.end()
	})
}

func TestRequestsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{}, nil)
		r.greet(1)
		synctest.Wait()
		go r.drain() // a switch that reads and is mute
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.s.Commit(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("time-out: %v", err)
		}
		if n := len(r.s.requests.waiting); n != 0 {
			t.Errorf("%d requests still wait", n)
		}
		result := make(chan error, 1)
		go func() { result <- r.s.Commit(t.Context()) }()
		synctest.Wait()
		r.stop()
		if err := <-result; !errors.Is(err, ErrClosed) {
			t.Errorf("session over: %v", err)
		}
		if err := r.s.Commit(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("after the session: %v", err)
		}
		_ = r.end()
	})
}

// A switch that takes nothing and says nothing is given up.
func TestStuckSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{EchoInterval: 5 * time.Second, EchoTimeout: 15 * time.Second}, nil)
		r.greet(1)
		if err := <-r.done; !errors.Is(err, ErrBacklog) {
			t.Errorf("ended with %v", err)
		}
		_ = r.c.Close()
	})
}

// A switch that does not read is given up; the session's reader never waits for it.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{MaxUnsent: 4096}, nil)
		r.greet(1)
		synctest.Wait()
		var err error
		for range 100 {
			if err = r.s.Send(Raw(of.TypeFlowMod, make([]byte, 1000), "")); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrBacklog) {
			t.Errorf("error %v", err)
		}
		if err := <-r.done; !errors.Is(err, ErrBacklog) {
			t.Errorf("ended with %v", err)
		}
		_ = r.c.Close()
	})
}

func portStatus(reason byte, port uint32) []byte {
	b := append([]byte{reason, 0, 0, 0, 0, 0, 0, 0}, portDesc(port, "veth1", 1, 1)...)
	return msg(12, 0, b...)
}

func portDesc(no uint32, name string, config, state uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, no)
	b = append(b, 0, 0, 0, 0, 2, 0, 0, 0, 0, byte(no), 0, 0)
	b = append(b, append([]byte(name), make([]byte, 16-len(name))...)...)
	b = binary.BigEndian.AppendUint32(b, config)
	b = binary.BigEndian.AppendUint32(b, state)
	b = append(b, make([]byte, 16)...)
	b = binary.BigEndian.AppendUint32(b, 10_000_000)
	return append(b, 0, 0, 0, 0)
}

func TestAsynchronousMessages(t *testing.T) {
	removed := unhex(t, `
		6d70020100000005      # cookie
		03e8 00 01            # priority 1000, idle, table 1
		0000000a 1dcd6500     # 10.5 s
		000a 0000             # idle 10 s, hard none
		0000000000000003      # packets
		0000000000000123      # bytes
		0001 000c 80000004 00000002 00000000`)
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{}, nil)
		r.greet(1)
		r.send(msg(11, 0, removed...), portStatus(2, 7))
		// Cut short they are counted, not believed; a type that is unknown too.
		r.send(msg(11, 0, removed[:39]...), msg(12, 0, 2), msg(1, 5, 0), msg(99, 0))
		synctest.Wait()
		if len(r.rec.removed) != 1 || len(r.rec.ports) != 1 {
			t.Fatalf("removed %v, ports %v", r.rec.removed, r.rec.ports)
		}
		f := r.rec.removed[0]
		if f.Cookie != 0x6d70020100000005 || f.Priority != 1000 || f.Table != 1 || f.Reason != ofp.FlowReasonIdleTimeout ||
			f.Duration != 10500*time.Millisecond || f.Packets != 3 || f.Bytes != 0x123 || len(f.Match.Fields) != 1 {
			t.Errorf("flow removed %+v", f)
		}
		p := r.rec.ports[0]
		if p.Reason != ofp.PortReasonModify || p.Port.No != 7 || p.Port.Name != "veth1" || !p.Port.LinkDown() || !p.Port.AdminDown() ||
			p.Port.Addr.String() != "02:00:00:00:00:07" || p.Port.Speed != 10_000_000 {
			t.Errorf("port status %+v", p)
		}
		if n := r.s.Stats().Malformed; n != 4 {
			t.Errorf("%d malformed, want 4", n)
		}
		_ = r.end()
	})
}

// Reading allocates nothing for each message.
func TestPuntsAllocateNothing(t *testing.T) {
	s := NewSession(nopConn{}, Config{}, nil)
	s.handler = discard{}
	buf := getBuffer()
	defer putBuffer(buf)
	n := 0
	for n+100 < len(buf.bytes) {
		n += copy(buf.bytes[n:], puntMsg(1, make([]byte, 50)...))
	}
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := s.consume(buf, buf.bytes[:n], 1, Message{}); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for a full read", allocs)
	}
}

func BenchmarkConsume(b *testing.B) {
	s := NewSession(nopConn{}, Config{}, nil)
	s.handler = discard{}
	buf := getBuffer()
	defer putBuffer(buf)
	n, msgs := 0, 0
	for n+140 < len(buf.bytes) {
		n += copy(buf.bytes[n:], puntMsg(uint32(1+msgs&1), make([]byte, 90)...))
		msgs++
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.consume(buf, buf.bytes[:n], 1, Message{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(msgs), "ns/msg")
}

type discard struct{}

func (discard) Punts(*Session, int64, []Punt)     {}
func (discard) FlowRemoved(*Session, FlowRemoved) {}
func (discard) PortStatus(*Session, PortStatus)   {}
func (discard) Error(*Session, *SwitchError)      {}
func (discard) Closed(*Session, error)            {}

type nopConn struct{ net.Conn }

func (nopConn) RemoteAddr() net.Addr { return nil }
func (nopConn) LocalAddr() net.Addr  { return nil }
