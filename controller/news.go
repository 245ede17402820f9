package controller

import (
	"maps"
	"slices"
	"strings"
	"time"

	"mpbox/apps/detector"
	"mpbox/apps/tunnelmanager"
	"mpbox/apps/tunnelmanager/threshold"
	"mpbox/controller/api"
)

// publishNotice tells subscribers of what the tunnel manager did.
func (c *Controller) publishNotice(n tunnelmanager.Notice) {
	if !c.broker.Wanted() {
		return
	}
	switch {
	case n.Change != nil:
		v := changeView(n.Change)
		c.broker.Publish(api.Event{Type: "change", Action: "added", Subject: n.Change.Subject, PE: v.PE, VPN: v.VPN, State: v.Result, Data: v})
	case n.Binding != nil:
		v := c.reader.binding(n.Binding)
		c.broker.Publish(api.Event{Type: "binding", Action: "changed", Subject: v.ID, PE: v.PE, VPN: v.VPN, State: v.State, Data: v})
	case n.Plan != nil:
		v := planView(c.manager.View(), n.Plan)
		c.broker.Publish(api.Event{Type: "plan", Action: "changed", Subject: v.ID, State: v.State, Data: v})
	case n.Views != nil:
		c.publishViews(n.Views.Before, n.Views.Now)
	}
}

// connectionName is what tells a connection's end once it is gone.
type connectionName struct{ id, vpn string }

// publishFlow tells subscribers of what the detector found; conn is nil once it is
// closed. It remembers who was told of, asked for or not, until that one is gone:
// a subscriber may have read it from the list. The flows' goroutine alone calls it.
func (c *Controller) publishFlow(e detector.Event, conn *detector.Connection) {
	if e.Kind == detector.EventsLost {
		c.forgetGone()
		c.broker.Publish(api.Event{Type: "lost", Action: "changed"})
		return
	}
	name, named := c.told[e.Connection]
	if e.Kind == detector.EventConnectionGone {
		if named {
			delete(c.told, e.Connection)
			c.broker.Publish(api.Event{Type: "connection", Action: "removed", Subject: name.id, VPN: name.vpn, State: "closed", At: time.Unix(0, e.At)})
		}
		return
	}
	if e.Connection == 0 || named && !c.broker.Wanted() {
		return
	}
	if conn == nil {
		c.tap.mu.Lock()
		closed, ok := c.tap.tracker.Connection(e.Connection)
		c.tap.mu.Unlock()
		if !ok {
			return // what is to be told comes with its EventConnectionGone
		}
		conn = &closed
	}
	c.told[e.Connection] = connectionName{connectionID(conn), conn.VPN}
	if !c.broker.Wanted() {
		return
	}
	view := c.manager.View()
	v := c.reader.connection(view, conn)
	o := api.Event{Type: "connection", Action: "changed", Subject: v.ID, VPN: v.VPN, State: v.State, Data: v, At: time.Unix(0, e.At)}
	if e.Kind == detector.EventConnectionNew {
		o.Action = "added"
	}
	c.publishSubflow(view, e, conn)
	c.broker.Publish(o)
}

// forgetGone makes up for ends that were lost.
func (c *Controller) forgetGone() {
	c.tap.mu.Lock()
	defer c.tap.mu.Unlock()
	maps.DeleteFunc(c.told, func(id detector.ConnID, _ connectionName) bool {
		_, ok := c.tap.tracker.Connection(id)
		return !ok
	})
}

// publishSubflow tells of the one subflow that an event of the detector is about.
func (c *Controller) publishSubflow(view *tunnelmanager.View, e detector.Event, conn *detector.Connection) {
	i := slices.IndexFunc(conn.Subflows, func(s detector.Subflow) bool { return s.ID == e.Subflow })
	if e.Subflow == 0 || i < 0 {
		return
	}
	o := api.Event{Type: "subflow", Action: "changed", At: time.Unix(0, e.At)}
	if e.Kind == detector.EventSubflowNew {
		o.Action = "added"
	}
	v := c.reader.subflow(view, conn, &conn.Subflows[i])
	o.Subject, o.VPN, o.State, o.Data = v.ID, v.VPN, v.State, v
	c.broker.Publish(o)
}

