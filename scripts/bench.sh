#!/usr/bin/env bash
# Measures everything beside every peer: `bench.sh quick` in under two minutes, for the terminal;
# `bench.sh report` in under twenty, for docs/benchmarks.md. Building comes on top of that.
#
# On an idle machine: what others use of it is recorded, and spreads the ratios.
set -eu
cd "$(dirname "$0")/.."

kind=${1:-}
samples=$PWD/target/bench/$kind.jsonl
report_target=${CARGO_TARGET_DIR:-$PWD/target}/report

# Rounds and milliseconds for each sample of a bench: BENCH [OPTIONS …].
run() {
    local bench=$1
    shift
    cargo bench --quiet --bench "$bench" -- --out "$samples" "$@" >"$PWD/target/bench/$bench.txt"
}

# The same on one CPU.
alone() {
    local cpu
    cpu=$(taskset -pc $$ | sed 's/.*: *\([0-9]*\).*/\1/')
    taskset -c "$cpu" "$BASH" -eu -c "$(declare -f run); samples=$samples; run \"\$@\"" "$0" "$@"
}

# What takes Debian's packages of nsync and abseil, and a C++ compiler.
native() {
    [ -z "$native" ] || "$native" --out "$samples" "$@" >"$PWD/target/bench/native.txt"
}

case $kind in
quick)
    short="--rounds 10 --each 10"
    everything() {
        run uncontended $short
        run contended --rounds 10 --each 12 --only "threads 2," --only "threads 8,"
        run latency --rounds 10 --each 60
        for bench in handoff condition semaphore event barrier spawn local; do
            run $bench $short
        done
        for bench in condition spawn; do
            alone $bench $short
        done
        native $short
        run kv --rounds 10 --each 50
        run many_threads --rounds 2 --only 0000
    }
    ;;
report)
    everything() {
        run uncontended --rounds 20 --each 50
        run contended --rounds 10 --each 45
        run latency --rounds 10 --each 3000 # the worst wait is to be one of 30 seconds
        for bench in handoff condition semaphore event barrier spawn local; do
            run $bench --rounds 15 --each 35
        done
        for bench in condition semaphore event barrier spawn; do
            alone $bench --rounds 15 --each 30
        done
        alone contended --rounds 10 --each 25 --only "threads 8,"
        native --rounds 10 --each 50
        run kv --rounds 10 --each 300
        run many_threads --rounds 10
        run compile --rounds 10
    }
    ;;
*)
    echo "usage: $0 quick|report" >&2
    exit 1
    ;;
esac

mkdir -p target/bench
rm -f "$samples"
cargo bench --no-run --quiet
cargo build --quiet --release --locked --manifest-path benches/report/Cargo.toml --target-dir "$report_target"
cargo build --quiet --release --example kv
for peer in std parking_lot; do
    features=$([ $peer = std ] || echo "--features $peer")
    cargo build --quiet --release --locked --manifest-path benches/kv_peers/Cargo.toml $features \
        --target-dir "${CARGO_TARGET_DIR:-$PWD/target}/kv-$peer"
done

native=
if command -v c++ >/dev/null && [ -e /usr/include/nsync_mu.h ] && pkg-config --exists absl_synchronization; then
    target=${CARGO_TARGET_DIR:-$PWD/target}/native
    cargo build --quiet --release --locked --manifest-path benches/native/Cargo.toml --target-dir "$target"
    native=$target/release/threadbare-native-peers
else
    echo "nsync and abseil are left out: apt-get install g++ pkg-config libnsync-dev libabsl-dev" >&2
fi

begun=$SECONDS
everything
echo "measured for $((SECONDS - begun)) seconds; each bench's own table is in target/bench/" >&2

if [ "$kind" = report ]; then
    "$report_target/release/threadbare-report" "$samples" docs/benchmarks.md "make bench-report"
else
    "$report_target/release/threadbare-report" "$samples"
fi
