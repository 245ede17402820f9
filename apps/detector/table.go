package detector

import (
	"math/bits"
	"unsafe"
)

// table is an index from a 32-bit hash to slab references. It uses open addressing
// in buckets of one cache line, and grows by splitting one small segment at a time
// (extendible hashing), so that no insertion waits for a large table to be copied.
// It holds no pointers except to its segments. The caller compares the referenced
// records itself: several entries may have the same hash.
type table struct {
	// dir finds the segment of a hash by its upper bits; lines are the segments'
	// entries, kept apart so that a look-up needs one load for the way.
	dir   []*segment
	lines []*segmentLines
	shift uint8 // 32 - number of directory bits
	n     int
	// changed has the bits of the hashes of which an entry came or went, since it was
	// last cleared; it tells whether what collect gave still holds.
	changed uint64
}

const (
	bucketLen   = 8 // entries of 8 bytes: a cache line
	segBuckets  = 256
	segLen      = segBuckets * bucketLen
	segMaxUsed  = segLen * 13 / 16
	maxDirBits  = 20
	tombstone   = 0xffffffff
	bucketsMask = segBuckets - 1
)

type segmentLines [segLen]uint64

// segment holds entries hash<<32 | reference; 0 is a free one. In a bucket the
// free entries come last, so a look-up ends at the first of them; a bucket that
// has been full keeps tombstones instead, as look-ups go on behind it.
type segment struct {
	e    *segmentLines
	bits uint8 // hash bits that all entries share
	used uint16
	dead uint16
}

func newTable() *table {
	s := &segment{e: new(segmentLines)}
	return &table{dir: []*segment{s}, lines: []*segmentLines{s.e}, shift: 32}
}

// maxSame bounds the references of one hash that are looked at: with a secret hash
// function there are more of them only if someone makes them (see maxIncarnations).
const maxSame = 16

// line gives the b-th bucket that may hold entries of a hash. See slab.at.
func (t *table) line(hash, b uint32) *[bucketLen]uint64 {
	lines := unsafe.Pointer(t.lines[uint64(hash)>>t.shift])
	return (*[bucketLen]uint64)(unsafe.Add(lines, uintptr((hash+b)&bucketsMask)*bucketLen*8))
}

// collect gives the references that may belong to a hash.
func (t *table) collect(hash uint32, out *[maxSame]uint32) int {
	n := 0
	for b := range uint32(segBuckets) {
		for _, x := range t.line(hash, b) {
			if x == 0 {
				return n
			}
			if uint32(x>>32) == hash && uint32(x) != tombstone && n < maxSame {
				out[n] = uint32(x)
				n++
			}
		}
	}
	return n
}

// changedBit is the bit of a hash in table.changed. Others may share it.
func changedBit(hash uint32) uint64 { return 1 << (hash % 64) }

// prefetch asks for the line of a hash.
func (t *table) prefetch(hash uint32) {
	prefetch(unsafe.Pointer(t.line(hash, 0)))
}

// insert adds a reference (neither 0 nor tombstone). It reports false when the
// index cannot take more entries of this hash.
func (t *table) insert(hash, ref uint32) bool {
	t.changed |= changedBit(hash)
	for {
		s := t.dir[uint64(hash)>>t.shift]
		if s.used < segMaxUsed {
			s.put(uint64(hash)<<32 | uint64(ref))
			t.n++
			return true
		}
		if s.dead > segMaxUsed/4 {
			s.rebuild()
			continue
		}
		if s.bits >= maxDirBits {
			return false
		}
		t.split(s, hash)
	}
}

// put stores an entry; there is room.
func (s *segment) put(x uint64) {
	for b := uint32(x >> 32); ; b++ {
		base := b & bucketsMask * bucketLen
		line := s.e[base : base+bucketLen]
		for i, y := range line {
			if y == 0 {
				line[i] = x
				s.used++
				return
			}
			if uint32(y) == tombstone {
				line[i] = x
				s.dead--
				return
			}
		}
	}
}

// remove takes an entry out.
func (t *table) remove(hash, ref uint32) {
	t.changed |= changedBit(hash)
	s := t.dir[uint64(hash)>>t.shift]
	want := uint64(hash)<<32 | uint64(ref)
	for k := range uint32(segBuckets) {
		base := (hash + k) & bucketsMask * bucketLen
		line := s.e[base : base+bucketLen]
		last := -1
		at := -1
		for i, y := range line {
			if y == 0 {
				break
			}
			last = i
			if y == want {
				at = i
			}
		}
		if at >= 0 {
			t.n--
			if last == bucketLen-1 {
				line[at] = tombstone
				s.dead++
			} else {
				line[at], line[last] = line[last], 0
				s.used--
			}
			return
		}
		if last < bucketLen-1 {
			return
		}
	}
}

// rebuild drops the tombstones.
func (s *segment) rebuild() {
	old := *s.e
	*s.e = segmentLines{}
	s.used, s.dead = 0, 0
	for _, x := range old {
		if uint32(x) != tombstone && x != 0 {
			s.put(x)
		}
	}
}

// split gives half of a segment's entries to a new one, doubling the directory
// when it has no bit left that tells them apart.
func (t *table) split(s *segment, hash uint32) {
	if dirBits := 32 - t.shift; s.bits == dirBits {
		dir := make([]*segment, 2*len(t.dir))
		lines := make([]*segmentLines, 2*len(t.dir))
		for i := range dir {
			dir[i] = t.dir[i/2]
			lines[i] = dir[i].e
		}
		t.dir, t.lines = dir, lines
		t.shift--
	}
	n := &segment{e: new(segmentLines), bits: s.bits + 1}
	s.bits++
	old := *s.e
	*s.e = segmentLines{}
	s.used, s.dead = 0, 0
	bit := uint32(1) << (32 - s.bits)
	for _, x := range old {
		if uint32(x) == tombstone || x == 0 {
			continue
		}
		if uint32(x>>32)&bit != 0 {
			n.put(x)
		} else {
			s.put(x)
		}
	}
	// The new segment takes the upper half of the directory entries that the old
	// one had: those whose hashes share the old one's bits.
	span := 1 << (32 - t.shift - s.bits)
	first := int(uint64(hash)>>(32-s.bits)|1) * span
	for i := first; i < first+span; i++ {
		t.dir[i], t.lines[i] = n, n.e
	}
}

// bytes is the memory that the table holds.
func (t *table) bytes() int {
	seen, n := (*segment)(nil), len(t.dir)*16
	for _, s := range t.dir {
		if s != seen {
			n += segLen*8 + 24
			seen = s
		}
	}
	return n
}

// hasher mixes with secret numbers: who sends packets must not be able to choose
// where they fall in an index.
type hasher struct{ k [6]uint64 }

func mum(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// endpoint mixes one end of a tuple.
func (h *hasher) endpoint(e *endpoint) uint64 {
	return mum(mum(e.hi^h.k[0], e.lo^h.k[1])^uint64(e.port)<<32, h.k[2])
}

// tuple gives the same for both directions.
func (h *hasher) tuple(scope uint16, a, b *endpoint) uint32 {
	x := mum((h.endpoint(a)+h.endpoint(b))^h.k[3], h.k[4]^uint64(scope))
	return uint32(x >> 32)
}

func (h *hasher) token(scope uint16, token uint32) uint32 {
	x := mum(uint64(token)<<16^uint64(scope)^h.k[5], h.k[2])
	return uint32(x >> 32)
}
