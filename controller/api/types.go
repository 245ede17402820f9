package api

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// List is a slice that is written as [] when it is nil, so that clients need not
// tell null from empty. A plain slice can be assigned to it.
type List[T any] []T

// MarshalJSON writes an array, also for nil.
func (l List[T]) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]T(l))
}

// Page is a part of a list. Next is where the next part begins (Query.After); ""
// at the end.
type Page[T any] struct {
	Items []T
	Next  string
}

// Query selects items of a list. A zero field selects everything.
type Query struct {
	// VPN, PE and State are exact names. An item that concerns several PEs is
	// selected when one of them is PE.
	VPN, PE, State string
	// Since selects items that began or last changed at or after this time.
	Since time.Time
	// After is the Next of an earlier page: items whose key is greater follow.
	// Keys are the backend's own and need not be those of the API.
	After string
	// Limit is the largest number of items to return, 1 to MaxLimit.
	Limit int
}

// MaxLimit is the largest page that can be asked for, DefaultLimit the usual.
const (
	MaxLimit     = 1000
	DefaultLimit = 100
)

// Paginate cuts a page out of items that are sorted by key, for backends that
// hold a list in memory. Keys are unique. Items that match does not select are
// left out; nil selects all.
func Paginate[T any](items []T, q Query, key func(T) string, match func(T) bool) Page[T] {
	var p Page[T]
	for _, it := range items {
		if q.After != "" && key(it) <= q.After || match != nil && !match(it) {
			continue
		}
		if q.Limit > 0 && len(p.Items) == q.Limit {
			p.Next = key(p.Items[len(p.Items)-1])
			break
		}
		p.Items = append(p.Items, it)
	}
	return p
}

// NewestFirst is a key that sorts numbered items from the greatest number down.
func NewestFirst(n uint64) string { return fmt.Sprintf("%020d", math.MaxUint64-n) }

// Duration is written as "1.5s", as in the configuration.
type Duration time.Duration

// MarshalText gives the form that time.ParseDuration reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads "500ms", "10s", "2m".
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("duration %q: want a number and a unit, like 500ms, 10s or 2m", b)
	}
	*d = Duration(v)
	return nil
}

func (d Duration) String() string { return time.Duration(d).String() }

// Schema describes a Duration in OpenAPI.
func (Duration) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type:        huma.TypeString,
		Pattern:     `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$`,
		Description: "A duration: a number and a unit, like 500ms, 10s or 2m.",
		Examples:    []any{"10s"},
	}
}

// Problem is what went wrong at a PE or datapath, for the operator: the step, the
// other side's own words, and what to do.
type Problem struct {
	Step   string    `json:"step" doc:"What was being done" example:"SET mplsTunnelRowStatus.50001 = createAndGo(4)"`
	Detail string    `json:"detail" doc:"What the other side said, or why there was no answer"`
	Remedy string    `json:"remedy,omitempty" doc:"What to do about it"`
	At     time.Time `json:"at,omitzero" doc:"When it happened"`
}

var _ huma.SchemaProvider = Duration(0)
