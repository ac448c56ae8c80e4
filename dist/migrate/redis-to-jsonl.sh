#!/usr/bin/env bash
# Writes the strings of a Redis database, with when they expire, as lines that `aevrion import -` reads:
#
#   dist/migrate/redis-to-jsonl.sh -h 10.0.0.5 -n 0 | aevrion import - --data DIR
#
# Redis 7.0 or newer; needs its redis-cli, and bash. It only reads, also from a replica, and takes a batch of keys at a
# time (SCAN): memory stays bounded, and keys that change meanwhile come as they were when their batch was read. Keys and
# values may be any bytes.
#
# Redis keeps no times of writes, so all get one: now, or what --time says. A key that is not a string (a list, a hash, …)
# has no value that could be stored as it stands; a value larger than 16 MiB does not fit, nor does a key that is empty or
# longer than 4,096 bytes: they are counted, and the script fails in the end, unless it was told --strings-only.
set -euo pipefail

usage() {
    cat >&2 <<'END'
usage: redis-to-jsonl.sh [--time MS] [--batch KEYS] [--strings-only] [OPTION OF redis-cli]...
  --time MS       when the writes are to have happened, in milliseconds since 1970 [default: now]
  --batch KEYS    keys that Redis looks at in one go, while others wait [default: 100]
  --strings-only  pass over keys of other types, and what is too large; they are counted
Such as -h HOST, -p PORT, -n DATABASE; the password is taken from REDISCLI_AUTH.
END
    exit 2
}

fail() {
    echo "redis-to-jsonl.sh: $*" >&2
    exit 1
}

time="$(date +%s)000" batch=100 strings_only=no
options=()
while [ $# -gt 0 ]; do
    case "$1" in
    --time | --batch)
        [[ "${2:-}" =~ ^[0-9]+$ ]] || usage
        declare "${1#--}=$2"
        shift
        ;;
    --strings-only) strings_only=yes ;;
    --help) usage ;;
    *) options+=("$1") ;;
    esac
    shift
done

command -v redis-cli >/dev/null || fail "redis-cli is not installed (Debian: apt-get install redis-tools)"

# One batch: a line with the next cursor, then one for each key. Base64 carries any bytes through everything between here
# and there; it is made by Redis, which alone has them as they are.
# shellcheck disable=SC2016
script='
local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local digit = {}
for i = 0, 63 do digit[i] = digits:sub(i + 1, i + 1) end
local floor, byte = math.floor, string.byte
local function base64(bytes)
    local out, n = {}, 0
    for i = 1, #bytes, 3 do
        local a, b, c = byte(bytes, i, i + 2)
        local all = a * 65536 + (b or 0) * 256 + (c or 0)
        n = n + 1
        out[n] = digit[floor(all / 262144)] .. digit[floor(all / 4096) % 64]
            .. (b and digit[floor(all / 64) % 64] or "=") .. (c and digit[all % 64] or "=")
    end
    return table.concat(out)
end
local scanned = redis.call("SCAN", ARGV[1], "COUNT", ARGV[2])
local lines = {"cursor " .. scanned[1]}
for _, key in ipairs(scanned[2]) do
    local kind = redis.call("TYPE", key).ok
    if kind == "string" and (#key == 0 or #key > 4096) then
        lines[#lines + 1] = "passed whose name is empty or longer than 4,096 bytes"
    elseif kind == "string" and redis.call("STRLEN", key) > 16777216 then
        lines[#lines + 1] = "passed larger than 16 MiB"
    elseif kind == "string" then
        local expires_at = redis.call("PEXPIRETIME", key)
        local expiry = expires_at >= 0 and string.format(",\"expires_at\":%.0f", expires_at) or ""
        lines[#lines + 1] = "{\"key_base64\":\"" .. base64(key) .. "\",\"value_base64\":\""
            .. base64(redis.call("GET", key)) .. "\",\"timestamp\":" .. ARGV[3] .. expiry .. "}"
    elseif kind ~= "none" then
        lines[#lines + 1] = "passed of type " .. kind
    end
end
return lines
'

reply="$(mktemp)"
passed="$(mktemp)"
warned="$(mktemp)"
trap 'rm -f "$reply" "$passed" "$warned"' EXIT

cursor=0 strings=0
while :; do
    redis-cli -e --raw "${options[@]}" EVAL_RO "$script" 0 "$cursor" "$batch" "$time" >"$reply" 2>"$warned" ||
        fail "redis-cli has failed: $(head -c 1000 "$warned" "$reply")"
    # Where it cannot select the database, or log in, it says so and goes on elsewhere.
    [ ! -s "$warned" ] || fail "redis-cli: $(head -c 1000 "$warned")"
    first="$(head -n 1 "$reply")"
    [[ "$first" =~ ^cursor\ [0-9]+$ ]] || fail "redis-cli says what is not known here: ${first:0:200}"
    cursor="${first#cursor }"
    strings=$((strings + $(grep -c '^{' "$reply" || true)))
    # That there are none is no failure; that nobody takes them is.
    sed -n '/^{/p' "$reply"
    sed -n 's/^passed //p' "$reply" >>"$passed"
    [ "$cursor" != 0 ] || break
done

echo "redis-to-jsonl.sh: $strings strings, at $time" >&2
if [ -s "$passed" ]; then
    sort "$passed" | uniq -c | sed 's/^ *\([0-9]*\) /redis-to-jsonl.sh: passed over, keys \1: /' >&2
    [ "$strings_only" = yes ] || fail "not everything is there; if that is meant, say --strings-only"
fi
