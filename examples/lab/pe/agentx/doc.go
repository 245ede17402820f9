// Package agentx is the AgentX protocol (RFC 2741) as a subagent needs it: the
// codec of its PDUs, and a session that registers subtrees with a master agent
// (snmpd) and answers for them, SET with its test, commit, undo and cleanup
// phases included.
//
// What the objects mean is not its business: see package mib. It imports
// nothing else of this repository.
package agentx
