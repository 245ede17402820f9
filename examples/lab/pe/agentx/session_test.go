package agentx

import (
	"context"
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// tree is a handler with three variables and a SET that can be made to fail.
type tree struct {
	log       []string
	refuse    error
	commitErr error
	cleaned   func() // may be nil
}

var vars = []VarBind{{MustOID("1.3.1"), Int(1)}, {MustOID("1.3.2"), Int(2)}, {MustOID("1.3.3"), Int(3)}}

func (h *tree) Get(name OID) Value {
	for _, v := range vars {
		if v.Name.Compare(name) == 0 {
			return v.Value
		}
	}
	return Value{Type: NoSuchObject}
}

func (h *tree) Next(r SearchRange) (VarBind, bool) {
	for _, v := range vars {
		c := v.Name.Compare(r.Start)
		if (c > 0 || c == 0 && r.Include) && (len(r.End) == 0 || v.Name.Compare(r.End) < 0) {
			return v, true
		}
	}
	return VarBind{}, false
}

func (h *tree) Test(vbs []VarBind) (Transaction, error) {
	h.log = append(h.log, "test")
	return h, h.refuse
}
func (h *tree) Commit() error { h.log = append(h.log, "commit"); return h.commitErr }
func (h *tree) Undo() error   { h.log = append(h.log, "undo"); return nil }
func (h *tree) Cleanup() {
	h.log = append(h.log, "cleanup")
	if h.cleaned != nil {
		h.cleaned()
	}
}

// master is the byte-speaking other side of a session.
type master struct {
	t    *testing.T
	conn net.Conn
}

func (m *master) read() *PDU {
	m.t.Helper()
	p, err := Read(m.conn)
	if err != nil {
		m.t.Fatal("master reads:", err)
	}
	return p
}

func (m *master) send(p *PDU) {
	m.t.Helper()
	if _, err := m.conn.Write(Marshal(p)); err != nil {
		m.t.Fatal("master writes:", err)
	}
}

// accept answers Open and the registrations.
func (m *master) accept(subtrees int) {
	m.t.Helper()
	for i := range subtrees + 1 {
		p := m.read()
		switch b := p.Body.(type) {
		case *Open:
			if i != 0 || b.Descr != "test" {
				m.t.Errorf("open %d: %+v", i, b)
			}
		case *Register:
			if p.SessionID != 42 || i == 0 || b.Priority != 127 && b.Priority != 50 {
				m.t.Errorf("register: %+v %+v", p, b)
			}
		default:
			m.t.Fatalf("%d: %T", i, b)
		}
		m.send(&PDU{Header: Header{SessionID: 42, PacketID: p.PacketID}, Body: &Response{}})
	}
}

func (m *master) ask(id uint32, b Body) *Response {
	m.t.Helper()
	m.send(&PDU{Header: Header{SessionID: 42, TransactionID: id, PacketID: 100 + id}, Body: b})
	p := m.read()
	res, ok := p.Body.(*Response)
	if !ok || p.PacketID != 100+id || p.TransactionID != id {
		m.t.Fatalf("answer to %T: %+v", b, p)
	}
	return res
}

// run starts a subagent whose connections the test gets one by one.
func run(t *testing.T, h Handler) (conns <-chan *master, up <-chan bool) {
	cs, ups := make(chan *master), make(chan bool, 10)
	a := &Subagent{
		Descr: "test", Handler: h, Subtrees: []Subtree{{OID: MustOID("1.3")}, {OID: MustOID("1.4"), Priority: 50}},
		Dial: func(ctx context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			select {
			case cs <- &master{t, theirs}:
				return ours, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
		Up: func(b bool) { ups <- b },
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error("Run:", err)
		}
	})
	return cs, ups
}

func TestSessionReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conns, up := run(t, &tree{})
		m := <-conns
		m.accept(2)
		if !<-up {
			t.Error("not up")
		}
		get := m.ask(1, &Get{[]SearchRange{{Start: MustOID("1.3.2")}, {Start: MustOID("1.3.9")}}})
		if get.VarBinds[0].Value.Num != 2 || get.VarBinds[1].Value.Type != NoSuchObject {
			t.Error("get:", get.VarBinds)
		}
		next := m.ask(2, &GetNext{[]SearchRange{
			{Start: MustOID("1.3"), End: MustOID("1.4")},
			{Start: MustOID("1.3.2"), Include: true},
			{Start: MustOID("1.3.1"), End: MustOID("1.3.2")},
		}})
		if s := next.VarBinds[0].String() + "; " + next.VarBinds[1].String() + "; " + next.VarBinds[2].String(); s != "1.3.1 = INTEGER 1; 1.3.2 = INTEGER 2; 1.3.1 = endOfMibView" {
			t.Error("getnext:", s)
		}
		bulk := m.ask(3, &GetBulk{1, 5, []SearchRange{{Start: MustOID("1.3.2")}, {Start: MustOID("1.3.1")}}})
		var got []string
		for _, vb := range bulk.VarBinds {
			got = append(got, vb.String())
		}
		want := []string{"1.3.3 = INTEGER 3", "1.3.2 = INTEGER 2", "1.3.3 = INTEGER 3", "1.3.3 = endOfMibView"}
		if !reflect.DeepEqual(got, want) {
			t.Error("getbulk:", got)
		}
		_ = m.conn.Close()
		if <-up {
			t.Error("up after the master left")
		}
	})
}

