package lab

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
)

// newSecret makes a password for a lab's PE.
func newSecret() string {
	b := make([]byte, 12)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// writeHostKey makes an SSH host key and gives the public part.
func writeHostKey(file string) (string, error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make host key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return "", fmt.Errorf("make host key: %w", err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		return "", fmt.Errorf("make host key: %w", err)
	}
	p, err := ssh.NewPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("make host key: %w", err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p))), nil
}
