package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mpbox/internal/frametest"
	"mpbox/southbound/packet"
)

type order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

var synFrame = frametest.Segment{Src: v4a, Dst: v4b, Flags: frametest.SYN, Options: frametest.CapableSYN(1, 0)}.Ethernet()

// pcapFile writes a file as https://www.tcpdump.org/manpages/pcap-savefile.5.html
// has it: seconds and fractions, one packet each.
func pcapFile(o order, magic uint32, link uint32, frame []byte, times ...[2]uint32) []byte {
	b := o.AppendUint32(nil, magic)
	b = o.AppendUint16(b, 2)
	b = o.AppendUint16(b, 4)
	b = o.AppendUint32(b, 0)
	b = o.AppendUint32(b, 0)
	b = o.AppendUint32(b, 262144)
	b = o.AppendUint32(b, link)
	for _, t := range times {
		b = o.AppendUint32(b, t[0])
		b = o.AppendUint32(b, t[1])
		b = o.AppendUint32(b, uint32(len(frame)))
		b = o.AppendUint32(b, uint32(len(frame)))
		b = append(b, frame...)
	}
	return b
}

func ngBlock(o order, kind uint32, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	b := o.AppendUint32(nil, kind)
	b = o.AppendUint32(b, uint32(12+len(body)))
	b = append(b, body...)
	return o.AppendUint32(b, uint32(12+len(body)))
}

