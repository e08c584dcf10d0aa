#!/usr/bin/env bash
# The kv server under 5,000 connections, stalled clients, broken input, and signals under load.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --example kv --example kv_load
programs=${CARGO_TARGET_DIR:-target}/release/examples
folder=$(mktemp -d)
ulimit -n "$(ulimit -H -n)"
: >"$folder/output"
"$programs/kv" --port 0 --log "$folder/log" >"$folder/output" &
server=$!
finish() {
    kill -KILL $server 2>/dev/null || true # stopped, if all went well
    rm -rf "$folder"
}
trap finish EXIT
port=
for _ in $(seq 300); do
    port=$(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$folder/output")
    [ -n "$port" ] && break
    sleep 0.1
done

"$programs/kv_load" crowd --port "$port" --server-pid $server
"$programs/kv_load" torture --port "$port" --server-pid $server
"$programs/kv_load" stall --port "$port"
kill -TERM $server
wait $server
"$programs/kv_load" durability --kv "$programs/kv"
