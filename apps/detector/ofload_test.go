package detector

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// truth is what the load generator says that it sent.
type truth struct {
	Plain, MPTCPv0, MPTCPv1, Joins, BadJoins, BadHMACs, Closed, Rst, Subflows, ClosedSubflows, Msgs, Packets int
}

// recorded is a load as it arrived.
type recorded struct {
	Truth  truth
	Frames []Frame // Place: 2*switch for the CE side, 2*switch+1 for the PE side
	Places []Place
	chunk  []byte
}

// record runs the load generator of the shared benchmarks against a controller
// that only writes down what it is sent.
func record(t testing.TB, switches int, args ...string) *recorded {
	t.Helper()
	dir := os.Getenv("MPBOX_BENCH")
	if dir == "" {
		dir = "../../../shared/bench"
	}
	if _, err := os.Stat(filepath.Join(dir, "ofload")); err != nil {
		t.Skipf("no load generator in %s: set MPBOX_BENCH", dir)
	}
	bin := filepath.Join(t.TempDir(), "ofload")
	build := exec.Command("go", "build", "-o", bin, "./ofload")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build ofload: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := &recorded{}
	for i := range switches {
		_ = i
		r.Places = append(r.Places,
			Place{Name: "ce", Side: CE, Scope: "s"}, Place{Name: "pe", Side: PE, Scope: "s"})
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer c.Close()
				r.serve(&mu, c)
			}()
		}
	}()
	cmd := exec.Command(bin, append([]string{"-addr", l.Addr().String(), "-switches", itoa(switches), "-json", "-quiet", "200ms", "-settle", "0s"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("ofload: %v\n%s", err, errs.String())
	}
	wg.Wait()
	if err := json.Unmarshal(out.Bytes(), r); err != nil {
		t.Fatal(err)
	}
	if len(r.Frames) != r.Truth.Msgs {
		t.Fatalf("%d of %d messages arrived", len(r.Frames), r.Truth.Msgs)
	}
	return r
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

// serve speaks as much OpenFlow 1.3 as the generator needs.
func (r *recorded) serve(mu *sync.Mutex, c net.Conn) {
	buf := make([]byte, 0, 1<<18)
	in := make([]byte, 1<<18)
	place := PlaceID(0)
	for {
		n, err := c.Read(in)
		if err != nil {
			return
		}
		buf = append(buf, in[:n]...)
		mu.Lock()
		for len(buf) >= 8 {
			l := int(binary.BigEndian.Uint16(buf[2:]))
			if len(buf) < l {
				break
			}
			m := buf[:l]
			switch m[1] {
			case 0: // HELLO: answer, and ask for features
				write(c, []byte{4, 0, 0, 8, 0, 0, 0, 1, 4, 5, 0, 8, 0, 0, 0, 2})
			case 2: // ECHO
				reply := bytes.Clone(m)
				reply[1] = 3
				write(c, reply)
			case 6: // FEATURES
				place = PlaceID(binary.BigEndian.Uint64(m[8:])-1) * 2
			case 10: // PACKET_IN, its match an in_port
				port := binary.BigEndian.Uint32(m[32:])
				r.add(place+PlaceID(port)-1, m[42:])
			}
			buf = buf[l:]
		}
		mu.Unlock()
		buf = append(make([]byte, 0, 1<<18), buf...)
	}
}

// add keeps a frame, behind the one before it in memory.
func (r *recorded) add(place PlaceID, data []byte) {
	if cap(r.chunk)-len(r.chunk) < len(data) {
		r.chunk = make([]byte, 0, 16<<20)
	}
	n := len(r.chunk)
	r.chunk = append(r.chunk, data...)
	r.Frames = append(r.Frames, Frame{At: time.Now().UnixNano(), Place: place, Data: r.chunk[n:len(r.chunk):len(r.chunk)]})
}

func write(w io.Writer, b []byte) { _, _ = w.Write(b) }

func TestLoadTruth(t *testing.T) {
	for _, tc := range []struct {
		name     string
		switches int
		args     []string
	}{
		{"plain", 4, nil},
		{"one switch", 1, []string{"-third-ack"}},
		{"third ACK", 8, []string{"-third-ack", "-badjoin-ratio", "0.1", "-badhmac-ratio", "0.1", "-joins", "2"}},
		{"many", 200, []string{"-third-ack"}},
		{"single view", 8, []string{"-third-ack", "-single-view"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := record(t, tc.switches, append(tc.args, "-conns", "20000", "-life", "2000")...)
			tr := New(Config{Places: r.Places})
			tr.ObserveFrames(r.Frames)
			s := tr.Stats()
			want := r.Truth
			check := func(name string, got uint64, want int) {
				t.Helper()
				if got != uint64(want) {
					t.Errorf("%s: got %d, want %d", name, got, want)
				}
			}
			check("v0", s.Connections[0], want.MPTCPv0)
			check("v1", s.Connections[1], want.MPTCPv1)
			check("matched", s.JoinsMatched, want.Joins)
			check("orphaned", s.JoinsOrphaned, want.BadJoins)
			check("accepted", s.JoinsAccepted, want.Joins+want.BadJoins)
			check("malformed", s.Malformed, 0)
			if tc.args != nil {
				check("verified connections", s.ConnectionsVerified, want.MPTCPv0+want.MPTCPv1)
			}
			check("forged+verified of matched", s.JoinsForged+s.JoinsVerified, map[bool]int{true: want.Joins}[tc.args != nil])
			t.Logf("%+v", s)
		})
	}
}
