//go:build !race

package plan

const slack = 1
