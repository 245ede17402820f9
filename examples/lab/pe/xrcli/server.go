package xrcli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"mpbox/examples/lab/pe/router"
)

// Server is the router's SSH server.
type Server struct {
	r   *router.Router
	log func(error)
	ssh *ssh.Server
	now func() time.Time

	committing sync.Mutex // held from the look at others' commits to the own one
	history    history
}

// New makes the server; the host key is the node's.
func New(r *router.Router, log func(error)) (*Server, error) {
	n := r.Node()
	pem, err := os.ReadFile(n.SSH.HostKeyFile)
	if err != nil {
		return nil, fmt.Errorf("read SSH host key: %w", err)
	}
	key, err := gossh.ParsePrivateKey(pem)
	if err != nil {
		return nil, fmt.Errorf("read SSH host key %s: %w", n.SSH.HostKeyFile, err)
	}
	s := &Server{r: r, log: log, now: time.Now}
	s.ssh = &ssh.Server{
		HostSigners: []ssh.Signer{key},
		Version:     "Cisco-2.0",
		PasswordHandler: func(ctx ssh.Context, password string) bool {
			return ctx.User() == n.SSH.User && password == n.SSH.Password
		},
		Handler: s.session,
	}
	return s, nil
}

// Serve answers connections until ctx ends; it closes the listener.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := make(chan struct{})
	defer close(stop)
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-stop:
		}
		_ = s.ssh.Close()
		// What is left are handlers whose connection just closed.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.ssh.Shutdown(ctx)
	})
	err := s.ssh.Serve(ln)
	if errors.Is(err, ssh.ErrServerClosed) || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve CLI: %w", err)
}
