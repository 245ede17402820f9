package xrcli

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"mpbox/examples/lab/pe/router"
)

// history is the commits of this process, for rollback and for sessions to see
// that others committed.
type history struct {
	mu      sync.Mutex
	n       uint64
	before  []router.CLI // what was in force before each commit, oldest first
	confirm *time.Timer  // of a commit that waits to be confirmed
}

const keepCommits = 100

func (s *Server) commits() uint64 {
	s.history.mu.Lock()
	defer s.history.mu.Unlock()
	return s.history.n
}

// apply gives the configuration with the target's changes made to it.
func (c *session) apply(base *router.Config) (*router.Config, error) {
	next := base.Clone()
	for _, ch := range c.target {
		if err := ch.edit.apply(&next.CLI, ch.args, ch.no); err != nil {
			return nil, err
		}
	}
	return next, nil
}

func (c *session) node() interfaces {
	var names interfaces
	for _, i := range c.r.Node().Interfaces {
		names = append(names, i.Name)
	}
	return names
}

const (
	saidFailed = "\n%% Failed to commit one or more configuration items during a pseudo-atomic operation. " +
		"All changes made have been reverted. Please issue 'show configuration failed [inheritance]' " +
		"from this session to view the errors\n"
	saidOthers = "One or more commits have occurred from other\nconfiguration sessions since this session started\n" +
		"or since the last commit was made from this session.\nYou can use the 'show configuration commit changes'\n" +
		"command to browse the changes.\nWould you like to proceed with this commit anyway? [no]: "
)

// commit makes the target configuration the running one: all of it, or none.
func (c *session) commit(confirmed time.Duration) error {
	c.stamp()
	if len(c.target) == 0 {
		if c.srv.confirmed() {
			return nil
		}
		c.printf("%% No configuration changes to commit.\n")
		return nil
	}
	// One commit at a time: another one between this look and this commit would be
	// overwritten without a question.
	c.srv.committing.Lock()
	defer c.srv.committing.Unlock()
	if c.srv.commits() != c.seen {
		c.srv.committing.Unlock() // nobody waits for an operator
		c.printf(saidOthers)
		answer, err := c.readLine()
		c.srv.committing.Lock()
		if err != nil {
			return err
		}
		if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
			return nil
		}
	}
	what := make([]string, len(c.target))
	for i, ch := range c.target {
		what[i] = ch.text
	}
	err := c.try(c.r.Faults())
	if err != nil {
		return err
	}
	c.target, c.modes = nil, nil
	if len(c.failed) > 0 {
		var errs []error
		for _, f := range c.failed {
			errs = append(errs, errors.New(strings.Join(f.lines, "/")+": "+f.why))
		}
		c.r.RecordCommit(what, errors.Join(errs...))
		c.printf(saidFailed)
		return nil
	}
	c.r.RecordCommit(what, nil)
	c.seen = c.srv.commits()
	c.srv.confirmed()
	if confirmed > 0 {
		c.srv.rollbackAfter(confirmed)
	}
	return nil
}

// try validates the target and commits it; what is wrong with it is in failed. A
// SET that came between is no conflict: lines are merged into what is there now.
func (c *session) try(f router.Faults) error {
	for {
		base := c.r.Config()
		next, err := c.apply(base)
		if err != nil {
			return err
		}
		if c.failed = validate(base, next, c.node(), f); len(c.failed) > 0 {
			return nil
		}
		err = c.srv.commit(base, next)
		if errors.Is(err, router.ErrConflict) {
			continue
		}
		if err != nil {
			c.failed = []semanticError{{[]string{"!"}, fmt.Sprintf("'cfgmgr' detected the 'fatal' condition '%v'", err)}}
		}
		return nil
	}
}

// commit replaces the running configuration and remembers the one before.
func (s *Server) commit(base, next *router.Config) error {
	if err := s.r.Commit(base, next); err != nil {
		return err
	}
	s.history.mu.Lock()
	defer s.history.mu.Unlock()
	s.history.n++
	s.history.before = append(s.history.before, base.CLI)
	if len(s.history.before) > keepCommits {
		s.history.before = s.history.before[1:]
	}
	return nil
}

