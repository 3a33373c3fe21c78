"""The two executors a pool runs on: threads, or the tasks of an event loop.

The pool is written once, in blocking style. Under `Threads` a wait blocks the thread; under `Tasks` the pool's code runs in
SQLAlchemy's greenlets and a wait suspends the task. Nothing else knows which of the two it is.
"""

# ruff: noqa: D102  what the methods do is said once, in the protocols

from __future__ import annotations

import asyncio
import contextvars
import select
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from types import FrameType
from typing import Any, Protocol

from sqlalchemy.util import greenlet_spawn

from dal.errors import UsageError
from dal.pool._internals import awaiting_frame, wait_for
from dal.pool.sites import Site, is_running, site

__all__ = ["READ", "WRITE", "Runtime", "Tasks", "Threads", "Waiter"]

READ, WRITE = 1, 2


class Waiter(Protocol):
    """A borrower in the queue: woken once, with an object or an error; `None` of both means the time ran out.

    What the functions below it on its stack have borrowed is kept in `below`, where a circle of waiting is looked for.
    """

    entry: Any
    error: BaseException | None
    below: list[Any]

    def give(self, entry: Any) -> bool:
        """Hand over an object; False when the borrower is gone. The pool's lock is held."""
        ...

    def fail(self, error: BaseException) -> None:
        """Wake the borrower with an error. The pool's lock is held."""
        ...

    def wait(self, seconds: float) -> None:
        """Sleep until woken or until the time is over."""
        ...


class Runtime(Protocol):
    """What a pool needs from its surroundings."""

    def waiter(self) -> Waiter:
        """Make a queue ticket for the caller."""
        ...

    def spawn(self, work: Callable[[], None], name: str) -> None:
        """Run something in the background."""
        ...

    def pause(self, seconds: float) -> None:
        """Sleep in the background; `stop` ends it early."""
        ...

    def stop(self) -> None:
        """Wake and end the background work."""
        ...

    def attach(self) -> None:
        """Bind to the caller's surroundings before background work starts."""
        ...

    def moved(self) -> bool:
        """Tell whether the background work stayed behind in other surroundings."""
        ...

    def reset(self) -> None:
        """Forget all background work: after a fork there is none."""
        ...

    def site(self, depth: int) -> Site:
        """Find the line of the application that called, `depth` frames up at the least."""
        ...

    def is_below(self, place: Site, frame: FrameType) -> bool:
        """Tell whether the function of a site still runs, below the caller of `frame`."""
        ...

    def drive(self, steps: Iterator[int], handle: int, deadline: float) -> bool:
        """Run steps that yield READ or WRITE where they wait for a socket; False when the deadline passes."""
        ...


class _ThreadWaiter:
    __slots__ = ("_asleep", "below", "entry", "error")

    def __init__(self) -> None:
        self.entry: Any = None
        self.error: BaseException | None = None
        self.below: list[Any] = []
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def give(self, entry: Any) -> bool:
        self.entry = entry
        self._asleep.release()
        return True

    def fail(self, error: BaseException) -> None:
        self.error = error
        self._asleep.release()

    def wait(self, seconds: float) -> None:
        self._asleep.acquire(timeout=max(0.0, min(seconds, threading.TIMEOUT_MAX)))


class Threads:
    """Blocking waits, and daemon threads for the background."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def waiter(self) -> Waiter:
        return _ThreadWaiter()

    def spawn(self, work: Callable[[], None], name: str) -> None:
        threading.Thread(target=work, name=name, daemon=True).start()

    def pause(self, seconds: float) -> None:
        self._stopped.wait(seconds)

    def stop(self) -> None:
        self._stopped.set()
        self._stopped = threading.Event()

    def attach(self) -> None:
        """Threads need no binding."""

    def moved(self) -> bool:
        return False

    def reset(self) -> None:
        self._stopped = threading.Event()

    site = staticmethod(site)

    def is_below(self, place: Site, frame: FrameType) -> bool:
        return is_running(place, frame)

    def drive(self, steps: Iterator[int], handle: int, deadline: float) -> bool:
        for step in steps:
            left = deadline - monotonic()
            if left <= 0 or not _ready(handle, step, left):
                return False
        return True


class _TaskWaiter:
    __slots__ = ("_woken", "below", "entry", "error")

    def __init__(self) -> None:
        self.entry: Any = None
        self.error: BaseException | None = None
        self.below: list[Any] = []
        self._woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def give(self, entry: Any) -> bool:
        if self._woken.done():
            return False
        self.entry = entry
        self._woken.set_result(None)
        return True

    def fail(self, error: BaseException) -> None:
        if not self._woken.done():
            self.error = error
            self._woken.set_result(None)

    def wait(self, seconds: float) -> None:
        timer = self._woken.get_loop().call_later(max(0.0, seconds), self._expire)
        try:
            wait_for(self._woken)
        finally:
            timer.cancel()

    def _expire(self) -> None:
        if not self._woken.done():
            self._woken.set_result(None)


class Tasks:
    """Suspending waits, and tasks of the running loop for the background."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def waiter(self) -> Waiter:
        return _TaskWaiter()

    def spawn(self, work: Callable[[], None], name: str) -> None:
        # An empty context: the borrower's deadline and trace must not follow the background work.
        task = asyncio.get_running_loop().create_task(greenlet_spawn(work), name=name, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def pause(self, seconds: float) -> None:
        wait_for(asyncio.sleep(seconds))

    def stop(self) -> None:
        current = asyncio.current_task()
        for task in list(self._tasks):
            if task is not current:
                task.cancel()

    def attach(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop and self._loop.is_running():
            raise UsageError(
                "this pool is at work in another event loop",
                hint="open one engine for each event loop, or use the engine in one only",
            )
        self._loop = loop

    def moved(self) -> bool:
        return self._loop is not None and self._loop is not asyncio.get_running_loop()

    def reset(self) -> None:
        self._loop = None
        self._tasks.clear()

    def site(self, depth: int) -> Site:
        return site(depth + 1, awaiting_frame())

    def is_below(self, place: Site, frame: FrameType) -> bool:
        return is_running(place, frame) or is_running(place, awaiting_frame())

    def drive(self, steps: Iterator[int], handle: int, deadline: float) -> bool:
        for step in steps:
            left = deadline - monotonic()
            if left <= 0 or not wait_for(_ready_in_loop(handle, step, left)):
                return False
        return True


def _ready(handle: int, step: int, seconds: float) -> bool:
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(handle, select.POLLIN if step == READ else select.POLLOUT)
        return bool(poll.poll(seconds * 1000))
    found = select.select([handle] if step == READ else [], [handle] if step == WRITE else [], [handle], seconds)
    return any(found)


async def _ready_in_loop(handle: int, step: int, seconds: float) -> bool:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_reader, loop.remove_reader) if step == READ else (loop.add_writer, loop.remove_writer)
    add(handle, lambda: None if ready.done() else ready.set_result(None))
    try:
        await asyncio.wait_for(ready, seconds)
    except TimeoutError:
        return False
    finally:
        remove(handle)
    return True
