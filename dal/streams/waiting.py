"""How a stream waits: for a socket, for a pause to end, and until it is told to stop.

Streams are written once, against these few methods. `ThreadWaiting` blocks its thread; the asyncio door has one that awaits.
Waits are cut into short slices, so that a stop from another thread needs no signal and no pipe.
"""

from __future__ import annotations

import select
import sys
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol, TypeVar

__all__ = ["SLICE", "ThreadWaiting", "Waiting"]

T = TypeVar("T")

SLICE = 0.1
"""Seconds after which a wait looks whether it was told to stop."""


class Waiting(Protocol):
    """What a stream needs of its executor."""

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        ...

    def ready(self, fd: int, seconds: float, *, write: bool = False, last: bool = False) -> bool:
        """Wait until a socket is readable, or also writable; False after that time, or when stopped (`last`: even then)."""
        ...

    def rest(self, seconds: float) -> None:
        """Pause, or until stopped."""
        ...

    def settle(self, result: Any) -> Any:
        """Return what a caller's function returned; under asyncio, what it returned is awaited where it can be."""
        ...

    def aside(self, function: Callable[[], T]) -> T:
        """Call something that blocks; under asyncio in another thread."""
        ...

    def stop(self) -> None:
        """End all waits, these and the next ones; may be called from anywhere."""
        ...


class ThreadWaiting:
    """Waits by blocking the thread.

    Example:
        >>> waiting = ThreadWaiting()
        >>> waiting.stop(), waiting.stopped
        (None, True)
    """

    def __init__(self) -> None:
        self._stop = threading.Event()

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def ready(self, fd: int, seconds: float, *, write: bool = False, last: bool = False) -> bool:
        """Wait until a socket is readable, or also writable.

        Args:
            fd: The socket.
            seconds: How long at most.
            write: Also wait until it is writable.
            last: Wait even when told to stop: to take leave.
        """
        until = monotonic() + seconds
        while last or not self._stop.is_set():
            left = until - monotonic()
            if _ready(fd, max(0.0, min(left, SLICE)), write):
                return True
            if left <= SLICE:
                return False
        return False

    def rest(self, seconds: float) -> None:
        """Pause, or until stopped.

        Args:
            seconds: How long.
        """
        self._stop.wait(seconds)

    def settle(self, result: Any) -> Any:
        """Return the result as it is.

        Args:
            result: What a caller's function returned.
        """
        return result

    def aside(self, function: Callable[[], T]) -> T:
        """Call something that blocks.

        Args:
            function: What to call.
        """
        return function()

    def stop(self) -> None:
        """End all waits."""
        self._stop.set()


def _ready(fd: int, seconds: float, write: bool) -> bool:
    if sys.platform == "win32":
        readable, writable, _ = select.select([fd], [fd] if write else [], [], seconds)
        return bool(readable or writable)
    poll = select.poll()
    poll.register(fd, select.POLLIN | (select.POLLOUT if write else 0))
    return bool(poll.poll(seconds * 1000))
