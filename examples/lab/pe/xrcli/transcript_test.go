package xrcli_test

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gossh "golang.org/x/crypto/ssh"

	"mpbox/examples/lab/pe/petest"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// terminal is a client's side of a login.
type terminal struct {
	t   *testing.T
	in  io.Writer
	out chan string
	buf string
}

func dial(t *testing.T, p *petest.PE, password string) (*gossh.Client, error) {
	key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(p.Node.SSH.HostKey))
	if err != nil {
		t.Fatal(err)
	}
	return gossh.Dial("tcp", p.SSHAddr, &gossh.ClientConfig{
		User: p.Node.SSH.User, Auth: []gossh.AuthMethod{gossh.Password(password)}, HostKeyCallback: gossh.FixedHostKey(key),
	})
}

func login(t *testing.T, p *petest.PE) *terminal {
	t.Helper()
	c, err := dial(t, p, p.Node.SSH.Password)
	if err != nil {
		t.Fatal("login:", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	in, _ := s.StdinPipe()
	out, _ := s.StdoutPipe()
	if err := s.RequestPty("vt100", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, in: in, out: make(chan string, 100)}
	go func() {
		defer close(x.out)
		b := make([]byte, 4096)
		for {
			n, err := out.Read(b)
			if n > 0 {
				x.out <- strings.ReplaceAll(string(b[:n]), "\r\n", "\n")
			}
			if err != nil {
				return
			}
		}
	}()
	x.expect(rePrompt)
	return x
}

var rePrompt = regexp.MustCompile(`(?m)^RP/0/RP0/CPU0:pe1(\([\w-]+\))?#$|\[cancel\]:$|\[no\]: $| --More-- $`)

// expect reads until the text read so far ends in a match.
func (x *terminal) expect(re *regexp.Regexp) string {
	x.t.Helper()
	late := time.After(10 * time.Second)
	for {
		if loc := re.FindAllStringIndex(x.buf, -1); len(loc) > 0 && loc[len(loc)-1][1] == len(x.buf) {
			out := x.buf
			x.buf = ""
			return out
		}
		select {
		case s, ok := <-x.out:
			if !ok {
				out := x.buf
				x.buf = ""
				return out
			}
			x.buf += s
		case <-late:
			x.t.Fatalf("no prompt after %q", x.buf)
		}
	}
}

// do sends a line and gives what comes up to the next prompt, echo included.
func (x *terminal) do(line string) string {
	x.t.Helper()
	if _, err := io.WriteString(x.in, line+"\r"); err != nil {
		x.t.Fatal("send:", err)
	}
	return x.expect(rePrompt)
}

var (
	reDate  = regexp.MustCompile(`\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d(\.\d{3})?( UTC)?( \d{4})?`)
	reAgo   = regexp.MustCompile(`\d\d:\d\d:\d\d`)
	reInput = regexp.MustCompile(`^(RP/0/RP0/CPU0:pe1(?:\([\w-]+\))?#|.*\[cancel\]:|.*\[no\]: )(.*)$`)
)

// TestTranscripts plays the inputs of each file of testdata again and wants the
// outputs to be the same, dates aside. Lines that begin with @ do something to
// the router: @link NAME up|down, @fault WORDS, @settle.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := petest.Start(t, petest.Options{NoSNMP: true})
			settle(t, p)
			x := login(t, p)
			got := strings.Builder{}
			prompt := "RP/0/RP0/CPU0:pe1#"
			for _, l := range strings.Split(string(want), "\n") {
				if strings.HasPrefix(l, "@") {
					direct(t, p, l)
					got.WriteString(l + "\n")
					continue
				}
				if m := reInput.FindStringSubmatch(l); m != nil {
					got.WriteString(prompt)
					out := x.do(m[2])
					end := strings.LastIndex(out, "\n") + 1
					got.WriteString(out[:end])
					prompt = out[end:]
				}
			}
			text := reAgo.ReplaceAllString(reDate.ReplaceAllString(got.String(), "<date>"), "<time>")
			if *update {
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(text, "\n")); d != "" {
				t.Error("(-want +got):", d)
			}
		})
	}
}

func direct(t *testing.T, p *petest.PE, line string) {
	t.Helper()
	w := strings.Fields(line)
	switch w[0] {
	case "@link":
		p.Fabric.SetLink(w[1], w[2] == "up")
		settle(t, p)
	case "@fault":
		p.Faults(strings.Join(w[1:], " "))
	case "@settle":
		settle(t, p)
	default:
		t.Fatal("unknown directive", line)
	}
}

// settle waits until no LSP is being signalled and links are as they are.
func settle(t *testing.T, p *petest.PE) {
	t.Helper()
	end := time.Now().Add(10 * time.Second)
	for {
		s := p.Router.Snapshot()
		busy := len(s.LSPs) == 0
		for _, l := range s.LSPs {
			busy = busy || l.Signalling
			for _, h := range l.Route {
				busy = busy || !p.Fabric.LinkUp(p.Router.TED().Edges[h.Edge].Link)
			}
		}
		for e, up := range s.Up {
			busy = busy || up != p.Fabric.LinkUp(p.Router.TED().Edges[e].Link)
		}
		if !busy {
			return
		}
		if time.Now().After(end) {
			t.Fatal("signalling does not end")
		}
		time.Sleep(time.Millisecond)
	}
}
