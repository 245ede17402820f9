package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// shutdownWait is how long answers may take when mpbox ends.
const shutdownWait = 3 * time.Second

// Run listens and answers until ctx ends. ready, if not nil, is called with the
// addresses once all of them listen.
func (s *Server) Run(ctx context.Context, ready func([]net.Addr)) error {
	var (
		servers   []*http.Server
		listeners []net.Listener
		addrs     []net.Addr
	)
	closeAll := func() {
		for _, l := range listeners {
			_ = l.Close()
		}
	}
	errorLog, err := zap.NewStdLogAt(s.log, zap.WarnLevel)
	if err != nil {
		return fmt.Errorf("serve API: %w", err)
	}
	for _, where := range s.opts.Listen {
		l, p, err := s.listen(ctx, where)
		if err != nil {
			closeAll()
			return err
		}
		listeners = append(listeners, l)
		addrs = append(addrs, l.Addr())
		servers = append(servers, &http.Server{
			Handler:           s.handler,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    64 << 10,
			BaseContext:       func(net.Listener) context.Context { return ctx },
			ConnContext: func(c context.Context, conn net.Conn) context.Context {
				q := p
				if q.unix {
					q.uid = peerUID(conn)
				}
				return context.WithValue(c, peerKey, q)
			},
			ErrorLog: errorLog,
		})
	}
	g, gctx := errgroup.WithContext(ctx)
	for i := range servers {
		g.Go(func() error {
			if err := servers[i].Serve(listeners[i]); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve API at %s: %w", addrs[i], err)
			}
			return nil
		})
		g.Go(func() error {
			<-gctx.Done()
			wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownWait)
			defer cancel()
			if servers[i].Shutdown(wait) != nil {
				_ = servers[i].Close()
			}
			return nil
		})
	}
	if ready != nil {
		ready(addrs)
	}
	return g.Wait()
}

// listen opens one address.
func (s *Server) listen(ctx context.Context, where string) (net.Listener, peer, error) {
	var lc net.ListenConfig
	if path, ok := strings.CutPrefix(where, "unix:"); ok {
		removeStale(ctx, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return nil, peer{}, fmt.Errorf("listen for API: %w: make the folder, or change api.listen", err)
		}
		l, err := lc.Listen(ctx, "unix", path)
		if err != nil {
			return nil, peer{}, fmt.Errorf("listen for API: %w: end the process that listens there, or change api.listen", err)
		}
		if err := os.Chmod(path, 0o660); err != nil {
			return nil, peer{}, errors.Join(fmt.Errorf("listen for API: %w", err), l.Close())
		}
		return l, peer{unix: true, local: true}, nil
	}
	l, err := lc.Listen(ctx, "tcp", where)
	if err != nil {
		return nil, peer{}, fmt.Errorf("listen for API: %w: end the process that listens there, or change api.listen", err)
	}
	p := peer{}
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		ip, _ := netip.AddrFromSlice(a.IP)
		p.local = ip.Unmap().IsLoopback()
	}
	if !p.local && s.opts.Tokens == nil && (s.opts.ClientCA == "" || s.opts.Certificate == "") {
		return nil, peer{}, errors.Join(fmt.Errorf("listen for API: other machines reach %s: set api.tokens_file or api.tls.client_ca", where), l.Close())
	}
	if s.opts.Certificate == "" {
		if !p.local {
			s.log.Warn("API tokens can be read off the network: set api.tls (RFC 6750, section 5.3)", zap.String("address", where))
		}
		return l, p, nil
	}
	conf, err := s.tlsConfig()
	if err != nil {
		return nil, peer{}, errors.Join(err, l.Close())
	}
	return tls.NewListener(l, conf), p, nil
}

func (s *Server) tlsConfig() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(s.opts.Certificate, s.opts.Key)
	if err != nil {
		return nil, fmt.Errorf("read certificate of API: %w", err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if s.opts.ClientCA != "" {
		pem, err := os.ReadFile(s.opts.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("read client CA of API: %w", err)
		}
		conf.ClientCAs = x509.NewCertPool()
		if !conf.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read client CA of API: %s holds no certificate", s.opts.ClientCA)
		}
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return conf, nil
}

// removeStale removes a socket that a process left behind and nobody answers at.
func removeStale(ctx context.Context, path string) {
	if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSocket == 0 {
		return
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
		return
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		_ = os.Remove(path)
	}
}

// peerUID names the user at the other end of a unix socket.
func peerUID(c net.Conn) string {
	uid := "uid:unknown"
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return uid
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return uid
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = fmt.Sprintf("uid:%d", cred.Uid)
		}
	})
	return uid
}
