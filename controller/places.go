package controller

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"mpbox/apps/detector"
	"mpbox/apps/tunnelmanager"
	"mpbox/controller/config"
)

// places knows where a packet came by: from datapath, port and VLAN tags to the
// detector's place, and from an attachment's name to what is behind it.
type places struct {
	list       []detector.Place
	byDatapath map[uint64]portPlaces
	// attachments by name, for the tunnel manager and the edge.
	attachments map[string]attachment
	scopeOf     map[string]string // by VPN
	// prefixes of all attachments by scope, the longest first.
	prefixes map[string][]attachedPrefix
}

type attachedPrefix struct {
	netip.Prefix
	attachment string
}

// attachment is an attachment with where it is; dpid is 0 for one that no bridge
// stands at, only a mirror.
type attachment struct {
	config.Attachment
	dpid uint64
}

// portPlaces are the places of one datapath by port.
type portPlaces map[uint32]*portPlace

// portPlace is the place of a port's untagged packets, and those of tagged ones.
type portPlace struct {
	untagged detector.PlaceID
	tagged   map[[2]uint16]detector.PlaceID // outer, inner (0 for none)
}

func newPlaces(cfg *config.Config) *places {
	p := &places{byDatapath: map[uint64]portPlaces{}, attachments: map[string]attachment{}, scopeOf: map[string]string{}, prefixes: map[string][]attachedPrefix{}}
	for _, v := range cfg.VPNs {
		p.scopeOf[v.Name] = v.Scope
	}
	for _, b := range cfg.Bridges {
		dpid := uint64(b.DPID)
		p.byDatapath[dpid] = portPlaces{}
		for _, a := range b.Attachments {
			ce, pe := p.attach(a, dpid)
			var tags [2]uint16
			copy(tags[:], a.VLAN)
			p.byDatapath[dpid].set(a.CEPort, tags, ce)
			p.byDatapath[dpid].set(a.PEPort, tags, pe)
		}
	}
	for i := range cfg.Mirrors {
		for j := range cfg.Mirrors[i].Attachments {
			if a := &cfg.Mirrors[i].Attachments[j]; a.Described() {
				p.attach(a.Attachment(), 0)
			}
		}
	}
	for _, list := range p.prefixes {
		slices.SortStableFunc(list, func(a, b attachedPrefix) int { return cmp.Compare(b.Bits(), a.Bits()) })
	}
	return p
}

// attach makes an attachment known, and the places of its two sides.
func (p *places) attach(a config.Attachment, dpid uint64) (ce, pe detector.PlaceID) {
	p.attachments[a.Name] = attachment{a, dpid}
	scope := p.scope(a.VPN)
	for _, pre := range a.Prefixes {
		p.prefixes[scope] = append(p.prefixes[scope], attachedPrefix{pre, a.Name})
	}
	ce, pe = p.add(a, "ce", detector.CE), p.add(a, "pe", detector.PE)
	return ce, pe
}

func (p *places) add(a config.Attachment, what string, side detector.Side) detector.PlaceID {
	p.list = append(p.list, detector.Place{Name: a.Name + "/" + what, Attachment: a.Name, Side: side, Scope: p.scope(a.VPN), VPN: a.VPN, PE: a.PE})
	return detector.PlaceID(len(p.list) - 1)
}

// peSide gives the PE-facing port of the attachment of which id is the CE's side, and
// the place itself.
func (p *places) peSide(id detector.PlaceID) (pl detector.Place, at edgePort, ok bool) {
	if id == detector.NoPlace || p.list[id].Side != detector.CE {
		return pl, at, false
	}
	pl = p.list[id]
	a := p.attachments[pl.Attachment]
	at = edgePort{dpid: a.dpid, port: a.PEPort}
	copy(at.vlan[:], a.VLAN)
	return pl, at, true
}

func (p *places) scope(vpn string) string {
	if s := p.scopeOf[vpn]; s != "" {
		return s
	}
	return vpn
}

func (m portPlaces) set(port uint32, tags [2]uint16, id detector.PlaceID) {
	if m[port] == nil {
		m[port] = newPortPlace()
	}
	m[port].set(tags, id)
}

func newPortPlace() *portPlace { return &portPlace{untagged: detector.NoPlace} }

func (p *portPlace) set(tags [2]uint16, id detector.PlaceID) {
	if tags == [2]uint16{} {
		p.untagged = id
		return
	}
	if p.tagged == nil {
		p.tagged = map[[2]uint16]detector.PlaceID{}
	}
	p.tagged[tags] = id
}

// of gives the place of a frame that came in at the port.
func (p *portPlace) of(frame []byte) detector.PlaceID {
	if p == nil {
		return detector.NoPlace
	}
	if p.tagged == nil {
		return p.untagged
	}
	return p.by(vlanTags(frame))
}

// by gives the place of a frame with these tags.
func (p *portPlace) by(tags [2]uint16) detector.PlaceID {
	if tags == [2]uint16{} {
		return p.untagged
	}
	if id, ok := p.tagged[tags]; ok {
		return id
	}
	if id, ok := p.tagged[[2]uint16{tags[0]}]; ok {
		return id
	}
	return p.untagged
}

// vlanTags reads the VLAN ids of a frame, outer first; 0 for none (IEEE 802.1Q,
// 802.1ad).
func vlanTags(frame []byte) (tags [2]uint16) {
	for i, at := 0, 12; i < 2 && len(frame) >= at+4; i, at = i+1, at+4 {
		switch binary.BigEndian.Uint16(frame[at:]) {
		case 0x8100, 0x88a8, 0x9100:
			tags[i] = binary.BigEndian.Uint16(frame[at+2:]) & 0xfff
		default:
			return tags
		}
	}
	return tags
}

// observed makes the places of a datapath that the configuration does not name.
func (p *places) observed(t *detector.Tracker, dpid uint64, o config.Observe) portPlaces {
	name := fmt.Sprintf("%016x", dpid)
	m := portPlaces{}
	for port, side := range map[uint32]detector.Side{o.CEPort: detector.CE, o.PEPort: detector.PE} {
		m.set(port, [2]uint16{}, t.AddPlace(detector.Place{
			Name: name + "/" + map[detector.Side]string{detector.CE: "ce", detector.PE: "pe"}[side], Attachment: name, Side: side, Scope: p.scope(o.VPN), VPN: o.VPN,
		}))
	}
	return m
}

// managerAttachments gives the attachments in the tunnel manager's words.
func (p *places) managerAttachments() []tunnelmanager.Attachment {
	var out []tunnelmanager.Attachment
	for _, name := range sortedKeys(p.attachments) {
		a := p.attachments[name]
		out = append(out, tunnelmanager.Attachment{Name: a.Name, VPN: a.VPN, PE: a.PE, Interface: a.PEInterface, Prefixes: a.Prefixes, NoBridge: a.dpid == 0})
	}
	return out
}
