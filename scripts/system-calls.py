#!/usr/bin/env python3
"""Counts the system calls of a start and join with strace, and writes them into docs/system-calls.md.

What is done once per process is left out: counted is what a hundred more rounds of `benches/paths.rs`
make, divided by a hundred.
"""

import collections
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
FILE = os.path.join(os.path.dirname(HERE), "docs", "system-calls.md")

FEW, MANY = 20, 120

WHO = {
    "thread": "`Thread`",
    "spawn": "`spawn`",
    "std_thread": "`std::thread`",
    "pthread": "`pthread_create`",
    "thread_named": "`Thread`, named",
    "std_thread_named": "`std::thread`, named",
}

# The most that there may be, without `exit`.
LIMITS = {"thread": 9, "spawn": 9, "thread_named": 12}

WHY = {
    "rt_sigprocmask": "glibc blocks signals around the creation and at the thread's end, and sets the thread's mask",
    "clone3": "the thread",
    "rseq": "glibc registers each thread for restartable sequences",
    "set_robust_list": "glibc, for robust mutexes",
    "sigaltstack": "the signal stack on which an overflow of the stack is reported; std also asks for the one before and takes it away",
    "futex": "the join waits",
    "exit": "the end",
    "prctl": "the name",
    "mmap": "std maps a signal stack for each thread",
    "mprotect": "its guard",
    "munmap": "its end",
    "madvise": "glibc gives back a stack's memory before it caches it",
    "gettid": "std notes the thread's id, for the report of an overflow",
    "sched_getaffinity": "`pthread_getattr_np`, by which std finds the guard",
}


def calls(program, who, rounds):
    """System calls by name, in all threads."""
    with tempfile.NamedTemporaryFile(mode="r") as out:
        done = subprocess.run(["strace", "-f", "-o", out.name, program, who, str(rounds)])
        if done.returncode != 0:
            sys.exit(f"strace {program}: failed with {done.returncode}")
        found = (re.match(r"\d+ +(\w+)\(", line) for line in out)
        return collections.Counter(one[1] for one in found if one)


def per_round(program, who):
    few, many = (calls(program, who, rounds) for rounds in (FEW, MANY))
    found = {name: (many[name] - few[name]) / (MANY - FEW) for name in many}
    # Less than a tenth is what comes now and then: memory for the allocator, a cache that is pruned.
    return {name: number for name, number in found.items() if number >= 0.1}


def cell(number):
    return f"{number:.2f}".rstrip("0").rstrip(".") if number else ""


def table(found, strace, kernel):
    names = sorted({name for one in found.values() for name in one}, key=list(WHY).index)
    yield f"On {kernel}, by {strace}:"
    yield ""
    yield "| | " + " | ".join(WHO[who] for who in found) + " | for |"
    yield "|---" * (len(found) + 2) + "|"
    for name in names:
        yield f"| `{name}` | " + " | ".join(cell(one.get(name, 0)) for one in found.values()) + f" | {WHY[name]} |"
    yield "| without `exit` | " + " | ".join(f"**{cell(total(one))}**" for one in found.values()) + " | |"


def total(one):
    return sum(number for name, number in one.items() if name != "exit")


def instructions():
    """The script beside this one, which builds the same program."""
    spec = importlib.util.spec_from_file_location("instructions", os.path.join(HERE, "instructions.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    if shutil.which("strace") is None:
        sys.exit("strace is missing: apt-get install strace")
    sys.dont_write_bytecode = True
    program = instructions().build()
    found = {who: per_round(program, who) for who in WHO}
    unknown = {name for one in found.values() for name in one} - set(WHY)
    if unknown:
        sys.exit(f"system calls without a reason in {__file__}: {', '.join(sorted(unknown))}")
    version = subprocess.run(["strace", "--version"], stdout=subprocess.PIPE, text=True).stdout
    strace = re.match(r"strace -- version (\S+)", version)
    kernel = f"{os.uname().sysname} {os.uname().release} {os.uname().machine}"
    lines = list(table(found, f"strace {strace[1]}" if strace else "strace", kernel))
    print(*lines, sep="\n")
    with open(FILE) as file:
        text = file.read()
    before, begin, rest = text.partition("<!-- table -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    with open(FILE, "w") as file:
        file.write(before + begin + "\n".join(lines) + "\n" + end + after)
    for who, limit in LIMITS.items():
        if total(found[who]) > limit:
            sys.exit(f"{who}: {total(found[who])} system calls, more than {limit}")


if __name__ == "__main__":
    main()
