//go:build race

package plan

// The race detector makes planning more than ten times slower, and finds nothing in
// code without goroutines but in what that uses: tests of size are shortened.
const (
	// slack is how much longer things may take.
	slack = 25
	// ReplaySteps is how many random steps a replay has.
	ReplaySteps = 400
	// oracleDefault is how many instances are compared with the ILP optimum unasked.
	oracleDefault = 5
	// stepSeeds is how many random networks are carried out step by step.
	stepSeeds = 15
	// loadedSignatures are in force when one more comes.
	loadedSignatures = 500
	// speedRuns is how often a redesign is timed; the median counts.
	speedRuns = 1
)
