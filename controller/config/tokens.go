package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Token is what a client of the API shows (RFC 6750); its hash is kept.
type Token struct {
	Name string // of who has it, for the audit
	Hash [sha256.Size]byte
}

// tokens takes the API's tokens from their file, one a line: TOKEN or NAME TOKEN, where
// TOKEN may be sha256:HEX. Empty lines and those that begin with # are left out.
func (k *checker) tokens(name string, at []string) (ts []Token) {
	data, ok := k.readSecret(name, at)
	if !ok {
		return nil
	}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		fields := strings.Fields(string(line))
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		t := Token{Name: fmt.Sprintf("token-%d", n)}
		if len(fields) == 2 {
			t.Name = fields[0]
		}
		secret := fields[len(fields)-1]
		sum, hashed := strings.CutPrefix(secret, "sha256:")
		raw, err := hex.DecodeString(sum)
		switch {
		case len(fields) > 2:
			k.fail(at, "write TOKEN or NAME TOKEN", "file %s, line %d: too many words", name, n)
		case hashed && (err != nil || len(raw) != sha256.Size):
			k.fail(at, "write 64 hex digits behind sha256:", "file %s, line %d: bad hash of a token", name, n)
		case hashed:
			copy(t.Hash[:], raw)
		case len(secret) < 16:
			k.fail(at, "make one with openssl rand -hex 32", "file %s, line %d: the token is too short", name, n)
		default:
			t.Hash = sha256.Sum256([]byte(secret))
		}
		ts = append(ts, t)
	}
	if len(ts) == 0 {
		k.fail(at, "write one token a line: openssl rand -hex 32 >> "+name, "file %s holds no token", name)
	}
	return ts
}
