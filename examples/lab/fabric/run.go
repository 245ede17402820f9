package fabric

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Run watches the core links and vswitchd, and finishes removals, until ctx
// ends. It returns an error only if it cannot watch links.
func (f *Fabric) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { f.finishRemovals(ctx) })
	wg.Go(func() { f.watchSwitch(ctx) })
	err := f.watchLinks(ctx)
	cancel()
	if ctx.Err() != nil && err == nil {
		return nil
	}
	return err
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// finishRemovals removes the downstream flows of drained paths.
func (f *Fabric) finishRemovals(ctx context.Context) {
	for {
		var r removal
		select {
		case <-ctx.Done():
			return
		case r = <-f.removals:
		}
		if !wait(ctx, time.Until(r.due)) {
			return
		}
		f.mu.Lock()
		if _, still := f.dying[r.path.ID]; still {
			routers, _ := f.pathFlows(r.path)
			for _, name := range routers {
				router, _ := f.node.Router(name)
				// What fails here is swept at the next start; vswitchd away means
				// that the flow is gone already.
				_ = f.ofctl(ctx, router.Mgmt, []string{f.deletePath(r.path.ID)})
			}
			delete(f.dying, r.path.ID)
		}
		f.mu.Unlock()
	}
}

// watchSwitch replays all flows when vswitchd has been restarted: it keeps a
// connection to its control socket, which ends with the process.
func (f *Fabric) watchSwitch(ctx context.Context) {
	var lost bool
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", f.node.VSwitchd)
		if err == nil && lost {
			f.mu.Lock()
			err = f.replay(ctx)
			f.mu.Unlock()
			if err != nil {
				_ = c.Close()
			}
		}
		if err != nil {
			if !wait(ctx, 100*time.Millisecond) {
				return
			}
			lost = true
			continue
		}
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		_, _ = io.Copy(io.Discard, c) // it never speaks first
		stop()
		_ = c.Close()
		if ctx.Err() != nil {
			return
		}
		lost = true
	}
}

// watchLinks keeps linkDown, from the kernel's link state in FabNamespace.
func (f *Fabric) watchLinks(ctx context.Context) error {
	path := "/run/netns/" + f.node.FabNamespace
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("watch links: %w", err)
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("watch links: open %s: %w", path, err)
	}
	defer func() { _ = ns.Close() }()
	up := map[string]bool{} // by netdev
	for {
		updates := make(chan netlink.LinkUpdate, 64)
		done := make(chan struct{})
		failed := make(chan struct{}, 1)
		err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{
			Namespace: &ns, ListExisting: true,
			ErrorCallback: func(error) {
				select {
				case failed <- struct{}{}:
				default:
				}
			},
		})
		if err != nil {
			close(done)
			return fmt.Errorf("watch links of %s: %w", f.node.FabNamespace, err)
		}
	loop:
		for {
			select {
			case <-ctx.Done():
				close(done)
				return nil
			case <-failed: // overrun: look at all links again
				break loop
			case u, ok := <-updates:
				if !ok {
					break loop
				}
				a := u.Attrs()
				up[a.Name] = u.Header.Type != rtmDelLink && a.RawFlags&iffLowerUp != 0 && a.RawFlags&iffUp != 0
				f.noteLinks(up)
			}
		}
		close(done)
		if !wait(ctx, 100*time.Millisecond) {
			return nil
		}
	}
}

const (
	rtmDelLink = 17 // linux/rtnetlink.h
	iffUp      = 0x1
	iffLowerUp = 0x10000 // carrier
)

func (f *Fabric) noteLinks(up map[string]bool) {
	isDown := func(dev string) bool { v, known := up[dev]; return known && !v }
	f.linkMu.Lock()
	changed := false
	for _, l := range f.node.Links {
		down := isDown(l.A.Netdev) || isDown(l.B.Netdev)
		if down != f.linkDown[l.Name] {
			f.linkDown[l.Name] = down
			changed = true
		}
	}
	f.linkMu.Unlock()
	if changed {
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}
}
