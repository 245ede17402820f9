package snmp

import (
	"encoding/hex"
	"testing"
)

// discoveryReport is what snmpd answers to discovery: lengths in the long form too.
const discoveryReport = "3061" + // message
	"020103" + // version 3
	"30820011" + "020412345678" + "020300ffe3" + "040100" + "020103" + // msgID, size, flags, USM
	"041a" + "3018" + "040980001f880466616b65" + "020103" + "020203e8" + "0400" + "0400" + "0400" +
	"302b" + "040980001f880466616b65" + "0400" + // scoped PDU: a Report
	"a81c" + "020100" + "020100" + "020100" + "3011" + "300f" + "060a2b060106030f01010400" + "410107"

func TestReadHeader(t *testing.T) {
	msg, err := hex.DecodeString(discoveryReport)
	if err != nil {
		t.Fatal(err)
	}
	h, ok := readHeader(msg)
	if want := (header{msgID: 0x12345678, report: true}); !ok || h != want {
		t.Fatalf("got %+v, %v, want %+v", h, ok, want)
	}
	for i := range msg {
		if h, ok := readHeader(msg[:i]); ok {
			t.Errorf("%d octets of %d are read as %+v", i, len(msg), h)
		}
	}
	msg[4] = 1 // SNMPv2c
	if _, ok := readHeader(msg); ok {
		t.Error("a message of SNMPv2c has a header of SNMPv3")
	}
}

func FuzzReadHeader(f *testing.F) {
	msg, _ := hex.DecodeString(discoveryReport)
	f.Add(msg)
	f.Add([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(_ *testing.T, b []byte) { readHeader(b) })
}
