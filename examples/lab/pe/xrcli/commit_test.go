package xrcli_test

import (
	"testing"
	"testing/synctest"
	"time"

	"mpbox/examples/lab/pe/petest"
	"mpbox/examples/lab/pe/router"
	"mpbox/examples/lab/pe/xrcli"
)

// A commit that is not confirmed in time is taken back.
func TestCommitConfirmed(t *testing.T) {
	node := petest.Node(t)
	synctest.Test(t, func(t *testing.T) {
		r, err := router.New(node, petest.NewFabric(), router.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := xrcli.Bare(r)
		add := func(name string) {
			base := r.Config()
			next := base.Clone()
			next.CLI.Paths[name] = router.ExplicitPath{}
			if err := s.Commit(base, next); err != nil {
				t.Fatal(err)
			}
		}
		paths := func() int { return len(r.Config().CLI.Paths) }
		add("A")
		add("B")
		s.RollbackAfter(30 * time.Second)
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if paths() != 2 {
			t.Error("taken back early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if paths() != 1 {
			t.Error("not taken back")
		}
		add("C")
		s.RollbackAfter(30 * time.Second)
		if !s.Confirmed() || s.Confirmed() {
			t.Error("confirmed is not told, or told twice")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if paths() != 2 {
			t.Error("a confirmed commit was taken back")
		}
		if err := s.Rollback(99); err == nil {
			t.Error("rollback of commits that never were")
		}
	})
}
