package openflow

import (
	"context"
	"errors"
	"fmt"
	"sync"

	of "github.com/netrack/openflow"
	"github.com/netrack/openflow/ofp"
)

// A request waits for the answer to its last message, and for errors about any of
// its messages.
type request struct {
	first, last uint32
	what        []Message
	want        of.Type
	// reply sees each answer, in the reader goroutine, and tells whether it was the
	// last; it must copy what it keeps.
	reply func(body []byte) (last bool, err error)
	errs  []error
	done  chan struct{}
	over  bool
}

// requests are those that wait, few at a time.
type requests struct {
	mu      sync.Mutex
	waiting []*request
	failed  error
}

func (r *requests) add(q *request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		q.finish(r.failed)
		return
	}
	r.waiting = append(r.waiting, q)
}

// finish ends q; the caller holds the lock of its requests, or owns q.
func (q *request) finish(err error) {
	if q.over {
		return
	}
	q.over = true
	if err != nil {
		q.errs = append(q.errs, err)
	}
	close(q.done)
}

func (r *requests) drop(q *request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(q)
}

func (r *requests) remove(q *request) {
	for i, w := range r.waiting {
		if w == q {
			r.waiting = append(r.waiting[:i], r.waiting[i+1:]...)
			return
		}
	}
}

// fail ends all requests, and those that come later.
func (r *requests) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = err
	for _, q := range r.waiting {
		q.finish(err)
	}
	r.waiting = nil
}

// answer hands an answer to the request that waits for it.
func (r *requests) answer(t of.Type, xid uint32, body []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.waiting {
		if q.last != xid || q.want != t {
			continue
		}
		last, err := true, error(nil)
		if q.reply != nil {
			last, err = q.reply(body)
		}
		if last || err != nil {
			r.remove(q)
			q.finish(err)
		}
		return true
	}
	return false
}

// refuse hands an error to the request that caused it, and names the message. An
// error about the last message of a request is its answer.
func (r *requests) refuse(e *SwitchError) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.waiting {
		if e.XID < q.first || e.XID > q.last {
			continue
		}
		e.Index = int(e.XID - q.first)
		e.Cause = q.what[e.Index].String()
		if e.XID == q.last {
			r.remove(q)
			q.finish(e)
		} else {
			q.errs = append(q.errs, e)
		}
		return true
	}
	return false
}

// Send sends messages without waiting for anything. Errors that the switch
// returns for them reach Handler.Error.
func (s *Session) Send(msgs ...Message) error {
	return s.sendErr(s.out.send(msgs, nil))
}

func (s *Session) sendErr(err error) error {
	if errors.Is(err, ErrBacklog) {
		// A switch that has not read megabytes of requests is as good as gone.
		go s.Close(ErrBacklog)
	}
	return err
}

// Commit sends messages and a barrier behind them, and returns when the switch
// has carried out all of them. The error joins what the switch refused, each a
// *SwitchError that names the message; what was not refused did take effect.
func (s *Session) Commit(ctx context.Context, msgs ...Message) error {
	return s.do(ctx, of.TypeBarrierReply, nil, append(msgs[:len(msgs):len(msgs)],
		Message{Type: of.TypeBarrierRequest, What: "barrier"})...)
}

// do sends messages and waits for the answer to the last one.
func (s *Session) do(ctx context.Context, want of.Type, reply func([]byte) (bool, error), msgs ...Message) error {
	q := &request{want: want, reply: reply, what: msgs, done: make(chan struct{})}
	err := s.out.send(msgs, func(first, last uint32) {
		q.first, q.last = first, last
		s.requests.add(q)
	})
	if err != nil {
		return s.sendErr(err)
	}
	select {
	case <-q.done:
		return errors.Join(q.errs...)
	case <-ctx.Done():
		s.requests.drop(q)
		return fmt.Errorf("wait for switch to answer %s: %w", msgs[len(msgs)-1], context.Cause(ctx))
	}
}

// Role asks for a role, or with ofp.ControllerRoleNoChange which it is (section
// 7.3.9). generation orders the claims of several controllers; it is used with master
// and slave only. last is that of the last claim, 1<<64-1 where there was none.
func (s *Session) Role(ctx context.Context, role ofp.ControllerRole, generation uint64) (now ofp.ControllerRole, last uint64, err error) {
	var got ofp.RoleRequest
	err = s.do(ctx, of.TypeRoleReply, func(b []byte) (bool, error) { return true, decode(b, &got) },
		Message{Type: of.TypeRoleRequest, Body: &ofp.RoleRequest{Role: role, GenerationID: generation}, What: "role request"})
	return got.Role, got.GenerationID, err
}

// Ping sends an echo request and waits for the reply: all that the switch sent
// before it has then been handled.
func (s *Session) Ping(ctx context.Context) error {
	return s.do(ctx, of.TypeEchoReply, nil, Message{Type: of.TypeEchoRequest})
}
