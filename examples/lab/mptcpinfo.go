package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// linux/mptcp.h
const (
	solMPTCP          = 284
	optMPTCPInfo      = 1
	optSubflowAddrs   = 3
	flagFallback      = 1 << 0
	sizeSockaddr      = 128 // struct sockaddr_storage
	sizeSubflowHeader = 16
)

type connInfo struct {
	subflows int // besides the first
	token    uint32
}

// mptcpInfo reads struct mptcp_info of a connection.
func mptcpInfo(c *net.TCPConn) (connInfo, error) {
	b := make([]byte, 64)
	n, err := getsockopt(c, optMPTCPInfo, b)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOPROTOOPT) {
		return connInfo{}, fmt.Errorf("%s: %w", c.RemoteAddr(), ErrFallback)
	}
	if err != nil {
		return connInfo{}, fmt.Errorf("read MPTCP state of %s: %w", c.RemoteAddr(), err)
	}
	if n < 16 {
		return connInfo{}, fmt.Errorf("read MPTCP state of %s: %d bytes only", c.RemoteAddr(), n)
	}
	if binary.NativeEndian.Uint32(b[8:])&flagFallback != 0 {
		return connInfo{}, fmt.Errorf("%s: %w", c.RemoteAddr(), ErrFallback)
	}
	return connInfo{subflows: int(b[0]), token: binary.NativeEndian.Uint32(b[12:])}, nil
}

// subflowTuples reads the addresses of a client's subflows.
func subflowTuples(c *net.TCPConn) ([]Tuple, error) {
	if _, err := mptcpInfo(c); err != nil {
		return nil, err
	}
	const most = 16
	b := make([]byte, sizeSubflowHeader+most*2*sizeSockaddr)
	ne := binary.NativeEndian
	ne.PutUint32(b[0:], sizeSubflowHeader)
	ne.PutUint32(b[12:], 2*sizeSockaddr)
	if _, err := getsockopt(c, optSubflowAddrs, b); err != nil {
		return nil, fmt.Errorf("read MPTCP subflows of %s: %w", c.RemoteAddr(), err)
	}
	var ts []Tuple
	for i := range min(int(ne.Uint32(b[4:])), most) {
		at := b[sizeSubflowHeader+i*2*sizeSockaddr:]
		ts = append(ts, Tuple{Client: sockaddr(at), Server: sockaddr(at[sizeSockaddr:])})
	}
	return ts, nil
}

func sockaddr(b []byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(b[2:])
	switch binary.NativeEndian.Uint16(b) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

func getsockopt(c *net.TCPConn, opt int, b []byte) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	size := uint32(len(b))
	var errno unix.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, solMPTCP, uintptr(opt),
			uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err != nil {
		return 0, err
	}
	if errno != 0 {
		return 0, errno
	}
	return int(size), nil
}
