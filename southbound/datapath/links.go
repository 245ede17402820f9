package datapath

import (
	"context"

	"github.com/netrack/openflow/ofp"
	"go.uber.org/zap"

	"mpbox/southbound/openflow"
)

// A bump in the wire must not hide that the wire is broken: when one side of a
// port pair loses its link, the port on the other side is switched off, and
// switched on again when the link is back.

// linkMemory holds the ports that mpbox switched off.
type linkMemory map[uint32]bool

// A portChange switches a port off or on.
type portChange struct {
	port openflow.Port
	down bool
}

// linkChanges decides what to change, given the ports of a pair.
//
// A port that is off has no link of its own to look at, so only the other side
// decides: where that is well, the port is switched on. If both are off, somebody
// else has done that: they are left until one of them is switched on.
func linkChanges(a, b openflow.Port) []portChange {
	switch {
	case !a.LinkDown() && b.AdminDown():
		return []portChange{{b, false}}
	case !b.LinkDown() && a.AdminDown():
		return []portChange{{a, false}}
	case a.LinkDown() && !b.LinkDown():
		return []portChange{{b, true}}
	case b.LinkDown() && !a.LinkDown():
		return []portChange{{a, true}}
	}
	return nil
}

// showLinks carries link losses from one side of each pair to the other.
func (c *conn) showLinks(ctx context.Context) error {
	d := c.d
	if d.r.cfg.KeepLinks {
		return nil
	}
	var msgs []openflow.Message
	d.mu.Lock()
	for _, p := range d.bridge.Pairs() {
		a, okA := d.ports[p.CEPort]
		b, okB := d.ports[p.PEPort]
		if !okA || !okB || p.VLAN != 0 { // a trunk serves others too
			continue
		}
		for _, ch := range linkChanges(a, b) {
			if d.links == nil {
				d.links = linkMemory{}
			}
			if ch.down == d.links[ch.port.No] && ch.down {
				continue // asked for already
			}
			if ch.down {
				d.links[ch.port.No] = true
			} else {
				delete(d.links, ch.port.No)
			}
			d.log.Info("link state carried over", zap.Uint32("port", ch.port.No), zap.String("name", ch.port.Name), zap.Bool("down", ch.down))
			msgs = append(msgs, setPort(ch))
		}
	}
	d.mu.Unlock()
	if len(msgs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.r.cfg.RequestTimeout)
	defer cancel()
	return c.s.Commit(ctx, msgs...)
}

func setPort(ch portChange) openflow.Message {
	m := &ofp.PortMod{PortNo: ofp.PortNo(ch.port.No), HWAddr: ch.port.Addr, Mask: ofp.PortConfigDown}
	what := "port " + ch.port.Name + " on"
	if ch.down {
		m.Config, what = ofp.PortConfigDown, "port "+ch.port.Name+" off"
	}
	return openflow.PortMod(m, what)
}
