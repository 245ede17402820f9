package lab

import "slices"

// MaxFlow gives what that many subflows can carry between two hosts at most,
// in bit/s, when each is routed on one path of its own choice. down lists links
// to leave out. Subflows are spread over the hosts' attachments in turn, as the
// hosts' addresses are.
//
// For each capacity c of a link it counts how many paths of rate c fit
// (integer maximum flow with floor(capacity/c) places on each link); the best
// c times its count is exact when all links are equal, else a lower bound.
func (n *Network) MaxFlow(client, server string, subflows int, down ...string) uint64 {
	var best uint64
	for _, l := range n.Links {
		c := uint64(l.Bandwidth)
		k := n.countPaths(client, server, subflows, c, down)
		best = max(best, uint64(k)*c)
	}
	return best
}

// countPaths is an integer maximum flow by augmenting paths, limited by the
// subflows of each attachment.
func (n *Network) countPaths(client, server string, subflows int, unit uint64, down []string) int {
	index := map[string]int{}
	for i, r := range n.Nodes {
		index[r.Name] = i
	}
	source, sink := len(n.Nodes), len(n.Nodes)+1
	places := make([][]int, len(n.Nodes)+2)
	for i := range places {
		places[i] = make([]int, len(n.Nodes)+2)
	}
	for _, l := range n.Links {
		if slices.Contains(down, l.Name) {
			continue
		}
		places[index[l.A]][index[l.B]] += int(uint64(l.Bandwidth) / unit)
		places[index[l.B]][index[l.A]] += int(uint64(l.Bandwidth) / unit)
	}
	c, s := n.host(client), n.host(server)
	if c == nil || s == nil {
		return 0
	}
	for i := range subflows {
		places[source][index[c.Attach[i%len(c.Attach)].PE]]++
		places[index[s.Attach[0].PE]][sink]++
	}
	count := 0
	for augment(places, source, sink) {
		count++
	}
	return count
}

// augment finds a path with a free place and takes one place on it.
func augment(places [][]int, source, sink int) bool {
	from := make([]int, len(places))
	for i := range from {
		from[i] = -1
	}
	from[source] = source
	for queue := []int{source}; len(queue) > 0; queue = queue[1:] {
		for v, free := range places[queue[0]] {
			if free > 0 && from[v] < 0 {
				from[v] = queue[0]
				queue = append(queue, v)
			}
		}
	}
	if from[sink] < 0 {
		return false
	}
	for v := sink; v != source; v = from[v] {
		places[from[v]][v]--
		places[v][from[v]]++
	}
	return true
}
