package pe_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"
	gossh "golang.org/x/crypto/ssh"

	"mpbox/examples/lab/pe/petest"
	"mpbox/examples/lab/pe/router"
	"mpbox/internal/itest"
)

const (
	T    = ".1.3.6.1.2.1.10.166.3.2." // mplsTeObjects
	F    = ".1.3.6.1.2.1.10.166.8.1." // mplsFTNObjects
	ids  = ".184483841.184483842"     // ingress 10.255.0.1, egress 10.255.0.2
	ids3 = ".184483841.184483843"
)

// manager is a gosnmp session to the PE.
func manager(t *testing.T, p *petest.PE) *gosnmp.GoSNMP {
	t.Helper()
	a := netip.MustParseAddrPort(p.SNMPAddr)
	g := &gosnmp.GoSNMP{
		Target: a.Addr().String(), Port: a.Port(), Version: gosnmp.Version3, Timeout: 10 * time.Second, MaxRepetitions: 20,
		SecurityModel: gosnmp.UserSecurityModel, MsgFlags: gosnmp.AuthPriv, MaxOids: 60,
		SecurityParameters: &gosnmp.UsmSecurityParameters{
			UserName: p.Node.SNMP.User, AuthenticationProtocol: gosnmp.SHA256, AuthenticationPassphrase: p.Node.SNMP.AuthPassword,
			PrivacyProtocol: gosnmp.AES, PrivacyPassphrase: p.Node.SNMP.PrivPassword,
		},
	}
	if err := g.Connect(); err != nil {
		t.Fatal("connect:", err)
	}
	t.Cleanup(func() { _ = g.Conn.Close() })
	return g
}

func intVar(oid string, n int) gosnmp.SnmpPDU {
	return gosnmp.SnmpPDU{Name: oid, Type: gosnmp.Integer, Value: n}
}

func uintVar(oid string, n uint32) gosnmp.SnmpPDU {
	return gosnmp.SnmpPDU{Name: oid, Type: gosnmp.Gauge32, Value: n}
}

func octets(oid string, b ...byte) gosnmp.SnmpPDU {
	return gosnmp.SnmpPDU{Name: oid, Type: gosnmp.OctetString, Value: b}
}

func pointer(oid, to string) gosnmp.SnmpPDU {
	return gosnmp.SnmpPDU{Name: oid, Type: gosnmp.ObjectIdentifier, Value: to}
}

// tunnelRow is a SET for a tunnel by a hop list of strict hops.
func tunnelRow(index string, list uint32, hops ...[4]byte) []gosnmp.SnmpPDU {
	var vs []gosnmp.SnmpPDU
	for i, h := range hops {
		at := fmt.Sprintf(".%d.1.%d", list, i+1)
		vs = append(vs, octets(T+"4.1.5"+at, h[:]...), intVar(T+"4.1.10"+at, 1), intVar(T+"4.1.13"+at, 2), intVar(T+"4.1.14"+at, 4))
	}
	at := "." + index + ids
	return append(vs,
		octets(T+"2.1.5"+at, []byte("mpbox/test/pe1-pe2/"+index)...),
		intVar(T+"2.1.12"+at, 2), octets(T+"2.1.15"+at, router.RecordRoute),
		uintVar(T+"2.1.20"+at, list), uintVar(T+"2.1.21"+at, 1),
		intVar(T+"2.1.34"+at, 1), intVar(T+"2.1.36"+at, 4))
}

func ftnRow(n string, to string) []gosnmp.SnmpPDU {
	at := "." + n
	return []gosnmp.SnmpPDU{
		intVar(F+"3.1.2"+at, 4), octets(F+"3.1.4"+at, 0xf8), intVar(F+"3.1.5"+at, 1),
		octets(F+"3.1.6"+at, 10, 1, 0, 1), octets(F+"3.1.7"+at, 10, 1, 0, 1), octets(F+"3.1.8"+at, 10, 2, 0, 1), octets(F+"3.1.9"+at, 10, 2, 0, 1),
		uintVar(F+"3.1.10"+at, 4711), uintVar(F+"3.1.11"+at, 4711), uintVar(F+"3.1.12"+at, 80), uintVar(F+"3.1.13"+at, 80),
		intVar(F+"3.1.14"+at, 6), intVar(F+"3.1.16"+at, 2), pointer(F+"3.1.17"+at, to),
	}
}

func mustSet(t *testing.T, g *gosnmp.GoSNMP, vs ...gosnmp.SnmpPDU) {
	t.Helper()
	r, err := g.Set(vs)
	if err != nil || r.Error != gosnmp.NoError {
		t.Fatalf("SET: %v, %+v", err, r)
	}
}

