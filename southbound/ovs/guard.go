package ovs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/digitalocean/go-openvswitch/ovs"
	"go.uber.org/zap"
)

// guardCookie marks the guard's flows as mpbox's, generation 0: a controller takes
// them over (southbound/datapath's GuardCookie).
const guardCookie = 0x6d70<<48 | 1<<40

// Guard runs beside ovs-vswitchd. A restarted ovs-vswitchd has lost all flows, and a
// bridge in fail mode secure then forwards nothing: where no controller is
// connected that would put that right, the guard lays the port pairs that mpbox
// left in the bridge's external_ids. It adds no other flow, and none to a bridge
// that has flows.
type Guard struct {
	// DB is the database: unix:/path or tcp:host:port.
	DB string
	// RunDir is where ovs-vswitchd has the bridges' sockets (BRIDGE.mgmt); by
	// default the folder of DB's socket.
	RunDir string
	// Interval between looks; 0 means a second.
	Interval time.Duration
	Log      *zap.Logger
}

// Run guards until ctx ends, and returns nil then.
func (g Guard) Run(ctx context.Context) error {
	if g.Interval == 0 {
		g.Interval = time.Second
	}
	if g.Log == nil {
		g.Log = zap.NewNop()
	}
	tick := time.NewTicker(g.Interval)
	defer tick.Stop()
	last := ""
	for {
		restored, err := g.Once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		for _, r := range restored {
			g.Log.Warn("port pairs restored: ovs-vswitchd had no flows and no controller", zap.String("bridge", r.Bridge), zap.String("pairs", FormatPairs(r.Pairs)))
		}
		// A dead switch fails each second: one line is enough.
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != last {
			if last = text; err != nil {
				g.Log.Warn("cannot guard", zap.Error(err))
			} else {
				g.Log.Info("guarding again")
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Restored is a bridge whose port pairs the guard laid.
type Restored struct {
	Bridge string
	Pairs  []Pair
}

// Once looks once at each bridge, and returns those that it restored.
func (g Guard) Once(ctx context.Context) ([]Restored, error) {
	now, err := ReadState(ctx, g.DB)
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	var restored []Restored
	var first error
	note := func(err error) {
		if first == nil && err != nil {
			first = fmt.Errorf("guard: %w", err)
		}
	}
	for name, b := range now.Bridges {
		text, ok := b.ExternalIDs[pairsKey]
		if !ok || text == "" || slices.ContainsFunc(b.Controllers, func(c ControllerState) bool { return c.Connected }) {
			continue
		}
		pairs, err := ParsePairs(text)
		if err != nil {
			note(fmt.Errorf("bridge %s: %w", name, err))
			continue
		}
		did, err := g.restore(ctx, name, b, pairs)
		note(err)
		if did {
			restored = append(restored, Restored{name, pairs})
		}
	}
	return restored, first
}

// restore lays the pairs if the bridge has no flows.
func (g Guard) restore(ctx context.Context, name string, b BridgeState, pairs []Pair) (bool, error) {
	target := "unix:" + filepath.Join(g.runDir(), name+".mgmt")
	protocol := ovs.ProtocolOpenFlow13
	if len(b.Protocols) > 0 && !slices.Contains(b.Protocols, protocol) {
		protocol = b.Protocols[0]
	}
	c := client(ctx, g.DB, ovs.Protocols([]string{protocol}))
	flows, err := c.OpenFlow.DumpFlows(target)
	var failed *ovs.Error
	if errors.As(err, &failed) {
		return false, fmt.Errorf("read flows of bridge %s: %w (does ovs-vswitchd run?)", name, err)
	}
	if err != nil || len(flows) > 0 {
		return false, nil //nolint:nilerr // a flow that the module cannot read is a flow
	}
	err = c.OpenFlow.AddFlowBundle(target, func(tx *ovs.FlowTransaction) error {
		for _, p := range pairs {
			tx.Add(pairFlow(p.A, p.B, p.VLAN), pairFlow(p.B, p.A, p.VLAN))
		}
		return tx.Commit()
	})
	if err != nil {
		return false, fmt.Errorf("lay port pairs of bridge %s: %w", name, err)
	}
	return true, nil
}

func pairFlow(in, out uint32, vlan uint16) *ovs.Flow {
	f := &ovs.Flow{Cookie: guardCookie, Priority: 1, InPort: int(in), Actions: []ovs.Action{ovs.Output(int(out))}}
	if vlan != 0 {
		f.Matches = append(f.Matches, ovs.DataLinkVLAN(int(vlan)))
	}
	return f
}

// runDir is the folder of the bridges' management sockets.
func (g Guard) runDir() string {
	if g.RunDir != "" {
		return g.RunDir
	}
	if path, ok := strings.CutPrefix(g.DB, "unix:"); ok {
		return filepath.Dir(path)
	}
	if d := os.Getenv("OVS_RUNDIR"); d != "" {
		return d
	}
	return "/var/run/openvswitch"
}