// The blocks of pcapng, as draft-ietf-opsawg-pcapng has them.
func ngSectionOf(o order, major, minor uint16) []byte {
	b := o.AppendUint32(nil, 0x1a2b3c4d)
	b = o.AppendUint16(b, major)
	b = o.AppendUint16(b, minor)
	return ngBlock(o, 0x0a0d0d0a, append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
}

func ngIfaceOf(o order, link uint16, snap uint32, opts ...[]byte) []byte {
	b := o.AppendUint16(nil, link)
	b = o.AppendUint16(b, 0)
	return ngBlock(o, 1, cat(o.AppendUint32(b, snap), cat(opts...)))
}

func ngOption(o order, code uint16, value ...byte) []byte {
	b := o.AppendUint16(nil, code)
	b = append(o.AppendUint16(b, uint16(len(value))), value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func ngPacketOf(o order, iface uint32, t uint64, data []byte) []byte {
	b := o.AppendUint32(nil, iface)
	b = o.AppendUint32(b, uint32(t>>32))
	b = o.AppendUint32(b, uint32(t))
	b = o.AppendUint32(b, uint32(len(data)))
	return ngBlock(o, 6, append(o.AppendUint32(b, uint32(len(data))), data...))
}

func ngSimpleOf(o order, n int, data []byte) []byte {
	return ngBlock(o, 3, append(o.AppendUint32(nil, uint32(n)), data...))
}

// ngFile writes a pcapng file with two interfaces, Ethernet and raw IP, and one
// packet of each at microsecond and nanosecond resolution.
func ngFile(o order) []byte {
	return cat(ngSectionOf(o, 1, 0), ngIfaceOf(o, 1, 0), ngIfaceOf(o, 101, 0, ngOption(o, 9, 9), ngOption(o, 0)),
		ngPacketOf(o, 0, 1_700_000_000_000_001, synFrame), ngPacketOf(o, 1, 1_700_000_000_000_002_003, synFrame[14:]))
}

// ngOdd writes what is rare in pcapng: minor version 2, packets without a time, an
// obsolete block, blocks to skip, a section in the other byte order.
func ngOdd() []byte {
	le, be := binary.LittleEndian, binary.BigEndian
	old := le.AppendUint32(nil, 1) // interface 1, no drops
	for _, v := range []uint32{uint32(1_700_000_000_000_002 >> 32), uint32(1_700_000_000_000_002 & 0xffffffff), uint32(len(synFrame) - 14), 0} {
		old = le.AppendUint32(old, v)
	}
	return cat(ngSectionOf(le, 1, 2), ngIfaceOf(le, 1, 60), ngIfaceOf(le, 101, 0, ngOption(le, 2, 'e', 't', 'h')),
		ngPacketOf(le, 0, 1_700_000_000_000_001, synFrame), ngSimpleOf(le, 1000, cat(synFrame, make([]byte, 60))[:60]),
		ngBlock(le, 2, append(old, synFrame[14:]...)), ngBlock(le, 0x40000bad, make([]byte, 300)),
		ngSectionOf(be, 2, 0), ngPacketOf(be, 0, 1, synFrame),
		ngSectionOf(be, 1, 0), ngIfaceOf(be, 1, 0, ngOption(be, 9, 0), ngOption(be, 14, 0, 0, 0, 0, 0, 0, 0, 5)), ngPacketOf(be, 0, 1_700_000_000, synFrame))
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

// oldPcap sets a version and the lengths of the only packet.
func oldPcap(minor byte, first, second int) []byte {
	b := pcapFile(binary.LittleEndian, 0xa1b2c3d4, 1, synFrame, [2]uint32{1_700_000_000, 1})
	b[6] = minor
	binary.LittleEndian.PutUint32(b[24+8:], uint32(first))
	binary.LittleEndian.PutUint32(b[24+12:], uint32(second))
	return b
}

// patchedPcap has the longer record headers of a patched libpcap.
func patchedPcap(times ...[2]uint32) []byte {
	le := binary.LittleEndian
	b := pcapFile(le, 0xa1b2cd34, 1, nil)
	for _, t := range times {
		for _, v := range []uint32{t[0], t[1], uint32(len(synFrame)), uint32(len(synFrame)), 2, 0} {
			b = le.AppendUint32(b, v)
		}
		b = append(b, synFrame...)
	}
	return b
}

func readAll(t *testing.T, name string, data []byte) (all []Packet, err error) {
	t.Helper()
	f, err := NewFile(name, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	for {
		p, err := f.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		p.Data = bytes.Clone(p.Data)
		all = append(all, p)
	}
}

func TestFiles(t *testing.T) {
	times := [][2]uint32{{1_700_000_000, 1}, {1_700_000_001, 999_999}}
	for _, tc := range []struct {
		name string
		data []byte
		at   []int64
	}{
		{"little endian", pcapFile(binary.LittleEndian, 0xa1b2c3d4, 1, synFrame, times...), []int64{1_700_000_000_000_001_000, 1_700_000_001_999_999_000}},
		{"big endian", pcapFile(binary.BigEndian, 0xa1b2c3d4, 1, synFrame, times...), []int64{1_700_000_000_000_001_000, 1_700_000_001_999_999_000}},
		{"nanoseconds", pcapFile(binary.LittleEndian, 0xa1b23c4d, 1, synFrame, times...), []int64{1_700_000_000_000_000_001, 1_700_000_001_000_999_999}},
		{"gzip", zipped(pcapFile(binary.LittleEndian, 0xa1b2c3d4, 1, synFrame, times...)), []int64{1_700_000_000_000_001_000, 1_700_000_001_999_999_000}},
		{"gzip of pcapng", zipped(ngFile(binary.BigEndian)), []int64{1_700_000_000_000_001_000, 1_700_000_000_000_002_003}},
		{"patched libpcap", patchedPcap(times...), []int64{1_700_000_000_000_001_000, 1_700_000_001_999_999_000}},
		{"more captured than there was", oldPcap(4, len(synFrame), 0), []int64{1_700_000_000_000_001_000}},
		{"version 2.3", oldPcap(3, len(synFrame), 1500), []int64{1_700_000_000_000_001_000}},
		{"version 2.3, lengths as before", oldPcap(3, 1500, len(synFrame)), []int64{1_700_000_000_000_001_000}},
		{"version 2.2", oldPcap(2, 1500, len(synFrame)), []int64{1_700_000_000_000_001_000}},
		{"pcapng", ngFile(binary.LittleEndian), []int64{1_700_000_000_000_001_000, 1_700_000_000_000_002_003}},
		{"pcapng, rare things", ngOdd(), []int64{1_700_000_000_000_001_000, 1_700_000_000_000_001_000, 1_700_000_000_000_002_000, 1_700_000_005_000_000_000}},
		{"pcapng, big endian", ngFile(binary.BigEndian), []int64{1_700_000_000_000_001_000, 1_700_000_000_000_002_003}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			all, err := readAll(t, "dir/edge.1.pcap", tc.data)
			if err != nil || len(all) != len(tc.at) {
				t.Fatalf("%d packets, %v", len(all), err)
			}
			for i, p := range all {
				var v packet.View
				if p.At != tc.at[i] || v.ParseLink(p.Link, p.Data) != packet.TCP || v.SrcPort != 4711 {
					t.Errorf("packet %d: at %d, link %d, %x", i, p.At, p.Link, p.Data)
				}
			}
			// Cut anywhere: what was read before is good, then there is an error or the end.
			if strings.HasPrefix(tc.name, "gzip") {
				return
			}
			for n := range len(tc.data) {
				got, err := readAll(t, "x", tc.data[:n])
				if len(got) > len(all) || len(got) == len(all) && n < len(tc.data)-8 && !strings.HasPrefix(tc.name, "pcapng") {
					t.Errorf("%d bytes: %d packets, %v", n, len(got), err)
				}
				for i, p := range got {
					if !bytes.Equal(p.Data, all[i].Data) {
						t.Errorf("%d bytes: packet %d differs", n, i)
					}
				}
			}
		})
	}
	if all, err := readAll(t, "x", cat(ngSectionOf(binary.LittleEndian, 1, 0),
		ngIfaceOf(binary.LittleEndian, 1, 0, ngOption(binary.LittleEndian, 1, make([]byte, 65535)...)), // the longest there is
		ngSimpleOf(binary.LittleEndian, len(synFrame), synFrame))); err != nil || len(all) != 1 || all[0].At != 0 {
		t.Errorf("without any time: %v, %v", all, err)
	}
	if _, err := readAll(t, "x", []byte("not a capture at all, is it?")); !errors.Is(err, ErrNoCapture) {
		t.Errorf("%v", err)
	}
	if _, err := readAll(t, "x", nil); !errors.Is(err, ErrNoCapture) {
		t.Errorf("%v", err)
	}
	if _, err := readAll(t, "x", pcapFile(binary.LittleEndian, 0xa1b2c3d4, 147, synFrame)); err == nil || !strings.Contains(err.Error(), "147") {
		t.Errorf("%v", err)
	}
	var fe *FileError
	if _, err := readAll(t, "some.pcap", pcapFile(binary.LittleEndian, 0xa1b2c3d4, 1, synFrame, times...)[:60]); !errors.As(err, &fe) || fe.Name != "some.pcap" {
		t.Errorf("%v", err)
	}
}

// TestFileErrors: an error names the file, the place and what to do.
func TestFileErrors(t *testing.T) {
	le := binary.LittleEndian
	begin := cat(ngSectionOf(le, 1, 0), ngIfaceOf(le, 1, 0))
	length := func(block []byte, n uint32) []byte {
		le.PutUint32(block[4:], n)
		return block
	}
	captured := func(block []byte, n uint32) []byte {
		le.PutUint32(block[20:], n)
		return block
	}
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"pcap length", oldPcap(4, 1<<31, 1<<31), "packet 1: a packet of 2147483648 bytes: the file is damaged, copy or capture it anew"},
		{"pcap version", oldPcap(5, 0, 0), "want pcap or pcapng (pcap version 2.5)"},
		{"pcapng version", ngSectionOf(le, 1, 1), "pcapng version 1.1 is not known: convert the file to pcap"},
		{"pcapng version later", cat(begin, ngPacketOf(le, 0, 1, synFrame), ngSectionOf(le, 2, 0)), "packet 2: pcapng version 2.0 is not known"},
		{"pcapng byte order", length(ngBlock(le, 0x0a0d0d0a, make([]byte, 16)), 28), "without byte order: the file is damaged"},
		{"no interface", cat(begin, ngPacketOf(le, 3, 1, synFrame)), "packet 1: a packet of interface 3, of 1 that are described: the file is damaged"},
		{"empty block", cat(begin, ngPacketOf(le, 0, 1, synFrame), make([]byte, 64)), "packet 2: a block of 0 bytes: the file is damaged"},
		{"huge block", cat(begin, length(ngBlock(le, 99, nil), 0xfffffff0)), "packet 1: a block of 4294967280 bytes: the file is damaged"},
		{"huge packet", cat(begin, captured(length(ngPacketOf(le, 0, 1, synFrame), 0x7ffffff0), 0x7fffff00)), "packet 1: a packet of 2147483392 bytes: the file is damaged"},
		{"packet longer than its block", cat(begin, captured(ngPacketOf(le, 0, 1, synFrame), 4000)), "packet 1: a packet of 4000 bytes in a block"},
		{"short block", cat(begin, ngBlock(le, 6, make([]byte, 16))), "packet 1: a block is too short"},
		{"long option", cat(begin, ngIfaceOf(le, 1, 0, le.AppendUint16(le.AppendUint16(nil, 2), 65000))), "packet 1: a block is too short"},
		{"cut", cat(begin, ngPacketOf(le, 0, 1, synFrame)[:40]), "packet 1: the file ends in the middle of a packet"},
		{"gzip cut", zipped(ngFile(le))[:60], "some.pcap: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var fe *FileError
			_, err := readAll(t, "some.pcap", tc.data)
			if !errors.As(err, &fe) || fe.Name != "some.pcap" || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

// TestTimeStamps: units and offsets of pcapng, exact where nanoseconds are.
func TestTimeStamps(t *testing.T) {
	o := binary.LittleEndian
	const most = 1<<63 - 1
	for _, tc := range []struct {
		unit   byte // if_tsresol
		offset int64
		stamp  uint64
		want   int64
	}{
		{0, 0, 1_700_000_001, 1_700_000_001_000_000_000},
		{3, 0, 1_700_000_001_500, 1_700_000_001_500_000_000},
		{9, 0, 1_700_000_001_000_000_007, 1_700_000_001_000_000_007},
		{12, 0, 1_700_000_000_123_456, 1_700_000_000_123},
		{20, 0, 150_000_000_000_000_000, 1_500_000},
		{127, 0, 1 << 60, 0},
		{0x80, 0, 1_700_000_001, 1_700_000_001_000_000_000},
		{0x80 | 10, 0, 1000<<10 + 1, 1000_000_976_562},
		{0x80 | 30, 0, 1000<<30 + 1<<29, 1000_500_000_000},
		{0x80 | 30, 0, 1000<<30 + 1<<30 - 1, 1000_999_999_999},
		{0x80 | 32, 0, 1_700_000_000<<32 + 1<<31, 1_700_000_000_500_000_000},
		{0x80 | 63, 0, 3 << 62, 1_500_000_000},
		{0x80 | 64, 0, 3 << 62, 750_000_000},
		{0x80 | 127, 0, 1<<64 - 1, 0},
		{6, 1_000_000_000, 700_000_000_000_001, 1_700_000_000_000_001_000},
		{6, -1000, 1_700_001_000_000_001, 1_700_000_000_000_001_000},
		{6, -1000, 0, 0},            // before 1970
		{6, 0, 1<<64 - 1, most},     // after 2262
		{0, 0, 1<<64 - 1, most},     //
		{6, 1 << 62, 1 << 20, most}, //
		{6, -1 << 62, 1 << 40, 0},   //
		{9, 9223372036, most, most}, //
	} {
		data := cat(ngSectionOf(o, 1, 0), ngIfaceOf(o, 1, 0, ngOption(o, 9, tc.unit), ngOption(o, 14, o.AppendUint64(nil, uint64(tc.offset))...)),
			ngPacketOf(o, 0, tc.stamp, synFrame))
		if all, err := readAll(t, "x", data); err != nil || len(all) != 1 || all[0].At != tc.want {
			t.Errorf("unit %#x, offset %d, stamp %d: %v, %v, want %d", tc.unit, tc.offset, tc.stamp, all, err, tc.want)
		}
	}
}

func TestMerge(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) *File {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	le := binary.LittleEndian
	a := write("client.pcap", pcapFile(le, 0xa1b2c3d4, 1, synFrame, [2]uint32{12, 0}, [2]uint32{10, 0}, [2]uint32{12, 5}))
	b := write("server.x.pcapng", pcapFile(le, 0xa1b2c3d4, 101, synFrame[14:], [2]uint32{11, 0}, [2]uint32{12, 0}, [2]uint32{13, 0})[:24+3*16+2*(len(synFrame)-14)+5])
	c := write("empty.pcap", pcapFile(le, 0xa1b2c3d4, 1, synFrame))
	if a.Name != "client" || b.Name != "server.x" {
		t.Errorf("names %q %q", a.Name, b.Name)
	}
	m := NewMerge(a, b, c)
	var got []int64
	for {
		p, err := m.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		var v packet.View
		if v.ParseLink(p.Link, p.Data) != packet.TCP || v.SrcPort != 4711 {
			t.Errorf("misread %x", p.Data)
		}
		got = append(got, p.At/1e9*10+int64(p.File))
	}
	want := []int64{100, 111, 120, 121, 120} // 13 s is cut
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	if len(m.Errors) != 1 || !strings.Contains(m.Errors[0].Error(), "server.x.pcapng") {
		t.Errorf("%v", m.Errors)
	}
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func FuzzFile(f *testing.F) {
	f.Add(pcapFile(binary.LittleEndian, 0xa1b2c3d4, 1, synFrame, [2]uint32{1, 2}))
	f.Add(pcapFile(binary.BigEndian, 0xa1b23c4d, 113, synFrame, [2]uint32{1, 2}))
	f.Add(ngFile(binary.LittleEndian))
	f.Add(ngFile(binary.BigEndian))
	f.Add(ngOdd())
	f.Add(zipped(ngOdd()))
	f.Add(patchedPcap([2]uint32{1, 2}))
	f.Add(oldPcap(3, 1500, len(synFrame)))
	f.Add(oldPcap(4, len(synFrame), 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := NewFile("fuzz", bytes.NewReader(data))
		if err != nil {
			return
		}
		var v packet.View
		m := NewMerge(c)
		for range 1000 {
			p, err := m.Next()
			if err != nil {
				return
			}
			if p.At < 0 {
				t.Fatalf("at %d", p.At)
			}
			if len(p.Data) > len(data) && !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
				t.Fatalf("%d bytes of packet from %d bytes of file", len(p.Data), len(data))
			}
			v.ParseLink(p.Link, p.Data)
		}
	})
}
