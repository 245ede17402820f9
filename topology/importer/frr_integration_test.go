package importer

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mpbox/internal/itest"
)

// frrDir is where Debian keeps FRR's daemons.
const frrDir = "/usr/lib/frr/"

// Two real FRR routers exchange OSPF-TE; what the one tells is imported.
func TestIntegrationFRR(t *testing.T) {
	itest.Need(t, "ip", "vtysh")
	tag := fmt.Sprintf("frr%d", os.Getpid()%100000)
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	routers := []string{tag + "a", tag + "b"}
	for _, ns := range routers {
		run("ip", "netns", "add", ns)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
		run("ip", "netns", "exec", ns, "ip", "link", "set", "lo", "up")
	}
	run("ip", "link", "add", "te0", "netns", routers[0], "type", "veth", "peer", "name", "te0", "netns", routers[1])
	dirs := make([]string, 2)
	for i, ns := range routers {
		n := strconv.Itoa(i + 1)
		run("ip", "netns", "exec", ns, "ip", "addr", "add", "10.9.0."+n+"/30", "dev", "te0")
		run("ip", "netns", "exec", ns, "ip", "addr", "add", "10.255.9."+n+"/32", "dev", "lo")
		run("ip", "netns", "exec", ns, "ip", "link", "set", "te0", "up")
		dirs[i] = startFRR(t, ns, n)
	}
	// A router tells its neighbour's links before it has its neighbour's metrics.
	var wrong string
	for from := time.Now(); time.Since(from) < 40*time.Second; time.Sleep(300 * time.Millisecond) {
		out, err := exec.Command("ip", "netns", "exec", routers[0], "vtysh", "--vty_socket", dirs[0], "-c", "show ip ospf mpls-te database json").Output()
		if err != nil {
			wrong = err.Error()
			continue
		}
		if wrong = wrongTED(out); wrong == "" {
			return
		}
	}
	t.Fatal(wrong)
}

// wrongTED says what the import of a database lacks of two routers and their link.
func wrongTED(database []byte) string {
	im, err := Parse("frr.json", database)
	if err != nil {
		return fmt.Sprintf("%v\n%s", err, database)
	}
	if len(im.TED.Nodes()) != 2 || len(im.TED.Links()) != 2 {
		return fmt.Sprintf("%d nodes and %d links, want 2 of each\n%s", len(im.TED.Nodes()), len(im.TED.Links()), database)
	}
	for _, l := range im.TED.Links() {
		if l.TEMetric != 17 || l.IGPMetric != 10 || l.AdminGroup != 5 || l.MaxReservable != 10e6 || l.Reverse < 0 {
			return fmt.Sprintf("link %+v, want TE metric 17, IGP metric 10, admin group 5, 10 Mbit/s reservable", l)
		}
	}
	if _, ok := im.TED.NodeByAddr(netip.MustParseAddr("10.255.9.2")); !ok {
		return "no node 10.255.9.2"
	}
	return ""
}

// startFRR runs zebra and ospfd in a namespace until the test ends.
func startFRR(t *testing.T, ns, n string) string {
	t.Helper()
	dir := t.TempDir()
	zebra := `interface te0
 link-params
  enable
  metric 17
  max-rsv-bw 1.25e+06
  admin-grp 0x5
  max-bw 2.5e+06
 exit-link-params
`
	ospf := strings.ReplaceAll(`interface te0
 ip ospf network point-to-point
 ip ospf hello-interval 1
 ip ospf dead-interval 4
router ospf
 ospf router-id 10.255.9.N
 network 10.9.0.0/30 area 0
 network 10.255.9.N/32 area 0
 capability opaque
 mpls-te on
 mpls-te router-address 10.255.9.N
 mpls-te export
`, "N", n)
	u, err := user.Lookup("frr")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	// The daemons give root up: they must get through to their folder.
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []struct{ name, conf string }{{"zebra", zebra}, {"ospfd", ospf}} {
		conf := filepath.Join(dir, d.name+".conf")
		if err := os.WriteFile(conf, []byte(d.conf), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("ip", "netns", "exec", ns, frrDir+d.name, "-f", conf, "-i", filepath.Join(dir, d.name+".pid"),
			"-z", filepath.Join(dir, "zserv"), "--vty_socket", dir, "-P", "0")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
	}
	return dir
}
