#!/usr/bin/env python3
"""Looks at the instructions of every fast path: `make asm`.

    trace.py [show|check|accept] [FUNCTION ...]

Builds `src/main.rs` for each target below, runs it under an emulator that tells each instruction,
and takes from that what its functions execute while nobody else wants the object.

`check` compares with what is intended: the atomic accesses, their barriers included, are exactly
those of INTENDED; no other fence, no system call, no call to anything but the compiler's own atomic
helpers. It also compares with the table of docs/fast-paths.md, which `accept` writes. The numbers
of instructions count only with the compiler that the table names.

`show`, the default, prints the listings first, with `*` before what is executed.
"""

import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TARGET_DIR = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "fast-paths")
TABLE = os.path.join(ROOT, "docs", "fast-paths.md")

# What each function does to memory that others touch, with the ordering as Rust names it.
# A relaxed load, and on x86_64 any load or store, is an ordinary instruction and not listed.
INTENDED = {
    "lock_acquire": ["cas acquire"],
    "lock_release": ["cas release"],
    "rlock_acquire": ["cas acquire"],
    "rlock_acquire_again": [],
    "rlock_release_inner": [],
    "rlock_release": ["store release"],
    "mutex_lock": ["cas acquire"],
    "mutex_unlock": ["store release"],
    "monitor_lock": ["cas acquire"],
    "monitor_notify_one": [],
    "monitor_unlock": ["store release"],
    "condition_notify_one": [],
    # Their lists have locks of their own, marked with the process that they belong to.
    "condition_notify_one_lock": ["load acquire", "cas acquire", "cas release"],
    "condvar_notify_one": ["load acquire", "cas acquire", "cas release"],
    "semaphore_acquire": ["cas acquire"],
    "semaphore_release": ["cas release"],
    "event_is_set": ["load acquire"],
    "event_set": ["or release"],
    "event_wait": ["load acquire"],
    "event_clear": ["cas relaxed"],
    "barrier_wait": ["add acq_rel", "cas release"],
    "local_with": ["load acquire"],
    "get_ident": [],
    "get_native_id": [],
}

# What they are compared with, and not checked. std has no reentrant mutex, and its condition's notify
# enters the kernel.
PEERS = [
    "std_mutex_lock",
    "std_mutex_unlock",
    "parking_lot_mutex_lock",
    "parking_lot_mutex_unlock",
    "parking_lot_reentrant_lock",
    "parking_lot_reentrant_lock_again",
    "parking_lot_reentrant_unlock_inner",
    "parking_lot_reentrant_unlock",
    "parking_lot_condvar_notify_one",
]

# By what instructions that is meant to be done. With exclusives, a load and a store that succeeds.
MEANS = {
    "x86_64": {
        "cas acquire": ["lock cmpxchg"],
        "cas release": ["lock cmpxchg"],
        "cas relaxed": ["lock cmpxchg"],
        "add acq_rel": ["lock xadd"],
        "or release": ["lock cmpxchg"],  # the old value is wanted, which `lock or` does not give
        "load acquire": [],
        "store release": [],
    },
    "exclusives": {
        "cas acquire": ["ldaxr", "stxr"],
        "cas release": ["ldxr", "stlxr"],
        "cas relaxed": ["ldxr", "stxr"],
        "add acq_rel": ["ldaxr", "stlxr"],
        "or release": ["ldxr", "stlxr"],
        "load acquire": ["ldar"],
        "store release": ["stlr"],
    },
    "lse": {
        "cas acquire": ["casa"],
        "cas release": ["casl"],
        "cas relaxed": ["cas"],
        "add acq_rel": ["ldaddal"],
        "or release": ["ldsetl"],
        "load acquire": ["ldar"],
        "store release": ["stlr"],
    },
}

# Everything that orders memory or accesses it atomically.
ATOMIC = {
    "x86_64": re.compile(r"(lock \w+|xchg(?=.*\()|[mls]fence)"),
    "aarch64": re.compile(
        r"(ldaxr|ldxr|stxr|stlxr|ldaxp|ldxp|stxp|stlxp|ldar|ldapu?r|stlu?r|dmb|dsb|isb"
        r"|(?:cas|swp|(?:ld|st)(?:add|set|clr|eor|[su]max|[su]min))(?:a|l|al)?)[bh]?\b"
    ),
}
SYSTEM_CALL = {"x86_64": re.compile(r"syscall|int "), "aarch64": re.compile(r"svc\b")}
CALL = {"x86_64": re.compile(r"call\b"), "aarch64": re.compile(r"blr?\b")}
RETURN = re.compile(r"ret\b")
HELPER = re.compile(r"__aarch64_\w+")

AARCH64 = "aarch64-unknown-linux-gnu"


