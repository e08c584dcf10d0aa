#!/usr/bin/env bash
# Runs the tests under a sanitizer: `scripts/sanitize.sh tsan|asan [TEST]...`, where TEST is `lib` or
# a file in tests/ without `.rs`; without any, all that can run.
#
# tsan: ThreadSanitizer, with a std that is instrumented too. It knows which orderings were asked for,
# so it sees a release that is too weak although x86_64 would hide it.
# asan: AddressSanitizer, with LeakSanitizer at the end of each process.
#
# First come bugs on purpose (tests/sanitizers/): what does not report them is not worth running.
# Reports go to files, since many tests are processes whose stderr another test reads; one report in
# any process fails the run. There is one suppression, with its reason, in tests/sanitizers/asan.c.
set -eu
cd "$(dirname "$0")/.."

target=x86_64-unknown-linux-gnu
[ "$(uname -m)" = x86_64 ] || {
    echo "the sanitizers are set up for x86_64 only" >&2
    exit 1
}
kind=${1:?tsan or asan}
shift

missing() {
    echo "$1" >&2
    exit 1
}

reports=$PWD/target/$kind/reports
# The handler of SIGSEGV and the signal stacks are to be std's and the crate's. Reports name places
# in the source where there is a symbolizer.
options=log_path=$reports/report:handle_segv=0:use_sigaltstack=0
symbolizer=$(command -v llvm-symbolizer || ls /usr/lib/llvm-*/bin/llvm-symbolizer 2>/dev/null | tail -n 1) || true
[ -z "$symbolizer" ] || options+=:external_symbolizer_path=$symbolizer

# Tests that fork beside threads, of which the children start others. What a sanitizer keeps of the
# threads that are gone may be half changed or locked there: now and then ThreadSanitizer ends by a CHECK
# of its own, and AddressSanitizer waits for ever for a lock of its own.
forks=(fork fork_allocator fork_first_start fork_scope fork_threads fork_unprepared)

# Tests whose names contain one of these are not run.
skipped=(
    fork_ # as above, in other files
    # Tens of thousands of threads live for minutes here. They have all ids that the kernel gives, so
    # meanwhile nothing else on the machine can start a process.
    thousand_threads_live_at_once
    # They compare the memory of the process, of which most is the sanitizer's.
    thr_20_a_thread_without_handles_runs_on_and_leaks_nothing
    ruling_17_after_ten_thousand_threads_were_joined_their_memory_is_back
    # The shadow does not fit into the address space that this server is given.
    an_answer_larger_than_memory_is_sent_in_parts
)
case $kind in
tsan)
    # Debian's compiler comes with the sources of its std, but without the sanitizer's runtime, which
    # rustup's toolchains have.
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    [ -d "$($RUSTC --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/std" ] ||
        missing "a compiler with the sources of std is missing: apt-get install rustc-web rust-web-src"
    runtime=
    for toolchain in nightly stable; do
        libraries=$(env -u RUSTC rustc +$toolchain --print target-libdir --target $target 2>/dev/null) || continue
        runtime=$libraries/librustc-${toolchain}_rt.tsan.a
        [ ! -f "$runtime" ] || break
    done
    [ -f "$runtime" ] || missing "the runtime of ThreadSanitizer is missing: rustup toolchain install nightly"
    # The runtime as a whole, and what it needs.
    flags="-Zsanitizer=thread -Zexternal-clangrt"
    for argument in -Wl,--whole-archive,"$runtime",--no-whole-archive -lstdc++ -lm -ldl -lpthread -lc \
        -lgcc_s -Wl,--export-dynamic -Wl,--unresolved-symbols=ignore-in-object-files; do
        flags+=" -Clink-arg=$argument"
    done
    # With `test`, or what needs it would be built apart from what does not.
    cargo=(cargo)
    build=(-Zbuild-std=std,test)
    bugs=("relaxed_release:data race")
    left_out=(
        "${forks[@]}"
        # It keeps signals back until the thread calls libc. A wait of ours is a system call of
        # rustix's, so the handlers that these tests wait for do not run.
        signals
        # It compares how many mappings there are before and after, to which the sanitizer adds.
        robust
    )
    skipped+=(
        # A thread's destructor that asks to be called again is, after the sanitizer has let go of
        # what it knows of the thread: a destructor itself, it counts rounds of them.
        the_destructor_gets_each_threads_value_at_its_end_and_again_if_it_sets_one
        # A bare thread has the thread pointer of the one that started it, so the sanitizer, whose state
        # of a thread is a thread-local, takes the two for one while both run.
        clone::tests::
        # These wait for a handler, as `signals`.
        a_signal_handler_may_unpark_the_thread_that_it_interrupts
        sig_2_signals_end_neither_park_nor_sleep
        sig_2_and_3_plain_waits_go_on_after_signals
        # Likewise, in the example server, which waits for SIGTERM by an event.
        a_connection_that_crashes_is_counted_and_said_and_leaves_the_others_alone
        the_log_has_a_timer_only_while_something_is_to_be_synced
        every_kind_of_write_is_found_in_the_log_again
        writes_answered_before_sigterm_are_in_the_log
        an_incomplete_last_record_is_cut_off_and_a_broken_one_in_the_middle_is_an_error
        when_the_log_cannot_be_written_writes_are_refused_and_reads_go_on
        an_expiry_that_was_put_off_is_put_off_in_the_log_too
        # Where the stack is unlimited it starts the program again with one that is not.
        with_an_unlimited_stack
    )
    # It does not know fences, so what they order looks unordered. The one that there is, with the
    # membarrier(2) that is its other half, decides who is woken and orders no data.
    fences=$(grep -rnwE "fence\(|compiler_fence\(" src sys/src | grep -vE "^src/primitive(/model/|\.rs:)" || true)
    [ -z "$fences" ] || missing "tsan does not understand these: $fences"
    # Threads that nobody joins are reaped when another starts, so at the end of a program some are left.
    # And where a child of a fork does start one, it may.
    export TSAN_OPTIONS=$options:die_after_fork=0:report_thread_leaks=0
    ;;
