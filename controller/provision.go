package controller

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"mpbox/controller/api"
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

// provisionRetry is how long to wait before an OVSDB that did not answer is asked again,
// provisionAgain before a bridge that is somebody else's too, or that does not connect,
// is looked at again.
const (
	provisionRetry = 5 * time.Second
	provisionAgain = 30 * time.Second
)

// provisioner makes the bridges that mpbox has access to as they should be. One that
// cannot be reached is tried again, and holds up no other; one that is somebody
// else's too is left alone until it is not any more; one that was right and has lost
// its connection is looked at again. Its goroutine, run, owns the bridges.
type provisioner struct {
	bridges   []*provisioned
	provision func(ctx context.Context, db string, s ovs.Spec) ([]ovs.Change, error)
	datapaths func() []datapath.Status
	log       *zap.Logger

	mu       sync.Mutex
	problems map[uint64]*api.Problem // of the last look, by dpid
}

// provisioned is a bridge with its OVSDB.
type provisioned struct {
	spec ovs.Spec
	db   string
	done bool      // it was as it should be
	next time.Time // not to be looked at before
}

func newProvisioner(cfg *config.Config, r *datapath.Registry, log *zap.Logger) *provisioner {
	p := &provisioner{provision: ovs.Provision, datapaths: r.Snapshot, log: log, problems: map[uint64]*api.Problem{}}
	for i, b := range bridges(cfg) {
		where := cmp.Or(cfg.Bridges[i].OVSDB, cfg.OVSDB)
		if where == "" {
			continue
		}
		network, address := where.Network()
		spec := ovs.Spec{Name: b.Name, DPID: b.DPID, Controller: controllerTarget(&cfg.OpenFlow)}
		for _, pair := range b.Pairs() {
			spec.Pairs = append(spec.Pairs, ovs.Pair{A: pair.CEPort, B: pair.PEPort, VLAN: pair.VLAN})
		}
		p.bridges = append(p.bridges, &provisioned{spec: spec, db: network + ":" + address})
	}
	return p
}

// run provisions until ctx ends.
func (p *provisioner) run(ctx context.Context) {
	if len(p.bridges) == 0 {
		return
	}
	tick := time.NewTicker(provisionRetry)
	defer tick.Stop()
	for {
		p.look(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look provisions the bridges whose time has come.
func (p *provisioner) look(ctx context.Context, now time.Time) {
	lost := map[uint64]bool{}
	for _, s := range p.datapaths() {
		lost[s.DPID] = s.State == datapath.Disconnected && now.Sub(s.Since) >= provisionAgain
	}
	for _, b := range p.bridges {
		if now.Before(b.next) || b.done && !lost[b.spec.DPID] {
			continue
		}
		changes, err := p.provision(ctx, b.db, b.spec)
		for _, ch := range changes {
			p.log.Info("bridge provisioned", zap.String("bridge", b.spec.Name), zap.Stringer("change", ch))
		}
		if ctx.Err() != nil {
			return
		}
		b.done = err == nil
		if b.done || errors.Is(err, ovs.ErrForeign) {
			b.next = now.Add(provisionAgain)
		}
		p.note(b, err, now)
	}
}

// note keeps what is wrong with a bridge, and logs it once.
func (p *provisioner) note(b *provisioned, err error, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.problems[b.spec.DPID]
	switch {
	case err == nil:
		delete(p.problems, b.spec.DPID)
	case was == nil || was.Detail != err.Error():
		p.log.Warn("bridge not provisioned", zap.String("bridge", b.spec.Name), zap.Error(err))
		p.problems[b.spec.DPID] = &api.Problem{Step: "provision", Detail: err.Error(), At: now}
	}
}

// problem is what is wrong with a bridge; nil where nothing is, or nothing is known.
func (p *provisioner) problem(dpid uint64) *api.Problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.problems[dpid]
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
