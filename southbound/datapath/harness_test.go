package datapath

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"go.uber.org/zap/zaptest"

	"mpbox/southbound/openflow"
	"mpbox/southbound/ovs/ovstest"
)

// recorder is a Handler that keeps what it is told.
type recorder struct {
	mu     sync.Mutex
	punts  []punted
	ends   []End
	states []State
}

type punted struct {
	dpid   uint64
	port   uint32
	cookie uint64
	frame  []byte
}

func (r *recorder) Punts(s *openflow.Session, _ int64, batch []openflow.Punt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range batch {
		r.punts = append(r.punts, punted{s.DPID(), p.InPort, p.Cookie, slices.Clone(p.Frame)})
	}
}

func (r *recorder) EdgeRuleEnded(_ uint64, e End) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends = append(r.ends, e)
}

func (r *recorder) StateChanged(_ uint64, _ string, s State, _ string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states = append(r.states, s)
}

func (r *recorder) take() []punted {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.punts
	r.punts = nil
	return p
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.punts)
}

// controller is a registry behind a listener.
type controller struct {
	*Registry
	rec  *recorder
	stop func()
}

func startController(t *testing.T, addr string, cfg Config) *controller {
	t.Helper()
	c := &controller{rec: &recorder{}}
	cfg.Handler, cfg.Log = c.rec, zaptest.NewLogger(t)
	r, err := NewRegistry(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.Registry = r
	c.stop = serve(t, addr, r)
	return c
}

// serve accepts switches for a registry until the returned function is called, or
// the test ends.
func serve(t *testing.T, addr string, r *Registry) (stop func()) {
	t.Helper()
	l, err := openflow.Listen(addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- openflow.NewServer(openflow.Config{}, r.log, r.Open).Serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (c *controller) status(dpid uint64) Status {
	for _, s := range c.Snapshot() {
		if s.DPID == dpid {
			return s
		}
	}
	return Status{}
}

func waitReady(s *ovstest.Switch, c *controller, dpid uint64) {
	s.Until("datapath ready", func() bool { return c.status(dpid).State == Ready })
}

// tcpFrame describes a frame for tests.
type tcpFrame struct {
	src, dst netip.AddrPort
	flags    uint16
	tos      uint8
	vlan     []uint16
	payload  int
	seq, ack uint32
}

var (
	macA = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	macB = net.HardwareAddr{2, 0, 0, 0, 0, 2}
)

func (f tcpFrame) bytes() []byte {
	eth := &layers.Ethernet{SrcMAC: macA, DstMAC: macB}
	ls := []gopacket.SerializableLayer{eth}
	next := &eth.EthernetType
	for i, v := range f.vlan {
		*next = layers.EthernetTypeDot1Q
		if i == 0 && len(f.vlan) == 2 {
			*next = layers.EthernetTypeQinQ
		}
		q := &layers.Dot1Q{VLANIdentifier: v}
		ls, next = append(ls, q), &q.Type
	}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(f.src.Port()), DstPort: layers.TCPPort(f.dst.Port()), Window: 65535, Seq: f.seq, Ack: f.ack,
		SYN: f.flags&FlagSYN != 0, ACK: f.flags&FlagACK != 0, FIN: f.flags&FlagFIN != 0, RST: f.flags&FlagRST != 0}
	if f.src.Addr().Is4() {
		*next = layers.EthernetTypeIPv4
		ip := &layers.IPv4{Version: 4, IHL: 5, TTL: 64, TOS: f.tos, Protocol: layers.IPProtocolTCP,
			SrcIP: f.src.Addr().AsSlice(), DstIP: f.dst.Addr().AsSlice()}
		_ = tcp.SetNetworkLayerForChecksum(ip)
		ls = append(ls, ip)
	} else {
		*next = layers.EthernetTypeIPv6
		ip := &layers.IPv6{Version: 6, HopLimit: 64, TrafficClass: f.tos, NextHeader: layers.IPProtocolTCP,
			SrcIP: f.src.Addr().AsSlice(), DstIP: f.dst.Addr().AsSlice()}
		_ = tcp.SetNetworkLayerForChecksum(ip)
		ls = append(ls, ip)
	}
	ls = append(ls, tcp, gopacket.Payload(make([]byte, f.payload)))
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
		panic(err)
	}
	out := slices.Clone(b.Bytes())
	for len(out) < 60 {
		out = append(out, 0)
	}
	return out
}
