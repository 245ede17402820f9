package controller

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"mpbox/controller/config"
	"mpbox/southbound/datapath"
	"mpbox/southbound/ovs"
)

// bridges puts the configured bridges into the datapath's words.
func bridges(cfg *config.Config) []datapath.Bridge {
	var out []datapath.Bridge
	for _, b := range cfg.Bridges {
		o := datapath.Bridge{Name: b.Name, DPID: uint64(b.DPID)}
		for _, a := range b.Attachments {
			o.Attachments = append(o.Attachments, datapath.Attachment{Name: a.Name, CEPort: a.CEPort, PEPort: a.PEPort, VLAN: a.VLAN, PuntRate: uint32(a.PuntRate)})
		}
		out = append(out, o)
	}
	return out
}

// provisionRetry is how long to wait before asking the bridges' OVSDB again.
const provisionRetry = 5 * time.Second

// provision makes the bridges that mpbox has access to as they should be. One that
// cannot be reached is tried again, and holds up no other; one that is somebody
// else's too is left alone.
func (c *Controller) provision(ctx context.Context) {
	specs := map[string]ovs.Spec{}
	db := map[string]string{}
	for i, b := range bridges(c.cfg) {
		where := string(c.cfg.Bridges[i].OVSDB)
		if where == "" {
			where = string(c.cfg.OVSDB)
		}
		if where == "" {
			continue
		}
		spec := ovs.Spec{Name: b.Name, DPID: b.DPID, Controller: controllerTarget(&c.cfg.OpenFlow)}
		for _, p := range b.Pairs() {
			spec.Pairs = append(spec.Pairs, ovs.Pair{A: p.CEPort, B: p.PEPort, VLAN: p.VLAN})
		}
		specs[b.Name], db[b.Name] = spec, where
	}
	for len(specs) > 0 {
		for _, name := range sortedKeys(specs) {
			changes, err := ovs.Provision(ctx, db[name], specs[name])
			for _, ch := range changes {
				c.log.Info("bridge provisioned", zap.String("bridge", name), zap.Stringer("change", ch))
			}
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				c.log.Warn("bridge not provisioned", zap.String("bridge", name), zap.Error(err))
			}
			if err == nil || errors.Is(err, ovs.ErrForeign) {
				delete(specs, name)
			}
		}
		if len(specs) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(provisionRetry):
		}
	}
}

// controllerTarget is the address that bridges are told to connect to, as Open
// vSwitch writes it.
func controllerTarget(of *config.OpenFlow) string {
	network, address := of.Target().Network()
	if network == "tcp" && of.TLS != nil {
		network = "ssl"
	}
	return network + ":" + address
}
