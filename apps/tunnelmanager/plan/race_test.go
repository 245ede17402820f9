//go:build race

package plan

// slack is how much longer things may take under the race detector.
const slack = 15
