// Package capture reads packets from where no OpenFlow switch punts them: capture
// files, and live mirror ports, also remote ones (ERSPAN). It gives frames with
// time and link type; what they mean is for others.
package capture
