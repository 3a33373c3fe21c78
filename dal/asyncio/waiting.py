"""How a stream of the async door waits: every wait is an await of the task it runs in."""

from __future__ import annotations

import asyncio
import inspect
import select
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar

from dal.asyncio._bridge import wait
from dal.streams.waiting import SLICE

__all__ = ["TaskWaiting"]

T = TypeVar("T")


class TaskWaiting:
    """Waits by suspending the task; see `dal.streams.waiting.Waiting`."""

    def __init__(self) -> None:
        self.stopped = False

    def ready(self, fd: int, seconds: float, *, write: bool = False, last: bool = False) -> bool:
        """Wait until a socket is readable, or also writable."""
        until = monotonic() + seconds
        while last or not self.stopped:
            left = until - monotonic()
            if _ready_now(fd, write):
                wait(asyncio.sleep(0))  # a stream that always has more must let other tasks run
                return True
            if left > 0 and wait(_ready(fd, min(left, SLICE), write)):
                return True
            if left <= SLICE:
                return False
        return False

    def rest(self, seconds: float) -> None:
        """Pause, or until stopped."""
        until = monotonic() + seconds
        while not self.stopped and (left := until - monotonic()) > 0:
            wait(asyncio.sleep(min(left, SLICE)))

    def settle(self, result: Any) -> Any:
        """Await what a caller's function returned, where it can be."""
        return wait(result) if inspect.isawaitable(result) else result

    def aside(self, function: Callable[[], T]) -> T:
        """Call something that blocks in another thread."""
        return wait(asyncio.to_thread(function))

    def stop(self) -> None:
        """End all waits."""
        self.stopped = True


def _ready_now(fd: int, write: bool) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN | (select.POLLOUT if write else 0))
    return bool(poll.poll(0))


async def _ready(fd: int, seconds: float, write: bool) -> bool:
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, event.set)
    if write:
        loop.add_writer(fd, event.set)
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(fd)
        if write:
            loop.remove_writer(fd)
    return True
