package iosxr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/scrapli/scrapligo/transport"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshTransport is scrapligo's standard transport but for three things that a
// daemon needs: a dial that ends with a context and has a limit for the handshake
// too, a host key that is given as such, and a connection that can be cut from
// outside, which is how a call that waits for the router is cancelled.
type sshTransport struct {
	cfg    Config
	ctx    context.Context // of the dial
	client *ssh.Client
	in     io.WriteCloser
	out    io.Reader

	mu     sync.Mutex // guards what Close needs, which comes from any goroutine
	conn   net.Conn
	closed bool
}

var _ transport.Implementation = (*sshTransport)(nil)

// errHostKey: the router showed another host key than the one that is known.
var errHostKey = errors.New("host key is not the one that is known")

// errConfig: what the configuration says of this PE cannot be used.
var errConfig = errors.New("configuration")

// Open implements scrapligo's transport.
func (t *sshTransport) Open(*transport.Args) error {
	auth, err := t.auth()
	if err != nil {
		return err
	}
	check, algorithms, err := t.hostKey()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.ctx, t.cfg.ConnectTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.cfg.Address)
	if err != nil {
		return err
	}
	if !t.opened(conn) {
		return net.ErrClosed
	}
	// The handshake knows no context: the connection is cut when that ends.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, chans, reqs, err := ssh.NewClientConn(conn, t.cfg.Address, &ssh.ClientConfig{
		User: t.cfg.User, Auth: auth, HostKeyCallback: check, HostKeyAlgorithms: algorithms,
		ClientVersion: "SSH-2.0-mpbox",
	})
	if err == nil {
		t.client = ssh.NewClient(c, chans, reqs)
		err = t.shell()
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = t.Close()
		if ctx.Err() != nil && !errors.Is(err, errHostKey) {
			return fmt.Errorf("ssh handshake: %w", context.Cause(ctx))
		}
	}
	return err
}

// opened keeps the connection for Close; false if that was called already.
func (t *sshTransport) opened(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = conn.Close()
		return false
	}
	t.conn = conn
	return true
}

// shell opens a terminal as wide as IOS-XR allows, so that it wraps no line.
func (t *sshTransport) shell() error {
	s, err := t.client.NewSession()
	if err != nil {
		return err
	}
	if t.in, err = s.StdinPipe(); err != nil {
		return err
	}
	if t.out, err = s.StdoutPipe(); err != nil {
		return err
	}
	if err := s.RequestPty("vt100", 0, 512, ssh.TerminalModes{ssh.ECHO: 1}); err != nil {
		return err
	}
	return s.Shell()
}

func (t *sshTransport) auth() ([]ssh.AuthMethod, error) {
	var methods []ssh.AuthMethod
	if t.cfg.KeyFile != "" {
		pem, err := os.ReadFile(t.cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("%w: read SSH key: %w", errConfig, err)
		}
		key, err := ssh.ParsePrivateKey(pem)
		if err != nil {
			return nil, fmt.Errorf("%w: read SSH key %s: %w", errConfig, t.cfg.KeyFile, err)
		}
		methods = append(methods, ssh.PublicKeys(key))
	}
	if t.cfg.Password != "" {
		methods = append(methods, ssh.Password(t.cfg.Password),
			ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
				return slices.Repeat([]string{t.cfg.Password}, len(questions)), nil
			}))
	}
	if len(methods) == 0 {
		return nil, fmt.Errorf("%w: neither password nor key file", errConfig)
	}
	return methods, nil
}

// hostKey gives the check of the router's key, and the algorithms for which a key
// is known: asked for another one, the router would show a key that cannot be
// checked.
func (t *sshTransport) hostKey() (ssh.HostKeyCallback, []string, error) {
	if t.cfg.HostKey != "" {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(t.cfg.HostKey))
		if err != nil {
			return nil, nil, fmt.Errorf("%w: read host key: %w", errConfig, err)
		}
		check := func(_ string, _ net.Addr, shown ssh.PublicKey) error {
			if string(shown.Marshal()) != string(key.Marshal()) {
				return fmt.Errorf("%w: it is %s", errHostKey, ssh.FingerprintSHA256(shown))
			}
			return nil
		}
		return check, algorithms(key.Type()), nil
	}
	if t.cfg.KnownHosts == "" {
		return nil, nil, fmt.Errorf("%w: neither host key nor known_hosts file", errConfig)
	}
	known, err := knownhosts.New(t.cfg.KnownHosts)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: read known_hosts: %w", errConfig, err)
	}
	check := func(host string, addr net.Addr, shown ssh.PublicKey) error {
		if err := known(host, addr, shown); err != nil {
			return fmt.Errorf("%w: it is %s: %w", errHostKey, ssh.FingerprintSHA256(shown), err)
		}
		return nil
	}
	var want *knownhosts.KeyError
	var types []string
	if errors.As(known(t.cfg.Address, &net.TCPAddr{}, noKey{}), &want) {
		for _, k := range want.Want {
			types = append(types, algorithms(k.Key.Type())...)
		}
	}
	return check, types, nil
}

// algorithms that show a key of that type (RFC 8332 for RSA).
func algorithms(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA}
	}
	return []string{keyType}
}

// noKey is a key that no host has: asked for it, known_hosts tells what it knows.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// Close implements scrapligo's transport. It may be called at any time, also to
// wake a reader.
func (t *sshTransport) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.conn == nil {
		return nil
	}
	return t.conn.Close()
}

// IsAlive implements scrapligo's transport.
func (t *sshTransport) IsAlive() bool { return t.client != nil }

// Read implements scrapligo's transport.
func (t *sshTransport) Read(n int) ([]byte, error) {
	b := make([]byte, n)
	n, err := t.out.Read(b)
	if n > 0 {
		return b[:n], nil
	}
	return nil, err
}

// Write implements scrapligo's transport.
func (t *sshTransport) Write(b []byte) error {
	_, err := t.in.Write(b)
	return err
}

// connectTimeout is the default for connecting, with the handshake.
const connectTimeout = 10 * time.Second
