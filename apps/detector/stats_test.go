package detector

import (
	"testing"
	"time"
)

func TestHistogramBounds(t *testing.T) {
	for _, d := range []time.Duration{-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 999, 1023, 1024, 1535, 1536, time.Millisecond, time.Hour, 1 << 62} {
		var h Histogram
		h.add(int64(d))
		for i, n := range h.Buckets {
			if n == 0 {
				continue
			}
			if last := i == HistogramBuckets-1; !last && d >= HistogramBound(i) || i > 0 && d < HistogramBound(i-1) {
				t.Errorf("%d is in bucket %d, %d to %d", d, i, HistogramBound(max(i-1, 0)), HistogramBound(i))
			}
		}
		if h.Count != 1 || h.Sum != max(d, 0) {
			t.Errorf("%d: count %d, sum %d", d, h.Count, h.Sum)
		}
	}
	for i := 1; i < HistogramBuckets; i++ {
		if HistogramBound(i) <= HistogramBound(i-1) {
			t.Errorf("bounds %d and %d do not rise", i-1, i)
		}
	}
}
