#!/usr/bin/env bash
# Three nodes on a network of their own: slow, lossy, and cut in two for a while; one node is killed meanwhile. In the
# end all three agree, and nothing that was acknowledged is missing.
#
#     node 1 ── e0 ═ p1 ┐
#     node 2 ── e0 ═ p2 ├ br0        each node and the bridge in a network namespace that ends with this script
#     node 3 ── e0 ═ p3 ┘
#
# usage: network.sh PROGRAM DIRECTORY
# Exit: 0 it holds, 1 it does not, 77 this machine cannot do it (the last line says why).

set -u
program=$1
place=$2
prefix=aev$$-$RANDOM
servers=()
writers=()

say() { printf 'network: %s\n' "$*"; }
fail() {
    say "FAILED: $*"
    for n in 1 2 3; do
        say "node $n said:" && tail -n 20 "$place/log$n" 2>/dev/null
        on "$n" 10 sync status 2>&1
    done
    exit 1
}
cannot() {
    say "SKIPPED: $*"
    exit 77
}

# Runs a verb against node $1, for at most $2 seconds.
on() {
    local node=$1 seconds=$2
    shift 2
    timeout --kill-after=5 "$seconds" ip netns exec "$prefix-$node" "$program" "$@" </dev/null
}

# Asks again and again, for at most $1 seconds, until a command succeeds.
until_it_is_so() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

