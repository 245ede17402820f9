#!/bin/bash
# bench.sh: measures mpbox from outside against a yardstick and prints one table.
#
# The load generator's folder ($BENCH_DIR) has ofload (switches that send tapped
# handshakes and know what they sent), ofsink (a controller that only reads: the
# physical limit) and disjoint/ (graphs, and the same question put to LEMON).
# Controller and generator have a core each; both controllers run in turn, and
# ratios are those of medians, since machines differ and are never quiet.
#
# ROUNDS=3 rounds, CONNS=400000 connections in a run, SUBFLOWS=5000000 for the run
# with many tracked subflows, PARTS="load memory tracked latency paths".
set -euo pipefail
cd "$(dirname "$0")/.."
# As root in a network namespace of its own: the ports of examples/load.yaml are free.
if [ "$(id -u)" = 0 ] && [ -z "${BENCH_INSIDE:-}" ]; then
	exec unshare --net env BENCH_INSIDE=1 "$PWD/scripts/bench.sh"
fi
[ -z "${BENCH_INSIDE:-}" ] || ip link set lo up
BENCH_DIR=$(realpath "${BENCH_DIR:?is not set: name the folder of the load generator}")
ROUNDS=${ROUNDS:-3} CONNS=${CONNS:-400000} SUBFLOWS=${SUBFLOWS:-5000000}
PARTS=${PARTS:-load memory tracked latency paths}
PATHS_SECONDS=${PATHS_SECONDS:-1}
LIMIT=${LIMIT:-180} # seconds, for one run of the generator

die() { echo "bench: $*" >&2; exit 1; }
note() { echo "bench: $*" >&2; }
for tool in jq curl awk taskset timeout; do command -v $tool >/dev/null || die "needs $tool"; done
[ "$(nproc)" -ge 2 ] || die "needs two cores: one for the controller, one for the generator"

work=$(mktemp -d)
pid=""
end() { # ends the controller, by its process id
	[ -n "$pid" ] || return 0
	kill "$pid" 2>/dev/null || true
	for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
	kill -9 "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	pid=""
}
trap 'end; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

(cd "$BENCH_DIR" && go build -o "$work/" ./ofload ./ofsink) || die "build of the load generator failed"
mpbox=$PWD/bin/mpbox
of=127.0.0.1:6653 api=127.0.0.1:8080 # of examples/load.yaml
failures=$work/failures
: >"$failures"
fail() { echo "$*" >>"$failures"; note "FAILED: $*"; }

