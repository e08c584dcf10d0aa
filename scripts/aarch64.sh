#!/usr/bin/env bash
# Builds for aarch64 and runs the tests under qemu: with LSE atomics (`+lse`) and without.
#
#   aarch64.sh [share] [ARGUMENT ...]
#
# `share` is CI's part: all without LSE, and with it the unit tests and those of the objects that
# have most atomics. Further arguments are cargo's.
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
# What has to come may take its time here.
export THREADBARE_PATIENCE=10
# Debian's compiler has the target's std installed beside it; a rustup toolchain may have too.
if ! rustc --print target-libdir --target $target 2>/dev/null | xargs -r test -d; then
    export RUSTC=/usr/bin/rustc
fi
export CARGO_TARGET_DIR=target/aarch64
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=$THREADBARE_EMULATED

run() {
    cargo test --target $target "$@"
}

for features in +crt-static +crt-static,+lse; do
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-Ctarget-feature=$features"
    # One at a time, and none that starts threads in the child of a fork: there qemu itself fails
    # (assertions in its plugins/core.c and cpu-exec.c).
    run --workspace --lib "$@" -- --skip local::tests::fork --test-threads=1
    for file in tests/*.rs; do
        name=$(basename "$file" .rs)
        case $share,$features,$name in
        true,*+lse,lock | true,*+lse,event | true,*+lse,semaphore | true,*+lse,barrier | true,*+lse,condition) ;;
        true,*+lse,*) continue ;;
        esac
        case $name in
        # seccomp, which qemu refuses; a compiler on the target.
        uncontended | hostile_* | exit_objects | ui | static_library) ;;
        # Threads in the child of a fork.
        fork | fork_scope | fork_threads | fork_first_start | fork_unprepared | fork_allocator) ;;
        # Not known to pass here: they start thousands of threads or many processes.
        kv | thread | builder | names | robust | exit | trace) ;;
        local)
            run --test local "$@" -- --skip local_7_values_are_dropped_after_the_panic \
                --skip local_11_values_of_the_main --skip local_13_a_first_value \
                --skip a_value_that_is_lent_out --skip memory_stays_flat
            ;;
        condvar) run --test condvar "$@" -- --skip a_lock_that_panics ;;
        *) run --test "$name" "$@" ;;
        esac
    done
done
