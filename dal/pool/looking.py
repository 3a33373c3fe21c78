"""Look at a socket without waiting: has anything arrived, or has the other end hung up?

`select.poll()` lets go of the interpreter for every look, even one that cannot wait, and where a core is to spare another
thread takes it: with four threads a borrow then costs 2.8 times what QueuePool's does. libc's own `poll()` through ctypes
keeps it, for 0.4 µs more; an event loop's one thread has nobody to give way to and looks the quicker way.
"""

from __future__ import annotations

import ctypes
import select
from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["HANG_UP", "Look"]

HANG_UP: int = getattr(select, "POLLRDHUP", 0) | getattr(select, "POLLHUP", 0) | getattr(select, "POLLERR", 0)
_EVENTS = getattr(select, "POLLIN", 0) | HANG_UP


class _PollFd(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


class Look:
    """A socket, to be looked at by one thread at a time.

    Args:
        handle: Its file descriptor.
        threads: Whether threads share the pool, so that a look should keep the interpreter.

    Attributes:
        poll: Called with 0: tells whether something is there; then it has arrived, or the other end is gone.
    """

    __slots__ = ("_pollfd", "_ready", "poll")

    poll: Callable[[int], object]

    def __init__(self, handle: int, *, threads: bool = True) -> None:
        self._pollfd = _PollFd(handle, _EVENTS, 0)
        by_libc = _libc_poll if threads else None
        self._ready: Callable[[int], Any] | None = None
        if by_libc is None:
            self.poll = self._ready = _ready(handle)
        else:
            self.poll = partial(by_libc, ctypes.addressof(self._pollfd), 1)

    def events(self) -> int:
        """Return what there is to see, as a mask of `select.POLLIN`, `HANG_UP` and so on."""
        if self._ready is not None:
            return next((seen for _, seen in self._ready(0)), 0)
        return self._pollfd.revents if self.poll(0) else 0


def _ready(handle: int) -> Callable[[int], Any]:
    if not hasattr(select, "poll"):
        return lambda _: [(found, 0) for found in select.select([handle], [], [], 0)[0]]
    poll = select.poll()
    poll.register(handle, _EVENTS)
    return poll.poll


def _find_poll() -> Callable[..., int] | None:
    """Return libc's `poll()`, called with the interpreter held, or None where there is none."""
    try:
        poll: Any = ctypes.PyDLL(None).poll
    except (TypeError, OSError, AttributeError):
        return None
    poll.argtypes, poll.restype = (ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int), ctypes.c_int
    found: Callable[..., int] = poll
    return found


_libc_poll = _find_poll()