listening() { (exec 3<>/dev/tcp/${of%:*}/${of#*:}) 2>/dev/null; }

begin() { # begin sink|mpbox: starts a controller on core 0
	end
	if listening; then die "$of is taken"; fi
	if [ "$1" = sink ]; then
		taskset -c 0 "$work/ofsink" -listen $of >/dev/null 2>"$work/log" &
	else
		taskset -c 0 "$mpbox" run --config examples/load.yaml >/dev/null 2>"$work/log" &
	fi
	pid=$!
	for _ in $(seq 300); do
		kill -0 "$pid" 2>/dev/null || die "$1 ended: $(tail -3 "$work/log")"
		if listening; then return; fi
		sleep 0.1
	done
	die "$1 does not listen"
}

drive() { # drive OUT FLAGS...: the generator on core 1; its JSON goes to OUT
	local out=$1
	shift
	timeout -k 5 "$LIMIT" taskset -c 1 "$work/ofload" -addr $of -pid "$pid" -json -hs-timeout 60s "$@" >"$out" 2>"$work/err" ||
		die "generator $*: $(cat "$work/err") $(jq -c .errors "$out" 2>/dev/null)"
}

metrics() { curl -sS -m 20 "http://$api/metrics" >"$work/metrics" || die "/metrics does not answer"; }
metric() { awk -v n="$1" '$1 == n {printf "%.0f", $2; found = 1} END {if (!found) print 0}' "$work/metrics"; }

# counts compares /metrics with the sums of what the given runs sent.
counts() { # counts WHAT FILES...
	local what=$1
	shift
	metrics
	compare() {
		local got want
		got=$(metric "$1")
		want=$(cat "${@:3}" | jq -s "map(.truth | $2) | add")
		[ "$got" = "$want" ] || fail "$what: $1 is $got, the generator sent $want"
	}
	compare 'mpbox_mptcp_connections_total{version="0"}' .MPTCPv0 "$@"
	compare 'mpbox_mptcp_connections_total{version="1"}' .MPTCPv1 "$@"
	compare 'mpbox_mptcp_joins_total{result="matched"}' .Joins "$@"
	compare 'mpbox_mptcp_joins_total{result="orphaned"}' .BadJoins "$@"
}

median() { sort -g | awk '{v[NR] = $1} END {if (!NR) print "nan"; else if (NR % 2) print v[(NR+1)/2]; else print (v[NR/2] + v[NR/2+1]) / 2}'; }
med() { cat "${@:2}" | jq "$1" | median; }                             # med EXPRESSION FILES...
least() { cat "${@:2}" | jq "$1" | sort -g | head -1; }
spread() { cat "${@:2}" | jq "$1" | sort -g | awk '{v[NR] = $1} END {printf "%.0f%%", 100 * (v[NR] - v[1]) / v[1]}'; }
calc() { awk -v OFMT=%.6g "BEGIN {print $1}"; }
CPU='(.ctl_cpu_s + .ctl_cpu_after_sync_s) / .sent * 1e6'                # µs per message, all work done
PAIR='.msg_per_s'
wants() { case " $PARTS " in *" $1 "*) ;; *) return 1 ;; esac; }
heading() { printf '\n%s\n' "$1"; }

us() { for n in 16 256 1000; do jq "$CPU * 1000 | round / 1000" "$work/load.$1.$n.$2"; done | paste -sd' '; }

part_load() {
	for round in $(seq "$ROUNDS"); do
		for n in 16 256 1000; do
			for kind in sink mpbox; do
				begin $kind
				drive "$work/load.$kind.$n.$round" -switches $n -conns "$CONNS" -seed "$round"
				[ $kind = sink ] || counts "load, $n switches" "$work/load.mpbox.$n.$round"
			done
		done
		note "load: round $round of $ROUNDS, us with 16, 256, 1000 switches: sink $(us sink "$round"), mpbox $(us mpbox "$round")"
	done
	heading "Load: $CONNS connections, CPU in us and messages/s; mpbox : sink by medians of $ROUNDS rounds
(least: CPU ratio of each one's best round, which other jobs disturb less; spread: of mpbox's CPU)"
	printf '%8s %10s %10s %8s %8s %12s %12s %8s %8s\n' switches sink_us mpbox_us ratio least sink_msg/s mpbox_msg/s ratio spread
	for n in 16 256 1000; do
		local a b c d
		a=$(med "$CPU" "$work"/load.sink.$n.*) b=$(med "$CPU" "$work"/load.mpbox.$n.*)
		c=$(med "$PAIR" "$work"/load.sink.$n.*) d=$(med "$PAIR" "$work"/load.mpbox.$n.*)
		printf '%8d %10.3f %10.3f %8.2f %8.2f %12.0f %12.0f %8.3f %8s\n' $n "$a" "$b" "$(calc "$b/$a")" \
			"$(calc "$(least "$CPU" "$work"/load.mpbox.$n.*)/$(least "$CPU" "$work"/load.sink.$n.*)")" "$c" "$d" "$(calc "$d/$c")" "$(spread "$CPU" "$work"/load.mpbox.$n.*)"
	done
}

# settle scrapes until the process has collected its garbage, so that what is left
# on its heap is alive, but for what came since: with GOGC=10 at most a tenth.
settle() {
	metrics
	local last
	last=$(awk '$1 == "go_memstats_last_gc_time_seconds" {print $2}' "$work/metrics")
	for _ in $(seq 400); do
		metrics
		[ "$(awk '$1 == "go_memstats_last_gc_time_seconds" {print $2}' "$work/metrics")" = "$last" ] || break
	done
}

part_memory() {
	local conns=500000 subflows before after own peak flags
	flags="-switches 16 -conns $conns -plain-ratio 0 -joins 1 -fin-ratio 0 -v6-ratio 0.3"
	export GOGC=10
	begin mpbox
	unset GOGC
	settle
	before=$(metric go_memstats_heap_alloc_bytes)
	# shellcheck disable=SC2086
	drive "$work/memory.heap" $flags
	settle
	after=$(metric go_memstats_heap_alloc_bytes) own=$(metric mpbox_detector_memory_bytes)
	counts memory "$work/memory.heap"
	begin mpbox
	# shellcheck disable=SC2086
	drive "$work/memory.rss" $flags
	subflows=$(jq .truth.Subflows "$work/memory.rss")
	peak=$(jq '.rss_after_kib - .rss_before_kib' "$work/memory.rss")
	heading "Memory: $subflows MPTCP subflows, two a connection, 30 % IPv6"
	printf '%22s %22s %18s %14s\n' 'live heap B/subflow' 'own count B/subflow' 'RSS B/subflow' 'RSS : heap'
	printf '%22.0f %22.0f %18.0f %14.2f\n' "$(calc "($after-$before)/$subflows")" "$(calc "$own/$subflows")" "$(calc "$peak*1024/$subflows")" "$(calc "$peak*1024/($after-$before)")"
}

# The same load, of connections that soon end, on an empty and on a full table.
part_tracked() {
	local flags="-switches 16 -conns $CONNS -plain-ratio 0 -fin-ratio 1 -life 2500" chunk=250000 files=() i
	for round in $(seq "$ROUNDS"); do
		begin mpbox
		# shellcheck disable=SC2086
		drive "$work/tracked.few.$round" $flags -seed "$round"
		counts "few tracked" "$work/tracked.few.$round"
	done
	begin mpbox
	for i in $(seq $((SUBFLOWS / 2 / chunk))); do
		drive "$work/fill.$i" -switches 16 -conns $chunk -plain-ratio 0 -joins 1 -fin-ratio 0 -seed $((100 + i))
		files+=("$work/fill.$i")
	done
	metrics
	local live
	live=$(metric 'mpbox_detector_tracked{kind="subflow_live"}')
	for round in $(seq "$ROUNDS"); do
		# shellcheck disable=SC2086
		drive "$work/tracked.many.$round" $flags -seed $((200 + round))
		files+=("$work/tracked.many.$round")
	done
	counts "many tracked" "${files[@]}"
	local a b
	a=$(med "$CPU" "$work"/tracked.few.*) b=$(med "$CPU" "$work"/tracked.many.*)
	heading "Tracked subflows: the same load (about 10,000 at a time) on an empty and on a full table"
	printf '%16s %10s %12s %16s\n' tracked CPU_us msg/s 'throughput ratio'
	printf '%16s %10.3f %12.0f\n' 10000 "$a" "$(med "$PAIR" "$work"/tracked.few.*)"
	printf '%16d %10.3f %12.0f %16.2f\n' "$live" "$b" "$(med "$PAIR" "$work"/tracked.many.*)" "$(calc "$a/$b")"
	printf 'RSS %.0f MiB\n' "$(jq '.rss_after_kib / 1024' "$work/tracked.many.$ROUNDS")"
}

part_latency() {
	local full rate
	begin mpbox
	drive "$work/latency.full" -switches 16 -conns "$CONNS"
	full=$(jq "1e6 / ($CPU)" "$work/latency.full") # what a core could do
	rate=$(calc "int($full / 2)")
	begin mpbox
	drive "$work/latency" -switches 16 -conns "$CONNS" -mode latency -rate "$rate" -probe-every 200
	counts latency "$work/latency"
	heading "Latency at half load ($rate messages/s; sent at $(jq '.msg_per_s | round' "$work/latency")/s)"
	echo "JOIN SYN -> correlated, upper bounds of the histogram's buckets:"
	for q in 0.5 0.99 0.999; do
		awk -v q=$q '
			/^mpbox_mptcp_correlation_seconds_bucket/ {split($1, f, "\""); le[++n] = f[2]; c[n] = $2}
			END {for (i = 1; i <= n; i++) if (c[n] > 0 && c[i] >= q * c[n]) {printf "  p%g <= %s s of %d joins\n", q * 100, le[i], c[n]; exit}}' "$work/metrics"
	done
	echo "ECHO behind the same load (sockets, generator and scheduler included), us: $(jq -c .lat_us "$work/latency")"
}

part_paths() {
	local lemon="" g name round mode
	if command -v g++ >/dev/null && [ -e /usr/include/lemon/suurballe.h ]; then
		g++ -O2 -o "$work/lemon" "$BENCH_DIR/disjoint/lemon.cc" 2>"$work/err" && lemon=yes || note "lemon does not build: $(head -1 "$work/err")"
	else
		note "no g++ and liblemon-dev: the column of LEMON is left out"
	fi
	heading "Cheapest link-disjoint pairs, pairs/s on one core, medians of $ROUNDS"
	printf '%20s %12s %12s %8s %14s %s\n' graph lemon mpbox ratio allocs/pair 'same answers'
	for g in "$BENCH_DIR"/disjoint/graphs/*.g; do
		name=$(basename "$g" .g)
		for round in $(seq "$ROUNDS"); do
			timeout 60 taskset -c 0 "$mpbox" bench paths "$g" "${g%.g}.p" --seconds "$PATHS_SECONDS" -o json >"$work/paths.$name.$round" || die "mpbox bench paths $name"
			[ -n "$lemon" ] || continue
			for mode in run full; do
				timeout 60 taskset -c 0 "$work/lemon" "$g" "${g%.g}.p" $mode "$PATHS_SECONDS" >"$work/lemon.$name.$mode.$round" || die "lemon $name"
			done
		done
		local m l=nan best=0 v same=-
		m=$(med .pairs_per_second "$work"/paths."$name".*)
		if [ -n "$lemon" ]; then
			for mode in run full; do
				v=$(awk '{print $4}' "$work"/lemon."$name".$mode.* | median)
				best=$(calc "($v > $best) ? $v : $best")
			done
			l=$best
			# LEMON's first round may be cut short by the clock: then nothing is compared.
			same=$(awk -v p="$(wc -l <"${g%.g}.p")" -v w="$(jq -r '"\(.found) \(.cost)"' "$work/paths.$name.1")" \
				'{if ($8 + $10 < p) print "cut"; else print ($8 " " $12 == w) ? "yes" : "NO"}' "$work/lemon.$name.full.1")
			[ "$same" != NO ] || fail "paths: $name: other answers than LEMON's"
		fi
		printf '%20s %12.0f %12.0f %8.2f %14.4f %s\n' "$name" "$l" "$m" "$(if [ -n "$lemon" ]; then calc "$m/$l"; else echo nan; fi)" "$(jq .allocs_per_pair "$work/paths.$name.1")" "$same"
	done
}

echo "$(awk -F': ' '/model name/ {print $2; exit}' /proc/cpuinfo), $(nproc) cores, load average $(cut -d' ' -f1 /proc/loadavg); $(go version | cut -d' ' -f3)"
for part in $PARTS; do
	case $part in load | memory | tracked | latency | paths) ;; *) die "no part $part" ;; esac
done
for part in load memory tracked latency paths; do
	wants $part || continue
	part_$part
	end
done
heading "Counters in /metrics against what the generator sent: $(if [ -s "$failures" ]; then echo FAILED; else echo equal; fi)"
[ ! -s "$failures" ] || { cat "$failures"; exit 1; }