// confirmed ends the wait for a confirmation; false if there was none.
func (s *Server) confirmed() bool {
	s.history.mu.Lock()
	defer s.history.mu.Unlock()
	if s.history.confirm == nil {
		return false
	}
	s.history.confirm.Stop()
	s.history.confirm = nil
	return true
}

func (s *Server) rollbackAfter(d time.Duration) {
	s.history.mu.Lock()
	defer s.history.mu.Unlock()
	s.history.confirm = time.AfterFunc(d, func() {
		s.history.mu.Lock()
		waiting := s.history.confirm != nil
		s.history.confirm = nil
		s.history.mu.Unlock()
		if !waiting {
			return
		}
		err := s.rollback(1)
		s.r.RecordCommit([]string{"rollback of a commit that was not confirmed"}, err)
	})
}

// rollback takes the last n commits back.
func (s *Server) rollback(n int) error {
	s.history.mu.Lock()
	have := len(s.history.before)
	var old router.CLI
	if n <= have {
		old = s.history.before[have-n]
	}
	s.history.mu.Unlock()
	if n > have {
		return fmt.Errorf("only %d commits are kept", have)
	}
	base := s.r.Config()
	next := base.Clone()
	next.CLI = old
	return s.commit(base, next)
}

func rollback(c *session, a args) error {
	c.stamp()
	n := int(number(a.params[0]))
	err := c.srv.rollback(n)
	c.r.RecordCommit([]string{fmt.Sprintf("rollback configuration last %d", n)}, err)
	if err != nil {
		c.printf("%% Rollback failed: %v\n", err)
		return nil
	}
	c.printf("Loading Rollback Changes.\nLoaded Rollback Changes in 1 sec \nCommitting.\nUpdating.\n"+
		"Updated Commit database in 1 sec\nConfiguration successfully rolled back %d commits.\n", n)
	return nil
}

func showCommitted(c *session, a args) string {
	c.srv.history.mu.Lock()
	defer c.srv.history.mu.Unlock()
	n, have := int(number(a.params[0])), len(c.srv.history.before)
	if n > have {
		return fmt.Sprintf("%% Only %d commits are kept.\n", have)
	}
	now := c.r.Config().CLI
	return building(flatten(diff(renderCLI(&c.srv.history.before[have-n]), renderCLI(&now))), "")
}

func building(lines []string, mark string) string {
	var b strings.Builder
	b.WriteString("Building configuration...\n!! IOS XR Configuration 7.3.2\n")
	for _, l := range lines {
		b.WriteString(mark + l + "\n")
	}
	b.WriteString("end\n\n")
	return b.String()
}

func (c *session) pending() ([]section, error) {
	base := c.r.Config()
	next, err := c.apply(base)
	if err != nil {
		return nil, err
	}
	return diff(renderCLI(&base.CLI), renderCLI(&next.CLI)), nil
}

func showTarget(c *session, a args) string {
	base := c.r.Config()
	next, err := c.apply(base)
	if err != nil {
		return err.Error() + "\n"
	}
	if a.has("merge") {
		return building(flatten(renderCLI(&next.CLI)), "")
	}
	return building(flatten(diff(renderCLI(&base.CLI), renderCLI(&next.CLI))), "")
}

// showChanges marks what commit would add with + and what it would take away
// with -.
func showChanges(c *session, _ args) string {
	ss, err := c.pending()
	if err != nil {
		return err.Error() + "\n"
	}
	var lines []string
	for _, l := range flatten(ss) {
		t := strings.TrimLeft(l, " ")
		indent := l[:len(l)-len(t)]
		if gone, ok := strings.CutPrefix(t, "no "); ok {
			lines = append(lines, "-  "+indent+gone)
		} else {
			lines = append(lines, "+  "+l)
		}
	}
	return building(lines, "")
}

func showFailed(c *session, _ args) string {
	if len(c.failed) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("!! SEMANTIC ERRORS: This configuration was rejected by \n!! the system due to semantic errors. The individual \n" +
		"!! errors with each failed configuration command can be \n!! found below.\n\n\n")
	for _, f := range c.failed {
		for _, l := range f.lines {
			b.WriteString(l + "\n")
		}
		b.WriteString("!!% " + f.why + "\n!\n")
	}
	b.WriteString("end\n\n")
	return b.String()
}