func get(t *testing.T, g *gosnmp.GoSNMP, oid string) any {
	t.Helper()
	r, err := g.Get([]string{oid})
	if err != nil || len(r.Variables) != 1 {
		t.Fatalf("GET %s: %v", oid, err)
	}
	return r.Variables[0].Value
}

// until polls: what is asynchronous in a router has ten seconds.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not reached: ", what)
		}
	}
}

func up(t *testing.T, g *gosnmp.GoSNMP, index string) {
	t.Helper()
	until(t, "tunnel "+index+" is up", func() bool { return get(t, g, T+"2.1.35."+index+ids) == 1 })
}

// links are those that an FTN's packets take.
func links(p *petest.PE, entry int) string {
	in, paths := p.Fabric.Ingress(), p.Fabric.Paths()
	if entry >= len(in.Entries) {
		return "none"
	}
	var out []string
	for _, h := range paths[in.Entries[entry].Path].Hops {
		out = append(out, h.Link)
	}
	return strings.Join(out, " ")
}

// The life of an LSP and a class on a real snmpd: created in one SET, up, its
// route recorded, the class on it, moved to another instance without a gap,
// gone.
func TestIntegrationSNMPLife(t *testing.T) {
	itest.Need(t, "snmpd")
	p := petest.Start(t, petest.Options{})
	g := manager(t, p)

	if n := get(t, g, T+"1.0"); n != uint(3) {
		t.Errorf("mplsTunnelIndexNext %v, want 3 after the two defaults", n)
	}
	mustSet(t, g, tunnelRow("50000.1", 7, [4]byte{10, 0, 3, 2}, [4]byte{10, 0, 4, 2})...)
	up(t, g, "50000.1")
	if n := get(t, g, T+"3.0"); n != uint(8) {
		t.Errorf("mplsTunnelHopListIndexNext %v, want 8", n)
	}
	list := get(t, g, T+"2.1.22.50000.1"+ids)
	for i, want := range [][]byte{{10, 0, 3, 2}, {10, 0, 4, 2}} {
		if hop := get(t, g, fmt.Sprintf("%s7.1.4.%v.%d", T, list, i+1)); !slices.Equal(hop.([]byte), want) {
			t.Errorf("recorded hop %d: %v, want %v", i+1, hop, want)
		}
	}

	mustSet(t, g, append(ftnRow("1", T+"2.1.5.50000.1"+ids), intVar(F+"5.1.4.3.0.1", 4))...)
	if got := links(p, 0); got != "pe1-p2 p2-pe2" {
		t.Error("class goes by", got, "when the SET has been answered")
	}

	// Make before break: a new instance, the class re-pointed, the old one gone.
	mustSet(t, g, tunnelRow("50000.2", 8, [4]byte{10, 0, 5, 2}, [4]byte{10, 0, 6, 2})...)
	up(t, g, "50000.2")
	mustSet(t, g, pointer(F+"3.1.17.1", T+"2.1.5.50000.2"+ids))
	if got := links(p, 0); got != "pe1-p3 p3-pe2" {
		t.Error("class goes by", got)
	}
	mustSet(t, g, intVar(T+"2.1.36.50000.1"+ids, 6), intVar(T+"4.1.14.7.1.1", 6), intVar(T+"4.1.14.7.1.2", 6))
	if n := get(t, g, T+"2.1.35.50000.2"+ids); n != 1 {
		t.Error("new instance after the old one is gone:", n)
	}
	until(t, "old path is gone", func() bool { return len(p.Fabric.Paths()) == 3 })

	p.Fabric.SetLink("p3-pe2", false)
	until(t, "tunnel is down with its link", func() bool { return get(t, g, T+"2.1.35.50000.2"+ids) == 2 })
	until(t, "class falls back to the default", func() bool { return links(p, 0) == "pe1-p1 p1-pe2" })
	p.Fabric.SetLink("p3-pe2", true)
	up(t, g, "50000.2")

	mustSet(t, g, intVar(F+"3.1.2.1", 6))
	mustSet(t, g, intVar(T+"2.1.36.50000.2"+ids, 6))
	if got := links(p, 0); got != "none" || len(p.Router.Config().Maps[3]) != 0 {
		t.Error("class after it was destroyed:", got)
	}
	es, err := router.ReadEvents(p.Node.EventLog)
	if err != nil || len(es) != 7 {
		t.Errorf("%d SETs in the event log, want 7 (%v)", len(es), err)
	}
}

