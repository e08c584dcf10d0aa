"""Runs CPython's tests of `threading` in this interpreter, in which that module is threadbare.

Started by run.py. `cases.txt` says which cases are run; one that it does not name, or that is to
run and does not, is a failure.
"""

import _thread
import argparse
import collections
import faulthandler
import importlib
import os
import sys
import threading
import types
import unittest

# Those of lock_tests are in the classes that test_threading makes of them.
MODULES = ["test_threading", "test_threading_local", "test_threadsignals"]

# A case that takes longer hangs: its stacks are shown and the interpreter ends.
WATCHDOG_SECONDS = 120


def load():
    """All cases, by name."""
    cases = {}
    for module in MODULES:
        swap(importlib.import_module(f"test.{module}"))
        collect(unittest.defaultTestLoader.loadTestsFromName(f"test.{module}"), module, cases)
    return cases


def swap(module):
    """Gives a module threadbare's classes where it takes CPython's from `_thread`."""
    swapped = types.SimpleNamespace(**vars(_thread))
    swapped._local = threading.local
    swapped.allocate_lock = threading.Lock
    swapped.RLock = threading.RLock
    if module.__name__ == "test.test_threading_local":
        module._thread = swapped
        module.ThreadLocalTest._local = threading.local
    if module.__name__ == "test.test_threadsignals":
        module.thread = swapped
        module.signalled_all = threading.Lock()


def collect(suite, module, cases):
    for case in suite:
        if isinstance(case, unittest.TestSuite):
            collect(case, module, cases)
            continue
        name = ".".join(case.id().split(".")[-2:])
        if type(case).__module__ == "doctest":
            # Once for CPython's class in Python, then for the one that is swapped.
            is_first = f"{module}.doctest" not in cases
            name = "doctest" if is_first else "doctest_swapped"
        key = f"{module}.{name}"
        assert key not in cases, key
        cases[key] = case


class Result(unittest.TextTestResult):
    def startTest(self, test):
        faulthandler.dump_traceback_later(WATCHDOG_SECONDS, exit=True, file=sys.__stderr__)
        super().startTest(test)

    def stopTest(self, test):
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)


def listed():
    """What the list says about each case: `run`, `swapped` or `out`."""
    says = {}
    here = "@{}.{}".format(*sys.version_info)
    with open(os.path.join(os.path.dirname(__file__), "cases.txt")) as lines:
        for line in lines:
            words = line.split()
            if not words or words[0] == "#":
                continue
            what, name = words[0], words[1].rstrip(":")
            if what.startswith("out@"):
                assert ":" in line and says.get(name), f"an exception from a line above: {line}"
                if what == "out" + here:
                    says[name] = "out"
                continue
            assert what in ("run", "swapped", "out"), line
            assert (what == "out") == (":" in line), f"a reason is for what is left out: {line}"
            assert name not in says, f"listed twice: {line}"
            says[name] = what
    return says


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the cases, run nothing")
    parser.add_argument("name", nargs="*", help="run these cases, whatever the list says")
    options = parser.parse_args()
    cases = load()
    if options.list:
        print(*sorted(cases), sep="\n")
        return True
    says = listed()
    unknown = sorted(cases.keys() - says.keys())
    for name in unknown:
        print(f"not in cases.txt: {name}", file=sys.stderr)
    names = options.name or sorted(name for name in cases if says.get(name, "out") != "out")
    suite = unittest.TestSuite(cases[name] for name in names)
    result = unittest.TextTestRunner(resultclass=Result, verbosity=2).run(suite)
    for case, reason in result.skipped:
        print(f"skipped though listed: {case.id()}: {reason}", file=sys.stderr)
    if not options.name:
        count = collections.Counter(says.get(name) for name in cases)
        print(
            f"{len(cases)} cases: {count['run']} run, {count['swapped']} swapped, "
            f"{count['out']} left out, {len(unknown)} not listed; "
            f"{len(result.failures) + len(result.errors)} failed, {len(result.skipped)} skipped"
        )
    is_complete = not unknown and not result.skipped and result.testsRun == len(names)
    return is_complete and result.wasSuccessful()


if __name__ == "__main__":
    sys.exit(not main())
