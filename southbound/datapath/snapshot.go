package datapath

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"mpbox/southbound/openflow"
)

// Status is what there is to know of a datapath at one time, for people.
type Status struct {
	DPID  uint64
	Name  string
	State State
	// Reason says why the state is what it is; "" where there is nothing to say.
	Reason string
	Since  time.Time
	Remote string
	Ports  []openflow.Port
	// Intended flows should be there, Installed ones were taken by the switch;
	// Foreign ones are somebody else's in the tables of mpbox.
	Intended, Installed, Foreign int
	EdgeRules                    int
	Generation                   uint8
	// Metered: the switch limits punts, all or those of some attachments.
	Metered bool
	// Punts that were delivered, and by port.
	Punts       uint64
	PuntsByPort []PortPunts
	// Drops by reason: "malformed" and "early" packets, "meter" (punts that the
	// switch did not send; read every 30 s).
	Drops map[string]uint64
	// Errors of the switch or of requests, and the last of them.
	Errors    uint64
	LastError string
}

// DPIDString is how dpids are written.
func DPIDString(dpid uint64) string { return fmt.Sprintf("%016x", dpid) }

// Snapshot tells the state of all datapaths, and of those that were refused, by
// dpid.
func (r *Registry) Snapshot() []Status {
	r.mu.Lock()
	all := make([]*Datapath, 0, len(r.known))
	for _, d := range r.known {
		all = append(all, d)
	}
	out := make([]Status, 0, len(all)+len(r.refused))
	for dpid, f := range r.refused {
		if _, ok := r.known[dpid]; !ok {
			out = append(out, Status{DPID: dpid, Name: DPIDString(dpid), State: Refused, Reason: ErrUnknownDatapath.Error(),
				Since: f.last, Remote: f.remote, Errors: f.count})
		}
	}
	r.mu.Unlock()
	for _, d := range all {
		out = append(out, d.status())
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.DPID, b.DPID) })
	return out
}

func (d *Datapath) status() Status {
	d.mu.Lock()
	s := Status{
		DPID: d.bridge.DPID, Name: d.bridge.Name, State: d.state, Reason: d.reason, Since: d.since,
		Intended: d.intended, Installed: d.installed, Foreign: d.foreign, Generation: d.generation,
		Errors: d.errors, LastError: d.lastError,
	}
	stats, drops := d.past, d.meterDrops
	if d.conn != nil {
		s.Remote, s.Metered = d.conn.s.Remote(), d.metered && d.conn.synced.Load()
		stats = addStats(stats, d.conn.s.Stats())
	}
	for _, p := range d.ports {
		s.Ports = append(s.Ports, p)
	}
	d.mu.Unlock()
	slices.SortFunc(s.Ports, func(a, b openflow.Port) int { return cmp.Compare(a.No, b.No) })
	s.EdgeRules = d.edge.known()
	s.Punts, s.PuntsByPort = stats.Punts, d.punts.snapshot()
	s.Drops = map[string]uint64{"malformed": stats.Malformed, "early": stats.Early, "meter": drops}
	return s
}
