package bgpls

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"mpbox/topology"
	"mpbox/topology/bgpls/bgplstest"
)

// bytesOf reads hexadecimal digits with comments.
func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(text) {
		code, _, _ := strings.Cut(line, "//")
		for f := range strings.FieldsSeq(code) {
			digits.WriteString(f)
		}
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A link from router 10.9.0.1 to 10.9.0.2 as RFC 9552 writes it.
const (
	linkNLRI = `
		0002 004d                     // type: link, length
		03 0000000000000003           // OSPFv2, instance 3
		0100 0010                     //   local node
		0200 0004 0000fde9            //     AS 65001
		0203 0004 0a090001            //     IGP router id 10.9.0.1
		0101 0010                     //   remote node
		0200 0004 0000fde9
		0203 0004 0a090002
		0102 0008 00000004 00000006   //   link ids 4, 6
		0103 0004 0a080101            //   interface 10.8.1.1
		0104 0004 0a080102            //   neighbour 10.8.1.2
	`
	linkAttr = `
		80 1d 5f                      // optional, BGP-LS, length
		0440 0004 00000005            // admin group
		0441 0004 4d9502f9            // max bandwidth 312,500,000 bytes/s
		0442 0004 4b189680            // reservable 10,000,000 bytes/s
		0443 0020 4a189680 4a189680 4a189680 4a189680 4a189680 4a189680 4a189680 00000000 // unreserved
		0444 0004 00000064            // TE metric 100
		0447 0003 00000a              // IGP metric 10, in 3 bytes
		0448 0008 00000007 00000003   // SRLGs 7, 3
		045a 0004 80 0005dc           // delay 1500 us, anomalous
	`
)

func goldenPath(t *testing.T) *apiutil.Path {
	t.Helper()
	nlri := bytesOf(t, linkNLRI)
	// An MP_REACH_NLRI (RFC 4760) around it: the only way into the decoder.
	reach := append([]byte{0x90, 14, 0, 0, 0x40, 0x04, 71, 4, 10, 0, 0, 9, 0}, nlri...)
	reach[2], reach[3] = byte((len(reach)-4)>>8), byte(len(reach)-4)
	attrs := append(reach, bytesOf(t, linkAttr)...)
	body := append([]byte{0, 0, byte(len(attrs) >> 8), byte(len(attrs))}, attrs...)
	update := &bgp.BGPUpdate{}
	if err := update.DecodeFromBytes(body); err != nil {
		t.Fatal(err)
	}
	p := &apiutil.Path{Family: bgp.RF_LS, Attrs: update.PathAttributes, PeerAddress: netip.MustParseAddr("10.0.0.9")}
	for _, a := range update.PathAttributes {
		if r, ok := a.(*bgp.PathAttributeMpReachNLRI); ok {
			p.Nlri = r.Value[0].NLRI
		}
	}
	return p
}

func TestGoldenLink(t *testing.T) {
	s := newStore()
	s.update(goldenPath(t))
	if len(s.links) != 1 {
		t.Fatalf("%d links", len(s.links))
	}
	for k, by := range s.links {
		l := first(by)
		want := topology.Link{
			LocalAddr: netip.MustParseAddr("10.8.1.1"), RemoteAddr: netip.MustParseAddr("10.8.1.2"), LocalID: 4, RemoteID: 6,
			TEMetric: 100, IGPMetric: 10, Delay: 1500 * time.Microsecond, MaxBandwidth: 2.5e9, MaxReservable: 8e7,
			Unreserved: [8]float64{2e7, 2e7, 2e7, 2e7, 2e7, 2e7, 2e7, 0}, AdminGroup: 5, SRLGs: []uint32{7, 3},
		}
		if fmt.Sprint(l) != fmt.Sprint(want) {
			t.Errorf("\n%+v\nwant\n%+v", l, want)
		}
		if k.from.router != "10.9.0.1" || k.to.router != "10.9.0.2" || k.from.as != 65001 || k.from.instance != 3 {
			t.Errorf("ends %+v", k)
		}
	}
}

// fake makes a path without the codec, for what is told by whom.
type fake struct {
	peer     string
	proto    bgp.LsProtocolID
	area     uint32
	withdraw bool
}

func (f fake) path(nlri bgp.LsNLRIInterface, kind bgp.LsNLRIType, attr *bgp.LsAttribute) *apiutil.Path {
	p := bgplstest.Path(nlri, kind, attr)
	p.PeerAddress, p.Withdrawal = netip.MustParseAddr(f.peer), f.withdraw
	return p
}

func (f fake) desc(id string, kind bgp.LsTLVType) bgp.LsTLVInterface {
	d := bgp.NewLsTLVNodeDescriptor(&bgp.LsNodeDescriptor{Asn: 1, OspfAreaID: f.area, IGPRouterID: id}, kind)
	return &d
}

func (f fake) node(id, name string) *apiutil.Path {
	a := &bgp.LsAttribute{}
	if name != "" {
		a.Node.Name = &name
	}
	return f.path(&bgp.LsNodeNLRI{LsNLRI: bgp.LsNLRI{NLRIType: bgp.LS_NLRI_TYPE_NODE, ProtocolID: f.proto},
		LocalNodeDesc: f.desc(id, bgp.LS_TLV_LOCAL_NODE_DESC)}, bgp.LS_NLRI_TYPE_NODE, a)
}

func (f fake) link(from, to, local, remote string, metric uint32) *apiutil.Path {
	d := &bgp.LsLinkDescriptor{}
	if a, err := netip.ParseAddr(local); err == nil {
		d.InterfaceAddrIPv4 = &a
	}
	if a, err := netip.ParseAddr(remote); err == nil {
		d.NeighborAddrIPv4 = &a
	}
	return f.path(&bgp.LsLinkNLRI{LsNLRI: bgp.LsNLRI{NLRIType: bgp.LS_NLRI_TYPE_LINK, ProtocolID: f.proto},
		LocalNodeDesc: f.desc(from, bgp.LS_TLV_LOCAL_NODE_DESC), RemoteNodeDesc: f.desc(to, bgp.LS_TLV_REMOTE_NODE_DESC),
		LinkDesc: bgp.NewLsLinkTLVs(d)}, bgp.LS_NLRI_TYPE_LINK, &bgp.LsAttribute{Link: bgp.LsAttributeLink{IGPMetric: &metric}})
}

func built(t *testing.T, s *store, names map[netip.Addr]string) (string, []string) {
	t.Helper()
	ted, notes, err := s.build(1, names)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, n := range ted.Nodes() {
		lines = append(lines, n.Name)
	}
	for _, l := range ted.Links() {
		line := fmt.Sprintf("%s>%s %d %v>%v", ted.Nodes()[l.From].Name, ted.Nodes()[l.To].Name, l.IGPMetric, l.LocalAddr, l.RemoteAddr)
		if len(l.SRLGs) > 0 {
			line += fmt.Sprintf(" srlg %#x", l.SRLGs[0]>>24)
		}
		if l.Down {
			line += " down"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"), notes
}

func TestTwoPeersAndTwoAreas(t *testing.T) {
	s := newStore()
	a := fake{peer: "192.0.2.1", proto: bgp.LS_PROTOCOL_OSPF_V2}
	b := fake{peer: "192.0.2.2", proto: bgp.LS_PROTOCOL_OSPF_V2}
	b1 := b
	b1.area = 1
	for _, p := range []*apiutil.Path{
		a.node("10.0.0.1", ""), a.node("10.0.0.2", "same"), a.node("10.0.0.3", "same"),
		b.node("10.0.0.1", ""), b1.node("10.0.0.1", ""), // a border router
		a.link("10.0.0.1", "10.0.0.2", "10.1.0.1", "10.1.0.2", 5), b.link("10.0.0.1", "10.0.0.2", "10.1.0.1", "10.1.0.2", 5),
		a.link("10.0.0.2", "10.0.0.1", "10.1.0.2", "10.1.0.1", 5),
		a.link("10.0.0.1", "10.0.0.9", "10.1.0.5", "10.1.0.6", 5), // nobody told of 10.0.0.9
	} {
		s.update(p)
	}
	got, notes := built(t, s, map[netip.Addr]string{netip.MustParseAddr("10.0.0.1"): "border"})
	want := "border\n10.0.0.2\n10.0.0.3\nborder>10.0.0.2 5 10.1.0.1>10.1.0.2\n10.0.0.2>border 5 10.1.0.2>10.1.0.1"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "10.0.0.9") {
		t.Errorf("notes %q", notes)
	}

	// One peer withdraws what the other still tells.
	a.withdraw = true
	s.update(a.link("10.0.0.1", "10.0.0.2", "10.1.0.1", "10.1.0.2", 5))
	s.update(a.node("10.0.0.1", ""))
	if again, _ := built(t, s, map[netip.Addr]string{netip.MustParseAddr("10.0.0.1"): "border"}); again != want {
		t.Errorf("after one peer withdrew:\n%s", again)
	}
	// The other is lost and comes back without it: the link's far side is alone.
	s.stale(netip.MustParseAddr(b.peer))
	s.update(b.node("10.0.0.1", ""))
	s.sweep(netip.MustParseAddr(b.peer))
	got, _ = built(t, s, nil)
	if !strings.HasSuffix(got, "10.0.0.2>10.0.0.1 5 10.1.0.2>10.1.0.1 down") || strings.Contains(got, "10.0.0.1>10.0.0.2") {
		t.Errorf("after the other came back:\n%s", got)
	}
}

// A link that only a lost peer told of, and that one whose session stands does not
// tell, is gone: of two peers of one network, the loss of one hides no failure.
func TestLostPeerHidesNoFailure(t *testing.T) {
	s := newStore()
	a := fake{peer: "192.0.2.1", proto: bgp.LS_PROTOCOL_OSPF_V2}
	b := fake{peer: "192.0.2.2", proto: bgp.LS_PROTOCOL_OSPF_V2}
	there := func(f fake) *apiutil.Path { return f.link("10.0.0.1", "10.0.0.2", "10.1.0.1", "10.1.0.2", 5) }
	back := func(f fake) *apiutil.Path { return f.link("10.0.0.2", "10.0.0.1", "10.1.0.2", "10.1.0.1", 5) }
	for _, f := range []fake{a, b} {
		for _, p := range []*apiutil.Path{f.node("10.0.0.1", ""), f.node("10.0.0.2", ""), there(f), back(f)} {
			s.update(p)
		}
		s.sweep(netip.MustParseAddr(f.peer))
	}
	s.update(a.node("10.0.0.3", "")) // of an area that only a tells
	s.update(a.link("10.0.0.2", "10.0.0.3", "10.1.0.5", "10.1.0.6", 5))
	links := func(want int) {
		t.Helper()
		if got, _ := built(t, s, nil); strings.Count(got, ">10.0") != want {
			t.Errorf("want %d links:\n%s", want, got)
		}
	}
	s.stale(netip.MustParseAddr(a.peer))
	links(3)
	b.withdraw = true
	s.update(there(b))
	links(2)
	s.stale(netip.MustParseAddr(b.peer)) // now nobody can tell
	links(3)
}

// Configured names win over what routers call themselves.
func TestConfiguredNamesWin(t *testing.T) {
	s := newStore()
	f := fake{peer: "192.0.2.1", proto: bgp.LS_PROTOCOL_OSPF_V2}
	for _, p := range []*apiutil.Path{f.node("10.0.0.1", "pe2"), f.node("10.0.0.2", "core-7.example.net"), f.node("10.0.0.3", "other"), f.node("0000.0000.0004", "pe4"), f.node("0000.0000.0005", "pe2")} {
		s.update(p)
	}
	id := netip.MustParseAddr
	got, notes := built(t, s, map[netip.Addr]string{id("10.0.0.2"): "pe2", id("10.0.0.4"): "pe4"})
	if want := "pe4\n0000.0000.0005\n10.0.0.1\npe2\nother"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "node 10.0.0.1: it calls itself pe2, which is the configured name of 10.0.0.2") {
		t.Errorf("notes %q", notes)
	}
}

func TestLAN(t *testing.T) {
	s := newStore()
	f := fake{peer: "192.0.2.1", proto: bgp.LS_PROTOCOL_ISIS_L2}
	const lan = "0000.0000.0001-02"
	ids := []string{"0000.0000.0001", "0000.0000.0002", "0000.0000.0003"}
	s.update(f.node(lan, ""))
	for i, id := range ids {
		s.update(f.node(id, fmt.Sprintf("r%d", i+1)))
		s.update(f.link(id, lan, fmt.Sprintf("10.1.0.%d", i+1), "", uint32(10+i)))
		if i < 2 { // the third has left: the pseudonode no longer names it
			s.update(f.link(lan, id, "", "", 0))
		}
	}
	got, notes := built(t, s, nil)
	want := strings.Join([]string{
		"r1", "r2", "r3",
		"r1>r2 10 10.1.0.1>10.1.0.2 srlg 0xff", "r1>r3 10 10.1.0.1>10.1.0.3 srlg 0xff down",
		"r2>r1 11 10.1.0.2>10.1.0.1 srlg 0xff", "r2>r3 11 10.1.0.2>10.1.0.3 srlg 0xff down",
		"r3>r1 12 10.1.0.3>10.1.0.1 srlg 0xff down", "r3>r2 12 10.1.0.3>10.1.0.2 srlg 0xff down",
	}, "\n")
	if got != want || len(notes) > 0 {
		t.Errorf("got\n%s\nwant\n%s\n%q", got, want, notes)
	}
}

func TestContradictionsAreLeftOut(t *testing.T) {
	s := newStore()
	f := fake{peer: "192.0.2.1", proto: bgp.LS_PROTOCOL_OSPF_V2}
	for _, p := range []*apiutil.Path{
		f.node("10.0.0.1", "a"), f.node("10.0.0.2", "b"), f.node("10.0.0.3", "c"),
		f.link("10.0.0.1", "10.0.0.2", "10.1.0.1", "10.1.0.2", 1), f.link("10.0.0.2", "10.0.0.1", "10.1.0.2", "10.1.0.1", 1),
		f.link("10.0.0.3", "10.0.0.2", "10.1.0.1", "10.1.0.9", 1), // 10.1.0.1 is a's
		f.link("10.0.0.2", "10.0.0.2", "10.1.0.7", "10.1.0.7", 1),
	} {
		s.update(p)
	}
	got, notes := built(t, s, nil)
	if !strings.Contains(got, "c>b 1 invalid IP>10.1.0.9 down") || len(notes) != 2 {
		t.Errorf("got\n%s\n%q", got, notes)
	}
	// Nothing that is not of a TED disturbs it.
	s.update(&apiutil.Path{})
	s.update(f.path(&bgp.LsNodeNLRI{}, bgp.LS_NLRI_TYPE_NODE, &bgp.LsAttribute{}))
	s.update(f.path(&bgp.LsLinkNLRI{}, bgp.LS_NLRI_TYPE_LINK, &bgp.LsAttribute{}))
	if again, _ := built(t, s, nil); again != got {
		t.Errorf("got\n%s", again)
	}
}
