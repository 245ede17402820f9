package controller

import (
	"fmt"
	"strings"

	"mpbox/apps/tunnelmanager"
	"mpbox/controller/store"
)

// state keeps the tunnel manager's values in the store.
type state struct {
	store  *store.Store
	bucket store.Bucket
}

var _ tunnelmanager.Store = state{}

func newState(s *store.Store) state {
	return state{s, store.Bucket{Name: "tunnelmanager", Version: 1}}
}

// Load reads one value.
func (s state) Load(key string, v any) (bool, error) { return s.store.Get(s.bucket, key, v) }

// Each reads the values below a prefix, in order.
func (s state) Each(prefix string, f func(key string, load func(v any) error) error) error {
	return s.store.Scan(s.bucket, prefix, func(key string, decode func(v any) error) (bool, error) {
		if !strings.HasPrefix(key, prefix) {
			return false, nil
		}
		return true, f(key, decode)
	})
}

// Write puts values and deletes those that are nil, all or none.
func (s state) Write(values map[string]any) error {
	items := make([]store.Item, 0, len(values))
	for _, key := range sortedKeys(values) {
		items = append(items, store.Item{Key: key, Value: values[key]})
	}
	if err := s.store.Put(s.bucket, items...); err != nil {
		return fmt.Errorf("save state: %w: make room where store.path is, and let mpbox write there", err)
	}
	return nil
}
