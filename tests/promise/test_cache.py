"""The promised lines on caching, as written."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import select
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from dal import AsyncDatabase, Database, MemoryCache, NotLoaded, RedisCache, TieredCache, eager
from dal.testing import Server
from tests.promise.conftest import made
from tests.promise.models import User


@pytest.fixture
def url(dal_server: Server) -> Iterator[URL]:
    name = f"promise_cache_{time.monotonic_ns()}"
    yield made(dal_server.create_database(name))
    dal_server.drop_database(name)


def load(session: Session) -> list[User]:
    return list(session.scalars(select(User).where(User.active).options(eager(User.profile)).order_by(User.id)))


def test_memory(url: URL) -> None:
    with Database(url, cache=MemoryCache(max_bytes=64_000_000)) as db:
        first = db.cache.fetch("active", load)
        again = db.cache.fetch("active", load)
        assert [user.email for user in again] == [user.email for user in first]
        assert again[0].profile is not None
        assert again[0].profile.city == "Oslo"
        with pytest.raises(NotLoaded, match=r"User\.orders"):
            again[0].orders
        with db.transaction() as session:
            session.get_one(User, 1).name = "changed"
        assert db.cache.fetch("active", load)[0].name == "changed"
        found = db.cache.stats()
        assert (found.hits, found.misses, found.spoiled) == (1, 2, 1)


def test_tiers(url: URL, redis_url: str) -> None:
    with Database(url, cache=TieredCache(MemoryCache(max_entries=1000), RedisCache(redis_url))) as db:
        assert len(db.cache.fetch("active", load)) == 8
        db.cache.forget("active")
        assert len(db.cache.fetch("active", load)) == 8
        assert db.cache.stats().shared_hits == 1


async def test_async(url: URL, redis_url: str) -> None:
    async with AsyncDatabase(url, cache=TieredCache(MemoryCache(), RedisCache(redis_url))) as db:
        assert len(await db.cache.fetch("active", load)) == 8
        assert len(await db.cache.fetch("active", load)) == 8
        async with db.transaction() as session:
            (await session.get_one(User, 1)).name = "changed"
        assert (await db.cache.fetch("active", load))[0].name == "changed"
        assert db.cache.stats().hits == 1
