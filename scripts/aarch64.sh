#!/usr/bin/env bash
# Builds for aarch64 and runs the tests under qemu: with LSE atomics (`+lse`) and without.
#
#   aarch64.sh [share] [ARGUMENT ...]
#
# `share` is CI's part: all that is quick without LSE, and with it the protocols and those who use
# them most. Further arguments are cargo's.
#
# Statically linked: dynamically linked threaded programs hang under Debian 12's qemu. Under qemu
# memory is ordered as on the host, so this finds what does not build, link or fit, not what is too
# weakly ordered: that is the models' part, and `make asm`'s, which looks at the barriers.
set -eu
cd "$(dirname "$0")/.."

share=false
if [ "${1-}" = share ]; then
    share=true
    shift
fi
target=aarch64-unknown-linux-gnu
for tool in qemu-aarch64 aarch64-linux-gnu-gcc; do
    command -v $tool >/dev/null || {
        echo "$tool is missing: dpkg --add-architecture arm64 && apt-get update && apt-get install --no-install-recommends rustc-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user" >&2
        exit 1
    }
done
# Tests that run themselves anew do so by this; those that look at system calls from outside ask.
export THREADBARE_EMULATED=qemu-aarch64
# Debian's compiler has the target's std installed beside it; a rustup toolchain may have too.
if ! rustc --print target-libdir --target $target 2>/dev/null | xargs -r test -d; then
    export RUSTC=/usr/bin/rustc
fi
export CARGO_TARGET_DIR=target/aarch64
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=$THREADBARE_EMULATED

# Of one file, what cannot run here. Everything else does.
left_out() {
    case $1 in
    esac
}
