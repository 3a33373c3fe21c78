"""Upserts in portions and inserts of which rows may be bad: the server works on one portion while the next is encoded."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from psycopg.types.json import set_json_dumps
from sqlalchemy import DateTime, Numeric, String, func, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import AsyncBulkWriter, AsyncDatabase, BulkWriter, Database, RowConflict, RowError
from dal.bulk import background
from tests.bulk.models import City, User

Writer = Callable[[Any], Any]


class Base(DeclarativeBase): ...


class Reading(Base):
    __tablename__ = "readings"

    device: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    value: Mapped[float]


class Price(Base):
    __tablename__ = "prices"

    amount: Mapped[Decimal] = mapped_column(Numeric(12, 2), primary_key=True)
    label: Mapped[str] = mapped_column(String(20), unique=True)


@pytest.fixture(autouse=True)
def portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions of a few rows, and none of the routes for few rows."""
    monkeypatch.setattr("dal.bulk.pipelined._PORTION", 7)
    monkeypatch.setattr("dal.bulk.trying._PORTION", 7)
    monkeypatch.setattr("dal.bulk.few.BELOW", 0)
    monkeypatch.setattr("dal.bulk.few.DELETES_BELOW", 0)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "postgresql"))


@pytest.fixture
def tables(pg: Database) -> Database:
    Base.metadata.create_all(pg.engine)
    return pg


doors = pytest.mark.parametrize("kind", ["postgresql", "postgresql async"], indirect=True)


def ages(db: Database) -> dict[str, int | None]:
    with db.session() as session:
        return {row[0]: row[1] for row in session.execute(select(User.email, User.age))}


@doors
def test_portions_write_what_one_statement_would(db: Database, writer: Writer) -> None:
    rows = [{"email": f"{each:03}@b", "age": each % 90} for each in range(100)]
    random.Random(2).shuffle(rows)
    first = writer(User).upsert(rows[:60], key=[User.email])
    assert (first.inserted, first.updated, first.unchanged) == (60, 0, 0)
    for row in rows[:10]:
        row["age"] = 99
    second = writer(User).upsert(rows, key=[User.email])
    assert (second.inserted, second.updated, second.unchanged) == (40, 10, 50)
    assert ages(db) == {row["email"]: row["age"] for row in rows}


