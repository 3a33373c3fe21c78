"""Batches beside a commit per row: single rows submitted by 8 threads and by 1,000 tasks, with ids back.

Run it with `python benchmarks/batch.py [threads|waiting|tasks|latency ...]`; it starts its own server, with fsync on. The base
of a section is SQLAlchemy's own Session over its own pool: add, commit, read the id, with `expire_on_commit=False`, so that it
need not read the row again. Rounds are interleaved; a ratio is the median of the ratios of the rounds.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping
from itertools import count

from sqlalchemy import URL, DateTime, create_engine, func
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dal import AsyncBatchWriter, AsyncDatabase, BatchWriter, Database, PoolConfig
from dal.embedded import EmbeddedServer

THREADS, TASKS, POOL = 8, 1000, 8
DURABLE = dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "on")
numbers = count()

Round = Callable[[], tuple[float, float]]


class Base(DeclarativeBase): ...


class Event(Base):
    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str] = mapped_column(default="login")
    amount: Mapped[int]
    at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


def event() -> Event:
    number = next(numbers)
    return Event(name=f"event {number}", amount=number % 100)


def timed(work: Callable[[], int]) -> tuple[float, float]:
    """Return rows per second, and microseconds of this process's CPU for a row."""
    gc.collect()
    began, cpu = time.perf_counter(), time.process_time()
    rows = work()
    return rows / (time.perf_counter() - began), (time.process_time() - cpu) / rows * 1e6


def in_threads(work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def told(title: str, rounds: Mapping[str, Round], limits: Mapping[str, float], times: int = 5) -> bool:
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in rounds}
    for number in range(times + 1):
        for name in list(rounds) if number % 2 else reversed(list(rounds)):
            taken = rounds[name]()
            if number:
                found[name].append(taken)
    base = next(iter(rounds))
    print(f"\n{title}\n  {'':34} {'rows/s':>10} {'cpu us/row':>11} {'x base':>8} {'x cpu':>8} {'limit':>8}")
    kept = True
    for name, taken in found.items():
        rows, cpu = (statistics.median(column) for column in zip(*taken, strict=True))
        ratio = statistics.median(one[0] / other[0] for one, other in zip(taken, found[base], strict=True))
        by_cpu = statistics.median(other[1] / one[1] for one, other in zip(taken, found[base], strict=True))
        limit = limits.get(name)
        verdict = "" if limit is None else f"{limit:8.1f} {'ok' if ratio >= limit else 'MISSED'}"
        kept = kept and (limit is None or ratio >= limit)
        print(f"  {name:34} {rows:10,.0f} {cpu:11.1f} {ratio:8.2f} {by_cpu:8.2f} {verdict}")
    return kept


def commits(url: URL, each: int) -> Round:
    engine = create_engine(url, pool_size=POOL)

    def work() -> None:
        for _ in range(each):
            with Session(engine, expire_on_commit=False) as session:
                row = event()
                session.add(row)
                session.commit()
                assert row.id

    def run() -> int:
        in_threads(work)
        return each * THREADS

    return lambda: timed(run)


def batches(db: Database, each: int, window: int, size: int) -> Round:
    """Submit `window` rows, then take their ids."""

    def run() -> int:
        with BatchWriter(db, Event, size=size, interval=1.0) as writer:

            def work() -> None:
                for _ in range(each // window):
                    futures = [writer.submit(event()) for _ in range(window)]
                    assert all(future.result().id for future in futures)

            in_threads(work)
        return each // window * window * THREADS

    return lambda: timed(run)


def threads(url: URL) -> bool:
    with Database(url, pool=PoolConfig(max_pool_size=POOL)) as db:
        rounds = {
            "session.add + commit per row": commits(url, 100),
            "BatchWriter(size=100)": batches(db, 2500, 500, 100),
            "BatchWriter(size=1000)": batches(db, 2500, 500, 1000),
        }
        return told(f"{THREADS} threads submitting single rows", rounds, {"BatchWriter(size=1000)": 20})


def waiting(url: URL) -> bool:
    with Database(url, pool=PoolConfig(max_pool_size=POOL)) as db:
        rounds = {"session.add + commit per row": commits(url, 100), "BatchWriter": batches(db, 250, 1, 100)}
        return told(f"{THREADS} threads that wait for each row before the next", rounds, {})


def tasks(url: URL) -> bool:
    engine = create_async_engine(url, pool_size=POOL, max_overflow=0, pool_timeout=600)

    async def commit_each() -> int:
        async def one() -> None:
            async with AsyncSession(engine, expire_on_commit=False) as session:
                row = event()
                session.add(row)
                await session.commit()
                assert row.id

        await asyncio.gather(*(one() for _ in range(TASKS)))
        return TASKS

    async def in_batches(db: AsyncDatabase) -> int:
        async with AsyncBatchWriter(db, Event, size=TASKS, interval=1.0) as writer:

            async def one() -> None:
                for _ in range(20):
                    assert (await writer.submit(event())).id

            await asyncio.gather(*(one() for _ in range(TASKS)))
        return TASKS * 20

    with asyncio.Runner() as loop:
        db = AsyncDatabase(url, pool=PoolConfig(max_pool_size=POOL))
        rounds: dict[str, Round] = {
            "AsyncSession.add + commit per row": lambda: timed(lambda: loop.run(commit_each())),
            "AsyncBatchWriter(size=1000)": lambda: timed(lambda: loop.run(in_batches(db))),
        }
        kept = told(f"{TASKS} tasks that await each row", rounds, {"AsyncBatchWriter(size=1000)": 20})
        loop.run(db.close())
        loop.run(engine.dispose())
    return kept


def latency(url: URL) -> bool:
    """Rows that come slowly, with nobody waiting: an item's latency beside the interval and a flush."""
    interval, taken, flushes = 0.2, [], []
    with (
        Database(url) as db,
        BatchWriter(db, Event, size=10_000, interval=interval, on_batch=lambda batch: flushes.append(batch.seconds)) as writer,
    ):
        for _ in range(2000):
            began = time.perf_counter()
            future = writer.submit(event())
            future.add_done_callback(lambda _, began=began: taken.append(time.perf_counter() - began))  # type: ignore[misc]
            time.sleep(0.002)
        writer.flush()
    p99 = statistics.quantiles(taken, n=100)[98]
    bound = interval + max(flushes)
    print(f"\nlatency of an item, interval {interval} s\n  p50 {statistics.median(taken):.3f} s, p99 {p99:.3f} s", end="")
    print(f", one flush {statistics.median(flushes):.4f} s (longest {max(flushes):.4f}); limit {bound:.3f} s", end=" ")
    print("ok" if p99 <= bound else "MISSED")
    return p99 <= bound


SECTIONS: dict[str, Callable[[URL], bool]] = {"threads": threads, "waiting": waiting, "tasks": tasks, "latency": latency}


def main() -> int:
    with EmbeddedServer(settings=DURABLE) as server:
        engine = create_engine(server.url())
        Base.metadata.create_all(engine)
        engine.dispose()
        kept = [SECTIONS[name](server.url()) for name in sys.argv[1:] or list(SECTIONS)]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    raise SystemExit(main())
