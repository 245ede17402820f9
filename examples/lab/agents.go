package lab

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// snmpdConf configures a PE's snmpd: SNMPv3 with authentication and privacy only,
// an AgentX socket for the PE process, nothing of the system's own files. The
// engine id stays the same over restarts, as a router's does.
func snmpdConf(p PE) []byte {
	n := p.Node
	var b bytes.Buffer
	fmt.Fprintf(&b, "agentAddress udp:%s\n", n.SNMP.Address)
	fmt.Fprintf(&b, "master agentx\nagentXSocket unix:%s\nagentXPerms 0600 0700\nagentXTimeout 10\nagentXRetries 0\n", n.AgentX)
	fmt.Fprintf(&b, "exactEngineID 0x80001f8804%s\n", hex.EncodeToString([]byte(n.Name)))
	fmt.Fprintf(&b, "createUser %s SHA-256 %q AES-128 %q\n", n.SNMP.User, n.SNMP.AuthPassword, n.SNMP.PrivPassword)
	fmt.Fprintf(&b, "rwuser %s authPriv\n", n.SNMP.User)
	fmt.Fprintf(&b, "sysName %s\nsysDescr Cisco IOS XR Software, lab router %s\n", n.Name, n.Name)
	return b.Bytes()
}

// SNMPCommand is the command line that starts a PE's snmpd (again). Interface
// tables come from the PE process, not from the namespace.
func (p *PE) SNMPCommand() []string {
	return inNamespace(p.Node.Namespace, "env", "SNMP_PERSISTENT_DIR="+filepath.Join(p.Dir, "snmp"),
		"snmpd", "-C", "-c", filepath.Join(p.Dir, "snmpd.conf"), "-Lf", filepath.Join(p.Dir, "snmpd.log"),
		"-p", filepath.Join(p.Dir, "snmpd.pid"), "-I", "-ifTable,ifXTable")
}

func (l *Lab) startSNMP(ctx context.Context) error {
	for i := range l.PEs {
		p := &l.PEs[i]
		if err := os.Mkdir(filepath.Join(p.Dir, "snmp"), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(p.Dir, "snmpd.conf"), snmpdConf(*p), 0o600); err != nil {
			return err
		}
		cmd := p.SNMPCommand()
		if err := run(ctx, cmd[0], cmd[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// Command is the command line that starts the PE process (again); it stays in
// the foreground and writes its pid to PIDFile.
func (p *PE) Command(l *Lab) []string {
	return inNamespace(p.Node.Namespace, l.Options.Binary, "lab", "pe", "--state", filepath.Join(l.RunDir, p.Node.Name+".json"))
}

// PIDFile has the pid of the PE process, SNMPPIDFile that of its snmpd.
func (p *PE) PIDFile() string { return filepath.Join(p.Dir, "pe.pid") }

// SNMPPIDFile has the pid of the PE's snmpd.
func (p *PE) SNMPPIDFile() string { return filepath.Join(p.Dir, "snmpd.pid") }

// startPEs starts the PE processes and waits for their CLIs.
func (l *Lab) startPEs(ctx context.Context) error {
	for i := range l.PEs {
		if err := l.StartPE(ctx, &l.PEs[i]); err != nil {
			return err
		}
	}
	for i := range l.PEs {
		p := &l.PEs[i]
		ssh := p.Node.SSH.Address
		if err := l.waitDial(ctx, l.Noc(), ssh, 20*time.Second); err != nil {
			return fmt.Errorf("PE %s does not answer on its CLI, see %s: %w", p.Node.Name, p.LogFile, err)
		}
	}
	return nil
}

// StartPE starts a PE process that is not running.
func (l *Lab) StartPE(ctx context.Context, p *PE) error {
	return startDetached(ctx, p.LogFile, p.Command(l))
}

// startDetached starts a process that outlives this one, by a command line of
// inNamespace. It is in its namespace before it is detached: from then on, whatever
// becomes of ctx, remove finds it there.
func startDetached(ctx context.Context, logFile string, args []string) error {
	enter, command := args[:4:4], args[4:]
	sh := append(enter, "setsid", "--fork", "sh", "-c", `exec "$@" >>"$0" 2>&1 </dev/null`, logFile)
	return run(ctx, sh[0], append(sh[1:], command...)...)
}

// startGuard starts what restores port pairs on edge bridges when vswitchd is
// restarted without a controller, and waits until it runs.
func (l *Lab) startGuard(ctx context.Context) error {
	logFile := filepath.Join(l.RunDir, "guard.log")
	if err := startDetached(ctx, logFile, l.guardCommand()); err != nil {
		return err
	}
	return poll(ctx, 20*time.Second, func() error {
		if findProcess(l.guardCommand()) == 0 {
			return fmt.Errorf("the guard does not run, see %s", logFile)
		}
		return nil
	})
}

func (l *Lab) guardCommand() []string {
	return inNamespace(l.Fab(), l.Options.Binary, "tap", "guard", "--db", "unix:"+l.dbSocket())
}

// waitDial waits until a TCP port answers, from a namespace.
func (l *Lab) waitDial(ctx context.Context, namespace string, to netip.AddrPort, limit time.Duration) error {
	return poll(ctx, limit, func() error {
		return within(namespace, func() error {
			c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", to.String())
			if err != nil {
				return err
			}
			return c.Close()
		})
	})
}

// checkForwarding waits until the hosts of the demo reach each other. A refused
// connection is an answer.
func (l *Lab) checkForwarding(ctx context.Context) error {
	client, server := l.Host(l.Net.Lab.Client), l.Host(l.Net.Lab.Server)
	for _, v4 := range []bool{true, false} {
		to := server.Addr(v4)
		if !to.IsValid() {
			continue
		}
		err := poll(ctx, 20*time.Second, func() error {
			err := within(client.Namespace, func() error {
				_, err := (&net.Dialer{Timeout: 200 * time.Millisecond}).DialContext(ctx, "tcp", netip.AddrPortFrom(to, 9).String())
				return err
			})
			if errors.Is(err, syscall.ECONNREFUSED) {
				return nil
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s does not reach %s: %w", client.Name, to, err)
		}
	}
	return nil
}

// poll tries until it works, the time is up or ctx ends.
func poll(ctx context.Context, limit time.Duration, try func() error) error {
	end := time.Now().Add(limit)
	for {
		err := try()
		if err == nil || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Exec gives the command line that runs args somewhere in the lab: on a host, on
// a PE, or in noc or fab.
func (l *Lab) Exec(where string, args ...string) ([]string, error) {
	if ns := l.ns(where); slices.Contains(l.namespaces(), ns) {
		return inNamespace(ns, args...), nil
	}
	return nil, OptionError{fmt.Sprintf("run on %q: want a host, a PE, noc or fab", where)}
}
