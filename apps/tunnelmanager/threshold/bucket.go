package threshold

import "time"

// slots is how many whole seconds a Bucket remembers: any minute that ends now
// touches 61 of them.
const slots = 61

// Bucket counts operations against MaxOpsPerMinute: within any 60 seconds, wherever
// they begin, no more are given out. (A bucket that refills evenly would give up to
// twice as many: a full one, and what flows in meanwhile.) It counts by whole
// seconds, so that an operation comes back at most a second late. The zero value is
// full; a Bucket is a value and may be copied and kept.
type Bucket struct {
	counts [slots]int32 // by second modulo slots
	last   int64        // newest second that was counted, in Unix time
}

// roll forgets what is older than a minute. A clock that goes back gives nothing
// back: time then stands still.
func (b *Bucket) roll(now time.Time) {
	s := now.Unix()
	if b.last == 0 || s-b.last >= slots {
		b.counts, b.last = [slots]int32{}, max(s, b.last)
		return
	}
	for b.last < s {
		b.last++
		b.counts[b.last%slots] = 0
	}
}

func (b *Bucket) used() int {
	n := 0
	for _, c := range b.counts {
		n += int(c)
	}
	return n
}

// Left tells how many operations may be taken now.
func (b *Bucket) Left(now time.Time, perMinute int) int {
	b.roll(now)
	return max(0, perMinute-b.used())
}

// Take takes up to n operations and tells how many there were.
func (b *Bucket) Take(now time.Time, n, perMinute int) int {
	n = max(0, min(n, b.Left(now, perMinute)))
	b.counts[b.last%slots] += int32(n)
	return n
}

// Next tells when one more operation may be taken.
func (b *Bucket) Next(now time.Time, perMinute int) time.Time {
	left := b.Left(now, perMinute)
	if left > 0 {
		return now
	}
	// left is 0 also when the limit was lowered: count until enough have gone.
	n := b.used()
	for s := b.last - slots + 1; s <= b.last; s++ {
		if s < 0 {
			continue
		}
		n -= int(b.counts[s%slots])
		if n < perMinute {
			return time.Unix(s+slots, 0).In(now.Location())
		}
	}
	return time.Unix(b.last+slots, 0).In(now.Location())
}
