package importer

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v3"
)

// Rate is a bandwidth in bit/s. In files it is a number of bit/s, or one with k,
// M, G or T after it (powers of 1000).
type Rate float64

var rateUnits = map[byte]float64{'k': 1e3, 'K': 1e3, 'M': 1e6, 'G': 1e9, 'T': 1e12}

// ParseRate reads a bandwidth as files write it.
func ParseRate(s string) (Rate, error) {
	t := strings.TrimSpace(s)
	factor := 1.0
	if n := len(t); n > 0 {
		if f, ok := rateUnits[t[n-1]]; ok {
			factor, t = f, strings.TrimSpace(t[:n-1])
		}
	}
	v, err := strconv.ParseFloat(t, 64)
	if err != nil || v < 0 || math.IsInf(v, 0) || math.IsNaN(v) || math.IsInf(v*factor, 0) {
		return 0, fmt.Errorf("bandwidth %q: want bit/s, as 1000000, 20M or 1.5G", s)
	}
	return Rate(v * factor), nil
}

// UnmarshalYAML reads a number or a number with a unit.
func (r *Rate) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return errors.New("want a bandwidth, as 20M")
	}
	v, err := ParseRate(n.Value)
	*r = v
	return err
}

// JSONSchema describes a Rate.
func (Rate) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		OneOf: []*jsonschema.Schema{
			{Type: "number", Minimum: "0"},
			{Type: "string", Pattern: `^[0-9]+(\.[0-9]+)?\s*[kKMGT]?$`},
		},
		Description: "Bandwidth in bit/s; k, M, G, T are powers of 1000.",
		Examples:    []any{"20M", 1000000},
	}
}

// Delay is a one-way delay. In files it has a unit ("5ms", "250us"), or is a
// number of microseconds as routers give it (RFC 7471).
type Delay time.Duration

func parseDelay(s string) (Delay, error) {
	t := strings.TrimSpace(s)
	if v, err := strconv.ParseFloat(t, 64); err == nil {
		if ns := v * 1000; ns >= 0 && ns < math.MaxInt64/2 {
			return Delay(math.Round(ns)), nil
		}
	} else if d, err := time.ParseDuration(t); err == nil && d >= 0 {
		return Delay(d), nil
	}
	return 0, fmt.Errorf("delay %q: want a time from 0, as 5ms, or a number of microseconds", s)
}

// UnmarshalYAML reads a duration or a number of microseconds.
func (d *Delay) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return errors.New("want a delay, as 5ms")
	}
	v, err := parseDelay(n.Value)
	*d = v
	return err
}

// JSONSchema describes a Delay.
func (Delay) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		OneOf: []*jsonschema.Schema{
			{Type: "number", Minimum: "0"},
			{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s))+$`},
		},
		Description: "One-way delay with its unit, or a number of microseconds.",
		Examples:    []any{"5ms", 5000},
	}
}

// Groups is an admin-group mask of 32 bits; hexadecimal is welcome.
type Groups uint32

// UnmarshalYAML reads a number, also as 0x….
func (g *Groups) UnmarshalYAML(n *yaml.Node) error {
	v, err := strconv.ParseUint(n.Value, 0, 32)
	if n.Kind != yaml.ScalarNode || err != nil {
		return fmt.Errorf("admin group %q: want a mask of 32 bits, as 0x5", n.Value)
	}
	*g = Groups(v)
	return nil
}

// JSONSchema describes Groups.
func (Groups) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		OneOf: []*jsonschema.Schema{
			{Type: "integer", Minimum: "0", Maximum: "4294967295"},
			{Type: "string", Pattern: `^0x[0-9a-fA-F]{1,8}$`},
		},
		Description: "Admin groups (link colours) as a mask of 32 bits (RFC 3630, section 2.5.9).",
	}
}

// Addr is an IPv4 or IPv6 address.
type Addr struct{ netip.Addr }

// UnmarshalYAML reads an address without a prefix length.
func (a *Addr) UnmarshalYAML(n *yaml.Node) error {
	v, err := netip.ParseAddr(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		return fmt.Errorf("address %q: want an IP address without a prefix length", n.Value)
	}
	a.Addr = v
	return nil
}

// JSONSchema describes an Addr.
func (Addr) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", OneOf: []*jsonschema.Schema{{Format: "ipv4"}, {Format: "ipv6"}}}
}

// parseMetric reads a link cost. Metrics of the protocols are whole numbers; a
// fraction is refused, for rounding could change which path is the shortest.
func parseMetric(s string) (uint32, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || v != math.Trunc(v) || v < 0 || v > math.MaxUint32 {
		return 0, fmt.Errorf("%q: want a whole number from 0 to 4294967295", s)
	}
	return uint32(v), nil
}

// parseSRLGs reads a comma-separated list.
func parseSRLGs(s string) ([]uint32, error) {
	var list []uint32
	for f := range strings.SplitSeq(strings.Trim(strings.TrimSpace(s), "[]"), ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		v, err := parseMetric(f)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func parseFlag(s string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "1", "true", "yes", "1.0":
		return true, nil
	case "0", "false", "no", "", "0.0":
		return false, nil
	}
	return false, fmt.Errorf("%q: want true or false", s)
}

// fibre is the delay of a kilometre of fibre, at a refractive index of 1.5.
const fibre = 5 * time.Microsecond

func distanceDelay(km float64) time.Duration {
	if km <= 0 || math.IsNaN(km) || km > 1e6 {
		return 0
	}
	return max(time.Nanosecond, time.Duration(math.Round(km*float64(fibre))))
}
