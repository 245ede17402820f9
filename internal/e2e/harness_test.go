package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mpbox/examples/lab"
	"mpbox/internal/itest"
)

var binary string

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		os.Exit(m.Run()) // each test says why it cannot run
	}
	dir, err := os.MkdirTemp("", "mpbox-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "mpbox")
	if out, err := exec.Command("go", "build", "-o", binary, "mpbox/cmd/mpbox").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var labs atomic.Int32

// up brings a lab up for the test.
func up(t *testing.T, topology, pe, steer string, change func(*lab.Options)) *lab.Lab {
	t.Helper()
	itest.Need(t, lab.Tools...)
	n, err := lab.LoadNetwork(topology)
	if err != nil {
		t.Fatal(err)
	}
	o := lab.Options{Name: fmt.Sprintf("e%d%d", os.Getpid()%1000, labs.Add(1)), Topology: topology, PE: pe, Steer: steer, Mode: "auto", Binary: binary}
	if change != nil {
		change(&o)
	}
	l, err := lab.Up(t.Context(), n, o, nil)
	if err != nil {
		t.Fatalf("lab up: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.Background(), nil); err != nil {
			t.Errorf("lab down: %v", err)
		}
	})
	return l
}

// controller is a running mpbox.
type controller struct {
	t    *testing.T
	lab  *lab.Lab
	cmd  *exec.Cmd
	done chan struct{} // closed when mpbox has ended, with err
	err  error
	log  *logBuffer
	http http.Client
}

// logBuffer is written by one goroutine and shown by another.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs mpbox in the lab and waits until it is ready.
func start(t *testing.T, l *lab.Lab) *controller {
	t.Helper()
	status, err := l.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	socket := strings.TrimPrefix(status.Controller.APISocket, "unix:")
	c := &controller{t: t, lab: l, done: make(chan struct{}), log: &logBuffer{}}
	c.http = http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	args := l.ControllerCommand()
	c.cmd = exec.Command(args[0], args[1:]...)
	c.cmd.Stderr = c.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func(cmd *exec.Cmd) { c.err = cmd.Wait(); close(c.done) }(c.cmd)
	t.Cleanup(func() { c.stop(syscall.SIGTERM) })
	c.wait(20*time.Second, "mpbox is ready", func() bool {
		code, _ := c.raw(http.MethodGet, "/-/ready", nil)
		return code == http.StatusOK && len(c.list("/v1/datapaths", "ready", "true")) == len(l.Edges)
	})
	// Open vSwitch confirms flows before its revalidators have put them into the
	// packet path.
	if out, err := exec.Command("ovs-appctl", "-t", appctl(t, l), "revalidator/purge").CombinedOutput(); err != nil {
		t.Fatalf("revalidator/purge: %v\n%s", err, out)
	}
	return c
}

// stop ends mpbox and shows its log where the test has failed.
func (c *controller) stop(sig syscall.Signal) {
	if c.cmd == nil {
		return
	}
	c.cmd.Process.Signal(sig)
	select {
	case <-c.done:
	case <-time.After(10 * time.Second):
		c.t.Errorf("mpbox does not end on %s", sig)
		c.cmd.Process.Kill()
		<-c.done
	}
	c.cmd = nil
	if c.t.Failed() {
		c.t.Logf("mpbox log:\n%s", c.log)
	}
}

func (c *controller) raw(method, path string, in any) (int, []byte) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			c.t.Fatal(err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, "http://mpbox"+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil
	}
	return resp.StatusCode, b
}

// object is JSON as scripts see it.
type object map[string]any

func (o object) str(k string) string { return fmt.Sprint(o[k]) }

// list reads a list, keeping items whose field k is v.
func (c *controller) list(path string, kv ...string) []object {
	code, b := c.raw(http.MethodGet, path, nil)
	if code != http.StatusOK {
		return nil
	}
	var page struct{ Items []object }
	if err := json.Unmarshal(b, &page); err != nil {
		c.t.Fatalf("%s: %v", path, err)
	}
	var out []object
	for _, o := range page.Items {
		ok := true
		for i := 0; i+1 < len(kv); i += 2 {
			ok = ok && o.str(kv[i]) == kv[i+1]
		}
		if ok {
			out = append(out, o)
		}
	}
	return out
}

func (c *controller) set(method, path string, in any) {
	c.t.Helper()
	if code, b := c.raw(method, path, in); code/100 != 2 {
		c.t.Fatalf("%s %s: %d %s", method, path, code, b)
	}
}

// wait polls until ok, and fails the test when that takes too long. It gives the
// time that it took.
func (c *controller) wait(limit time.Duration, what string, ok func() bool) time.Duration {
	c.t.Helper()
	from := time.Now()
	for !ok() {
		if time.Since(from) > limit {
			for _, b := range c.list("/v1/bindings") {
				c.t.Logf("binding %v", b)
			}
			for _, d := range c.list("/v1/demands") {
				c.t.Logf("demand %v", d)
			}
			c.t.Fatalf("after %s still not: %s\n%s", limit, what, c.log)
		}
		select {
		case <-c.done:
			c.t.Fatalf("mpbox ended: %v\n%s", c.err, c.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return time.Since(from)
}

// verified waits until so many bindings are there and all are verified.
func (c *controller) verified(limit time.Duration, n int) time.Duration {
	c.t.Helper()
	return c.wait(limit, fmt.Sprintf("%d bindings verified", n), func() bool {
		return len(c.list("/v1/bindings")) == n && len(c.list("/v1/bindings", "state", "verified")) == n
	})
}

// lsps gives the LSP of each binding by its id.
func (c *controller) lsps() map[string]string {
	out := map[string]string{}
	for _, b := range c.list("/v1/bindings") {
		out[b.str("id")] = b.str("lsp")
	}
	return out
}

// sets counts what the routers have been told, from their side: SNMP SETs and
// configuration lines.
func sets(t *testing.T, l *lab.Lab) (n int) {
	t.Helper()
	for i := range l.PEs {
		n += len(setLines(t, l, i))
	}
	return n
}

func setLines(t *testing.T, l *lab.Lab, pe int) (lines []string) {
	t.Helper()
	status, err := l.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(status.PEs[pe].EventLog)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines
}

// traffic keeps connections busy until the test ends.
func traffic(t *testing.T, l *lab.Lab, spec lab.TrafficSpec) *lab.Traffic {
	t.Helper()
	tr, err := l.StartTraffic(t.Context(), spec)
	if err != nil {
		t.Fatalf("traffic: %v", err)
	}
	t.Cleanup(func() { tr.Stop() })
	return tr
}

// rate is the most of up to four windows, until it is enough: other work on the machine
// only makes it less.
func rate(t *testing.T, tr *lab.Traffic, window time.Duration, enough float64) (most float64) {
	t.Helper()
	for range 4 {
		r, err := tr.Rate(t.Context(), window)
		if err != nil {
			t.Fatal(err)
		}
		if most = max(most, r); most >= enough {
			break
		}
	}
	return most
}

func itoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
