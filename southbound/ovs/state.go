package ovs

import (
	"context"
	"fmt"
	"slices"

	"github.com/digitalocean/go-openvswitch/ovsdb"
)

// State is what the database says, as far as mpbox cares.
type State struct {
	// VLANLimit is Open_vSwitch's other_config:vlan-limit; "" where it is not set.
	VLANLimit string
	Bridges   map[string]BridgeState
}

// BridgeState is one bridge.
type BridgeState struct {
	FailMode    string
	OtherConfig map[string]string
	ExternalIDs map[string]string
	// DPID is what ovs-vswitchd uses now.
	DPID        string
	Protocols   []string
	Controllers []ControllerState
	// Ports by interface name, the bridge's own left out.
	Ports map[string]PortState
}

// ControllerState is a controller of a bridge.
type ControllerState struct {
	Target    string
	Connected bool
	Mode      string // connection_mode
}

// PortState is an interface of a bridge.
type PortState struct {
	// Number is the OpenFlow port number; 0 while ovs-vswitchd has given none, and
	// where it could not open the interface.
	Number int64
	Error  string
}

// ReadState reads the database.
func ReadState(ctx context.Context, db string) (State, error) {
	c, err := dialDB(ctx, db)
	if err != nil {
		return State{}, err
	}
	defer func() { _ = c.Close() }()
	return readState(ctx, c)
}

func readState(ctx context.Context, c *ovsdb.Client) (State, error) {
	tables := map[string]map[string]ovsdb.Row{}
	for _, name := range []string{"Open_vSwitch", "Bridge", "Port", "Interface", "Controller"} {
		rows, err := c.Transact(ctx, database, []ovsdb.TransactOp{ovsdb.Select{Table: name}})
		if err != nil {
			return State{}, fmt.Errorf("read OVSDB table %s: %w", name, err)
		}
		tables[name] = map[string]ovsdb.Row{}
		for _, r := range rows {
			if id, ok := tagged(r["_uuid"], "uuid").(string); ok {
				tables[name][id] = r
			}
		}
	}
	s := State{Bridges: map[string]BridgeState{}}
	for _, r := range tables["Open_vSwitch"] {
		s.VLANLimit = stringMap(r["other_config"])["vlan-limit"]
	}
	for _, r := range tables["Bridge"] {
		name := str(r["name"])
		b := BridgeState{
			FailMode: str(r["fail_mode"]), OtherConfig: stringMap(r["other_config"]), ExternalIDs: stringMap(r["external_ids"]),
			DPID: str(r["datapath_id"]), Protocols: strs(r["protocols"]), Ports: map[string]PortState{},
		}
		for _, id := range uuids(r["controller"]) {
			row := tables["Controller"][id]
			connected, _ := row["is_connected"].(bool)
			b.Controllers = append(b.Controllers, ControllerState{str(row["target"]), connected, str(row["connection_mode"])})
		}
		slices.SortFunc(b.Controllers, func(x, y ControllerState) int {
			if x.Target < y.Target {
				return -1
			}
			return 1
		})
		for _, id := range uuids(r["ports"]) {
			for _, id := range uuids(tables["Port"][id]["interfaces"]) {
				row := tables["Interface"][id]
				p := PortState{Error: str(row["error"])}
				if n, ok := number(row["ofport"]); ok && n > 0 {
					p.Number = n
				} else if n, ok := number(row["ofport_request"]); ok {
					p.Number = n
				}
				if ifname := str(row["name"]); ifname != name {
					b.Ports[ifname] = p
				}
			}
		}
		s.Bridges[name] = b
	}
	return s, nil
}
