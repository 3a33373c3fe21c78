"""Parallel scans and pipelines against the same work done in a row, in one run, on an embedded server.

    python benchmarks/flows.py [scan|stages|overhead|schedule ...]

- scan: Python work on each row of a table, by two processes and by one. The peer is `db.parallel(..., workers=1)` itself,
  with a process too, so that what differs is the second worker only.
- stages: four stages of equal cost, run at the same time and one after the other: once with work that releases the
  interpreter (hashing), in threads, and once with work that holds it, in processes, whose start is part of the time:
  half a minute of work, so that it weighs little; with ten seconds of work it is a tenth.
- overhead: what a pipeline of four stages that do nothing adds to each item, in CPU time, at batches of 100.
- schedule: stages that take 3, 4, 3 and 2 units over three items; at best that is 12 + 2 x 4 units.

Ratios are medians over paired rounds, the variants in changing order; the limits beside them are the ones the project sets
itself. Two cores are needed, and a quiet machine: a scan keeps both of them and the server busy.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql import select

from dal import AsyncPipeline, Database, Pipeline
from dal.embedded import EmbeddedServer

ROWS, ITEMS, ROUNDS = 1_000_000, 300_000, 3
BLOCK = b"x" * 150_000
UNIT = 0.05


class Base(DeclarativeBase): ...


class Reading(Base):
    __tablename__ = "readings"

    id: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[int]
    value: Mapped[float]


def row_work(rows: list[Any]) -> float:
    """Work in Python on each row: about 20 microseconds, as much as a few dates and a text cost to take apart."""
    total = 0.0
    for row in rows:
        value = row.value
        for step in range(200):
            value = math.sqrt(value * value + step)
        total += value
    return total


def hash_work(item: int) -> int:
    """Work that releases the interpreter."""
    hashlib.sha256(BLOCK).digest()
    return item


def loop_work(item: int) -> int:
    """Work that holds the interpreter: about a millisecond."""
    total = 0.0
    for step in range(13_000):
        total += math.sqrt(item + step)
    return item if total else -1


def nothing(item: int) -> int:
    return item


async def nothing_async(item: int) -> int:
    return item


def paired(works: dict[str, Callable[[], object]], clock: Callable[[], float], rounds: int) -> dict[str, list[float]]:
    names, taken = list(works), {name: [] for name in works}  # type: dict[str, list[float]]
    for number in range(rounds + 1):
        names = names[1:] + names[:1]
        for name in names:
            began = clock()
            works[name]()
            if number:
                taken[name].append(clock() - began)
    return taken


def told(name: str, value: float, limit: float, *, at_least: bool, unit: str) -> bool:
    kept = value >= limit if at_least else value <= limit
    print(f"  {name:54} {value:8.2f} {unit:<12} {'>=' if at_least else '<='} {limit:5.2f} {'ok' if kept else 'MISSED'}")
    return kept


def faster(taken: dict[str, list[float]], slow: str, fast: str) -> float:
    return statistics.median(one / other for one, other in zip(taken[slow], taken[fast], strict=True))


def scan() -> bool:
    print(f"\nscan: {ROWS:,} rows, Python work on each")
    with EmbeddedServer() as server, Database(server.url()) as db:
        Base.metadata.create_all(db.engine)
        with db.transaction() as session:
            session.execute(text(f"INSERT INTO readings SELECT n, n % 97, random() FROM generate_series(1, {ROWS}) n"))
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))

        def run(workers: int) -> object:
            scan = db.parallel(select(Reading), by=Reading.id, workers=workers, parts=16, processes=True)
            return scan.map(row_work).reduce(float.__add__)

        taken = paired({"one": lambda: run(1), "two": lambda: run(2)}, time.perf_counter, ROUNDS)
    print(
        f"  one process {statistics.median(taken['one']):.2f} s, two {statistics.median(taken['two']):.2f} s, starting included"
    )
    return told("two processes against one", faster(taken, "one", "two"), 1.7, at_least=True, unit="x")


def stages() -> bool:
    print("\nstages: four of equal cost")
    kept = True
    for name, work, processes, items, rounds in (
        ("threads, hashing", hash_work, False, 3000, 3),
        ("processes, loops", loop_work, True, 12_000, 1),
    ):

        def in_a_row(work: Callable[[int], int] = work, items: int = items) -> None:
            for item in range(items):
                work(work(work(work(item))))

        def at_once(work: Callable[[int], int] = work, processes: bool = processes, items: int = items) -> None:
            flow = Pipeline(range(items))
            for number in range(3):
                flow = flow.transform(work, batch=50, processes=processes, name=f"stage {number + 1}")
            flow.transform(work, batch=50, processes=processes).store(lambda found: None).run()

        taken = paired({"row": in_a_row, "once": at_once}, time.perf_counter, rounds)
        print(f"  {name}: in a row {statistics.median(taken['row']):.2f} s, at once {statistics.median(taken['once']):.2f} s")
        kept &= told(f"{name}: at once against in a row", faster(taken, "row", "once"), 1.7, at_least=True, unit="x")
    return kept


def overhead() -> bool:
    print(f"\noverhead: {ITEMS:,} items through four stages that do nothing")

    def drop(found: list[int]) -> None:
        return None

    def threads() -> None:
        Pipeline(range(ITEMS)).validate(nothing).transform(nothing).transform(nothing).store(drop, batch=100).run()

    def tasks() -> None:
        flow = AsyncPipeline(range(ITEMS)).validate(nothing_async).transform(nothing_async).transform(nothing_async)
        asyncio.run(flow.store(drop, batch=100).run())

    def loop() -> None:
        for item in range(ITEMS):
            nothing(nothing(nothing(item)))

    taken = paired({"loop": loop, "threads": threads, "tasks": tasks}, time.process_time, ROUNDS)
    kept = True
    for name in ("threads", "tasks"):
        added = statistics.median(one - other for one, other in zip(taken[name], taken["loop"], strict=True))
        kept &= told(f"{name}: added by all four stages together", added / ITEMS * 1e6, 5.0, at_least=False, unit="us an item")
    return kept


def schedule() -> bool:
    print(f"\nschedule: stages of 3, 4, 3 and 2 units of {UNIT * 1000:.0f} ms, three items")

    def taking(units: int) -> Callable[[Any], Any]:
        def work(item: Any) -> Any:
            time.sleep(units * UNIT)
            return item

        return work

    def run() -> None:
        flow = Pipeline(range(3)).validate(taking(3), batch=1).transform(taking(4), batch=1).transform(taking(3), batch=1)
        flow.store(taking(2), batch=1).run()

    taken = paired({"run": run}, time.perf_counter, ROUNDS)
    ideal = (3 + 4 + 3 + 2 + 2 * 4) * UNIT
    print(f"  ideal {ideal:.3f} s, run {statistics.median(taken['run']):.3f} s, one after the other {36 * UNIT:.3f} s")
    return told("against the ideal schedule", statistics.median(taken["run"]) / ideal, 1.1, at_least=False, unit="x")


SECTIONS: dict[str, Callable[[], bool]] = {"scan": scan, "stages": stages, "overhead": overhead, "schedule": schedule}


def main() -> int:
    kept = [SECTIONS[name]() for name in sys.argv[1:] or SECTIONS]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    raise SystemExit(main())
