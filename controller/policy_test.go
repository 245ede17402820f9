package controller

import (
	"testing"
	"time"

	"mpbox/controller/config"
)

// What the configuration allows one request, a call of a driver must allow many times,
// and a commit besides; SNMP is not bounded by what SSH is allowed.
func TestCallsOutlastTheirRequests(t *testing.T) {
	const sec, least = time.Second, time.Minute // a commit
	ssh := func(d time.Duration) *config.SSH { return &config.SSH{Timeout: config.Duration(d)} }
	snmp := &config.SNMP{Timeout: config.Duration(5 * sec), Retries: 3}
	for name, tc := range map[string]struct {
		pe        config.PE
		call, ted time.Duration // at least
	}{
		"usual":        {config.PE{Driver: "iosxr", SSH: ssh(10 * sec)}, least + 8*10*sec, least},
		"slow":         {config.PE{Driver: "iosxr", SSH: ssh(600 * sec)}, 9 * 600 * sec, 600 * sec},
		"two sessions": {config.PE{Driver: "snmp", SNMP: snmp, SSH: ssh(600 * sec)}, 10 * 4 * 5 * sec, 600 * sec},
		"no topology":  {config.PE{Driver: "snmp", SNMP: snmp}, 10 * 4 * 5 * sec, 0},
	} {
		call, ted := limits(&tc.pe)
		if call < tc.call || ted < tc.ted || tc.pe.Driver == "snmp" && call > 600*sec {
			t.Errorf("%s: %s for a call, %s for the TED, want %s and %s", name, call, ted, tc.call, tc.ted)
		}
	}
}
