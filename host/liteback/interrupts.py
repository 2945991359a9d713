"""Ctrl-C that leaves no lock taken."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# A signal handler runs between any two steps of the main thread's Python code, so also in these methods of
# threading.Condition, whose lock is then taken and in nobody's `with`. gRPC waits in conditions nearly all the time:
# of the interrupts of a session's steps one in seven found one, and who wanted the lock next never got it.
_TAKING = frozenset({"__enter__", "__exit__", "_release_save", "_acquire_restore"})
_LATER = 0.005  # seconds
_POSTPONED_AT_MOST = 200  # a second: the lock may be what the main thread waits for in vain


class _Handler:
    """Raises KeyboardInterrupt, a little later where a lock is just being taken or given back."""

    def __init__(self) -> None:
        self._postponed = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _takes_a_lock(frame) and self._postponed < _POSTPONED_AT_MOST:
            self._postponed += 1
            threading.Timer(_LATER, os.kill, (os.getpid(), number)).start()
            return
        self._postponed = 0
        raise KeyboardInterrupt


def _takes_a_lock(frame: FrameType | None) -> bool:
    return frame is not None and frame.f_code.co_filename == threading.__file__ and frame.f_code.co_name in _TAKING


interrupt = _Handler()


@contextlib.contextmanager
def sparing_locks() -> Iterator[None]:
    """Inside, Ctrl-C leaves no lock taken. Only the main thread gets signals; a handler of the program's own stays."""
    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
