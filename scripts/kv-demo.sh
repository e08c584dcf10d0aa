#!/usr/bin/env bash
# Starts the kv server on loopback, drives it with a real client, stops it, and checks that it ended
# well and that its log gives the same data again.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --example kv --example kv_load
programs=${CARGO_TARGET_DIR:-target}/release/examples
folder=$(mktemp -d)
server=
finish() {
    [ -n "$server" ] && kill -KILL "$server" 2>/dev/null
    rm -rf "$folder"
}
trap finish EXIT

# Starts the server and sets $server and $port.
start() {
    : >"$folder/output" # not the port of the server before
    "$programs/kv" --port 0 --log "$folder/log" >"$folder/output" &
    server=$!
    for _ in $(seq 300); do
        port=$(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$folder/output")
        [ -n "$port" ] && return
        kill -0 "$server"
        sleep 0.1
    done
    echo "the server does not listen" >&2
    exit 1
}

# Stops the server with SIGTERM; fails unless it ends with 0.
stop() {
    kill -TERM "$server"
    wait "$server"
    server=
}

keys() {
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf 'DBSIZE\r\n' >&3
    read -r answer <&3
    exec 3<&-
    echo "${answer//[^0-9]/}"
}

start
if command -v redis-benchmark >/dev/null; then
    columns='test,rps,avg,min,p50,p95,p99,max (latencies in ms)'
    echo "redis-benchmark, 50 clients: $columns"
    redis-benchmark -p "$port" -t ping,set,get,incr,mset -n 100000 -r 100000 --csv | tail -n +2
    echo "redis-benchmark, 50 clients, 16 commands at a time: $columns"
    redis-benchmark -p "$port" -t set,get -n 500000 -r 100000 -P 16 --csv | tail -n +2
else
    echo "redis-benchmark is not installed (apt-get install redis-tools): a small client of our own"
    "$programs/kv_load" bench --port "$port"
fi
before=$(keys)
stop
echo "stopped with status 0; the log has $(stat -c %s "$folder/log") bytes"
start
after=$(keys)
stop
if [ "$before" != "$after" ]; then
    echo "the log gave $after keys again, of $before" >&2
    exit 1
fi
echo "the log gave all $after keys again"
