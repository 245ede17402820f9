package plan

// gain predicts the goodput of a demand's group after, divided by that before: the
// sum of what its routes get when each link shares its capacity evenly among the
// routes that are bottlenecked there (max-min), in both directions. Where the
// capacity of a link on the way is unknown, it is the number of groups of routes
// that share no link.
func (p *Planner) gain(d *demandState) float64 {
	was, is, known := 0.0, 0.0, true
	for _, h := range d.halves {
		known = known && p.net.capacityKnown(h.stay.routes) && p.net.capacityKnown(h.chosen.routes)
	}
	for _, h := range d.halves {
		if known {
			was += p.net.fill(h.stay.routes)
			is += p.net.fill(h.chosen.routes)
		} else {
			was += float64(p.net.groups(h.stay.routes))
			is += float64(p.net.groups(h.chosen.routes))
		}
	}
	if was <= 0 {
		return 1
	}
	return is / was
}

// sum is what a group of routes gets, in bit/s or in groups that share no link.
func (p *Planner) sum(routes []*route) float64 {
	if p.net.capacityKnown(routes) {
		return p.net.fill(routes)
	}
	return float64(p.net.groups(routes))
}

func (n *network) capacityKnown(routes []*route) bool {
	for _, r := range routes {
		if r == nil {
			return false
		}
		for _, a := range r.arcs {
			if n.arcs[a].capacity < 0 {
				return false
			}
		}
	}
	return true
}

// fill gives the sum of the routes' max-min fair rates, in bit/s.
func (n *network) fill(routes []*route) float64 {
	left, users := map[int32]float64{}, map[int32]int{}
	for _, r := range routes {
		for _, a := range r.arcs {
			left[a] = float64(n.arcs[a].capacity)
			users[a]++
		}
	}
	done := make([]bool, len(routes))
	sum := 0.0
	for range routes {
		// The link with the least for each of its users fixes these users' rates.
		tight, rate := int32(-1), 0.0
		for i, r := range routes {
			if done[i] {
				continue
			}
			for _, a := range r.arcs {
				if share := left[a] / float64(users[a]); tight < 0 || share < rate || share == rate && a < tight {
					tight, rate = a, share
				}
			}
		}
		if tight < 0 {
			break
		}
		for i, r := range routes {
			if done[i] || !crosses(r, tight) {
				continue
			}
			done[i] = true
			sum += rate
			for _, a := range r.arcs {
				left[a] -= rate
				users[a]--
			}
		}
	}
	return sum
}

func crosses(r *route, arc int32) bool {
	for _, a := range r.arcs {
		if a == arc {
			return true
		}
	}
	return false
}

// groups counts the groups of routes of which no two share a link. Routes that are
// unknown may share any.
func (n *network) groups(routes []*route) int {
	group := make([]int, len(routes))
	for i := range group {
		group[i] = i
	}
	var find func(int) int
	find = func(i int) int {
		if group[i] != i {
			group[i] = find(group[i])
		}
		return group[i]
	}
	for i, a := range routes {
		for j, b := range routes[:i] {
			if a == nil || b == nil || overlap(a.bits[:n.srlgAt], b.bits[:n.srlgAt]) {
				group[find(i)] = find(j)
			}
		}
	}
	count := 0
	for i := range group {
		count += btoi(find(i) == i)
	}
	return count
}
