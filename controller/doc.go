// Package controller is the lifecycle of the whole: it builds the parts from a
// configuration, joins their events, and runs them until it is told to stop.
//
// One file per joint: places.go (which attachment a packet came by), tap.go
// (punts to the detector), flows.go (the detector's connections to the tunnel
// manager), edge.go (the tunnel manager's edge rules to the bridges), drivers.go
// (sessions to PEs), state.go (the store), backend_*.go (what the API shows),
// metrics.go, news.go (events). Nothing is decided here.
package controller
