package detector

import (
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

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
	var r syscall.Rusage
	_ = syscall.Getrusage(1, &r) // RUSAGE_THREAD
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
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
