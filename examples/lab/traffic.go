package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Direction is the way that data flows, seen from the client, which opens the
// connections.
type Direction string

// Upload is from the client to the server, Download the other way.
const (
	Upload   Direction = "upload"
	Download Direction = "download"
)

// TrafficSpec is a load of MPTCP connections between two hosts.
type TrafficSpec struct {
	// Client and Server are hosts; the demo's by default.
	Client, Server string
	IPv6           bool
	// Direction is Upload by default.
	Direction Direction
	// Connections is 1 by default.
	Connections int
	// Port is the server's port; 0 takes a free one.
	Port uint16
	// PlainTCP takes TCP instead of MPTCP.
	PlainTCP bool
}

// Tuple is one subflow, as seen from the client.
type Tuple struct {
	Client netip.AddrPort `json:"client"`
	Server netip.AddrPort `json:"server"`
}

// ConnResult is what one connection did.
type ConnResult struct {
	Bytes uint64  `json:"bytes"`
	BPS   float64 `json:"bps"`
	// Token is the server's token (RFC 8684, section 3.2), 8 hex digits.
	Token    string  `json:"token,omitempty"`
	Subflows []Tuple `json:"subflows"`
}

// TrafficResult is the goodput at the receiving application.
type TrafficResult struct {
	Direction   Direction     `json:"direction"`
	BPS         float64       `json:"bps"`
	Window      time.Duration `json:"window_ns"`
	Connections []ConnResult  `json:"connections"`
}

// ErrFallback means that a connection is not MPTCP, although it should be.
var ErrFallback = errors.New("connection fell back to plain TCP")

// Traffic is a load that runs.
type Traffic struct {
	spec     TrafficSpec
	client   *Host
	server   *Host
	listener net.Listener
	wg       sync.WaitGroup
	cancel   context.CancelFunc

	mu     sync.Mutex
	conns  []*trafficConn
	err    error
	closed bool
}

type trafficConn struct {
	client, server *net.TCPConn
	received       atomic.Uint64
}

// StartTraffic opens the connections and keeps them busy until Stop, or until
// ctx ends. It returns when all are open.
func (l *Lab) StartTraffic(ctx context.Context, spec TrafficSpec) (*Traffic, error) {
	if spec.Client == "" {
		spec.Client = l.Net.Lab.Client
	}
	if spec.Server == "" {
		spec.Server = l.Net.Lab.Server
	}
	if spec.Direction == "" {
		spec.Direction = Upload
	}
	spec.Connections = max(spec.Connections, 1)
	client, server := l.Host(spec.Client), l.Host(spec.Server)
	if client == nil || server == nil {
		return nil, OptionError{fmt.Sprintf("traffic from %q to %q: no such host", spec.Client, spec.Server)}
	}
	hurry()
	ctx, cancel := context.WithCancel(ctx)
	t := &Traffic{spec: spec, client: client, server: server, cancel: cancel}
	if err := t.listen(ctx, server); err != nil {
		cancel()
		return nil, err
	}
	for range spec.Connections {
		if err := t.open(ctx, client); err != nil {
			return nil, errors.Join(err, t.Stop())
		}
	}
	context.AfterFunc(ctx, t.close)
	return t, nil
}

// hurry lets this process go before others, as the switch does: what is measured
// is the network, not the machine's other load. Where it may not, it does not.
func hurry() {
	tasks, _ := filepath.Glob("/proc/self/task/*")
	for _, task := range tasks {
		if tid, err := strconv.Atoi(filepath.Base(task)); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, -10)
		}
	}
}

// cubic sets the congestion control of a socket: a machine's default may be one
// that does not share a bottleneck as expected. A namespace cannot set it.
func cubic(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
	}); e != nil {
		return e
	}
	if err != nil {
		return fmt.Errorf("set congestion control cubic: %w", err)
	}
	return nil
}

// sendBuffer is enough for the network to be busy while the sending process waits
// for a CPU.
const sendBuffer = 1 << 20

