// Package store keeps what must survive a restart: thresholds, mode, audit, plans,
// bound connections. It is a thin layer on bbolt: named buckets of JSON values,
// each with the version of its form. Nothing secret is put here.
//
// Each Put is one transaction, on disk when it returns. Any number of
// goroutines may read and write; bbolt has them write one after the other.
package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Bucket names a set of values of one form.
type Bucket struct {
	Name string
	// Version of the form, from 1. Raise it when old values cannot be read as new.
	Version int
	// Migrate makes a value of the present form from one of an older version; nil
	// leaves out older values.
	Migrate func(version int, old []byte) ([]byte, error)
}

// Item is a value and its key, nil for a key that is to go; a Scan is in the order of
// keys.
type Item struct {
	Key   string
	Value any
}

// What went wrong, for errors.Is.
var (
	// ErrLocked: another process has the file open.
	ErrLocked = errors.New("store is in use")
	// ErrCorrupt: the file cannot be read.
	ErrCorrupt = errors.New("store is damaged")
	// ErrNewer: a value was written by a newer mpbox.
	ErrNewer = errors.New("value is of a newer version of mpbox")
)

// Store is an open file.
type Store struct {
	db   *bbolt.DB
	path string
}

// lockWait is how long another process may take to let go of the file.
const lockWait = 2 * time.Second

// Open opens or creates a file. With an empty path, what is put is forgotten when
// the store is closed.
func Open(path string) (s *Store, err error) {
	if path == "" {
		return openTemporary()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w: set store.path to a place that mpbox may write to", err)
	}
	info, statErr := os.Stat(path)
	if statErr == nil && info.IsDir() {
		return nil, fmt.Errorf("open store: %s is a folder: set store.path to a file in it", path)
	}
	db, err := open(path)
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("open store %s: %w: another mpbox is running; stop it (fuser %s shows its process), or give this one another store.path", path, ErrLocked, path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("open store: %w: let mpbox read and write the file, or set another store.path", err)
	case err != nil && statErr == nil:
		return nil, fmt.Errorf("open store %s: %w (%w): move the file away and start again; thresholds, audit and plans kept in it are lost, LSPs and table entries are read back from the routers", path, ErrCorrupt, err)
	case err != nil:
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return &Store{db, path}, nil
}

func openTemporary() (*Store, error) {
	f, err := os.CreateTemp("", "mpbox-*.db")
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	_ = f.Close()
	db, err := bbolt.Open(f.Name(), 0o600, &bbolt.Options{NoSync: true})
	_ = os.Remove(f.Name())
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return &Store{db, ""}, nil
}

// open opens the file and reads it through once. A damaged file can make bbolt
// fault or panic; here is where that becomes an error, not later.
func open(path string) (db *bbolt.DB, err error) {
	// A truncated file is mapped beyond its end: reading there is a fault.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			// The handle cannot be closed any more: bbolt may hold its own locks.
			db, err = nil, fmt.Errorf("%v", r)
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		if info, err := os.Stat(path); err == nil && info.Size() < tx.Size() {
			return fmt.Errorf("%d bytes, want %d", info.Size(), tx.Size())
		}
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				if !json.Valid(v) {
					return fmt.Errorf("%s/%s is no JSON", name, k)
				}
				return nil
			})
		})
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Close waits for transactions and lets go of the file.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// envelope is how a value lies in the file.
type envelope struct {
	Version int             `json:"v"`
	Data    json.RawMessage `json:"d"`
}

// Put writes items and removes those without a value, all or none. A key to remove
// that is not there does not matter.
func (s *Store) Put(b Bucket, items ...Item) error {
	encoded := make([][]byte, len(items))
	for i, it := range items {
		if it.Value == nil {
			continue
		}
		data, err := json.Marshal(it.Value)
		if err != nil {
			return fmt.Errorf("encode %s/%s: %w", b.Name, it.Key, err)
		}
		if encoded[i], err = json.Marshal(envelope{b.Version, data}); err != nil {
			return fmt.Errorf("encode %s/%s: %w", b.Name, it.Key, err)
		}
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte(b.Name))
		if err != nil {
			return err
		}
		for i, it := range items {
			if encoded[i] == nil {
				err = bucket.Delete([]byte(it.Key))
			} else {
				err = bucket.Put([]byte(it.Key), encoded[i])
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write %s to store: %w", b.Name, err)
	}
	return nil
}

// Get reads a value into v and tells whether there is one.
func (s *Store) Get(b Bucket, key string, v any) (bool, error) {
	var found bool
	err := s.db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte(b.Name))
		if bucket == nil {
			return nil
		}
		raw := bucket.Get([]byte(key))
		if raw == nil {
			return nil
		}
		data, ok, err := b.unwrap(raw)
		if err != nil || !ok {
			return err
		}
		found = true
		return json.Unmarshal(data, v)
	})
	if err != nil {
		return false, fmt.Errorf("read %s/%s from store: %w", b.Name, key, err)
	}
	return found, nil
}

// Scan calls fn with each value whose key is from or greater, in order, until fn
// returns false. Values of an older version without a Migrate are left out. fn must
// not write to the store.
func (s *Store) Scan(b Bucket, from string, fn func(key string, decode func(v any) error) (more bool, err error)) error {
	err := s.db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte(b.Name))
		if bucket == nil {
			return nil
		}
		c := bucket.Cursor()
		for k, raw := c.Seek([]byte(from)); k != nil; k, raw = c.Next() {
			data, ok, err := b.unwrap(raw)
			if err != nil {
				return fmt.Errorf("%s: %w", k, err)
			}
			if !ok {
				continue
			}
			more, err := fn(string(k), func(v any) error { return json.Unmarshal(data, v) })
			if err != nil || !more {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %s from store: %w", b.Name, err)
	}
	return nil
}

// unwrap gives a value in the present form; not ok where it is to be left out.
func (b Bucket) unwrap(raw []byte) (data []byte, ok bool, err error) {
	var e envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, false, err
	}
	switch {
	case e.Version > b.Version:
		return nil, false, fmt.Errorf("%w (%d, this one knows %d)", ErrNewer, e.Version, b.Version)
	case e.Version == b.Version:
		return e.Data, true, nil
	case b.Migrate == nil:
		return nil, false, nil
	}
	data, err = b.Migrate(e.Version, e.Data)
	return data, err == nil, err
}
