"""The two executors a pipeline runs on: threads, or the tasks of an event loop. The run itself is written once.

Under `Threads` a wait blocks the thread; under `Tasks` the run's code is in SQLAlchemy's greenlets and a wait suspends the
task. There a coroutine function is awaited, and a plain one runs in a thread beside the loop.
"""

# ruff: noqa: D102  what the methods do is said once, in the protocol

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Protocol

from sqlalchemy.util import await_only, greenlet_spawn

from dal.pipeline.channel import Gate
from dal.pipeline.pump import Pump

__all__ = ["Runtime", "Tasks", "Threads"]

_END: Any = object()


class Runtime(Protocol):
    """What a run needs from its surroundings; one for each run."""

    def gates(self) -> tuple[Gate, Gate]:
        """Make the two gates of a queue."""
        ...

    def start(self, work: Callable[[], None], name: str) -> None:
        """Run a worker beside the caller."""
        ...

    def call(self, work: Any, items: Any) -> Any:
        """Let something do a batch; await it where its `is_async` says so."""
        ...

    def acknowledge(self, ack: Callable[[], Any]) -> None:
        """Call an item's `ack`, and await it where that is needed."""
        ...

    def items(self, source: Any) -> Generator[Any, None, None]:
        """Iterate over a source."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait until the workers are gone; False when the time is over first."""
        ...

    def pause(self, seconds: float) -> None:
        """Sleep."""
        ...

    def interrupt(self, name: str) -> None:
        """Break off a worker that waits, where it can be."""
        ...

    def abort(self) -> None:
        """Break off what can be broken off."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class Threads:
    """Workers that are threads.

    Args:
        workers: How many workers there will be.
    """

    def __init__(self, workers: int) -> None:
        self._running = 0
        self._gone = threading.Condition()

    def gates(self) -> tuple[Gate, Gate]:
        lock = threading.Lock()
        return threading.Condition(lock), threading.Condition(lock)

    def start(self, work: Callable[[], None], name: str) -> None:
        context = contextvars.copy_context()
        thread = threading.Thread(target=self._run, args=(context, work), name=name, daemon=True)
        with self._gone:
            self._running += 1
        thread.start()

    def call(self, work: Any, items: Any) -> Any:
        return work(items)

    def acknowledge(self, ack: Callable[[], Any]) -> None:
        ack()

    def items(self, source: Any) -> Generator[Any, None, None]:
        yield from source

    def wait(self, seconds: float) -> bool:
        with self._gone:
            return bool(self._gone.wait_for(lambda: not self._running, seconds))

    def pause(self, seconds: float) -> None:
        sleep(seconds)

    def interrupt(self, name: str) -> None:
        """A thread cannot be broken off."""

    def abort(self) -> None:
        """Threads end by themselves, after what they are at."""

    def close(self) -> None:
        """Nothing is held."""

    def _run(self, context: contextvars.Context, work: Callable[[], None]) -> None:
        try:
            context.run(work)
        finally:
            with self._gone:
                self._running -= 1
                self._gone.notify_all()


class TaskGate:
    """A gate that tasks of one loop wait at; nothing runs in between, so there is no lock."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        until = None if timeout is None else monotonic() + timeout
        while not predicate():
            left = None if until is None else until - monotonic()
            if left is not None and left <= 0:
                return False
            woken = asyncio.get_running_loop().create_future()
            self._waiting.append(woken)
            timer = None if left is None else asyncio.get_running_loop().call_later(left, self._wake, woken)
            try:
                await_only(woken)
            finally:
                if timer is not None:
                    timer.cancel()
        return True

    def notify_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for woken in waiting:
            self._wake(woken)

    def _wake(self, woken: asyncio.Future[None]) -> None:
        if not woken.done():
            woken.set_result(None)


class Tasks:
    """Workers that are tasks of the running loop, with threads beside it for plain functions.

    Args:
        workers: How many workers there will be.
    """

    def __init__(self, workers: int) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_work: set[Future[Any]] = set()
        self._beside = ThreadPoolExecutor(workers, thread_name_prefix="dal-pipeline")

    def gates(self) -> tuple[Gate, Gate]:
        return TaskGate(), TaskGate()

    def start(self, work: Callable[[], None], name: str) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(greenlet_spawn(work), name=name))

    def call(self, work: Any, items: Any) -> Any:
        if getattr(work, "is_async", False):
            return await_only(work.awaited(items))
        return self._aside(work, items)

    def acknowledge(self, ack: Callable[[], Any]) -> None:
        result = ack()
        if inspect.isawaitable(result):
            await_only(result)

    def items(self, source: Any) -> Generator[Any, None, None]:
        if hasattr(source, "__aiter__"):
            following = aiter(source)
            try:
                while (item := await_only(_next(following))) is not _END:
                    yield item
            finally:
                close = getattr(following, "aclose", None)
                if close is not None:
                    await_only(close())
        elif isinstance(source, (list, tuple, range)):
            yield from source
        else:
            pump = Pump(source)
            self._at_work.add(pump.gone)
            yield from pump.items()

    def wait(self, seconds: float) -> bool:
        until = monotonic() + seconds
        if await_only(asyncio.wait(self._tasks, timeout=seconds))[1]:
            return False
        # A task that was cancelled leaves behind what a thread is at.
        beside = [asyncio.wrap_future(each) for each in self._at_work if not each.done()]
        return not beside or not await_only(asyncio.wait(beside, timeout=max(0.0, until - monotonic())))[1]

    def pause(self, seconds: float) -> None:
        await_only(asyncio.sleep(seconds))

    def interrupt(self, name: str) -> None:
        for task in self._tasks:
            if task.get_name() == name:
                task.get_loop().call_soon_threadsafe(task.cancel)

    def abort(self) -> None:
        for task in self._tasks:
            task.cancel()

    def close(self) -> None:
        self._beside.shutdown(wait=False)

    def _aside(self, work: Callable[[Any], Any], value: Any) -> Any:
        future = self._beside.submit(contextvars.copy_context().run, work, value)
        self._at_work.add(future)
        future.add_done_callback(self._at_work.discard)
        awaited = asyncio.wrap_future(future)
        try:
            return await_only(asyncio.shield(awaited))
        except asyncio.CancelledError:
            if awaited.cancelled() or future.cancel():
                raise
            # A thread cannot be broken off: what it stores has to be counted, unless the loop itself ends.
            return await_only(awaited)


async def _next(iterator: Any) -> Any:
    return await anext(iterator, _END)
