package disjoint

import (
	"errors"
	"fmt"

	"mpbox/topology"
)

// Query asks for a set of paths that share as little as possible.
type Query struct {
	// From and To are node names. With one of each, K paths lead from the one to
	// the other. With several, path i leads from From[i] to To[i]; a list of one
	// name stands for all paths. Equal pairs may repeat; K is then not read.
	From, To []string
	// K is how many paths are wanted, at least 1.
	K int
	// Level that is asked for; None asks for the K shortest paths. With Strict, a
	// set that does not reach Level is refused with ErrStrict.
	Level  Level
	Strict bool
	// Metric that costs are counted in.
	Metric      Metric
	Constraints Constraints
	// Effort bounds the search where no polynomial method is exact, in steps of
	// about a microsecond; 0 means DefaultEffort. It is no time limit, so that
	// equal questions have equal answers.
	Effort int
}

// MaxPaths is the most that a query may ask for.
const MaxPaths = 1000

// DefaultEffort lets a search take a few seconds at most.
const DefaultEffort = 1_000_000

// Path is one path of a set.
type Path struct {
	// Links are indexes into TED.Links, in order from ingress to egress.
	Links []int
	// Cost in the query's metric (microseconds for MetricDelay).
	Cost int64
}

// Result is the best set of paths that was found.
type Result struct {
	// Requested is the query's level; Achieved the one that the set has, never
	// above Requested.
	Requested, Achieved Level
	// Paths are sorted by cost, or in the order of From and To if several were
	// given.
	Paths []Path
	// Cost is the sum of the paths' costs, SharedCost the sum of link cost x
	// (uses - 1).
	Cost, SharedCost int64
	// Shared is what at least two of the paths have in common.
	Shared Shared
	// Exact: no set is better. Otherwise the set is the best that Effort allowed,
	// and Note says so; a better one may exist.
	Exact bool
	Note  string
}

// Why there is no result. Test with errors.Is.
var (
	// ErrTooFew: the network has fewer paths than were asked for.
	ErrTooFew = errors.New("fewer paths than asked for")
	// ErrStrict: no set of paths has the level that was asked for.
	ErrStrict = errors.New("the requested disjointness cannot be had")
	// ErrEffort: no set was found within the effort, and it is not known whether
	// there is one.
	ErrEffort = errors.New("search ended at its effort limit")
)

// pair is a class of paths with the same ends.
type pair struct {
	from, to int
	n        int   // how many paths
	slots    []int // their positions in the query
}

// pairs checks the query's ends and groups them.
func (q *Query) pairs(t *topology.TED) ([]pair, error) {
	if len(q.From) == 0 || len(q.To) == 0 {
		return nil, errors.New("find paths: both ends must be given")
	}
	k := max(len(q.From), len(q.To))
	if k == 1 {
		k = q.K
	}
	if k < 1 || k > MaxPaths {
		return nil, fmt.Errorf("find paths: cannot find %d paths: ask for 1 to %d", k, MaxPaths)
	}
	if min(len(q.From), len(q.To)) > 1 && len(q.From) != len(q.To) {
		return nil, fmt.Errorf("find paths: %d ingress nodes do not match %d egress nodes", len(q.From), len(q.To))
	}
	var ps []pair
	seen := map[[2]int]int{}
	for i := range k {
		from, to := q.From[min(i, len(q.From)-1)], q.To[min(i, len(q.To)-1)]
		var e [2]int
		for j, name := range []string{from, to} {
			n, ok := t.NodeIndex(name)
			if !ok {
				return nil, fmt.Errorf("find paths: node %q is not in the topology", name)
			}
			e[j] = n
		}
		if e[0] == e[1] {
			return nil, fmt.Errorf("find paths: ingress and egress are both %q", from)
		}
		at, ok := seen[e]
		if !ok {
			at = len(ps)
			seen[e] = at
			ps = append(ps, pair{from: e[0], to: e[1]})
		}
		ps[at].n++
		ps[at].slots = append(ps[at].slots, i)
	}
	return ps, nil
}
