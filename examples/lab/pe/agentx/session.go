package agentx

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"
)

// Handler answers for the registered subtrees. One goroutine calls it.
type Handler interface {
	// Get gives the value of one variable, or NoSuchObject or NoSuchInstance.
	Get(name OID) Value
	// Next gives the first variable of the range, false where there is none.
	Next(r SearchRange) (VarBind, bool)
	// Test checks a whole SET and changes nothing; the error is a *SetError.
	Test(vbs []VarBind) (Transaction, error)
}

// Transaction is a SET that passed its test. Commit is followed by Undo or by
// Cleanup; without Commit there is only Cleanup. A second Commit does nothing.
type Transaction interface {
	Commit() error
	Undo() error
	Cleanup()
}

// SetError says which variable of a SET is at fault.
type SetError struct {
	Code  ErrorCode
	Index int // 0-based position in the SET
	Why   string
}

func (e *SetError) Error() string {
	return fmt.Sprintf("variable %d: %v: %s", e.Index+1, e.Code, e.Why)
}

// Subtree is a part of the tree that the subagent claims.
type Subtree struct {
	OID OID
	// Priority of the registration; lower wins, 0 means the default 127.
	Priority uint8
}

// Subagent keeps a session with a master agent.
type Subagent struct {
	// Dial connects to the master.
	Dial func(ctx context.Context) (net.Conn, error)
	// Descr is the subagent's name at the master.
	Descr    string
	Subtrees []Subtree
	Handler  Handler
	// Up is called with true when all subtrees are registered, with false when
	// the session is lost; may be nil.
	Up func(bool)
	// Log reports why a session was lost; may be nil.
	Log func(error)
}

const (
	requestTimeout = 5 * time.Second  // of a PDU the subagent sends
	idlePing       = 15 * time.Second // silence after which the master is pinged
	retryMin       = 20 * time.Millisecond
	retryMax       = time.Second
)

// Run keeps the session open, and opens it again where the master went away,
// until ctx ends; it returns nil.
func (a *Subagent) Run(ctx context.Context) error {
	wait := retryMin
	for {
		up, err := a.session(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the session ended because it was to end
		}
		if a.Log != nil && err != nil && (up || wait == retryMin) {
			a.Log(err)
		}
		if up {
			wait = retryMin
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMax)
	}
}

// session is one connection, from dial to loss.
func (a *Subagent) session(ctx context.Context) (up bool, err error) {
	nc, err := a.Dial(ctx)
	if err != nil {
		return false, fmt.Errorf("connect to master agent: %w", err)
	}
	// Closing the connection is what ends a read when ctx does.
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer func() {
		stop()
		_ = nc.Close()
	}()
	s := &session{nc: nc, r: bufio.NewReader(nc), handler: a.Handler, sets: map[uint32][]Transaction{}}
	// A SET whose master is gone gets no Cleanup; one that was committed stays.
	defer func() {
		for _, txs := range s.sets {
			for _, tx := range txs {
				tx.Cleanup()
			}
		}
	}()
	if err := s.open(ctx, a); err != nil {
		return false, err
	}
	if a.Up != nil {
		a.Up(true)
		defer a.Up(false)
	}
	return true, s.serve(ctx)
}

type session struct {
	nc       net.Conn
	r        *bufio.Reader
	handler  Handler
	id       uint32
	packetID uint32
	sets     map[uint32][]Transaction // by transaction id; one for each TestSet
	pinged   bool
}

func (s *session) open(ctx context.Context, a *Subagent) error {
	res, err := s.request(ctx, &Open{Timeout: 5, Descr: a.Descr})
	if err != nil {
		return fmt.Errorf("open session: %w", err)
	}
	s.id = res.SessionID
	for _, t := range a.Subtrees {
		prio := t.Priority
		if prio == 0 {
			prio = 127
		}
		if _, err := s.request(ctx, &Register{Priority: prio, Subtree: t.OID}); err != nil {
			return fmt.Errorf("register %v: %w", t.OID, err)
		}
	}
	return nil
}

// request sends a PDU and waits for its Response; requests of the master that
// come before it (it may ask as soon as a subtree is registered) are answered.
func (s *session) request(ctx context.Context, b Body) (*PDU, error) {
	s.packetID++
	want := s.packetID
	p := &PDU{Header: Header{SessionID: s.id, PacketID: want}, Body: b}
	if err := s.nc.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return nil, err
	}
	if err := s.write(p); err != nil {
		return nil, err
	}
	for {
		in, err := Read(s.r)
		if err != nil {
			return nil, err
		}
		if res, ok := in.Body.(*Response); ok {
			if in.PacketID != want {
				continue
			}
			if res.Error != NoError {
				return nil, fmt.Errorf("master agent says %v", res.Error)
			}
			return in, nil
		}
		if err := s.answer(ctx, in); err != nil {
			return nil, err
		}
	}
}

