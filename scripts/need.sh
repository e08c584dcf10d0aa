#!/usr/bin/env bash
# Says in one line what is missing, and how to get it. With `python3` as an argument, that too.
set -u
command -v cargo >/dev/null || {
    echo "cargo is missing: install Rust 1.85 or newer (Debian 13: apt-get install cargo; else see rust-lang.org)" >&2
    exit 1
}
command -v cc >/dev/null || {
    echo "a C linker is missing: apt-get install gcc libc6-dev" >&2
    exit 1
}
[ "${1:-}" != python3 ] || python3 -c 'import tomllib' 2>/dev/null || {
    echo "Python 3.11 or newer is missing: apt-get install python3" >&2
    exit 1
}
