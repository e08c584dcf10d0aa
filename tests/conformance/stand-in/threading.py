"""The module `threading`, made of threadbare.

For CPython's tests: with this folder first on the path, `import threading` finds it. What is here
and not in the crate concerns Python's own objects: arguments, texts, classes to be derived from,
what the interpreter traces, where it prints.
"""

import functools as _functools
import sys as _sys
import warnings as _warnings
from _weakrefset import WeakSet
from traceback import print_exception as _print_exception
from weakref import WeakValueDictionary as _WeakValueDictionary

import _threadbare
from _threadbare import (
    TIMEOUT_MAX, Barrier, BoundedSemaphore, BrokenBarrierError, Condition as _Condition,
    Event as _Event, Lock, RLock as _RLock, Semaphore, local,
)

__all__ = [
    "get_ident", "get_native_id", "active_count", "Condition", "current_thread", "enumerate",
    "main_thread", "TIMEOUT_MAX", "Event", "Lock", "RLock", "Semaphore", "BoundedSemaphore",
    "Thread", "Barrier", "BrokenBarrierError", "Timer", "ThreadError", "setprofile", "settrace",
    "local", "stack_size", "excepthook", "ExceptHookArgs", "getprofile", "gettrace",
    "setprofile_all_threads", "settrace_all_threads",
]

ThreadError = RuntimeError

_PyRLock = _CRLock = _RLock


def _deprecated(old, new):
    _warnings.warn(f"{old}() is deprecated, {new} instead", DeprecationWarning, stacklevel=3)


def RLock(*args, **kwargs):
    if args or kwargs:
        _warnings.warn("Passing arguments to RLock is deprecated", DeprecationWarning, stacklevel=2)
    return _RLock(*args, **kwargs)


class Condition(_Condition):
    def notifyAll(self):
        _deprecated("notifyAll", "use notify_all()")
        self.notify_all()


class Event(_Event):
    # CPython's event is a condition on a lock, and a test looks at that. The crate's is not.
    _cond = _functools.cached_property(lambda self: Condition(Lock()))

    def isSet(self):
        _deprecated("isSet", "use is_set()")
        return self.is_set()


# Functions about threads

def get_ident():
    return _threadbare.get_ident()


def get_native_id():
    return _threadbare.get_native_id()


def stack_size(size=0):
    return _threadbare.stack_size(size)


def active_count():
    return _threadbare.active_count()


def current_thread():
    return _thread_of(_threadbare.current())


def main_thread():
    return _thread_of(_threadbare.main())


def enumerate():
    return [_thread_of(handle) for handle in _threadbare.enumerate()]


def activeCount():
    _deprecated("activeCount", "use active_count()")
    return active_count()


def currentThread():
    _deprecated("currentThread", "use current_thread()")
    return current_thread()


# Functions that the interpreter calls at each line and call

_trace_hook = None
_profile_hook = None


def settrace(func):
    global _trace_hook
    _trace_hook = func


def gettrace():
    return _trace_hook


def settrace_all_threads(func):
    settrace(func)
    _sys._settraceallthreads(func)


def setprofile(func):
    global _profile_hook
    _profile_hook = func


def getprofile():
    return _profile_hook


def setprofile_all_threads(func):
    setprofile(func)
    _sys._setprofileallthreads(func)


# Threads

# The objects of threads, by handle. A running thread keeps its own.
_threads = _WeakValueDictionary()
_dangling = WeakSet()


def _name_of(target):
    """What is added to a default name, since 3.10 (THR-4)."""
    name = getattr(target, "__name__", None)
    if target is None or name is None or _sys.version_info < (3, 10):
        return None
    return str(name)


