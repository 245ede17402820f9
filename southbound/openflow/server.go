package openflow

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Server accepts switches.
type Server struct {
	cfg  Config
	open func(*Session) (Handler, error)
	log  *zap.Logger
	// MaxSessions limits connections, so that strangers cannot use up memory.
	maxSessions int64
	sessions    atomic.Int64
}

// NewServer returns a server whose sessions are introduced to open: see NewSession.
func NewServer(cfg Config, log *zap.Logger, open func(*Session) (Handler, error)) *Server {
	if log == nil {
		log = zap.NewNop()
	}
	return &Server{cfg: cfg, open: open, log: log, maxSessions: 8192}
}

// Serve accepts switches from l until ctx ends; it returns nil then, when all
// sessions have ended. l is closed.
func (v *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	// When accepting fails, the sessions end too.
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if retryable(err) {
				v.log.Warn("cannot accept a switch", zap.Error(err))
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
				continue
			}
			return fmt.Errorf("accept switches on %s: %w", l.Addr(), err)
		}
		if v.sessions.Add(1) > v.maxSessions {
			v.sessions.Add(-1)
			v.log.Warn("too many OpenFlow connections, one more is refused", zap.Int64("max", v.maxSessions))
			_ = c.Close()
			continue
		}
		sessions.Go(func() {
			defer v.sessions.Add(-1)
			s := NewSession(c, v.cfg, v.open)
			err := s.Run(running)
			// A session that was opened is logged by its handler.
			if s.handler == nil && err != nil {
				v.log.Info("switch refused", zap.String("remote", s.remote), zap.Error(err))
			}
		})
	}
}

// retryable: out of file descriptors or memory passes, or a peer was gone before
// it was accepted.
func retryable(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// Listen listens on "host:port" or "unix:/path". Without TLS it refuses all but
// loopback and unix sockets: whoever reaches the port programs nothing, but can
// make packets up. A socket that a dead process left is replaced,
// its folder is made.
func Listen(addr string, config *tls.Config) (net.Listener, error) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return listenUnix(path)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen for switches on %q: %w (host:port or unix:/path)", addr, err)
	}
	if config == nil && !loopback(host) {
		return nil, fmt.Errorf("listen for switches on %q: not a loopback address: configure openflow.tls, or listen on 127.0.0.1", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for switches: %w", err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return l, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func listenUnix(path string) (net.Listener, error) {
	if st, err := os.Lstat(path); err == nil && st.Mode()&os.ModeSocket != 0 {
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("listen for switches: another process listens on %s", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("replace stale socket: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("listen for switches: %w: make the folder, or change openflow.listen", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for switches: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("protect %s: %w", path, err)
	}
	return l, nil
}
