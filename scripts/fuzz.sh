#!/usr/bin/env bash
# Runs fuzz targets, for so many seconds each, and adds a line for each to fuzz/LOG.md.
#
#   scripts/fuzz.sh SECONDS [TARGET…]    all targets if none is named
#   scripts/fuzz.sh min [TARGET…]        makes the saved corpora small
#
# What a run finds on its way lies in fuzz/target/corpus/; `min` picks from it what fuzz/corpus/ is
# to have. What failed lies in fuzz/artifacts/; it becomes a test in fuzz/findings/.
set -eu
cd "$(dirname "$0")/.."

rustc +nightly --version >/dev/null 2>&1 || {
    echo "a nightly compiler is missing: rustup toolchain install nightly" >&2
    exit 1
}
cargo fuzz --version >/dev/null 2>&1 || {
    echo "cargo-fuzz is missing: cargo install cargo-fuzz" >&2
    exit 1
}

seconds=$1
shift
[ $# -gt 0 ] || set -- $(basename -s .rs fuzz/fuzz_targets/*.rs)

# What a target's file says of how it is to be built and run.
choose() {
    sanitizer=address
    unset RUSTFLAGS
    export CARGO_TARGET_DIR=fuzz/target/real
    if grep -q 'cfg(not(threadbare_model))' "fuzz/fuzz_targets/$1.rs"; then
        export RUSTFLAGS="--cfg threadbare_model --cfg threadbare_shuttle"
        CARGO_TARGET_DIR=fuzz/target/modelled
    fi
    if grep -q 'Without AddressSanitizer' "fuzz/fuzz_targets/$1.rs"; then
        sanitizer=none
    fi
}

fuzz() {
    cargo +nightly fuzz "$1" --features libfuzzer -s $sanitizer "${@:2}"
}

files() {
    find "$@" -type f | wc -l
}

failed=0
for target in "$@"; do
    choose "$target"
    saved=fuzz/corpus/$target
    found=fuzz/target/corpus/$target
    mkdir -p "$saved" "$found" "fuzz/target/log"
    if [ "$seconds" = min ]; then
        # First the small ones that reach the same; then no more than will be committed.
        fuzz cmin "$target" "$found"
        fuzz cmin "$target" "$saved"
        for input in $(find "$found" -type f -size -2k -printf '%s %p\n' | sort -n | cut -d' ' -f2); do
            [ "$(files "$saved")" -lt 200 ] || break
            cp "$input" "$saved/"
        done
        fuzz cmin "$target" "$saved"
        continue
    fi
    log=fuzz/target/log/$target
    echo "== $target"
    fuzz build "$target"
    start=$(date +%s)
    result="no finding"
    # The first folder is the one that is written to.
    fuzz run "$target" "$found" "$saved" $(find "fuzz/findings/$target" -maxdepth 0 2>/dev/null) \
        -- -max_total_time="$seconds" -timeout=60 -rss_limit_mb=2048 -print_final_stats=1 >"$log" 2>&1 || {
        result="**failed**"
        failed=1
        tail -n 50 "$log" >&2
    }
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    commit=$(git rev-parse --short HEAD)
    git diff --quiet HEAD -- src sys fuzz/src examples/kv || commit="$commit, changed"
    row="| $target | $commit | $(date +%F) | $(($(date +%s) - start)) | ${executions:-?} | $(files "$found" "$saved") | $result |"
    echo "$row"
    # At the end of the table, which is not that of the file.
    last=$(grep -nE '^\| \w+ \| [0-9a-f]{7}' fuzz/LOG.md | tail -n 1 | cut -d: -f1)
    sed -i "${last}a $row" fuzz/LOG.md
done
exit $failed
