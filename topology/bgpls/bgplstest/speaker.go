// Package bgplstest is a router that tells its topology by BGP-LS, for tests.
package bgplstest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"

	"mpbox/topology"
)

const loopback = "127.0.0.1"

// Network is a connected network of n routers with every attribute that
// BGP-LS tells. Bandwidths are whole in bytes/s, as float32 holds them.
func Network(n int) *topology.TED {
	r := rand.New(rand.NewPCG(1, 2))
	b := &topology.Builder{}
	for i := range n {
		b.AddNode(topology.Node{Name: fmt.Sprintf("r%d", i), RouterID: netip.AddrFrom4([4]byte{10, 255, byte(i / 256), byte(i)})})
	}
	net := 0
	link := func(u, v int) {
		net++
		l := topology.Link{
			From: u, To: v, TEMetric: uint32(1 + r.IntN(1000)), IGPMetric: uint32(1 + r.IntN(100)),
			Delay: time.Duration(1+r.IntN(5000)) * time.Microsecond, AdminGroup: r.Uint32(),
			MaxBandwidth: 8 * 1.25e9, MaxReservable: 8 * 1e9,
		}
		if net%7 == 0 { // unnumbered
			l.LocalID, l.RemoteID = uint32(net), uint32(net+100000)
		} else {
			l.LocalAddr = netip.AddrFrom4([4]byte{10, byte(net / 64), byte(net % 64 * 4), 1})
			l.RemoteAddr = l.LocalAddr.Next()
		}
		for i := range l.Unreserved {
			l.Unreserved[i] = 8 * float64(1000*(8-i))
		}
		for range r.IntN(3) {
			l.SRLGs = append(l.SRLGs, uint32(r.IntN(50)))
		}
		back := l
		back.From, back.To = v, u
		back.LocalAddr, back.RemoteAddr, back.LocalID, back.RemoteID = l.RemoteAddr, l.LocalAddr, l.RemoteID, l.LocalID
		back.TEMetric = l.TEMetric + 1
		b.AddLink(l)
		b.AddLink(back)
	}
	for v := 1; v < n; v++ {
		link(r.IntN(v), v)
	}
	for range n {
		if u, v := r.IntN(n), r.IntN(n); u != v {
			link(u, v)
		}
	}
	ted, err := b.Build()
	if err != nil {
		panic(err)
	}
	return ted
}

func nodeDesc(ted *topology.TED, i int, kind bgp.LsTLVType) bgp.LsTLVInterface {
	d := bgp.NewLsTLVNodeDescriptor(&bgp.LsNodeDescriptor{Asn: 65001, BGPLsID: 7, IGPRouterID: ted.Nodes()[i].RouterID.String()}, kind)
	return &d
}

// Path is one that tells of an element with attributes.
func Path(nlri bgp.LsNLRIInterface, kind bgp.LsNLRIType, attr *bgp.LsAttribute) *apiutil.Path {
	tlvs := bgp.NewLsAttributeTLVs(attr)
	length := uint16(0)
	for _, tlv := range tlvs {
		length += uint16(tlv.Len())
	}
	hop, _ := bgp.NewPathAttributeNextHop(netip.MustParseAddr(loopback))
	return &apiutil.Path{
		Family: bgp.RF_LS,
		Nlri:   &bgp.LsAddrPrefix{Type: kind, NLRI: nlri},
		Attrs: []bgp.PathAttributeInterface{
			bgp.NewPathAttributeOrigin(0), hop,
			&bgp.PathAttributeLs{PathAttribute: bgp.PathAttribute{Flags: bgp.PathAttrFlags[bgp.BGP_ATTR_TYPE_LS], Type: bgp.BGP_ATTR_TYPE_LS, Length: length}, TLVs: tlvs},
		},
	}
}

// NodePath tells of a node of ted.
func NodePath(ted *topology.TED, i int) *apiutil.Path {
	n := ted.Nodes()[i]
	return Path(&bgp.LsNodeNLRI{
		LsNLRI:        bgp.LsNLRI{NLRIType: bgp.LS_NLRI_TYPE_NODE, ProtocolID: bgp.LS_PROTOCOL_OSPF_V2, Identifier: 3},
		LocalNodeDesc: nodeDesc(ted, i, bgp.LS_TLV_LOCAL_NODE_DESC),
	}, bgp.LS_NLRI_TYPE_NODE, &bgp.LsAttribute{Node: bgp.LsAttributeNode{Name: &n.Name, LocalRouterID: &n.RouterID}})
}

