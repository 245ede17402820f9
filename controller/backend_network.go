package controller

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"mpbox/apps/tunnelmanager"
	"mpbox/controller/api"
	"mpbox/controller/config"
	"mpbox/pe-drivers/driver"
	"mpbox/southbound/datapath"
	"mpbox/topology"
)

// network answers what the API asks about switches, routers, LSPs and topology.
type network struct {
	cfg      *config.Config
	manager  *tunnelmanager.Manager
	registry *datapath.Registry
	bridges  *provisioner
	mirrors  []*mirror
	bgpls    *linkState
}

var _ api.NetworkReader = (*network)(nil)

func (n *network) Datapaths(context.Context) ([]api.Datapath, error) {
	bridges := map[uint64]*config.Bridge{}
	for i := range n.cfg.Bridges {
		bridges[uint64(n.cfg.Bridges[i].DPID)] = &n.cfg.Bridges[i]
	}
	var out []api.Datapath
	for _, s := range n.registry.Snapshot() {
		d := api.Datapath{
			DPID: datapath.DPIDString(s.DPID), Name: s.Name, Address: s.Remote, Since: s.Since, Flows: s.Installed,
			Connected: s.State.Connected(), Ready: s.State.InOrder(),
			Tap: api.Tap{ThirdACK: n.cfg.Tap.ThirdACK, Punts: s.Punts, Dropped: s.Drops["meter"] + s.Drops["early"] + s.Drops["malformed"],
				Rate: n.cfg.Tap.PuntRate, Metered: s.Metered},
		}
		d.Error = datapathProblem(&s, n.bridges.problem(s.DPID))
		if b := bridges[s.DPID]; b != nil {
			for i := range b.Attachments {
				d.Attachments = append(d.Attachments, attachmentView(&b.Attachments[i], &s))
			}
		}
		out = append(out, d)
	}
	return out, nil
}

// datapathProblem is what is wrong with a datapath. What kept it from being provisioned
// says more than how its last session ended, and less than what a session lacks.
func datapathProblem(s *datapath.Status, provision *api.Problem) *api.Problem {
	if s.Reason == "" || provision != nil && !s.State.Connected() {
		return provision
	}
	return &api.Problem{Step: s.State.String(), Detail: s.Reason, At: s.Since}
}

func (n *network) Mirrors(context.Context) ([]api.Mirror, error) {
	var out []api.Mirror
	for _, m := range n.mirrors {
		out = append(out, m.view())
	}
	return out, nil
}

func attachmentView(a *config.Attachment, s *datapath.Status) api.Attachment {
	v := api.Attachment{Name: a.Name, CEPort: a.CEPort, PEPort: a.PEPort, VLAN: a.VLAN, VPN: a.VPN, PE: a.PE, PEInterface: a.PEInterface}
	up := 0
	for _, p := range s.Ports {
		if (p.No == a.CEPort || p.No == a.PEPort) && !p.LinkDown() {
			up++
		}
	}
	v.Up = up == 2
	return v
}

func (n *network) PEs(context.Context) ([]api.PE, error) {
	view := n.manager.View()
	var out []api.PE
	for i := range n.cfg.PEs {
		c := &n.cfg.PEs[i]
		pe := api.PE{Name: c.Name, RouterID: addrText(c.RouterID), Driver: c.Driver, Steer: c.Steer}
		for j := range view.PEs {
			v := &view.PEs[j]
			if v.Name != c.Name {
				continue
			}
			pe.Reachable, pe.LastRead, pe.SetsSent = v.Reachable, v.LastRead, v.SetsSent
			pe.LSPs, pe.FTNs = len(v.State.LSPs), len(v.State.FTNs)
			for _, l := range v.State.LSPs {
				if owned(view.Owner, l.Name) {
					pe.Owned++
				}
			}
			for _, f := range v.State.FTNs {
				if owned(view.Owner, f.Name) {
					pe.Owned++
				}
			}
			pe.Error = problemOf(v.Err, v.ErrAt)
			if pe.Error == nil {
				pe.Error = problemOf(v.TEDErr, v.TEDAt)
			}
		}
		out = append(out, pe)
	}
	return out, nil
}

func owned(prefix, name string) bool { return len(name) > len(prefix) && name[:len(prefix)] == prefix }

