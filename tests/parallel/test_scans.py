"""A scan gives what one statement gives, however it is cut and whoever does the work."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Select, func, select, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import joinedload

from dal import AsyncDatabase, Database, PoolConfig, UsageError, batched, eager, strict, using_policy
from dal.errors import NotLoaded, PartFailed
from dal.parallel import Part, Progress
from tests.database.doors import Door
from tests.parallel.conftest import POOL
from tests.parallel.tables import SALES, SHOPS, TOTAL, Colour, Sale, Shop, amounts, count, shown, where

CUTS: dict[str, dict[str, Any]] = {
    "ranges": {"by": Sale.id},
    "ranges of a skewed key": {"by": Sale.word},
    "ranges of an own type": {"by": Sale.amount},
    "ranges of an enum": {"by": Sale.colour},
    "ranges of an expression": {"by": func.length(Sale.word)},
    "a hash": {"by": Sale.word, "split": "hash"},
    "physical": {},
    "physical by class": {"by": Sale},
    "one part": {"by": Sale.id, "parts": 1},
    "more parts than keys": {"by": Sale.shop_id, "parts": 50},
}


def counted(db: Any, cut: dict[str, Any]) -> Any:
    return db.parallel(select(Sale), **cut).map(count).reduce(int.__add__)


async def sum_slowly(rows: list[Any]) -> int:
    await asyncio.sleep(0.001)
    return amounts(rows)


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_every_row_is_in_exactly_one_part(door: Door, cut: dict[str, Any]) -> None:
    rows = door.call(lambda db: db.parallel(select(Sale), workers=3, **cut).map_rows(shown).list())
    assert len(rows) == SALES
    assert {row[0] for row in rows} == {number * number for number in range(1, SALES + 1)}


@pytest.mark.parametrize(
    "cut", [CUTS["ranges of an own type"], CUTS["a hash"], CUTS["physical"]], ids=["range", "hash", "ctid"]
)
def test_processes_see_the_same_values(db: Database, cut: dict[str, Any]) -> None:
    here = db.parallel(select(Sale), workers=1, by=Sale.id).map_rows(shown).list()
    there = db.parallel(select(Sale), workers=1, processes=True, **cut).map_rows(shown).list()
    assert sorted(there) == sorted(here) if cut.get("by") is None else sorted(there, key=str) == sorted(here, key=str)
    assert {type(row[2]) for row in there} == {Colour}


@pytest.mark.parametrize("processes", [False, True])
def test_map_and_reduce(door: Door, processes: bool) -> None:
    def call(db: Any) -> Any:
        return db.parallel(select(Sale), by=Sale.id, workers=2, processes=processes).map(amounts).reduce(int.__add__)

    assert door.call(call) == TOTAL


async def test_a_coroutine_function_is_awaited(sales_url: URL) -> None:
    async with AsyncDatabase(sales_url) as db:
        assert await db.parallel(select(Sale), by=Sale.id).map(sum_slowly).reduce(int.__add__) == TOTAL


@pytest.mark.parametrize("processes", [False, True])
async def test_another_driver(sales_url: URL, processes: bool) -> None:
    async with AsyncDatabase(sales_url.set(drivername="postgresql+asyncpg")) as db:
        scan = db.parallel(select(Sale), by=Sale.id, workers=2, processes=processes)
        assert await scan.map(amounts).reduce(int.__add__) == TOTAL


def test_parts_come_in_order_or_as_they_come(door: Door) -> None:
    def ends(db: Any, ordered: bool) -> Any:
        statement = select(Sale.id).order_by(Sale.id)
        return db.parallel(statement, by=Sale.id, workers=3, parts=20, ordered=ordered).map(max).list()

    in_order = door.call(lambda db: ends(db, True))
    assert in_order == sorted(in_order)
    assert len(in_order) == 20
    assert sorted(door.call(lambda db: ends(db, False))) == in_order


def test_as_many_workers_as_asked_for(db: Database) -> None:
    seen = db.parallel(select(Sale), by=Sale.id, workers=2, processes=True).map(where).list()
    assert len({pid for pid, _ in seen} - {os.getpid()}) == 2
    with using_policy(batched()):
        threads = db.parallel(select(Sale), by=Sale.id, workers=3).map(lambda rows: (threading.get_ident(), where(rows))).list()
    assert len({ident for ident, _ in threads} - {threading.get_ident()}) == 3


def test_the_first_worker_goes_on_with_the_first_connection(sales_url: URL) -> None:
    pool = PoolConfig(min_pool_size=1, max_pool_size=2)
    with Database(sales_url, pool=pool) as db:
        assert db.parallel(select(Sale), by=Sale.id, workers=2).map(count).reduce(int.__add__) == SALES
        assert db.pool.stats().size == 2
        with db.session() as held:
            held.execute(text("SELECT 1"))
            assert db.parallel(select(Sale), by=Sale.id, workers=4).map(count).reduce(int.__add__) == SALES


def test_parts_are_even(db: Database) -> None:
    cuts: list[dict[str, Any]] = [{"by": Sale.id}, {"by": Sale.amount}, {"by": Sale.id, "split": "hash", "parts": 8}]
    for cut in cuts:
        sizes = db.parallel(select(Sale), workers=1, **cut).map(count).list()
        assert len(sizes) == 8
        assert max(sizes) < 1.3 * SALES / 8, cut


def test_equal_keys_are_together_in_a_hash(db: Database) -> None:
    parts = db.parallel(select(Sale.word), by=Sale.word, split="hash", parts=5).map(set).list()
    assert sum(map(len, parts)) == len(set().union(*parts))


def test_groups_stay_whole_when_they_are_cut_by_what_they_group(db: Database) -> None:
    statement = select(Sale.shop_id, func.count()).group_by(Sale.shop_id)
    found = db.parallel(statement, by=Sale.shop_id, parts=3).map(lambda rows: [tuple(row) for row in rows]).reduce(list.__add__)
    with db.session() as session:
        assert sorted(found, key=str) == sorted((tuple(row) for row in session.execute(statement)), key=str)


def test_joined_rows_and_rows_without_a_partner(db: Database) -> None:
    statement = select(Sale.id, Shop.name).outerjoin(Sale.shop)
    cuts: list[dict[str, Any]] = [{"by": Shop.id}, {"by": Shop}, {"by": Sale.id}, {"by": Shop, "parts": 1}]
    for cut in cuts:
        rows = db.parallel(statement, **cut).rows().list()
        assert len(rows) == SALES
        assert sum(row.name is None for row in rows) == SALES // 10


def test_loading_policies_hold_in_threads(db: Database) -> None:
    def names(sales: list[Sale]) -> set[str]:
        return {sale.shop.name for sale in sales if sale.shop is not None}

    for option in (batched(), eager(Sale.shop), joinedload(Sale.shop)):
        statement: Select[Sale] = select(Sale).options(option)
        assert len(db.parallel(statement, by=Sale.id, workers=2).map(names).reduce(set.union)) == SHOPS
    with using_policy(strict()), pytest.raises(PartFailed) as raised:
        db.parallel(select(Sale), by=Sale.id, workers=2).map(names).list()
    assert isinstance(raised.value.__cause__, NotLoaded)
    shops = db.parallel(select(Shop).options(joinedload(Shop.sales)), by=Shop.id, parts=2).map(list).reduce(list.__add__)
    assert sum(len(shop.sales) for shop in shops) == SALES - SALES // 10


def test_progress_is_told(door: Door) -> None:
    told: list[Progress] = []
    door.call(lambda db: db.parallel(select(Sale), by=Sale.id, workers=2, parts=6, progress=told.append).map(count).list())
    assert [each.done for each in told] == [1, 2, 3, 4, 5, 6]
    assert {each.parts for each in told} == {6}
    assert told[-1].rows == SALES


def test_an_empty_table_is_one_empty_part(dal_database: URL, opened: Callable[..., Door]) -> None:
    with Database(dal_database) as db, db.transaction() as session:
        session.execute(text("CREATE TYPE colour AS ENUM ('RED', 'BLUE')"))
        Sale.metadata.create_all(session.connection())
    door = opened(dal_database)
    cuts: list[dict[str, Any]] = [{"by": Sale.id}, {"by": Sale.id, "split": "hash"}, {}]
    for cut in cuts:
        assert door.call(partial(counted, cut=cut)) == 0
    with pytest.raises(UsageError, match="no row to fold"):
        door.call(lambda db: db.parallel(select(Sale), by=Sale.id).map_rows(shown).reduce(max))
    assert door.call(lambda db: db.parallel(select(Sale), by=Sale.id).map_rows(shown).reduce(max, 7)) == 7


def test_a_part_says_what_it_is() -> None:
    assert str(Part(2, 8, "flights.id > 100 and <= 200")) == "part 2 of 8 (flights.id > 100 and <= 200)"


def test_there_are_no_more_workers_than_the_pool_has_connections(db: Database) -> None:
    def at_work(rows: list[Any]) -> int:
        return sum(thread.name == "dal-parallel" for thread in threading.enumerate())

    scan = db.parallel(select(Sale), by=Sale.id, workers=10**6, parts=40).map(at_work)
    assert 1 <= scan.reduce(max) <= POOL.max_pool_size


async def test_there_are_no_more_tasks_than_the_pool_has_connections(sales_url: URL) -> None:
    async def at_work(rows: list[Any]) -> int:
        return sum(task.get_name() == "dal-parallel" for task in asyncio.all_tasks())

    async with AsyncDatabase(sales_url, pool=POOL) as db:
        scan = db.parallel(select(Sale), by=Sale.id, workers=10**6, parts=40).map(at_work)
        assert 1 <= await scan.reduce(max) <= POOL.max_pool_size
