"""The pool beside the pools people use: ratios of paired rounds in one run.

Run it with `python benchmarks/pool.py [section ...]`; the sections are checkout, asyncio, fairness, spike, churn and renewal.
It starts its own PostgreSQL and needs `psycopg_pool` and `asyncpg` beside dal. Every figure is from this machine in this run;
the limits in the last column are the ones the project sets itself.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import asyncpg
import psycopg
import psycopg_pool
from sqlalchemy import URL, create_engine, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from dal.embedded import EmbeddedServer
from dal.pool import ConnectionPool

Cycle = Callable[[], None]
AsyncCycle = Callable[[], Awaitable[None]]
Figure = tuple[float, float]


def conninfo(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


@contextmanager
def queue_pool(url: URL, size: int, **settings: Any) -> Iterator[Any]:
    engine = create_engine(url, pool_size=size, max_overflow=0, **settings)
    yield engine
    engine.dispose()


@contextmanager
def bridge(url: URL, size: int, check: bool = False) -> Iterator[Any]:
    options: dict[str, Any] = {"check": psycopg_pool.ConnectionPool.check_connection} if check else {}
    pool = psycopg_pool.ConnectionPool(conninfo(url), min_size=size, max_size=size, open=True, close_returns=True, **options)
    pool.wait()
    engine = create_engine(url, poolclass=NullPool, creator=pool.getconn)
    yield engine
    pool.close()


@contextmanager
def ours(url: URL, size: int, **settings: Any) -> Iterator[Any]:
    engine = create_engine(url, poolclass=ConnectionPool, min_pool_size=size, max_pool_size=size, **settings)
    assert isinstance(engine.pool, ConnectionPool)
    engine.pool.warm_up()
    yield engine
    engine.pool.close()


def in_threads(cycle: Cycle, threads: int, cycles: int) -> Figure:
    """Run `cycles` in each of `threads` and return the microseconds of one of all, by the clock and of this process's work."""
    gate = threading.Barrier(threads + 1)

    def work() -> None:
        gate.wait()
        for _ in range(cycles):
            cycle()
        gate.wait()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    gate.wait()
    began = time.perf_counter(), time.process_time()
    gate.wait()
    took = time.perf_counter() - began[0], time.process_time() - began[1]
    for worker in workers:
        worker.join()
    return took[0] / (threads * cycles) * 1e6, took[1] / (threads * cycles) * 1e6


def ratio(figures: list[Figure], base: list[Figure], which: int) -> list[float]:
    """Quartiles of the ratios, round by round."""
    return statistics.quantiles([one[which] / other[which] for one, other in zip(figures, base, strict=True)], n=4)


def table(title: str, rounds: dict[str, list[Figure]], base: str, limits: dict[str, str]) -> None:
    print(f"\n{title}")
    print(f"  {'':<34}{'median':>12}   ratio by the clock      ratio of work (not disturbed by other programs)")
    for name, figures in rounds.items():
        low, middle, high = ratio(figures, rounds[base], 0)
        spread = f"({low:.2f} .. {high:.2f})"
        work = ratio(figures, rounds[base], 1)[1]
        microseconds = statistics.median(clock for clock, _ in figures)
        print(f"  {name:<34}{microseconds:>9.1f} us   x {middle:5.2f} {spread:<16} x {work:5.2f}   {limits.get(name, '')}")


def checkout(url: URL) -> None:
    for threads in (1, 4, 16):
        with ExitStack() as stack:
            engines = {
                "QueuePool": stack.enter_context(queue_pool(url, threads)),
                "QueuePool + pre_ping": stack.enter_context(queue_pool(url, threads, pool_pre_ping=True)),
                "psycopg_pool behind NullPool": stack.enter_context(bridge(url, threads)),
                "psycopg_pool + check": stack.enter_context(bridge(url, threads, check=True)),
                "dal, test_on_borrow": stack.enter_context(ours(url, threads)),
                "dal, test_on_borrow=always": stack.enter_context(ours(url, threads, test_on_borrow="always")),
            }
            rounds: dict[str, list[Figure]] = {name: [] for name in engines}
            for engine in engines.values():
                in_threads(lambda engine=engine: engine.connect().close(), threads, 50)
            for _ in range(21):
                for name, engine in engines.items():
                    slow = "pre_ping" in name or "check" in name or "always" in name
                    cycles = (150 if slow else 1500) // (1 if threads == 1 else 4 if threads == 4 else 12)
                    rounds[name].append(in_threads(lambda engine=engine: engine.connect().close(), threads, cycles))
        ping = ratio(rounds["dal, test_on_borrow"], rounds["QueuePool + pre_ping"], 0)[1]
        table(
            f"checkout + return, {threads} threads on {threads} connections",
            rounds,
            "QueuePool",
            {"dal, test_on_borrow": "<= 1.2"},
        )
        print(f"  dal against QueuePool + pre_ping: x {ping:.2f}   <= 0.3")


