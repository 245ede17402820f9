package datapath

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"mpbox/southbound/openflow"
)

// portCounters counts punts by port. One goroutine adds at a time.
type portCounters struct {
	low  [64]atomic.Uint64 // ports 0 to 63, without a lookup
	mu   sync.Mutex
	high map[uint32]uint64
}

// add counts a batch; it is on the way of each punt.
func (p *portCounters) add(batch []openflow.Punt) {
	var low [len(p.low)]uint64
	for i := range batch {
		if port := batch[i].InPort; port < uint32(len(low)) {
			low[port]++
		} else {
			p.addHigh(port)
		}
	}
	for port, n := range low {
		if n > 0 {
			p.low[port].Add(n)
		}
	}
}

func (p *portCounters) addHigh(port uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.high == nil {
		p.high = map[uint32]uint64{}
	}
	if _, ok := p.high[port]; ok || len(p.high) < 1024 {
		p.high[port]++
	}
}

// PortPunts is how often a port's packets were punted.
type PortPunts struct {
	Port  uint32
	Punts uint64
}

func (p *portCounters) snapshot() []PortPunts {
	var out []PortPunts
	for i := range p.low {
		if n := p.low[i].Load(); n > 0 {
			out = append(out, PortPunts{uint32(i), n})
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for port, n := range p.high {
		out = append(out, PortPunts{port, n})
	}
	slices.SortFunc(out, func(a, b PortPunts) int { return cmp.Compare(a.Port, b.Port) })
	return out
}
