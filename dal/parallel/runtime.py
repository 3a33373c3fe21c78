"""The two executors a scan runs on: threads, or the tasks of an event loop. The scan itself is written once, in blocking style.

Under `Threads` a wait blocks the thread; under `Tasks` the scan's code runs in SQLAlchemy's greenlets and a wait suspends the
task. A function of the application runs in the worker's thread, or, under tasks, in a thread beside the loop; a coroutine
function is awaited.
"""

# ruff: noqa: D102  what the methods do is said once, in the protocol

from __future__ import annotations

import asyncio
import contextvars
import inspect
import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy.util import await_only, greenlet_spawn

from dal._interrupts import interrupt
from dal.errors import UsageError

__all__ = ["Runtime", "Tasks", "Threads"]


class Runtime(Protocol):
    """What a scan needs from its surroundings; one for each run."""

    def check(self, work: Callable[..., Any]) -> None:
        """Refuse a function that cannot run here."""
        ...

    def start(self, work: Callable[[], None], name: str) -> None:
        """Run a worker beside the caller."""
        ...

    def call(self, work: Callable[..., Any], *values: Any) -> Any:
        """Call a function of the application."""
        ...

    def aside(self, work: Callable[..., Any], *values: Any) -> Any:
        """Call something that blocks, and hold up nobody else."""
        ...

    def put(self, result: Any) -> None:
        """Hand something to the caller."""
        ...

    def get(self) -> Any:
        """Wait for what a worker hands over."""
        ...

    def allow(self, parts: int = 1) -> None:
        """Let workers begin so many parts more."""
        ...

    def may_begin(self) -> bool:
        """Wait until another part may begin; False when the scan is stopped."""
        ...

    def interrupt(self, driver: Any) -> None:
        """Break off the statement that a worker's driver connection is at."""
        ...

    def stop(self) -> None:
        """Let no further part begin."""
        ...

    def join(self) -> None:
        """Wait until the workers are gone."""
        ...


class Threads:
    """Workers that are threads."""

    def __init__(self) -> None:
        self._results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._allowed = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def check(self, work: Callable[..., Any]) -> None:
        if inspect.iscoroutinefunction(work):
            raise UsageError(
                f"{work!r} is a coroutine function", hint="await it from an AsyncDatabase, or hand in a plain function"
            )

    def start(self, work: Callable[[], None], name: str) -> None:
        # Each in a copy of the caller's context: its deadline and its loading policies are in force there too.
        thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def call(self, work: Callable[..., Any], *values: Any) -> Any:
        return work(*values)

    aside = call

    def put(self, result: Any) -> None:
        self._results.put(result)

    def get(self) -> Any:
        return self._results.get()

    def allow(self, parts: int = 1) -> None:
        self._allowed.release(parts)

    def may_begin(self) -> bool:
        self._allowed.acquire()
        return not self._stopped

    def interrupt(self, driver: Any) -> None:
        interrupt(driver)

    def stop(self) -> None:
        self._stopped = True
        self._allowed.release(len(self._threads) + 1)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


class Tasks:
    """Workers that are tasks of the running loop."""

    def __init__(self) -> None:
        self._results: asyncio.Queue[Any] = asyncio.Queue()
        self._allowed = asyncio.Semaphore(0)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def check(self, work: Callable[..., Any]) -> None:
        """Tasks take coroutine functions and plain ones."""

    def start(self, work: Callable[[], None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(greenlet_spawn(work), name=name)
        self._tasks.add(task)

    def call(self, work: Callable[..., Any], *values: Any) -> Any:
        if inspect.iscoroutinefunction(work):
            return await_only(work(*values))
        return self.aside(work, *values)

    def aside(self, work: Callable[..., Any], *values: Any) -> Any:
        return await_only(asyncio.to_thread(work, *values))

    def put(self, result: Any) -> None:
        self._results.put_nowait(result)

    def get(self) -> Any:
        return await_only(self._results.get())

    def allow(self, parts: int = 1) -> None:
        for _ in range(parts):
            self._allowed.release()

    def may_begin(self) -> bool:
        await_only(self._allowed.acquire())
        return not self._stopped

    def interrupt(self, driver: Any) -> None:
        """Cancelling the task has done it."""

    def stop(self) -> None:
        # A task that waits for the server gives up at once, and psycopg cancels its statement.
        self._stopped = True
        for task in self._tasks:
            task.cancel()

    def join(self) -> None:
        if self._tasks:
            await_only(asyncio.wait(self._tasks))
