package threshold

import (
	"fmt"
	"time"
)

// Verdict is an answer: yes, or why not and when to ask again.
type Verdict struct {
	OK bool
	// Reason names the threshold and the values, for people; "" when OK.
	Reason string
	// Until is when the answer may change by itself; zero if only news can change it.
	Until time.Time
}

var yes = Verdict{OK: true}

// Connection is what Counts decides by.
type Connection struct {
	// Subflows that are established and no backup.
	Subflows int
	Since    time.Time
	// Bytes carried so far. Uncounted: nothing counts them.
	Bytes     uint64
	Uncounted bool
}

// Counts tells whether a connection counts for its demand. It must be old or large
// enough; either will do, so that a short flow moves nothing and a large one need
// not wait. A limit of 0 is none: with MinAge 0, MinBytes alone decides. Where nothing
// counts bytes, MinBytes is not asked.
func (l Limits) Counts(c Connection, now time.Time) Verdict {
	if c.Uncounted {
		l.MinBytes = 0
	}
	if c.Subflows < l.MinSubflows {
		return Verdict{Reason: fmt.Sprintf("it has %d subflows, %d wanted (min_subflows)", c.Subflows, l.MinSubflows)}
	}
	large := l.MinBytes > 0 && c.Bytes >= l.MinBytes
	age := now.Sub(c.Since)
	switch {
	case large, l.MinAge == 0 && l.MinBytes == 0, l.MinAge > 0 && age >= l.MinAge:
		return yes
	case l.MinAge == 0:
		return Verdict{Reason: fmt.Sprintf("it has carried %d bytes, %d wanted (min_bytes)", c.Bytes, l.MinBytes)}
	}
	return Verdict{Reason: fmt.Sprintf("it is %s old, %s wanted (min_age)", age.Round(time.Millisecond), l.MinAge), Until: c.Since.Add(l.MinAge)}
}

// Demand is what Admit decides by.
type Demand struct {
	// Connections that count, of all Members; Next is when one more will.
	Connections, Members int
	Next                 time.Time
	// LastJoin is when the youngest subflow joined, Moved when the demand was moved
	// last; zero for never.
	LastJoin, Moved time.Time
	// Planned: it has an assignment. Broken: an LSP of that is gone or down.
	Planned, Broken bool
}

// Admit tells whether a demand may be planned for now. One that lost an LSP always
// may: repair waits for nothing. One that was let in stays in (hysteresis): fewer
// connections than MinConnections do not put it out, only their end does.
func (l Limits) Admit(d Demand, now time.Time) Verdict {
	switch {
	case d.Broken:
		return yes
	case !d.Planned && d.Connections < l.MinConnections:
		return Verdict{
			Reason: fmt.Sprintf("%d of %d connections count, %d wanted (min_connections)", d.Connections, max(d.Members, d.Connections), l.MinConnections),
			Until:  d.Next,
		}
	}
	if v := wait(d.LastJoin, l.Settle, now, "a subflow has just joined (settle)"); !v.OK {
		return v
	}
	return wait(d.Moved, l.HoldDown, now, "it was moved a short while ago (hold_down)")
}

func wait(since time.Time, d time.Duration, now time.Time, reason string) Verdict {
	if until := since.Add(d); !since.IsZero() && now.Before(until) {
		return Verdict{Reason: reason, Until: until}
	}
	return yes
}

// Worth tells whether a plan brings a demand enough: predicted gain is goodput
// after divided by that before. Disjointness that was asked for is worth a change
// by itself, and so is repair.
func (l Limits) Worth(gain float64, moreDisjoint, broken bool) Verdict {
	if broken || moreDisjoint || gain >= l.MinGain {
		return yes
	}
	return Verdict{Reason: fmt.Sprintf("predicted gain %.2f, %.2f wanted (min_gain)", gain, l.MinGain)}
}

// MayRelease tells whether what nothing has needed since may be taken away.
func (l Limits) MayRelease(since, now time.Time) Verdict {
	return wait(since, l.ReleaseDelay, now, "nothing needs it, and something may soon again (release_delay)")
}
