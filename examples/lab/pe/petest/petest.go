// Package petest runs an emulated PE router in a test process: a real snmpd with
// the router's subagent, and its SSH server, all on 127.0.0.1, above a data plane
// that only remembers. For tests of what manages routers. Tests only.
//
// The network is a diamond with a long way round, the PE under test is pe1:
//
//	         p1 (10.255.1.1)
//	       /    \
//	pe1 --+      +-- pe2        pe1 10.255.0.1, pe2 10.255.0.2
//	       \    /  \
//	         p2     +-- p3 …    p2 10.255.1.2
//
// Links and addresses are in Node.
package petest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"mpbox/examples/lab/fabric"
	"mpbox/examples/lab/pe"
	"mpbox/internal/itest"
)

// PE is a running router.
type PE struct {
	// SNMPAddr and SSHAddr are where its front ends answer.
	SNMPAddr, SSHAddr string
	// Node has the credentials (SNMP, SSH), the network and the file names.
	Node   fabric.Node
	Router *pe.Router
	Fabric *Fabric

	t      testing.TB
	snmpd  *exec.Cmd
	stop   context.CancelFunc
	done   chan struct{}
	regist chan bool
}

// Options change what Start starts.
type Options struct {
	// Change, if not nil, edits the node before the start.
	Change func(*fabric.Node)
	// NoSNMP leaves snmpd out: for tests of the CLI alone. No tool is needed then.
	NoSNMP bool
}

// Start starts a router and stops it when the test ends. It needs snmpd.
func Start(t testing.TB, o Options) *PE {
	t.Helper()
	if !o.NoSNMP {
		itest.Need(t, "snmpd")
	}
	p := &PE{Node: Node(t), Fabric: NewFabric(), t: t}
	if o.Change != nil {
		o.Change(&p.Node)
	}
	p.SNMPAddr = p.Node.SNMP.Address.String()
	if !o.NoSNMP {
		p.StartSNMPD()
		t.Cleanup(p.StopSNMPD)
	}
	p.StartProcess()
	t.Cleanup(p.StopProcess)
	if !o.NoSNMP {
		p.WaitRegistered()
	}
	return p
}

// StartProcess starts the PE process (again): it reloads its state file.
func (p *PE) StartProcess() {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan struct{})
	p.regist = make(chan bool, 16)
	p.stop, p.done = cancel, make(chan struct{})
	regist, done := p.regist, p.done
	proc := pe.Process{
		Node: p.Node, Plane: p.Fabric,
		Die: cancel, // this process is the test's
		Log: func(err error) { p.t.Log("pe1:", err) },
		Ready: func(r *pe.Router, a net.Addr) {
			p.Router, p.SSHAddr = r, a.String()
			close(ready)
		},
		Registered: func(up bool) {
			select {
			case regist <- up:
			default:
			}
		},
	}
	errs := make(chan error, 1)
	go func() {
		defer close(done)
		errs <- proc.Run(ctx)
	}()
	select {
	case <-ready:
	case err := <-errs:
		p.t.Fatal("start PE:", err)
	}
}

// StopProcess ends the PE process; the data plane keeps what it holds.
func (p *PE) StopProcess() {
	p.stop()
	<-p.done
}

// Died waits until the PE process has ended by itself.
func (p *PE) Died() {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.t.Fatal("PE process still lives")
	}
}

// WaitRegistered waits until snmpd answers for the router.
func (p *PE) WaitRegistered() {
	p.t.Helper()
	late := time.After(10 * time.Second)
	for {
		select {
		case up := <-p.regist:
			if up {
				return
			}
		case <-late:
			p.t.Fatal("subagent is not registered with snmpd")
		}
	}
}

// StartSNMPD starts snmpd (again).
func (p *PE) StartSNMPD() {
	p.t.Helper()
	dir := p.Node.RunDir
	conf := fmt.Sprintf(`agentAddress udp:%s
master agentx
agentXSocket unix:%s
agentXTimeout 10
agentXRetries 0
exactEngineID 0x80001f8804706531
createUser %s SHA-256 %q AES-128 %q
rwuser %s authPriv
sysName %s
`, p.Node.SNMP.Address, p.Node.AgentX, p.Node.SNMP.User, p.Node.SNMP.AuthPassword, p.Node.SNMP.PrivPassword, p.Node.SNMP.User, p.Node.Name)
	file := filepath.Join(dir, "snmpd.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.snmpd = exec.Command("snmpd", "-f", "-C", "-c", file, "-Lf", filepath.Join(dir, "snmpd.log"), "-I", "-ifTable,ifXTable")
	p.snmpd.Env = append(os.Environ(), "SNMP_PERSISTENT_DIR="+filepath.Join(dir, "snmp"))
	if err := p.snmpd.Start(); err != nil {
		p.t.Fatal("start snmpd:", err)
	}
}

// StopSNMPD kills snmpd.
func (p *PE) StopSNMPD() {
	if p.snmpd == nil {
		return
	}
	_ = p.snmpd.Process.Kill()
	_ = p.snmpd.Wait()
	p.snmpd = nil
}

// Faults makes the router misbehave: "refuse-ftn", "refuse-tunnel",
// "die-after-sets=N", "slow=DURATION", "slow-set=DURATION"; "" ends it.
func (p *PE) Faults(words string) {
	p.t.Helper()
	if err := os.WriteFile(p.Node.FaultsFile, []byte(words), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// portsGiven counts those that FreePort tried.
var portsGiven atomic.Uint32

// FreePort gives a port of 127.0.0.1 that nobody has, over UDP and TCP. It is below those
// that the kernel gives out: no other socket gets it by chance before it is bound, or
// while what has it restarts.
func FreePort(t testing.TB) uint16 {
	t.Helper()
	const first, ports = 20000, 10000
	start := uint32(os.Getpid()) * 100 // packages may be tested at the same time
	for range ports {
		port := uint16(first + (start+portsGiven.Add(1))%ports)
		addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
		u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		if err != nil {
			continue
		}
		_ = u.Close()
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
		if err != nil {
			continue
		}
		_ = l.Close()
		return port
	}
	t.Fatal("no port is free")
	return 0
}

// Node describes pe1 of the built-in network, with files in a temporary folder.
func Node(t testing.TB) fabric.Node {
	t.Helper()
	//nolint:usetesting // a unix socket's path has 108 bytes, t.TempDir has the test's name in it
	dir, err := os.MkdirTemp("", "pe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(priv, "pe1")
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(dir, "host_key")
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	sshPub, err := gossh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	n := network()
	n.RunDir = dir
	n.AgentX = filepath.Join(dir, "agentx.sock")
	n.StateFile = filepath.Join(dir, "pe1.state.json")
	n.FaultsFile = filepath.Join(dir, "pe1.faults")
	n.EventLog = filepath.Join(dir, "pe1.log")
	lo := netip.MustParseAddr("127.0.0.1")
	n.SNMP = fabric.SNMP{Address: netip.AddrPortFrom(lo, FreePort(t)), User: "mpbox", AuthPassword: "auth-secret-1", PrivPassword: "priv-secret-1"}
	n.SSH = fabric.SSH{
		Address: netip.AddrPortFrom(lo, FreePort(t)), User: "mpbox", Password: "cli-secret",
		HostKeyFile: keyFile, HostKey: string(gossh.MarshalAuthorizedKey(sshPub)),
	}
	return n
}
