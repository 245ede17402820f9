package datapath

import (
	"testing"

	"go.uber.org/zap"

	"mpbox/southbound/openflow"
)

// What an expectation costs to encode.
func BenchmarkExpect(b *testing.B) {
	d := newDatapath(&Registry{cfg: Config{Tap: Tap{}.withDefaults()}, log: zap.NewNop()}, Bridge{DPID: 1, Attachments: []Attachment{{CEPort: 1, PEPort: 2}}})
	e := Expectation{InPort: 1, Src: v4a, Dst: v4b}
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		m, err := d.expectMessage(e, 1, DialectOVS)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := openflow.AppendMessage(buf, 1, m); err != nil {
			b.Fatal(err)
		}
	}
}