@doors
def test_large_rows_make_small_portions(db: Database, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dal.bulk.encoding._MOST", 100_000)
    rows = [{"email": f"{each}@b", "settings": {"text": f"{each}" * 20_000}} for each in range(20)]
    assert writer(User).upsert(rows, key=[User.email]).inserted == 20
    more = [{"email": f"new {each}@b", "settings": {"text": f"{each}" * 20_000}} for each in range(20)]
    assert writer(User).insert(more, on_error="reject").inserted == 20
    with db.session() as session:
        found = {row[0]: row[1] for row in session.execute(select(User.email, User.settings))}
    assert found == {row["email"]: row["settings"] for row in [*rows, *more]}


@doors
@pytest.mark.parametrize(
    "bad", [{"age": 300}, {"email": None}, {"email": "a\0b"}, {"email": "\ud800"}, {"age": "many"}, {"city_id": 77}]
)
def test_a_bad_row_of_a_later_portion_is_found(db: Database, writer: Writer, bad: dict[str, Any]) -> None:
    rows = [{"email": f"{each:03}@b", "age": each} for each in range(60)]
    rows[41] |= bad
    with pytest.raises(RowError) as raised:
        writer(User).upsert(rows, key=[User.email])
    assert raised.value.position == 41
    assert ages(db) == {}
    result = writer(User).insert(rows, on_error="reject")
    assert [each.position for each in result.rejected] == [41]
    assert result.rejected[0].row is rows[41]
    assert result.inserted == len(ages(db)) == 59


@doors
@pytest.mark.parametrize("bad", [[0], [6], [13], [0, 1], [5, 6, 7], [7, 9, 11, 13], [0, 1, 2, 3, 4, 5, 6], list(range(30))])
def test_rows_are_cut_out_of_a_portion(db: Database, writer: Writer, bad: list[int]) -> None:
    rows = [{"email": f"{each:03}@b", "age": 300 if each in bad else each} for each in range(30)]
    result = writer(User).insert(rows, on_error="reject")
    assert [each.position for each in result.rejected] == bad
    assert all(each.row is rows[each.position] and each.sqlstate == "23514" for each in result.rejected)
    assert result.inserted == 30 - len(bad)
    assert set(ages(db).values()) == {each for each in range(30) if each not in bad}


@doors
def test_too_many_rejected_rows_take_back_what_a_portion_has_sent(db: Database, writer: Writer) -> None:
    rows: list[dict[str, Any]] = [{"email": f"{each:03}@b", "age": each} for each in range(30)]
    for each in (9, 10, 25):
        rows[each]["age"] = 300
    with pytest.raises(RowError, match="more than 1 rows were refused"):
        writer(User).insert(rows, on_error="reject", max_rejected=1)
    assert ages(db) == {}
    assert writer(User).insert(rows, on_error="reject", max_rejected=3).inserted == 27


@doors
def test_a_key_that_is_named_after_a_later_row(db: Database, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """COPY writes index entries late: the rows before a line that is named are not proven good."""
    monkeypatch.setattr("dal.bulk.trying._PORTION", 2_000)
    rows: list[dict[str, Any]] = [{"email": f"{each:04}@b", "age": each % 90} for each in range(2_000)]
    rows[50]["email"] = "0003@b"
    rows[70]["age"] = 300
    rows[1_999]["age"] = 300
    result = writer(User).insert(rows, on_error="reject")
    assert [each.position for each in result.rejected] == [50, 70, 1_999]
    assert result.inserted == len(ages(db)) == 1_997


@doors
def test_rows_of_one_key_in_two_portions(db: Database, writer: Writer) -> None:
    rows = [{"email": f"{each:03}@b", "age": each} for each in range(40)]
    rows.append({"email": "003@b", "age": 77})
    with pytest.raises(RowError, match="row 3 has the same email"):
        writer(User).upsert(rows, key=[User.email])
    assert ages(db) == {}
    assert writer(User).upsert(rows, key=[User.email], duplicates="last").inserted == 40
    assert ages(db)["003@b"] == 77
    result = writer(User).insert([{"email": "x@b"}, *rows, {"email": "y@b"}], on_error="reject", max_rejected=41)
    assert result.inserted == 2
    assert [each.position for each in result.rejected] == list(range(1, 42))


def test_the_callers_transaction_goes_on(pg: Database) -> None:
    rows = [{"email": f"{each:03}@b", "age": each} for each in range(30)]
    with pg.session() as session:
        BulkWriter(session, City).insert([{"name": "Rome"}])
        with pytest.raises(RowConflict):
            BulkWriter(session, User).upsert([*rows, {"email": "z@b", "age": 300}], key=[User.email])
        assert BulkWriter(session, User).upsert(rows, key=[User.email]).inserted == 30
        assert BulkWriter(session, User).insert([{"email": "z@b", "age": 300}], on_error="reject").inserted == 0
        assert session.scalar(text("SELECT current_setting('enable_hashjoin')")) == "on"
        assert BulkWriter(session, User).delete(["000@b"], key=[User.email]).deleted == 1
        assert session.scalar(text("SELECT current_setting('enable_hashjoin')")) == "on"
        session.commit()
    assert len(ages(pg)) == 29


def test_whoever_stops_in_between_leaves_a_connection_that_can_be_used(pg: Database) -> None:
    class Stop(BaseException): ...

    rows: list[dict[str, Any]] = [{"email": f"{each:03}@b", "settings": each} for each in range(40)]

    def dumped(value: Any) -> str:
        if value == 33:
            raise Stop
        return str(value)

    with pg.session() as session:
        driver: Any = session.connection().connection.driver_connection
        set_json_dumps(dumped, driver)
        with pytest.raises(Stop):
            BulkWriter(session, User).upsert(rows, key=[User.email])
        with pytest.raises(Stop):
            BulkWriter(session, User).insert(rows, on_error="reject")
        assert session.scalar(select(func.count()).select_from(User)) == 0
        session.connection().invalidate()


@doors
def test_a_deadline_is_kept_where_rows_are_refused(db: Database, writer: Writer) -> None:
    rows = [{"email": f"{each:03}@b", "age": 300 if each == 17 else each} for each in range(60)]
    with db.deadline("60s"):
        with pytest.raises(RowError) as raised:
            writer(User).insert(rows)
        assert raised.value.position == 17
        assert writer(User).insert(rows, on_error="reject").inserted == 59
        assert [each.position for each in writer(User).upsert(rows, key=[User.email], on_error="reject").rejected] == [17]


async def test_a_task_that_is_cancelled_as_a_copy_begins(pg: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server waits for rows then, and says so again and again."""
    begun: list[asyncio.Task[Any]] = []
    opened = background._opened
    rows = [{"email": f"{each:03}@b", "age": each} for each in range(60)]

    def cancelling(pgconn: Any) -> Any:
        begun.append(task)
        if len(begun) == 2:
            task.cancel()
        return opened(pgconn)

    monkeypatch.setattr(background, "_opened", cancelling)
    async with AsyncDatabase(pg.url) as db:
        task = asyncio.create_task(AsyncBulkWriter(db, User).insert(rows, on_error="reject"))
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        assert len(begun) == 2
        assert (await AsyncBulkWriter(db, User).insert(rows, on_error="reject")).inserted == 60


@pytest.mark.parametrize("shuffled", [False, True])
def test_keys_of_several_columns(tables: Database, shuffled: bool) -> None:
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    devices = [uuid.UUID(int=each) for each in (3, 2**127, 1)]
    rows = [
        {"device": device, "at": start + dt.timedelta(hours=each), "value": float(each)}
        for device in devices
        for each in range(20)
    ]
    if shuffled:
        random.Random(3).shuffle(rows)
    writer = BulkWriter(tables, Reading)
    assert writer.upsert(rows, key=[Reading.at, Reading.device]).inserted == 60
    assert writer.upsert(rows, key=[Reading.device, Reading.at]).unchanged == 60


@pytest.mark.parametrize("number", [1, 30])
def test_a_numeric_key_comes_back_as_it_is_mapped(tables: Database, number: int) -> None:
    rows = [{"amount": Decimal(each) / 4, "label": f"{each}"} for each in range(number)]
    found = BulkWriter(tables, Price).upsert(rows, key=[Price.label], returning=[Price.amount, Price.label]).rows
    assert [tuple(row) for row in found] == [(row["amount"], row["label"]) for row in rows]
    whole = BulkWriter(tables, Price).upsert(rows, key=[Price.amount], returning=Price).rows
    assert [price.amount for price in whole] == [row["amount"] for row in rows]


def test_a_text_is_sorted_by_its_bytes_in_any_collation(pg: Database) -> None:
    """Rows that a join would sort in another way are locked first."""
    with pg.transaction() as session:
        found = session.scalar(
            text(
                "SELECT collname FROM pg_collation WHERE collprovider IN ('i', 'b') AND collisdeterministic AND "
                "collname <> 'ucs_basic' AND collencoding IN (-1, 6) LIMIT 1"
            )
        )
        if found is None:
            pytest.skip("this PostgreSQL has no collation beside those of the C library")
        session.execute(text(f'ALTER TABLE users ALTER "e mail" TYPE varchar(60) COLLATE "{found}"'))
    rows = [{"email": name, "age": at} for at, name in enumerate(["b", "B", "a", "A", "é", "z", "Z"])]
    writer = BulkWriter(pg, User)
    assert writer.upsert(rows, key=[User.email]).inserted == 7
    assert writer.upsert(iter(rows), key=[User.email]).unchanged == 7
    assert writer.update([{**row, "age": 50} for row in rows], key=[User.email]).updated == 7
    assert writer.delete([row["email"] for row in rows], key=[User.email]).deleted == 7
