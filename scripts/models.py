#!/usr/bin/env python3
"""Runs the models of tests/loom/, and shows of each that it can fail.

    models.py explore    every model as it is; and that docs/models.md says what it explored
    models.py table      the same, but writes docs/models.md
    models.py seeded [TEXT]
                         every bug of tests/loom/seeds.toml, or those with TEXT in their names, in a
                         copy of the sources

Each model runs in a process of its own, as many at once as there are cores. It counts its executions
itself (tests/loom/model.rs).

The copy, under target/seeded/, has all bugs, of which each process takes one: seeding.py says how.
"""

import collections
import concurrent.futures
import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading

from seeding import ROOT, Wrong, check_all_are_named, copy, environment, read_seeds

SEEDS = ROOT / "tests/loom/seeds.toml"
TABLE = ROOT / "docs/models.md"
TARGET = ROOT / "target/loom"
SEEDED = ROOT / "target/seeded"
COPY = SEEDED / "sources"

# What the models are built from.
COPIED = ["src", "sys", "tests/loom", "Cargo.toml", "Cargo.lock"]
# Of Cargo.toml, what is left out in the copy: targets whose files are not there, and the lints.
LEFT_OUT = re.compile(r"\[\[(test|bench)\]\]|\[lints\]")

# For one model, in seconds. None hangs: loom knows when all its threads wait, and how many steps they
# make. So this only stands for a machine that is too slow.
TIMEOUT = 1200

Run = collections.namedtuple("Run", "passed seconds bound executions why")


# The copy


def copy_sources(seeds):
    def changed_text(name, text):
        if name != "Cargo.toml":
            return text
        sections = re.split(r"(?m)^(?=\[)", text.decode())
        manifest = "".join(section for section in sections if not LEFT_OUT.match(section))
        # The sources have been looked at where they are.
        return f'{manifest}\n[lints.rust]\nwarnings = "allow"\n'.encode()

    copy(seeds, COPIED, ["src"], COPY, changed_text)


# Building and running


def build(directory):
    """The test program that has the models."""
    flags = f"{os.environ.get('RUSTFLAGS', '')} --cfg threadbare_model".strip()
    # Not the same for both: cargo would take what it has built of the one for the other.
    target = TARGET if directory == ROOT else SEEDED / "build"
    environment = dict(os.environ, RUSTFLAGS=flags, CARGO_TARGET_DIR=str(target))
    command = "cargo test --release --test loom --no-run --message-format=json-render-diagnostics"
    built = subprocess.run(
        command.split(), cwd=directory, env=environment, stdout=subprocess.PIPE, text=True
    )
    if built.returncode != 0:
        raise Wrong("the models do not compile" + (" with the seeds" if directory == COPY else ""))
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "loom":
            return message["executable"]
    raise Wrong("cargo has built no program")


def models_of(program):
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
    return re.findall(r"^(\S+): test$", listed.stdout, re.M)


def run(program, model, seed=None):
    # With one thread libtest runs the model on the main one, and then there is no other.
    command = [program, model, "--exact", "--nocapture", "--test-threads=1"]
    with tempfile.TemporaryFile() as output:
        # Waited for by hand, to learn what it used.
        process = subprocess.Popen(
            command, env=environment(seed), stdout=output, stderr=subprocess.STDOUT
        )
        watchdog = threading.Timer(TIMEOUT, process.kill)
        watchdog.start()
        _, status, used = os.wait4(process.pid, 0)
        watchdog.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read().decode(errors="replace")
    seconds = used.ru_utime + used.ru_stime
    explored = re.findall(r"^(?:test .* \.\.\. )?explored: bound (\d+), executions (\d+)$", said, re.M)
    bounds = "/".join(sorted({bound for bound, _ in explored}))
    executions = sum(int(executions) for _, executions in explored)
    panics = re.findall(r"panicked at ([^\n]*):\n([^\n]*)", said)
    place, message = panics[0] if panics else ("", "")
    place = re.sub(r"^/.*/(?=[^/]+/src/)", "", place)  # a dependency's
    why = f"{place} {message}" if panics else f"ended with {process.returncode}: {said[-300:]}"
    passed = None  # neither, if the program ended in any other way
    if process.returncode == 0 and "test result: ok. 1 passed; 0 failed" in said:
        passed = True
    elif panics and f"\nfailures:\n    {model}\n\ntest result: FAILED. 0 passed; 1 failed" in said:
        passed = False
    return Run(passed, seconds, bounds, executions, why)


def run_all(jobs):
    """The runs of `(program, model, seed)`, each with its job, as they end."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(run, *job): job for job in jobs}
        for ended in concurrent.futures.as_completed(running):
            yield running[ended], ended.result()


# The table

HEAD = """# The models

Written by `make models`; `make loom` compares. What the models are, and what they do not show, is said
in `tests/loom/main.rs`.

