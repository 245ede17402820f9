// Package ovs prepares Open vSwitch bridges for mpbox through their database
// (OVSDB, RFC 7047), and guards their forwarding while there is no controller.
//
// Provisioning reads what is there, decides what to change (Changes, a pure
// function), and changes only that: what is already right is left alone, and a
// bridge with ports that the configuration does not name is not touched unless
// told. Flows are not the business of this package, but for the guard: it lays the
// port pairs again when a restarted ovs-vswitchd has lost them.
package ovs