// problemOf puts a driver's error into the API's words.
func problemOf(err error, at time.Time) *api.Problem {
	if err == nil {
		return nil
	}
	p := &api.Problem{Step: "read", Detail: err.Error(), At: at}
	var de *driver.Error
	if errors.As(err, &de) {
		p.Step, p.Detail, p.Remedy = de.Step, de.Kind.Error(), de.Remedy
		if de.Detail != "" {
			p.Detail += ": " + de.Detail
		}
		if de.Err != nil {
			p.Detail += ": " + de.Err.Error()
		}
	}
	return p
}

func (n *network) LSPs(_ context.Context, q api.Query) (api.Page[api.LSP], error) {
	view := n.manager.View()
	all := make([]api.LSP, 0, len(view.LSPs))
	for i := range view.LSPs {
		all = append(all, lspView(view, &view.LSPs[i]))
	}
	return api.Paginate(all, q, func(l api.LSP) string { return l.Name + "\x00" + l.Ingress }, func(l api.LSP) bool {
		return (q.State == "" || l.State == q.State) && (q.PE == "" || l.Ingress == q.PE || l.Egress == q.PE)
	}), nil
}

func lspView(view *tunnelmanager.View, l *tunnelmanager.LSPView) api.LSP {
	o := api.LSP{
		Name: l.Name, Ingress: l.Ingress, Egress: l.Egress, Owned: l.Owned, AdminUp: l.AdminUp, State: l.State, Reason: l.Reason,
		ERO: hopText(l.ERO), RRO: hopText(l.RRO), Bandwidth: l.Bandwidth, TunnelID: l.TunnelID,
		Priorities: []int{int(l.SetupPriority), int(l.HoldPriority)}, Bindings: l.Bindings, Demands: l.Demands,
	}
	if len(l.Links) > 0 {
		links, nodes := view.TED.Links(), view.TED.Nodes()
		o.Nodes = append(o.Nodes, nodes[links[l.Links[0]].From].Name)
		for _, i := range l.Links {
			o.Route = append(o.Route, links[i].Name)
			o.Nodes = append(o.Nodes, nodes[links[i].To].Name)
		}
	}
	return o
}

func hopText(hops []topology.Hop) []string {
	var out []string
	for _, h := range hops {
		out = append(out, h.Addr.String())
	}
	return out
}

func (n *network) Topology(context.Context) (api.Topology, error) {
	view := n.manager.View()
	t := api.Topology{At: view.TEDAt, Source: sourceName(view.TEDFrom)}
	if b := n.bgpls.status(); b != nil {
		t.Sources = append(t.Sources, api.Source{Name: bgplsName, At: b.Updated, Error: b.Error})
	}
	for i := range view.PEs {
		v := &view.PEs[i]
		if !v.TEDAt.IsZero() || v.TEDErr != nil {
			t.Sources = append(t.Sources, api.Source{Name: v.Name, At: v.TEDAt, Error: problemOf(v.TEDErr, v.TEDAt)})
		}
	}
	if n.cfg.Topology.File != "" {
		t.Sources = append(t.Sources, api.Source{Name: n.cfg.Topology.File})
	}
	if view.TED == nil {
		return t, nil
	}
	t.Version = view.TED.Version()
	pes := map[string]bool{}
	for _, pe := range n.cfg.PEs {
		pes[pe.Name] = true
	}
	nodes := view.TED.Nodes()
	for _, nd := range nodes {
		t.Nodes = append(t.Nodes, api.Node{Name: nd.Name, RouterID: addrText(nd.RouterID), PE: pes[nd.Name]})
	}
	users := map[int][]string{}
	for i := range view.LSPs {
		for _, l := range view.LSPs[i].Links {
			users[l] = append(users[l], view.LSPs[i].Name)
		}
	}
	for i, l := range view.TED.Links() {
		t.Links = append(t.Links, api.Link{
			Name: l.Name, From: nodes[l.From].Name, To: nodes[l.To].Name, Local: addrText(l.LocalAddr), Remote: addrText(l.RemoteAddr),
			TEMetric: l.TEMetric, IGPMetric: l.IGPMetric, Delay: api.Duration(l.Delay), MaxBandwidth: l.MaxBandwidth, Reservable: l.MaxReservable,
			Unreserved: l.Unreserved[7], AdminGroup: l.AdminGroup, SRLGs: l.SRLGs, Down: l.Down, LSPs: users[i],
		})
	}
	return t, nil
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
