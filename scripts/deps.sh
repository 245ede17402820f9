#!/bin/sh
# deps.sh lab|test: installs the Debian packages that the lab needs, or those that
# the tests need too, and only the ones that are missing. Services that packages
# bring are not started: lab and tests run their own copies in network namespaces.
set -eu
packages="ca-certificates ethtool iproute2 openvswitch-switch procps snmpd"
case "${1:-}" in
lab) ;;
test) packages="$packages chromium frr gcc git glpk-utils iputils-ping libc6-dev openssl snmp tcpdump tshark" ;;
*)
	echo "usage: deps.sh lab|test" >&2
	exit 2
	;;
esac
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
