// Package api is what operators and scripts see of a running controller: REST
// with an OpenAPI 3.1 description, an event stream, health, metrics and the web
// page.
//
// It decides nothing and keeps no state of the network. Its JSON types are its
// own, so that the inside can change while scripts keep working; what it needs
// from the controller are the small interfaces of backend.go. Secrets (MPTCP
// keys, passwords) have no field here. Unknown fields may be added to the JSON,
// those that are there stay.
package api
