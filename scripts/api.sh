#!/usr/bin/env bash
# Says how the public API differs from what docs/public-api/ lists, and fails if it does; with
# `accept` it writes the lists anew.
#
# The lists are those of cargo-public-api 0.52 with the nightly of 2026-05-19, for x86_64 and with all
# features. Other versions may write the same API in another way.
set -eu
cd "$(dirname "$0")/.."

command -v cargo-public-api >/dev/null || {
    echo "cargo-public-api is missing: cargo install --locked cargo-public-api" >&2
    exit 1
}
cargo +nightly --version >/dev/null 2>&1 || {
    echo "a nightly toolchain is missing, by which cargo-public-api reads the API: rustup toolchain install nightly" >&2
    exit 1
}
export CARGO_TARGET_DIR=target/api
new=$(mktemp -d)
trap 'rm -r "$new"' EXIT

differs=
for package in threadbare threadbare-sys; do
    cargo +nightly public-api --package $package --all-features --simplified >"$new/$package.txt" 2>"$new/errors" || {
        cat "$new/errors" >&2
        exit 1
    }
    list=docs/public-api/$package.txt
    if [ "${1:-}" = accept ]; then
        cp "$new/$package.txt" $list
    else
        diff --unified=0 --label $list --label "$package now" $list "$new/$package.txt" || differs=1
    fi
done
if [ -n "$differs" ]; then
    echo "The public API has changed. If that is meant: 'make api-accept', and a line in CHANGELOG.md." >&2
    exit 1
fi
