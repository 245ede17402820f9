package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mpbox/internal/itest"
)

// TestMain lets the test program be the lab's program, too: PE processes and the
// guard are started from it.
func TestMain(m *testing.M) {
	if len(os.Args) < 3 {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	var err error
	switch os.Args[1] + " " + os.Args[2] {
	case "lab pe":
		err = RunPE(ctx, os.Args[4])
	case "tap guard":
		<-ctx.Done()
	default:
		os.Exit(m.Run())
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func upOptions(t *testing.T) Options {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Name: labName(), RunRoot: t.TempDir(), Binary: exe}
}

// nothingLeft tells whether there is any trace of a lab.
func nothingLeft(t *testing.T, o Options) {
	t.Helper()
	if left, _ := filepath.Glob("/run/netns/" + o.Name + "-*"); len(left) > 0 {
		t.Errorf("namespaces are left: %v", left)
	}
	if _, err := os.Stat(filepath.Join(o.RunRoot, o.Name)); err == nil {
		t.Errorf("run folder is left")
	}
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), filepath.Join(o.RunRoot, o.Name)) {
			t.Errorf("process is left: %s", strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
}

func TestIntegrationTwoLabsSideBySide(t *testing.T) {
	itest.Need(t, Tools...)
	ctx := t.Context()
	var labs []*Lab
	for range 2 {
		o := upOptions(t)
		t.Cleanup(func() { nothingLeft(t, o) })
		l, err := Up(ctx, load(t, "dual-homed"), o, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Down(context.WithoutCancel(ctx), nil); err != nil {
				t.Error(err)
			}
		})
		labs = append(labs, l)
	}
	if _, err := Up(ctx, load(t, "two-path"), labs[0].Options, nil); err == nil || !strings.Contains(err.Error(), "lab down") {
		t.Errorf("a lab of the same name came up, or the error does not help: %v", err)
	}
	for _, l := range labs {
		// The lab that is read back is the one that was built.
		again, err := Open(l.Options.Name, l.Options.RunRoot)
		if err != nil {
			t.Fatal(err)
		}
		st, err := again.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range st.PEs {
			if p.Process.PID == 0 || p.SNMPD.PID == 0 {
				t.Errorf("%s of lab %s does not run", p.Name, st.Name)
			}
		}
		for _, k := range st.Links {
			if !k.Up {
				t.Errorf("link %s of lab %s is down", k.Name, st.Name)
			}
		}
		if len(st.Hosts) != 2 || len(st.Hosts[0].Interfaces) != 2 || st.OVS.VSwitchd.PID == 0 || st.OVS.OVSDB.PID == 0 || st.OVS.Guard.PID == 0 {
			t.Errorf("status of lab %s: %+v", st.Name, st.OVS)
		}
		tr, err := again.StartTraffic(ctx, TrafficSpec{})
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.WaitSubflows(ctx, 2, 30*time.Second); err != nil {
			t.Error(err)
		}
		if err := tr.Stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestIntegrationHalfDeadLabGoesDown(t *testing.T) {
	itest.Need(t, Tools...)
	ctx := t.Context()
	o := upOptions(t)
	l, err := Up(ctx, load(t, "two-path"), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	st, err := l.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{st.OVS.OVSDB.PID, st.PEs[0].Process.PID} {
		if pid == 0 {
			t.Fatalf("status %+v", st)
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	if err := run(ctx, "ip", "netns", "del", l.Host("client").Namespace); err != nil {
		t.Error(err)
	}
	again, err := Open(o.Name, o.RunRoot)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Down(ctx, nil); err != nil {
		t.Error(err)
	}
	nothingLeft(t, o)
	if _, err := Open(o.Name, o.RunRoot); !errors.Is(err, ErrNoLab) {
		t.Errorf("opened a lab that is gone: %v", err)
	}
}

func TestIntegrationInterruptedUpLeavesNothing(t *testing.T) {
	itest.Need(t, Tools...)
	// Ctrl-C at each step.
	for n := range len((&Lab{}).steps()) {
		o := upOptions(t)
		ctx, cancel := context.WithCancel(t.Context())
		count := 0
		_, err := Up(ctx, load(t, "two-path"), o, func(string) {
			if count == n {
				cancel()
			}
			count++
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted at step %d: %v", n, err)
		}
		nothingLeft(t, o)
	}
}
