//go:build !race

package plan

const slack = 1

// ReplaySteps is how many random steps a replay has.
const ReplaySteps = 10_000

// oracleDefault is how many instances are compared with the ILP optimum unasked.
const oracleDefault = 100
