package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

func (s *Server) thresholdRoutes(tags []string) {
	const path = "/v1/thresholds"
	register(s, huma.Operation{OperationID: "get-thresholds", Method: http.MethodGet, Path: path, Tags: tags, Summary: "Limits on replanning"},
		func(ctx context.Context, _ *struct{}) (Thresholds, error) {
			if s.backend.Control == nil {
				return Thresholds{}, errNotYet
			}
			return s.backend.Control.Thresholds(ctx)
		})
	register(s, huma.Operation{OperationID: "set-thresholds", Method: http.MethodPut, Path: path, Tags: tags, Summary: "Set all thresholds", RejectUnknownQueryParameters: true},
		func(ctx context.Context, in *struct{ Body Thresholds }) (Thresholds, error) {
			return s.setThresholds(ctx, func(t *Thresholds) error {
				if in.Body.Rules == nil {
					in.Body.Rules = t.Rules
				}
				*t = in.Body
				return nil
			})
		})
	register(s, huma.Operation{OperationID: "change-thresholds", Method: http.MethodPatch, Path: path, Tags: tags, Summary: "Set some thresholds, for all demands or for some",
		Description: "With vpn, policy, ingress or egress, what is given is set in the rule for these demands, which is made where there is none.", RejectUnknownQueryParameters: true},
		func(ctx context.Context, in *patchInput) (Thresholds, error) {
			if in.RuleMatch == (RuleMatch{}) {
				return s.setThresholds(ctx, func(t *Thresholds) error { in.Body.apply(t); return nil })
			}
			return s.setRule(ctx, in.RuleMatch, func(t *Thresholds, i int) error { return in.Body.applyTo(t, i, in.RuleMatch) })
		})
	register(s, huma.Operation{OperationID: "remove-threshold-rule", Method: http.MethodDelete, Path: path, Tags: tags, Summary: "Remove the rule for some demands", Errors: []int{404}, RejectUnknownQueryParameters: true},
		func(ctx context.Context, in *struct{ RuleMatch }) (Thresholds, error) {
			if in.RuleMatch == (RuleMatch{}) {
				return Thresholds{}, &InvalidError{Query: true, Field: "vpn", Detail: "name the rule: vpn, policy, ingress, egress, as it has them"}
			}
			return s.setRule(ctx, in.RuleMatch, func(t *Thresholds, i int) error {
				if i < 0 {
					return fmt.Errorf("a rule for just these demands: %w; GET /v1/thresholds shows them", ErrNotFound)
				}
				t.Rules = slices.Delete(t.Rules, i, i+1)
				return nil
			})
		})
}

type patchInput struct {
	RuleMatch
	Body ThresholdsPatch
}

// Resolve refuses a name that is there and empty, as from a variable that is not set:
// what is meant for some demands must not be set for all.
func (*patchInput) Resolve(ctx huma.Context) (errs []error) {
	u := ctx.URL()
	for name, values := range u.Query() {
		if slices.Contains(values, "") {
			errs = append(errs, &huma.ErrorDetail{Message: "want a name; leave it out for all", Location: "query." + name})
		}
	}
	return errs
}

// setThresholds reads, changes, checks and sets.
func (s *Server) setThresholds(ctx context.Context, change func(*Thresholds) error) (Thresholds, error) {
	if s.backend.Control == nil {
		return Thresholds{}, errNotYet
	}
	s.patching.Lock()
	defer s.patching.Unlock()
	t, err := s.backend.Control.Thresholds(ctx)
	if err != nil {
		return Thresholds{}, err
	}
	t.Rules = slices.Clone(t.Rules)
	if err := change(&t); err != nil {
		return Thresholds{}, err
	}
	if err := t.check(); err != nil {
		return Thresholds{}, err
	}
	return s.backend.Control.SetThresholds(ctx, actorOf(ctx), t)
}

// setRule is setThresholds for the rule with that match: change is told its index,
// -1 where there is none. What is wrong with the rule is told by what was asked.
func (s *Server) setRule(ctx context.Context, m RuleMatch, change func(t *Thresholds, i int) error) (Thresholds, error) {
	at := 0
	t, err := s.setThresholds(ctx, func(t *Thresholds) error {
		i := slices.IndexFunc(t.Rules, func(r ThresholdRule) bool { return r.RuleMatch == m })
		if at = i; i < 0 {
			at = len(t.Rules)
		}
		return change(t, i)
	})
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		if field, ok := strings.CutPrefix(invalid.Field, fmt.Sprintf("rules[%d]", at)); ok {
			field = strings.TrimPrefix(field, ".")
			isMatch := slices.Contains([]string{"vpn", "policy", "ingress", "egress"}, field)
			err = &InvalidError{Query: isMatch, Field: field, Detail: invalid.Detail}
		}
	}
	return t, err
}

// applyTo sets what is given in rule i, or in a new one where i is negative.
func (p ThresholdsPatch) applyTo(t *Thresholds, i int, m RuleMatch) error {
	switch {
	case p.MaxOpsPerMinute != nil:
		return &InvalidError{Field: "max_ops_per_minute", Detail: "it is counted for all demands together: set it without vpn, policy, ingress and egress"}
	case p.Rules != nil:
		return &InvalidError{Field: "rules", Detail: "give the limits of the one rule that is named, or all rules and no name"}
	case i < 0:
		t.Rules = append(t.Rules, ThresholdRule{m, p.Limits})
	default:
		t.Rules[i].Limits = t.Rules[i].with(p.Limits)
	}
	return nil
}

// check finds durations out of range, which a schema cannot.
func (t Thresholds) check() error {
	all := Limits{MinAge: &t.MinAge, Settle: &t.Settle, HoldDown: &t.HoldDown, ReleaseDelay: &t.ReleaseDelay}
	if err := all.check(""); err != nil {
		return err
	}
	for i, r := range t.Rules {
		if err := r.check(fmt.Sprintf("rules[%d].", i)); err != nil {
			return err
		}
	}
	return nil
}

func (l Limits) check(prefix string) error {
	for _, d := range []struct {
		field string
		value *Duration
		most  time.Duration
	}{
		{"min_age", l.MinAge, 24 * time.Hour}, {"settle", l.Settle, time.Minute},
		{"hold_down", l.HoldDown, 24 * time.Hour}, {"release_delay", l.ReleaseDelay, 24 * time.Hour},
	} {
		if d.value == nil {
			continue
		}
		if v := time.Duration(*d.value); v < 0 || v > d.most {
			return &InvalidError{Field: prefix + d.field, Detail: d.value.String() + " is out of range: want 0s to " + Duration(d.most).String()}
		}
	}
	return nil
}
