package xrcli

import (
	"time"

	"mpbox/examples/lab/pe/router"
)

// Bare is a server without SSH, for tests of commits in a bubble.
func Bare(r *router.Router) *Server { return &Server{r: r, now: time.Now} }

// What the tests of commits call.
func (s *Server) Commit(base, next *router.Config) error { return s.commit(base, next) }
func (s *Server) RollbackAfter(d time.Duration)          { s.rollbackAfter(d) }
func (s *Server) Rollback(n int) error                   { return s.rollback(n) }
func (s *Server) Confirmed() bool                        { return s.confirmed() }
