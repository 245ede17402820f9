package disjoint

// indexHeap is a 4-ary heap of nodes by key, with decrease. A node is in it at
// most once. It does not allocate after it was made.
type indexHeap struct {
	items []indexItem
	where []int32 // position of a node in items
}

type indexItem struct {
	key  int64
	node int32
}

func newIndexHeap(n int) indexHeap {
	return indexHeap{items: make([]indexItem, 0, n), where: make([]int32, n)}
}

func (h *indexHeap) clear()   { h.items = h.items[:0] }
func (h *indexHeap) len() int { return len(h.items) }

func (h *indexHeap) push(node int32, key int64) {
	h.items = append(h.items, indexItem{})
	h.up(len(h.items)-1, indexItem{key, node})
}

func (h *indexHeap) decrease(node int32, key int64) {
	h.up(int(h.where[node]), indexItem{key, node})
}

func (h *indexHeap) up(i int, x indexItem) {
	items := h.items
	for i > 0 {
		p := (i - 1) / 4
		if items[p].key <= x.key {
			break
		}
		items[i] = items[p]
		h.where[items[i].node] = int32(i)
		i = p
	}
	items[i] = x
	h.where[x.node] = int32(i)
}

func (h *indexHeap) pop() int32 {
	items := h.items
	top := items[0].node
	x := items[len(items)-1]
	items = items[:len(items)-1]
	h.items = items
	n := len(items)
	if n == 0 {
		return top
	}
	i := 0
	for {
		c := 4*i + 1
		if c >= n {
			break
		}
		best, key := c, items[c].key
		for j := c + 1; j < min(c+4, n); j++ {
			if items[j].key < key {
				best, key = j, items[j].key
			}
		}
		if key >= x.key {
			break
		}
		items[i] = items[best]
		h.where[items[i].node] = int32(i)
		i = best
	}
	items[i] = x
	h.where[x.node] = int32(i)
	return top
}
