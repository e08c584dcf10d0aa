#!/usr/bin/env python3
"""Counts the instructions of the fast paths, and of a start and join: `make instructions`.

    instructions.py [check|accept]

Runs `benches/paths.rs` under callgrind, which counts the same each time however busy the machine is,
and compares with `benches/instructions.toml`, which `accept` writes. More instructions than there are
a failure. What a path costs is what a thousand more rounds of it cost, divided by a thousand: what is
done once per thread or process is left out, what is called is counted.

Another compiler makes other code, and another C library starts threads otherwise; with them the
counts are shown and not compared. Counts are not times: an atomic access is one instruction.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILE = os.path.join(ROOT, "benches", "instructions.toml")

FEW, MANY = 100, 1100

# Threads meet differently each time, if only a little.
TOLERANCE = 0.02

PEERS = ("bare_", "std_", "parking_lot_", "usync_", "thread_local_", "pthread")


def run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: failed with {done.returncode}")
    return done.stdout


def build():
    """The program."""
    command = ["cargo", "build", "--quiet", "--release", "--bench", "paths", "--message-format=json"]
    for line in run(command).splitlines():
        message = json.loads(line)
        if message.get("target", {}).get("name") == "paths" and message.get("executable"):
            return message["executable"]
    sys.exit("cargo built no paths")


def callgrind(program, who, rounds):
    """What callgrind writes about a run, and the sum."""
    with tempfile.NamedTemporaryFile(mode="r") as out:
        # Names in full, so that a line can be read by itself.
        options = ["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"]
        command = ["valgrind", *options, f"--callgrind-out-file={out.name}", program, who, str(rounds)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        if done.returncode != 0:
            sys.exit(done.stderr)
        collected = int(re.search(r"Collected : (\d+)", done.stderr)[1])
        return out.read().splitlines(), collected


def inclusive(lines):
    """Instructions of each function, those of what it called included."""
    counts, function = {}, None
    for line in lines:
        if line.startswith("fn="):
            function = line.removeprefix("fn=")
        elif function is not None and (found := re.match(r"\d+ (\d+)$", line)):
            # Either its own, or those of the call in the line before.
            counts[function] = counts.get(function, 0) + int(found[1])
    return counts


def names():
    """The paths in the order of the program, and who starts and joins."""
    with open(os.path.join(ROOT, "benches", "paths.rs")) as file:
        text = file.read()
    paths = text[text.index("\npaths! {") : text.index("\n}\n", text.index("\npaths! {"))]
    threads = text[text.index("const START_AND_JOIN") :]
    return re.findall(r"^    fn (\w+)\(", paths, re.M), re.findall(r'^    \(\s*"(\w+)",', threads, re.M)


def count():
    """The counts, by table and name."""
    program = build()
    fast, threads = names()
    (few, _), (many, _) = (callgrind(program, "fast", rounds) for rounds in (FEW, MANY))
    few, many = inclusive(few), inclusive(many)
    found = {"fast": {}, "start_and_join": {}, "peers": {}}
    for name in fast:
        table = "peers" if name.startswith(PEERS) else "fast"
        if name not in many:
            sys.exit(f"{name} was not called under this name")
        found[table][name] = round((many[name] - few[name]) / (MANY - FEW))
    for name in threads:
        table = "peers" if name.startswith(PEERS) else "start_and_join"
        (_, few), (_, many) = (callgrind(program, name, rounds) for rounds in (FEW, MANY // 2))
        found[table][name] = round((many - few) / (MANY // 2 - FEW))
    return found


def surroundings():
    compiler = " ".join(run([os.environ.get("RUSTC", "rustc"), "--version"]).split()[:2])
    return {"compiler": f"{compiler} {platform.machine()}", "libc": " ".join(platform.libc_ver())}


def accept(found):
    with open(FILE, "w") as file:
        file.write("# Instructions, counted by scripts/instructions.py, which also writes this file.\n")
        for name, value in surroundings().items():
            file.write(f'{name} = "{value}"\n')
        for table, counts in found.items():
            if table == "peers":
                file.write("\n# To compare with; not checked.")
            elif table == "start_and_join":
                file.write(f"\n# In all threads; checked to {TOLERANCE:.0%}.")
            file.write(f"\n[{table}]\n")
            file.writelines(f"{name} = {number}\n" for name, number in counts.items())


def check(found):
    """Prints all, and returns what is worse than it was."""
    with open(FILE, "rb") as file:
        known = tomllib.load(file)
    here = surroundings()
    compared = ["fast", "start_and_join"] if here["compiler"] == known["compiler"] else []
    if here["libc"] != known["libc"]:
        compared = compared[:1]
    faults, less = [], False
    for table, counts in found.items():
        print(f"\n{table.replace('_', ' ')}:")
        margin = TOLERANCE if table == "start_and_join" else 0
        for name, number in counts.items():
            before = known[table].get(name)
            note = "" if before in (None, number) else f"   was {before}"
            print(f"  {name:36} {number:6}{note}")
            if table not in compared:
                continue
            if before is None:
                faults.append(f"{name} is not in {FILE}")
            elif number > before * (1 + margin):
                faults.append(f"{name}: {number} instructions, {before} before")
            less = less or number < before * (1 - margin)
    gone = [name for table in compared for name in known[table] if name not in found[table]]
    faults += [f"{name} is no more counted" for name in gone]
    print()
    for name in ("compiler", "libc"):
        if here[name] != known[name]:
            print(f"this is {here[name]}, the counts are of {known[name]}: what depends on it was not compared")
    if less and not faults:
        print("fewer than before: `make instructions-accept` keeps it so")
    return faults


def main():
    action = (sys.argv[1:] or ["check"])[0]
    if action not in ("check", "accept") or len(sys.argv) > 2:
        sys.exit(__doc__)
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is missing: apt-get install valgrind")
    found = count()
    if action == "accept":
        accept(found)
    if faults := check(found):
        print(*faults, sep="\n")
        sys.exit("if that is meant, `make instructions-accept`")


if __name__ == "__main__":
    main()
