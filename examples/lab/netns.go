package lab

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
)

// within runs f with the thread in a network namespace: sockets that f opens
// belong there for good.
func within(namespace string, f func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter namespace %s: %w", namespace, err)
	}
	defer func() { _ = home.Close() }()
	there, err := netns.GetFromName(namespace)
	if err == nil {
		err = netns.Set(there)
		_ = there.Close()
	}
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter namespace %s: %w", namespace, err)
	}
	err = f()
	if back := netns.Set(home); back != nil {
		// The thread stays locked and ends with its goroutine.
		return fmt.Errorf("leave namespace %s: %w", namespace, back)
	}
	runtime.UnlockOSThread()
	return err
}
