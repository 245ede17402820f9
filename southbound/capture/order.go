package capture

import (
	"container/heap"
	"slices"
)

const (
	// waitBytes bounds the memory for packets that wait for their turn, of all files together.
	waitBytes = 64 << 20
	chunkSize = 64 << 10
	// waitSize is about what a waiting packet takes besides its data: run has room to spare.
	waitSize = 160
)

// sorter gives the packets of one file in the order of their times, those of equal
// times as they stand in the file. Interfaces, the queues of a network card and
// files that were put together have an order each, and none all together. So
// packets are read ahead, as many as limit allows; one that comes even later is
// given late.
type sorter struct {
	file  *File
	limit int // bytes

	run   []waiting // those that came in order, from first on
	first int
	late  lateHeap // those that came after a later one
	seq   uint64
	err   error // what the file ended with

	filled *chunk // gets the next packet's data
	given  *chunk // has the data that the caller looks at
	free   []*chunk
	bytes  int // of waiting packets and of chunks in use
}

type waiting struct {
	Packet
	seq uint64 // place in the file
	in  *chunk
}

// chunk holds the data of packets one after the other; it is used again when none
// of them waits any more.
type chunk struct {
	data  []byte
	users int
}

func newSorter(f *File, limit int) *sorter {
	s := &sorter{file: f, limit: limit}
	f.room = s.room
	return s
}

// next gives the next packet, good until next is called again. Errors are those of File.Next.
func (s *sorter) next() (Packet, error) {
	if s.given != nil {
		s.leave(s.given)
		s.given = nil
	}
	for s.err == nil && (s.bytes < s.limit || s.first == len(s.run) && len(s.late) == 0) {
		s.read()
	}
	var w *waiting
	switch {
	case s.first < len(s.run) && (len(s.late) == 0 || s.run[s.first].before(s.late[0])):
		w = &s.run[s.first]
		s.first++
	case len(s.late) > 0:
		w = heap.Pop(&s.late).(*waiting)
	default:
		return Packet{}, s.err
	}
	s.bytes -= waitSize
	s.given = w.in
	return w.Packet, nil
}

// read lets one more packet wait.
func (s *sorter) read() {
	p, err := s.file.Next()
	if err != nil {
		s.err = err
		return
	}
	s.seq++
	s.bytes += waitSize
	s.filled.users++
	if n := len(s.run); n > s.first && p.At < s.run[n-1].At {
		heap.Push(&s.late, &waiting{p, s.seq, s.filled})
		return
	}
	if s.first > len(s.run)/2 {
		s.run, s.first = slices.Delete(s.run, 0, s.first), 0
	}
	s.run = append(s.run, waiting{p, s.seq, s.filled})
}

// room gives n bytes for a packet's data.
func (s *sorter) room(n int) []byte {
	c := s.filled
	if c == nil || n > cap(c.data)-len(c.data) {
		if c != nil {
			s.leave(c)
		}
		if last := len(s.free) - 1; last >= 0 && n <= chunkSize {
			c, s.free = s.free[last], s.free[:last]
		} else {
			c = &chunk{data: make([]byte, 0, max(n, chunkSize))}
		}
		c.users = 1
		s.filled = c
		s.bytes += cap(c.data)
	}
	at := len(c.data)
	c.data = c.data[:at+n]
	return c.data[at:]
}

// leave ends one use of a chunk.
func (s *sorter) leave(c *chunk) {
	if c.users--; c.users > 0 {
		return
	}
	s.bytes -= cap(c.data)
	if cap(c.data) == chunkSize {
		c.data = c.data[:0]
		s.free = append(s.free, c)
	}
}

func (w *waiting) before(o *waiting) bool {
	return w.At < o.At || w.At == o.At && w.seq < o.seq
}

// lateHeap has the earliest packet first.
type lateHeap []*waiting

func (l lateHeap) Len() int           { return len(l) }
func (l lateHeap) Less(i, j int) bool { return l[i].before(l[j]) }
func (l lateHeap) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *lateHeap) Push(x any)        { *l = append(*l, x.(*waiting)) }
func (l *lateHeap) Pop() any {
	last := len(*l) - 1
	w := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	return w
}
