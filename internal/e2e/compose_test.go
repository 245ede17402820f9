package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"mpbox/internal/itest"
)

// compose is what the test needs of docker-compose.yml.
type compose struct {
	Services map[string]struct {
		Build                        struct{ Dockerfile string }
		Entrypoint, Command, Volumes []string
	}
}

// What docker-compose.yml runs: Open vSwitch, guard and mpbox are started as it says, in
// a network namespace with folders of their own. Frames pass at once, and also when mpbox is
// dead and Open vSwitch has been restarted.
func TestIntegrationCompose(t *testing.T) {
	itest.Need(t, "ip", "nsenter", "unshare", "ping", "ethtool", "ovs-vswitchd", "ovsdb-tool")
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	inImage, err := os.ReadFile(filepath.Join(root, c.Services["ovs"].Build.Dockerfile))
	if err != nil {
		t.Fatal(err)
	}
	script := "examples/docker/" + c.Services["ovs"].Entrypoint[0]
	if !strings.Contains(string(inImage), "COPY "+script+" ") {
		t.Errorf("the image lacks %s", script)
	}

	tag := fmt.Sprintf("cp%d", os.Getpid()%100000)
	sw, a, b := tag+"s", tag+"a", tag+"b"
	for _, ns := range []string{sw, a, b} {
		must(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	}
	must(t, "ip", "-n", sw, "link", "set", "lo", "up")
	for i, h := range []string{a, b} {
		must(t, "ip", "link", "add", []string{"ce", "pe"}[i], "netns", sw, "type", "veth", "peer", "name", "eth0", "netns", h)
		must(t, "ip", "-n", h, "addr", "add", fmt.Sprintf("10.0.0.%d/24", i+1), "dev", "eth0")
		must(t, "ip", "-n", h, "link", "set", "eth0", "up")
		must(t, "ip", "netns", "exec", h, "ethtool", "-K", "eth0", "tx", "off")
	}
	// Its folders are empty ones of its own, as a container's volumes are at first.
	said, err := os.OpenFile(filepath.Join(t.TempDir(), "said"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	start := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdout, cmd.Stderr = said, said
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CE_INTERFACE=ce", "PE_INTERFACE=pe")
		if err := cmd.Start(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd
	}
	holder := start("holder", "ip", "netns", "exec", sw, "unshare", "-m", "sh", "-c",
		`for d in /run /etc/openvswitch /var/lib/mpbox; do mkdir -p $d; mount -t tmpfs tmpfs $d; done; : >/run/made; exec sleep 600`)
	inside := func(args ...string) []string {
		return append([]string{"nsenter", "-t", fmt.Sprint(holder.Process.Pid), "-m", "-n", "-r", "-w"}, args...)
	}
	within(t, 10*time.Second, "folders", func() bool { a := inside("test", "-e", "/run/made"); return exec.Command(a[0], a[1:]...).Run() == nil })
	endDB := func() {
		a := inside("sh", "-c", `p=$(cat /run/openvswitch/ovsdb-server.pid) && kill "$p" && timeout 20 tail --pid="$p" -f /dev/null`)
		exec.Command(a[0], a[1:]...).Run()
	}
	t.Cleanup(endDB)
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(said.Name())
			t.Logf("what was said:\n%s", text)
		}
	})
	service := func(name string) *exec.Cmd {
		args := []string{binary}
		for _, arg := range c.Services[name].Command {
			for _, v := range c.Services[name].Volumes {
				if from, to, ok := strings.Cut(v, ":"); ok && strings.HasPrefix(from, "./") {
					arg = strings.Replace(arg, strings.TrimSuffix(to, ":ro"), filepath.Join(root, from), 1)
				}
			}
			args = append(args, arg)
		}
		return start(name, inside(args...)...)
	}
	pings := func(wait string) bool {
		return exec.Command("ip", "netns", "exec", a, "ping", "-c", "1", "-W", wait, "10.0.0.2").Run() == nil
	}

	ovs := start("ovs", inside("sh", filepath.Join(root, script))...)
	service("guard")
	mpbox := service("mpbox")
	within(t, 20*time.Second, "a bridge that is ready", func() bool {
		a := inside(binary, "tap", "list", "-o", "json")
		out, err := exec.Command(a[0], a[1:]...).Output()
		return err == nil && strings.Contains(string(out), `"ready": true`)
	})
	within(t, 10*time.Second, "a ping", func() bool { return pings("1") })

	mpbox.Process.Kill()
	mpbox.Wait()
	if !pings("10") { // one packet: the guard repairs what is lost for longer
		t.Error("nothing passes when mpbox is dead")
	}
	ovs.Process.Kill()
	ovs.Wait()
	endDB()
	start("ovs", inside("sh", filepath.Join(root, script))...)
	within(t, 20*time.Second, "a ping after Open vSwitch's restart", func() bool { return pings("1") })
}

func must(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

func within(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for from := time.Now(); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Since(from) > d {
			t.Fatalf("no %s within %v", what, d)
		}
	}
}
