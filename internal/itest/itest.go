// Package itest is for tests on real parts (Open vSwitch, snmpd, FRR, network
// namespaces): it decides what happens where a part is missing. Tests only.
package itest

import (
	"os"
	"os/exec"
	"testing"
)

// Need skips the test unless it runs as root with all the tools on the PATH.
// Where integration is required (CI=true, or MPBOX_REQUIRE_INTEGRATION=1), a
// missing part fails the test: a skip would hide that nothing was shown.
func Need(t testing.TB, tools ...string) {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") == "true" || os.Getenv("MPBOX_REQUIRE_INTEGRATION") == "1" {
		missing = t.Fatalf
	}
	if os.Geteuid() != 0 {
		missing("needs root: network namespaces")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing("needs %s: run make deps-test", tool)
		}
	}
}
