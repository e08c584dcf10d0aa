#!/usr/bin/env python3
"""Shows of the fuzz targets on real code, and of tests that have no model, that they can fail.

    seeded_real.py [TEXT]
                         every bug of tests/seeds.toml, or those with TEXT in their names, in a copy of
                         the sources

Each runs in a process of its own, as many at once as there are cores. The copy, under
target/seeded-real/, has all bugs, of which each process takes one: seeding.py says how. A test that is
skipped, since it may not change what it has to, finds nothing.
"""

import concurrent.futures
import json
import os
import re
import subprocess
import sys
import time

from seeding import ROOT, Wrong, check_all_are_named, copy, environment, read_seeds

SEEDS = ROOT / "tests/seeds.toml"
COPY = ROOT / "target/seeded-real/sources"
# Not where the tests are built: cargo would take the programs with bugs for those.
TARGET = ROOT / "target/seeded-real/build"
FUZZ_COPIED = ["Cargo.toml", "Cargo.lock", "kv", "src", "fuzz_targets", "tests", "corpus", "findings"]
COPIED = ["Cargo.toml", "Cargo.lock", "src", "sys", "docs/guide", "tests", "benches", "examples/kv"]
COPIED += [f"fuzz/{name}" for name in FUZZ_COPIED]
CRATES = ["src", "sys/src", "fuzz/src", "fuzz/kv/src"]

# The test programs, and which of their tests have to be named by a seed; None stands for the program
# as a whole.
PROGRAMS = {
    "saved_inputs": lambda test: True,
    "exit_objects": None,
    "hostile_machine": lambda test: "single_cpu" in test,
    "hostile_memory": lambda test: "unlimited_stack" in test,
}
FUZZ = ["saved_inputs"]

# For one test, in seconds: more than the watchdogs have.
TIMEOUT = 200


def build(directory, tests):
    """The test programs by their names."""
    flags = " ".join(f"--test {test}" for test in tests)
    command = f"cargo test --no-run --quiet --message-format=json {flags}"
    built = subprocess.run(
        command.split(),
        cwd=COPY / directory,
        env=dict(os.environ, CARGO_TARGET_DIR=str(TARGET)),
        stdout=subprocess.PIPE,
        text=True,
    )
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    if built.returncode != 0:
        said = [message.get("message") for message in messages]
        for error in said:
            # Warnings do not matter: the sources have been looked at where they are.
            if error and error["level"] == "error":
                print(error["rendered"], file=sys.stderr)
        raise Wrong("the sources do not compile with the seeds")
    return {
        message["target"]["name"]: message["executable"]
        for message in messages
        if message.get("executable")
    }


def tests_of(programs):
    """The tests that a seed has to name: a program, or a program and one of its tests."""
    tests = []
    for name, is_wanted in PROGRAMS.items():
        if is_wanted is None:
            tests.append(name)
            continue
        listed = subprocess.run([programs[name], "--list"], capture_output=True, text=True, check=True)
        of_program = re.findall(r"^(\S+): test$", listed.stdout, re.M)
        tests += [f"{name} {test}" for test in of_program if is_wanted(test)]
    return tests


def run(programs, test, seed=None):
    """Whether the test passes, or `None` if it does not end; after how many seconds; what it says."""
    program, *only = test.split()
    command = [programs[program], *only]
    if program not in FUZZ:
        command += ["--exact", "--nocapture"]
    start = time.monotonic()
    try:
        ended = subprocess.run(
            command,
            env=environment(seed),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return None, TIMEOUT, "does not end"
    seconds = time.monotonic() - start
    said = ended.stdout.decode(errors="replace")
    if ended.returncode == 0:
        has_run = re.search(r"^test result: ok\. [1-9]\d* passed", said, re.M)
        return bool(has_run), seconds, "" if has_run else "runs nothing"
    said = said.replace(f"{COPY}/", "")
    panics = re.findall(r"panicked at ([^\n]*):\n([^\n]*)", said)
    last = said.strip().rpartition("\n")[2]
    why = " ".join(panics[0]) if panics else f"ended with {ended.returncode}: {last}"
    inputs = re.findall(r"^target \w+, (input .*)$", said, re.M)
    return False, seconds, "; ".join([why, *inputs])


def run_all(programs, jobs):
    """The runs of `(test, seed)`, each with its job, as they end."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(run, programs, *job): job for job in jobs}
        for ended in concurrent.futures.as_completed(running):
            yield running[ended], ended.result()


def seeded(only=""):
    seeds = read_seeds(SEEDS, "tests")
    chosen = [seed for seed in seeds if only in seed.name]
    if not chosen:
        raise Wrong(f"no seed has {only} in its name")
    copy(seeds, COPIED, CRATES, COPY)
    programs = build("fuzz", FUZZ) | build("", [test for test in PROGRAMS if test not in FUZZ])
    tests = tests_of(programs)
    check_all_are_named(seeds, "tests", tests)
    # Without a seed the copy is as good as the sources.
    jobs = [(test, None) for test in tests]
    jobs += [(test, seed) for seed in chosen for test in seed.failing]
    passed, failed = 0, 0
    for (test, seed), (has_passed, seconds, why) in run_all(programs, jobs):
        is_right = has_passed is (seed is None)
        passed, failed = passed + is_right, failed + (not is_right)
        if seed:
            end = {False: "caught", True: "MISSED", None: "BROKEN"}[has_passed]
        else:
            end = "ok" if has_passed else "FAILED"
        what = seed.name if seed else "no seed"
        print(f"{end}  {what}  {test}  {seconds:.1f} s  {why}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(seeded(*sys.argv[1:]))
    except Wrong as wrong:
        print(f"seeded_real.py: {wrong}", file=sys.stderr)
        sys.exit(1)
