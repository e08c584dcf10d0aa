#!/usr/bin/env python3
"""Which lines and branches the unit and integration tests reach: `make coverage`.

    coverage.py [report]

Prints a table, then what is not reached in the protocols (src/raw) and the system layer (sys). Each
such line is to be found in docs/coverage.md under the file's name, with the reason; if one is not,
or a line there is in the file no more, the script fails. It finds them by function and text. A line that
is there may be reached: whether a race comes about differs from run to run.

`report` runs nothing and looks at what the last run has left.
"""

import collections
import glob
import json
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.path.join(ROOT, "target", "coverage")
PROFILES = os.path.join(TARGET, "profiles")
LIST = os.path.join(ROOT, "docs", "coverage.md")

# What is listed line by line.
LISTED = ("src/raw/", "sys/src/")

# Not run. The first two compile programs and run none of the crate's instrumented code; the third
# does a million times what others do once. The test limits what a process may write to its files,
# of which the profile is one.
SKIPPED_FILES = ["ui", "static_library", "uncontended"]
SKIPPED = ["when_the_log_cannot_be_written"]


def tool(name):
    """An LLVM tool that understands the compiler's profiles."""
    verbose = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout
    version = re.search(r"LLVM version: (\d+)", verbose)[1]
    libraries = subprocess.run(
        ["rustc", "--print", "target-libdir"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    places = [
        os.path.join(os.path.dirname(libraries), "bin", name),
        f"/usr/lib/llvm-{version}/bin/{name}",
    ]
    for place in places:
        if os.path.exists(place):
            return place
    sys.exit(f"{name} of LLVM {version} is missing: rustup component add llvm-tools, or apt-get install llvm-{version}")


def cargo(*arguments, **options):
    environment = dict(os.environ)
    environment["RUSTC_WORKSPACE_WRAPPER"] = os.path.join(ROOT, "scripts", "coverage-rustc.sh")
    environment["CARGO_TARGET_DIR"] = TARGET
    environment["CARGO_PROFILE_DEV_DEBUG"] = "0"  # what is counted is described elsewhere
    environment["LLVM_PROFILE_FILE"] = os.path.join(PROFILES, "%c%p-%m.profraw")
    command = ["cargo", "test", "--workspace", "--all-features", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, **options)


def build():
    """The programs: the tests, and what they start."""
    told = cargo("--no-run", "--message-format=json-render-diagnostics", check=True, stdout=subprocess.PIPE)
    messages = map(json.loads, told.stdout.splitlines())
    return [message["executable"] for message in messages if message.get("executable")]


def run():
    """Runs the tests; the programs."""
    shutil.rmtree(PROFILES, ignore_errors=True)
    programs = build()
    names = sorted(os.path.basename(file)[:-3] for file in glob.glob(os.path.join(ROOT, "tests", "*.rs")))
    tests = [part for name in names if name not in SKIPPED_FILES for part in ("--test", name)]
    # One word each: programs with a main of their own take words without a dash as theirs.
    skipped = [f"--skip={name}" for name in SKIPPED]
    for selection in (["--lib"], tests):
        if cargo("--no-fail-fast", *selection, "--", *skipped).returncode != 0:
            sys.exit("tests fail: what they reach says nothing")
    return programs


def measure(programs):
    """For each file of ours its lines and branches: `{file: ({line: count}, {branch: count})}`."""
    merged = os.path.join(TARGET, "merged.profdata")
    profiles = glob.glob(os.path.join(PROFILES, "*.profraw"))
    subprocess.run(
        [tool("llvm-profdata"), "merge", "--sparse", "-o", merged, "--input-files=/dev/stdin"],
        input="\n".join(profiles), check=True, text=True,
    )
    objects = [part for program in programs[1:] for part in ("--object", program)]
    command = [tool("llvm-cov"), "export", "--format=lcov", "--instr-profile", merged, programs[0], *objects]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    found, file = {}, None
    for line in told.splitlines():
        kind, _, rest = line.partition(":")
        if kind == "SF":
            file = os.path.relpath(rest, ROOT)
            is_ours = file.startswith(("src/", "sys/src/"))
            lines, branches = found.setdefault(file, ({}, {})) if is_ours else ({}, {})
            tests = first_line_of_tests(file) if is_ours else 0
        elif kind == "DA":
            number, count = map(int, rest.split(",")[:2])
            if number < tests:
                lines[number] = lines.get(number, 0) + count
        elif kind == "BRDA":
            number, block, branch, count = rest.split(",")
            if int(number) < tests:
                key = (int(number), block, branch)
                branches[key] = branches.get(key, 0) + (0 if count == "-" else int(count))
    return found


def first_line_of_tests(file):
    """Where the unit tests begin, which are no part of what is measured."""
    with open(os.path.join(ROOT, file)) as text:
        for number, line in enumerate(text, 1):
            if re.match(r"#\[cfg\((all\()?test\b", line):
                return number
    return 1 << 30


def group(file):
    if file.startswith("src/raw/"):
        return "the protocols (`src/raw`)"
    if file.startswith("sys/"):
        return "the system layer (`sys`)"
    return "the rest (`src`)"


def table(found):
    sums = collections.defaultdict(lambda: [0, 0, 0, 0])
    for file, (lines, branches) in found.items():
        for name in (group(file), "all"):
            for place, counts in ((0, lines), (2, branches)):
                sums[name][place] += sum(count > 0 for count in counts.values())
                sums[name][place + 1] += len(counts)
    yield "| part | lines | branches |"
    yield "|---|---|---|"
    for name in sorted(sums, key=lambda name: (name == "all", name)):
        hit, lines, taken, branches = sums[name]
        yield f"| {name} | {hit} of {lines}: {100 * hit / lines:.1f} % | {taken} of {branches}: {100 * taken / branches:.1f} % |"


def listed():
    """The lines in docs/coverage.md, by file."""
    entries, file, inside = collections.defaultdict(set), None, False
    with open(LIST) as text:
        for line in text.read().splitlines():
            if found := re.match(r"#+ `(.+)`$", line):
                file = found[1]
            elif line.startswith("```"):
                inside = not inside
            elif inside and file and line.strip():
                entries[file].add(line.strip())
    return entries


def named(file):
    """The lines of a file, each with the function that it is in: `function: line`."""
    function = ""
    with open(os.path.join(ROOT, file)) as text:
        for line in text.read().splitlines():
            if found := re.search(r"\bfn (\w+)", line.split("//")[0]):
                function = found[1]
            yield f"{function}: {line.strip()}"


def faults(found, entries):
    for file, texts in entries.items():
        there = set(named(file))
        yield from (f"{file} has no line {entry!r}" for entry in sorted(texts - there))
    for file in sorted(found):
        if not file.startswith(LISTED):
            continue
        source = list(named(file))
        for number, count in sorted(found[file][0].items()):
            line = source[number - 1]
            # What is left without letters closes something that has been listed.
            if count == 0 and re.match(r"\w*: (?!//).*\w", line):
                mark = "listed" if line in entries[file] else "NOT LISTED"
                print(f"{file}:{number}: {mark}: {line}")
                if line not in entries[file]:
                    yield f"{file}:{number} is not reached and not listed"


def main():
    if sys.argv[1:] not in ([], ["report"]):
        sys.exit(__doc__)
    found = measure(build() if sys.argv[1:] else run())
    print("\n" + "\n".join(table(found)) + "\n")
    wrong = list(faults(found, listed()))
    if wrong:
        sys.exit("\n" + "\n".join(wrong))
    print("\nall that is not reached in src/raw and sys is listed with its reason in docs/coverage.md")


if __name__ == "__main__":
    main()
