//go:build !race

package snmp

const slowdown = 1