// A SET that is wrong anywhere does nothing, and says where.
func TestIntegrationSNMPAtomic(t *testing.T) {
	itest.Need(t, "snmpd")
	p := petest.Start(t, petest.Options{})
	g := manager(t, p)
	good := tunnelRow("50000.1", 7, [4]byte{10, 0, 3, 2}, [4]byte{10, 0, 4, 2})
	for _, c := range []struct {
		name  string
		set   []gosnmp.SnmpPDU
		code  gosnmp.SNMPError
		index uint8
	}{
		{"type", append(slices.Clone(good), uintVar(T+"2.1.7.50000.1"+ids, 1)), gosnmp.WrongType, 16},
		{"value", append(slices.Clone(good), intVar(T+"2.1.13.50000.1"+ids, 9)), gosnmp.WrongValue, 16},
		{"length", append(slices.Clone(good), octets(T+"4.1.5.7.1.3", 1)), gosnmp.WrongLength, 16},
		{"read-only", append(slices.Clone(good), intVar(T+"2.1.35.50000.1"+ids, 1)), gosnmp.NotWritable, 16},
		{"other router", append(slices.Clone(good), intVar(T+"2.1.36.50001.1.7.7", 4)), gosnmp.InconsistentName, 16},
		{"index", append(slices.Clone(good), intVar(T+"2.1.36.70000.1"+ids, 4)), gosnmp.NoCreation, 16},
		{"not ready", good[len(good)-1:], gosnmp.InconsistentValue, 1},
		{"over two MIBs", append(slices.Clone(good), intVar(F+"5.1.4.3.0.9", 4)), gosnmp.InconsistentValue, 16},
	} {
		r, err := g.Set(c.set)
		if err != nil || r.Error != c.code || r.ErrorIndex != c.index {
			t.Errorf("%s: %v %+v, want %v at %d", c.name, err, r, c.code, c.index)
		}
	}
	if c := p.Router.Config(); len(c.Tunnels)+len(c.Hops) != 0 {
		t.Error("something was done:", c.Tunnels, c.Hops)
	}
	es, _ := router.ReadEvents(p.Node.EventLog)
	if len(es) != 8 || es[0].Error == "" {
		t.Errorf("%d events, want 8 with errors", len(es))
	}
}