func (s *session) serve(ctx context.Context) error {
	for {
		// Only the wait for a PDU may time out, never the reading of one.
		if err := s.nc.SetReadDeadline(time.Now().Add(idlePing)); err != nil {
			return err
		}
		_, err := s.r.Peek(1)
		if errors.Is(err, os.ErrDeadlineExceeded) && !s.pinged {
			s.pinged = true
			s.packetID++
			if err := s.write(&PDU{Header: Header{SessionID: s.id, PacketID: s.packetID}, Body: &Ping{}}); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("master agent is gone: %w", err)
		}
		s.pinged = false
		if err := s.nc.SetReadDeadline(time.Now().Add(requestTimeout)); err != nil {
			return err
		}
		in, err := Read(s.r)
		if err != nil {
			return err
		}
		if err := s.answer(ctx, in); err != nil {
			return err
		}
	}
}

func (s *session) write(p *PDU) error {
	if err := s.nc.SetWriteDeadline(time.Now().Add(requestTimeout)); err != nil {
		return err
	}
	if _, err := s.nc.Write(Marshal(p)); err != nil {
		return fmt.Errorf("write PDU: %w", err)
	}
	return nil
}

// answer handles one PDU of the master; none any more when ctx has ended, which the
// last one may have brought about.
func (s *session) answer(ctx context.Context, in *PDU) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	res := &Response{}
	switch b := in.Body.(type) {
	case *Response:
		return nil // to a ping
	case *Close:
		return fmt.Errorf("master agent closed the session, reason %d", b.Reason)
	case *Get:
		for _, r := range b.Ranges {
			res.VarBinds = append(res.VarBinds, VarBind{Name: r.Start, Value: s.handler.Get(r.Start)})
		}
	case *GetNext:
		for _, r := range b.Ranges {
			res.VarBinds = append(res.VarBinds, s.next(r))
		}
	case *GetBulk:
		res.VarBinds = s.bulk(b)
	case *TestSet:
		tx, err := s.handler.Test(b.VarBinds)
		if err != nil {
			setError(res, err, GenErr)
			break
		}
		s.sets[in.TransactionID] = append(s.sets[in.TransactionID], tx)
	case *CommitSet:
		// The master sends one for each TestSet; the first does all, which the
		// transactions have to bear.
		for _, tx := range s.sets[in.TransactionID] {
			if err := tx.Commit(); err != nil {
				setError(res, err, CommitFailed)
				break
			}
		}
	case *UndoSet:
		for _, tx := range slices.Backward(s.sets[in.TransactionID]) {
			if err := tx.Undo(); err != nil {
				setError(res, err, UndoFailed)
			}
		}
		delete(s.sets, in.TransactionID)
	case *CleanupSet:
		// RFC 2741, section 7.2.4.4: no Response is sent.
		for _, tx := range s.sets[in.TransactionID] {
			tx.Cleanup()
		}
		delete(s.sets, in.TransactionID)
		return nil
	default:
		res.Error = ProcessingError
	}
	return s.write(&PDU{Header: in.Header, Body: res})
}

func (s *session) next(r SearchRange) VarBind {
	if vb, ok := s.handler.Next(r); ok {
		return vb
	}
	return VarBind{Name: r.Start, Value: Value{Type: EndOfMibView}}
}

// bulk is GetBulk of RFC 2741, section 7.2.3.3. Repetitions are bounded, so that
// one request cannot make a PDU of any size.
func (s *session) bulk(b *GetBulk) []VarBind {
	const most = 200
	var out []VarBind
	n := min(int(b.NonRepeaters), len(b.Ranges))
	for _, r := range b.Ranges[:n] {
		out = append(out, s.next(r))
	}
	cur := append([]SearchRange(nil), b.Ranges[n:]...)
	for range min(int(b.MaxRepetitions), most) {
		ended := true
		for i := range cur {
			vb := s.next(cur[i])
			out = append(out, vb)
			if vb.Value.Type != EndOfMibView {
				cur[i].Start, cur[i].Include = vb.Name, false
				ended = false
			}
		}
		if ended {
			break
		}
	}
	return out
}

func setError(res *Response, err error, code ErrorCode) {
	res.Error = code
	var se *SetError
	if errors.As(err, &se) {
		res.Error, res.Index = se.Code, uint16(se.Index+1)
	}
}
