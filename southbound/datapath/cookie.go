package datapath

// Cookies of mpbox's flows:
//
//	63            48 47     40 39      32 31                  0
//	+---------------+---------+----------+---------------------+
//	| owner "mp"    |  kind   |generation|       handle        |
//	+---------------+---------+----------+---------------------+
//
// A generation is one synchronisation of a bridge. Generation 0 is that of flows
// which the guard restored without a controller.
const (
	// CookieOwner and CookieOwnerMask select the flows that mpbox owns.
	CookieOwner     uint64 = 0x6d70 << 48
	CookieOwnerMask uint64 = 0xffff << 48

	kindShift = 40
	genShift  = 32
	kindMask  = CookieOwnerMask | 0xff<<kindShift
	genMask   = kindMask | 0xff<<genShift
)

type kind uint8

const (
	kindInfra  kind = 1 + iota // tap, defaults, port pairs
	kindEdge                   // edge rules; the handle names the rule
	kindExpect                 // expected third ACKs
)

// GuardCookie is that of the flows which the guard installs.
const GuardCookie = CookieOwner | uint64(kindInfra)<<kindShift

func cookie(k kind, gen uint8, handle uint32) uint64 {
	return CookieOwner | uint64(k)<<kindShift | uint64(gen)<<genShift | uint64(handle)
}

func owned(c uint64) bool         { return c&CookieOwnerMask == CookieOwner }
func kindOf(c uint64) kind        { return kind(c >> kindShift) }
func generationOf(c uint64) uint8 { return uint8(c >> genShift) }
func handleOf(c uint64) uint32    { return uint32(c) }

// nextGeneration is one that no installed flow has, and not the guard's.
func nextGeneration(last uint8, used map[uint8]bool) uint8 {
	for g := last + 1; ; g++ {
		if g != 0 && !used[g] {
			return g
		}
		if g == last { // all 255 in use cannot be: two or three are
			return max(g, 1)
		}
	}
}
