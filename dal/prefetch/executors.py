"""Where prefetches run: two daemon threads, or tasks of the event loop.

Nothing is started before the first prefetch. Threads that have nothing to do for some seconds end.
"""

# ruff: noqa: D102  what the methods do is said once, in the protocol

from __future__ import annotations

import asyncio
import contextvars
import logging
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from sqlalchemy.util import await_only, greenlet_spawn

__all__ = ["Executor", "Tasks", "Threads"]

WORKERS, IDLE = 2, 5.0

_log = logging.getLogger("dal.prefetch")


class Executor(Protocol):
    """What the prefetcher needs from its surroundings."""

    def submit(self, work: Callable[[], None], abandoned: Callable[[], None]) -> bool:
        """Run something in the background; False where that cannot be. `abandoned` is called if it ends before it begins."""
        ...

    def tick(self, next_due: Callable[[float], float], work: Callable[[], None]) -> None:
        """Run something again and again, if that is not so already; `next_due` tells when, in seconds since 1970."""
        ...

    def drain(self, seconds: float) -> bool:
        """Wait until nothing runs; False when that took too long."""
        ...

    def stop(self, seconds: float) -> None:
        """End all background work, waiting no longer than that."""
        ...

    def reset(self) -> None:
        """Forget all background work: after a fork there is none."""
        ...


class Threads:
    """Daemon threads, two at most and one for the clock."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Condition()
        self._threads: set[threading.Thread] = set()
        self._clock: threading.Thread | None = None
        self._busy = 0
        self._stopped = threading.Event()

    def submit(self, work: Callable[[], None], abandoned: Callable[[], None]) -> bool:
        with self._idle:
            if self._stopped.is_set():
                return False
            self._busy += 1
            if self._busy > len(self._threads) < WORKERS:
                self._start()
            self._jobs.put(work)
        return True

    def _start(self) -> None:
        """Start one more thread. The lock is held."""
        thread = threading.Thread(target=self._work, name="dal-prefetch", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE)
            except queue.Empty:
                job = None
            if job is None:
                with self._idle:
                    if self._jobs.empty() or self._stopped.is_set():
                        self._threads.discard(threading.current_thread())
                        return
                continue
            try:
                job()
            except Exception:
                _log.exception("a job of the prefetcher failed")
            finally:
                with self._idle:
                    self._busy -= 1
                    self._idle.notify_all()

    def tick(self, next_due: Callable[[float], float], work: Callable[[], None]) -> None:
        with self._idle:
            if self._stopped.is_set() or self._clock is not None:
                return
            self._clock = threading.Thread(target=self._ticking, args=(next_due, work), name="dal-prefetch-clock", daemon=True)
            self._clock.start()

    def _ticking(self, next_due: Callable[[float], float], work: Callable[[], None]) -> None:
        while not self._stopped.wait(max(0.0, next_due(time.time()) - time.time())):
            work()

    def drain(self, seconds: float) -> bool:
        with self._idle:
            return self._idle.wait_for(lambda: not self._busy, seconds)

    def stop(self, seconds: float) -> None:
        with self._idle:
            self._stopped.set()
            threads = [*self._threads, *([self._clock] if self._clock is not None else [])]
        for _ in threads:
            self._jobs.put(None)
        ends = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, ends - time.monotonic()))


class Tasks:
    """Tasks of the running event loop; those of a loop that has ended are forgotten."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._clock: asyncio.Task[Any] | None = None
        self._stopped = False

    def submit(self, work: Callable[[], None], abandoned: Callable[[], None]) -> bool:
        if self._stopped:
            return False
        begun = False

        async def run() -> None:
            nonlocal begun
            begun = True
            await greenlet_spawn(work)

        def ended(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            if not begun:
                abandoned()

        task = _begun(run())
        self._tasks.add(task)
        task.add_done_callback(ended)
        return True

    def tick(self, next_due: Callable[[float], float], work: Callable[[], None]) -> None:
        clock = self._clock
        if self._stopped or (clock is not None and not clock.done() and clock.get_loop() is asyncio.get_running_loop()):
            return

        async def ticking() -> None:
            while True:
                await asyncio.sleep(max(0.0, next_due(time.time()) - time.time()))
                await greenlet_spawn(work)

        self._clock = _begun(ticking())

    def drain(self, seconds: float) -> bool:
        tasks = self._mine()
        if tasks:
            await_only(asyncio.wait(tasks, timeout=seconds))
        return all(task.done() for task in tasks)

    def stop(self, seconds: float) -> None:
        self._stopped = True
        tasks = self._mine()
        if self._clock is not None and self._clock.get_loop() is asyncio.get_running_loop():
            tasks.append(self._clock)
        for task in tasks:
            task.cancel()
        if tasks:
            await_only(asyncio.wait(tasks, timeout=seconds))

    def _mine(self) -> list[asyncio.Task[Any]]:
        loop = asyncio.get_running_loop()
        return [task for task in self._tasks if task.get_loop() is loop]


def _begun(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    # An empty context: the deadline and trace of a demand must not follow what is loaded ahead of the next one.
    return asyncio.get_running_loop().create_task(work, name="dal-prefetch", context=contextvars.Context())
