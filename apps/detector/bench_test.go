package detector

import (
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mpbox/southbound/packet"
)

func envInt(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return def
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// cpuTime is what this thread has used: other work on the machine counts less.
func cpuTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

// BenchmarkReplay sends what the load generator of the shared benchmarks makes
// through packet view and Tracker: MPBOX_BENCH_CONNS connections, several rounds,
// each way in turn. It reports the CPU time per message of the packet view alone,
// of Observe and of ObserveFrames, and the memory.
func BenchmarkReplay(b *testing.B) {
	conns := envInt("MPBOX_BENCH_CONNS", 100_000)
	switches := envInt("MPBOX_BENCH_SWITCHES", 16)
	for _, tc := range []struct {
		name string
		args []string
	}{
		{"default", nil},
		{"third-ack", []string{"-third-ack"}},
		{"mptcp-only", []string{"-plain-ratio", "0", "-fin-ratio", "0"}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			r := record(b, switches, append(tc.args, "-conns", strconv.Itoa(conns))...)
			defer debug.SetGCPercent(debug.SetGCPercent(-1)) // the recording is full of pointers, mpbox is not
			times := map[string][]float64{}
			measure := func(name string, f func()) {
				runtime.GC()
				start := cpuTime()
				f()
				times[name] = append(times[name], float64(cpuTime()-start)/float64(len(r.Frames)))
			}
			before := liveHeap()
			var t *Tracker
			for b.Loop() {
				measure("view", func() {
					var v packet.View
					for i := range r.Frames {
						v.Parse(r.Frames[i].Data)
					}
				})
				t = nil
				measure("single", func() {
					t = New(Config{Places: r.Places})
					var v packet.View
					for i := range r.Frames {
						f := &r.Frames[i]
						v.Parse(f.Data)
						t.Observe(f.At, f.Place, &v)
					}
				})
				t = nil
				measure("batch", func() {
					t = New(Config{Places: r.Places})
					for i := 0; i < len(r.Frames); i += 1024 {
						t.ObserveFrames(r.Frames[i:min(i+1024, len(r.Frames))])
					}
				})
			}
			after := liveHeap()
			s := t.Stats()
			for name, v := range times {
				slices.Sort(v)
				b.ReportMetric(v[len(v)/2], name+"-ns/msg")
			}
			b.ReportMetric(float64(after-before)/float64(s.Live+s.Closed+s.HalfOpen+s.OrphansAsked+s.OrphansAnswered), "B/subflow")
			b.ReportMetric(0, "ns/op")
			runtime.KeepAlive(r)
		})
	}
}

// BenchmarkScale shows how the time of a message depends on how much is tracked:
// new connections of two subflows, and ends of random old ones, at a constant
// number of subflows. MPBOX_BENCH_SUBFLOWS sets the largest number. It reports the
// longest time that a batch of 256 took while the tables grew.
func BenchmarkScale(b *testing.B) {
	for _, n := range []int{10_000, 400_000, envInt("MPBOX_BENCH_SUBFLOWS", 1_000_000)} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			defer debug.SetGCPercent(debug.SetGCPercent(50))
			g := gen{edges: 16, now: time.Now().UnixNano()}
			before := liveHeap()
			t := New(Config{Places: genPlaces(g.edges)})
			var longest time.Duration
			feed := func(frames []Frame) {
				for i := 0; i < len(frames); i += 256 {
					start := cpuTime()
					t.ObserveFrames(frames[i:min(i+256, len(frames))])
					longest = max(longest, cpuTime()-start)
				}
			}
			for i := range n / 2 {
				g.handshake(i, 0, false)
				g.handshake(i, 1, false)
				if len(g.out) > 10_000 {
					feed(g.take())
				}
			}
			feed(g.take())
			after := liveHeap()
			s := t.Stats()
			if s.Live != n/2*2 {
				b.Fatalf("%d subflows live, want %d", s.Live, n)
			}
			old := shuffled(n / 2)
			next := n / 2
			var took time.Duration
			msgs := 0
			const round = 2000
			for b.Loop() {
				for k := range round {
					g.handshake(next+k, 0, false)
					g.handshake(next+k, 1, false)
					g.fin(old[k%len(old)], 0)
					g.fin(old[k%len(old)], 1)
				}
				next += round
				old = old[min(round, len(old)-1):]
				frames := g.take()
				msgs += len(frames)
				t.Expire(g.now)
				start := cpuTime()
				t.ObserveFrames(frames)
				took += cpuTime() - start
			}
			b.ReportMetric(float64(took)/float64(msgs), "ns/msg")
			b.ReportMetric(float64(after-before)/float64(n), "B/subflow")
			b.ReportMetric(float64(longest.Microseconds()), "longest-us/256msg")
			b.ReportMetric(0, "ns/op")
		})
	}
}