func (t *Traffic) listen(ctx context.Context, server *Host) error {
	addr := netip.AddrPortFrom(server.Addr(!t.spec.IPv6), t.spec.Port)
	err := within(server.Namespace, func() error {
		lc := net.ListenConfig{Control: cubic}
		lc.SetMultipathTCP(!t.spec.PlainTCP)
		var err error
		t.listener, err = lc.Listen(ctx, "tcp", addr.String())
		return err
	})
	if err != nil {
		return fmt.Errorf("start traffic server on %s: %w", server.Name, err)
	}
	return nil
}

// open makes one connection and starts both its ends.
func (t *Traffic) open(ctx context.Context, client *Host) error {
	accepted := make(chan net.Conn, 1)
	failed := make(chan error, 1)
	go func() {
		c, err := t.listener.Accept()
		if err != nil {
			failed <- err
			return
		}
		accepted <- c
	}()
	var cc net.Conn
	err := within(client.Namespace, func() error {
		d := net.Dialer{Timeout: 10 * time.Second, Control: cubic}
		d.SetMultipathTCP(!t.spec.PlainTCP)
		var err error
		cc, err = d.DialContext(ctx, "tcp", t.listener.Addr().String())
		return err
	})
	if err != nil {
		return fmt.Errorf("open traffic connection from %s: %w", client.Name, err)
	}
	var sc net.Conn
	select {
	case sc = <-accepted:
	case err := <-failed:
		_ = cc.Close()
		return fmt.Errorf("open traffic connection from %s: %w", client.Name, err)
	case <-ctx.Done():
		_ = cc.Close()
		return ctx.Err()
	}
	c := &trafficConn{client: cc.(*net.TCPConn), server: sc.(*net.TCPConn)}
	if raw, err := c.server.SyscallConn(); err == nil {
		_ = cubic("", "", raw) // joins take it from the connection
	}
	if err := c.greet(); err != nil {
		_, _ = c.client.Close(), c.server.Close()
		return fmt.Errorf("open traffic connection from %s: %w", client.Name, err)
	}
	from, to := c.client, c.server
	if t.spec.Direction == Download {
		from, to = to, from
	}
	_ = from.SetWriteBuffer(sendBuffer)
	t.mu.Lock()
	t.conns = append(t.conns, c)
	t.mu.Unlock()
	t.wg.Go(func() { t.send(from) })
	t.wg.Go(func() { t.receive(c, to) })
	return nil
}

// greet passes a byte each way before the load begins. A server that is busy
// sending when the client's joins arrive may not have noticed yet that its
// connection is fully established (RFC 8684, section 3.1), and Linux then refuses
// them for good.
func (c *trafficConn) greet() error {
	end := time.Now().Add(10 * time.Second)
	b := []byte{0}
	for _, way := range []struct{ from, to *net.TCPConn }{{c.client, c.server}, {c.server, c.client}} {
		if err := errors.Join(way.from.SetDeadline(end), way.to.SetDeadline(end)); err != nil {
			return err
		}
		if _, err := way.from.Write(b); err != nil {
			return err
		}
		if _, err := io.ReadFull(way.to, b); err != nil {
			return err
		}
	}
	return errors.Join(c.client.SetDeadline(time.Time{}), c.server.SetDeadline(time.Time{}))
}

func (t *Traffic) send(c *net.TCPConn) {
	buf := make([]byte, 64<<10)
	for {
		if _, err := c.Write(buf); err != nil {
			t.note(err)
			return
		}
	}
}

func (t *Traffic) receive(tc *trafficConn, c *net.TCPConn) {
	buf := make([]byte, 256<<10)
	for {
		n, err := c.Read(buf)
		tc.received.Add(uint64(n))
		if err != nil {
			t.note(err)
			return
		}
	}
}

func (t *Traffic) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil && !t.closed && !errors.Is(err, io.EOF) {
		t.err = err
	}
}

// AddConnection opens one more connection.
func (l *Lab) AddConnection(ctx context.Context, t *Traffic) error {
	return t.open(ctx, l.Host(t.spec.Client))
}

// Bytes gives what the receivers have got so far.
func (t *Traffic) Bytes() (n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.conns {
		n += c.received.Load()
	}
	return n
}

