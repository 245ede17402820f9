package controller

import (
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"mpbox/apps/tunnelmanager"
	"mpbox/controller/config"
	"mpbox/pe-drivers/cli/iosxr"
	"mpbox/pe-drivers/driver"
	"mpbox/pe-drivers/snmp"
)

// names are those of all routers that the configuration knows by router id.
func names(cfg *config.Config) driver.Names { return driver.NewNames(namesByID(cfg)) }

func namesByID(cfg *config.Config) map[netip.Addr]string {
	ids := map[netip.Addr]string{}
	for id, name := range cfg.Topology.Names {
		ids[id] = name
	}
	for i := range cfg.PEs {
		ids[cfg.PEs[i].RouterID] = cfg.PEs[i].Name
	}
	return ids
}

// connect makes the sessions to a PE; nothing is sent before they are used.
func connect(cfg *config.Config, pe *config.PE, ids driver.Names, log *zap.Logger) (tunnelmanager.Conn, error) {
	var c tunnelmanager.Conn
	log = log.With(zap.String("pe", pe.Name))
	switch pe.Driver {
	case "snmp":
		c.Driver = snmp.New(snmp.Config{
			PE: pe.Name, RouterID: pe.RouterID, Address: pe.SNMP.Address, User: pe.SNMP.User, ContextName: pe.SNMP.Context,
			AuthProtocol: pe.SNMP.Auth, AuthPassword: string(pe.SNMP.AuthPassword),
			PrivProtocol: pe.SNMP.Priv, PrivPassword: string(pe.SNMP.PrivPassword),
			Owner: owner(cfg), Names: ids, TunnelIDs: pe.TunnelIDs,
			Timeout: time.Duration(pe.SNMP.Timeout), Retries: pe.SNMP.Retries, Log: log,
		})
	case "iosxr":
		c.Driver = newIOSXR(cfg, pe, ids, log)
	default:
		return c, fmt.Errorf("PE %s: driver %q: want snmp or iosxr", pe.Name, pe.Driver)
	}
	if pe.Topology == "iosxr" {
		if t, ok := c.Driver.(driver.TopologyReader); ok {
			c.Topology = t
		} else if t, ok := newIOSXR(cfg, pe, ids, log).(driver.TopologyReader); ok {
			c.Topology = t
		}
	}
	return c, nil
}

func newIOSXR(cfg *config.Config, pe *config.PE, ids driver.Names, log *zap.Logger) driver.Driver {
	return iosxr.New(iosxr.Config{
		PE: pe.Name, RouterID: pe.RouterID, Address: pe.SSH.Address, User: pe.SSH.User, Password: string(pe.SSH.Password),
		KeyFile: pe.SSH.KeyFile, HostKey: pe.SSH.HostKey, KnownHosts: pe.SSH.KnownHosts,
		Owner: owner(cfg), Names: ids, TunnelIDs: pe.TunnelIDs, Timeout: time.Duration(pe.SSH.Timeout), Log: log,
	})
}

// owner is the prefix of the names that are this instance's own.
func owner(cfg *config.Config) string { return "mpbox/" + cfg.Instance + "/" }
