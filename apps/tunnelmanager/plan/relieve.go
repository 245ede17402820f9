package plan

// relieve moves demands where that lessens overload or cost.
func (p *Planner) relieve(work []*demandState) {}
