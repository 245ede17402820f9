package config

import (
	"fmt"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// checker finds what a schema cannot say. It also resolves file names, and reads
// password files.
type checker struct {
	*document
	c   *Config
	dir string // of the configuration file
	// inline is the path of the first password that stands in the file itself.
	inline []string
}

func (k *checker) run() {
	vpns := k.vpns()
	attachments := k.attachments(vpns)
	k.bridges(attachments)
	k.mirrors(attachments)
	k.pes()
	k.topology()
	k.bgpls()
	k.policies(vpns)
	k.thresholds(vpns)
	k.detector()
	k.listeners()
	k.file(&k.c.Store.Path)
	k.exposed()
}

// path makes a path of keys and indexes.
func path(steps ...any) []string {
	out := make([]string, len(steps))
	for i, s := range steps {
		out[i] = fmt.Sprint(s)
	}
	return out
}

// fail notes a problem at a path: at the value, or at the key where the value is a
// list or has keys of its own, or at what it should stand in where it is missing.
func (k *checker) fail(at []string, remedy, format string, args ...any) {
	key, value, ok := k.find(at...)
	node := value
	if ok && key != nil && value.Kind != yaml.ScalarNode {
		node = key
	}
	k.add(node, fmt.Sprintf(format, args...), remedy)
}

// line gives where a value stands, for pointing at it from another place.
func (k *checker) line(at ...any) string {
	_, v, _ := k.find(path(at...)...)
	if v == nil {
		return "elsewhere"
	}
	return "in line " + strconv.Itoa(v.Line)
}

// unique notes the second use of a value that must be there once. Empty values
// have been complained about already.
type unique struct {
	k    *checker
	what string
	seen map[string][]any
}

func (k *checker) unique(what string) *unique { return &unique{k, what, map[string][]any{}} }

func (u *unique) check(value string, at ...any) {
	if value == "" {
		return
	}
	if first, twice := u.seen[value]; twice {
		u.k.fail(path(at...), "change this one or the one "+u.k.line(first...), "%s %s is there twice", u.what, value)
		return
	}
	u.seen[value] = at
}

// within checks a duration; 0 means "not at all" where zero is allowed.
func (k *checker) within(d Duration, lo, hi time.Duration, at ...any) {
	if d.D() < lo || d.D() > hi {
		p := path(at...)
		k.fail(p, fmt.Sprintf("use %s to %s", Duration(lo), Duration(hi)), "%s: %s is out of range", dotted(p), d)
	}
}

func (k *checker) detector() {
	d := &k.c.Detector
	k.within(d.OrphanTimeout, time.Second, time.Hour, "detector", "orphan_timeout")
	k.within(d.HalfOpenTimeout, time.Second, time.Hour, "detector", "half_open_timeout")
	if d.IdleTimeout != 0 {
		k.within(d.IdleTimeout, time.Second, 365*24*time.Hour, "detector", "idle_timeout")
	}
	if !k.written("detector", "max_subflows") {
		d.MaxSubflows = max(d.MaxSubflows, 2*d.MaxConnections)
	}
	if d.MaxSubflows < d.MaxConnections {
		k.fail(path("detector", "max_subflows"), "each connection has at least one subflow: raise it, or lower max_connections",
			"detector.max_subflows: %d is less than max_connections, %d", d.MaxSubflows, d.MaxConnections)
	}
}
