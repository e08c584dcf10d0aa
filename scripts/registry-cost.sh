#!/usr/bin/env bash
# Fails if a start and join costs more instructions with 10,000 live threads than half as many again
# as with 10: the records of live threads are never searched.
#
# Instructions are counted by callgrind, in all threads. The difference of two counts for different
# numbers of rounds is what the rounds cost, without the set-up. Needs 3 GiB of memory for 10,000
# threads under valgrind, and a minute; fewer threads may be given as the first argument.
set -eu
cd "$(dirname "$0")/.."

many=${1:-10000}
few=10
rounds=(100 600)

command -v valgrind >/dev/null || {
    echo "valgrind is missing: apt-get install valgrind" >&2
    exit 1
}
cargo build --release --example live_threads
program=${CARGO_TARGET_DIR:-target}/release/examples/live_threads

# Instructions with $1 live threads and $2 rounds.
count() {
    local said
    # Each thread takes one of valgrind's own stacks beside its own, by default of 1 MiB.
    said=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --max-threads=$((many + 100)) \
        --valgrind-stacksize=65536 "$program" "$1" "$2" 2>&1) || {
        echo "$said" >&2
        return 1
    }
    sed -n 's/^==[0-9]*== Collected : //p' <<<"$said"
}

# Instructions per round with $1 live threads.
per_round() {
    local low high
    low=$(count "$1" "${rounds[0]}")
    high=$(count "$1" "${rounds[1]}")
    echo $(((high - low) / (rounds[1] - rounds[0])))
}

with_few=$(per_round $few)
with_many=$(per_round "$many")
echo "instructions per start and join: $with_few with $few live threads, $with_many with $many"
if ((with_few <= 0 || with_many * 2 > with_few * 3)); then
    echo "more than 1.5 times as many" >&2
    exit 1
fi
