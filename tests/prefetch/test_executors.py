"""Both executors: they run in the background, end when told to, and hang on nothing."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from dal.asyncio._bridge import run_sync
from dal.prefetch.executors import IDLE, WORKERS, Tasks, Threads


def nothing() -> None:
    """Nobody waits for what is abandoned here."""


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("dal-prefetch")]


def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


def test_threads_start_with_the_first_job_and_are_two_at_most() -> None:
    executor, gate, ran = Threads(), threading.Event(), []
    assert not alive()

    def work(number: int) -> None:
        gate.wait(10)
        ran.append(number)

    for number in range(5):
        assert executor.submit(partial(work, number), nothing)
    assert len(alive()) == WORKERS
    assert not executor.drain(0.05)
    gate.set()
    assert executor.drain(10)
    assert sorted(ran) == [0, 1, 2, 3, 4]
    executor.stop(10)
    until(lambda: not alive())
    assert not executor.submit(lambda: None, nothing)


def test_idle_threads_end_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    assert IDLE > 1
    monkeypatch.setattr("dal.prefetch.executors.IDLE", 0.05)
    executor, ran = Threads(), []
    executor.submit(lambda: ran.append(1), nothing)
    until(lambda: not alive())
    executor.submit(lambda: ran.append(2), nothing)
    assert executor.drain(10)
    assert ran == [1, 2]
    executor.stop(10)


def test_a_job_that_raises_is_logged_and_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    executor, ran = Threads(), []
    executor.submit(lambda: 1 / 0, nothing)  # type: ignore[arg-type]
    assert executor.drain(10)
    executor.submit(lambda: ran.append(1), nothing)
    assert executor.drain(10)
    assert ran == [1]
    assert "a job of the prefetcher failed" in caplog.text
    executor.stop(10)


def test_stopping_does_not_wait_for_a_job_that_hangs() -> None:
    executor, gate = Threads(), threading.Event()
    executor.submit(lambda: gate.wait(30), nothing)  # type: ignore[arg-type]
    started = time.monotonic()
    executor.stop(0.1)
    assert time.monotonic() - started < 5
    gate.set()
    until(lambda: not alive())


def test_the_clock_of_threads_ticks_once_started_twice() -> None:
    executor, ticks = Threads(), []
    for _ in range(2):
        executor.tick(lambda now: now + 0.01, lambda: ticks.append(1))
    until(lambda: len(ticks) > 2)
    assert alive() == ["dal-prefetch-clock"]
    executor.stop(10)
    until(lambda: not alive())
    executor.tick(lambda now: now, lambda: ticks.append(1))
    assert not alive()


async def test_tasks_run_and_are_waited_for() -> None:
    executor, ran = Tasks(), []
    assert await run_sync(executor.submit, lambda: ran.append(1), nothing)
    assert await run_sync(executor.drain, 10)
    assert ran == [1]
    await run_sync(executor.stop, 10)
    assert not await run_sync(executor.submit, lambda: ran.append(2), nothing)


async def test_stopping_cancels_tasks_and_the_clock() -> None:
    from dal.asyncio._bridge import wait

    executor, ticks = Tasks(), []
    await run_sync(executor.submit, lambda: wait(asyncio.sleep(60)), nothing)
    for _ in range(2):
        await run_sync(executor.tick, lambda now: now + 0.01, lambda: ticks.append(1))
    while not ticks:  # noqa: ASYNC110  the clock is what is tested
        await asyncio.sleep(0.005)
    assert not await run_sync(executor.drain, 0.01)
    await asyncio.wait_for(run_sync(executor.stop, 10), 10)
    assert [task for task in asyncio.all_tasks() if task.get_name() == "dal-prefetch"] == []


def test_a_task_that_never_began_is_told_of() -> None:
    executor, told = Tasks(), []

    async def leave() -> None:
        await run_sync(executor.submit, lambda: told.append("ran"), lambda: told.append("abandoned"))
        task = next(iter(executor._tasks))
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)

    asyncio.run(leave())
    assert told == ["abandoned"]


def test_tasks_of_a_loop_that_ended_are_forgotten() -> None:
    executor = Tasks()

    async def leave() -> None:
        from dal.asyncio._bridge import wait

        await run_sync(executor.submit, lambda: wait(asyncio.sleep(60)), nothing)

    async def come_back() -> bool:
        found: bool = await run_sync(executor.drain, 1)
        await run_sync(executor.stop, 1)
        return found

    asyncio.run(leave())
    assert asyncio.run(come_back())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_begins_anew() -> None:
    from tests.prefetch.test_gate import Guess
    from tests.prefetch.walks import Desk, seen

    gate, executor = threading.Event(), Threads()
    desk = Desk(Guess(), executor=executor)
    for _ in range(2):
        executor.submit(lambda: gate.wait(30), nothing)  # type: ignore[arg-type]
    desk.demand(seen("ann", 1))
    child = os.fork()
    if not child:
        desk.demand(seen("bob", 50))
        done = desk.prefetcher.wait(10) and desk.shelf.statements == 1
        os._exit(0 if done else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    gate.set()
    desk.prefetcher.stop()
    until(lambda: not alive())