// publishViews tells subscribers of what the tunnel manager did not say by itself:
// what differs from one snapshot to the next. Reasons alone are not told: some have
// the time in them.
func (c *Controller) publishViews(before, now *tunnelmanager.View) {
	if before.Mode != now.Mode {
		c.broker.Publish(api.Event{Type: "mode", Action: "changed", Subject: string(now.Mode), Data: api.Mode{Mode: string(now.Mode)}})
	}
	if before.Limits != now.Limits || len(threshold.DiffRules(before.Rules, now.Rules)) > 0 {
		c.broker.Publish(api.Event{Type: "threshold", Action: "changed", Subject: "thresholds", Data: thresholdsView(now)})
	}
	if before.TED != now.TED {
		c.broker.Publish(api.Event{Type: "topology", Action: "changed", Subject: "topology"})
	}
	compare(before.PEs, now.PEs, func(a, b *tunnelmanager.PEView) int { return strings.Compare(a.Name, b.Name) }, samePE, func(action string, p *tunnelmanager.PEView) {
		state := "unreachable"
		if p.Reachable {
			state = "reachable"
		}
		c.broker.Publish(api.Event{Type: "pe", Action: action, Subject: p.Name, PE: p.Name, State: state})
	})
	compare(before.LSPs, now.LSPs, func(a, b *tunnelmanager.LSPView) int { return a.Key().Compare(b.Key()) }, sameLSP, func(action string, l *tunnelmanager.LSPView) {
		o := api.Event{Type: "lsp", Action: action, Subject: l.Name, PE: l.Ingress, State: l.State}
		if action != "removed" {
			o.Data = lspView(now, l)
		}
		c.broker.Publish(o)
	})
	compare(before.Demands, now.Demands, func(a, b *tunnelmanager.Demand) int { return strings.Compare(a.ID, b.ID) }, sameDemand, func(action string, d *tunnelmanager.Demand) {
		o := api.Event{Type: "demand", Action: action, Subject: d.ID, VPN: d.VPN, State: d.State}
		if action != "removed" {
			o.Data = demandView(now, d)
		}
		c.broker.Publish(o)
	})
}

func samePE(a, b *tunnelmanager.PEView) bool {
	return a.Reachable == b.Reachable && a.Read == b.Read && errorText(a.Err) == errorText(b.Err) && errorText(a.TEDErr) == errorText(b.TEDErr)
}

func sameLSP(a, b *tunnelmanager.LSPView) bool {
	return a.State == b.State && a.Reason == b.Reason && a.Bindings == b.Bindings && a.Bandwidth == b.Bandwidth && a.AdminUp == b.AdminUp &&
		slices.Equal(a.ERO, b.ERO) && slices.Equal(a.RRO, b.RRO)
}

func sameDemand(a, b *tunnelmanager.Demand) bool {
	return a.State == b.State && a.Connections == b.Connections && a.Achieved == b.Achieved && a.Limits == b.Limits &&
		slices.Equal(a.Assignment.Forward, b.Assignment.Forward) && slices.Equal(a.Assignment.Reverse, b.Assignment.Reverse)
}

// compare tells what was added to, changed in and removed from a sorted list.
func compare[T any](before, now []T, order func(a, b *T) int, same func(a, b *T) bool, tell func(action string, x *T)) {
	for i, j := 0, 0; i < len(before) || j < len(now); {
		where := 0
		switch {
		case i == len(before):
			where = 1
		case j == len(now):
			where = -1
		default:
			where = order(&before[i], &now[j])
		}
		switch {
		case where < 0:
			tell("removed", &before[i])
			i++
		case where > 0:
			tell("added", &now[j])
			j++
		default:
			if !same(&before[i], &now[j]) {
				tell("changed", &now[j])
			}
			i, j = i+1, j+1
		}
	}
}
