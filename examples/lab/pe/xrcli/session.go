package xrcli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/gliderlabs/ssh"

	"mpbox/examples/lab/pe/router"
)

// session is one login.
type session struct {
	srv  *Server
	r    *router.Router
	in   *bufio.Reader
	out  io.Writer
	echo bool // the client asked for a terminal

	length int  // lines of a page, 0 is no paging
	stamps bool // a date line before each output

	// In configuration mode: the modes that are open, outermost first, each with
	// its words; empty in the global mode.
	configuring bool
	modes       []mode
	target      []change
	seen        uint64 // commits of others up to here are known
	failed      []semanticError
}

type mode struct {
	words  string
	prompt string
}

// change is a configuration command that waits for its commit.
type change struct {
	text string
	edit edit
	args args
	no   bool
}

var errClosed = errors.New("session closed")

func (s *Server) session(ss ssh.Session) {
	_, _, pty := ss.Pty()
	c := &session{srv: s, r: s.r, in: bufio.NewReader(ss), out: ss, echo: pty, length: 24, stamps: true}
	if cmd := ss.RawCommand(); cmd != "" {
		c.length = 0
		_ = c.run(cmd, 0)
		_ = ss.Exit(0)
		return
	}
	c.printf("\n\n\n")
	for {
		p := c.prompt()
		c.printf("%s", p)
		// The answer is out: a router that is to die between two commits may.
		s.r.MayDie()
		line, err := c.readLine()
		if err != nil {
			break
		}
		if err := c.run(line, len(p)); err != nil {
			break
		}
	}
	_ = ss.Exit(0)
}

func (c *session) printf(format string, a ...any) { _, _ = fmt.Fprintf(c.out, format, a...) }

func (c *session) prompt() string {
	p := "RP/0/RP0/CPU0:" + c.r.Node().Name
	if c.configuring {
		m := "config"
		if n := len(c.modes); n > 0 {
			m = c.modes[n-1].prompt
		}
		p += "(" + m + ")"
	}
	return p + "#"
}

// readLine reads a line as a terminal does: with echo and a few editing keys.
func (c *session) readLine() (string, error) {
	var line []byte
	echo := func(s string) {
		if c.echo {
			c.printf("%s", s)
		}
	}
	for {
		b, err := c.in.ReadByte()
		if err != nil {
			return "", err
		}
		switch b {
		case '\r', '\n':
			if b == '\r' && c.in.Buffered() > 0 {
				if next, _ := c.in.Peek(1); next[0] == '\n' {
					_, _ = c.in.ReadByte()
				}
			}
			echo("\n")
			return string(line), nil
		case 0x7f, 0x08: // delete, backspace
			if len(line) > 0 {
				line = line[:len(line)-1]
				echo("\b \b")
			}
		case 0x03: // ctrl-C
			echo("\n")
			return "", nil
		case 0x04: // ctrl-D
			if len(line) == 0 {
				return "", io.EOF
			}
		case 0x15: // ctrl-U
			echo(strings.Repeat("\b \b", len(line)))
			line = nil
		case '\t', 0x00:
		default:
			if b >= ' ' && len(line) < 4096 {
				line = append(line, b)
				echo(string(b))
			}
		}
	}
}

// stamp is the date line that XR prints before the output of a command.
func (c *session) stamp() {
	if c.stamps {
		c.printf("%s\n", c.srv.now().UTC().Format("Mon Jan _2 15:04:05.000 UTC"))
	}
}

