"""Where items come from and where they go: files, statements, queues that are acknowledged, writers; and what comes after."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Index, func, inspect, select, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import (
    Aggregate,
    AsyncDatabase,
    AsyncPipeline,
    BuildIndexes,
    BulkWriter,
    Database,
    Dump,
    MissingExtra,
    Pipeline,
    PoolConfig,
    StageFailed,
    UsageError,
    read_csv,
    read_jsonl,
    read_parquet,
    read_select,
)
from tests.pipeline.doors import run
from tests.pipeline.stages import BY_DIGIT, below_fifty, number, square

Flow = Callable[..., Any]


class Base(DeclarativeBase):
    pass


class Daily(Base):
    __tablename__ = "daily"
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    delay: Mapped[int]


@pytest.fixture
def db(dal_database: URL) -> Iterator[Database]:
    with Database(dal_database, pool=PoolConfig(min_pool_size=1, max_pool_size=4)) as db:
        Base.metadata.create_all(db.engine)
        yield db


def days(count: int) -> list[dict[str, int]]:
    return [{"day": day, "delay": day % 7} for day in range(count)]


def test_csv_and_its_packed_sisters(flow: Flow, tmp_path: Path) -> None:
    plain, packed = tmp_path / "days.csv", tmp_path / "days.csv.gz"
    with plain.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["day", "note"], ["1", 'two\nlines, "quoted"'], ["2", "NA"]])
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        stored: list[Any] = []
        run(flow(read_csv(path, null="NA")).store(stored))
        assert stored == [{"day": "1", "note": 'two\nlines, "quoted"'}, {"day": "2", "note": None}]
    with pytest.raises(UsageError, match="there is no file"):
        read_csv(tmp_path / "other.csv")


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "days.jsonl"
    path.write_text("".join(json.dumps(day) + "\n\n" for day in days(50)))
    stored: list[Any] = []
    Pipeline(read_jsonl(path)).store(stored).run()
    assert stored == days(50)
    path.write_text('{"a": 1}\nbroken\n')
    with pytest.raises(StageFailed, match="'source' failed: reading stopped after 1 items: JSONDecodeError"):
        Pipeline(read_jsonl(path)).store(stored).run()


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "days.parquet"
    path.write_bytes(b"")
    try:
        import pyarrow  # type: ignore[import-not-found, import-untyped, unused-ignore]
        import pyarrow.parquet  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        with pytest.raises(MissingExtra, match="pyarrow"):
            read_parquet(path)
        return
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(days(500)), path)
    assert list(read_parquet(path, batch=64)) == days(500)
    assert list(read_parquet(path, columns=["day"])) == [{"day": day} for day in range(500)]


def test_a_statement_and_a_bulk_writer(db: Database) -> None:
    report = Pipeline(days(2500)).store(BulkWriter(db, Daily), batch=500).run()
    assert report.stored == 2500
    stored: list[Any] = []
    Pipeline(read_select(db, select(Daily).order_by(Daily.day), batch=300)).transform(lambda day: day.delay).store(stored).run()
    assert stored == [day["delay"] for day in days(2500)]
    stored.clear()
    Pipeline(read_select(db, select(Daily.day, Daily.delay).order_by(Daily.day))).transform(tuple).store(stored).run()
    assert stored[:2] == [(0, 0), (1, 1)]
    assert db.pool.stats().in_use == 0


async def test_a_statement_of_an_async_database(db: Database) -> None:
    Pipeline(days(700)).store(BulkWriter(db, Daily)).run()
    async with AsyncDatabase(db.url) as other:
        stored: list[int] = []
        source = read_select(other, select(Daily).order_by(Daily.day), batch=100)
        report = await AsyncPipeline(source).transform(lambda day: day.delay).store(stored).run()
    assert report.complete
    assert stored == [day["delay"] for day in days(700)]


def test_rows_that_the_database_refuses_are_rejected_by_the_store_stage(db: Database) -> None:
    rows = [*days(100), {"day": 5, "delay": 0}, {"day": 500, "delay": None}, {"day": 501, "delay": 2}]
    report = Pipeline(rows).store(BulkWriter(db, Daily), batch=40).run()
    assert (report.stored, report.refused) == (101, 2)
    assert {(each.stage, each.item["day"]) for each in report.rejected} == {("store", 5), ("store", 500)}
    assert any("duplicate key" in each.reason for each in report.rejected)
    with db.session() as session:
        assert session.scalar(select(func.count()).select_from(Daily)) == 101
    report = Pipeline(rows[:100]).store(lambda batch: BulkWriter(db, Daily).upsert(batch, key=[Daily.day])).run()
    assert report.stored == 100


def test_a_store_that_fails_stops_everything_and_tells_what_was_stored(flow: Flow) -> None:
    calls: list[int] = []

    def store(items: list[int]) -> None:
        calls.append(len(items))
        if len(calls) == 3:
            raise ConnectionError("the disk is full")

    with pytest.raises(StageFailed, match="'store' failed: ConnectionError: the disk is full") as raised:
        run(flow(range(100_000)).transform(square).store(store, batch=50))
    assert raised.value.report.stored == 100
    assert "`error.report` tells what is stored" in raised.value.hint
    assert f"{raised.value.report.read:,} items read, 100 stored" in raised.value.__notes__[0]


class Message:
    """An item of a queue that keeps what is not acknowledged."""

    def __init__(self, number: int, acknowledged: list[int]) -> None:
        self.number, self._acknowledged = number, acknowledged

    def ack(self) -> None:
        self._acknowledged.append(self.number)


@pytest.mark.parametrize("workers", [1, 3])
def test_items_are_acknowledged_in_order_once_they_are_stored_or_rejected(flow: Flow, workers: int) -> None:
    acknowledged: list[int] = []
    stored: set[int] = set()
    early: list[int] = []

    class Watched(Message):
        def ack(self) -> None:
            if self.number not in stored and self.number % 10:
                early.append(self.number)
            super().ack()

    def refuse_tens(message: Message) -> Message:
        if message.number % 10 == 0:
            raise ValueError("a ten")
        return message

    def store(messages: list[Message]) -> None:
        stored.update(message.number for message in messages)

    source = (Watched(number, acknowledged) for number in range(2000))
    report = run(
        flow(source).validate(refuse_tens, workers=workers, batch=random.randint(1, 30)).store(store, workers=workers, batch=70)
    )
    assert acknowledged == list(range(2000))
    assert not early
    assert (report.stored, report.refused) == (1800, 200)


def test_what_was_not_stored_is_not_acknowledged(flow: Flow) -> None:
    acknowledged: list[int] = []
    stored: list[int] = []

    def store(messages: list[Message]) -> None:
        if len(stored) >= 300:
            raise ConnectionError
        stored.extend(message.number for message in messages)

    source = (Message(number, acknowledged) for number in range(2000))
    with pytest.raises(StageFailed):
        run(flow(source).transform(lambda message: message).store(store, batch=100))
    assert acknowledged == stored == list(range(300))


def test_aggregated_items_are_acknowledged_at_the_end(flow: Flow) -> None:
    acknowledged: list[int] = []
    by_digit = Aggregate(key=lambda message: message.number % 10, init=int, step=lambda n, _: n + 1, finish=lambda *pair: pair)
    stored: list[Any] = []

    def store(items: list[Any]) -> None:
        assert not acknowledged
        stored.extend(items)

    run(flow(Message(number, acknowledged) for number in range(500)).aggregate(by_digit).store(store))
    assert acknowledged == list(range(500))
    assert dict(stored) == dict.fromkeys(range(10), 50)


async def test_an_ack_that_is_awaited() -> None:
    acknowledged: list[int] = []

    class Awaited(Message):
        async def ack(self) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            super().ack()

    source = [Awaited(number, acknowledged) for number in range(500)]
    await AsyncPipeline(source).transform(lambda message: message, workers=3, batch=7).store([].extend, workers=3).run()
    assert acknowledged == list(range(500))


def test_indexes_and_a_dump_come_after_the_load(db: Database, tmp_path: Path) -> None:
    dump = tmp_path / "daily.dump"
    index = Index("ix_daily_delay", Daily.delay)
    try:
        after: list[Callable[[], object]] = [BuildIndexes(db, index, concurrently=True), Dump(db, dump, tables=[Daily])]
        seen: list[Any] = []

        def store(rows: list[Any]) -> Any:
            seen.append(inspect(db.engine).get_indexes("daily"))
            return BulkWriter(db, Daily).insert(rows)

        Pipeline(days(1000)).store(store, after=after).run()
        assert seen[-1] == []
        assert [each["name"] for each in inspect(db.engine).get_indexes("daily")] == ["ix_daily_delay"]
    finally:
        Daily.__table__.indexes.discard(index)  # type: ignore[attr-defined]
    assert dump.read_bytes()[:5] == b"PGDMP"
    assert list(tmp_path.iterdir()) == [dump]
    with db.transaction() as session:
        session.execute(text("DROP TABLE daily"))
    with db.engine.connect() as connection:
        restore = Dump(db, dump)._program(connection).with_name("pg_restore")
    arguments = [restore, "--no-owner", f"--dbname={db.url.set(drivername='postgresql').render_as_string(hide_password=False)}"]
    subprocess.run([str(each) for each in (*arguments, dump)], check=True)
    with db.session() as session:
        assert session.scalar(select(func.count()).select_from(Daily)) == 1000


async def test_what_comes_after_in_tasks() -> None:
    done: list[str] = []

    async def awaited() -> None:
        await asyncio.sleep(0)
        done.append("awaited")

    stored: list[int] = []
    await AsyncPipeline(range(9)).transform(square).store(stored, after=[lambda: done.append("plain"), awaited]).run()
    assert done == ["plain", "awaited"]
    assert len(stored) == 9


def test_a_bad_row_where_the_run_stops_at_the_first(db: Database) -> None:
    rows = [*days(100), {"day": 500, "delay": None}, *days(3)]
    with pytest.raises(StageFailed, match="'store' failed") as raised:
        Pipeline(rows).store(BulkWriter(db, Daily), batch=60).run(on_error="stop")
    with pytest.raises(StageFailed, match="more than 1 items were rejected") as limited:
        Pipeline(rows).store(BulkWriter(db, Daily), batch=200).run(max_rejected=1)
    with db.session() as session:
        written = session.scalar(select(func.count()).select_from(Daily))
    assert raised.value.report.stored == 60
    assert raised.value.report.stored + limited.value.report.stored == written == 100


def test_a_dump_that_cannot_be_made_is_told_before_the_load(db: Database, tmp_path: Path) -> None:
    stored: list[Any] = []
    with Database("sqlite://") as other, pytest.raises(Exception, match="pg_dump needs PostgreSQL"):
        Pipeline(days(5)).store(stored, after=[Dump(other, tmp_path / "file")]).run()
    assert stored == []
    with pytest.raises(UsageError, match="there is no folder"):
        Dump(db, tmp_path / "none" / "file")
    with pytest.raises(UsageError, match="is no table"):
        Dump(db, tmp_path / "file", tables=[int])
    with pytest.raises(UsageError, match="is no index"):
        BuildIndexes(db, Index("nowhere"))
    with pytest.raises(StageFailed, match="everything is stored, but what comes after failed: ZeroDivisionError") as raised:
        Pipeline(days(5)).store(stored, after=[lambda: 1 / 0]).run()
    assert "do it again by itself" in raised.value.hint
    assert len(stored) == 5


def test_the_report_names_the_slow_stage(flow: Flow) -> None:
    from tests.pipeline.stages import sluggish

    stored: list[Any] = []
    report = run(
        flow(range(200)).validate(number, batch=5).transform(sluggish, batch=5).transform(square, batch=5).store(stored)
    )
    assert report.slow == "transform"
    validate, slow, after = report.stages[1:4]
    assert slow.busy > 0.3
    assert slow.busy > 3 * max(validate.busy, after.busy)
    assert validate.waiting_for_output > 0.1
    assert after.waiting_for_input > 0.1
    assert slow.queue_peak == 20
    assert slow.queue_depth > after.queue_depth
    told = str(report)
    assert "the slow stage is transform" in told
    assert all(len(line) <= 90 for line in told.splitlines())


def test_queues_are_bounded(flow: Flow) -> None:
    drawn, stored = [0], [0]
    ahead: list[int] = []

    def source() -> Iterator[int]:
        for each in range(3000):
            drawn[0] += 1
            yield each

    def store(items: list[int]) -> None:
        stored[0] += len(items)
        ahead.append(drawn[0] - stored[0])

    run(flow(source(), queue=20).transform(square, batch=10).transform(square, batch=10).store(store, batch=10))
    assert stored[0] == 3000
    # Three queues of 20, a batch of 10 in each worker, and what a source beside a loop is asked for at a time.
    assert max(ahead) <= 3 * 20 + 3 * 10 + 100 + 1


def test_progress_is_told_and_shown(flow: Flow, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.pipeline.stages import sluggish

    told: list[Any] = []
    run(flow(range(600)).transform(sluggish).store([].extend), progress=told.append)
    assert len(told) >= 2
    assert told[0].read <= told[-1].read == told[-1].stored == 600
    run(flow(range(60)).validate(below_fifty).store([].extend), progress=True)
    assert "60 read, 50 stored, 10 rejected" in capsys.readouterr().err
    pipeline = flow(range(7)).store([].extend)
    assert pipeline.report() is None
    run(pipeline)
    assert pipeline.report().stored == 7


def test_aggregates_are_stored_in_the_order_of_their_keys() -> None:
    stored: list[Any] = []
    Pipeline(range(100, 200)).aggregate(BY_DIGIT).store(stored).run()
    assert [key for key, _ in stored] == list(range(10))
