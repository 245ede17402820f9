package router

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Event is a line of the event log: what this router was told to change.
type Event struct {
	Time time.Time `json:"time"`
	// Seq counts from 1 since the process started.
	Seq int `json:"seq"`
	// Source is "snmp" or "cli".
	Source string `json:"source"`
	// Kind is "set", "commit" or "line": a configuration line that was typed,
	// which changes nothing before its commit.
	Kind string `json:"kind"`
	// What are the variables of the SET, or the lines of the commit.
	What []string `json:"what"`
	// Error is why it was refused; empty if it was done.
	Error string `json:"error,omitempty"`
}

type eventLog struct {
	path string
	mu   sync.Mutex
	seq  int
}

func (l *eventLog) add(e Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	e.Time, e.Seq = time.Now(), l.seq
	if l.path == "" {
		return nil
	}
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write event log: %w", err)
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("write event log: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Close())
}

// RecordSet writes a SET to the event log. A SET or commit that was done counts
// towards die-after-sets.
func (r *Router) RecordSet(what []string, refused error) { r.record("snmp", "set", what, refused) }

// RecordCommit writes a commit of the CLI to the event log.
func (r *Router) RecordCommit(what []string, refused error) { r.record("cli", "commit", what, refused) }

// RecordLine writes a configuration line of the CLI to the event log.
func (r *Router) RecordLine(line string) { r.record("cli", "line", []string{line}, nil) }

func (r *Router) record(source, kind string, what []string, refused error) {
	e := Event{Source: source, Kind: kind, What: what}
	if refused != nil {
		e.Error = refused.Error()
	}
	if err := r.events.add(e); err != nil {
		r.opts.Log(err)
	}
	if refused == nil && kind != "line" {
		r.faults.done()
	}
}

// ReadEvents reads an event log; one that is not there is empty.
func ReadEvents(path string) ([]Event, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read event log: %w", err)
	}
	defer func() { _ = f.Close() }()
	var es []Event
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<22)
	for sc.Scan() {
		var e Event
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			return es, fmt.Errorf("read event log %s: %w", path, err)
		}
		es = append(es, e)
	}
	return es, sc.Err()
}

// Faults are the ways in which the router was asked to misbehave.
type Faults struct {
	// RefuseFTN refuses new and changed classes, RefuseTunnel tunnels.
	RefuseFTN, RefuseTunnel bool
	// dieAfter is the number of SETs and commits after which the process ends.
	dieAfter int
	// slow is added to the signalling of each LSP, slowSet to each SET and commit.
	slow, slowSet time.Duration
}

// faults reads the faults file again each time it is asked. Words are separated
// by white space: refuse-ftn, refuse-tunnel, die-after-sets=N, slow=DURATION,
// slow-set=DURATION.
type faults struct {
	path string
	mu   sync.Mutex
	text string // for which sets are counted
	sets int
}

func (f *faults) read() Faults {
	b, err := os.ReadFile(f.path)
	if f.path == "" || err != nil {
		b = nil
	}
	f.mu.Lock()
	if string(b) != f.text {
		f.text, f.sets = string(b), 0
	}
	f.mu.Unlock()
	return parseFaults(string(b))
}

func parseFaults(text string) Faults {
	var fs Faults
	for _, w := range strings.Fields(text) {
		k, v, _ := strings.Cut(w, "=")
		switch k {
		case "refuse-ftn":
			fs.RefuseFTN = true
		case "refuse-tunnel":
			fs.RefuseTunnel = true
		case "die-after-sets":
			fs.dieAfter, _ = strconv.Atoi(v)
		case "slow":
			fs.slow, _ = time.ParseDuration(v)
		case "slow-set":
			fs.slowSet, _ = time.ParseDuration(v)
		}
	}
	return fs
}

func (f *faults) done() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sets++
}

// due tells whether it is time to die. The word is taken out of the file, so
// that the router lives on once it is started again.
func (f *faults) due() bool {
	n := f.read().dieAfter
	f.mu.Lock()
	defer f.mu.Unlock()
	if n == 0 || f.sets < n {
		return false
	}
	var rest []string
	for _, w := range strings.Fields(f.text) {
		if !strings.HasPrefix(w, "die-after-sets") {
			rest = append(rest, w)
		}
	}
	f.text = strings.Join(rest, " ")
	return os.WriteFile(f.path, []byte(f.text), 0o600) == nil
}

// Faults reads the faults that are asked for now, and takes the time that a SET
// or commit was asked to take.
func (r *Router) Faults() Faults {
	f := r.faults.read()
	if f.slowSet > 0 {
		time.Sleep(f.slowSet)
	}
	return f
}

// MayDie ends the process if a fault asks for it now. Front ends call it after
// they have answered a SET or a commit: an agent that dies between two of them.
func (r *Router) MayDie() {
	if r.faults.due() {
		r.opts.Die()
	}
}
