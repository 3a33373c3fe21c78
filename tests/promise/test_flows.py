"""The promised lines of parallel scans and pipelines, as a user writes them, through both doors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import (
    Aggregate,
    AsyncBulkWriter,
    AsyncDatabase,
    AsyncPipeline,
    BulkWriter,
    Database,
    Pipeline,
    PipelineReport,
    read_csv,
)
from tests.promise.conftest import POOL, made
from tests.promise.models import Order


class Base(DeclarativeBase):
    pass


class Flight(Base):
    __tablename__ = "flights"

    id: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[int]
    delay: Mapped[int]


class Daily(Base):
    __tablename__ = "daily"

    day: Mapped[int] = mapped_column(primary_key=True)
    flights: Mapped[int]
    delay: Mapped[int]


FLIGHTS = 3000


def delay_stats(rows: list[Any]) -> tuple[int, int]:
    return len(rows), sum(row.delay for row in rows)


def merge(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]


def delay_of(row: Any) -> int:
    return int(row.delay)


def check(row: dict[str, str]) -> dict[str, str]:
    if not row["delay"].lstrip("-").isdigit():
        raise ValueError(f"delay: {row['delay']!r} is no number")
    return row


def enrich(row: dict[str, str]) -> tuple[int, int]:
    return int(row["id"]) % 31, int(row["delay"])


async def enrich_async(row: dict[str, str]) -> tuple[int, int]:
    return enrich(row)


by_day = Aggregate(
    key=lambda item: item[0],
    init=lambda: (0, 0),
    step=lambda state, item: (state[0] + 1, state[1] + item[1]),
    finish=lambda day, state: Daily(day=day, flights=state[0], delay=state[1]),
)


@pytest.fixture
def url(dal_database: URL) -> URL:
    with Database(made(dal_database), pool=POOL) as db:
        Base.metadata.create_all(db.engine)
        with db.transaction() as session:
            session.execute(text(f"INSERT INTO flights SELECT n, n % 31, n % 50 - 10 FROM generate_series(1, {FLIGHTS}) n"))
    return dal_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "flights.csv"
    lines = [f"{number},{'soon' if number == 77 else number % 50 - 10}" for number in range(1, FLIGHTS + 1)]
    found.write_text("\n".join(["id,delay", *lines]) + "\n")
    return found


EXPECTED = (FLIGHTS, sum(number % 50 - 10 for number in range(1, FLIGHTS + 1)))


def test_parallel(db: Database) -> None:
    assert db.parallel(select(Flight), by=Flight.id, workers=4).map(delay_stats).reduce(merge) == EXPECTED
    assert sum(db.parallel(select(Flight), by=Flight.id, workers=4).map_rows(delay_of)) == EXPECTED[1]
    scan = db.parallel(select(Flight), by=Flight.id, workers=2, processes=True)
    assert scan.map(delay_stats).reduce(merge) == EXPECTED


async def test_parallel_async(async_db: AsyncDatabase) -> None:
    assert await async_db.parallel(select(Flight), by=Flight.id, workers=4).map(delay_stats).reduce(merge) == EXPECTED
    found = [each async for each in async_db.parallel(select(Flight), by=Flight.id, workers=4).map_rows(delay_of)]
    assert sum(found) == EXPECTED[1]


def stored(session: Any) -> list[Any]:
    return list(session.execute(select(func.count(), func.sum(Daily.flights), func.sum(Daily.delay))).one())


def test_pipeline(db: Database, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = (Pipeline(read_csv(path)).validate(check).transform(enrich).aggregate(by_day).store(BulkWriter(db, Daily))
       .run(progress=True))  # fmt: skip
    assert isinstance(report, PipelineReport)
    assert [stage.name for stage in report.stages] == ["source", "validate", "transform", "aggregate", "store"]
    (rejected,) = report.rejected
    assert (rejected.stage, rejected.item["id"], rejected.reason) == (
        "validate",
        "77",
        "ValueError: delay: 'soon' is no number",
    )
    with db.session() as session:
        assert stored(session) == [31, FLIGHTS - 1, EXPECTED[1] - (77 % 50 - 10)]
    assert "stored" in capsys.readouterr().err


async def test_pipeline_async(async_db: AsyncDatabase, path: Path) -> None:
    pipeline = AsyncPipeline(read_csv(path)).validate(check, workers=2).transform(enrich_async, workers=4)
    report = await pipeline.aggregate(by_day).store(AsyncBulkWriter(async_db, Daily)).run()
    assert len(report.rejected) == 1
    async with async_db.session() as session:
        assert await session.run_sync(stored) == [31, FLIGHTS - 1, EXPECTED[1] - (77 % 50 - 10)]


def test_changes_are_a_source(db: Database, url: URL) -> None:
    changes = db.changes(Order, name="pipeline")
    changes.create()
    totals: list[int] = []
    pipeline: Pipeline

    def store(items: list[Any]) -> None:
        totals.extend(item.new["total"] for item in items)
        if len(totals) >= 40:
            pipeline.stop()

    pipeline = Pipeline(changes).transform(_same, workers=2).store(store)
    _orders(db, range(40))
    report = pipeline.run()
    assert sorted(totals) == list(range(40))
    assert (report.stored, report.complete) == (40, False)
    # What was acknowledged does not come again.
    _orders(db, [99])
    totals[:] = [*range(39)]
    again = Pipeline(db.changes(Order, name="pipeline")).store(_storing(totals, lambda: again.stop()))
    again.run()
    assert totals[39:] == [99]


async def test_async_changes_are_a_source(async_db: AsyncDatabase, db: Database) -> None:
    await async_db.changes(Order, name="pipeline").create()
    totals: list[int] = []
    pipeline = AsyncPipeline(async_db.changes(Order, name="pipeline")).store(_storing(totals, lambda: pipeline.stop()))
    writer = threading.Thread(target=_orders, args=(db, range(40)))
    writer.start()
    report = await pipeline.run()
    writer.join()
    assert totals == list(range(40))
    assert report.stored == 40


def _storing(totals: list[int], stop: Callable[[], None]) -> Callable[[list[Any]], None]:
    def store(items: list[Any]) -> None:
        totals.extend(item.new["total"] for item in items)
        if len(totals) >= 40:
            stop()

    return store


def _same(item: Any) -> Any:
    return item


def _orders(db: Database, totals: Any) -> None:
    for total in totals:
        with db.transaction() as session:
            session.add(Order(user_id=1, total=total))
