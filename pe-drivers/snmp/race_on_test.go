//go:build race

package snmp

// slowdown is what the race detector costs, in this process also the emulated PE.
const slowdown = 10
