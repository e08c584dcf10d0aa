"""Where the crate departs from CPython on purpose: each script once with either module `threading`.

Started by run.py in an interpreter in which that module is threadbare; without `site`, that is by
`-S`, the same interpreter has its own.
"""

import subprocess
import sys
import textwrap
import unittest


def output(script, *options):
    command = [sys.executable, *options, "-W", "ignore", "-c", textwrap.dedent(script)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    return done.stdout.decode().strip()


class Departures(unittest.TestCase):
    maxDiff = None

    def shows(self, script, *, here, there):
        """What the script prints with threadbare and with CPython's module."""
        self.assertEqual(output(script), here, "threadbare")
        self.assertEqual(output(script, "-S"), there, "CPython")

    def test_cond_16_a_notify_is_not_lost_on_a_waiter_whose_time_is_up(self):
        self.shows(
            """
            import threading, time

            changed = threading.Condition()
            results = []

            def wait(timeout):
                with changed:
                    results.append(changed.wait(timeout))

            def start(timeout, waiting):
                thread = threading.Thread(target=wait, args=(timeout,), daemon=True)
                thread.start()
                while True:
                    with changed:
                        if repr(changed).endswith(f", {waiting})>"):
                            return thread

            first = start(1, 1)
            second = start(None, 2)
            with changed:
                time.sleep(2)  # the first one's time is up, but it cannot return
                changed.notify(1)
            first.join()
            if results == [False]:
                second.join(1)
            print(results.count(True))
            """,
            here="1",
            there="0",
        )

    def test_mod_9_no_thread_inherits_a_lock_of_a_dead_one(self):
        self.shows(
            """
            import threading

            lock = threading.RLock()
            idents = []
            taken = []

            def leave():
                lock.acquire()
                idents.append(threading.get_ident())

            def take():
                taken.append(lock.acquire(False))
                idents.append(threading.get_ident())

            for target in [leave] + [take] * 20:
                thread = threading.Thread(target=target)
                thread.start()
                thread.join()
            print(any(taken), len(set(idents)) == len(idents))
            """,
            here="False True",
            there="True False",
        )

    def test_local_14_a_destructor_finds_its_own_thread(self):
        self.shows(
            """
            import threading

            data = threading.local()
            seen = []

            class Value:
                def __del__(self):
                    seen.append(threading.current_thread())

            def run():
                data.value = Value()

            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
            while not seen:
                pass
            print(seen[0] is thread)
            """,
            here="True",
            there="False",
        )

    def test_dum_5_no_foreign_thread_is_taken_for_an_earlier_one(self):
        self.shows(
            """
            import _thread, threading, time

            seen = []

            def run():
                seen.append((_thread.get_ident(), threading.current_thread()))

            for count in range(1, 21):
                _thread.start_new_thread(run, ())
                while len(seen) < count or _thread._count() > 0:
                    time.sleep(0.001)
            idents = {ident for ident, thread in seen}
            threads = {thread for ident, thread in seen}
            print(len(idents) < 20, len(threads) < 20)
            """,
            here="True False",
            there="True False" if sys.version_info >= (3, 13) else "True True",
        )

    def test_exit_4_an_error_in_a_callback_keeps_no_other_from_being_called(self):
        self.shows(
            """
            import threading

            threading._register_atexit(print, "called")
            threading._register_atexit(lambda: 1 / 0)
            """,
            here="called",
            there="",
        )

    def test_fork_4_a_thread_that_was_not_started_can_be_in_the_child(self):
        self.shows(
            """
            import os, threading

            thread = threading.Thread(target=lambda: print(thread.is_alive(), flush=True))
            child = os.fork()
            if child == 0:
                try:
                    thread.start()
                    thread.join()
                except RuntimeError as error:
                    print(type(error).__name__, flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            """,
            here="True",
            there="RuntimeError" if sys.version_info >= (3, 13) else "False",
        )

    def test_time_10_what_is_not_a_number_is_no_timeout(self):
        self.shows(
            """
            import threading

            changed = threading.Condition()
            calls = []

            def predicate():
                calls.append(None)
                if len(calls) == 1000:
                    raise RecursionError("it spins")

            try:
                with changed:
                    changed.wait_for(predicate, float("nan"))
            except Exception as error:
                print(type(error).__name__)
            """,
            here="ValueError",
            there="RecursionError",
        )

    def test_time_7_a_timeout_that_is_too_large_errs_at_once(self):
        self.shows(
            """
            import threading

            try:
                print(threading.Semaphore(1).acquire(timeout=1e100))
            except OverflowError:
                print("OverflowError")
            """,
            here="OverflowError",
            there="True",
        )

    def test_cond_18_waiting_for_what_is_true_needs_the_lock(self):
        self.shows(
            """
            import threading

            try:
                print(threading.Condition().wait_for(lambda: "true"))
            except RuntimeError:
                print("RuntimeError")
            """,
            here="RuntimeError",
            there="true",
        )


if __name__ == "__main__":
    unittest.main()
