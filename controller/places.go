package controller

import (
	"encoding/binary"
	"fmt"

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
}

// attachment is an attachment with where it is.
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
	p := &places{byDatapath: map[uint64]portPlaces{}, attachments: map[string]attachment{}, scopeOf: map[string]string{}}
	for _, v := range cfg.VPNs {
		p.scopeOf[v.Name] = v.Scope
	}
	for _, b := range cfg.Bridges {
		dpid := uint64(b.DPID)
		p.byDatapath[dpid] = portPlaces{}
		for _, a := range b.Attachments {
			p.attachments[a.Name] = attachment{a, dpid}
			var tags [2]uint16
			copy(tags[:], a.VLAN)
			p.add(dpid, a.CEPort, tags, detector.Place{Name: a.Name + "/ce", Attachment: a.Name, Side: detector.CE, Scope: p.scope(a.VPN), VPN: a.VPN, PE: a.PE})
			p.add(dpid, a.PEPort, tags, detector.Place{Name: a.Name + "/pe", Attachment: a.Name, Side: detector.PE, Scope: p.scope(a.VPN), VPN: a.VPN, PE: a.PE})
		}
	}
	return p
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

func (p *places) add(dpid uint64, port uint32, tags [2]uint16, pl detector.Place) {
	id := detector.PlaceID(len(p.list))
	p.list = append(p.list, pl)
	p.byDatapath[dpid].set(port, tags, id)
}

func (m portPlaces) set(port uint32, tags [2]uint16, id detector.PlaceID) {
	pp := m[port]
	if pp == nil {
		pp = &portPlace{untagged: detector.NoPlace}
		m[port] = pp
	}
	if tags == [2]uint16{} {
		pp.untagged = id
		return
	}
	if pp.tagged == nil {
		pp.tagged = map[[2]uint16]detector.PlaceID{}
	}
	pp.tagged[tags] = id
}

// of gives the place of a frame that came in at the port.
func (p *portPlace) of(frame []byte) detector.PlaceID {
	if p == nil {
		return detector.NoPlace
	}
	if p.tagged == nil {
		return p.untagged
	}
	tags := vlanTags(frame)
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
		out = append(out, tunnelmanager.Attachment{Name: a.Name, VPN: a.VPN, PE: a.PE, Interface: a.PEInterface, Prefixes: a.Prefixes})
	}
	return out
}
