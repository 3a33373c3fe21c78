"""The two executors of a cache: threads, or the tasks of an event loop.

The cache is written once, in blocking style. Under `Threads` a wait blocks the thread; under `Tasks` its code runs in
SQLAlchemy's greenlets, and a wait suspends the task.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Any, Protocol, TypeVar

from sqlalchemy.util import greenlet_spawn

from dal.cache import _internals

__all__ = ["Runtime", "Tasks", "Threads"]

T = TypeVar("T")


class Runtime(Protocol):
    """What a cache needs from its surroundings."""

    is_async: bool

    def wait(self, future: Future[T]) -> T:
        """Wait for what another caller fetches."""
        ...

    def lead(self, work: Callable[[], T]) -> T:
        """Run what others wait for, to its end, even if the caller is cancelled."""
        ...

    def wait_until(self, event: threading.Event, seconds: float) -> bool:
        """Wait for an event, but not longer than some seconds; tells whether it happened."""
        ...

    def spawn(self, work: Callable[[], object]) -> None:
        """Run something in the background."""
        ...


class Threads:
    """Blocking waits, and daemon threads for the background."""

    is_async = False

    def wait(self, future: Future[T]) -> T:
        """Block until it is there."""
        return future.result()

    def lead(self, work: Callable[[], T]) -> T:
        """Run it here: nobody cancels a thread."""
        return work()

    def wait_until(self, event: threading.Event, seconds: float) -> bool:
        """Block until it happens."""
        return event.wait(seconds)

    def spawn(self, work: Callable[[], object]) -> None:
        """Run it in a thread."""
        threading.Thread(target=work, name="dal-cache-refresh", daemon=True).start()


class Tasks:
    """Suspending waits, and tasks of the running loop for the background."""

    is_async = True

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def wait(self, future: Future[T]) -> T:
        """Suspend the task until it is there; a task that is cancelled leaves the others waiting."""
        result: T = _internals.wait_for(asyncio.shield(asyncio.wrap_future(future)))
        return result

    def lead(self, work: Callable[[], T]) -> T:
        """Run it in a task of its own."""
        result: T = _internals.wait_for(asyncio.shield(self._task(work)))
        return result

    def wait_until(self, event: threading.Event, seconds: float) -> bool:
        """Look again and again until it happens."""
        end = monotonic() + seconds
        while not event.is_set() and monotonic() < end:
            _internals.wait_for(asyncio.sleep(0.002))
        return event.is_set()

    def spawn(self, work: Callable[[], object]) -> None:
        """Run it in a task, without the caller's deadline and trace."""
        self._task(work, contextvars.Context())

    def _task(self, work: Callable[[], Any], context: contextvars.Context | None = None) -> asyncio.Task[Any]:
        spawn: Any = greenlet_spawn
        task = asyncio.get_running_loop().create_task(spawn(work), name="dal-cache", context=context)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()
