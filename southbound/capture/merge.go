package capture

import (
	"container/heap"
	"errors"
	"io"
)

// Merge gives the packets of several files in the order of their times.
type Merge struct {
	files []*sorter
	heads []head
	begun bool
	// Errors of files that could not be read to their end.
	Errors []error
}

type head struct {
	p    Packet
	file int
}

// NewMerge merges files; Packet.File counts them from 0.
func NewMerge(files ...*File) *Merge {
	m := &Merge{}
	for _, f := range files {
		m.files = append(m.files, newSorter(f, waitBytes/len(files)))
	}
	return m
}

// Next gives the next packet; io.EOF at the end of all files, the only error.
func (m *Merge) Next() (Packet, error) {
	if !m.begun {
		m.begun = true
		for i := range m.files {
			m.fill(i)
		}
		heap.Init(m)
	} else if len(m.heads) > 0 {
		// The packet given last is still at the front: its data was good until now.
		i := m.heads[0].file
		p, ok := m.read(i)
		if ok {
			m.heads[0].p = p
			heap.Fix(m, 0)
		} else {
			heap.Pop(m)
		}
	}
	if len(m.heads) == 0 {
		return Packet{}, io.EOF
	}
	return m.heads[0].p, nil
}

func (m *Merge) fill(i int) {
	if p, ok := m.read(i); ok {
		m.heads = append(m.heads, head{p, i})
	}
}

func (m *Merge) read(i int) (Packet, bool) {
	p, err := m.files[i].next()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			m.Errors = append(m.Errors, err)
		}
		return Packet{}, false
	}
	p.File = i
	return p, true
}

// Len, Less, Swap, Push and Pop are for container/heap.
func (m *Merge) Len() int { return len(m.heads) }

// Less puts the earlier packet first, of equals that of the first file.
func (m *Merge) Less(i, j int) bool {
	a, b := &m.heads[i], &m.heads[j]
	if a.p.At != b.p.At {
		return a.p.At < b.p.At
	}
	return a.file < b.file
}

// Swap exchanges two heads.
func (m *Merge) Swap(i, j int) { m.heads[i], m.heads[j] = m.heads[j], m.heads[i] }

// Push is not used: every file has its place from the beginning.
func (m *Merge) Push(x any) { m.heads = append(m.heads, x.(head)) }

// Pop removes the last head.
func (m *Merge) Pop() any {
	h := m.heads[len(m.heads)-1]
	m.heads = m.heads[:len(m.heads)-1]
	return h
}
