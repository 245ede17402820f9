package iosxr

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/scrapli/scrapligo/driver/generic"
	"github.com/scrapli/scrapligo/driver/opoptions"
	"github.com/scrapli/scrapligo/driver/options"
	"github.com/scrapli/scrapligo/platform"
	"github.com/scrapli/scrapligo/util"
	"go.uber.org/zap"

	"mpbox/pe-drivers/driver"
)

// session is the login to one router. It logs in when it must, and forgets the
// login after a failure.
type session struct {
	cfg  Config
	log  *zap.Logger
	open *opened
}

type opened struct {
	cli       *generic.Driver
	transport *sshTransport
}

// failedWhen are the words with which IOS-XR refuses a line. scrapligo's own list
// lacks those of a commit.
var failedWhen = []string{
	"% Invalid input", "% Ambiguous command", "% Incomplete command", "% Unknown command",
	"% This command is not authorized", "% Failed to commit", "% Failed to",
}

// othersCommitted is the question of a commit when somebody else committed since
// this session began to configure.
var othersCommitted = regexp.MustCompile(`(?i)with this commit anyway\?\s*\[no\]:\s*$`)

// errConflict: somebody else committed in between; what was planned is stale.
var errConflict = errors.New("another session committed meanwhile")

// login connects and prepares the terminal.
func (s *session) login(ctx context.Context) (*opened, error) {
	host, _, err := net.SplitHostPort(s.cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("%w: address: %w", errConfig, err)
	}
	t := &sshTransport{cfg: s.cfg, ctx: ctx}
	p, err := platform.NewPlatform("cisco_iosxr", host,
		// The credentials stay in the transport: scrapligo logs what it knows.
		options.WithCustomTransport(t),
		options.WithAuthBypass(),
		options.WithTimeoutOps(s.cfg.Timeout),
		options.WithFailedWhenContains(failedWhen),
	)
	if err != nil {
		return nil, err
	}
	n, err := p.GetNetworkDriver()
	if err != nil {
		return nil, err
	}
	n.OnClose = nil // it would ask a router that may be gone
	stop := context.AfterFunc(ctx, func() { _ = t.Close() })
	err = n.Open()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = t.Close()
		if t.client != nil { // the channel's reader runs
			_ = n.Channel.Close()
		}
		return nil, err
	}
	s.log.Debug("logged in", zap.String("address", s.cfg.Address))
	return &opened{cli: n.Driver, transport: t}, nil
}

func (s *session) drop() {
	if s.open != nil {
		_ = s.open.transport.Close() // ends the reader; nothing is lost
		_ = s.open.cli.Channel.Close()
		s.open = nil
	}
}

// send sends a line and waits for the prompt, or for a question that is one of
// ask. The router's refusal of the line is a driver.Error with its words.
func (s *session) send(ctx context.Context, line string, timeout time.Duration, ask ...*regexp.Regexp) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", s.failure(ctx, line, err)
	}
	if s.open == nil {
		o, err := s.login(ctx)
		if err != nil {
			return "", s.failure(ctx, "ssh "+s.cfg.Address, err)
		}
		s.open = o
	}
	o := s.open
	stop := context.AfterFunc(ctx, func() { _ = o.transport.Close() })
	opts := []util.Option{opoptions.WithTimeoutOps(timeout)}
	if len(ask) > 0 {
		opts = append(opts, opoptions.WithInterimPromptPattern(ask))
	}
	r, err := o.cli.SendCommand(line, opts...)
	if !stop() || err != nil {
		s.drop()
	}
	if err != nil {
		return "", s.failure(ctx, line, err)
	}
	if r.Failed != nil {
		return r.Result, s.fail(driver.ErrRejected, line, words(r.Result), "check the router's release and the user's authorization for this command", nil)
	}
	return r.Result, nil
}

// show runs a command that reads.
func (s *session) show(ctx context.Context, command string) (string, error) {
	return s.send(ctx, command, s.cfg.Timeout)
}

// configure opens a candidate configuration. The caller must commit or abort.
func (s *session) configure(ctx context.Context) error {
	_, err := s.send(ctx, "configure terminal", s.cfg.Timeout)
	return err
}

// abort throws the candidate away, if there still is a session: without one the
// router has done so.
func (s *session) abort(ctx context.Context) {
	if s.open == nil {
		return
	}
	// The operation may have failed by its own deadline; the router should not keep
	// the candidate for that.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
	defer cancel()
	if _, err := s.send(ctx, "abort", s.cfg.Timeout); err != nil {
		s.drop()
	}
}

