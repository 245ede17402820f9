#!/bin/sh
# ovs.sh: Open vSwitch in userspace, with one bridge, edge1: port 1 is the interface
# towards the CE, port 2 the one towards the PE. It ends with ovs-vswitchd.
set -eu
: "${CE_INTERFACE:?name the interface towards the CE}"
: "${PE_INTERFACE:?name the interface towards the PE}"
for i in "$CE_INTERFACE" "$PE_INTERFACE"; do
	ip link set "$i" up || { echo "ovs.sh: there is no interface $i here: ip link" >&2; exit 1; }
done
run=/run/openvswitch
db=/etc/openvswitch/conf.db
mkdir -p "$run" "${db%/*}"
[ -e "$db" ] || ovsdb-tool create "$db" /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server "$db" --remote="punix:$run/db.sock" --pidfile="$run/ovsdb-server.pid" --unixctl="$run/ovsdb-server.ctl" --detach
set_() { ovs-vsctl --db="unix:$run/db.sock" --no-wait "$@"; }
set_ init
# Secure from its first moment: a bridge that is not floods.
set_ --may-exist add-br edge1 -- set bridge edge1 datapath_type=netdev fail_mode=secure
set_ --may-exist add-port edge1 "$CE_INTERFACE" -- set interface "$CE_INTERFACE" ofport_request=1
set_ --may-exist add-port edge1 "$PE_INTERFACE" -- set interface "$PE_INTERFACE" ofport_request=2
exec ovs-vswitchd "unix:$run/db.sock" --pidfile="$run/ovs-vswitchd.pid" --unixctl="$run/ovs-vswitchd.ctl"
