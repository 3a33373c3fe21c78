"""Rows that cannot be written: all others are, and each comes back with its position, its column, its value and the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, Text, func, select
from sqlalchemy.exc import IntegrityError

from dal import BulkWriter, Database, RowConflict, RowError, UsageError
from tests.bulk.models import City, Engineer, Person, User

Writer = Callable[[Any], Any]


def users(number: int, **more: Any) -> list[dict[str, Any]]:
    return [{"email": f"{each}@b", "age": each % 90, **more} for each in range(number)]


def count(db: Database, entity: Any) -> int:
    with db.session() as session:
        return int(session.scalar(select(func.count()).select_from(entity)) or 0)


def spoilt(number: int) -> tuple[list[dict[str, Any]], list[int]]:
    """Rows, and the positions of those that break something: a unique key, NOT NULL, a foreign key, a CHECK."""
    rows = users(number)
    rows[3]["email"] = "2@b"
    rows[7]["email"] = None
    rows[8]["city_id"] = 77
    rows[number - 1]["age"] = 300
    return rows, [3, 7, 8, number - 1]


@pytest.mark.parametrize("number", [40, 2_500])
def test_all_good_rows_are_written(db: Database, writer: Writer, number: int) -> None:
    rows, bad = spoilt(number)
    result = writer(User).insert(rows, on_error="reject")
    assert [each.position for each in result.rejected] == bad
    assert all(each.row is rows[each.position] and each.reason for each in result.rejected)
    assert all(each.sqlstate.startswith("23") or db.engine.dialect.name == "mysql" for each in result.rejected)
    assert result.inserted == count(db, User) == number - len(bad)


def test_the_first_bad_row_ends_the_call_and_nothing_is_written(db: Database, writer: Writer) -> None:
    rows, _ = spoilt(40)
    with pytest.raises(IntegrityError) as raised:
        writer(User).insert(rows)
    assert isinstance(raised.value, RowConflict)
    assert raised.value.position in {3, 7, 8, 39}
    assert raised.value.row is rows[raised.value.position]
    assert f"row {raised.value.position} was refused" in str(raised.value)
    assert count(db, User) == 0


@pytest.mark.usefixtures("route")
def test_upserted_rows_are_isolated(db: Database, writer: Writer) -> None:
    writer(User).insert(users(10, plan="paid"))
    rows = users(30, plan="gold")
    rows[4]["city_id"], rows[20]["age"], rows[21]["email"] = 77, 300, None
    result = writer(User).upsert(rows, key=[User.email], on_error="reject")
    assert [each.position for each in result.rejected] == [4, 20, 21]
    assert (result.inserted, result.updated, result.unchanged) == (18, 9, 0)
    assert count(db, User) == 28


def test_updated_rows_are_isolated(db: Database, writer: Writer) -> None:
    writer(User).insert(users(10))
    rows = [{"email": f"{each}@b", "age": 100 + each} for each in range(12)]
    rows[4]["age"], rows[6]["email"] = 300, None
    result = writer(User).update(rows, key=[User.email], on_error="reject")
    assert [each.position for each in result.rejected] == [4, 6]
    assert (result.updated, result.missing) == (8, 2)


@pytest.mark.usefixtures("route")
@pytest.mark.parametrize("verb", ["upsert", "update"])
def test_a_bad_row_behind_the_staging_table_is_named(db: Database, writer: Writer, verb: str) -> None:
    writer(User).insert(users(10))
    rows = [{"email": f"{each}@b", "age": 100} for each in range(10)]
    rows[6]["age"] = 300
    with pytest.raises(RowConflict) as raised:
        getattr(writer(User), verb)(rows, key=[User.email])
    assert (raised.value.position, raised.value.row) == (6, rows[6])
    with db.session() as session:
        assert session.scalar(select(func.max(User.age))) == 9


@pytest.mark.usefixtures("route")
def test_two_rows_with_one_key(db: Database, writer: Writer) -> None:
    rows = [{"email": "a", "age": 1}, {"email": "b", "age": 2}, {"email": "a", "age": 3}]
    for verb in ("upsert", "update"):
        with pytest.raises(RowError) as raised:
            getattr(writer(User), verb)(rows, key=[User.email])
        assert raised.value.position == 2
        assert "row 0 has the same email" in str(raised.value)
    result = writer(User).upsert(rows, key=[User.email], on_error="reject")
    assert (result.inserted, [each.position for each in result.rejected]) == (2, [2])


@pytest.mark.usefixtures("route")
@pytest.mark.parametrize(("duplicates", "age"), [("first", 1), ("last", 3)])
def test_which_of_two_rows_with_one_key_counts(db: Database, writer: Writer, duplicates: str, age: int) -> None:
    rows = [{"email": "a", "age": 1}, {"email": "b", "age": 2}, {"email": "a", "age": 3}]
    result = writer(User).upsert(rows, key=[User.email], duplicates=duplicates)
    assert result.inserted == 2
    with db.session() as session:
        assert session.scalar(select(User.age).where(User.email == "a")) == age
    writer(User).update([{"email": "a", "plan": "x"}, {"email": "a", "plan": "y"}], key=[User.email], duplicates=duplicates)
    with db.session() as session:
        assert session.scalar(select(User.plan).where(User.email == "a")) == ("x" if duplicates == "first" else "y")


def test_a_row_that_is_referred_to_is_not_deleted(db: Database, writer: Writer) -> None:
    writer(City).insert([{"id": each, "name": f"c{each}"} for each in range(1, 6)])
    writer(User).insert([{"email": "a", "city_id": 3}])
    with pytest.raises(RowConflict) as raised:
        writer(City).delete([1, 2, 3, 4])
    assert raised.value.position == 2
    assert count(db, City) == 5
    result = writer(City).delete([1, 2, 3, 4], on_error="reject")
    assert (result.deleted, [each.position for each in result.rejected]) == (3, [2])
    assert count(db, City) == 2


def test_rows_of_joined_inheritance_are_isolated(db: Database, writer: Writer) -> None:
    rows = [{"name": f"n{each}", "language": "c"} for each in range(10)]
    rows[4]["language"] = None  # type: ignore[assignment]
    result = writer(Engineer).insert(rows, on_error="reject")
    assert [each.position for each in result.rejected] == [4]
    assert count(db, Engineer.__table__) == count(db, Person.__table__) == 9


def test_rejected_rows_go_to_a_file_a_table_and_a_function(db: Database, writer: Writer, tmp_path: Path) -> None:
    rows, bad = spoilt(40)
    taken: list[Any] = []
    writer(User).insert(rows, on_error="reject", rejects=taken.append)
    assert [each.position for each in taken] == bad
    BulkWriter(db, User).delete([row["email"] for row in rows if row["email"]], key=[User.email])
    file = tmp_path / "bad.jsonl"
    writer(User).insert(rows, on_error="reject", rejects=file)
    told = [json.loads(line) for line in file.read_text().splitlines()]
    assert [each["position"] for each in told] == bad
    table = Table(
        "rejects", MetaData(), Column("id", Integer, primary_key=True), Column("position", Integer), Column("reason", Text)
    )
    table.metadata.drop_all(db.engine)
    table.metadata.create_all(db.engine)
    BulkWriter(db, User).delete([row["email"] for row in rows if row["email"]], key=[User.email])
    writer(User).insert(rows, on_error="reject", rejects=table)
    with db.session() as session:
        assert list(session.scalars(select(table.c.position).order_by(table.c.position))) == bad
    with pytest.raises(UsageError, match="has none of the columns"):
        writer(User).insert(rows, rejects=Table("other", MetaData(), Column("x", String)))


def test_too_many_rejected_rows_end_the_call(db: Database, writer: Writer) -> None:
    rows, _ = spoilt(40)
    with pytest.raises(RowError, match="more than 2 rows were refused"):
        writer(User).insert(rows, on_error="reject", max_rejected=2)
    assert count(db, User) == 0


def test_thousands_of_bad_rows_are_sifted_by_the_server(pg: Database) -> None:
    rows = users(20_000)
    for each in range(0, 20_000, 10):
        rows[each]["age"] = 300
    rows[1]["city_id"] = 77
    rows[5_001]["email"] = "2@b"
    result = BulkWriter(pg, User).insert(rows, on_error="reject", returning=[User.email])
    bad = sorted([1, 5_001, *range(0, 20_000, 10)])
    assert [each.position for each in result.rejected] == bad
    assert result.inserted == count(pg, User) == 20_000 - len(bad)
    assert [row[0] for row in result.rows] == [row["email"] for at, row in enumerate(rows) if at not in set(bad)]
    assert {each.sqlstate for each in result.rejected} == {"23514", "23505", "23503"}
    assert all(each.row is rows[each.position] for each in result.rejected)


def test_the_column_is_told_of_many(pg: Database) -> None:
    rows = [{"email": f"{each}" * 60 if each > 9 else f"{each}"} for each in range(60)]
    rejected = BulkWriter(pg, User).insert(rows, on_error="reject").rejected
    assert [(each.position, each.column, each.value) for each in rejected] == [
        (each, "email", rows[each]["email"]) for each in range(10, 60)
    ]


@pytest.mark.parametrize("on_error", ["raise", "reject"])
def test_rows_of_which_the_database_gives_everything(db: Database, writer: Writer, on_error: Any) -> None:
    table = Table("tickets", MetaData(), Column("id", Integer, primary_key=True), Column("label", Text, server_default="x"))
    table.metadata.create_all(db.engine)
    assert writer(table).insert([{}, {}, {}], on_error=on_error).inserted == 3
    assert count(db, table) == 3


def test_the_column_and_the_value_are_told(pg: Database) -> None:
    rows = [
        {"email": "a", "balance": "x"},
        {"email": "a" * 70},
        {"email": "b", "balance": 10**20},
        {"email": "c\0"},
        {"email": "\ud800"},
    ]
    result = BulkWriter(pg, User).insert(rows, on_error="reject")
    told = [(each.position, each.column, each.value, each.sqlstate) for each in result.rejected]
    assert told == [
        (0, "balance", "x", ""),
        (1, "email", "a" * 70, "22001"),
        (2, "balance", 10**20, "22003"),
        (3, "email", "c\0", "22021"),
        (4, "email", "\ud800", ""),
    ]