cleanup() {
    trap '' EXIT INT TERM HUP
    touch "$place/stop" 2>/dev/null
    # Whatever is still there was started here; what has ended already is no failure.
    for one in "${writers[@]}" "${servers[@]}"; do
        [ -n "$one" ] && kill -KILL "$one" 2>/dev/null
    done
    { wait; } 2>/dev/null
    for one in 1 2 3 bridge; do
        ip netns del "$prefix-$one" 2>/dev/null
    done
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

# ---- The network ----

for tool in ip tc timeout; do
    command -v "$tool" >/dev/null || cannot "there is no $tool"
done
ip netns add "$prefix-bridge" 2>"$place/why" || cannot "network namespaces cannot be made: $(cat "$place/why")"

# The lines are slow and lossy where the system can make them so. Otherwise a narrow line, whose queue delays what is on
# its way, and a filter that drops one packet of twenty at random.
LOSS='5,32 0 0 4294963256,148 0 0 20,21 0 1 0,6 0 0 2,6 0 0 4294967295'
worsen() {
    if tc -n "$prefix-$1" qdisc add dev e0 root netem delay 100ms loss 5% 2>/dev/null; then
        kind="100 ms late, 5 % lost"
        return
    fi
    kind="as it is"
    tc -n "$prefix-$1" qdisc add dev e0 root tbf rate 1mbit burst 4kb latency 200ms 2>/dev/null &&
        kind="1 Mbit/s, queues of 200 ms"
    tc -n "$prefix-$1" qdisc add dev e0 ingress 2>/dev/null &&
        tc -n "$prefix-$1" filter add dev e0 ingress bpf da bytecode "$LOSS" 2>/dev/null && kind="$kind, 5 % lost"
    [ "$1" -gt 1 ] || say "SKIPPED: a delay of 100 ms on each line: this system has no netem; instead: $kind"
}

build() {
    set -e
    ip -n "$prefix-bridge" link add br0 type bridge
    ip -n "$prefix-bridge" link set br0 up
    for n in 1 2 3; do
        ip netns add "$prefix-$n"
        ip -n "$prefix-$n" link set lo up
        ip link add e0 netns "$prefix-$n" type veth peer name "p$n" netns "$prefix-bridge"
        ip -n "$prefix-bridge" link set "p$n" master br0
        ip -n "$prefix-bridge" link set "p$n" up
        ip -n "$prefix-$n" address add "10.77.0.$n/24" dev e0
        ip -n "$prefix-$n" link set e0 up
    done
}
(build) 2>"$place/why" || cannot "the network cannot be made: $(cat "$place/why")"
for n in 1 2 3; do worsen "$n"; done
say "three nodes on a bridge; each line: $kind"

# ---- The nodes ----

serve() {
    # `ip netns exec` becomes the node: so this is its id.
    ip netns exec "$prefix-$1" "$program" serve --data "$place/node$1" --listen "10.77.0.$1:7388" \
        --transport quic,tcp </dev/null >>"$place/log$1" 2>&1 &
    servers[$1]=$!
}
is_ready() { on "$1" 10 status >/dev/null 2>&1; }
has_neighbours() {
    local list
    list=$(on "$1" 10 sync status 2>/dev/null) || return 1
    [ "$(grep -cE ' (agrees|differs|settling|repairing) ' <<<"$list")" -ge "$2" ]
}
join() {
    local token
    token=$(on 1 10 cluster token --data "$place/node1" 2>/dev/null) || return 1
    on "$1" 30 cluster join "$2" "$token" --data "$place/node$1" --store "$3" --transport quic,tcp \
        --advertise "10.77.0.$1:7388" 2>&1
}

on 1 30 cluster init --data "$place/node1" --granularity 1000 2>&1 || fail "no cluster was made"
serve 1
until_it_is_so 30 is_ready 1 || fail "node 1 does not answer"
join 2 tcp://10.77.0.1:7388 redb || fail "node 2 could not join over TCP"
join 3 quic://10.77.0.1:7388 redb || fail "node 3 could not join over QUIC"
serve 2
serve 3
for n in 2 3; do until_it_is_so 30 is_ready "$n" || fail "node $n does not answer"; done
for n in 1 2 3; do until_it_is_so 30 has_neighbours "$n" 2 || fail "node $n has not found the others"; done
say "all three are connected"

# ---- Trouble ----

# Writes to node $1 until told to stop, whether it is there or not, and notes what was acknowledged.
write_on() {
    local n=0
    while [ ! -e "$place/stop" ]; do
        n=$((n + 1))
        if on "$1" 20 put "w$1:$n" "$n" >/dev/null 2>>"$place/refused$1"; then
            echo "w$1:$n" >>"$place/acknowledged$1"
        else
            sleep 0.1
        fi
    done
}
written() { wc -l <"$place/acknowledged$1"; }
has_written() { [ "$(written "$1")" -ge "$2" ]; }
more_on() {
    local enough=$(($(written "$1") + $2))
    until_it_is_so 60 has_written "$1" "$enough" || fail "node $1 takes no writes"
}

for n in 1 2 3; do
    : >"$place/acknowledged$n"
    write_on "$n" &
    writers[$n]=$!
done
for n in 1 2 3; do more_on "$n" 10; done

say "node 3 is cut off; node 2 is killed; everyone is written to"
ip -n "$prefix-bridge" link set p3 down || fail "the line cannot be cut"
more_on 3 30
kill -KILL "${servers[2]}"
{ wait "${servers[2]}"; } 2>/dev/null
servers[2]=
more_on 1 30
lost_everyone() { ! has_neighbours "$1" 1; }
until_it_is_so 90 lost_everyone 3 || fail "node 3 does not notice that it is alone"
alone=$(tail -n 1 "$place/acknowledged3")
on 1 20 get "$alone" >/dev/null 2>&1
[ $? -eq 3 ] || fail "node 1 has $alone of node 3, which is cut off"
say "node 3 has noticed; node 2 comes back"
serve 2
until_it_is_so 30 is_ready 2 || fail "node 2 does not answer"
more_on 2 10

say "the line is mended"
ip -n "$prefix-bridge" link set p3 up || fail "the line cannot be mended"
for n in 1 2 3; do more_on "$n" 5; done
touch "$place/stop"
for n in 1 2 3; do wait "${writers[$n]}" && writers[$n]=; done

# ---- Agreement ----

for n in 1 2 3; do until_it_is_so 60 has_neighbours "$n" 2 || fail "node $n has not found the others again"; done
# Twice: what a node has learned from one neighbour the other one may hear of a moment later.
for n in 1 2 3 1 2 3; do
    on "$n" 90 sync wait --timeout 60s >"$place/wait$n" 2>&1 || fail "node $n does not agree: $(cat "$place/wait$n")"
done
roots=$(for n in 1 2 3; do on "$n" 10 status -o json | tr -d ' \n' | grep -o '"root":"[0-9a-f]*"'; done | sort | uniq -c)
[ "$(wc -l <<<"$roots")" -eq 1 ] && [ "$(awk '{print $1}' <<<"$roots")" = 3 ] || fail "the roots differ: $roots"

sort "$place"/acknowledged? >"$place/all"
[ "$(wc -l <"$place/all")" -ge 95 ] || fail "only $(wc -l <"$place/all") writes were acknowledged"
for n in 1 2 3; do
    on "$n" 30 scan w -o jsonl | grep -o '"key":"[^"]*"' | cut -d '"' -f 4 | sort >"$place/held$n"
    missing=$(comm -23 "$place/all" "$place/held$n" | tr '\n' ' ')
    [ -z "$missing" ] || fail "acknowledged, and not on node $n: $missing"
done
say "agreed: $(wc -l <"$place/all") acknowledged writes are on all three after $SECONDS s"
