"""Cuts of larger tables: by statistics, by a sample, by blocks; of partitions; and what cannot be cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Integer, MetaData, Select, Table, column, func, select, table, text, union_all
from sqlalchemy.engine import URL
from sqlalchemy.orm import aliased

from dal import AsyncDatabase, ConfigError, Database, PoolConfig, UsageError
from dal.parallel.physical import even
from dal.testing import Server, count_statements
from tests.parallel.tables import SALES, Sale, Shop, count

ROWS = 24_000

_BIG = f"""
CREATE TABLE big (id int PRIMARY KEY, word text COLLATE "C", heavy int, filler text);
INSERT INTO big SELECT n, chr(65 + n % 60) || n, CASE WHEN n % 4 = 0 THEN 0 ELSE n END, repeat('x', 200)
FROM generate_series(1, {ROWS}) n;
CREATE TABLE sliced (id int, filler text) PARTITION BY RANGE (id);
CREATE TABLE sliced_1 PARTITION OF sliced FOR VALUES FROM (0) TO (3000);
CREATE TABLE sliced_2 PARTITION OF sliced FOR VALUES FROM (3000) TO (21000) PARTITION BY RANGE (id);
CREATE TABLE sliced_2a PARTITION OF sliced_2 FOR VALUES FROM (3000) TO (9000);
CREATE TABLE sliced_2b PARTITION OF sliced_2 FOR VALUES FROM (9000) TO (21000);
CREATE TABLE sliced_3 PARTITION OF sliced FOR VALUES FROM (21000) TO (1000000);
INSERT INTO sliced SELECT id, filler FROM big;
CREATE VIEW seen AS SELECT id FROM big;
CREATE SCHEMA "odd schema";
CREATE TABLE "odd schema"."Odd%Table" ("Key%" int PRIMARY KEY);
INSERT INTO "odd schema"."Odd%Table" SELECT generate_series(1, 500)
"""


@pytest.fixture(scope="module")
def big_url(dal_server: Server) -> Iterator[URL]:
    name = f"parallel_big_{os.getpid()}"
    url = dal_server.create_database(name)
    with Database(url) as db:
        with db.transaction() as session:
            session.connection().connection.cursor().execute(_BIG)
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    yield url
    dal_server.drop_database(name)


@pytest.fixture
def big(big_url: URL) -> Iterator[Database]:
    with Database(big_url, pool=PoolConfig(min_pool_size=1, max_pool_size=4)) as db:
        yield db


def reflected(db: Database, name: str, schema: str | None = None) -> Table:
    return Table(name, MetaData(), autoload_with=db.engine, schema=schema)


def sizes(db: Database, statement: Select[Any], **cut: Any) -> list[int]:
    return db.parallel(statement, workers=1, **cut).map(count).list()


@pytest.mark.parametrize("key", ["id", "word"])
def test_statistics_make_even_parts_without_reading_the_table(big: Database, key: str) -> None:
    rows = reflected(big, "big")
    with count_statements(big.engine) as seen:
        found = sizes(big, select(rows.c.id), by=rows.c[key], parts=10)
    assert sum(found) == ROWS
    assert len(found) in (10, 11)  # and one for the rows without a key, where there may be some
    assert 0.5 * ROWS / 10 < min(found[:10]) <= max(found[:10]) < 1.6 * ROWS / 10
    assert not any("ntile" in statement for statement in seen.statements)


def test_a_value_that_is_everywhere_is_a_part_of_its_own(big: Database) -> None:
    rows = reflected(big, "big")
    found = sizes(big, select(rows.c.id), by=rows.c.heavy, parts=8)
    assert sum(found) == ROWS
    assert max(found) < 1.5 * ROWS / 4  # a quarter of all rows have the same key
    assert len(found) >= 6


def test_a_filter_is_sampled(big: Database) -> None:
    rows = reflected(big, "big")
    narrow = select(rows.c.id).where(rows.c.id > ROWS * 3 // 4)
    found = sizes(big, narrow, by=rows.c.id, parts=6)
    assert sum(found) == ROWS // 4
    assert len(found) == 6
    assert max(found) < 2 * ROWS / 4 / 6


def test_blocks_are_cut_evenly_and_read_once(big: Database) -> None:
    rows = reflected(big, "big")
    found = sizes(big, select(rows.c.id), parts=8)
    assert sum(found) == ROWS
    assert max(found) < 1.2 * ROWS / 8
    plans: list[str] = []
    for part in big.parallel(select(rows.c.id), parts=8).map(len).list()[:1]:
        assert part > 0
    with big.session() as session:
        plan = "EXPLAIN SELECT id FROM big WHERE big.ctid >= CAST('(10,0)' AS TID) AND big.ctid < CAST('(20,0)' AS TID)"
        plans = list(session.scalars(text(plan)))
    assert "Tid Range Scan" in plans[0]


@pytest.mark.parametrize("cut", [{}, {"by": "id"}, {"by": "id", "split": "hash"}], ids=["ctid", "range", "hash"])
def test_partitions(big: Database, cut: dict[str, Any]) -> None:
    rows = reflected(big, "sliced")
    chosen = {**cut, "by": rows.c.id} if cut else {}
    found = sizes(big, select(rows.c.id), parts=9, **chosen)
    assert sum(found) == ROWS
    assert max(found) < 1.7 * ROWS / 9


def test_odd_names_and_aliases(big: Database) -> None:
    rows = reflected(big, "Odd%Table", "odd schema")
    for source in (rows, rows.alias("some %alias"), rows.alias()):
        key = source.c["Key%"]
        for cut in ({"by": key}, {"by": key, "split": "hash"}, {"by": source}, {}):
            found = big.parallel(select(key).where(key != 7), parts=3, **cut).rows().list()
            assert sorted(found) == [number for number in range(1, 501) if number != 7]
        assert sorted(big.parallel(select(key), by=key, workers=1, processes=True)) == list(range(1, 501))


def test_an_alias_of_a_class_and_a_subquery(sales_url: URL) -> None:
    with Database(sales_url) as db:
        other = aliased(Sale)
        for by in (other, other.id):
            assert db.parallel(select(other), by=by, parts=4).map(count).reduce(int.__add__) == SALES
        both = union_all(select(Sale.id), select(Shop.id)).subquery()
        assert db.parallel(select(both.c.id), by=both.c.id, parts=4).map(count).reduce(int.__add__) == SALES + 7


@pytest.mark.parametrize(
    ("statement", "cut", "said"),
    [
        (select(Sale).limit(5), {"by": Sale.id}, "a limit would count in each part"),
        (select(Sale).with_for_update(), {"by": Sale.id}, "cannot lock rows"),
        (select(func.row_number().over()), {"by": Sale.id}, "window function"),
        (select(Sale.word, func.count()).group_by(Sale.word), {"by": Sale.id}, "one group"),
        (select(Sale.word).distinct(), {}, "one group"),
        (select(Sale), {"by": Shop.id}, "does not read"),
        (select(Sale), {"by": Shop}, "does not read"),
        (select(Sale), {"by": "id"}, "is no column"),
        (select(Sale), {"split": "range"}, "needs a key"),
        (select(Sale), {"by": Sale.id, "split": "quick"}, "no way to cut"),
        (union_all(select(Sale.id), select(Shop.id)), {}, "runs a select"),
        (select(func.now()), {}, "which table"),
    ],
)
def test_what_cannot_be_cut_is_told_before_anything_is_read(
    sales_url: URL, statement: Any, cut: dict[str, Any], said: str
) -> None:
    with Database(sales_url) as db, pytest.raises(UsageError, match=said) as raised:
        db.parallel(statement, **cut).map(count).list()
    assert raised.value.hint


def test_a_view_has_no_blocks(big: Database) -> None:
    seen = table("seen", column("id", Integer))
    with pytest.raises(UsageError, match="seen is no table"):
        big.parallel(select(seen.c.id)).map(count).list()
    assert big.parallel(select(seen.c.id), by=seen.c.id, parts=5).map(count).reduce(int.__add__) == ROWS


@pytest.mark.parametrize("name", ["workers", "parts"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "4"])
def test_bad_numbers(sales_url: URL, name: str, value: Any) -> None:
    with Database(sales_url) as db, pytest.raises(ConfigError, match=f"{name}: {value!r}"):
        db.parallel(select(Sale), by=Sale.id, **{name: value})


@pytest.mark.parametrize(
    ("options", "said"), [({"workers": None}, "workers=None says nothing"), ({"progress": 5}, "progress=5 is no function")]
)
@pytest.mark.parametrize("kind", [Database, AsyncDatabase])
def test_what_is_nothing_of_its_kind_is_told_at_the_call(kind: Any, options: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        kind("sqlite://").parallel(select(Sale), by=Sale.id, **options)
    assert raised.value.hint


def test_no_function_is_told_at_the_call() -> None:
    nothing: Any = None
    with Database("sqlite://") as db:
        scan = db.parallel(select(Sale), by=Sale.id)
        for call in (scan.map, scan.map_rows, scan.rows().reduce):
            with pytest.raises(UsageError, match="None is no function"):
                call(nothing)


@given(sizes=st.lists(st.integers(0, 5000), min_size=1, max_size=8), parts=st.integers(1, 40))
def test_blocks_of_several_tables_are_shared_out_evenly(sizes: list[int], parts: int) -> None:
    cuts = even(sizes, parts)
    assert cuts == sorted(set(cuts))
    assert len(cuts) < parts
    edges = [0, *cuts, max(sizes)]
    shares = [sum(max(0, min(size, high) - low) for size in sizes) for low, high in pairwise(edges)]
    assert sum(shares) == sum(sizes)
    assert max(shares) <= sum(sizes) / parts + 2 * len(sizes)
