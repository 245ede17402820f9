package openflow

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate signs itself: good for both ends of a test.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// A socket's folder is made, as /run is empty after each boot; where it cannot be
// made, the remedy is told.
func TestSocketsFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run", "mpbox", "s")
	l, err := Listen("unix:"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Error(info, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix:"+filepath.Join(dir, "file", "s"), nil); err == nil || !strings.Contains(err.Error(), "make the folder, or change openflow.listen") {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	cert, pool := certificate(t)
	l, err := Listen("127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	rec := &record{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- NewServer(Config{}, nil, func(*Session) (Handler, error) { return rec, nil }).Serve(ctx, l)
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeSwitch{t, c}
	f.greet(9)
	var stream []byte
	for i := range 3000 { // records do not end where messages end
		stream = append(stream, puntMsg(uint32(i+1), make([]byte, i%100)...)...)
	}
	f.send(stream, msg(2, 1))
	f.want(3)
	rec.mu.Lock()
	if n := len(rec.punts); n != 3000 {
		t.Errorf("%d punts", n)
	}
	rec.mu.Unlock()
	_ = c.Close()

	// A stranger without a certificate gets no session.
	if c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool}); err == nil {
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = c.Write(helloWithBitmap)
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a switch without a certificate is greeted")
		}
		_ = c.Close()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
