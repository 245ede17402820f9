package disjoint

import "math"

// landmarks give lower bounds of distances (ALT, Goldberg and Harrelson 2005): by
// the triangle inequality no way from v to t is shorter than the difference of
// their distances from, or to, a landmark.
type landmarks struct {
	// from[v*landmarkCount+l] is the distance from landmark l to v, to that from v
	// to l; they are one slice where all links cost the same both ways.
	from, to []int32
}

const (
	landmarkCount = 8
	// Below this size of a component goal direction does not pay.
	landmarkNodes = 200
)

// newLandmarks picks landmarks far from each other in each large component. It
// gives nil where there is none, or where distances do not fit.
func newLandmarks(c *csr, least int) *landmarks {
	n := len(c.node)
	var l *landmarks
	h := newIndexHeap(n)
	dist := make([]int64, n)
	for lo := 0; lo < n; {
		hi := lo
		for hi < n && c.part[hi] == c.part[lo] {
			hi++
		}
		if hi-lo >= least {
			if l == nil {
				l = &landmarks{from: make([]int32, n*landmarkCount)}
				l.to = l.from
				if !c.even {
					l.to = make([]int32, n*landmarkCount)
				}
			}
			if !l.place(c, &h, dist, int32(lo), int32(hi)) {
				return nil
			}
		}
		lo = hi
	}
	return l
}

func (l *landmarks) place(c *csr, h *indexHeap, dist []int64, lo, hi int32) bool {
	nearest := make([]int64, hi-lo)
	for i := range nearest {
		nearest[i] = math.MaxInt64
	}
	c.distances(h, dist, lo, lo, hi, false)
	at := farthest(dist[lo:hi]) + lo
	for k := range landmarkCount {
		c.distances(h, dist, at, lo, hi, false)
		if !store(l.from, dist, lo, hi, k) {
			return false
		}
		for v := lo; v < hi; v++ {
			nearest[v-lo] = min(nearest[v-lo], dist[v])
		}
		if !c.even {
			c.distances(h, dist, at, lo, hi, true)
			if !store(l.to, dist, lo, hi, k) {
				return false
			}
		}
		at = farthest(nearest) + lo
	}
	return true
}

// farthest ignores what cannot be reached.
func farthest(dist []int64) int32 {
	best := 0
	for i, d := range dist {
		if d != unseen && (d > dist[best] || dist[best] == unseen) {
			best = i
		}
	}
	return int32(best)
}

const nowhere = math.MaxInt32

func store(to []int32, dist []int64, lo, hi int32, k int) bool {
	for v := lo; v < hi; v++ {
		d := dist[v]
		if d == unseen {
			d = nowhere
		} else if d >= nowhere/2 {
			return false
		}
		to[int(v)*landmarkCount+k] = int32(d)
	}
	return true
}

// distances from a node, or to it.
func (c *csr) distances(h *indexHeap, dist []int64, source, lo, hi int32, back bool) {
	for v := lo; v < hi; v++ {
		dist[v] = unseen
	}
	h.clear()
	dist[source] = 0
	h.push(source, 0)
	relax := func(v int32, d int64) {
		switch old := dist[v]; {
		case d >= old:
			return
		case old == unseen:
			h.push(v, d)
		default:
			h.decrease(v, d)
		}
		dist[v] = d
	}
	for h.len() > 0 {
		v := h.pop()
		if back {
			for i, end := c.inAt[v], c.inAt[v+1]; i < end; i++ {
				relax(c.in[i].from, dist[v]+c.out[c.in[i].at].cost)
			}
			continue
		}
		for i, end := c.first[v], c.first[v+1]; i < end; i++ {
			relax(c.out[i].to, dist[v]+c.out[i].cost)
		}
	}
}

// bound is at most the distance from v to t.
func (l *landmarks) bound(v, t int32) int64 {
	var most int32
	vs := l.from[int(v)*landmarkCount:][:landmarkCount]
	ts := l.from[int(t)*landmarkCount:][:landmarkCount]
	for i := range vs { // distances from a landmark: d(l,t) - d(l,v)
		if d := ts[i] - vs[i]; d > most && ts[i] != nowhere {
			most = d
		}
	}
	vs = l.to[int(v)*landmarkCount:][:landmarkCount]
	ts = l.to[int(t)*landmarkCount:][:landmarkCount]
	for i := range vs { // distances to a landmark: d(v,l) - d(t,l)
		if d := vs[i] - ts[i]; d > most && vs[i] != nowhere {
			most = d
		}
	}
	return int64(most)
}