asan)
    rustc +nightly --version >/dev/null 2>&1 || missing "a nightly is missing: rustup toolchain install nightly"
    flags=-Zsanitizer=address
    cargo=(cargo +nightly)
    build=()
    bugs=("freed:heap-use-after-free" "beyond_the_frame:stack-buffer-overflow" "leaked:detected memory leaks")
    left_out=("${forks[@]}" robust) # as above
    skipped+=(
        # Handles and a box that are leaked on purpose.
        a_panic_that_nobody_takes_is_the_scopes
        a_leaked_handle_leaks_its_result
        a_signal_handler_may_unpark_the_thread_that_it_interrupts
        # libc calls no more destructors in those threads, so they leave their tables behind.
        local_13_a_first_value_in_the_destructor_of_a_pthread_key_goes_with_its_local
        local_11_what_an_endless_destructor_left_goes_with_its_local
        # What was freed is kept for a while, so these see memory grow.
        memory_stays_flat
        thr_9_a_start_refused_for_too_many_threads_leaves_nothing_and_may_be_repeated
    )
    # Tests ask where frames lie and how deep they may go: on the thread's stack, not on the heap.
    options+=:detect_stack_use_after_return=0
    export ASAN_OPTIONS=$options:print_suppressions=0
    ;;
*) missing "$kind is neither tsan nor asan" ;;
esac

# What the sanitizer has to be told, in C since that is not instrumented.
mkdir -p "target/$kind"
object=$PWD/target/$kind/$kind.o
cc -O1 -Wall -Werror -c "tests/sanitizers/$kind.c" -o "$object.new"
is_same=true
cmp -s "$object.new" "$object" || is_same=false
mv "$object.new" "$object"
flags+=" -Clink-arg=$object"

export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS=$flags CARGO_TARGET_DIR=target/$kind
# Reports name lines; more than that costs only time.
export CARGO_PROFILE_DEV_DEBUG=line-tables-only CARGO_INCREMENTAL=0
build+=(--target $target --workspace --all-features)
# Cargo does not look at what the linker is given.
$is_same || "${cargo[@]}" clean --quiet --target $target -p threadbare -p threadbare-sys

# Everything is slower, so tests are to wait longer before they call something hanging.
export THREADBARE_PATIENCE=10
# To name the places of a panic an instrumented std takes a minute, and tests panic on purpose.
export RUST_BACKTRACE=0

rm -rf "$reports"
mkdir -p "$reports"

"${cargo[@]}" test "${build[@]}" --test sanitizers -- none
for bug in "${bugs[@]}"; do
    name=${bug%%:*}
    "${cargo[@]}" test "${build[@]}" --quiet --test sanitizers -- "$name" 2>/dev/null || true
    grep -qs "${bug#*:}" "$reports"/* || missing "$kind does not report the bug $name in tests/sanitizers/"
    rm "$reports"/*
    echo "reported as it should be: $name"
done

if [ $# = 0 ]; then
    set -- lib $(basename -s .rs tests/*.rs)
fi
tests=() mains=() ends=()
for test in "$@"; do
    case " ${left_out[*]} " in
    *" $test "*) continue ;;
    esac
    case $test in
    lib) tests+=(--lib) ;;
    # Nothing that a sanitizer could see: a compiler's messages, a document, a C program. And what
    # counts system calls and allocations would count the sanitizer's.
    ui | semantics | links | static_library | uncontended) ;;
    # With mains of their own, which know no --skip.
    exit_objects | main_thread) mains+=(--test "$test") ;;
    exit) ends+=(--test exit) ;;
    # It runs the server of that name.
    kv)
        "${cargo[@]}" build "${build[@]}" --example kv
        tests+=(--test kv)
        ;;
    *) tests+=(--test "$test") ;;
    esac
done
status=0
[ ${#tests[@]} = 0 ] || "${cargo[@]}" test "${build[@]}" --no-fail-fast "${tests[@]}" -- "${skipped[@]/#/--skip=}" || status=$?
[ ${#mains[@]} = 0 ] || "${cargo[@]}" test "${build[@]}" --no-fail-fast "${mains[@]}" || status=$?
# Some of these end beside a thread that has not begun. What it was given lies above its stack, where
# LeakSanitizer does not look.
[ ${#ends[@]} = 0 ] || ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 \
    "${cargo[@]}" test "${build[@]}" --no-fail-fast "${ends[@]}" || status=$?

# A thread on a stack that is small for a sanitizer starts all the same, and is told of in passing.
remark="^Sanitizer: (pre-allocated stack size is insufficient|pthread_create is likely to fail)"
for report in "$reports"/*; do
    if [ -f "$report" ] && grep -qvE "$remark" "$report"; then
        status=1
        grep -vE "$remark" "$report"
    fi
done
exit $status
