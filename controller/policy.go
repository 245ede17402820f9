package controller

import (
	"fmt"
	"time"

	"mpbox/apps/tunnelmanager"
	"mpbox/apps/tunnelmanager/threshold"
	"mpbox/controller/config"
	"mpbox/topology"
	"mpbox/topology/disjoint"
	"mpbox/topology/importer"
)

// callLimit is how long a call of a driver may take whose requests take so long at most
// each: a commit has a minute at least, the rest is for ten more that all but time out,
// and for the lines of a candidate.
func callLimit(request time.Duration) time.Duration { return 2*time.Minute + 10*request }

// limits bounds the calls of a PE's driver, and of what its TED is read by.
func limits(pe *config.PE) (call, ted time.Duration) {
	if pe.SSH != nil {
		ted = callLimit(time.Duration(pe.SSH.Timeout))
	}
	if pe.Driver == "snmp" {
		return callLimit(time.Duration(pe.SNMP.Timeout) * time.Duration(1+pe.SNMP.Retries)), ted
	}
	return ted, ted
}

// managerConfig puts the configuration into the tunnel manager's words.
func managerConfig(cfg *config.Config, p *places) (tunnelmanager.Config, error) {
	t := cfg.Thresholds
	out := tunnelmanager.Config{
		Owner: owner(cfg), Mode: tunnelmanager.Mode(cfg.Mode), Attachments: p.managerAttachments(),
		Thresholds: threshold.Limits{
			MinConnections: t.MinConnections, MinSubflows: t.MinSubflows, MinGain: t.MinGain, MinAge: time.Duration(t.MinAge), MinBytes: t.MinBytes,
			Settle: time.Duration(t.Settle), HoldDown: time.Duration(t.HoldDown), MaxOpsPerMinute: t.MaxOpsPerMinute, ReleaseDelay: time.Duration(t.ReleaseDelay),
		},
		VPNs: []string{config.DefaultVPN},
	}
	for i := range cfg.VPNs {
		out.VPNs = append(out.VPNs, cfg.VPNs[i].Name)
	}
	for i := range t.Rules {
		r := &t.Rules[i]
		out.Rules = append(out.Rules, threshold.Rule{
			Match: threshold.Match{VPN: r.VPN, Policy: r.Policy, Ingress: r.Ingress, Egress: r.Egress},
			Patch: threshold.Patch{
				MinConnections: r.MinConnections, MinSubflows: r.MinSubflows, MinGain: r.MinGain, MinAge: (*time.Duration)(r.MinAge), MinBytes: r.MinBytes,
				Settle: (*time.Duration)(r.Settle), HoldDown: (*time.Duration)(r.HoldDown), ReleaseDelay: (*time.Duration)(r.ReleaseDelay),
			},
		})
	}
	for i := range cfg.PEs {
		pe := &cfg.PEs[i]
		call, ted := limits(pe)
		out.PEs = append(out.PEs, tunnelmanager.PE{
			Name: pe.Name, Steer: tunnelmanager.Steer(pe.Steer), Poll: time.Duration(pe.Poll), TEDPoll: time.Duration(cfg.Topology.Poll), Limit: call, TEDLimit: ted,
		})
	}
	for i := range cfg.Policies {
		pol, err := policy(&cfg.Policies[i])
		if err != nil {
			return out, err
		}
		out.Policies = append(out.Policies, pol)
	}
	if cfg.Topology.File != "" {
		in, err := importer.Load(cfg.Topology.File)
		if err != nil {
			return out, fmt.Errorf("topology.file: %w", err)
		}
		out.Topology = in.TED
	}
	return out, nil
}

var metricOf = map[string]disjoint.Metric{"te": disjoint.MetricTE, "igp": disjoint.MetricIGP, "delay": disjoint.MetricDelay, "hops": disjoint.MetricHops}

func policy(p *config.Policy) (tunnelmanager.Policy, error) {
	out := tunnelmanager.Policy{
		Name: p.Name, VPN: p.Match.VPN, Prefixes: p.Match.Prefixes, Ports: p.Match.Ports, Strict: p.Strict, RequireVerified: p.RequireVerified,
		Metric: metricOf[p.Metric],
		Constraints: disjoint.Constraints{
			IncludeAny: p.LSP.IncludeAny, IncludeAll: p.LSP.IncludeAll, ExcludeAny: p.LSP.ExcludeAny,
			Bandwidth: float64(p.LSP.Bandwidth), Priority: p.LSP.SetupPriority,
			MaxHops: p.Constraints.MaxHops, MaxDelay: time.Duration(p.Constraints.MaxDelay), MaxDelaySpread: time.Duration(p.Constraints.MaxDelaySpread),
			AvoidNodes: p.Constraints.AvoidNodes, RequireNodes: p.Constraints.RequireNodes,
		},
		Template: topology.LSP{
			AdminUp: true, Bandwidth: float64(p.LSP.Bandwidth), SetupPriority: p.LSP.SetupPriority, HoldPriority: p.LSP.HoldPriority,
			IncludeAny: p.LSP.IncludeAny, IncludeAll: p.LSP.IncludeAll, ExcludeAny: p.LSP.ExcludeAny,
		},
	}
	if err := out.Level.UnmarshalText([]byte(p.Disjoint)); err != nil {
		return out, fmt.Errorf("policy %s: %w", p.Name, err)
	}
	return out, nil
}
