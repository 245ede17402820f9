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

// Write puts values and deletes those that are nil. What is put is on disk before
// anything is deleted.
func (s state) Write(values map[string]any) error {
	var put []store.Item
	var gone []string
	for _, key := range sortedKeys(values) {
		if v := values[key]; v == nil {
			gone = append(gone, key)
		} else {
			put = append(put, store.Item{Key: key, Value: v})
		}
	}
	if len(put) > 0 {
		if err := s.store.Put(s.bucket, put...); err != nil {
			return fmt.Errorf("save state: %w", err)
		}
	}
	if len(gone) > 0 {
		if err := s.store.Delete(s.bucket, gone...); err != nil {
			return fmt.Errorf("forget state: %w", err)
		}
	}
	return nil
}
