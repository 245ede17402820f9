// Package e2e tests mpbox as others use it: the built binary, run in labs with real
// parts, asked through its REST API alone. Tests only.
package e2e