// Rate measures the goodput of all connections over a time, in bit/s.
func (t *Traffic) Rate(ctx context.Context, window time.Duration) (float64, error) {
	start, before := time.Now(), t.Bytes()
	if !sleep(ctx, window) {
		return 0, ctx.Err()
	}
	bits := float64(t.Bytes()-before) * 8
	return bits / time.Since(start).Seconds(), t.failed()
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (t *Traffic) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return fmt.Errorf("traffic %s to %s: %w", t.spec.Client, t.spec.Server, t.err)
	}
	return nil
}

// Subflows gives the subflows of each connection that are open now.
func (t *Traffic) Subflows() ([]ConnResult, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var rs []ConnResult
	for _, c := range t.conns {
		r := ConnResult{Bytes: c.received.Load()}
		if !t.spec.PlainTCP {
			info, err := mptcpInfo(c.server)
			if err != nil {
				return nil, err
			}
			r.Token = fmt.Sprintf("%08x", info.token)
			if r.Subflows, err = subflowTuples(c.client); err != nil {
				return nil, err
			}
		}
		rs = append(rs, r)
	}
	return rs, nil
}

// WaitSubflows waits until each connection has that many subflows.
func (t *Traffic) WaitSubflows(ctx context.Context, n int, limit time.Duration) error {
	err := poll(ctx, limit, func() error {
		conns, err := t.Subflows()
		if err != nil {
			return err
		}
		for _, c := range conns {
			if len(c.Subflows) != n {
				return fmt.Errorf("connection %s has %d subflows, want %d", c.Token, len(c.Subflows), n)
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w (%s: %s; %s: %s)", err, t.client.Name, t.client.mptcpCounters(ctx), t.server.Name, t.server.mptcpCounters(ctx))
	}
	return err
}

// mptcpCounters gives what the kernel counted about joins on a host.
func (h *Host) mptcpCounters(ctx context.Context) string {
	line := inNamespace(h.Namespace, "nstat", "-as")
	out, err := runIn(ctx, "", line[0], line[1:]...)
	if err != nil {
		return err.Error()
	}
	var found []string
	for row := range strings.Lines(out) {
		if f := strings.Fields(row); len(f) > 1 && strings.HasPrefix(f[0], "MPTcpExtMPJoin") {
			found = append(found, strings.TrimPrefix(f[0], "MPTcpExt")+"="+f[1])
		}
	}
	return strings.Join(found, " ")
}

// Measure gives the goodput over a window.
func (t *Traffic) Measure(ctx context.Context, window time.Duration) (TrafficResult, error) {
	before, err := t.Subflows()
	if err != nil {
		return TrafficResult{}, err
	}
	start := time.Now()
	if !sleep(ctx, window) {
		return TrafficResult{}, ctx.Err()
	}
	took := time.Since(start)
	after, err := t.Subflows()
	if err != nil {
		return TrafficResult{}, err
	}
	r := TrafficResult{Direction: t.spec.Direction, Window: took, Connections: after}
	for i := range before {
		c := &r.Connections[i]
		c.Bytes -= before[i].Bytes
		c.BPS = float64(c.Bytes) * 8 / took.Seconds()
		r.BPS += c.BPS
	}
	return r, t.failed()
}

// Stop ends the load; it gives the first error that a connection had.
func (t *Traffic) Stop() error {
	t.cancel()
	t.close()
	t.wg.Wait()
	return t.failed()
}

func (t *Traffic) close() {
	_ = t.listener.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, c := range t.conns {
		// Reset: what is queued is of no use to anybody.
		_ = c.client.SetLinger(0)
		_ = c.client.Close()
		_ = c.server.Close()
	}
}

// Measure runs a load, lets it settle and measures it.
func (l *Lab) Measure(ctx context.Context, spec TrafficSpec, settle, window time.Duration) (TrafficResult, error) {
	t, err := l.StartTraffic(ctx, spec)
	if err != nil {
		return TrafficResult{}, err
	}
	if !sleep(ctx, settle) {
		return TrafficResult{}, errors.Join(ctx.Err(), t.Stop())
	}
	r, err := t.Measure(ctx, window)
	return r, errors.Join(err, t.Stop())
}
