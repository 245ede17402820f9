package bgpls

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
	"go.uber.org/goleak"

	"mpbox/topology"
)

const loopback = "127.0.0.1"

// sourceNetwork is a connected network of n routers with every attribute that
// BGP-LS tells. Bandwidths are whole in bytes/s, as float32 holds them.
func sourceNetwork(n int) *topology.TED {
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

func lsPath(nlri bgp.LsNLRIInterface, kind bgp.LsNLRIType, attr *bgp.LsAttribute) *apiutil.Path {
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

func nodePath(ted *topology.TED, i int) *apiutil.Path {
	n := ted.Nodes()[i]
	return lsPath(&bgp.LsNodeNLRI{
		LsNLRI:        bgp.LsNLRI{NLRIType: bgp.LS_NLRI_TYPE_NODE, ProtocolID: bgp.LS_PROTOCOL_OSPF_V2, Identifier: 3},
		LocalNodeDesc: nodeDesc(ted, i, bgp.LS_TLV_LOCAL_NODE_DESC),
	}, bgp.LS_NLRI_TYPE_NODE, &bgp.LsAttribute{Node: bgp.LsAttributeNode{Name: &n.Name, LocalRouterID: &n.RouterID}})
}

func linkPath(ted *topology.TED, i int) *apiutil.Path {
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
	return lsPath(&bgp.LsLinkNLRI{
		LsNLRI:         bgp.LsNLRI{NLRIType: bgp.LS_NLRI_TYPE_LINK, ProtocolID: bgp.LS_PROTOCOL_OSPF_V2, Identifier: 3},
		LocalNodeDesc:  nodeDesc(ted, l.From, bgp.LS_TLV_LOCAL_NODE_DESC),
		RemoteNodeDesc: nodeDesc(ted, l.To, bgp.LS_TLV_REMOTE_NODE_DESC),
		LinkDesc:       bgp.NewLsLinkTLVs(d),
	}, bgp.LS_NLRI_TYPE_LINK, a)
}

// speaker is a second GoBGP that tells a network. It is a process of its own: two
// GoBGP in one process race for its global variables.
type speaker struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
}

const speakerEnv = "MPBOX_TEST_BGPLS_SPEAKER"

func TestMain(m *testing.M) {
	if port := os.Getenv(speakerEnv); port != "" {
		speak(port)
		return
	}
	os.Exit(m.Run())
}

// startSpeaker tells the network of sourceNetwork but for some links.
func startSpeaker(t *testing.T, port uint16, but ...int) *speaker {
	t.Helper()
	s := &speaker{t: t, cmd: exec.Command(os.Args[0])}
	s.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", speakerEnv, port))
	s.cmd.Stdout, s.cmd.Stderr = os.Stderr, os.Stderr
	var err error
	if s.in, err = s.cmd.StdinPipe(); err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _, _ = s.cmd.Process.Wait() })
	s.say("withdraw", but...)
	s.say("connect")
	return s
}

func (s *speaker) say(what string, links ...int) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in, what, strings.Trim(fmt.Sprint(links), "[]")); err != nil {
		s.t.Fatal(err)
	}
}

// stop ends the process as a router that reloads: the session is reset.
func (s *speaker) stop() {
	s.t.Helper()
	_ = s.in.Close()
	if err := s.cmd.Wait(); err != nil {
		s.t.Error(err)
	}
}

