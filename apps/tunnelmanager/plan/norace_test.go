//go:build !race

package plan

// See race_test.go.
const (
	slack            = 1
	ReplaySteps      = 10_000
	oracleDefault    = 100
	stepSeeds        = 150
	loadedSignatures = 10_000
	speedRuns        = 3
)
