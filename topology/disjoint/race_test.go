//go:build race

package disjoint

// slow divides the number of random cases where the race detector makes them slow.
const slow = 6
