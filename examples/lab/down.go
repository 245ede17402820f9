package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Open reads a lab that is up, or what is left of one.
func Open(name, runRoot string) (*Lab, error) {
	o := Options{Name: name, RunRoot: runRoot}
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	file := filepath.Join(o.RunRoot, o.Name, stateFile)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open lab %s: %w: no %s", o.Name, ErrNoLab, file)
	}
	if err != nil {
		return nil, fmt.Errorf("open lab %s: %w", o.Name, err)
	}
	l := &Lab{}
	if err := json.Unmarshal(b, l); err != nil {
		return nil, fmt.Errorf("open lab %s: read %s: %w", o.Name, file, err)
	}
	return l, nil
}

// ErrNoLab means that there is no lab of that name.
var ErrNoLab = errors.New("no such lab")

// Down takes a lab away: whatever runs in its namespaces, the namespaces, the
// run folder. It does not mind parts that are gone already.
func (l *Lab) Down(ctx context.Context, progress Progress) error {
	progress.say("taking lab %s down", l.Options.Name)
	return l.remove(ctx)
}

func (l *Lab) remove(ctx context.Context) error {
	var errs []error
	var inodes []uint64
	for _, ns := range l.namespaces() {
		var st unix.Stat_t
		if unix.Stat("/run/netns/"+ns, &st) == nil {
			inodes = append(inodes, st.Ino)
		}
	}
	if err := endProcesses(ctx, inodes); err != nil {
		errs = append(errs, err)
	}
	for _, ns := range l.namespaces() {
		if _, err := os.Stat("/run/netns/" + ns); err != nil {
			continue
		}
		if err := run(ctx, "ip", "netns", "del", ns); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		// Last: as long as it is there, the lab can be found.
		if err := os.RemoveAll(l.RunDir); err != nil {
			errs = append(errs, err)
		}
		_ = os.Remove(l.Options.RunRoot) // if it was the last one
	}
	if len(errs) > 0 {
		return fmt.Errorf("take lab %s down: %w", l.Options.Name, errors.Join(errs...))
	}
	return nil
}

// endProcesses ends every process that is in one of the network namespaces: first
// politely, after two seconds not.
func endProcesses(ctx context.Context, inodes []uint64) error {
	if len(inodes) == 0 {
		return nil
	}
	start := time.Now()
	for {
		pids := processesIn(inodes)
		if len(pids) == 0 {
			return nil
		}
		sig := unix.SIGTERM
		if time.Since(start) > 2*time.Second {
			sig = unix.SIGKILL
		}
		if time.Since(start) > 10*time.Second {
			return fmt.Errorf("processes %v do not end", pids)
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, sig)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// processesIn finds processes by their network namespace.
func processesIn(inodes []uint64) (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		target, err := os.Readlink(d + "/ns/net")
		if err != nil {
			continue
		}
		ino, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(target, "net:["), "]"), 10, 64)
		for _, want := range inodes {
			if pid, err := strconv.Atoi(filepath.Base(d)); err == nil && ino == want && pid != os.Getpid() {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
