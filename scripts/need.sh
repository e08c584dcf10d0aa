#!/usr/bin/env bash
# Says in one line what is missing, and how to get it.
set -u
command -v cargo >/dev/null || {
    echo "cargo is missing: install Rust 1.85 or newer (Debian 13: apt-get install cargo; else see rust-lang.org)" >&2
    exit 1
}
command -v cc >/dev/null || {
    echo "a C linker is missing: apt-get install gcc libc6-dev" >&2
    exit 1
}
