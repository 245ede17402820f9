package capture

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// numbered writes a file of packets that bear their number, of size bytes and some more.
func numbered(t *testing.T, size int, times []uint32) *File {
	t.Helper()
	le := binary.LittleEndian
	b := pcapFile(le, 0xa1b2c3d4, 1, nil)
	for i, at := range times {
		n := uint32(size + i%64)
		for _, v := range []uint32{at / 1e6, at % 1e6, n, n} {
			b = le.AppendUint32(b, v)
		}
		b = append(le.AppendUint32(b, uint32(i)), bytes.Repeat([]byte{byte(i)}, int(n)-4)...)
	}
	f, err := NewFile("x", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// sorted reads what a sorter gives: the packets' numbers.
func sorted(t *testing.T, s *sorter, most int) (out []int) {
	t.Helper()
	for {
		p, err := s.next()
		if err != nil {
			return out
		}
		i := binary.LittleEndian.Uint32(p.Data)
		if !bytes.Equal(p.Data[4:], bytes.Repeat([]byte{byte(i)}, len(p.Data)-4)) {
			t.Fatalf("packet %d is overwritten", i)
		}
		if s.bytes > most {
			t.Fatalf("%d bytes are held, want %d at most", s.bytes, most)
		}
		out = append(out, int(i))
	}
}

func TestPacketsOfOneFileAreOrderedByTime(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, tc := range []struct {
		name string
		time func(i int) uint32
	}{
		{"in order", func(i int) uint32 { return uint32(i) }},
		{"all at once", func(int) uint32 { return 7 }},
		{"two interfaces, one behind", func(i int) uint32 { return uint32(1000 + 10*i - 1000*(i%2)) }},
		{"blocks of eight queues", func(i int) uint32 { return uint32(i/800*100 + i%100) }},
		{"jitter", func(i int) uint32 { return uint32(i + r.IntN(300)) }},
		{"one clock ahead", func(i int) uint32 { return uint32(i + i%50/49*1e6) }},
		{"appended", func(i int) uint32 { return uint32(i % 2500) }},
		{"backwards", func(i int) uint32 { return uint32(5000 - i) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			times := make([]uint32, 5000)
			want := make([]int, len(times))
			for i := range times {
				times[i], want[i] = tc.time(i), i
			}
			slices.SortStableFunc(want, func(a, b int) int { return int(times[a]) - int(times[b]) })
			if got := sorted(t, newSorter(numbered(t, 100, times), waitBytes), waitBytes); !slices.Equal(got, want) {
				t.Error("not in the order of time")
			}
		})
	}
}

// TestFilesShareTheMemory: however many they are; with hardly any, packets still come.
func TestFilesShareTheMemory(t *testing.T) {
	files, all := make([]*File, 500), 0
	for i := range files {
		files[i] = numbered(t, chunkSize, []uint32{1, 2})
	}
	for _, s := range NewMerge(files...).files {
		all += s.limit
	}
	if all > waitBytes {
		t.Errorf("%d bytes may be held, want %d", all, waitBytes)
	}
	if got := sorted(t, newSorter(files[0], 1), 2*chunkSize); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("got %v", got)
	}
}

// TestOrderInBoundedMemory: of a file that is larger than what may be held, all
// packets come, in order as far as that reaches.
func TestOrderInBoundedMemory(t *testing.T) {
	const limit = 4 * chunkSize
	for _, size := range []int{4, 1400, chunkSize, 3 * chunkSize} {
		times := make([]uint32, 2000/(size/chunkSize*10+1))
		for i := range times {
			times[i] = uint32(10 * i)
			switch i % 100 {
			case 50:
				times[i] -= 15 // stands one place too late
			case 60:
				times[i] += 1e6 // a clock far ahead: such packets hold their memory
			}
		}
		got := sorted(t, newSorter(numbered(t, size, times), limit), limit+max(chunkSize, size+64)+waitSize)
		if len(got) != len(times) {
			t.Fatalf("packets of %d bytes: %d of %d", size, len(got), len(times))
		}
		at := make([]int, len(times))
		for i, n := range got {
			at[n] = i
		}
		if size <= 1400 {
			for i := 50; i < len(times); i += 100 {
				if at[i] > at[i-1] {
					t.Fatalf("packets of %d bytes: %d is given after the one before it", size, i)
				}
			}
		}
	}
}
