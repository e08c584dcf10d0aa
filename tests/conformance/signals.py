"""Signals reach Python's handlers in every call that blocks (SIG-2, SIG-3).

CPython's tests ask that of locks and `join` only. Started by run.py in an interpreter in which
`threading` is threadbare.
"""

import faulthandler
import signal
import threading
import time
import unittest

WATCHDOG_SECONDS = 60


class Alarm(Exception):
    pass


class Signals(unittest.TestCase):
    def setUp(self):
        faulthandler.dump_traceback_later(WATCHDOG_SECONDS, exit=True)
        self.addCleanup(faulthandler.cancel_dump_traceback_later)
        self.addCleanup(signal.signal, signal.SIGALRM, signal.getsignal(signal.SIGALRM))
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)

    def is_left(self, call, *args):
        """A call that nobody ends is left by what the handler raises."""

        def handler(signum, frame):
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise Alarm

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        with self.assertRaises(Alarm):
            call(*args)

    def held_elsewhere(self, lock):
        """Lets another thread acquire the lock, until the end of the test."""
        held = threading.Event()
        done = threading.Event()

        def hold():
            with lock:
                held.set()
                done.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        self.addCleanup(thread.join)
        self.addCleanup(done.set)
        return lock

    def test_acquire(self):
        for make in (threading.Lock, threading.RLock, threading.Condition, threading.Semaphore,
                     threading.BoundedSemaphore):
            with self.subTest(make.__name__):
                lock = self.held_elsewhere(make())
                self.is_left(lock.acquire)
                self.assertFalse(lock.acquire(blocking=False))

    def test_condition_wait(self):
        for lock in (threading.Lock(), threading.RLock()):
            with self.subTest(lock):
                changed = threading.Condition(lock)
                with changed:
                    self.is_left(changed.wait)
                    self.assertTrue(changed._is_owned())
                    self.assertTrue(repr(changed).endswith(", 0)>"), "no longer queued")

    def test_condition_wait_for(self):
        changed = threading.Condition()
        with changed:
            self.is_left(changed.wait_for, lambda: False)
            self.assertTrue(changed._is_owned())

    def test_event_wait(self):
        self.is_left(threading.Event().wait)

    def test_barrier_wait(self):
        barrier = threading.Barrier(2)
        self.is_left(barrier.wait)
        self.assertEqual((barrier.n_waiting, barrier.broken), (0, False))  # BAR-18

    def test_join(self):
        done = threading.Event()
        thread = threading.Thread(target=done.wait)
        thread.start()
        self.is_left(thread.join)
        self.assertTrue(thread.is_alive())
        done.set()
        thread.join()

    def test_a_handler_that_returns_changes_nothing(self):
        came = []
        signal.signal(signal.SIGALRM, lambda signum, frame: came.append(signum))
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        begun = time.monotonic()
        self.assertFalse(threading.Event().wait(0.2))
        self.assertGreaterEqual(time.monotonic() - begun, 0.2)
        self.assertTrue(came)


if __name__ == "__main__":
    unittest.main()
