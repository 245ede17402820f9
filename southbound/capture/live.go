//go:build linux

package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Live reads handshakes from an interface that a switch mirrors traffic to. The
// kernel drops everything else, see Filter.
type Live struct {
	name   string
	index  int
	fd     int
	ring   []byte
	erspan bool
	both   bool
	vlan   []byte // a frame whose tag the kernel had taken off

	down    atomic.Bool
	checked time.Time // when the interface was looked at last, by Run

	packets, drops, outgoing, strange atomic.Uint64
}

// ErrGone tells that there is no interface of that name (any more). It has to be
// opened anew once it is back: the kernel does not bind a socket to a name.
var ErrGone = errors.New("no such interface")

// LiveConfig says what to read.
type LiveConfig struct {
	Interface string
	FilterOptions
	// Outgoing: also what this host sends there. A mirror port sends nothing.
	Outgoing bool
	// RingBytes for packets that wait to be read; 8 MiB if 0.
	RingBytes int
}

// Frame is a frame from a mirror port.
type Frame struct {
	At int64 // unix ns, by the kernel
	// Data is the Ethernet frame, good until the handler returns; of ERSPAN the
	// mirrored one.
	Data []byte
	// Mirror tells of an ERSPAN frame's origin; zero for others.
	Mirror Mirrored
}

// LiveStats counts packets.
type LiveStats struct {
	// Packets that passed the filter and were handed on; Drops of the kernel for want
	// of room in the ring; Outgoing packets of this host, which are not looked at;
	// Strange ones that were not ERSPAN where that was expected.
	Packets, Drops, Outgoing, Strange uint64
}

const (
	blockBytes = 1 << 18
	// blockTimeout: a block is handed over when it is full or so old (ms).
	blockTimeout = 1
)

// OpenLive opens an interface for reading; it needs CAP_NET_RAW in the current
// network namespace. The interface may be down: see Down.
func OpenLive(cfg LiveConfig) (*Live, error) {
	filter, err := Filter(cfg.FilterOptions)
	if err != nil {
		return nil, err
	}
	// Protocol 0: nothing arrives before the filter is in place.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket (needs CAP_NET_RAW): %w", err)
	}
	l := &Live{name: cfg.Interface, fd: fd, erspan: cfg.ERSPAN, both: cfg.Outgoing}
	if l.index, err = l.find(); err == nil {
		err = l.setup(l.index, filter, cfg.RingBytes)
	}
	if err == nil {
		err = l.check()
	}
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("listen on %s: %w", cfg.Interface, err)
	}
	return l, nil
}

// find gives the index of the interface that has the name now, in the socket's
// network namespace.
func (l *Live) find() (int, error) {
	req, err := unix.NewIfreq(l.name)
	if err != nil {
		return 0, fmt.Errorf("bad name of an interface: %w", err)
	}
	if err := unix.IoctlIfreq(l.fd, unix.SIOCGIFINDEX, req); err != nil {
		if errors.Is(err, unix.ENODEV) {
			return 0, ErrGone
		}
		return 0, fmt.Errorf("find interface: %w", err)
	}
	return int(req.Uint32()), nil
}

func (l *Live) setup(index int, filter []bpf.RawInstruction, ringBytes int) error {
	if ringBytes <= 0 {
		ringBytes = 8 << 20
	}
	prog := make([]unix.SockFilter, len(filter))
	for i, in := range filter {
		prog[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if err := unix.SetsockoptSockFprog(l.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
		return fmt.Errorf("attach filter: %w", err)
	}
	if err := unix.SetsockoptInt(l.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("set TPACKET_V3: %w", err)
	}
	blocks := uint32(max(2, ringBytes/blockBytes))
	const frame = 2048
	req := unix.TpacketReq3{
		Block_size: blockBytes, Block_nr: blocks, Frame_size: frame, Frame_nr: blocks * (blockBytes / frame),
		Retire_blk_tov: blockTimeout,
	}
	if err := unix.SetsockoptTpacketReq3(l.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fmt.Errorf("make ring: %w", err)
	}
	ring, err := unix.Mmap(l.fd, 0, int(blocks)*blockBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map ring: %w", err)
	}
	l.ring = ring
	const allProtocols = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
	if err := unix.Bind(l.fd, &unix.SockaddrLinklayer{Protocol: allProtocols, Ifindex: index}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	mreq := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(l.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
		return fmt.Errorf("set promiscuous: %w", err)
	}
	return nil
}

// Close frees ring and socket; Run must have returned.
func (l *Live) Close() error {
	var errs []error
	if l.ring != nil {
		errs = append(errs, unix.Munmap(l.ring))
		l.ring = nil
	}
	if l.fd >= 0 {
		errs = append(errs, unix.Close(l.fd))
		l.fd = -1
	}
	return errors.Join(errs...)
}

// String names the task.
func (l *Live) String() string { return "mirror " + l.name }

// Down tells whether the interface is there but has no link, as far as Run has
// seen. It is read again by itself once it has.
func (l *Live) Down() bool { return l.down.Load() }

// check looks whether the interface is there, and has link. The socket loses its
// interface for good when that is deleted or moved to another namespace, also if it
// comes back; and keeps it while it is down or when it is given another name.
func (l *Live) check() error {
	sa, err := unix.Getsockname(l.fd)
	if err != nil {
		return fmt.Errorf("look at interface: %w", err)
	}
	index, err := l.find()
	if err != nil {
		return err
	}
	if ll, ok := sa.(*unix.SockaddrLinklayer); !ok || ll.Ifindex != l.index || index != l.index {
		return ErrGone
	}
	req, err := unix.NewIfreq(l.name)
	if err != nil {
		return fmt.Errorf("look at interface: %w", err)
	}
	if err := unix.IoctlIfreq(l.fd, unix.SIOCGIFFLAGS, req); err != nil {
		if errors.Is(err, unix.ENODEV) {
			return ErrGone
		}
		return fmt.Errorf("look at interface: %w", err)
	}
	const link = unix.IFF_UP | unix.IFF_RUNNING
	l.down.Store(req.Uint16()&link != link)
	return nil
}

// checkEvery is how often Run looks at the interface while no packets come.
const checkEvery = 200 * time.Millisecond

// Run hands batches of frames to handle, in order, until ctx ends or the interface
// is deleted (ErrGone). While it is down, Run waits.
func (l *Live) Run(ctx context.Context, handle func([]Frame)) error {
	const wait = 50 // ms: how late the end of ctx may be seen
	var batch []Frame
	for next := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		default:
		}
		block := l.ring[next*blockBytes : (next+1)*blockBytes]
		status := (*uint32)(unsafe.Pointer(&block[8]))
		if atomic.LoadUint32(status)&unix.TP_STATUS_USER == 0 {
			fds := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN | unix.POLLERR}}
			if _, err := unix.Poll(fds, wait); err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("wait for packets on %s: %w", l.name, err)
			}
			if fds[0].Revents&unix.POLLERR != 0 { // reading the error clears it
				if n, err := unix.GetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && n != 0 && unix.Errno(n) != unix.ENETDOWN {
					return fmt.Errorf("read packets from %s: %w", l.name, unix.Errno(n))
				}
				l.checked = time.Time{}
			}
			if now := time.Now(); now.Sub(l.checked) > checkEvery {
				l.checked = now
				if err := l.check(); err != nil {
					return fmt.Errorf("read packets from %s: %w", l.name, err)
				}
			}
			continue
		}
		batch = l.walk(block, batch[:0], handle)
		atomic.StoreUint32(status, unix.TP_STATUS_KERNEL)
		next = (next + 1) % (len(l.ring) / blockBytes)
	}
}

