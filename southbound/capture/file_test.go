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

// ngFile writes a pcapng file with two interfaces, Ethernet and raw IP, and one
// packet of each at microsecond and nanosecond resolution.
func ngFile(o order) []byte {
	section := o.AppendUint32(nil, 0x1a2b3c4d)
	section = o.AppendUint16(section, 1)
	section = o.AppendUint16(section, 0)
	section = append(section, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	b := ngBlock(o, 0x0a0d0d0a, section)
	iface := func(link uint16, opts []byte) []byte {
		i := o.AppendUint16(nil, link)
		i = o.AppendUint16(i, 0)
		return append(o.AppendUint32(i, 0), opts...)
	}
	resolution := o.AppendUint16(nil, 9) // if_tsresol
	resolution = o.AppendUint16(resolution, 1)
	resolution = append(resolution, 9, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, ngBlock(o, 1, iface(1, nil))...)
	b = append(b, ngBlock(o, 1, iface(101, resolution))...)
	pkt := func(iface uint32, t uint64, data []byte) []byte {
		p := o.AppendUint32(nil, iface)
		p = o.AppendUint32(p, uint32(t>>32))
		p = o.AppendUint32(p, uint32(t))
		p = o.AppendUint32(p, uint32(len(data)))
		p = o.AppendUint32(p, uint32(len(data)))
		return ngBlock(o, 6, append(p, data...))
	}
	b = append(b, pkt(0, 1_700_000_000_000_001, synFrame)...)
	b = append(b, pkt(1, 1_700_000_000_000_002_003, synFrame[14:])...)
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
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(pcapFile(binary.LittleEndian, 0xa1b2c3d4, 1, synFrame, times...))
	_ = z.Close()
	for _, tc := range []struct {
		name string
		data []byte
		at   []int64
	}{
		{"little endian", pcapFile(binary.LittleEndian, 0xa1b2c3d4, 1, synFrame, times...), []int64{1_700_000_000_000_001_000, 1_700_000_001_999_999_000}},
		{"big endian", pcapFile(binary.BigEndian, 0xa1b2c3d4, 1, synFrame, times...), []int64{1_700_000_000_000_001_000, 1_700_000_001_999_999_000}},
		{"nanoseconds", pcapFile(binary.LittleEndian, 0xa1b23c4d, 1, synFrame, times...), []int64{1_700_000_000_000_000_001, 1_700_000_001_000_999_999}},
		{"gzip", zipped.Bytes(), []int64{1_700_000_000_000_001_000, 1_700_000_001_999_999_000}},
		{"pcapng", ngFile(binary.LittleEndian), []int64{1_700_000_000_000_001_000, 1_700_000_000_000_002_003}},
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
	a := write("client.pcap", pcapFile(le, 0xa1b2c3d4, 1, synFrame, [2]uint32{10, 0}, [2]uint32{12, 0}, [2]uint32{12, 5}))
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
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := NewFile("fuzz", bytes.NewReader(data))
		if err != nil {
			return
		}
		var v packet.View
		for range 1000 {
			p, err := c.Next()
			if err != nil {
				return
			}
			if len(p.Data) > len(data) && !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
				t.Fatalf("%d bytes of packet from %d bytes of file", len(p.Data), len(data))
			}
			v.ParseLink(p.Link, p.Data)
		}
	})
}
