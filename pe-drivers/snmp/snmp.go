// Package snmp drives PE routers through SNMPv3: LSPs are rows of MPLS-TE-STD-MIB
// (RFC 3812), FECs are rows of MPLS-FTN-STD-MIB (RFC 3814) mapped to the
// attachment's interface.
//
// Decoding walks and encoding SETs are pure functions on rows; session.go alone
// talks to the router. What is in the router's tables is read anew before each
// Apply: the driver keeps no state but the session.
package snmp

import (
	"context"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"mpbox/pe-drivers/driver"
)

// Config of a driver. The passwords are never logged and appear in no error.
type Config struct {
	// PE is the router's name in messages; RouterID its MPLS-TE router id (IPv4).
	PE       string
	RouterID netip.Addr
	// Address is the agent's host:port; ":161" is added where no port is given.
	Address string
	// User and the protocols of SNMPv3 authPriv: sha1 (RFC 3414), sha224, sha256, sha384
	// or sha512 (RFC 7860), and aes128 (RFC 3826), aes192 or aes256
	// (draft-blumenthal-aes-usm-04).
	User                       string
	AuthProtocol, AuthPassword string
	PrivProtocol, PrivPassword string
	// ContextName is that of each request (RFC 3411, section 3.3); "" is the default one.
	ContextName string
	// Owner is the name prefix of what may be changed: "mpbox/lab/".
	Owner string
	// Names translates egress router ids to node names and back.
	Names driver.Names
	// TunnelIDs is the range, ends included, from which tunnel numbers are taken.
	// The zero value is 50000 to 50999.
	TunnelIDs [2]uint32
	// Timeout of one request, 2 s by default; reads are sent Retries times more. A SET
	// is sent once: sent again, it would be refused by the very row that it made.
	Timeout time.Duration
	Retries int
	// MaxMessage is the size in octets that a SET does not exceed: 1,400 by default,
	// so that it is not fragmented.
	MaxMessage int
	// MaxRepetitions is how many rows one GETBULK asks for; 40 by default.
	MaxRepetitions int
	// Log may be nil. It should carry the PE's name.
	Log *zap.Logger

	// dial replaces the transport in tests of this package.
	dial dialFunc
}

// New makes a driver. It connects with the first request and again after one
// that failed.
func New(cfg Config) driver.Driver {
	setDefault(&cfg.Timeout, 2*time.Second)
	setDefault(&cfg.MaxMessage, 1400)
	setDefault(&cfg.MaxRepetitions, 40)
	setDefault(&cfg.TunnelIDs, [2]uint32{50000, 50999})
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &snmpDriver{cfg: cfg, session: session{cfg: cfg, log: cfg.Log}}
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

type snmpDriver struct {
	cfg     Config
	session session
}

// Capabilities implements driver.Driver.
func (d *snmpDriver) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		Kind: "snmp", Write: true, FTN: true, Class: true,
		ExplicitRoute: true, RecordRoute: true, Bandwidth: true, BindForeign: true,
	}
}

// Close implements driver.Driver.
func (d *snmpDriver) Close() error {
	d.session.drop()
	return nil
}

// State implements driver.Driver.
func (d *snmpDriver) State(ctx context.Context) (driver.State, error) {
	inv, err := d.read(ctx)
	if err != nil {
		return driver.State{}, err
	}
	s := driver.State{At: time.Now(), FTNs: inv.boundFTNs()}
	s.LSPs, s.HalfMade = inv.lsps(d.cfg.Names)
	return s, nil
}