// LinkPath tells of one direction of a link of ted.
func LinkPath(ted *topology.TED, i int) *apiutil.Path {
	l := ted.Links()[i]
	d := &bgp.LsLinkDescriptor{}
	if l.LocalAddr.IsValid() {
		d.InterfaceAddrIPv4, d.NeighborAddrIPv4 = &l.LocalAddr, &l.RemoteAddr
	} else {
		d.LinkLocalID, d.LinkRemoteID = &l.LocalID, &l.RemoteID
	}
	bw, rsv := float32(l.MaxBandwidth/8), float32(l.MaxReservable/8)
	var free [8]float32
	for p := range free {
		free[p] = float32(l.Unreserved[p] / 8)
	}
	a := &bgp.LsAttribute{Link: bgp.LsAttributeLink{
		AdminGroup: &l.AdminGroup, DefaultTEMetric: &l.TEMetric, IGPMetric: &l.IGPMetric,
		UnidirectionalLinkDelay: &bgp.LsUnidirectionalLinkDelay{Delay: uint32(l.Delay.Microseconds())},
		Bandwidth:               &bw, ReservableBandwidth: &rsv, UnreservedBandwidth: &free,
	}}
	if len(l.SRLGs) > 0 {
		a.Link.Srlgs = &l.SRLGs
	}
	return Path(&bgp.LsLinkNLRI{
		LsNLRI:         bgp.LsNLRI{NLRIType: bgp.LS_NLRI_TYPE_LINK, ProtocolID: bgp.LS_PROTOCOL_OSPF_V2, Identifier: 3},
		LocalNodeDesc:  nodeDesc(ted, l.From, bgp.LS_TLV_LOCAL_NODE_DESC),
		RemoteNodeDesc: nodeDesc(ted, l.To, bgp.LS_TLV_REMOTE_NODE_DESC),
		LinkDesc:       bgp.NewLsLinkTLVs(d),
	}, bgp.LS_NLRI_TYPE_LINK, a)
}

// Speaker is a second GoBGP that tells a network. It is a process of its own: two
// GoBGP in one process race for its global variables.
type Speaker struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
}

// PasswordEnv has the password of TCP MD5 that a Speaker uses.
const PasswordEnv = "MPBOX_TEST_BGPLS_PASSWORD"

const speakerEnv = "MPBOX_TEST_BGPLS_SPEAKER"

// Main is what TestMain of a package that starts a Speaker calls.
func Main(m *testing.M) {
	if how := os.Getenv(speakerEnv); how != "" {
		port, eor, _ := strings.Cut(how, " ")
		speak(port, eor == "true")
		return
	}
	os.Exit(m.Run())
}

// Start connects a speaker of AS 65001 to a port of 127.0.0.1, where AS 65002 listens.
// It tells Network(100) but for some links.
// With eor it sends the end-of-RIB marker when it has told all.
func Start(t *testing.T, port uint16, eor bool, but ...int) *Speaker {
	t.Helper()
	s := &Speaker{t: t, cmd: exec.Command(os.Args[0])}
	s.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %v", speakerEnv, port, eor))
	s.cmd.Stdout, s.cmd.Stderr = os.Stderr, os.Stderr
	var err error
	if s.in, err = s.cmd.StdinPipe(); err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _, _ = s.cmd.Process.Wait() })
	s.Say("withdraw", but...)
	s.Say("connect")
	return s
}

// Say has the speaker "withdraw" or "add" links, by their index in the network.
func (s *Speaker) Say(what string, links ...int) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in, what, strings.Trim(fmt.Sprint(links), "[]")); err != nil {
		s.t.Fatal(err)
	}
}

// Stop ends the process as a router that reloads: the session is reset.
func (s *Speaker) Stop() {
	s.t.Helper()
	_ = s.in.Close()
	if err := s.cmd.Wait(); err != nil {
		s.t.Error(err)
	}
}

// speak is the speaker's process.
func speak(port string, eor bool) {
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "speaker:", err)
			os.Exit(1)
		}
	}
	remote, err := strconv.ParseUint(port, 10, 16)
	check(err)
	ted := Network(100)
	ctx := context.Background()
	s := server.NewBgpServer()
	go s.Serve()
	check(s.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{Asn: 65001, RouterId: "10.0.0.9", ListenPort: -1}}))
	var paths []*apiutil.Path
	for i := range ted.Nodes() {
		paths = append(paths, NodePath(ted, i))
	}
	for i := range ted.Links() {
		paths = append(paths, LinkPath(ted, i))
	}
	_, err = s.AddPath(apiutil.AddPathRequest{Paths: paths})
	check(err)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		f := strings.Fields(in.Text())
		var list []*apiutil.Path
		for _, arg := range f[1:] {
			i, err := strconv.Atoi(arg)
			check(err)
			list = append(list, LinkPath(ted, i))
		}
		switch {
		case f[0] == "connect":
			check(s.AddPeer(ctx, &api.AddPeerRequest{Peer: &api.Peer{
				Conf:      &api.PeerConf{NeighborAddress: loopback, PeerAsn: 65002, AuthPassword: os.Getenv(PasswordEnv)},
				Transport: &api.Transport{RemotePort: uint32(remote)},
				// It is what makes GoBGP send the marker.
				GracefulRestart: &api.GracefulRestart{Enabled: eor, RestartTime: 1},
				Timers:          &api.Timers{Config: &api.TimersConfig{ConnectRetry: 1, IdleHoldTimeAfterReset: 1}},
				AfiSafis: []*api.AfiSafi{{Config: &api.AfiSafiConfig{
					Family: &api.Family{Afi: api.Family_AFI_LS, Safi: api.Family_SAFI_LS}, Enabled: true}}},
			}}))
		case len(list) == 0:
		case f[0] == "withdraw":
			check(s.DeletePath(apiutil.DeletePathRequest{Paths: list}))
		case f[0] == "add":
			_, err := s.AddPath(apiutil.AddPathRequest{Paths: list})
			check(err)
		}
	}
	check(s.StopBgp(ctx, &api.StopBgpRequest{}))
}

// FreePort of 127.0.0.1, over TCP.
func FreePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}
