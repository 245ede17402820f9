package api

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// listInput are the parameters that all lists take.
type listInput struct {
	VPN   string `query:"vpn" doc:"Only those of this VPN"`
	PE    string `query:"pe" doc:"Only those that concern this PE"`
	State string `query:"state" doc:"Only those in this state"`
	Since string `query:"since" doc:"Only those that began or changed since: a time (RFC 3339), or how long ago" example:"10m"`
	After string `query:"after" doc:"next of the page before"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Size of a page"`
}

// ListBody is a page of a list.
type ListBody[T any] struct {
	Items List[T] `json:"items"`
	Next  string  `json:"next,omitempty" doc:"Give it as after to get the next page; absent at the end"`
}

type listOutput[T any] struct {
	Link string `header:"Link" doc:"The next page (RFC 8288), where there is one"`
	Body ListBody[T]
}

// list adds a route that answers with pages. states are the values that state may
// have.
func list[T any](s *Server, op huma.Operation, states []string, f func(context.Context, Query) (Page[T], error)) {
	op.Method = http.MethodGet
	if len(states) > 0 {
		op.Description = strings.TrimSpace(op.Description + " States: " + strings.Join(states, ", ") + ".")
	}
	huma.Register(s.huma, op, func(ctx context.Context, in *listInput) (*listOutput[T], error) {
		q, err := in.query(op.OperationID, states)
		if err != nil {
			return nil, err
		}
		p, err := f(ctx, q)
		if err != nil {
			var invalid *InvalidError
			if errors.As(err, &invalid) {
				return nil, huma.Error422UnprocessableEntity("bad parameters", &huma.ErrorDetail{Message: invalid.Detail, Location: "query." + invalid.Field})
			}
			return nil, s.problem(err)
		}
		out := &listOutput[T]{Body: ListBody[T]{Items: p.Items}}
		if p.Next != "" {
			out.Body.Next = cursor(op.OperationID, p.Next)
			out.Link = in.nextLink(op.Path, out.Body.Next)
		}
		return out, nil
	})
}

// query checks the parameters.
func (in *listInput) query(list string, states []string) (Query, error) {
	q := Query{VPN: in.VPN, PE: in.PE, State: in.State, Limit: in.Limit}
	var wrong []error
	if in.State != "" && !slices.Contains(states, in.State) {
		want := "this list has no states"
		if len(states) > 0 {
			want = "want " + strings.Join(states, ", ")
		}
		wrong = append(wrong, &huma.ErrorDetail{Message: want, Location: "query.state", Value: in.State})
	}
	if in.Since != "" {
		var err error
		if q.Since, err = parseSince(in.Since, time.Now()); err != nil {
			wrong = append(wrong, &huma.ErrorDetail{Message: err.Error(), Location: "query.since", Value: in.Since})
		}
	}
	if in.After != "" {
		var ok bool
		if q.After, ok = readCursor(list, in.After); !ok {
			wrong = append(wrong, &huma.ErrorDetail{Message: "want next of an earlier page of this list", Location: "query.after", Value: in.After})
		}
	}
	if len(wrong) > 0 {
		return Query{}, huma.Error422UnprocessableEntity("bad parameters", wrong...)
	}
	return q, nil
}

// parseSince reads a time, or how long before now.
func parseSince(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("want a time like 2006-01-02T15:04:05Z, or how long ago, like 10m")
}

// A cursor is opaque to clients; it names its list, so that it is not used for
// another one.
func cursor(list, key string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(list + "\x00" + key))
}

func readCursor(list, c string) (key string, ok bool) {
	raw, err := base64.RawURLEncoding.DecodeString(c)
	if err != nil {
		return "", false
	}
	return strings.CutPrefix(string(raw), list+"\x00")
}

func (in *listInput) nextLink(path, next string) string {
	v := url.Values{"after": {next}, "limit": {strconv.Itoa(in.Limit)}}
	for key, value := range map[string]string{"vpn": in.VPN, "pe": in.PE, "state": in.State, "since": in.Since} {
		if value != "" {
			v.Set(key, value)
		}
	}
	return fmt.Sprintf("<%s?%s>; rel=\"next\"", path, v.Encode())
}
