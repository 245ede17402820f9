package api

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

const secret = "0123456789abcdef0123456789abcdef"

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func withTokens(o *Options) {
	o.Tokens = []Token{{"token-3", sha256.Sum256([]byte(secret))}, {"anna", sha256.Sum256([]byte("another-token-of-anna"))}}
}

func TestTokens(t *testing.T) {
	s := newServer(t, newFake(), withTokens)
	for auth, want := range map[string]int{
		"": 401, "Bearer": 401, "Bearer ": 401, "Bearer " + secret: 200, "bearer " + secret: 200, "Bearer another-token-of-anna": 200,
		"Bearer " + secret[1:]: 401, "Basic " + secret: 401, "Bearer anna": 401, "Bearer sha256:00": 401,
	} {
		status, header, body := call(t, s, "GET", "/v1/status", "", "Authorization", auth)
		if status != want {
			t.Errorf("%q: %d %s", auth, status, body)
		}
		if want == 401 && (header.Get("WWW-Authenticate") == "" || header.Get("Content-Type") != "application/problem+json") {
			t.Errorf("%q: %v", auth, header)
		}
	}
	for target, want := range map[string]int{"/": 200, "/-/healthy": 200, "/-/ready": 200, "/metrics": 401, "/openapi.json": 401, "/v1/events": 401, "/v2": 401} {
		if status, _, _ := call(t, s, "GET", target, ""); status != want {
			t.Errorf("%s: %d, want %d", target, status, want)
		}
	}
	// The audit has the token's name, never the token.
	call(t, s, "PUT", "/v1/mode", `{"mode":"auto"}`, "Authorization", "Bearer another-token-of-anna")
	_, _, body := call(t, s, "GET", "/v1/changes", "", "Authorization", "Bearer "+secret)
	if !strings.Contains(string(body), `"actor":"token:anna"`) {
		t.Errorf("%s", body)
	}
}

// Pages of other sites can use the operator's browser for nothing.
func TestOtherSites(t *testing.T) {
	s := newServer(t, newFake())
	if status, _, _ := call(t, s, "POST", "/v1/plans/p1/approve", "", "Sec-Fetch-Site", "cross-site"); status != 403 {
		t.Errorf("cross-site: %d", status)
	}
	if status, _, _ := call(t, s, "POST", "/v1/plans/p1/approve", "", "Origin", "http://evil.example"); status != 403 {
		t.Errorf("origin: %d", status)
	}
	// A name that was made to point at 127.0.0.1.
	if status, _, _ := call(t, s, "GET", "/v1/status", "", "Host", "evil.example:8080"); status != 403 {
		t.Errorf("host: %d", status)
	}
	for _, host := range []string{"127.0.0.1:8080", "[::1]:8080", "localhost", "192.0.2.1"} {
		if status, _, body := call(t, s, "GET", "/v1/status", "", "Host", host); status != 200 {
			t.Errorf("%s: %d %s", host, status, body)
		}
	}
}