// batchMax bounds what one call of the handler is given.
const batchMax = 256

// walk hands over the packets of a block (struct tpacket_block_desc).
func (l *Live) walk(block []byte, batch []Frame, handle func([]Frame)) []Frame {
	n := binary.NativeEndian.Uint32(block[12:])
	off := binary.NativeEndian.Uint32(block[16:])
	tagged := 0
	flush := func() {
		if len(batch) > 0 {
			l.packets.Add(uint64(len(batch)))
			handle(batch)
		}
		batch, tagged = batch[:0], 0
	}
	l.vlan = l.vlan[:0]
	for range n {
		if int(off)+int(unsafe.Sizeof(unix.Tpacket3Hdr{})) > len(block) {
			break
		}
		h := (*unix.Tpacket3Hdr)(unsafe.Pointer(&block[off]))
		const packetType = 48 + 10 // in the sockaddr_ll behind the header
		data := block[off+uint32(h.Mac) : off+uint32(h.Mac)+h.Snaplen]
		outgoing := block[off+packetType] == unix.PACKET_OUTGOING
		off += h.Next_offset
		if outgoing && !l.both {
			l.outgoing.Add(1)
			continue
		}
		f := Frame{At: int64(h.Sec)*1e9 + int64(h.Nsec), Data: data}
		if h.Status&unix.TP_STATUS_VLAN_VALID != 0 && len(data) >= 14 {
			if tagged == maxTagged {
				flush()
				l.vlan = l.vlan[:0]
			}
			tagged++
			f.Data = l.retag(data, h)
		}
		if l.erspan {
			m, ok := Decapsulate(f.Data)
			if !ok {
				l.strange.Add(1)
				continue
			}
			f.Data, f.Mirror = m.Frame, m
		}
		if batch = append(batch, f); len(batch) == batchMax {
			flush()
		}
	}
	flush()
	return batch
}

// maxTagged frames are given their tag back between two calls of the handler.
const maxTagged = batchMax

// retag puts back the VLAN tag that the kernel took off. The frames stay good until
// the next call of the handler: the buffer grows to a new one, never moves.
func (l *Live) retag(data []byte, h *unix.Tpacket3Hdr) []byte {
	tpid := h.Hv1.Vlan_tpid
	if h.Status&unix.TP_STATUS_VLAN_TPID_VALID == 0 || tpid == 0 {
		tpid = 0x8100
	}
	if cap(l.vlan)-len(l.vlan) < len(data)+4 {
		l.vlan = make([]byte, 0, max(1<<17, len(data)+4))
	}
	n := len(l.vlan)
	l.vlan = append(l.vlan, data[:12]...)
	l.vlan = binary.BigEndian.AppendUint16(l.vlan, tpid)
	l.vlan = binary.BigEndian.AppendUint16(l.vlan, uint16(h.Hv1.Vlan_tci))
	l.vlan = append(l.vlan, data[12:]...)
	return l.vlan[n:]
}

// Stats gives the counters; it may be called at any time while the socket is open.
func (l *Live) Stats() LiveStats {
	if s, err := unix.GetsockoptTpacketStatsV3(l.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		l.drops.Add(uint64(s.Drops)) // reading clears them
	}
	return LiveStats{Packets: l.packets.Load(), Drops: l.drops.Load(), Outgoing: l.outgoing.Load(), Strange: l.strange.Load()}
}