- A model is a test under `tests/loom/`; its name is the id and the property, joined by underscores.
- Bound: the most preemptions in an execution. It is 3, and less where one more takes too long.
- Executions: how many loom explored: all that there are up to the bound. The same on every machine.
- Seconds: of processor time, in a release build, on a virtual machine with 2 cores (x86_64).
- Seeds: bugs with which the model fails, as `make seeded` shows. They are listed below the models.
"""


def property_of(model):
    """`lock_3_and_4_it_holds` as `LOCK-3, LOCK-4` and `it holds`."""
    name = model.rsplit("::", 1)[1]
    prefix = re.match(r"([a-z]+)_(\d+(?:_and_\d+)*)_", name)
    if not prefix:
        return "", name.replace("_", " ")
    ids = ", ".join(f"{prefix[1].upper()}-{number}" for number in prefix[2].split("_and_"))
    return ids, name[prefix.end() :].replace("_", " ")


def heading(model):
    return model.rsplit("::", 1)[0].replace("::", ", ")


def table(models, seeds, runs):
    lines = [HEAD.rstrip()]
    part = None
    for model in sorted(models, key=heading):
        if heading(model) != part:
            part = heading(model)
            lines.append(f"\n## {part}\n")
            lines.append("| id | property | bound | executions | seconds | seeds |")
            lines.append("|---|---|---|---|---|---|")
        ran = runs[model]
        caught = ", ".join(seed.name for seed in seeds if model in seed.failing)
        seconds = f"{ran.seconds:.1f}" if ran.seconds >= 0.1 else "< 0.1"
        cells = [*property_of(model), ran.bound, f"{ran.executions:,}", seconds, caught]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append(f"\n## The seeds\n\n{len(seeds)}, for {len(models)} models.\n")
    lines.append("| seed | in | bug |\n|---|---|---|")
    for seed in seeds:
        function = re.sub(r".*\bfn ", "", seed.function, flags=re.S)
        lines.append(f"| {seed.name} | `{seed.file}`, `{function}` | {seed.bug} |")
    return "\n".join(lines) + "\n"


ROW = re.compile(r"(?m)^((?:\|[^|\n]*){2}\|)([^|\n]*)\|([^|\n]*)\|([^|\n]*)\|([^|\n]*\|)$")


def fixed(text, is_explored):
    """The lines of the table without the seconds, and without what takes exploring if not explored."""
    return ROW.sub(r"\1\2|\3|\5" if is_explored else r"\1\5", text).splitlines()


def old_table():
    return TABLE.read_text() if TABLE.exists() else ""


def compare(new, is_explored):
    """Whether the table is `new`, but for the seconds; says where it is not."""
    old, new = fixed(old_table(), is_explored), fixed(new, is_explored)
    differing = list(difflib.unified_diff(old, new, "docs/models.md", "what is there", "", "", 0))
    if differing:
        print("docs/models.md is not what it should be; `make models` writes it:")
        print("\n".join(line.rstrip("\n") for line in differing[:30]))
    return not differing


def seconds_before(models):
    """How long each model took when the table was written."""
    said = {}
    for section in old_table().split("\n## "):
        for row in ROW.finditer(section):
            said[section.splitlines()[0], row[1].split("|")[2].strip()] = row[4].strip(" <")
    return {
        model: float(said.get((heading(model), property_of(model)[1]), 1000)) for model in models
    }


# What the commands do


def finish(passed, failed):
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def explore(writes):
    seeds = read_seeds(SEEDS, "models")
    program = build(ROOT)
    models = models_of(program)
    check_all_are_named(seeds, "models", models)
    before = seconds_before(models)
    longest_first = sorted(models, key=before.get, reverse=True)
    runs = {}
    for (_, model, _), ran in run_all((program, model, None) for model in longest_first):
        if ran.passed and not ran.executions:
            ran = ran._replace(passed=False, why="does not say what it explored: see `check`")
        runs[model] = ran
        end = "ok" if ran.passed else f"FAILED: {ran.why}"
        print(f"{model}: {ran.executions} executions, {ran.seconds:.1f} s, {end}", flush=True)
    failed = sum(not ran.passed for ran in runs.values())
    new = table(models, seeds, runs)
    if failed:
        return finish(len(models) - failed, failed)
    if writes:
        TABLE.write_text(new)
        return finish(len(models), 0)
    is_right = compare(new, is_explored=True)
    return finish(len(models) + is_right, 1 - is_right)


def seeded(only=""):
    seeds = read_seeds(SEEDS, "models")
    chosen = [seed for seed in seeds if only in seed.name]
    if not chosen:
        raise Wrong(f"no seed has {only} in its name")
    copy_sources(seeds)
    program = build(COPY)
    models = models_of(program)
    check_all_are_named(seeds, "models", models)
    nothing = collections.defaultdict(lambda: Run(None, 0, "", 0, ""))
    is_right = compare(table(models, seeds, nothing), is_explored=False)
    passed, failed = int(is_right), int(not is_right)
    # Without a seed the copy is as good as the sources: the quickest model of each part shows it.
    before = seconds_before(models)
    quickest = {heading(model): model for model in sorted(models, key=before.get, reverse=True)}
    unseeded = [(program, model, None) for model in quickest.values()]
    jobs = unseeded + [(program, model, seed) for seed in chosen for model in seed.failing]
    slowest = 0, ""
    for (_, model, seed), ran in run_all(jobs):
        is_right = ran.passed is (seed is None)
        passed, failed = passed + is_right, failed + (not is_right)
        what = seed.name if seed else "no seed"
        if seed:
            end = {False: "caught", True: "MISSED", None: "BROKEN"}[ran.passed]
        else:
            end = "ok" if ran.passed else "FAILED"
        why = "" if ran.passed else ran.why
        print(f"{end}  {what}  {model}  {ran.seconds:.1f} s  {why}", flush=True)
        slowest = max(slowest, (ran.seconds, f"{what} in {model}"))
    print(f"the slowest: {slowest[1]}, {slowest[0]:.1f} s")
    return finish(passed, failed)


def main(command="", *rest):
    commands = {"explore": lambda: explore(False), "table": lambda: explore(True), "seeded": seeded}
    try:
        if command not in commands:
            raise Wrong(f"what to do is one of {', '.join(commands)}")
        return commands[command](*rest)
    except Wrong as wrong:
        print(f"models.py: {wrong}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
