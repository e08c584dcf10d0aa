"""Runs CPython's tests of `threading` in this interpreter, in which that module is threadbare.

Started by run.py, with what `cases.txt` says about each case. Writes a line for each case that ran.
"""

import argparse
import faulthandler
import sys
import unittest

MODULES = ["test_threading", "test_threading_local"]

# A case that takes longer hangs: its stacks are shown and the interpreter ends.
WATCHDOG_SECONDS = 120


def load():
    """All cases by name: those of lock_tests are in the classes that test_threading makes of them."""
    import _thread
    import threading

    # test_threading_local takes `local` from here instead of from `threading`.
    _thread._local = threading.local
    cases = {}
    for module in MODULES:
        collect(unittest.defaultTestLoader.loadTestsFromName(f"test.{module}"), module, cases)
    return cases


def collect(suite, module, cases):
    for case in suite:
        if isinstance(case, unittest.TestSuite):
            collect(case, module, cases)
            continue
        cls, _, name = case.id().rpartition(".")
        cls = cls.rpartition(".")[2]
        key = f"{module}.{cls}.{name}"
        if type(case).__module__ == "doctest":
            # Once for the module's own class, once for the one that stands in for _thread's.
            key = f"{module}.doctest.{cls}.{name}"
            if key in cases:
                key += ".swapped"
        assert key not in cases, key
        cases[key] = case


class Result(unittest.TextTestResult):
    def startTest(self, test):
        faulthandler.dump_traceback_later(WATCHDOG_SECONDS, exit=True, file=sys.__stderr__)
        super().startTest(test)

    def stopTest(self, test):
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--list", action="store_true", help="print the cases, run nothing")
    parser.add_argument("--ran", help="file for the names of the cases that ran")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    cases = load()
    if options.list:
        print(*sorted(cases), sep="\n")
        return 0
    suite = unittest.TestSuite(cases[name] for name in options.names or sorted(cases))
    runner = unittest.TextTestRunner(resultclass=Result, verbosity=2)
    result = runner.run(suite)
    skipped = {case.id() for case, _ in result.skipped}
    if options.ran:
        with open(options.ran, "w") as ran:
            for name in options.names:
                if cases[name].id() not in skipped:
                    print(name, file=ran)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
