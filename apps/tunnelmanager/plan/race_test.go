//go:build race

package plan

// slack is how much longer things may take under the race detector.
const slack = 15

// ReplaySteps is fewer under the race detector, which makes planning ten times slower.
const ReplaySteps = 1_000

const oracleDefault = 12
