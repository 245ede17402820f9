package fabric

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// addFlows writes the lines of a flow file to a bridge as one atomic bundle; it
// returns when the switch has committed it.
func addFlows(ctx context.Context, mgmt string, lines []string) error {
	cmd := exec.CommandContext(ctx, "ovs-ofctl", "-O", "OpenFlow15", "--bundle", "add-flows", "unix:"+mgmt, "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("write flows to %s: %w: %s", mgmt, err, bytes.TrimSpace(out))
	}
	return nil
}

// dumpFlows reads the flows of a bridge that match.
func dumpFlows(ctx context.Context, mgmt, match string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "ovs-ofctl", "-O", "OpenFlow15", "dump-flows", "unix:"+mgmt, match).Output()
	if err != nil {
		return nil, fmt.Errorf("read flows of %s: %w", mgmt, err)
	}
	return strings.Split(string(out), "\n"), nil
}

// writePath writes a path's flows: all routers behind the ingress at once, as
// no packet comes there yet, then the ingress.
func (f *Fabric) writePath(ctx context.Context, p Path) error {
	routers, flows := f.pathFlows(p)
	errs := make([]error, len(routers))
	var wg sync.WaitGroup
	for i := 1; i < len(routers); i++ {
		wg.Go(func() { errs[i] = f.write(ctx, routers[i], flows[i]) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return f.write(ctx, routers[0], flows[0])
}

func (f *Fabric) write(ctx context.Context, router string, flows []flow) error {
	r, _ := f.node.Router(router)
	lines := make([]string, len(flows))
	for i, w := range flows {
		lines[i] = w.add()
	}
	return f.ofctl(ctx, r.Mgmt, lines)
}

// replay writes everything that should be there. Adding a flow that exists
// disturbs no packet.
func (f *Fabric) replay(ctx context.Context) error {
	byRouter := map[string][]flow{}
	var ingress []flow
	for _, id := range slices.Sorted(maps.Keys(f.paths)) {
		routers, flows := f.pathFlows(f.paths[id])
		ingress = append(ingress, flows[0]...)
		for i := 1; i < len(routers); i++ {
			byRouter[routers[i]] = append(byRouter[routers[i]], flows[i]...)
		}
	}
	for _, router := range slices.Sorted(maps.Keys(byRouter)) {
		if err := f.write(ctx, router, byRouter[router]); err != nil {
			return err
		}
	}
	r, _ := f.node.Router(f.node.Name)
	// Whatever was classified before goes in the same step in which what is to be
	// comes: entries may have other numbers than in an earlier process.
	own := []string{fmt.Sprintf("delete cookie=%#x/%#x,table=%s", f.owner<<48, cookieOwnerMask, tableClass)}
	for _, w := range slices.Concat(f.baseFlows(), ingress, f.ingressFlows(f.entries, f.ingress.Defaults)) {
		own = append(own, w.add())
	}
	return f.ofctl(ctx, r.Mgmt, own)
}

var (
	reCookie  = regexp.MustCompile(`cookie=(0x[0-9a-f]+)`)
	rePackets = regexp.MustCompile(`n_packets=(\d+), n_bytes=(\d+)`)
	reTable   = regexp.MustCompile(`table=(\d+)`)
)

func submatch(re *regexp.Regexp, line string, i int) uint64 {
	m := re.FindStringSubmatch(line)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseUint(m[i], 0, 64)
	return n
}

// sweep removes the flows of this PE's forgotten paths from all bridges.
func (f *Fabric) sweep(ctx context.Context) error {
	mine := fmt.Sprintf("cookie=%#x/%#x", f.owner<<48, cookieOwnerMask)
	for _, r := range f.node.Nodes {
		lines, err := f.dump(ctx, r.Mgmt, mine)
		if err != nil {
			return err
		}
		var stale []string
		for _, line := range lines {
			c := submatch(reCookie, line, 1)
			kind, id := c>>40&0xff, uint32(c)
			_, wantPath := f.paths[id]
			if kind == kindPath && !wantPath {
				stale = append(stale, fmt.Sprintf("delete cookie=%#x/-1", c))
			}
		}
		slices.Sort(stale)
		if stale = slices.Compact(stale); len(stale) > 0 {
			if err := f.ofctl(ctx, r.Mgmt, stale); err != nil {
				return err
			}
		}
	}
	return nil
}

// Counters reads what was forwarded by path and by entry.
func (f *Fabric) Counters(ctx context.Context) (Counters, error) {
	c := Counters{Paths: map[uint32]Counter{}, Entries: map[uint32]Counter{}}
	r, _ := f.node.Router(f.node.Name)
	lines, err := f.dump(ctx, r.Mgmt, fmt.Sprintf("cookie=%#x/%#x", f.owner<<48, cookieOwnerMask))
	if err != nil {
		return c, fmt.Errorf("read counters: %w", err)
	}
	for _, line := range lines {
		cookie := submatch(reCookie, line, 1)
		id, table := uint32(cookie), submatch(reTable, line, 1)
		packets, bytes := submatch(rePackets, line, 1), submatch(rePackets, line, 2)
		var m map[uint32]Counter
		switch kind := cookie >> 40 & 0xff; {
		case kind == kindPath && table == 3:
			m = c.Paths
		case kind == kindEntry:
			m = c.Entries
		default:
			continue
		}
		have := m[id]
		m[id] = Counter{have.Packets + packets, have.Bytes + bytes}
	}
	return c, nil
}
