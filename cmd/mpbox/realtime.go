package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// realTimePriority is above 1, at which a switch would run, and far below the kernel's
// own work.
const realTimePriority = 2

// realTime has the process, with the threads it starts later, run before all that is
// not real time (sched(7), SCHED_RR). It needs CAP_SYS_NICE. The kernel leaves 5 % of
// the time to others whatever happens (sched_rt_runtime_us).
func realTime() error {
	// A thread that starts meanwhile has a parent that was done or is in the next list.
	for range 2 {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("ask for real-time scheduling: %w", err)
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				return fmt.Errorf("ask for real-time scheduling: %w", err)
			}
			err = unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: realTimePriority}, 0)
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("ask for real-time scheduling: %w (run mpbox with CAP_SYS_NICE, or set tap.real_time to false)", err)
			}
		}
	}
	return nil
}