class Way:
    """One way to build and run the program."""

    def __init__(self, name, arch, means, features="", cpu="max", helpers=False):
        self.name, self.arch, self.means = name, arch, means
        self.features, self.cpu, self.helpers = features, cpu, helpers


WAYS = [
    Way("x86_64", "x86_64", "x86_64"),
    # What one gets without asking: helpers that look which of the two the CPU has.
    Way("aarch64, CPU with LSE", "aarch64", "lse", helpers=True),
    Way("aarch64, CPU without LSE", "aarch64", "exclusives", cpu="cortex-a72", helpers=True),
    Way("aarch64 -outline-atomics", "aarch64", "exclusives", ",-outline-atomics"),
    Way("aarch64 +lse", "aarch64", "lse", ",+lse"),
]


def run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: failed with {done.returncode}")
    return done.stdout


def compiler_for(arch):
    """The compiler that has the std of both targets, so that one table speaks of one compiler."""
    for rustc in [os.environ.get("RUSTC", "rustc"), "/usr/bin/rustc"]:
        if shutil.which(rustc) is None:
            continue
        done = subprocess.run(
            [rustc, "--print", "target-libdir", "--target", AARCH64], stdout=subprocess.PIPE, text=True
        )
        if done.returncode == 0 and os.path.isdir(done.stdout.strip()):
            return rustc
    return os.environ.get("RUSTC", "rustc") if arch == "x86_64" else None


def missing(way):
    """What there is not to build and run it, or `None`."""
    if compiler_for(way.arch) is None:
        return f"std for {AARCH64}"
    tools = [f"qemu-{way.arch}", objdump(way)]
    if way.arch == "aarch64":
        tools.append("aarch64-linux-gnu-gcc")
    return next((tool for tool in tools if shutil.which(tool) is None), None)


def objdump(way):
    return "objdump" if way.arch == "x86_64" else "aarch64-linux-gnu-objdump"


def build(way):
    """The program."""
    environment = dict(os.environ)
    environment["RUSTC"] = compiler_for(way.arch)
    # Both CPUs of the default build run the same program.
    environment["CARGO_TARGET_DIR"] = TARGET_DIR + re.sub(r"\W+", "-", way.features)
    target = f"{way.arch}-unknown-linux-gnu"
    variable = "CARGO_TARGET_" + target.upper().replace("-", "_")
    if way.arch == "aarch64":
        environment[variable + "_LINKER"] = "aarch64-linux-gnu-gcc"
    environment["RUSTFLAGS"] = f"-Ctarget-feature=+crt-static{way.features}"
    manifest = os.path.join(HERE, "Cargo.toml")
    command = ["cargo", "build", "--quiet", "--locked", "--release", "--target", target]
    run(command + ["--manifest-path", manifest], env=environment)
    return os.path.join(environment["CARGO_TARGET_DIR"], target, "release", "fast_paths")


def disassemble(way, program):
    """Instructions by address, each with the function it is in."""
    instructions, function = {}, None
    for line in run([objdump(way), "-d", "--no-show-raw-insn", program]).splitlines():
        if found := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            function = found[1]
        elif found := re.match(r" *([0-9a-f]+):\t(.+)", line):
            text = re.sub(r"\s*(//|# ).*", "", found[2].replace("\t", " "))
            instructions[int(found[1], 16)] = (function, re.sub(" +", " ", text).strip())
    return instructions


def trace(way, program, instructions):
    """What each function executed the second time, what it called included: lists of addresses."""
    emulator = f"qemu-{way.arch}"
    one_by_one = "-one-insn-per-tb"
    if one_by_one not in run([emulator, "-help"]):
        one_by_one = "-singlestep"  # its name before qemu 8.1
    log = program + ".log"
    told = run([emulator, "-cpu", way.cpu, one_by_one, "-d", "exec,nochain", "-D", log, program])
    first, at = told.split()
    entries = {}
    for address, (function, _) in instructions.items():
        if function in INTENDED or function in PEERS:
            entries.setdefault(function, address)
    base = int(at, 16) - entries[first]
    by_entry = {address: function for function, address in entries.items()}

    paths, inside, depth, calls = {}, None, 0, False
    with open(log) as lines:
        for line in lines:
            found = re.match(r"Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/", line)
            address = int(found[1], 16) - base if found else None
            if address in by_entry and inside is None:
                inside, depth = by_entry[address], 0
                paths[inside] = []
            if inside is None:
                continue
            if address not in instructions:
                # Of a function outside of the program, the kernel's vDSO, the return is not seen.
                depth -= calls
                calls = False
                continue
            paths[inside].append(address)
            text = instructions[address][1]
            calls = bool(CALL[way.arch].match(text))
            if calls:
                depth += 1
            elif RETURN.match(text):
                depth -= 1
                if depth < 0:
                    inside = None
    os.remove(log)
    return paths