func TestSessionSet(t *testing.T) {
	for _, c := range []struct {
		name      string
		handler   tree
		phases    []Body
		code      ErrorCode
		index     uint16
		wantCalls string
	}{
		{"done", tree{}, []Body{&TestSet{}, &CommitSet{}, &CleanupSet{}}, NoError, 0, "test commit cleanup"},
		{"refused", tree{refuse: &SetError{WrongValue, 2, ""}}, []Body{&TestSet{}}, WrongValue, 3, "test"},
		{"other subagent refused", tree{}, []Body{&TestSet{}, &CleanupSet{}}, NoError, 0, "test cleanup"},
		{"commit failed", tree{commitErr: errors.New("disk")}, []Body{&TestSet{}, &CommitSet{}}, CommitFailed, 0, "test commit cleanup"},
		{"undone", tree{}, []Body{&TestSet{}, &CommitSet{}, &UndoSet{}}, NoError, 0, "test commit undo"},
		{"lost after commit", tree{}, []Body{&TestSet{}, &CommitSet{}}, NoError, 0, "test commit cleanup"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := c.handler
				conns, up := run(t, &h)
				m := <-conns
				m.accept(2)
				<-up
				var last *Response
				for _, b := range c.phases {
					if _, ok := b.(*CleanupSet); ok {
						m.send(&PDU{Header: Header{SessionID: 42, TransactionID: 5}, Body: b})
						continue
					}
					last = m.ask(5, b)
				}
				if last.Error != c.code || last.Index != c.index {
					t.Errorf("answer %v index %d, want %v %d", last.Error, last.Index, c.code, c.index)
				}
				_ = m.conn.Close()
				<-up
				synctest.Wait()
				if got := strings.Join(h.log, " "); got != c.wantCalls {
					t.Errorf("calls %q, want %q", got, c.wantCalls)
				}
			})
		})
	}
}

// lateClose is a connection that takes its time to close.
type lateClose struct{ net.Conn }

func (c lateClose) Close() error {
	time.Sleep(time.Second)
	return c.Conn.Close()
}

// A subagent that its handler ends does nothing that the master asks after that, also
// where the connection is still open.
func TestSessionEndedByHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		h := &tree{cleaned: cancel}
		a := &Subagent{Descr: "test", Handler: h, Dial: func(context.Context) (net.Conn, error) { return lateClose{ours}, nil }}
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()
		m := &master{t, theirs}
		m.accept(0)
		m.ask(5, &TestSet{})
		m.ask(5, &CommitSet{})
		m.send(&PDU{Header: Header{SessionID: 42, TransactionID: 5}, Body: &CleanupSet{}})
		m.send(&PDU{Header: Header{SessionID: 42, TransactionID: 6}, Body: &TestSet{}})
		if err := <-done; err != nil {
			t.Error("Run:", err)
		}
		if got := strings.Join(h.log, " "); got != "test commit cleanup" {
			t.Errorf("calls %q", got)
		}
	})
}

// A master that is silent is pinged; one that does not answer is left.
func TestSessionPingAndReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conns, up := run(t, &tree{})
		m := <-conns
		m.accept(2)
		<-up
		start := time.Now()
		p := m.read()
		if _, ok := p.Body.(*Ping); !ok || time.Since(start) != idlePing {
			t.Fatalf("after %v: %T", time.Since(start), p.Body)
		}
		m.send(&PDU{Header: Header{SessionID: 42, PacketID: p.PacketID}, Body: &Response{}})
		if p = m.read(); p.Body.Type() != TypePing {
			t.Fatalf("second ping: %T", p.Body)
		}
		if <-up || time.Since(start) != 3*idlePing { // no answer this time
			t.Error("still up, or lost after", time.Since(start))
		}
		m = <-conns
		m.accept(2)
		if !<-up {
			t.Error("not up again")
		}
		m.send(&PDU{Header: Header{SessionID: 42}, Body: &Close{Reason: CloseShutdown}})
		<-up
		(<-conns).accept(2)
		<-up
	})
}

// A master that refuses a registration is tried again, later and later.
func TestSessionRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conns, _ := run(t, &tree{})
		start := time.Now()
		for range 4 {
			m := <-conns
			p := m.read()
			m.send(&PDU{Header: Header{PacketID: p.PacketID}, Body: &Response{Error: OpenFailed}})
		}
		if d := time.Since(start); d != 20*time.Millisecond+40*time.Millisecond+80*time.Millisecond {
			t.Error("waits add up to", d)
		}
	})
}
