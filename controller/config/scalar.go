package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Duration is written as "500ms", "10s", "2m".
type Duration time.Duration

// D gives it as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

func (d Duration) String() string {
	s := time.Duration(d).String()
	// 2m0s and 1h0m0s are how nobody writes them.
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes it as UnmarshalText reads it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a number and a unit.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("want a number and a unit, like 500ms, 10s or 2m")
	}
	*d = Duration(v)
	return nil
}

// BitRate is in bit/s; it is written as a number, or as "20M", "1.5G", "100k"
// (decimal, as links are rated).
type BitRate float64

var rateUnits = []struct {
	suffix string
	factor float64
}{{"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"k", 1e3}, {"K", 1e3}}

// UnmarshalText reads a number with or without a unit.
func (r *BitRate) UnmarshalText(b []byte) error {
	s := strings.TrimSpace(string(b))
	for _, tail := range []string{"bit/s", "bps", "b/s"} {
		s = strings.TrimSpace(strings.TrimSuffix(s, tail))
	}
	factor := 1.0
	for _, u := range rateUnits {
		if cut, ok := strings.CutSuffix(s, u.suffix); ok {
			s, factor = strings.TrimSpace(cut), u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v < 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return fmt.Errorf("want bit/s with or without a unit, like 100k, 20M or 1.5G")
	}
	*r = BitRate(v * factor)
	return nil
}

// UnmarshalYAML takes a number too.
func (r *BitRate) UnmarshalYAML(n *yaml.Node) error { return r.UnmarshalText([]byte(n.Value)) }

// MarshalText writes the largest unit that needs no fraction.
func (r BitRate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (r BitRate) String() string {
	for _, u := range rateUnits {
		if v := float64(r) / u.factor; v >= 1 && v == math.Trunc(v*1000)/1000 {
			return strconv.FormatFloat(v, 'f', -1, 64) + u.suffix
		}
	}
	return strconv.FormatFloat(float64(r), 'f', -1, 64)
}

// DPID is an OpenFlow datapath id, written as 16 hex digits in quotes.
type DPID uint64

func (d DPID) String() string { return fmt.Sprintf("%016x", uint64(d)) }

// MarshalText writes 16 hex digits.
func (d DPID) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads 16 hex digits.
func (d *DPID) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(string(b), 16, 64)
	if err != nil || len(b) != 16 {
		return fmt.Errorf(`want 16 hex digits in quotes, like "0000000000000001", as ovs-vsctl get bridge NAME datapath_id shows`)
	}
	*d = DPID(v)
	return nil
}

// Secret is never printed.
type Secret string

const redacted = "(redacted)"

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString keeps %#v from printing it.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText keeps encoders from writing it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Endpoint is a place to listen at or connect to: host:port or unix:/path.
type Endpoint string

// Unix gives the path of a unix socket.
func (e Endpoint) Unix() (path string, ok bool) { return strings.CutPrefix(string(e), "unix:") }

// Network gives the two arguments of net.Listen and net.Dial.
func (e Endpoint) Network() (network, address string) {
	if path, ok := e.Unix(); ok {
		return "unix", path
	}
	return "tcp", strings.TrimPrefix(string(e), "tcp:")
}

// Local reports whether only this machine can reach it.
func (e Endpoint) Local() bool {
	network, address := e.Network()
	if network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Any reports whether it stands for all addresses of a machine, and so is none to
// connect to.
func (e Endpoint) Any() bool {
	network, address := e.Network()
	host, _, err := net.SplitHostPort(address)
	if network == "unix" || err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// checkEndpoint is the format "endpoint".
func checkEndpoint(s string) error {
	e := Endpoint(s)
	if path, ok := e.Unix(); ok {
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("want an absolute path after unix:, like unix:/run/mpbox/mpbox.sock")
		}
		return nil
	}
	_, address := e.Network()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("want host:port, [address]:port or unix:/path, like 127.0.0.1:8080")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		return fmt.Errorf("want a port from 0 to 65535")
	}
	return nil
}
