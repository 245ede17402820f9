#!/bin/sh
# Installs the Debian packages that building, testing and the lab need, and only
# those that are missing. Services that the packages bring are not started: the
# lab and the tests run their own copies in network namespaces.
set -eu
packages="ca-certificates curl ethtool frr frr-snmp git gcc glpk-utils iperf3 iproute2 iputils-ping jq libc6-dev make
mptcpd openvswitch-switch openssl procps snmp snmpd tcpdump tshark"
missing=""
for p in $packages; do
	dpkg-query -W -f='${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
done
if [ -z "$missing" ]; then exit 0; fi
if [ "$(id -u)" != 0 ]; then
	echo "missing packages:$missing; run as root: apt-get install$missing" >&2
	exit 1
fi
echo "installing:$missing" >&2
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	made=yes
fi
trap '[ -z "$made" ] || rm -f "$policy"' EXIT
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086
apt-get install -y -q --no-install-recommends $missing
