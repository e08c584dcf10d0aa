#!/usr/bin/env bash
# Builds for aarch64 and runs the tests under qemu, twice: with and without LSE atomics.
#
# Statically linked: dynamically linked threaded programs hang under Debian 12's qemu. Under qemu
# memory is ordered as on the host, so this finds what does not build, link or fit, not what is too
# weakly ordered: that is the models' part.
set -eu
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
for tool in qemu-aarch64 aarch64-linux-gnu-gcc; do
    command -v $tool >/dev/null || {
        echo "$tool is missing: dpkg --add-architecture arm64 && apt-get update && apt-get install --no-install-recommends rustc-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user" >&2
        exit 1
    }
done
# Tests that look at system calls from outside ask for this.
export THREADBARE_EMULATED=1
# Debian's compiler has the target's std installed beside it; a rustup toolchain may have too.
if ! rustc --print target-libdir --target $target 2>/dev/null | xargs -r test -d; then
    export RUSTC=/usr/bin/rustc
fi
export CARGO_TARGET_DIR=target/aarch64
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=qemu-aarch64
for features in +crt-static +crt-static,+lse; do
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-Ctarget-feature=$features"
    # One at a time, and none that starts threads in the child of a fork: there qemu itself fails.
    cargo test --target $target --workspace --lib "$@" -- --skip local::tests::fork --test-threads=1
    for file in tests/*.rs; do
        name=$(basename "$file" .rs)
        case $name in
        # Not under qemu: seccomp; a compiler on the target; processes that run themselves anew.
        uncontended | hostile_* | exit_objects | ui | static_library | kv | thread | builder | registry | names | timer | robust | main_thread) ;;
        exit | exit_races | hooks | trace | fork | fork_threads | fork_first_start | fork_unprepared | fork_allocator) ;;
        local)
            cargo test --target $target --test local "$@" -- --skip local_7_values_are_dropped_after_the_panic \
                --skip local_11_values_of_the_main --skip local_13_a_first_value --skip a_value_that_is_lent_out --skip memory_stays_flat
            ;;
        condvar) cargo test --target $target --test condvar "$@" -- --skip a_lock_that_panics ;;
        *) cargo test --target $target --test "$name" "$@" ;;
        esac
    done
done