// speak is the speaker's process.
func speak(port string) {
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "speaker:", err)
			os.Exit(1)
		}
	}
	remote, err := strconv.ParseUint(port, 10, 16)
	check(err)
	ted := sourceNetwork(100)
	ctx := context.Background()
	s := server.NewBgpServer()
	go s.Serve()
	check(s.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{Asn: 65001, RouterId: "10.0.0.9", ListenPort: -1}}))
	var paths []*apiutil.Path
	for i := range ted.Nodes() {
		paths = append(paths, nodePath(ted, i))
	}
	for i := range ted.Links() {
		paths = append(paths, linkPath(ted, i))
	}
	_, err = s.AddPath(apiutil.AddPathRequest{Paths: paths})
	check(err)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		f := strings.Fields(in.Text())
		var list []*apiutil.Path
		for _, arg := range f[1:] {
			i, err := strconv.Atoi(arg)
			check(err)
			list = append(list, linkPath(ted, i))
		}
		switch {
		case f[0] == "connect":
			check(s.AddPeer(ctx, &api.AddPeerRequest{Peer: &api.Peer{
				Conf:      &api.PeerConf{NeighborAddress: loopback, PeerAsn: 65002},
				Transport: &api.Transport{RemotePort: uint32(remote)},
				Timers:    &api.Timers{Config: &api.TimersConfig{ConnectRetry: 1, IdleHoldTimeAfterReset: 1}},
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

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// await waits until the listener's TED is as wanted, and tells how long it took.
func await(t *testing.T, l *Listener, limit time.Duration, what string, ok func(*topology.TED) bool) time.Duration {
	t.Helper()
	start := time.Now()
	timeout := time.After(limit)
	for {
		if ted := l.TED(); ted != nil && ok(ted) {
			return time.Since(start)
		}
		select {
		case <-l.Changed():
		case <-timeout:
			n := -1
			if ted := l.TED(); ted != nil {
				n = len(ted.Links())
			}
			t.Fatalf("%s: not after %v: %d links, %+v", what, limit, n, l.Status())
		}
	}
}

func awaitUp(t *testing.T, l *Listener, peer netip.Addr, up bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); l.Status().Up[peer] != up; {
		if time.Now().After(deadline) {
			t.Fatalf("up is not %v: %+v", up, l.Status())
		}
		select {
		case <-t.Context().Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestNetworkOfAHundredNodes(t *testing.T) {
	source := sourceNetwork(100)
	port := freePort(t)
	l, err := New(Config{
		AS: 65002, RouterID: netip.MustParseAddr("10.0.0.8"), Listen: netip.AddrPortFrom(netip.MustParseAddr(loopback), port),
		Peers: []Peer{{Address: netip.MustParseAddr(loopback), AS: 65001, Passive: true}}, Quiet: 400 * time.Millisecond,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	defer func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run does not end")
		}
	}()

	s := startSpeaker(t, port)
	await(t, l, 20*time.Second, "the whole network", func(ted *topology.TED) bool { return topology.Equal(source, ted) })
	peer := netip.MustParseAddr(loopback)
	awaitUp(t, l, peer, true)
	if st := l.Status(); len(st.Notes) > 0 || st.Nodes != 100 {
		t.Errorf("status %+v", st)
	}

	// A link goes down at both ends, and comes back. It must be a link of one whose
	// addresses tell it apart.
	lost, opposite := 0, source.Links()[0].Reverse
	s.say("withdraw", lost, opposite)
	took := await(t, l, time.Second, "link lost", func(ted *topology.TED) bool { return len(ted.Links()) == len(source.Links())-2 })
	t.Logf("a lost link was seen after %v", took)
	s.say("add", lost, opposite)
	took = await(t, l, time.Second, "link back", func(ted *topology.TED) bool { return topology.Equal(source, ted) })
	t.Logf("the link back was seen after %v", took)

	// A router dies: its neighbours withdraw, its own links stay told for a while.
	s.say("withdraw", lost)
	await(t, l, time.Second, "one direction lost", func(ted *topology.TED) bool {
		d := topology.Diff(source, ted)
		return len(d) == 2 && strings.Contains(strings.Join(d, "\n"), "down false -> true")
	})
	s.say("add", lost)
	await(t, l, time.Second, "both directions back", func(ted *topology.TED) bool { return topology.Equal(source, ted) })

	// The session is lost: nothing falls out of the TED.
	s.stop()
	awaitUp(t, l, peer, false)
	if !topology.Equal(source, l.TED()) {
		t.Errorf("without a session the TED is another: %v", topology.Diff(source, l.TED()))
	}

	// It is back, and the network is another: what is not told again goes.
	less := without(t, source, lost)
	startSpeaker(t, port, lost, opposite)
	await(t, l, 20*time.Second, "told again", func(ted *topology.TED) bool { return topology.Equal(less, ted) })
}

// without rebuilds a network without a link.
func without(t *testing.T, ted *topology.TED, link int) *topology.TED {
	t.Helper()
	b := &topology.Builder{}
	for _, n := range ted.Nodes() {
		b.AddNode(n)
	}
	for i, l := range ted.Links() {
		if i != link && i != ted.Links()[link].Reverse {
			b.AddLink(l)
		}
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestConfigRefused(t *testing.T) {
	good := Config{AS: 1, RouterID: netip.MustParseAddr("10.0.0.1"), Peers: []Peer{{Address: netip.MustParseAddr("10.0.0.2"), AS: 1}}}
	if _, err := New(good, nil); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"AS 0":      func(c *Config) { c.AS = 0 },
		"router id": func(c *Config) { c.RouterID = netip.MustParseAddr("::1") },
		"no peers":  func(c *Config) { c.Peers = nil },
		"AS number": func(c *Config) { c.Peers = []Peer{{Address: good.Peers[0].Address}} },
		"twice":     func(c *Config) { c.Peers = append(c.Peers, c.Peers[0]) },
		"passive":   func(c *Config) { c.Peers = []Peer{{Address: good.Peers[0].Address, AS: 1, Passive: true}} },
	} {
		c := good
		c.Peers = append([]Peer(nil), good.Peers...)
		change(&c)
		if _, err := New(c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestRunEndsAllItStarted(t *testing.T) {
	before := goleak.IgnoreCurrent()
	l, err := New(Config{
		AS: 65002, RouterID: netip.MustParseAddr("10.0.0.8"), Listen: netip.AddrPortFrom(netip.MustParseAddr(loopback), freePort(t)),
		Peers: []Peer{{Address: netip.MustParseAddr("127.0.0.77"), AS: 65001}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

func TestPortInUse(t *testing.T) {
	busy, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	l, err := New(Config{
		AS: 65002, RouterID: netip.MustParseAddr("10.0.0.8"), Listen: netip.MustParseAddrPort(busy.Addr().String()),
		Peers: []Peer{{Address: netip.MustParseAddr("127.0.0.77"), AS: 65001}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), busy.Addr().String()) {
		t.Errorf("a port in use: %v", err)
	}
}
