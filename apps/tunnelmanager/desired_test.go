package tunnelmanager

import (
	"net/netip"
	"testing"
)

// What names a flow and an edge rule is found again after a restart with a later
// version: SHA-256 of the place and the tuple, cut.
func TestNamesAreStable(t *testing.T) {
	ends := func(src, dst string) Flow {
		return Flow{Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst)}
	}
	v4, v6 := ends("10.1.0.1:4000", "10.2.0.1:80"), ends("[2001:db8::1]:4000", "[2001:db8::2]:80")
	v4.Ingress, v6.Ingress = "ce1", "ce1"
	for f, want := range map[Flow]string{v4: "mpbox/x/flow/5086e4dd997b34c9", v6: "mpbox/x/flow/a4f92c669ab4aa0f"} {
		if got := flowName("mpbox/x/", f); got != want {
			t.Errorf("flow %v is named %s, was %s", f, got, want)
		}
	}
	for r, want := range map[EdgeRule]uint64{
		{Attachment: `ce "1`, FromPE: true, Src: v4.Src, Dst: v4.Dst, Mark: true, DSCP: 3}: 0x990b3993d36647ab,
		{Attachment: "ce1", Src: v6.Src, Dst: v6.Dst}:                                      0x882e5779a7f0569c,
	} {
		if got := r.Key(); got != want {
			t.Errorf("rule %v has the number %#x, had %#x", r, got, want)
		}
	}
}