class Thread:
    _handle = None  # of one whose __init__ was not called

    def __init__(self, group=None, target=None, name=None, args=(), kwargs=None, *, daemon=None):
        assert group is None, "group argument must be None for now"
        if excepthook is None:
            raise RuntimeError("threading.excepthook is None")
        self._target = target
        self._args = args
        self._kwargs = {} if kwargs is None else kwargs
        self._set_handle(self._make_handle(
            str(name) if name else None,
            _name_of(target),
            daemon if daemon is None else bool(daemon),
        ))

    _make_handle = _threadbare.Handle

    def _set_handle(self, handle):
        self._handle = handle
        self._stderr = _sys.stderr  # HOOK-3
        self._first_excepthook = excepthook  # HOOK-6
        _threads[handle] = self
        _dangling.add(self)

    @property
    def _known(self):
        assert self._handle is not None, "Thread.__init__() was not called"
        return self._handle

    def start(self):
        if self._handle is None:
            raise RuntimeError("thread.__init__() not called")
        if _sys.is_finalizing():
            raise RuntimeError("can't create new thread at interpreter shutdown")
        self._handle.start(self._bootstrap)

    def _bootstrap(self):
        if _trace_hook is not None:
            _sys.settrace(_trace_hook)
        if _profile_hook is not None:
            _sys.setprofile(_profile_hook)
        self.run()

    def run(self):
        try:
            if self._target is not None:
                self._target(*self._args, **self._kwargs)
        finally:
            del self._target, self._args, self._kwargs

    def join(self, timeout=None):
        if self._handle is None:
            raise RuntimeError("Thread.__init__() not called")
        self._handle.join(timeout)

    def is_alive(self):
        return self._known.is_alive()

    @property
    def name(self):
        return self._known.name

    @name.setter
    def name(self, name):
        self._known.name = str(name)

    @property
    def ident(self):
        return self._known.ident

    @property
    def native_id(self):
        return self._known.native_id

    @property
    def daemon(self):
        return self._known.daemon

    @daemon.setter
    def daemon(self, daemon):
        if self._handle is None:
            raise RuntimeError("Thread.__init__() not called")
        self._handle.daemon = bool(daemon)

    def __repr__(self):
        crate_class, _, rest = repr(self._known).partition("(")
        return f"<{type(self).__name__}({rest}"

    def getName(self):
        _deprecated("getName", "get the name attribute")
        return self.name

    def setName(self, name):
        _deprecated("setName", "set the name attribute")
        self.name = name

    def isDaemon(self):
        _deprecated("isDaemon", "get the daemon attribute")
        return self.daemon

    def setDaemon(self, daemon):
        _deprecated("setDaemon", "set the daemon attribute")
        self.daemon = daemon


class Timer(Thread):
    def __init__(self, interval, function, args=None, kwargs=None):
        self._timer = _threadbare.Timer()
        super().__init__()
        self.interval = interval
        self.function = function
        self.args = [] if args is None else args
        self.kwargs = {} if kwargs is None else kwargs
        self.finished = self._timer.finished()

    def _make_handle(self, name, target_name, daemon):
        return self._timer.handle()

    def start(self):
        self._timer.set_interval(self.interval)
        super().start()

    def run(self):
        self.function(*self.args, **self.kwargs)

    def cancel(self):
        self._timer.cancel()


class _MainThread(Thread):
    pass


class _DummyThread(Thread):
    pass


_CLASSES = {cls.__name__: cls for cls in (Thread, Timer, _MainThread, _DummyThread)}


def _thread_of(handle):
    """The object of a thread; of one that was not made here, or is gone, made now."""
    thread = _threads.get(handle)
    if thread is None:
        crate_class = repr(handle)[1:].partition("(")[0]
        thread = object.__new__(_CLASSES[crate_class])
        thread._set_handle(handle)
        if type(thread) is _DummyThread and handle == _threadbare.current():
            _own.thread = thread
    return thread


def __getattr__(name):
    if name == "_active":  # a test asks who is in it
        return {thread.ident: thread for thread in enumerate()}
    raise AttributeError(f"module 'threading' has no attribute {name!r}")


# What keeps the object of a thread that was not made here.
_own = local()


# Exceptions that end threads

class ExceptHookArgs(tuple):
    exc_type = property(lambda self: self[0])
    exc_value = property(lambda self: self[1])
    exc_traceback = property(lambda self: self[2])
    thread = property(lambda self: self[3])


def excepthook(args, /):
    if args.exc_type == SystemExit:
        return
    stderr = _sys.stderr
    if stderr is None and args.thread is not None:
        stderr = args.thread._stderr
    if stderr is None:
        return
    name = get_ident() if args.thread is None else args.thread.name
    print(f"Exception in thread {name}:", file=stderr, flush=True)
    _print_exception(args.exc_type, args.exc_value, args.exc_traceback, file=stderr)
    stderr.flush()


__excepthook__ = excepthook


def _report(exception, handle):
    """What the crate calls with an exception that ends a thread."""
    thread = _thread_of(handle)
    args = ExceptHookArgs([type(exception), exception, exception.__traceback__, thread])
    try:
        (excepthook or thread._first_excepthook)(args)
    except Exception as another:
        another.__suppress_context__ = True
        stderr = _sys.stderr or thread._stderr
        print("Exception in threading.excepthook:", file=stderr, flush=True)
        _sys.excepthook(type(another), another, another.__traceback__)


_threadbare.set_excepthook(_report)


# The end of the program, and forks

def _register_atexit(func, *args, **kwargs):
    _threadbare.register_atexit(_functools.partial(func, *args, **kwargs))


def _shutdown():
    """Called by the interpreter before it ends."""
    _threadbare.shutdown()


_main = main_thread()


def _after_fork():
    global _main
    _main = main_thread()
    if type(_main) is _DummyThread:
        _main.__class__ = _MainThread


import os as _os
_os.register_at_fork(after_in_child=_after_fork)
