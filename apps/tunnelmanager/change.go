package tunnelmanager

import "time"

// Change is an entry of the audit: something mpbox did, decided or was told.
type Change struct {
	ID uint64    `json:"id"`
	At time.Time `json:"at"`
	// Actor is "mpbox" or who called the API.
	Actor string `json:"actor"`
	// Action is a verb: signal, bind, unbind, release, plan, hold-down, release-delay,
	// back-off, mode, threshold, approve, pe-lost, pe-back, …
	Action  string `json:"action"`
	Subject string `json:"subject"`
	PE      string `json:"pe,omitempty"`
	Step    string `json:"step,omitempty"`
	Detail  string `json:"detail,omitempty"`
	Remedy  string `json:"remedy,omitempty"`
	VPN     string `json:"vpn,omitempty"`
	Plan    string `json:"plan,omitempty"`
	// Result is one of the constants below.
	Result string `json:"result"`
}

// Results of a change.
const (
	ResultOK      = "ok"
	ResultFailed  = "failed"
	ResultRefused = "refused"
	ResultSkipped = "skipped"
)

// Notice tells that something changed; exactly one field is set.
type Notice struct {
	Change  *Change
	Binding *Binding
	Plan    *Plan
	Views   *Views
}

// Views are two snapshots, one after the other.
type Views struct{ Before, Now *View }

// audit keeps the last changes in memory and in the store, newest last.
type audit struct {
	next  uint64
	ring  []Change
	limit int
	save  func(id uint64, c any) // nil removes
	tell  func(Change)
}

func (a *audit) add(c Change) {
	a.next++
	c.ID = a.next
	a.ring = append(a.ring, c)
	if n := len(a.ring) - a.limit/2; len(a.ring) > a.limit {
		for i := range n {
			if a.save != nil {
				a.save(a.ring[i].ID, nil)
			}
		}
		a.ring = append([]Change(nil), a.ring[n:]...)
	}
	if a.save != nil {
		a.save(c.ID, c)
	}
	if a.tell != nil {
		a.tell(c)
	}
}
