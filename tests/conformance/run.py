#!/usr/bin/env python3
"""Builds the extension and runs CPython's own tests of `threading` against it: `make conformance`.

    run.py [INTERPRETER ...]

Without arguments it takes the CPythons of the versions below that it finds on the path and in
pyenv, one of each version; with `--ends` the oldest and the newest of them. `--find` only says which.
"""

import glob
import json
import os
import shutil
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "target")))

# Those whose cases are listed.
VERSIONS = [(3, 9), (3, 10), (3, 11), (3, 12), (3, 13)]

# For one interpreter's tests.
TIMEOUT_SECONDS = 600

ASK = """
import importlib.util, json, platform, sys, sysconfig
has = lambda name: importlib.util.find_spec(name) is not None
is_usable = (
    platform.python_implementation() == "CPython"
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
    and has("venv") and has("test") and has("test.lock_tests")
)
print(json.dumps([list(sys.version_info[:3]), is_usable]))
"""


def ask(interpreter):
    """The version of an interpreter that can be used, or `None`."""
    try:
        done = subprocess.run([interpreter, "-c", ASK], capture_output=True, timeout=60)
        version, is_usable = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    version = tuple(version)
    return version if is_usable and version[:2] in VERSIONS else None


def find(candidates):
    """Interpreters by version; of each version the first."""
    found = {}
    for interpreter in candidates:
        version = ask(interpreter)
        if version is not None:
            found.setdefault(version[:2], (version, interpreter))
    return [found[version] for version in sorted(found)]


def candidates():
    yield "python3"
    for major, minor in VERSIONS:
        yield f"python{major}.{minor}"
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    yield from sorted(glob.glob(os.path.join(pyenv, "versions", "*", "bin", "python3")))


def build(interpreter):
    """Lints and builds the extension, once for all; puts it where `import threading` will look."""
    env = {**os.environ, "PYO3_PYTHON": interpreter, "CARGO_TARGET_DIR": TARGET}

    def cargo(*arguments):
        subprocess.run(["cargo", *arguments], cwd=HERE, env=env, check=True)

    cargo("fmt", "--check")
    cargo("clippy", "--quiet", "--locked", "--", "-D", "warnings")
    cargo("build", "--quiet", "--locked")
    folder = os.path.join(TARGET, "stand-in")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(os.path.join(HERE, "stand-in"), folder)
    extension = os.path.join(TARGET, "debug", "lib_threadbare.so")
    shutil.copy(extension, os.path.join(folder, "_threadbare.abi3.so"))
    return folder


def environment(interpreter, version, folder):
    """An environment in which `threading` is threadbare, in subprocesses and with `-I` too."""
    place = os.path.join(TARGET, "python{}.{}.{}".format(*version))
    make = [interpreter, "-m", "venv", "--without-pip", "--clear", place]
    subprocess.run(make, check=True)
    (packages,) = glob.glob(os.path.join(place, "lib", "python3*", "site-packages"))
    with open(os.path.join(packages, "threadbare.pth"), "w") as lines:
        print(f"import sys; sys.path.insert(0, {folder!r})", file=lines)
    return os.path.join(place, "bin", "python")


def run(*command):
    """Whether the command succeeds, and the last line that it prints, if it prints any."""
    print("+", *command, flush=True)
    try:
        done = subprocess.run(command, cwd=TARGET, stdout=subprocess.PIPE, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return False, f"not done after {TIMEOUT_SECONDS} s"
    return done.returncode == 0, (done.stdout.decode().splitlines() or [""])[-1]


def main():
    # Tests send themselves SIGINT, which who is started in the background may have been told to ignore.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments = sys.argv[1:]
    only_find = arguments == ["--find"]
    only_ends = arguments == ["--ends"]
    found = find(arguments if arguments and not (only_find or only_ends) else candidates())
    if only_ends:
        found = [*found[:1], *found[1:][-1:]]
    for version, interpreter in found:
        print("found CPython {}.{}.{}: {}".format(*version, interpreter), flush=True)
    if only_find or not found:
        if not found:
            print("found no CPython 3.9 to 3.13 with its test package")
        return bool(found)
    folder = build(found[0][1])
    closing = []
    for version, interpreter in found:
        python = environment(interpreter, version, folder)
        for script in ("suite.py", "signals.py", "departures.py"):
            is_ok, says = run(python, os.path.join(HERE, script))
            result = "passed" if is_ok else "FAILED"
            line = "CPython {}.{}.{} {} {}".format(*version, script, result)
            closing.append((is_ok, f"{line}: {says}" if says else line))
    print(*(line for _, line in closing), sep="\n")
    return all(is_ok for is_ok, _ in closing)


if __name__ == "__main__":
    sys.exit(not main())
