#!/usr/bin/env bash
# Builds for aarch64 and runs the tests under qemu: for a CPU without LSE atomics, and with `+lse`
# for one that has them.
#
#   aarch64.sh [share] [ARGUMENT ...]
#
# `share` is CI's part: one build, as one gets it without asking, whose atomic accesses look which of
# the two the CPU is. So it runs the unit tests of src/raw and the tests of the objects that have
# most atomics on both. Further arguments are cargo's.
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
# Less to compile and to link.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=none

# qemu's names of a CPU without LSE and of one with all that it knows.
old=cortex-a72
new=max

# What of a file's tests cannot run here; `-` for all of them.
#
# - Threads in the child of a fork: if the parent had more threads, Debian 12's qemu fails there
#   itself ("plugins/core.c:221:qemu_plugin_vcpu_init_hook: assertion failed").
# - Thread-locals: in a program without libraries exit(3) does not run their destructors, and a
#   thread's end runs them as those of a pthread key, in no order with others of that kind.
left_out() {
    case $1 in
    uncontended) echo - ;;                   # seccomp, which qemu refuses
    hostile_seccomp) echo - ;;               # its filters are for x86_64
    ui | static_library) echo - ;;           # run a compiler, which is the host's
    semantics | links) echo - ;;             # read texts, the same everywhere
    # Calls libc's sigaction by way of dlsym(3), which finds none in a program without libraries.
    fork_first_start) echo - ;;
    fork | fork_scope | fork_threads | fork_unprepared | fork_allocator) echo - ;; # see above
    robust) echo - ;;       # starts threads until a limit of memory that qemu ignores
    exit_objects) echo - ;; # destructors of thread-locals at exit
    # It forks beside threads of other tests, and the child starts one.
    lib) echo clone::tests::a_refused_start_leaves_everything_as_it_was ;;
    builder)
        # qemu keeps two signals for itself, which are never blocked.
        echo a_thread_has_all_signals_blocked_but_for_those_of_its_faults
        echo no_signal_reaches_a_thread_before_they_are_blocked # threads in the child of a fork
        ;;
    exit)
        # Destructors of thread-locals at exit.
        echo exit_9_std_process_exit_in_a_worker_while_main_sleeps
        echo exit_9_the_thread_that_exits_is_itself_to_the_last
        # They look for a thread that sleeps in a join, which the host's /proc tells.
        echo mem_3_
        echo exit_process_in_the_destructor_of_a_pthread_key_of_a_worker_that_main_waits_for
        ;;
    thread)
        # Looks for a sleeper, likewise.
        echo ruling_13_join_waits_for_the_destructors_of_pthread_keys
        # They compare the memory of the process, of which most is qemu's.
        echo a_thread_that_ended_gives_its_stack_back_although_nobody_joins_it
        echo thr_20_a_thread_without_handles_runs_on_and_leaks_nothing
        echo ruling_17_after_ten_thousand_threads_were_joined_their_memory_is_back
        # A limit of the address space, which qemu ignores.
        echo thr_9_a_start_refused_for_want_of_memory_leaves_nothing_and_may_be_repeated
        ;;
    hostile_memory)
        # A limit of the stack, which qemu ignores.
        echo with_an_unlimited_stack
        # Looks for a sleeper, likewise.
        echo a_mutex_is_unmapped_by_its_next_owner
        ;;
    # It counts the server's threads, of which qemu has one of its own.
    kv) echo the_log_has_a_timer_only_while_something_is_to_be_synced ;;
    local)
        # They take longer than all else together, and look at memory, of which most is qemu's.
        echo memory_stays_flat
        # Threads in the child of a fork.
        echo a_value_that_is_lent_out_when_its_thread_ends_the_process_is_not_dropped
        # Destructors of thread-locals.
        echo local_11_values_of_the_main_thread_are_there_in_destructors_and_exit_handlers
        echo local_13_a_first_value_in_the_destructor_of_a_pthread_key_goes_with_its_local
        ;;
    esac
}

# build NAME ...
build() {
    local targets=() name
    for name in "$@"; do
        case $name in
        lib) targets+=(--lib) ;;
        kv)
            targets+=(--test kv)
            # The server that it runs.
            cargo build --target $target --example kv "${arguments[@]}"
            ;;
        *) targets+=(--test "$name") ;;
        esac
    done
    cargo test --target $target --no-run --workspace "${targets[@]}" "${arguments[@]}"
}

# run NAME [FILTER]
run() {
    local name=$1 skipped=() test
    shift
    # Its tests are programs of their own. Those of others run side by side, and so fork beside threads.
    [ "$name" = exit ] || skipped+=(--skip fork_)
    for test in $(left_out "$name"); do
        skipped+=(--skip "$test")
    done
    case $name in
    lib) set -- --lib "${arguments[@]}" -- "$@" ;;
    *) set -- --test "$name" "${arguments[@]}" -- "$@" ;;
    esac
    cargo test --target $target --workspace "$@" "${skipped[@]}"
}

arguments=("$@")
if $share; then
    names=(lock condition event semaphore barrier)
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS=-Ctarget-feature=+crt-static
    build lib "${names[@]}"
    for QEMU_CPU in $old $new; do
        export QEMU_CPU
        run lib raw::
        for name in "${names[@]}"; do
            run "$name"
        done
    done
    exit
fi

names=(lib)
for file in tests/*.rs; do
    name=$(basename "$file" .rs)
    if [ "$(left_out "$name")" != - ]; then
        names+=("$name")
    fi
done
failed=()
for way in "$old +crt-static" "$new +crt-static,+lse"; do
    read -r QEMU_CPU features <<<"$way"
    export QEMU_CPU CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-Ctarget-feature=$features"
    build "${names[@]}"
    for name in "${names[@]}"; do
        echo "== $name on $QEMU_CPU with $features"
        run "$name" || failed+=("$name on $QEMU_CPU with $features")
    done
done
[ ${#failed[@]} = 0 ] || {
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
}
echo "aarch64: all of ${#names[@]} files passed on $old and, with +lse, on $new"
