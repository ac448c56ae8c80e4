#!/usr/bin/env bash
# Writes the keys of an etcd, with when they expire, as lines that `aevrion import -` reads:
#
#   ETCDCTL_ENDPOINTS=https://10.0.0.5:2379 dist/migrate/etcd-to-jsonl.sh | aevrion import - --data DIR
#
# etcd 3.4 or newer; needs its etcdctl, jq 1.6 or newer, and bash. Where etcd is, and how to be let in, is said by the
# ETCDCTL_ variables or by options of etcdctl. All keys come as they were at one revision, a page at a time. Keys and
# values may be any bytes.
#
# etcd keeps revisions and no times, so all get one time: now, or what --time says. A lease becomes the time at which it
# would run out if nobody renewed it any more. A key whose lease runs out while the script reads is counted and left out.
set -euo pipefail

usage() {
    cat >&2 <<'END'
usage: etcd-to-jsonl.sh [--time MS] [--page KEYS] [OPTION OF etcdctl]...
  --time MS    when the writes are to have happened, in milliseconds since 1970 [default: now]
  --page KEYS  keys that are asked for at once [default: 500]
Such as --endpoints=URL, --user=NAME, --cacert=FILE.
END
    exit 2
}

fail() {
    echo "etcd-to-jsonl.sh: $*" >&2
    exit 1
}

time="$(date +%s)000" page=500
options=()
while [ $# -gt 0 ]; do
    case "$1" in
    --time | --page)
        [[ "${2:-}" =~ ^[0-9]+$ ]] || usage
        declare "${1#--}=$2"
        shift
        ;;
    --help) usage ;;
    *) options+=("$1") ;;
    esac
    shift
done

export ETCDCTL_API=3
for tool in etcdctl jq base64 od; do
    command -v "$tool" >/dev/null || fail "$tool is not installed (Debian: apt-get install etcd-client jq)"
done

reply="$(mktemp)"
trap 'rm -f "$reply" "$reply.lease"' EXIT

# Leases are numbers of 64 bits, which jq would round: they become texts. Nothing else looks like one, for keys and
# values stand there as base64.
ask() {
    # A transaction would wait for ever for an etcd that has gone.
    timeout 60 etcdctl "${options[@]}" -w json "$@" | sed 's/"lease":\([0-9]*\)/"lease":"\1"/g' >"$reply"
}

# A page of keys from this one on, written in hexadecimal. As the only request of a transaction, for only there a key may
# hold any bytes.
ask_page() {
    printf '\nget --from-key --limit=%s --rev=%s -- "%s"\n\n\n' \
        "$page" "$revision" "$(sed 's/../\\x&/g' <<<"$1")" | ask txn
}

# Pages of a transaction are called otherwise by newer ones.
range='.responses[0] | (.Response // .response // .) | (.ResponseRange // .response_range)'

# When these leases run out, as an object. One that is gone has no time.
expiries() {
    local lease ttl
    for lease in $1; do
        timeout 60 etcdctl "${options[@]}" -w json lease timetolive "$(printf '%x' "$lease")" >"$reply.lease"
        ttl="$(jq -r '.ttl' "$reply.lease")"
        [[ "$ttl" =~ ^-?[0-9]+$ ]] || fail "etcdctl does not say how long lease $lease lasts"
        if [ "$ttl" -gt 0 ]; then
            printf '"%s":%s\n' "$lease" "$(($(date +%s) * 1000 + ttl * 1000))"
        else
            printf '"%s":null\n' "$lease"
        fi
    done | paste -s -d, | sed 's/.*/{&}/'
}

from=00 keys=0 gone=0
ask get '' --from-key --keys-only --limit=1 || fail "etcdctl has failed"
revision="$(jq -r .header.revision "$reply")"
all="$(jq -r '.count // 0' "$reply")"
while :; do
    ask_page "$from" || fail "etcdctl has failed"
    jq -e "$range" "$reply" >/dev/null || fail "etcdctl says what is not known here: $(head -c 200 "$reply")"
    leases="$(jq -r "[$range | .kvs[]?.lease // empty] | unique | .[]" "$reply")"
    until="$(expiries "$leases")"
    jq -c --argjson time "$time" --argjson until "${until:-{\}}" "$range | .kvs[]?
        | {key_base64: .key, value_base64: (.value // \"\"), timestamp: \$time}
            + (if .lease == null then {} else {expires_at: \$until[.lease]} end)
        | select(has(\"expires_at\") and .expires_at == null | not)" "$reply"
    keys=$((keys + $(jq "$range | .kvs // [] | length" "$reply")))
    gone=$((gone + $(jq --argjson until "${until:-{\}}" \
        "[$range | .kvs[]?.lease // empty | select(\$until[.] == null)] | length" "$reply")))
    [ "$(jq -r "$range | .more // false" "$reply")" = true ] || break
    # The least key behind the last one of the page.
    last="$(jq -r "$range | .kvs[-1].key" "$reply")"
    from="$(base64 -d <<<"$last" | od -An -v -tx1 | tr -d ' \n')00"
done

[ "$keys" = "$all" ] || fail "$keys keys were read, and etcd has $all"
echo "etcd-to-jsonl.sh: $((keys - gone)) keys of revision $revision, at $time" >&2
[ "$gone" = 0 ] || echo "etcd-to-jsonl.sh: passed over, for their leases have run out: $gone" >&2
