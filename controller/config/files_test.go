package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// certificate writes a self-signed certificate and its key.
func certificate(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "EC PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// What other machines reach, guarded and not.
func TestListeners(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, "a")
	certificate(t, dir, "b")
	hash := strings.Repeat("0123456789abcdef", 4)
	for name, text := range map[string]string{
		"tokens": "# operators\n\n0123456789abcdef0123\nanna sha256:" + hash + "\n", "empty": "# none\n", "junk.crt": "none",
		"words": "bad line with many words\n", "short": "x\n", "hash": "anna sha256:12\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{
		`openflow: {listen: ["0.0.0.0:6653"], tls: {certificate: a.crt, key: a.key, client_ca: b.crt}}`:    "",
		`openflow: {listen: ["0.0.0.0:6653"], tls: {certificate: a.crt, key: a.key}}`:                      "client_ca is missing",
		`openflow: {listen: ["127.0.0.1:6653"], tls: {certificate: a.crt, key: a.key}}`:                    "",
		`openflow: {listen: ["0.0.0.0:6653"], tls: {certificate: a.crt, key: b.key, client_ca: b.crt}}`:    "certificate and key do not fit",
		`openflow: {listen: ["0.0.0.0:6653"], tls: {certificate: a.crt, key: no.key, client_ca: b.crt}}`:   "no.key cannot be read",
		`openflow: {listen: ["0.0.0.0:6653"], tls: {certificate: a.crt, key: a.key, client_ca: junk.crt}}`: "holds no certificate",
		`openflow: {listen: ["0.0.0.0:6653"], tls: {key: a.key, client_ca: a.crt}}`:                        "certificate is missing",
		`api: {listen: ["0.0.0.0:8080"], tokens_file: tokens}`:                                             "",
		`api: {listen: ["0.0.0.0:8080"], tokens_file: empty}`:                                              "holds no token",
		`api: {tokens_file: words}`:                       "words, line 1: too many words",
		`api: {tokens_file: short}`:                       "short, line 1: the token is too short",
		`api: {tokens_file: hash}`:                        "hash, line 1: bad hash of a token",
		`api: {listen: ["0.0.0.0:8080"], tokens_file: .}`: "name a plain file",
		`api: {listen: ["0.0.0.0:8080"], tls: {certificate: a.crt, key: a.key, client_ca: a.crt}}`: "",
		`api: {listen: ["0.0.0.0:8080"], tls: {certificate: a.crt, key: a.key}}`:                   "neither tokens nor client certificates",
		`api: {listen: ["unix:/run/x", "[::1]:8080", "localhost:9"]}`:                              "",
		`api: {listen: ["127.0.0.1:1", "127.0.0.1:1"]}`:                                            "is there twice",
	} {
		_, err := Parse(filepath.Join(dir, "mpbox.yaml"), []byte(text))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s\n%v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s\ngot %v, want %s", text, err, want)
		case want != "" && len(ProblemsOf(err)) != 1:
			t.Errorf("%s\nmore than one problem:\n%v", text, err)
		}
	}
}

func TestTokens(t *testing.T) {
	dir := t.TempDir()
	sum := sha256.Sum256([]byte("another-token-of-anna"))
	if err := os.WriteFile(filepath.Join(dir, "tokens"), fmt.Appendf(nil, "# operators\n\n0123456789abcdef0123\nanna sha256:%x\n", sum), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse(filepath.Join(dir, "mpbox.yaml"), []byte("api: {tokens_file: tokens}"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []Token{{"token-3", sha256.Sum256([]byte("0123456789abcdef0123"))}, {"anna", sum}}; !slices.Equal(c.API.Tokens, want) {
		t.Errorf("%v", c.API.Tokens)
	}
}

// Bridges are told an address that their switch can connect to.
func TestAdvertisedAddress(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, "a")
	const tls = "tls: {certificate: a.crt, key: a.key, client_ca: a.crt}"
	for _, tc := range []struct{ openflow, ovsdb, want string }{
		{`listen: ["0.0.0.0:6653"], ` + tls, "192.0.2.1:6640", "would be told to connect to 0.0.0.0:6653"},
		{`listen: [":6653"], ` + tls, "unix:/run/openvswitch/db.sock", "would be told to connect to :6653"},
		{`listen: ["[::]:6653"], advertise: "127.0.0.1:6653", ` + tls, "192.0.2.1:6640", "would be told to connect to 127.0.0.1:6653"},
		{`listen: ["[::]:6653"], advertise: "192.0.2.10:6653", ` + tls, "192.0.2.1:6640", ""},
		{`listen: ["192.0.2.10:6653"], ` + tls, "192.0.2.1:6640", ""},
		{`listen: ["127.0.0.1:6653"]`, "unix:/run/openvswitch/db.sock", ""},
		{`listen: ["0.0.0.0:6653"], ` + tls, "", ""}, // bridges are set up by hand
	} {
		text := "openflow: {" + tc.openflow + "}\nbridges: [{name: e1, dpid: \"0000000000000001\", attachments: [{name: a, vpn: v, ce_port: 1, pe_port: 2}]}]\n" +
			"vpns: [{name: v}]\n"
		if tc.ovsdb != "" {
			text += "ovsdb: \"" + tc.ovsdb + "\"\n"
		}
		_, err := Parse(filepath.Join(dir, "mpbox.yaml"), []byte(text))
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || len(ProblemsOf(err)) != 1) {
			t.Errorf("%s, ovsdb %s: %v, want %s", tc.openflow, tc.ovsdb, err, tc.want)
		}
	}
}