// page prints an output, a screen at a time where the terminal has a length.
func (c *session) page(text string) {
	lines := strings.SplitAfter(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	room := c.length - 1
	for i, l := range lines {
		c.printf("%s", l)
		if room--; c.length == 0 || room > 0 || i == len(lines)-1 {
			continue
		}
		c.printf(" --More-- ")
		key, err := c.in.ReadByte()
		c.printf("\r          \r")
		switch {
		case err != nil || key == 'q' || key == 0x03:
			c.printf("\n")
			return
		case key == '\r' || key == '\n':
			room = 1
		default:
			room = c.length - 1
		}
	}
}

var reTunnel = regexp.MustCompile(`\btunnel-te +(\d)`)

// run carries out a line; column is where it began on the screen, for the marker
// under a wrong word.
func (c *session) run(line string, column int) error {
	line = reTunnel.ReplaceAllString(line, "tunnel-te$1")
	trimmed := strings.TrimSpace(line)
	if trimmed == "" || strings.HasPrefix(trimmed, "!") {
		return nil
	}
	var err error
	if c.configuring {
		err = c.config(line)
	} else {
		err = c.exec(execCommands, line)
	}
	var invalid invalidError
	switch {
	case errors.As(err, &invalid):
		c.printf("%s^\n%v\n", strings.Repeat(" ", column+invalid.at), err)
	case errors.Is(err, errAmbiguous):
		c.printf("%v%q\n", err, trimmed)
	case errors.Is(err, errIncomplete):
		c.printf("%v\n", err)
	default:
		return err
	}
	return nil
}

// action is what an exec command does; the error ends the session.
type action func(c *session, a args) error

func (c *session) exec(cmds []command[action], line string) error {
	line, filter, err := splitFilter(line)
	if err != nil {
		return err
	}
	run, a, err := match(cmds, line)
	if err != nil {
		return err
	}
	if filter == nil {
		return run(c, a)
	}
	// A filtered output is collected first.
	out, echo := c.out, c.echo
	var b strings.Builder
	c.out, c.echo = &b, false
	length := c.length
	c.length = 0
	err = run(c, a)
	c.out, c.echo, c.length = out, echo, length
	c.page(filter(b.String()))
	return err
}

// splitFilter takes "| include TEXT", "| exclude TEXT", "| begin TEXT" and
// "| utility wc lines"-like tails off; only the first three are known.
func splitFilter(line string) (string, func(string) string, error) {
	cmd, tail, ok := strings.Cut(line, "|")
	if !ok {
		return line, nil, nil
	}
	kind, text, _ := strings.Cut(strings.TrimSpace(tail), " ")
	re, err := regexp.Compile(strings.TrimSpace(text))
	if err != nil || text == "" || len(kind) < 1 {
		return "", nil, errIncomplete
	}
	switch {
	case strings.HasPrefix("include", kind), strings.HasPrefix("exclude", kind):
		want := kind[0] == 'i'
		return cmd, func(s string) string {
			var b strings.Builder
			for _, l := range strings.SplitAfter(s, "\n") {
				if l != "" && re.MatchString(strings.TrimSuffix(l, "\n")) == want {
					b.WriteString(l)
				}
			}
			return b.String()
		}, nil
	case strings.HasPrefix("begin", kind):
		return cmd, func(s string) string {
			ls := strings.SplitAfter(s, "\n")
			for i, l := range ls {
				if re.MatchString(strings.TrimSuffix(l, "\n")) {
					return strings.Join(ls[i:], "")
				}
			}
			return ""
		}, nil
	}
	return "", nil, invalidError{len(cmd) + 1}
}

var execCommands, configExec = buildExec()

// show makes an action of a function that gives the output.
func show(f func(c *session, a args) string) action {
	return func(c *session, a args) error {
		c.stamp()
		c.page(f(c, a))
		return nil
	}
}

func buildExec() (exec, config []command[action]) {
	add := func(cmds *[]command[action], text string, run action) {
		for _, p := range parse(text) {
			*cmds = append(*cmds, command[action]{p, run})
		}
	}
	shows := func(cmds *[]command[action]) {
		add(cmds, "show version", show(showVersion))
		add(cmds, "show clock", show(func(c *session, _ args) string {
			return c.srv.now().UTC().Format("15:04:05.000 UTC Mon Jan 2 2006\n")
		}))
		add(cmds, "show mpls traffic-eng topology [brief]", show(showTopology))
		add(cmds, "show mpls traffic-eng topology <ipv4> [brief]", show(showTopology))
		add(cmds, "show mpls traffic-eng tunnels [detail|tabular|brief]", show(showTunnels))
		add(cmds, "show mpls traffic-eng tunnels <0-65535> [detail|tabular|brief]", show(showTunnels))
		add(cmds, "show mpls traffic-eng tunnels name <word> [detail|tabular|brief]", show(showTunnels))
		add(cmds, "show rsvp session [detail]", show(showRSVP))
		add(cmds, "show rsvp session destination <ipv4> [detail] [dst-port] [<0-65535>]", show(showRSVP))
		add(cmds, "show rsvp session detail dst-port <0-65535>", show(showRSVP))
		add(cmds, "show explicit-paths", show(showPaths))
		add(cmds, "show explicit-paths name <word>", show(showPaths))
		add(cmds, "show running-config", show(showRunning))
		add(cmds, "show running-config interface", show(showRunning))
		add(cmds, "show running-config interface <te>|<if>", show(showRunning))
		add(cmds, "show running-config explicit-path|class-map|policy-map", show(showRunning))
		add(cmds, "show running-config explicit-path name <word>", show(showRunning))
		add(cmds, "show running-config class-map|policy-map <word>", show(showRunning))
		add(cmds, "show running-config class-map match-any <word>", show(showRunning))
		add(cmds, "show running-config ipv4|ipv6 access-list [<word>]", show(showRunning))
		add(cmds, "show configuration commit changes last <1-100>", show(showCommitted))
	}
	shows(&exec)
	add(&exec, "terminal length <0-512>", func(c *session, a args) error {
		c.stamp()
		c.length = int(number(a.params[0]))
		return nil
	})
	add(&exec, "terminal width <0-512>", func(c *session, _ args) error {
		c.stamp()
		return nil
	})
	add(&exec, "terminal exec prompt no-timestamp", func(c *session, _ args) error {
		c.stamp()
		c.stamps = false
		return nil
	})
	add(&exec, "configure [terminal]", func(c *session, _ args) error {
		c.stamp()
		c.configuring, c.modes, c.target, c.seen = true, nil, nil, c.srv.commits()
		return nil
	})
	add(&exec, "rollback configuration last <1-100>", rollback)
	add(&exec, "exit|logout|quit", func(*session, args) error { return errClosed })

	shows(&config)
	add(&config, "show configuration [merge]", show(showTarget))
	add(&config, "show configuration failed [inheritance]", show(showFailed))
	add(&config, "show commit changes [diff]", show(showChanges))
	add(&config, "commit", func(c *session, _ args) error { return c.commit(0) })
	add(&config, "commit label|comment <line>", func(c *session, _ args) error { return c.commit(0) })
	add(&config, "commit confirmed <30-65535>", func(c *session, a args) error {
		return c.commit(time.Duration(number(a.params[0])) * time.Second)
	})
	add(&config, "abort", func(c *session, _ args) error {
		c.configuring, c.target = false, nil
		return nil
	})
	add(&config, "clear", func(c *session, _ args) error {
		c.target, c.modes = nil, nil
		return nil
	})
	add(&config, "root", func(c *session, _ args) error {
		c.modes = nil
		return nil
	})
	add(&config, "exit", func(c *session, _ args) error {
		if len(c.modes) == 0 {
			return c.leave()
		}
		c.modes = c.modes[:len(c.modes)-1]
		return nil
	})
	add(&config, "end", func(c *session, _ args) error { return c.leave() })
	add(&config, "end-class-map|end-policy-map", func(c *session, _ args) error {
		c.modes = nil
		return nil
	})
	return exec, config
}

// leave ends configuration mode; changes that wait for a commit are asked about.
func (c *session) leave() error {
	for len(c.target) > 0 {
		c.printf("Uncommitted changes found, commit them before exiting(yes/no/cancel)? [cancel]:")
		answer, err := c.readLine()
		if err != nil {
			return err
		}
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			if err := c.commit(0); err != nil || len(c.failed) > 0 {
				return err
			}
		case "n", "no":
			c.target = nil
		case "", "c", "cancel":
			return nil
		}
	}
	c.configuring, c.modes = false, nil
	return nil
}

