package disjoint

// costHeap is a binary heap of nodes by cost. A node may be in it several times;
// the caller skips stale entries.
type costHeap []heapItem

type heapItem struct {
	key  cost
	node int32
}

func (h *costHeap) push(key cost, node int32) {
	s := append(*h, heapItem{key, node})
	i := len(s) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !key.less(s[up].key) {
			break
		}
		s[i] = s[up]
		i = up
	}
	s[i] = heapItem{key, node}
	*h = s
}

func (h *costHeap) pop() heapItem {
	s := *h
	top := s[0]
	last := s[len(s)-1]
	s = s[:len(s)-1]
	i := 0
	for {
		down := 2*i + 1
		if down >= len(s) {
			break
		}
		if down+1 < len(s) && s[down+1].key.less(s[down].key) {
			down++
		}
		if !s[down].key.less(last.key) {
			break
		}
		s[i] = s[down]
		i = down
	}
	if len(s) > 0 {
		s[i] = last
	}
	*h = s
	return top
}
