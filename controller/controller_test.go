package controller

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"go.uber.org/zap/zaptest"

	"mpbox/controller/config"
)

// Where one of the addresses for bridges cannot be opened, nothing listens at the
// others once Run has returned.
func TestRunEndsWithAllListeners(t *testing.T) {
	dir := t.TempDir()
	cfg, err := config.Parse(filepath.Join(dir, "mpbox.yaml"), fmt.Appendf(nil, `
openflow: {listen: ["unix:%[1]s/of.sock", "unix:%[1]s/mpbox.db/of.sock"]}
api: {listen: ["unix:%[1]s/api.sock"]}
store: {path: %[1]s/mpbox.db}
`, filepath.ToSlash(dir)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(cfg, "test", zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err == nil {
		t.Error("Run is content with a listener that cannot be opened")
	}
	if conn, err := net.Dial("unix", filepath.Join(dir, "of.sock")); err == nil {
		conn.Close()
		t.Error("the first listener is still open")
	}
}