// start runs a server and gives its addresses.
func start(t *testing.T, s *Server) []net.Addr {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	addrs, done := make(chan []net.Addr, 1), make(chan error, 1)
	go func() { done <- s.Run(ctx, func(a []net.Addr) { addrs <- a }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	select {
	case a := <-addrs:
		return a
	case err := <-done:
		done <- nil
		t.Fatal(err)
		return nil
	}
}

func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	r, err := c.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// A socket's folder is made, as /run is empty after each boot; where it cannot be
// made, the remedy is told.
func TestSocketsFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run", "mpbox", "s")
	start(t, newServer(t, newFake(), func(o *Options) { o.Listen = []string{"unix:" + path} }))
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Error(info, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := newServer(t, newFake(), func(o *Options) { o.Listen = []string{"unix:" + filepath.Join(dir, "file", "s")} }).Run(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "make the folder, or change api.listen") {
		t.Error(err)
	}
}

// What the HTTP server complains of is logged like all else, whatever the level.
func TestServersOwnLog(t *testing.T) {
	for level, want := range map[zapcore.Level]int{zap.WarnLevel: 1, zap.ErrorLevel: 0} {
		var beside bytes.Buffer
		core, logs := observer.New(level)
		addrs := start(t, newServer(t, newFake(), func(o *Options) {
			o.Listen, o.Log = []string{"127.0.0.1:0"}, zap.New(core, zap.ErrorOutput(zapcore.AddSync(&beside)))
			o.Metrics = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("no metrics today") })
		}))
		if answer, err := http.Get("http://" + addrs[0].String() + "/metrics"); err == nil {
			_ = answer.Body.Close()
			t.Error("answered")
		}
		if n := logs.FilterMessageSnippet("no metrics today").Len(); n != want || beside.Len() > 0 {
			t.Errorf("%s: logged %d times, beside it %q", level, n, beside.String())
		}
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	// One that a dead process left behind.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	f := newFake()
	// Tokens are not asked for here: the socket's owner and mode guard it.
	start(t, newServer(t, f, withTokens, func(o *Options) { o.Listen = []string{"unix:" + path} }))
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: tr}
	if status, body := get(t, c, "http://mpbox/v1/status"); status != 200 {
		t.Error(status, body)
	}
	r, err := http.NewRequest("PUT", "http://mpbox/v1/mode", strings.NewReader(`{"mode":"auto"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if want := fmt.Sprintf("uid:%d", os.Getuid()); f.changes[0].Actor != want {
		t.Errorf("actor %s, want %s", f.changes[0].Actor, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Error(info, err)
	}
	// A second one does not take it away from the first.
	if err := newServer(t, newFake(), func(o *Options) { o.Listen = []string{"unix:" + path} }).Run(t.Context(), nil); err == nil {
		t.Error("two servers at one socket")
	}
}

func TestOffLoopbackNeedsCredentials(t *testing.T) {
	s := newServer(t, newFake(), func(o *Options) { o.Listen = []string{"127.0.0.1:0", "0.0.0.0:0"} })
	if err := s.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "api.tokens_file") {
		t.Errorf("got %v", err)
	}
}

// authority makes a CA and certificates.
func authority(t *testing.T) (caFile string, issue func(name string) (certFile, keyFile string)) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pemOf := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return write(t, pemOf("CERTIFICATE", der)), func(name string) (string, string) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
		der, err := x509.CreateCertificate(rand.Reader, c, ca, &k.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := x509.MarshalECPrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return write(t, pemOf("CERTIFICATE", der)), write(t, pemOf("EC PRIVATE KEY", raw))
	}
}

func TestMutualTLS(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "127.0.0.1:0"} {
		t.Run(address, func(t *testing.T) { testMutualTLS(t, address) })
	}
}

func testMutualTLS(t *testing.T, address string) {
	ca, issue := authority(t)
	f := newFake()
	addrs := start(t, newServer(t, f, func(o *Options) {
		o.Listen = []string{address}
		o.ClientCA = ca
		o.Certificate, o.Key = issue("mpbox")
	}))
	port := addrs[0].(*net.TCPAddr).Port
	pool := x509.NewCertPool()
	pemCA, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(pemCA)
	client := func(certs ...tls.Certificate) *http.Client {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	url := fmt.Sprintf("https://127.0.0.1:%d/v1/status", port)
	if status, body := get(t, client(), url); status == 200 {
		t.Error("let in without a certificate:", body)
	}
	if status, _ := get(t, client(), strings.Replace(url, "https", "http", 1)); status == 200 {
		t.Error("let in without TLS")
	}
	cert, err := tls.LoadX509KeyPair(issue("anna"))
	if err != nil {
		t.Fatal(err)
	}
	c := client(cert)
	if status, body := get(t, c, url); status != 200 {
		t.Error(status, body)
	}
	r, err := http.NewRequest("PUT", strings.Replace(url, "status", "mode", 1), strings.NewReader(`{"mode":"auto"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if f.changes[0].Actor != "cert:anna" {
		t.Error(f.changes[0].Actor)
	}
}