class Path:
    """What one function executes, one way."""

    def __init__(self, way, function, path, instructions):
        executed = [instructions[address] for address in path]
        self.count = len(path)
        self.atomics = [
            found[1] for _, text in executed if (found := ATOMIC[way.arch].match(text))
        ]
        self.callees = sorted({where for where, _ in executed if where != function})
        self.system_calls = [text for _, text in executed if SYSTEM_CALL[way.arch].match(text)]
        self.ends = bool(executed) and bool(RETURN.match(executed[-1][1]))

    def faults(self, way, function):
        """How it differs from what is intended."""
        wanted = [one for access in INTENDED[function] for one in MEANS[way.means][access]]
        if self.atomics != wanted:
            yield f"atomic accesses are {self.atomics or 'none'}, not {wanted or 'none'}"
        for callee in self.callees:
            if not (way.helpers and HELPER.fullmatch(callee)):
                yield f"calls {callee}"
        if self.system_calls:
            yield "enters the kernel"
        if not self.ends:
            yield "is never executed to its end"

    def cell(self):
        return f"{self.count}" + "".join(f" `{one}`" for one in self.atomics)


def show(way, program, functions, paths):
    """The listings, with `*` before what is executed."""
    executed = {address for path in paths.values() for address in path}
    listing = run([objdump(way), "-d", "--no-show-raw-insn", program]).split("\n\n")
    blocks = {found[1]: block for block in listing if (found := re.match(r"\n?[0-9a-f]+ <(.+)>:", block))}
    for function in functions + (sorted(filter(HELPER.fullmatch, blocks)) if way.helpers else []):
        lines = blocks[function].strip().splitlines()
        marks = [line.split(":")[0].strip() for line in lines[1:]]
        marked = ["*" if int(mark, 16) in executed else " " for mark in marks]
        if "*" not in marked:
            continue
        print(f"\n{way.name}: {function}")
        for mark, line in zip(marked, lines[1:]):
            print(mark + line.expandtabs())


def table(compiler, ways, paths):
    """The lines of the table in docs/fast-paths.md."""
    yield f"Compiled by {compiler}:"
    yield ""
    yield "| function | " + " | ".join(f"`{way.name}`" if "+" in way.name else way.name for way in ways) + " |"
    yield "|---" * (len(ways) + 1) + "|"
    for function in [*INTENDED, *PEERS]:
        yield f"| `{function}` | " + " | ".join(paths[way.name][function].cell() for way in ways) + " |"


def compare(compiler, lines, accept):
    """Writes the table, or compares it with the one that is there; the faults."""
    with open(TABLE) as file:
        text = file.read()
    before, begin, rest = text.partition("<!-- table -->\n")
    old, end, after = rest.partition("<!-- end -->\n")
    if accept:
        with open(TABLE, "w") as file:
            file.write(before + begin + "\n".join(lines) + "\n" + end + after)
        return []
    old = old.splitlines()
    if old[0] != lines[0]:
        # Another compiler may need more or fewer instructions, but not others for the accesses.
        print(f"this is {compiler}: the numbers of instructions were not compared with {TABLE}")
        old, lines = ([re.sub(r"\| \d+", "|", line) for line in table[1:]] for table in (old, lines))
    changed = [line for line in lines if line not in old] or (["a row less"] if old != lines else [])
    return [fault for fault in changed if not print(f"not in {TABLE}: {fault}")]


def main():
    action, *names = sys.argv[1:] or ["show"]
    if action not in ("show", "check", "accept") or not set(names) <= set(INTENDED) | set(PEERS):
        sys.exit(__doc__)
    functions = names or list(INTENDED)
    ways, found, faults = [], {}, []
    for way in WAYS:
        if lacks := missing(way):
            print(f"{way.name}: not looked at, {lacks} is missing")
            continue
        program = build(way)
        instructions = disassemble(way, program)
        paths = trace(way, program, instructions)
        if action == "show":
            show(way, program, functions, paths)
        found[way.name] = {}
        for function in INTENDED:
            path = Path(way, function, paths.get(function, []), instructions)
            found[way.name][function] = path
            faults += [f"{way.name}: {function} {fault}" for fault in path.faults(way, function)]
        for function in PEERS:
            found[way.name][function] = Path(way, function, paths.get(function, []), instructions)
        ways.append(way)
    for fault in faults:
        print(fault)
    if len(ways) == len(WAYS):
        compiler = run([compiler_for("aarch64"), "--version"]).split(" (")[0]
        faults += compare(compiler, list(table(compiler, ways, found)), action == "accept")
    if faults:
        sys.exit(f"{len(faults)} things are not as intended")
    print(f"\n{len(INTENDED)} fast paths, {len(ways)} of {len(WAYS)} ways to build: as intended")


if __name__ == "__main__":
    main()