async def in_tasks(cycle: AsyncCycle, tasks: int, cycles: int) -> Figure:
    async def work() -> None:
        for _ in range(cycles):
            await cycle()

    began = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(tasks)))
    took = time.perf_counter() - began[0], time.process_time() - began[1]
    return took[0] / (tasks * cycles) * 1e6, took[1] / (tasks * cycles) * 1e6


async def async_checkout(url: URL, tasks: int) -> None:
    queue = create_async_engine(url, pool_size=tasks, max_overflow=0)
    pinging = create_async_engine(url, pool_size=tasks, max_overflow=0, pool_pre_ping=True)
    inner = psycopg_pool.AsyncConnectionPool(conninfo(url), min_size=tasks, max_size=tasks, open=False, close_returns=True)
    await inner.open(wait=True)
    bridged = create_async_engine(url, poolclass=NullPool, async_creator=inner.getconn)
    direct = await asyncpg.create_pool(conninfo(url), min_size=tasks, max_size=tasks)
    pooled = create_async_engine(url, poolclass=ConnectionPool, min_pool_size=tasks, max_pool_size=tasks)

    def of_engine(engine: Any) -> AsyncCycle:
        async def cycle() -> None:
            async with engine.connect():
                pass

        return cycle

    async def of_asyncpg() -> None:
        async with direct.acquire():
            pass

    cycles: dict[str, AsyncCycle] = {
        "AsyncAdaptedQueuePool": of_engine(queue),
        "AsyncAdaptedQueuePool + pre_ping": of_engine(pinging),
        "psycopg_pool behind NullPool": of_engine(bridged),
        "asyncpg's pool, no SQLAlchemy": of_asyncpg,
        "dal, test_on_borrow": of_engine(pooled),
    }
    rounds: dict[str, list[Figure]] = {name: [] for name in cycles}
    for cycle in cycles.values():
        await in_tasks(cycle, tasks, 20)
    for _ in range(21):
        for name, cycle in cycles.items():
            rounds[name].append(await in_tasks(cycle, tasks, (400 if "ping" not in name else 100) // tasks))
    limit = "<= 1.35" if tasks == 1 else "<= 1.1"
    table(f"async checkout + return, {tasks} tasks", rounds, "AsyncAdaptedQueuePool", {"dal, test_on_borrow": limit})
    for engine in (queue, pinging, bridged, pooled):
        await engine.dispose()
    await inner.close()
    await direct.close()


def asynchronous(url: URL) -> None:
    for tasks in (1, 16):
        asyncio.run(async_checkout(url, tasks))


def turns(engine: Any, threads: int, hold: float, seconds: float) -> list[list[float]]:
    """Let threads borrow in a loop and return how long each of them waited each time."""
    waits: list[list[float]] = [[] for _ in range(threads)]
    end = time.perf_counter() + seconds

    def work(mine: list[float]) -> None:
        while (began := time.perf_counter()) < end:
            with engine.connect():
                mine.append(time.perf_counter() - began)
                time.sleep(hold)

    workers = [threading.Thread(target=work, args=(mine,)) for mine in waits]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return waits


def fairness(url: URL) -> None:
    threads, connections, hold, seconds, rounds = 16, 4, 0.002, 1.0, 5
    ideal = threads / connections * hold * 1000
    print(f"\nfairness: {threads} threads on {connections} connections held for 2 ms, {rounds} rounds of {seconds:g} s")
    for name, make in {"QueuePool": queue_pool, "psycopg_pool behind NullPool": bridge, "dal": ours}.items():
        with make(url, connections) as engine:
            all_waits = [turns(engine, threads, hold, seconds) for _ in range(rounds)]
        longest = statistics.median(max(max(mine) for mine in waits) * 1000 for waits in all_waits)
        counts = [len(mine) for mine in all_waits[0]]
        limit = "<= 3" if name == "dal" else ""
        print(
            f"  {name:<34}longest wait {longest:8.1f} ms, x {longest / ideal:6.1f} of the ideal {ideal:.0f} ms {limit:<5} "
            f"turns {min(counts)} .. {max(counts)}"
        )


def slow_connect(info: str, delay: float) -> Callable[[], Any]:
    def connect() -> Any:
        time.sleep(delay)
        return psycopg.connect(info)

    return connect


class SlowConnection(psycopg.Connection[Any]):
    @classmethod
    def connect(cls, *args: Any, **settings: Any) -> Any:
        time.sleep(0.15)
        return super().connect(*args, **settings)


def spike(url: URL) -> None:
    info, ideal = conninfo(url), 50 / 5 * 2
    print(f"\nspike: 50 requests of 2 ms at once on 5 warm connections, a connect takes 150 ms (ideal {ideal:.0f} ms)")
    creator = slow_connect(info, 0.15)
    queue = create_engine(url, pool_size=5, max_overflow=15, creator=creator)
    ready = [queue.connect() for _ in range(5)]
    for connection in ready:
        connection.close()
    inner = psycopg_pool.ConnectionPool(
        info, min_size=5, max_size=20, open=True, close_returns=True, connection_class=SlowConnection
    )
    inner.wait()
    bridged = create_engine(url, poolclass=NullPool, creator=inner.getconn)
    pooled = create_engine(url, poolclass=ConnectionPool, min_pool_size=5, max_pool_size=20, creator=creator)
    assert isinstance(pooled.pool, ConnectionPool)
    pooled.pool.warm_up()
    for engine in (queue, bridged, pooled):
        with engine.connect():
            pass
    for name, engine in {"QueuePool": queue, "psycopg_pool behind NullPool": bridged, "dal": pooled}.items():
        took = []
        for _ in range(5):
            gate = threading.Barrier(51)

            def request(engine: Any = engine, gate: threading.Barrier = gate) -> None:
                gate.wait()
                with engine.connect():
                    time.sleep(0.002)

            workers = [threading.Thread(target=request) for _ in range(50)]
            for worker in workers:
                worker.start()
            gate.wait()
            began = time.perf_counter()
            for worker in workers:
                worker.join()
            took.append((time.perf_counter() - began) * 1000)
        limit = "<= 1.3" if name == "dal" else ""
        print(
            f"  {name:<34}first {took[0]:7.1f} ms x {took[0] / ideal:5.2f}   median {statistics.median(took):7.1f} ms "
            f"x {statistics.median(took) / ideal:5.2f}  {limit}"
        )
    queue.dispose()
    inner.close()
    pooled.pool.close()


def churn(url: URL) -> None:
    threads, borrows = 12, 8000
    print(f"\nchurn: {threads} threads, 5 to 20 connections, {borrows:,} borrows")
    queue = create_engine(url, pool_size=5, max_overflow=15)
    pooled = create_engine(url, poolclass=ConnectionPool, min_pool_size=5, max_pool_size=20)
    for name, engine in {"QueuePool": queue, "dal": pooled}.items():
        connects = [0]

        def count(*_: Any, connects: list[int] = connects) -> None:
            connects[0] += 1

        event.listen(engine, "connect", count)
        took: list[float] = []

        def cycle(engine: Any = engine, took: list[float] = took) -> None:
            began = time.perf_counter()
            with engine.connect():
                took.append(time.perf_counter() - began)
                time.sleep(0.0003)

        in_threads(cycle, threads, borrows // threads)
        took.sort()
        limit = "<= 20" if name == "dal" else ""
        print(f"  {name:<34}{connects[0]:5d} connects {limit}   p99 {took[int(len(took) * 0.99)] * 1000:.2f} ms")
    queue.dispose()
    pooled.dispose()


def renewal(url: URL) -> None:
    print("\nrenewal: 8 threads on 8 connections, every connection replaced about three times")
    queue = create_engine(url, pool_size=8, max_overflow=0, pool_recycle=1)
    pooled = create_engine(url, poolclass=ConnectionPool, min_pool_size=8, max_pool_size=8, max_lifetime=1.2)
    for name, engine in {"QueuePool, pool_recycle": queue, "dal, max_lifetime": pooled}.items():
        took: list[float] = []
        connects = [0]

        def count(*_: Any, connects: list[int] = connects) -> None:
            connects[0] += 1

        event.listen(engine, "connect", count)
        if isinstance(engine.pool, ConnectionPool):
            engine.pool.warm_up()
        else:
            for connection in [engine.connect() for _ in range(8)]:
                connection.close()
        end = time.perf_counter() + 4

        def work(engine: Any = engine, took: list[float] = took, end: float = end) -> None:
            while (began := time.perf_counter()) < end:
                with engine.connect():
                    took.append(time.perf_counter() - began)
                    time.sleep(0.003)

        workers = [threading.Thread(target=work) for _ in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        slow = sum(1 for one in took if one > 0.02)
        limit = "0" if "dal" in name else ""
        print(f"  {name:<34}{connects[0]:4d} connects, longest borrow {max(took) * 1000:6.1f} ms, over 20 ms: {slow} {limit}")
    queue.dispose()
    pooled.dispose()


SECTIONS: dict[str, Callable[[URL], None]] = {
    "checkout": checkout,
    "asyncio": asynchronous,
    "fairness": fairness,
    "spike": spike,
    "churn": churn,
    "renewal": renewal,
}


def main() -> None:
    chosen = sys.argv[1:] or list(SECTIONS)
    with EmbeddedServer(tcp=True, settings={"max_connections": "250"}) as server:
        for name in chosen:
            SECTIONS[name](server.url())


if __name__ == "__main__":
    main()