// commit makes the lines the running configuration: all of them, or none. After an
// error the candidate is gone.
func (s *session) commit(ctx context.Context, lines []string, comment string) error {
	for _, l := range lines {
		if _, err := s.send(ctx, l, s.cfg.Timeout); err != nil {
			s.abort(ctx)
			return err
		}
	}
	step := "commit"
	if comment != "" {
		step += " comment " + comment
	}
	out, err := s.send(ctx, step, s.cfg.CommitTimeout, othersCommitted)
	if err == nil && othersCommitted.MatchString(out) {
		_, _ = s.send(ctx, "no", s.cfg.Timeout)
		s.abort(ctx)
		return errConflict
	}
	if err != nil {
		err = s.failedCommit(ctx, step, err)
		s.abort(ctx)
		return err
	}
	// "end" leaves nothing behind; after a commit it asks nothing.
	if _, err := s.send(ctx, "end", s.cfg.Timeout); err != nil {
		s.drop()
		return err
	}
	return nil
}

// failedCommit asks the router why.
func (s *session) failedCommit(ctx context.Context, step string, err error) error {
	if !errors.Is(err, driver.ErrRejected) {
		return err
	}
	out, showErr := s.show(ctx, "show configuration failed")
	if showErr != nil {
		return err
	}
	return s.fail(driver.ErrRejected, step, reasons(out), "the router kept its configuration; correct what it objects to", nil)
}

// dateLine is what IOS-XR prints before each output.
var dateLine = regexp.MustCompile(`^(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d`)

// mostLines of an item are told with an error; a long one has thousands.
const mostLines = 4

// reasons takes the errors, and what they were about, from "show configuration
// failed".
func reasons(out string) string {
	var about, all []string
	for line := range strings.Lines(out) {
		text := strings.TrimSpace(line)
		if why, ok := strings.CutPrefix(text, "!!% "); ok {
			if len(about) > mostLines {
				about = append(about[:mostLines:mostLines], "…")
			}
			all = append(all, strings.Join(about, " / ")+": "+why)
			continue
		}
		if text == "" || text == "end" || strings.HasPrefix(text, "!") || dateLine.MatchString(text) {
			continue
		}
		// A line that is not indented begins a new item.
		if !strings.HasPrefix(line, " ") {
			about = nil
		}
		about = append(about, text)
	}
	if len(all) == 0 {
		return words(out)
	}
	return strings.Join(all, "; ")
}

// words makes a router's answer one line: without the date, and without the marker
// under a wrong word.
func words(out string) string {
	var all []string
	for line := range strings.Lines(out) {
		text := strings.TrimSpace(line)
		if strings.Trim(text, "^ ") == "" || dateLine.MatchString(text) {
			continue
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func (s *session) fail(kind error, step, detail, remedy string, err error) error {
	return &driver.Error{PE: s.cfg.PE, Step: step, Kind: kind, Detail: detail, Remedy: remedy, Err: err}
}

// failure maps an error of the connection.
func (s *session) failure(ctx context.Context, step string, err error) error {
	s.drop()
	text := err.Error()
	switch {
	case ctx.Err() != nil:
		return s.fail(driver.ErrUnreachable, step, "", "", context.Cause(ctx))
	case errors.Is(err, errConfig):
		return s.fail(driver.ErrUnsupported, step, "", "correct the ssh section of this PE in the configuration", err)
	case errors.Is(err, errHostKey), strings.Contains(text, errHostKey.Error()):
		return s.fail(driver.ErrProtocol, step, "", "if the router's key was changed on purpose, put the new one into host_key or known_hosts; else somebody stands in between", err)
	case strings.Contains(text, "unable to authenticate"):
		return s.fail(driver.ErrAuth, step, "", fmt.Sprintf("check password or key_file of user %q on the PE and in the configuration", s.cfg.User), err)
	case strings.Contains(text, "no common algorithm"):
		return s.fail(driver.ErrProtocol, step, "", "give in host_key or known_hosts a key of a type that the router has", err)
	case errors.Is(err, util.ErrTimeoutError):
		return s.fail(driver.ErrUnreachable, step, "the router did not come back to its prompt", "check that the CLI answers at "+s.cfg.Address, err)
	}
	remedy := "check that SSH runs and answers at " + s.cfg.Address
	if strings.HasPrefix(step, "commit") {
		remedy += "; whether the router took the change is unknown until it is read back"
	}
	return s.fail(driver.ErrUnreachable, step, "", remedy, err)
}
