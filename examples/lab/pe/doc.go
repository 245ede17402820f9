// Package pe is the PE process of the lab: one emulated router (package router)
// with its two management front ends, an AgentX subagent for the PE's snmpd
// (packages agentx and mib) and an SSH server that speaks IOS-XR's CLI (package
// xrcli), above the lab's label switched data plane (package fabric).
//
// A manager sees a router and nothing else. Nothing here is shared with mpbox,
// so that an error in one is not hidden by the same error in the other.
package pe
