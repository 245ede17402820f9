package xrcli

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A pattern is a command's words: keywords, which may be abbreviated, and
// parameters in angle brackets. Words in square brackets may be left out, of
// words between bars one is chosen:
//
//	show mpls traffic-eng tunnels [<tunnel>] [detail|tabular|brief]
//
// Parameters: <word>, <num>, <0-7> (a range), <ipv4>, <hex>, <if>, <te> (tunnel-te
// and its number, apart or not) and <line>, the rest of the line.
type pattern []element

type element struct {
	word  string // keyword, or parameter without brackets
	param bool
}

// command is a pattern and what it does.
type command[F any] struct {
	pattern pattern
	run     F
}

// words are the words of a line and where they begin.
type words []struct {
	s  string
	at int
}

func split(line string) words {
	var ws words
	for i := 0; i < len(line); {
		if line[i] == ' ' || line[i] == '\t' {
			i++
			continue
		}
		j := i
		for j < len(line) && line[j] != ' ' && line[j] != '\t' {
			j++
		}
		ws = append(ws, struct {
			s  string
			at int
		}{line[i:j], i})
		i = j
	}
	return ws
}

// Errors of a line that is no command.
const (
	errIncomplete = said("% Incomplete command.")
	errAmbiguous  = said("% Ambiguous command:  ")
)

// said is an error in the router's own words.
type said string

func (s said) Error() string { return string(s) }

// invalidError: the word at that column fits no command.
type invalidError struct{ at int }

func (invalidError) Error() string { return "% Invalid input detected at '^' marker." }

// parse turns a pattern's text into all patterns it stands for.
func parse(text string) []pattern {
	out := []pattern{nil}
	for _, w := range strings.Fields(text) {
		optional := strings.HasPrefix(w, "[")
		w = strings.Trim(w, "[]")
		var next []pattern
		for _, p := range out {
			if optional {
				next = append(next, p)
			}
			for _, alt := range strings.Split(w, "|") {
				e := element{word: alt}
				if strings.HasPrefix(alt, "<") {
					e = element{word: strings.Trim(alt, "<>"), param: true}
				}
				next = append(next, append(p[:len(p):len(p)], e))
			}
		}
		out = next
	}
	return out
}

// args are the parameters of a matched line and the keywords it was matched by.
type args struct {
	params []string
	// words is the line with its keywords in full.
	words []string
	// lineAt is the column of a <line> parameter.
	lineAt int
}

// candidate is a command that fits a line so far.
type candidate[F any] struct {
	cmd command[F]
	pos int // in the pattern
	args
	rest bool // the last parameter takes all that follows
}

// advance adds a word; param is empty for a keyword.
func (c candidate[F]) advance(word, param string) candidate[F] {
	c.pos++
	c.words = append(c.words[:len(c.words):len(c.words)], word)
	if param != "" {
		c.params = append(c.params[:len(c.params):len(c.params)], param)
	}
	return c
}

// match finds the command of a line. Where one word is a whole keyword it is
// that; an abbreviation must fit one keyword only.
func match[F any](cmds []command[F], line string) (F, args, error) {
	var none F
	ws := split(line)
	alive := make([]candidate[F], 0, len(cmds))
	for _, c := range cmds {
		alive = append(alive, candidate[F]{cmd: c})
	}
	for i := 0; i < len(ws); i++ {
		w := ws[i].s
		var exact, abbrev, param []candidate[F]
		keywords := map[string]bool{}
		for _, c := range alive {
			if c.rest {
				param = append(param, c)
				continue
			}
			if c.pos == len(c.cmd.pattern) {
				continue
			}
			e := c.cmd.pattern[c.pos]
			switch {
			case !e.param && strings.EqualFold(e.word, w):
				exact = append(exact, c.advance(e.word, ""))
			case !e.param && len(w) <= len(e.word) && strings.EqualFold(e.word[:len(w)], w):
				keywords[e.word] = true
				abbrev = append(abbrev, c.advance(e.word, ""))
			case e.param && e.word == "line":
				n := c.advance(line[ws[i].at:], strings.TrimRight(line[ws[i].at:], " "))
				n.rest, n.lineAt = true, ws[i].at
				param = append(param, n)
			case e.param:
				if v, ok := value(e.word, w); ok {
					param = append(param, c.advance(v, v))
				}
			}
		}
		switch {
		case len(exact) > 0:
			alive = exact
		case len(keywords) > 1:
			return none, args{}, errAmbiguous
		case len(abbrev) > 0:
			alive = abbrev
		case len(param) > 0:
			alive = param
		default:
			return none, args{}, invalidError{ws[i].at}
		}
	}
	for _, c := range alive {
		if c.pos == len(c.cmd.pattern) {
			return c.cmd.run, c.args, nil
		}
	}
	return none, args{}, errIncomplete
}

// value checks a parameter and gives its canonical form.
func value(kind, w string) (string, bool) {
	switch kind {
	case "word":
		return w, len(w) <= 64
	case "num":
		n, err := strconv.ParseUint(w, 10, 32)
		return strconv.FormatUint(n, 10), err == nil
	case "hex":
		n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(w), "0x"), 16, 32)
		return fmt.Sprintf("0x%x", n), err == nil
	case "ipv4":
		a, err := netip.ParseAddr(w)
		return w, err == nil && a.Is4()
	case "ip":
		a, err := netip.ParseAddr(w)
		return a.String(), err == nil
	case "te":
		l := strings.ToLower(w)
		n, err := strconv.ParseUint(strings.TrimPrefix(l, "tunnel-te"), 10, 16)
		return fmt.Sprintf("tunnel-te%d", n), err == nil && strings.HasPrefix(l, "tunnel-te")
	case "if":
		return canonicalInterface(w)
	}
	lo, hi, ok := strings.Cut(kind, "-")
	if !ok {
		return "", false
	}
	n, err := strconv.ParseUint(w, 10, 32)
	l, _ := strconv.ParseUint(lo, 10, 32)
	h, _ := strconv.ParseUint(hi, 10, 32)
	return strconv.FormatUint(n, 10), err == nil && n >= l && n <= h
}

// canonicalInterface writes an interface's name in full: gi0/0/0/1 is
// GigabitEthernet0/0/0/1.
func canonicalInterface(w string) (string, bool) {
	i := strings.IndexAny(w, "0123456789")
	if i <= 0 {
		return "", false
	}
	kind := strings.ToLower(w[:i])
	for _, full := range []string{"GigabitEthernet", "TenGigE", "HundredGigE", "Loopback", "MgmtEth"} {
		if strings.HasPrefix(strings.ToLower(full), kind) {
			return full + w[i:], true
		}
	}
	return "", false
}
