package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"mpbox/examples/lab/fabric"
	"mpbox/examples/lab/pe"
)

// RunPE is the PE process: it runs a router until ctx ends. stateFile is
// RUNDIR/<pe>.json.
func RunPE(ctx context.Context, stateFile string) error {
	n, err := fabric.Load(stateFile)
	if err != nil {
		return err
	}
	pidFile := filepath.Join(n.RunDir, n.Name, "pe.pid")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return fmt.Errorf("run PE %s: %w", n.Name, err)
	}
	return pe.Run(ctx, n)
}

// SetFault makes a PE misbehave: words separated by spaces, as the PE process
// reads them, or "off".
func (l *Lab) SetFault(pe, fault string) error {
	p := l.pe(pe)
	if p == nil {
		return OptionError{fmt.Sprintf("PE %q: no such PE", pe)}
	}
	words := strings.Fields(fault)
	if len(words) == 0 {
		return OptionError{faultHelp}
	}
	if fault == "off" {
		words = nil
	}
	for _, w := range words {
		if !reFault.MatchString(w) {
			return OptionError{fmt.Sprintf("fault %q: %s", w, faultHelp)}
		}
	}
	// A rename, so that the PE never reads half of it.
	tmp := p.Node.FaultsFile + ".new"
	if err := os.WriteFile(tmp, []byte(strings.Join(words, " ")+"\n"), 0o600); err != nil {
		return fmt.Errorf("set fault of %s: %w", pe, err)
	}
	if err := os.Rename(tmp, p.Node.FaultsFile); err != nil {
		return fmt.Errorf("set fault of %s: %w", pe, err)
	}
	return nil
}

const faultHelp = "want off, or some of refuse-ftn, refuse-tunnel, die-after-sets=N, slow=DURATION, slow-set=DURATION"

var reFault = regexp.MustCompile(`^(refuse-ftn|refuse-tunnel|die-after-sets=[1-9][0-9]*|slow(-set)?=[0-9.]+(ms|s))$`)
