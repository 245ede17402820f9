// Package xrcli is the router's command line: an SSH server with the grammar,
// prompts, two-stage configuration and outputs of Cisco IOS-XR, for the few
// commands that MPLS-TE tunnels and policy based tunnel selection need. Formats
// follow public captures of real routers.
//
// A line is matched against a tree of keywords that may be abbreviated. What is
// configured stays in the session's target configuration until commit, which
// applies all of it to the running configuration, or nothing.
package xrcli
