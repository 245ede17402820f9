package disjoint

// cost is what a search minimises, in this order: risk, the number of extra uses
// of SRLGs and inner nodes where these are asked for; share, the cost of extra
// uses of links; total, the sum of the links' costs. Differences may be negative.
type cost struct{ risk, share, total int64 }

func (a cost) less(b cost) bool {
	if a.risk != b.risk {
		return a.risk < b.risk
	}
	if a.share != b.share {
		return a.share < b.share
	}
	return a.total < b.total
}

func (a cost) plus(b cost) cost {
	return cost{a.risk + b.risk, a.share + b.share, a.total + b.total}
}

func (a cost) minus(b cost) cost {
	return cost{a.risk - b.risk, a.share - b.share, a.total - b.total}
}

var (
	infinite = cost{risk: 1 << 62}
	zero     = cost{}
)
