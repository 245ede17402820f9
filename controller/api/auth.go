package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// token is kept as its hash, so that comparing takes the same time for each.
type token struct {
	name string
	hash [sha256.Size]byte
}

type tokens []token

// readTokens reads a file with a token a line: TOKEN or NAME TOKEN, where TOKEN may
// be sha256:HEX. Empty lines and those that begin with # are left out.
func readTokens(file string) (tokens, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	ts := tokens{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) > 2 {
			return nil, fmt.Errorf("read tokens: %s:%d: want TOKEN or NAME TOKEN", file, n)
		}
		t := token{name: fmt.Sprintf("token-%d", n)}
		if len(fields) == 2 {
			t.name = fields[0]
		}
		secret := fields[len(fields)-1]
		if sum, ok := strings.CutPrefix(secret, "sha256:"); ok {
			raw, err := hex.DecodeString(sum)
			if err != nil || len(raw) != sha256.Size {
				return nil, fmt.Errorf("read tokens: %s:%d: want 64 hex digits behind sha256: in the token", file, n)
			}
			copy(t.hash[:], raw)
		} else {
			if len(secret) < 16 {
				return nil, fmt.Errorf("read tokens: %s:%d: the token is too short: make one with openssl rand -hex 32", file, n)
			}
			t.hash = sha256.Sum256([]byte(secret))
		}
		ts = append(ts, t)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	if len(ts) == 0 {
		return nil, fmt.Errorf("read tokens: %s holds none: openssl rand -hex 32 >> %s", file, file)
	}
	return ts, nil
}

// find compares with every token, whichever fits.
func (ts tokens) find(secret string) (name string, ok bool) {
	sum := sha256.Sum256([]byte(secret))
	for _, t := range ts {
		if subtle.ConstantTimeCompare(sum[:], t.hash[:]) == 1 {
			name, ok = t.name, true
		}
	}
	return name, ok
}

type contextKey int

const (
	actorKey contextKey = iota
	peerKey
)

// peer is what is known of a client by its connection.
type peer struct {
	unix  bool
	local bool   // the listener can be reached from this machine only
	uid   string // unix sockets
}

// actorOf gives who asks, for the audit.
func actorOf(ctx context.Context) string {
	if a, ok := ctx.Value(actorKey).(string); ok {
		return a
	}
	return "local"
}

// open are the paths that tell nothing and need no credentials: the page itself, by
// which a token can be entered, and health for load balancers.
func open(path string) bool {
	return path == "/" || path == "/-/healthy" || path == "/-/ready" || strings.HasPrefix(path, "/ui/")
}

// guard lets through who may ask, and notes who it is.
func (s *Server) guard(next http.Handler) http.Handler {
	// A page of another site must not use the operator's browser to change anything.
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, http.StatusForbidden, "a page of another site asked for this")
	}))
	next = cross.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
		actor, status, detail := s.admit(r)
		if status != 0 {
			if status == http.StatusUnauthorized {
				h.Set("WWW-Authenticate", `Bearer realm="mpbox"`)
			}
			writeProblem(w, status, detail)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), actorKey, actor)))
	})
}

// admit tells who asks, or why not (status other than 0).
func (s *Server) admit(r *http.Request) (actor string, status int, detail string) {
	p, ok := r.Context().Value(peerKey).(peer)
	if !ok {
		p = peer{local: true} // Handler, without a listener of ours
	}
	if p.unix {
		return p.uid, 0, ""
	}
	// Without a token to show, the name by which a browser came here is all that
	// tells a page of this server from one whose name was made to point here.
	if p.local && s.tokens == nil && !localHost(r.Host) {
		return "", http.StatusForbidden, fmt.Sprintf("host %q: use localhost or an address", r.Host)
	}
	actor = "local"
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		actor = "cert:" + r.TLS.PeerCertificates[0].Subject.CommonName
	}
	if s.tokens == nil || open(r.URL.Path) {
		return actor, 0, ""
	}
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if secret == "" || !strings.EqualFold(scheme, "bearer") {
		return "", http.StatusUnauthorized, "a token is needed: Authorization: Bearer TOKEN, with a token of api.tokens_file"
	}
	name, ok := s.tokens.find(strings.TrimSpace(secret))
	if !ok {
		return "", http.StatusUnauthorized, "this token is not one of api.tokens_file"
	}
	return "token:" + name, 0, ""
}

// localHost reports whether a Host header is localhost or an address.
func localHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" || host == "" {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// writeProblem answers where huma is not involved.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(&huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail})
}