// netsnmp runs one of net-snmp's commands against the PE.
func netsnmp(t *testing.T, p *petest.PE, tool string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(tool, append([]string{
		"-v3", "-l", "authPriv", "-u", p.Node.SNMP.User, "-a", "SHA-256", "-A", p.Node.SNMP.AuthPassword,
		"-x", "AES", "-X", p.Node.SNMP.PrivPassword, "-On", "-t", "5", "-r", "0", p.SNMPAddr,
	}, args...)...)
	cmd.Env = append(os.Environ(), "SNMP_PERSISTENT_DIR="+p.Node.RunDir+"/client", "MIBS=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The same agent under net-snmp's own tools.
func TestIntegrationNetSNMP(t *testing.T) {
	itest.Need(t, "snmpd", "snmpset", "snmpget", "snmpwalk", "snmpbulkwalk")
	p := petest.Start(t, petest.Options{})
	set := func(args ...string) (string, error) { return netsnmp(t, p, "snmpset", args...) }
	at := ".50000.1" + ids
	if out, err := set(
		T+"4.1.5.1.1.1", "x", "0a000302", T+"4.1.10.1.1.1", "i", "1", T+"4.1.13.1.1.1", "i", "2", T+"4.1.14.1.1.1", "i", "4",
		T+"4.1.5.1.1.2", "x", "0a000402", T+"4.1.10.1.1.2", "i", "1", T+"4.1.13.1.1.2", "i", "2", T+"4.1.14.1.1.2", "i", "4",
		T+"2.1.5"+at, "s", "a name", T+"2.1.12"+at, "i", "2", T+"2.1.20"+at, "u", "1", T+"2.1.34"+at, "i", "1", T+"2.1.36"+at, "i", "4",
	); err != nil {
		t.Fatal(out, err)
	}
	until(t, "up", func() bool {
		out, err := netsnmp(t, p, "snmpget", T+"2.1.35"+at)
		return err == nil && strings.HasSuffix(strings.TrimSpace(out), "INTEGER: 1")
	})
	if out, err := set(T+"2.1.5"+at, "s", "other"); err == nil || !strings.Contains(out, "inconsistentValue") || !strings.Contains(out, T+"2.1.5"+at) {
		t.Error("name of an active row:", out, err)
	}
	for _, tool := range []string{"snmpwalk", "snmpbulkwalk"} {
		out, err := netsnmp(t, p, tool, ".1.3.6.1.2.1.10.166")
		names := strings.Count(out, "\n"+T+"2.1.5.")
		if err != nil || names != 3 || !strings.Contains(out, T+"2.1.5"+at+` = STRING: "a name"`) {
			t.Errorf("%s: %d names, %v", tool, names, err)
		}
	}
	out, err := netsnmp(t, p, "snmpwalk", ".1.3.6.1.2.1.31.1.1.1.1")
	if err != nil || !strings.Contains(out, `.1.3.6.1.2.1.31.1.1.1.1.3 = STRING: "GigabitEthernet0/0/0/1"`) || strings.Contains(out, `"lo"`) {
		t.Error("ifName:", out, err)
	}
	out, err = netsnmp(t, p, "snmpget", T+"9.1.2.1.0.0.184483842", ".1.3.6.1.2.1.1.5.0")
	if err != nil || !strings.Contains(out, "Counter64: 100") || !strings.Contains(out, `"pe1"`) {
		t.Error("counter and sysName:", out, err)
	}
	if out, err := set(T+"2.1.36"+at, "i", "6"); err != nil {
		t.Error("destroy:", out, err)
	}
}

// cli runs commands in one login.
func cli(t *testing.T, p *petest.PE, lines ...string) string {
	t.Helper()
	c, err := gossh.Dial("tcp", p.SSHAddr, &gossh.ClientConfig{
		User: p.Node.SSH.User, Auth: []gossh.AuthMethod{gossh.Password(p.Node.SSH.Password)}, HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal("login:", err)
	}
	defer func() { _ = c.Close() }()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	s.Stdin = strings.NewReader("terminal length 0\n" + strings.Join(lines, "\n") + "\nexit\n")
	out, _ := s.Output("")
	return string(out)
}

// One state, two front ends: what one makes the other shows.
func TestIntegrationOneState(t *testing.T) {
	itest.Need(t, "snmpd")
	p := petest.Start(t, petest.Options{})
	g := manager(t, p)
	mustSet(t, g, tunnelRow("50000.1", 7, [4]byte{10, 0, 3, 2}, [4]byte{10, 0, 4, 2})...)
	up(t, g, "50000.1")
	out := cli(t, p, "show mpls traffic-eng tunnels 50000", "configure", "interface tunnel-te50001",
		"ipv4 unnumbered Loopback0", "destination 10.255.0.3", "signalled-name by-cli", "record-route", "path-option 10 dynamic", "commit",
		"interface tunnel-te50000 destination 10.255.0.2", "commit", "abort")
	for _, want := range []string{"Signalled-Name: mpbox/test/pe1-pe2/50000.1", "Hop1: 10.0.4.2", "Oper:   up", "% Failed to commit"} {
		if !strings.Contains(out, want) {
			t.Errorf("CLI does not say %q:\n%s", want, out)
		}
	}
	row := ".50001.0.0.184483843"
	until(t, "tunnel of the CLI is up in the MIB", func() bool { return get(t, g, T+"2.1.35"+row) == 1 })
	if name := get(t, g, T+"2.1.5"+row); string(name.([]byte)) != "by-cli" {
		t.Errorf("name %s", name)
	}
	r, err := g.Set([]gosnmp.SnmpPDU{intVar(T+"2.1.36"+row, 6)})
	if err != nil || r.Error != gosnmp.NotWritable {
		t.Error("destroying a tunnel of the CLI:", err, r)
	}
	r, err = g.Set([]gosnmp.SnmpPDU{intVar(T+"2.1.34.50001.1"+ids3, 1), intVar(T+"2.1.36.50001.1"+ids3, 4)})
	if err != nil || r.Error != gosnmp.InconsistentName {
		t.Error("taking the number of a tunnel of the CLI:", err, r)
	}
	// A class may be put on a tunnel of the CLI.
	mustSet(t, g, append(ftnRow("1", T+"2.1.5"+row), intVar(F+"5.1.4.3.0.1", 4))...)
	if got := links(p, 0); got != "pe1-p3 p3-pe3" {
		t.Error("class goes by", got)
	}
}

// The PE process and snmpd each come back alone, and the LSPs were there all the
// time.
func TestIntegrationRestarts(t *testing.T) {
	itest.Need(t, "snmpd")
	p := petest.Start(t, petest.Options{})
	g := manager(t, p)
	mustSet(t, g, tunnelRow("50000.1", 7, [4]byte{10, 0, 3, 2}, [4]byte{10, 0, 4, 2})...)
	up(t, g, "50000.1")
	mustSet(t, g, append(ftnRow("1", T+"2.1.5.50000.1"+ids), intVar(F+"5.1.4.3.0.1", 4))...)
	ingress, programs := fmt.Sprint(p.Fabric.Ingress()), p.Fabric.Programs()

	p.StopProcess()
	if v := get(t, g, T+"2.1.35.50000.1"+ids); v != nil {
		t.Error("snmpd alone answers", v)
	}
	if r, err := g.Set([]gosnmp.SnmpPDU{intVar(T+"2.1.36.50000.1"+ids, 6)}); err != nil || r.Error == gosnmp.NoError {
		t.Error("SET to snmpd alone:", err, r)
	}
	p.StartProcess()
	p.WaitRegistered()
	if v := get(t, g, T+"2.1.35.50000.1"+ids); v != 1 {
		t.Error("tunnel after the process came back:", v)
	}
	if got := fmt.Sprint(p.Fabric.Ingress()); got != ingress || p.Fabric.Programs() != programs {
		t.Error("data plane was touched:", got, "was", ingress)
	}

	p.StopSNMPD()
	p.StartSNMPD()
	p.WaitRegistered()
	g = manager(t, p) // engine boots and time are new
	if v := get(t, g, T+"2.1.35.50000.1"+ids); v != 1 {
		t.Error("tunnel after snmpd came back:", v)
	}
}

// An agent that dies between two SETs: the first is kept, the second did nothing,
// and the same SET works when the agent is back.
func TestIntegrationDiesBetweenSets(t *testing.T) {
	itest.Need(t, "snmpd")
	p := petest.Start(t, petest.Options{})
	g := manager(t, p)
	p.Faults("die-after-sets=1")
	mustSet(t, g, tunnelRow("50000.1", 7, [4]byte{10, 0, 3, 2}, [4]byte{10, 0, 4, 2})...)
	p.Died()
	second := append(ftnRow("1", T+"2.1.5.50000.1"+ids), intVar(F+"5.1.4.3.0.1", 4))
	if r, err := g.Set(second); err == nil && r.Error == gosnmp.NoError {
		t.Error("a dead agent took a SET")
	}
	p.StartProcess()
	p.WaitRegistered()
	up(t, g, "50000.1")
	if len(p.Fabric.Ingress().Entries) != 0 {
		t.Error("half of the second SET was done")
	}
	mustSet(t, g, second...)
	mustSet(t, g, intVar(F+"3.1.2.1", 6)) // it lives
}

// Two hundred LSPs and classes are walked whole.
func TestIntegrationManyRows(t *testing.T) {
	itest.Need(t, "snmpd")
	p := petest.Start(t, petest.Options{})
	g := manager(t, p)
	const n = 200
	for i := range uint32(n) {
		index := strconv.Itoa(50000+int(i)) + ".1"
		mustSet(t, g, tunnelRow(index, i+1, [4]byte{10, 0, 3, 2}, [4]byte{10, 0, 4, 2})...)
	}
	for i := range n {
		f := ftnRow(strconv.Itoa(i+1), fmt.Sprintf("%s2.1.5.%d.1%s", T, 50000+i, ids))
		f[7].Value, f[8].Value = uint32(2000+i), uint32(2000+i)
		mustSet(t, g, append(f, intVar(fmt.Sprintf("%s5.1.4.3.%d.%d", F, i, i+1), 4))...)
	}
	up(t, g, "50199.1")
	start := time.Now()
	rows := map[string]int{}
	err := g.BulkWalk(".1.3.6.1.2.1.10.166", func(v gosnmp.SnmpPDU) error {
		for _, c := range []string{T + "2.1.36.", T + "4.1.5.", F + "3.1.17.", F + "5.1.4.", F + "6.1.3."} {
			if strings.HasPrefix(v.Name, c) {
				rows[c]++
			}
		}
		return nil
	})
	if err != nil || rows[T+"2.1.36."] != n+2 || rows[T+"4.1.5."] != 2*n || rows[F+"3.1.17."] != n || rows[F+"5.1.4."] != n || rows[F+"6.1.3."] != n {
		t.Error("walk:", err, rows)
	}
	t.Logf("walked in %v", time.Since(start))
	if got := len(p.Fabric.Ingress().Entries); got != n {
		t.Errorf("%d classes in the data plane", got)
	}
}
