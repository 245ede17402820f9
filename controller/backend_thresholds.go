package controller

import (
	"context"
	"errors"
	"time"

	"mpbox/apps/tunnelmanager"
	"mpbox/apps/tunnelmanager/threshold"
	"mpbox/controller/api"
)

func (c *control) Thresholds(context.Context) (api.Thresholds, error) {
	return thresholdsView(c.manager.View()), nil
}

func thresholdsView(view *tunnelmanager.View) api.Thresholds {
	l := view.Limits
	t := api.Thresholds{
		MinConnections: l.MinConnections, MinSubflows: l.MinSubflows, MinGain: l.MinGain, MinAge: api.Duration(l.MinAge), MinBytes: l.MinBytes,
		Settle: api.Duration(l.Settle), HoldDown: api.Duration(l.HoldDown), MaxOpsPerMinute: l.MaxOpsPerMinute, ReleaseDelay: api.Duration(l.ReleaseDelay),
	}
	for _, r := range view.Rules {
		t.Rules = append(t.Rules, api.ThresholdRule{
			RuleMatch: api.RuleMatch(r.Match),
			Limits: api.Limits{
				MinConnections: r.MinConnections, MinSubflows: r.MinSubflows, MinGain: r.MinGain, MinAge: (*api.Duration)(r.MinAge), MinBytes: r.MinBytes,
				Settle: (*api.Duration)(r.Settle), HoldDown: (*api.Duration)(r.HoldDown), ReleaseDelay: (*api.Duration)(r.ReleaseDelay),
			},
		})
	}
	return t
}

// limitsView shows those of one demand.
func limitsView(l threshold.Limits) api.Limits {
	return api.Limits{
		MinConnections: &l.MinConnections, MinSubflows: &l.MinSubflows, MinGain: &l.MinGain, MinAge: (*api.Duration)(&l.MinAge), MinBytes: &l.MinBytes,
		Settle: (*api.Duration)(&l.Settle), HoldDown: (*api.Duration)(&l.HoldDown), ReleaseDelay: (*api.Duration)(&l.ReleaseDelay),
	}
}

func (c *control) SetThresholds(ctx context.Context, actor string, t api.Thresholds) (api.Thresholds, error) {
	limits := threshold.Limits{
		MinConnections: t.MinConnections, MinSubflows: t.MinSubflows, MinGain: t.MinGain, MinAge: time.Duration(t.MinAge), MinBytes: t.MinBytes,
		Settle: time.Duration(t.Settle), HoldDown: time.Duration(t.HoldDown), MaxOpsPerMinute: t.MaxOpsPerMinute, ReleaseDelay: time.Duration(t.ReleaseDelay),
	}
	var rules threshold.Rules
	for _, r := range t.Rules {
		rules = append(rules, threshold.Rule{
			Match: threshold.Match(r.RuleMatch),
			Patch: threshold.Patch{
				MinConnections: r.MinConnections, MinSubflows: r.MinSubflows, MinGain: r.MinGain, MinAge: (*time.Duration)(r.MinAge), MinBytes: r.MinBytes,
				Settle: (*time.Duration)(r.Settle), HoldDown: (*time.Duration)(r.HoldDown), ReleaseDelay: (*time.Duration)(r.ReleaseDelay),
			},
		})
	}
	err := c.manager.SetThresholds(ctx, actor, limits, rules)
	var bad *threshold.InvalidError
	if errors.As(err, &bad) {
		return api.Thresholds{}, &api.InvalidError{Field: bad.Field, Detail: bad.Detail}
	}
	return t, unavailable(err)
}
