package tunnelmanager

import (
	"slices"
	"strings"

	"mpbox/apps/tunnelmanager/plan"
	"mpbox/topology"
)

// classValues are the DSCPs that mark slots: pool 2 (xxxx11), which RFC 2474,
// section 6 sets aside for local use, so that no standard class is disturbed.
var classValues = []uint8{3, 7, 11, 15, 19, 23, 27, 31, 35, 39, 43, 47, 51, 55, 59, 63}

// classTable hands out the classes of each PE pair: one for each LSP that is in
// use. Moving a flow to another LSP is then another mark, and the old class stays
// mapped until no mark uses it.
type classTable struct {
	byPair  map[plan.Pair]map[string]uint8
	changed bool // since it was saved
}

// savedClass is an entry of the table in the store.
type savedClass struct {
	plan.Pair
	LSP  string
	DSCP uint8
}

// list gives the table for the store.
func (t *classTable) list() []savedClass {
	var out []savedClass
	for p, m := range t.byPair {
		for _, lsp := range sortedKeys(m) {
			out = append(out, savedClass{p, lsp, m[lsp]})
		}
	}
	return out
}

func (t *classTable) set(p plan.Pair, lsp string, dscp uint8) {
	if t.byPair[p] == nil {
		t.byPair[p] = map[string]uint8{}
	}
	t.byPair[p][lsp], t.changed = dscp, true
}

func newClassTable() *classTable { return &classTable{byPair: map[plan.Pair]map[string]uint8{}} }

// has tells whether an LSP has a class.
func (t *classTable) has(p plan.Pair, lsp string) bool {
	_, ok := t.byPair[p][lsp]
	return ok
}

// get gives the class of an LSP, handing one out where it has none; not ok when
// all are in use. clash tells which other pairs must not use the same.
func (t *classTable) get(p plan.Pair, lsp string, clash func(plan.Pair) bool) (uint8, bool) {
	if c, ok := t.byPair[p][lsp]; ok {
		return c, true
	}
	used := map[uint8]bool{}
	for q, m := range t.byPair {
		if q != p && !clash(q) {
			continue
		}
		for _, c := range m {
			used[c] = true
		}
	}
	for _, c := range classValues {
		if !used[c] {
			t.set(p, lsp, c)
			return c, true
		}
	}
	return 0, false
}

// shareNetwork tells whether the ingress of two pairs is one, and a VPN has a network
// behind both of their egresses: a class of it is then one entry for both.
func shareNetwork(at map[string]Attachment, p, q plan.Pair) bool {
	if p.Ingress != q.Ingress {
		return false
	}
	for _, a := range at {
		for _, b := range at {
			if a.PE != p.Egress || b.PE != q.Egress || a.VPN != b.VPN {
				continue
			}
			for _, x := range a.Prefixes {
				if slices.ContainsFunc(b.Prefixes, x.Overlaps) {
					return true
				}
			}
		}
	}
	return false
}

// learn takes over the classes that a PE already maps: after a restart they stay
// as they are.
func (t *classTable) learn(owner string, ftns []topology.FTN, lsps map[string]topology.LSP) {
	for _, f := range ftns {
		l, ok := lsps[f.LSP]
		if !ok || !f.FEC.HasDSCP || !strings.HasPrefix(f.Name, owner+"class/") {
			continue
		}
		p := plan.Pair{Ingress: l.Ingress, Egress: l.Egress}
		if _, ok := t.byPair[p][f.LSP]; !ok {
			t.set(p, f.LSP, f.FEC.DSCP)
		}
	}
}

// retain forgets the classes that no PE maps any more and nothing wants.
func (t *classTable) retain(keep func(plan.Pair, string, uint8) bool) {
	for p, m := range t.byPair {
		for lsp, c := range m {
			if !keep(p, lsp, c) {
				delete(m, lsp)
				t.changed = true
			}
		}
		if len(m) == 0 {
			delete(t.byPair, p)
		}
	}
}