// config carries out a line of configuration mode: a command of this mode, or of
// one further out, which is then left.
func (c *session) config(line string) error {
	trimmed := strings.TrimLeft(line, " ")
	if rest, ok := strings.CutPrefix(trimmed, "do "); ok {
		return c.exec(execCommands, rest)
	}
	err := c.exec(configExec, line)
	var invalid invalidError
	if !errors.As(err, &invalid) {
		return err
	}
	first := c.configure(line, len(c.modes))
	if !errors.As(first, &invalid) {
		return first
	}
	for depth := len(c.modes) - 1; depth >= 0; depth-- {
		if err := c.configure(line, depth); !errors.As(err, &invalid) {
			return err
		}
	}
	return first
}

// configure adds a line to the target configuration, as one of the mode at that
// depth.
func (c *session) configure(line string, depth int) error {
	text := strings.TrimLeft(line, " ")
	skipped := len(line) - len(text)
	text, no := strings.CutPrefix(text, "no ")
	if no {
		skipped += len("no ")
	}
	prefix := ""
	if depth > 0 {
		prefix = c.modes[depth-1].words + " "
	}
	e, a, err := match(configCommands, prefix+text)
	if err == nil && e.noOnly && !no {
		err = errIncomplete
	}
	if err == nil && (e.mode == "" || no) {
		err = e.apply(&router.NewConfig().CLI, a, no) // is it right in itself?
	}
	var invalid invalidError
	if errors.As(err, &invalid) {
		return invalidError{max(0, invalid.at-len(prefix)) + skipped}
	}
	if err != nil {
		return err
	}
	words := strings.Join(a.words, " ")
	c.modes = c.modes[:depth]
	if e.mode != "" && !no {
		c.modes = append(c.modes, mode{words, e.mode})
	}
	if no {
		words = "no " + words
	}
	c.target = append(c.target, change{words, e, a, no})
	c.r.RecordLine(words)
	return nil
}
