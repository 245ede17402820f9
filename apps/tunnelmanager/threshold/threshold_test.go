package threshold

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"mpbox/apps/tunnelmanager/plan"
)

var (
	t0   = time.Unix(1_700_000_000, 250e6)
	base = Limits{
		MinConnections: 3, MinSubflows: 2, MinGain: 1.1, MinAge: time.Second, MinBytes: 0, Settle: 500 * time.Millisecond,
		HoldDown: 10 * time.Second, MaxOpsPerMinute: 60, ReleaseDelay: 30 * time.Second,
	}
)

func TestValidateNamesFieldAndRange(t *testing.T) {
	if err := base.Validate(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*Limits){
		"min_connections":    func(l *Limits) { l.MinConnections = 0 },
		"min_subflows":       func(l *Limits) { l.MinSubflows = 1 },
		"min_gain":           func(l *Limits) { l.MinGain = math.NaN() },
		"max_ops_per_minute": func(l *Limits) { l.MaxOpsPerMinute = 100001 },
		"min_age":            func(l *Limits) { l.MinAge = 25 * time.Hour },
		"settle":             func(l *Limits) { l.Settle = -1 },
		"hold_down":          func(l *Limits) { l.HoldDown = -time.Second },
		"release_delay":      func(l *Limits) { l.ReleaseDelay = 48 * time.Hour },
	} {
		l := base
		spoil(&l)
		var re *InvalidError
		if err := l.Validate(); !errors.As(err, &re) || re.Field != field || !strings.Contains(err.Error(), "want ") {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

func TestCounts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		minAge time.Duration
		minB   uint64
		c      Connection
		ok     bool
		why    string
	}{
		{"old enough", time.Second, 0, Connection{2, t0.Add(-time.Second), 0, false}, true, ""},
		{"too young", time.Second, 0, Connection{2, t0.Add(-time.Second + 1), 0, false}, false, "min_age"},
		{"young but large", time.Second, 1000, Connection{2, t0, 1000, false}, true, ""},
		{"old and small", time.Second, 1000, Connection{2, t0.Add(-time.Minute), 1, false}, true, ""},
		{"only volume counts, small", 0, 1000, Connection{2, t0.Add(-time.Hour), 999, false}, false, "min_bytes"},
		{"only volume counts, large", 0, 1000, Connection{2, t0, 1000, false}, true, ""},
		{"volume that nothing counts is not asked for", 0, 1000, Connection{2, t0, 0, true}, true, ""},
		{"age is, where nothing counts volume", time.Second, 1000, Connection{2, t0, 0, true}, false, "min_age"},
		{"no limit", 0, 0, Connection{2, t0, 0, false}, true, ""},
		{"one subflow", 0, 0, Connection{1, t0.Add(-time.Hour), 1e9, false}, false, "min_subflows"},
	} {
		l := base
		l.MinAge, l.MinBytes = tt.minAge, tt.minB
		v := l.Counts(tt.c, t0)
		if v.OK != tt.ok || !strings.Contains(v.Reason, tt.why) {
			t.Errorf("%s: %+v", tt.name, v)
		}
		if tt.why == "min_age" && !v.Until.Equal(tt.c.Since.Add(time.Second)) {
			t.Errorf("%s: ask again at %v", tt.name, v.Until)
		}
	}
}

func TestAdmit(t *testing.T) {
	long := t0.Add(-time.Hour)
	for _, tt := range []struct {
		name  string
		d     Demand
		ok    bool
		why   string
		until time.Time
	}{
		{"two of three", Demand{Connections: 2, Members: 2, LastJoin: long}, false, "2 of 2 connections count, 3 wanted (min_connections)", time.Time{}},
		{"the third is too young", Demand{Connections: 2, Members: 3, Next: t0.Add(1), LastJoin: long}, false, "min_connections", t0.Add(1)},
		{"three", Demand{Connections: 3, LastJoin: long}, true, "", time.Time{}},
		{"three, just joined", Demand{Connections: 3, LastJoin: t0}, false, "settle", t0.Add(500 * time.Millisecond)},
		{"planned stays in below min_connections", Demand{Connections: 1, Planned: true, LastJoin: long, Moved: long}, true, "", time.Time{}},
		{"moved just now", Demand{Connections: 9, Planned: true, LastJoin: long, Moved: t0.Add(-9 * time.Second)}, false, "hold_down", t0.Add(time.Second)},
		{"moved 10 s ago", Demand{Connections: 9, Planned: true, LastJoin: long, Moved: t0.Add(-10 * time.Second)}, true, "", time.Time{}},
		{"broken does not wait", Demand{Connections: 1, Planned: true, Broken: true, LastJoin: t0, Moved: t0}, true, "", time.Time{}},
	} {
		v := base.Admit(tt.d, t0)
		if v.OK != tt.ok || !strings.Contains(v.Reason, tt.why) || !v.Until.Equal(tt.until) {
			t.Errorf("%s: %+v", tt.name, v)
		}
	}
}

func TestWorthAndRelease(t *testing.T) {
	if base.Worth(1.09, false, false).OK || !base.Worth(1.1, false, false).OK || !base.Worth(1, true, false).OK || !base.Worth(0.5, false, true).OK {
		t.Error("Worth: want a gain of 1.1, or more disjointness, or repair")
	}
	if v := base.MayRelease(t0.Add(-29*time.Second), t0); v.OK || !v.Until.Equal(t0.Add(time.Second)) {
		t.Errorf("released early: %+v", v)
	}
	if !base.MayRelease(t0.Add(-30*time.Second), t0).OK {
		t.Error("never released")
	}
}

// In any 60 seconds, wherever they begin, no more than the limit is given out, and
// what is left is not held back for more than a second.
func TestBucket(t *testing.T) {
	const limit = 60
	rnd := rand.New(rand.NewPCG(1, 2))
	var b Bucket
	var at []time.Time
	now := t0
	for range 20_000 {
		now = now.Add(time.Duration(rnd.Int64N(int64(400 * time.Millisecond))))
		want := rnd.IntN(4)
		if rnd.IntN(50) == 0 {
			want = 100
		}
		inLast := func(d time.Duration) int {
			n := 0
			for i := len(at) - 1; i >= 0 && now.Sub(at[i]) < d; i-- {
				n++
			}
			return n
		}
		must := limit - inLast(61*time.Second)
		got := b.Take(now, want, limit)
		if got > want || got < min(want, must) {
			t.Fatalf("took %d of %d, %d were due", got, want, must)
		}
		for range got {
			at = append(at, now)
		}
		if n := inLast(60 * time.Second); n > limit {
			t.Fatalf("%d operations within a minute, limit %d", n, limit)
		}
		if got < want {
			next := b.Next(now, limit)
			if !next.After(now) || next.Sub(now) > 61*time.Second {
				t.Fatalf("next %v after %v", next.Sub(now), now)
			}
			c := b
			if c.Left(next, limit) < 1 {
				t.Fatalf("nothing left at the time that Next told")
			}
			if c = b; c.Left(next.Add(-time.Nanosecond), limit) > 0 {
				t.Fatalf("something was left before the time that Next told")
			}
		}
	}
}

func TestBucketClockGoesBack(t *testing.T) {
	var b Bucket
	if n := b.Take(t0, 100, 60); n != 60 {
		t.Fatalf("took %d of a full bucket", n)
	}
	if n := b.Take(t0.Add(-time.Hour), 1, 60); n != 0 {
		t.Error("a clock that goes back gives operations back")
	}
	if n := b.Take(t0.Add(61*time.Second), 100, 60); n != 60 {
		t.Errorf("took %d a minute later", n)
	}
	if next := b.Next(t0.Add(61*time.Second), 10); next.Before(t0.Add(2 * time.Minute)) {
		t.Errorf("limit lowered: next %v", next)
	}
}

func TestRules(t *testing.T) {
	rules := Rules{
		{Match{VPN: "red", Policy: "gold"}, Patch{MinConnections: ptr(1)}},
		{Match{VPN: "red"}, Patch{MinConnections: ptr(5), HoldDown: ptr(time.Minute)}},
		{Match{Ingress: "pe1", Egress: "pe2"}, Patch{Settle: ptr(time.Second)}},
		{Match{Ingress: "pe2", Egress: "pe1", VPN: "blue"}, Patch{Settle: ptr(2 * time.Second)}},
	}
	pairs := func(a, b string) *plan.Demand {
		return &plan.Demand{VPN: "red", Policy: "default", Forward: []plan.Pair{{Ingress: a, Egress: b}}, Reverse: []plan.Pair{{Ingress: b, Egress: a}}}
	}
	if l := rules.For(base, pairs("pe3", "pe4")); l.MinConnections != 5 || l.HoldDown != time.Minute || l.Settle != base.Settle || l.MinGain != base.MinGain {
		t.Errorf("by VPN: %+v", l)
	}
	gold := pairs("pe2", "pe1")
	gold.Policy = "gold"
	if l := rules.For(base, gold); l.MinConnections != 1 || l.Settle != time.Second {
		t.Errorf("the rule that names more wins, and the reverse direction matches too: %+v", l)
	}
	blue := pairs("pe1", "pe2")
	blue.VPN = "blue"
	if l := rules.For(base, blue); l.MinConnections != base.MinConnections || l.Settle != 2*time.Second {
		t.Errorf("by pair and VPN: %+v", l)
	}
	if err := rules.Validate(base); err != nil {
		t.Error(err)
	}
}

func ptr[T any](v T) *T { return &v }

func TestRulesThatCannotBe(t *testing.T) {
	names := Names{VPNs: []string{"default", "red"}, Policies: []string{"gold"}, PEs: []string{"pe1", "pe2"}}
	good := Rule{Match{VPN: "red"}, Patch{MinConnections: ptr(1)}}
	three := Patch{MinConnections: ptr(3)}
	for field, tt := range map[string]struct {
		rule Rule
		want string
	}{
		"rules[1].min_subflows": {Rule{Match{Policy: "gold"}, Patch{MinSubflows: ptr(1)}}, "want 2 to 64"},
		"rules[1].hold_down":    {Rule{Match{Policy: "gold"}, Patch{HoldDown: ptr(25 * time.Hour)}}, "want 0s to 24h"},
		"rules[1]":              {Rule{Match{VPN: "red"}, three}, "rules[0] is for vpn=red too"},
		"rules[1].egress":       {Rule{Match{Ingress: "pe1", Egress: "pe1"}, three}, "ingress too"},
		"rules[1].vpn":          {Rule{Match{VPN: "rde"}, three}, "want one of default, red"},
		"rules[1].policy":       {Rule{Match{VPN: "red", Policy: "silver"}, three}, "want one of gold"},
		"rules[1].ingress":      {Rule{Match{Ingress: "pe3", Egress: "pe2"}, three}, "want one of pe1, pe2"},
	} {
		rs := Rules{good, tt.rule}
		err := errors.Join(rs.Validate(base), names.Check(rs, nil))
		var e *InvalidError
		if !errors.As(err, &e) || e.Field != field || !strings.Contains(e.Detail, tt.want) {
			t.Errorf("%s: got %v", field, err)
		}
		if err := names.Check(rs, rs); err != nil {
			t.Errorf("%s: a rule that is there already is asked again: %v", field, err)
		}
	}
	for want, r := range map[string]Rule{"names no vpn": {Patch: three}, "sets no threshold": {Match: Match{VPN: "red"}}} {
		if err := (Rules{r}).Validate(base); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestDiffRules(t *testing.T) {
	red, pair := Match{VPN: "red"}, Match{Policy: "gold", Ingress: "pe1", Egress: "pe2"}
	from := Rules{{red, Patch{MinConnections: ptr(5), MinGain: ptr(1.5)}}, {pair, Patch{Settle: ptr(time.Second)}}}
	var got []string
	for _, d := range DiffRules(from, Rules{{red, Patch{MinConnections: ptr(3), MinGain: ptr(1.5), HoldDown: ptr(time.Minute)}}}) {
		got = append(got, d.VPN+"|"+d.Text)
	}
	want := []string{
		"red|vpn=red: min_connections 5 -> 3", "red|vpn=red: hold_down none -> 1m0s",
		"|policy=gold ingress=pe1 egress=pe2: settle 1s -> none",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if d := DiffRules(from, Rules{from[1], from[0]}); len(d) != 1 || d[0].Text != "rules in another order" {
		t.Errorf("turned round: %v", d)
	}
	if d := DiffRules(from, from); len(d) != 0 {
		t.Errorf("no change: %v", d)
	}
}
