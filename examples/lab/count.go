package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// FlowKey is one direction of a TCP or UDP flow, as found behind MPLS labels.
// VPNLabel tells flows of different VPNs apart.
type FlowKey struct {
	VPNLabel uint32
	Src, Dst netip.AddrPort
}

// LinkKey is one direction of a core link.
type LinkKey struct {
	Link, From string
}

// FlowCounts are packets by flow and link.
type FlowCounts map[FlowKey]map[LinkKey]uint64

// Of gives the counts of a flow in any VPN, nil if it was not seen.
func (f FlowCounts) Of(src, dst netip.AddrPort) map[LinkKey]uint64 {
	for k, links := range f {
		if k.Src == src && k.Dst == dst {
			return links
		}
	}
	return nil
}

// CountFlows looks at every MPLS packet that arrives by a core link during a
// time. It sees packets after the link's rate limit, and reads headers only.
func (l *Lab) CountFlows(ctx context.Context, window time.Duration) (FlowCounts, error) {
	arrivals := map[int]LinkKey{} // by ifindex of the receiving end
	var fd int
	err := within(l.Fab(), func() error {
		var err error
		// Bound to the protocol: only arriving packets, each once.
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_MPLS_UC)))
		if err != nil {
			return fmt.Errorf("open packet socket: %w", err)
		}
		for _, k := range l.Links {
			for _, at := range []struct{ dev, from string }{{k.B.Netdev, k.A.Node}, {k.A.Netdev, k.B.Node}} {
				i, err := ifIndex(fd, at.dev)
				if err != nil {
					_ = unix.Close(fd)
					return err
				}
				arrivals[i] = LinkKey{k.Name, at.from}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count flows: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	tv := unix.NsecToTimeval((50 * time.Millisecond).Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return nil, fmt.Errorf("count flows: %w", err)
	}
	counts := FlowCounts{}
	buf := make([]byte, 128)
	for end := time.Now().Add(window); time.Now().Before(end); {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("count flows: %w", err)
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if !ok {
			continue
		}
		link, core := arrivals[ll.Ifindex]
		key, isFlow := parseMPLS(buf[:n])
		if !core || !isFlow {
			continue
		}
		if counts[key] == nil {
			counts[key] = map[LinkKey]uint64{}
		}
		counts[key][link]++
	}
	return counts, nil
}

func ifIndex(fd int, name string) (int, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
		return 0, fmt.Errorf("find interface %s: %w", name, err)
	}
	return int(req.Uint32()), nil
}

func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// parseMPLS reads a label stack (RFC 3032) and the flow behind it.
func parseMPLS(b []byte) (FlowKey, bool) {
	var k FlowKey
	for bottom := false; !bottom; b = b[4:] {
		if len(b) < 4 {
			return k, false
		}
		e := binary.BigEndian.Uint32(b)
		k.VPNLabel, bottom = e>>12, e&0x100 != 0
	}
	if len(b) < 20 {
		return k, false
	}
	var src, dst netip.Addr
	var proto byte
	switch b[0] >> 4 {
	case 4:
		head := int(b[0]&0xf) * 4
		src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		proto = b[9]
		if head < 20 || len(b) < head {
			return k, false
		}
		b = b[head:]
	case 6:
		if len(b) < 40 {
			return k, false
		}
		src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		proto = b[6]
		b = b[40:]
	default:
		return k, false
	}
	if (proto != unix.IPPROTO_TCP && proto != unix.IPPROTO_UDP) || len(b) < 4 {
		return k, false
	}
	k.Src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(b))
	k.Dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:]))
	return k, true
}
