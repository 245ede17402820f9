package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Token is kept as its hash, so that comparing takes the same time for each.
type Token struct {
	Name string // of who has it, for the audit
	Hash [sha256.Size]byte
}

// findToken compares with every token, whichever fits.
func findToken(ts []Token, secret string) (name string, ok bool) {
	sum := sha256.Sum256([]byte(secret))
	for _, t := range ts {
		if subtle.ConstantTimeCompare(sum[:], t.Hash[:]) == 1 {
			name, ok = t.Name, true
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
	if p.local && s.opts.Tokens == nil && !localHost(r.Host) {
		return "", http.StatusForbidden, fmt.Sprintf("host %q: use localhost or an address", r.Host)
	}
	actor = "local"
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		actor = "cert:" + r.TLS.PeerCertificates[0].Subject.CommonName
	}
	if s.opts.Tokens == nil || open(r.URL.Path) {
		return actor, 0, ""
	}
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if secret == "" || !strings.EqualFold(scheme, "bearer") {
		return "", http.StatusUnauthorized, "a token is needed: Authorization: Bearer TOKEN, with a token of api.tokens_file"
	}
	name, ok := findToken(s.opts.Tokens, strings.TrimSpace(secret))
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
