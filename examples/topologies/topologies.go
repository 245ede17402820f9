// Package topologies holds the provider networks of the lab as files. Adding a
// network is adding a file; code has no place here.
package topologies

import "embed"

// FS has the files, NAME.yaml each.
//
//go:embed *.yaml
var FS embed.FS
