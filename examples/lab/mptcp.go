package lab

import (
	"context"
	"fmt"
	"net/netip"
)

// SetSubflows makes every client host open that many subflows per connection,
// from its first addresses of each family; a host with several interfaces uses
// them in turn. The first subflow is the connection itself. Servers have no
// endpoints: with one, Linux opens subflows from the server too, and these use up
// the limit for joins.
func (l *Lab) SetSubflows(ctx context.Context, n int) error {
	if n < 1 || n > maxSubflows {
		return OptionError{fmt.Sprintf("subflows %d: want 1 to %d", n, maxSubflows)}
	}
	for i := range l.Hosts {
		h := &l.Hosts[i]
		var b batch
		b.add("mptcp endpoint flush")
		b.add("mptcp limits set subflows %d add_addr_accepted 0", maxSubflows)
		families := []bool{true, false}
		if h.Role != RoleClient {
			families = nil
		}
		for _, v4 := range families {
			for k := 1; k < n; k++ {
				hi, a := h.address(k, v4)
				// The kernel keeps eight endpoints; IPv4 has them first.
				if a.IsValid() && len(b) < 2+maxSubflows {
					b.add("mptcp endpoint add %s dev %s subflow", a.Addr(), hi.Name)
				}
			}
		}
		if err := b.run(ctx, "ip", h.Namespace); err != nil {
			return err
		}
	}
	return nil
}

// routeBySource sends what a host with several interfaces says by the interface
// of its source address.
func (l *Lab) routeBySource(ctx context.Context, h *Host) error {
	if len(h.Interfaces) < 2 {
		return nil
	}
	v4, v6 := batch{}, batch{}
	for k, hi := range h.Interfaces {
		table := 100 + k
		for _, gw := range hi.Gateways {
			b := &v4
			if gw.Is6() {
				b = &v6
			}
			b.add("route add default via %s dev %s table %d", gw, hi.Name, table)
		}
		seen := map[netip.Prefix]bool{}
		for _, a := range hi.Addresses {
			b := &v4
			if a.Addr().Is6() {
				b = &v6
			}
			if p := a.Masked(); !seen[p] {
				seen[p] = true
				b.add("rule add from %s table %d", p, table)
			}
		}
	}
	if err := v4.run(ctx, "ip", h.Namespace); err != nil {
		return err
	}
	return v6.run(ctx, "ip", h.Namespace, "-6")
}
