package tunnelmanager

import (
	"maps"
	"slices"
	"strings"

	"mpbox/pe-drivers/driver"
	"mpbox/topology"
)

// sortedKeys gives the keys of a map in order, so that what is decided from it
// does not depend on the map's own.
func sortedKeys[K interface{ ~string | ~uint64 }, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}

// sortedLSPs is sortedKeys for LSPs.
func sortedLSPs[V any](m map[topology.LSPKey]V) []topology.LSPKey {
	return slices.SortedFunc(maps.Keys(m), topology.LSPKey.Compare)
}

// diffInput is one PE's desired and reported state.
type diffInput struct {
	owner string
	want  map[string]topology.LSP
	ftns  map[string]topology.FTN
	have  driver.State
	// usable tells whether an LSP is up on the route it was planned on.
	usable func(topology.LSP) bool
	// marked tells whether an edge rule still marks packets for a class FTN.
	marked func(ftn string) bool
	// mayRelease tells whether an LSP that is not wanted was kept for long enough.
	mayRelease func(topology.LSP) bool
	// held are the LSPs and FTNs that the PE refused: not asked for again until
	// the hold is over.
	held func(name string) bool
}

// diff gives the operations that bring one PE a step closer to what is desired,
// in an order that is make-before-break: signal what is missing; move a class
// only to an LSP that is up on its route; take a class away only when nothing is
// marked with it; release an LSP only when no class points to it. What has to
// wait is left to a later call: the same diff resumes the work.
func diff(in diffInput) []driver.Op {
	var ops []driver.Op
	lsps := map[string]topology.LSP{}
	for _, l := range in.have.LSPs {
		lsps[l.Name] = l
	}
	ftns := map[string]topology.FTN{}
	for _, f := range in.have.FTNs {
		ftns[f.Name] = f
	}
	for _, name := range sortedKeys(in.want) {
		_, ok := lsps[name]
		// One that is half-made is told, but only signalling it again makes it whole.
		if (!ok || slices.Contains(in.have.HalfMade, name)) && !in.held(name) {
			ops = append(ops, driver.Signal{LSP: in.want[name]})
		}
	}
	pointed := map[string]bool{}
	for _, name := range sortedKeys(in.ftns) {
		want, have := in.ftns[name], ftns[name]
		if have == want {
			continue
		}
		l, ok := lsps[want.LSP]
		if ok && in.usable(l) && !in.held(name) {
			ops = append(ops, driver.Bind{FTN: want})
			pointed[want.LSP] = true
		}
	}
	for _, name := range sortedKeys(ftns) {
		f := ftns[name]
		if _, wanted := in.ftns[name]; !wanted && strings.HasPrefix(name, in.owner) && !in.marked(name) && !in.held(name) {
			ops = append(ops, driver.Unbind{Name: name})
			continue
		}
		pointed[f.LSP] = true
		if w, ok := in.ftns[name]; ok {
			pointed[w.LSP] = true
		}
	}
	for _, name := range sortedKeys(lsps) {
		if _, wanted := in.want[name]; wanted || !strings.HasPrefix(name, in.owner) || pointed[name] || in.held(name) {
			continue
		}
		if in.mayRelease(lsps[name]) {
			ops = append(ops, driver.Release{Name: name})
		}
	}
	return ops
}
