"""Tables that are not plain ones: partitioned, in a schema, oddly named, with ids and columns that only the server gives."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Computed,
    Identity,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import HSTORE

from dal import BulkWriter, Database, RowConflict, UsageError

metadata = MetaData()
parted = Table(
    "parted",
    metadata,
    Column("region", Text, primary_key=True),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", Text),
    postgresql_partition_by="LIST (region)",
)
odd = Table(
    'odd "table" 100%',
    metadata,
    Column("select", Integer, primary_key=True, autoincrement=False, key="chosen"),
    Column("50% off; --", Text, key="discount"),
    Column('a "b" c', Text, key="quoted"),
    Column("größe", Integer, key="size"),
    schema="Über uns",
)
always = Table(
    "always",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("code", Text, unique=True),
    Column("size", Integer),
    Column("twice", Integer, Computed("size * 2")),
)
exact = Table(
    "exact", metadata, Column("id", Integer, primary_key=True), Column("free", Numeric), Column("fixed", Numeric(20, 5))
)


@pytest.fixture
def tables(pg: Database, route: str) -> Iterator[Database]:
    """The tables; each test goes by the route for few rows, and by the one for many."""
    with pg.transaction() as session:
        session.execute(text('CREATE SCHEMA "Über uns"'))
        metadata.create_all(session.connection())
        for region in "ab":
            session.execute(text(f"CREATE TABLE parted_{region} PARTITION OF parted FOR VALUES IN ('{region}')"))
        # Its columns are in another order, so that each row has to be turned on its way.
        session.execute(text("CREATE TABLE parted_c (name text, gone int, id int NOT NULL, region text NOT NULL)"))
        session.execute(text("ALTER TABLE parted_c DROP COLUMN gone"))
        session.execute(text("ALTER TABLE parted ATTACH PARTITION parted_c FOR VALUES IN ('c')"))
    yield pg
    with pg.transaction() as session:
        metadata.drop_all(session.connection())


def rows_of(db: Database, table: Table) -> list[tuple[Any, ...]]:
    with db.session() as session:
        return [tuple(row) for row in session.execute(select(table).order_by(*table.primary_key.columns))]


@pytest.mark.parametrize("regions", ["ab", "abc"])
def test_a_partitioned_table(tables: Database, regions: str) -> None:
    bulk: BulkWriter[Any] = BulkWriter(tables, parted)
    rows: list[dict[str, Any]] = [{"region": region, "id": each, "name": "old"} for each in range(20) for region in regions]
    assert bulk.insert(rows).inserted == len(rows)
    changed = [{**row, "name": "new"} if row["id"] < 5 else row for row in rows]
    fresh = [{"region": region, "id": 100, "name": "new"} for region in regions]
    result = bulk.upsert([*changed, *fresh], key=["region", "id"])
    assert (result.inserted, result.updated, result.unchanged) == (len(regions), 5 * len(regions), 15 * len(regions))
    result = bulk.upsert([{"region": "a", "id": 7}, {"region": "a", "id": 8_000}], key=["region", "id"])
    assert (result.inserted, result.updated, result.unchanged) == (1, 0, 1)
    assert bulk.update([{**row, "name": "last"} for row in rows]).updated == len(rows)
    assert bulk.delete([(row["region"], row["id"]) for row in rows]).deleted == len(rows)
    assert rows_of(tables, parted) == sorted([(region, 100, "new") for region in regions] + [("a", 8_000, None)])


def test_a_row_of_no_partition_is_rejected(tables: Database) -> None:
    bulk: BulkWriter[Any] = BulkWriter(tables, parted)
    rows = [{"region": region, "id": 1} for region in "axb"]
    for write in (bulk.insert, lambda rows, **more: bulk.upsert(rows, key=["region", "id"], **more)):
        result = write(rows, on_error="reject")
        assert [(each.position, each.sqlstate) for each in result.rejected] == [(1, "23514")]
    assert [row[0] for row in rows_of(tables, parted)] == ["a", "b"]


def test_odd_names_in_a_schema(tables: Database) -> None:
    bulk: BulkWriter[Any] = BulkWriter(tables, odd)
    rows = [{"chosen": each, "discount": f"{each}%", "quoted": '"%s"', "size": each} for each in range(5)]
    bulk.insert(rows)
    assert bulk.upsert([*rows, {**rows[0], "chosen": 9}], key=["chosen"]).inserted == 1
    assert bulk.update([{"chosen": 9, "discount": "%%", "größe": 10}]).updated == 1
    found = bulk.upsert([{"chosen": 8, "size": 8}], key=["chosen"], returning=["chosen", "size"])
    assert [tuple(row) for row in found.rows] == [(8, 8)]
    assert bulk.delete([0, 1, 2]).deleted == 3
    assert rows_of(tables, odd) == [
        (3, "3%", '"%s"', 3),
        (4, "4%", '"%s"', 4),
        (8, None, None, 8),
        (9, "%%", '"%s"', 10),
    ]
    with pytest.raises(RowConflict, match=r"row 1 was refused"):
        bulk.insert([{"chosen": 5}, {"chosen": 9}])


def test_an_identity_that_is_always_generated(tables: Database) -> None:
    bulk: BulkWriter[Any] = BulkWriter(tables, always)
    first = bulk.insert([{"code": code, "size": 1} for code in "abc"], returning=["id", "code"])
    assert [code for _, code in first.rows] == ["a", "b", "c"]
    assert bulk.insert([{"id": 1_000, "code": "d", "size": 4}]).inserted == 1
    result = bulk.upsert([{"code": "a", "size": 9}, {"code": "e", "size": 5}], key=["code"], returning=["id", "size", "twice"])
    assert [tuple(row)[1:] for row in result.rows] == [(9, 18), (5, 10)]
    assert result.rows[0][0] == first.rows[0][0]
    assert bulk.upsert([{"id": 1_000, "code": "d", "size": 7}], key=["id"]).updated == 1
    assert rows_of(tables, always)[-1] == (1_000, "d", 7, 14)
    with pytest.raises(UsageError, match=r"always\.twice, which the database computes"):
        bulk.insert([{"code": "f", "twice": 3}])


def test_numbers_at_their_ends(tables: Database) -> None:
    ends = [
        Decimal(0),
        Decimal("1e131071"),
        Decimal("-1e131071"),
        Decimal("1e-16383"),
        Decimal("9" * 200 + "." + "9" * 200),
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
    ]
    bulk: BulkWriter[Any] = BulkWriter(tables, exact)
    rows = [{"id": at, "free": end} for at, end in enumerate(ends)]
    bulk.insert(rows)
    assert bulk.upsert(rows, key=["id"]).unchanged == len(rows)
    found = [row[1] for row in rows_of(tables, exact)]
    assert found[5].is_nan()
    assert [each for each in found if not each.is_nan()] == [each for each in ends if not each.is_nan()]
    fixed = ["999999999999999.99999", "0.000004", "1000000000000000", "Infinity"]
    result = bulk.insert([{"id": 100 + at, "fixed": Decimal(each)} for at, each in enumerate(fixed)], on_error="reject")
    assert [(each.position, each.column) for each in result.rejected] == [(2, "fixed"), (3, "fixed")]
    assert [row[2] for row in rows_of(tables, exact)[-2:]] == [Decimal("999999999999999.99999"), Decimal("0.00000")]


def test_hstore(tables: Database) -> None:
    labelled = Table("labelled", MetaData(), Column("id", Integer, primary_key=True), Column("labels", HSTORE))
    with tables.transaction() as session:
        if not session.scalar(text("SELECT count(*) FROM pg_available_extensions WHERE name = 'hstore'")):
            pytest.skip("this PostgreSQL has no extension hstore")
        session.execute(text("CREATE EXTENSION hstore"))
        labelled.create(session.connection())
    rows: list[dict[str, Any]] = [
        {"id": 1, "labels": {"a": "1", 'q"': "x=>y, \\", "none": None}},
        {"id": 2, "labels": {}},
        {"id": 3, "labels": None},
    ]
    bulk: BulkWriter[Any] = BulkWriter(tables, labelled)
    bulk.insert(rows)
    assert bulk.upsert([*rows, {"id": 4, "labels": {"ü": "%"}}], key=["id"]).inserted == 1
    assert [row[1] for row in rows_of(tables, labelled)] == [rows[0]["labels"], {}, None, {"ü": "%"}]


def test_a_key_that_is_not_unique_in_the_database(tables: Database) -> None:
    bulk: BulkWriter[Any] = BulkWriter(tables, always)
    with pytest.raises(UsageError, match="has no unique key of size"):
        bulk.upsert([{"code": "a", "size": 1}], key=["size"])
    assert rows_of(tables, always) == []
