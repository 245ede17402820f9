package detector

import "unsafe"

const (
	chunkBits = 12
	chunkLen  = 1 << chunkBits
	chunkMask = chunkLen - 1
)

// slab holds records of a type without pointers, in chunks that never move: it
// grows without copying, and the garbage collector has nothing to look into.
// Record 0 is not used.
type slab[T any] struct {
	chunks []*[chunkLen]T
	end    uint32 // records from here on have never been used
}

func newSlab[T any]() slab[T] { return slab[T]{end: 1} }

// at gives a record. Indexing the chunk would check its pointer by a load of the
// chunk's first line, which is in no cache.
func (s *slab[T]) at(r ref) *T {
	chunk := unsafe.Pointer(s.chunks[r>>chunkBits])
	return (*T)(unsafe.Add(chunk, uintptr(r&chunkMask)*unsafe.Sizeof(*(*T)(nil))))
}

// extend gives a record that was never used.
func (s *slab[T]) extend() ref {
	r := s.end
	if int(r>>chunkBits) == len(s.chunks) {
		s.chunks = append(s.chunks, new([chunkLen]T))
	}
	s.end++
	return r
}

// class is the list that a record stands in: what it waits for, and in which order
// it goes when room is needed.
type class uint8

const (
	classNone class = iota
	// Subflows.
	classHalfOpen       // the SYN has no answer yet, or only the answer was seen
	classOrphanAsked    // a join of an unknown token, not answered
	classOrphanAnswered // a join of an unknown token that the server accepted
	classLive
	classClosed
	// Connections.
	classUnproven
	classProven
	classIdle // no live subflow
	classes
)

// list is a queue of records, oldest first.
type list struct {
	oldest, newest ref
	n              int
}

func (t *Tracker) pushSub(c class, r ref, s *subflow) {
	l := &t.lists[c]
	s.class, s.older, s.newer = c, l.newest, 0
	if l.newest != 0 {
		t.subs.at(l.newest).newer = r
	} else {
		l.oldest = r
	}
	l.newest = r
	l.n++
}

func (t *Tracker) pullSub(s *subflow) {
	l := &t.lists[s.class]
	if s.older != 0 {
		t.subs.at(s.older).newer = s.newer
	} else {
		l.oldest = s.newer
	}
	if s.newer != 0 {
		t.subs.at(s.newer).older = s.older
	} else {
		l.newest = s.older
	}
	l.n--
	s.class, s.older, s.newer = classNone, 0, 0
}

func (t *Tracker) pushConn(c class, r ref, k *connection) {
	l := &t.lists[c]
	k.class, k.older, k.newer = c, l.newest, 0
	if l.newest != 0 {
		t.conns.at(l.newest).newer = r
	} else {
		l.oldest = r
	}
	l.newest = r
	l.n++
}

func (t *Tracker) pullConn(k *connection) {
	l := &t.lists[k.class]
	if k.older != 0 {
		t.conns.at(k.older).newer = k.newer
	} else {
		l.oldest = k.newer
	}
	if k.newer != 0 {
		t.conns.at(k.newer).older = k.older
	} else {
		l.newest = k.older
	}
	l.n--
	k.class, k.older, k.newer = classNone, 0, 0
}
