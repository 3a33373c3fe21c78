"""The promised lines of pagers, cache and prefetch, as a user writes them, through both doors."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from dal import (
    AsyncDatabase,
    Database,
    MemoryCache,
    Page,
    PoolConfig,
    eager,
    predictive,
    sequential,
    spatial,
    temporal,
)
from dal.demo.models import Airport
from dal.testing import Server
from tests.promise.models import Base, Profile, User

PEOPLE, SIZE = 240, 50
POOL = PoolConfig(min_pool_size=3, max_pool_size=5)


def crowd(session: Session) -> None:
    """Write users, and airports on a line."""
    session.add_all(
        User(
            id=number,
            email=f"n{number}@b",
            name=f"n{number}",
            created_at=dt.datetime(2026, 1, 1) + dt.timedelta(hours=number),
            profile=Profile(city="Oslo"),
        )
        for number in range(1, PEOPLE + 1)
    )
    session.add_all(
        Airport(faa=f"A{number:02}", name=f"airport {number}", lat=40.0, lon=-75.0 + number, alt=0, tz=-5, dst="A", tzone=None)
        for number in range(30)
    )


@pytest.fixture(scope="module")
def shared_url(dal_server: Server) -> Iterator[URL]:
    """The URL of a shop with enough users for some pages."""
    name = f"promise_{uuid.uuid4().hex}"
    url = dal_server.create_database(name)
    with Database(url, pool=POOL) as db:
        Base.metadata.create_all(db.engine)
        Airport.metadata.create_all(db.engine, tables=[Airport.metadata.tables["airports"]])
        db.run(crowd)
    yield url
    dal_server.drop_database(name)


def test_page_two_is_in_the_cache_before_it_is_asked_for(url: URL) -> None:
    with Database(url, pool=POOL, cache=MemoryCache(max_bytes=64_000_000)) as db:
        db.pool.warm_up("10s")
        pager = db.pager(
            select(User).where(User.active),
            order_by=[User.created_at.desc()],
            size=50,
            policy=eager(User.profile),
            prefetch=sequential(),
        )
        for visitor_id in range(10):
            page: Page[User] = pager.page(client=visitor_id)
            pager.page(after=page.next, client=visitor_id)
        assert db.prefetch.wait()
        db.cache.clear()
        page = pager.page(client="new")
        assert db.prefetch.wait()
        fetched = db.cache.stats().misses
        following = pager.page(after=page.next, client="new")
        assert [user.id for user in following.items] == list(range(PEOPLE - SIZE, PEOPLE - 2 * SIZE, -1))
        assert following.items[0].profile is not None
        assert following.items[0].profile.city == "Oslo"
        assert db.cache.stats().misses == fetched, "no statement was sent for it"
        assert db.prefetch.wait()
        stats = db.prefetch.stats()
        assert stats.prefetch_hits >= 1
        assert 0 < stats.hit_ratio < 1
        assert stats.precision > 0
        assert stats.waste <= 1
        told = [str(decision) for decision in db.prefetch.explain()]
        assert any("used; 10 of 11 visitors went on from the first page" in each for each in told)
        assert db.cache.stats().hits >= 1


async def test_page_two_is_in_the_cache_through_the_async_door(url: URL) -> None:
    async with AsyncDatabase(url, pool=POOL) as db:
        pager = db.pager(
            select(User).where(User.active),
            order_by=[User.created_at.desc()],
            size=50,
            policy=eager(User.profile),
            prefetch=[sequential(), predictive(), temporal()],
        )
        seen, cursor = [], None
        while True:
            page: Page[User] = await pager.page(after=cursor, client="ann")
            assert await db.prefetch.wait()
            seen += [user.id for user in page.items]
            cursor = page.next
            if cursor is None:
                break
        assert seen == list(range(PEOPLE, 0, -1))
        assert db.prefetch.stats().used >= 1
        assert any(decision.outcome == "used" for decision in db.prefetch.explain())
        assert db.cache.stats().hits >= 1


@pytest.mark.parametrize("strategy", [sequential(), predictive(), temporal(), spatial(), [sequential(), spatial()]])
def test_every_strategy_and_a_list_of_them(url: URL, strategy: Any) -> None:
    with Database(url, pool=POOL) as db:
        pager = db.pager(select(User), order_by=[User.created_at.desc()], prefetch=strategy)
        assert len(pager.page(client="ann").items) == SIZE


def test_a_map_has_its_neighbours(url: URL) -> None:
    with Database(url, pool=POOL) as db:
        db.pool.warm_up("10s")
        pager = db.pager(select(Airport), prefetch=spatial(Airport.lat, Airport.lon))
        here = pager.area((39.0, 41.0), (-70.0, -66.0), client="ann")
        assert sorted(airport.faa for airport in here) == ["A05", "A06", "A07", "A08", "A09"]
        assert db.prefetch.wait()
        there = pager.area((39.0, 41.0), (-68.5, -64.5), client="ann")
        assert sorted(airport.faa for airport in there) == ["A07", "A08", "A09", "A10"]
        assert db.prefetch.stats().prefetch_hits == 1
