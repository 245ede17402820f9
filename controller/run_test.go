package controller

import (
	"net"
	"path/filepath"
	"testing"

	"go.uber.org/zap/zaptest"

	"mpbox/controller/config"
)

// Where one of the listeners cannot be had, the other ones are closed before Run
// returns: nothing answers switches with the store closed behind it.
func TestRunEndsAllListenersWhenOneFails(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	first := filepath.Join(dir, "of.sock")
	cfg, err := config.Parse(filepath.Join(dir, "mpbox.yaml"), []byte(`
openflow: {listen: ["unix:`+first+`", "`+taken.Addr().String()+`"]}
api: {listen: ["unix:`+dir+`/api.sock"]}
store: {path: `+dir+`/mpbox.db}
`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(cfg, "test", zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err == nil {
		t.Fatal("Run found no fault")
	}
	if conn, err := net.Dial("unix", first); err == nil {
		_ = conn.Close()
		t.Error("the first listener still answers")
	}
}
