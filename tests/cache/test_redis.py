"""Redis behind memory: what processes share, and that nothing depends on it: gone, paused, restarted, full of garbage."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from sqlalchemy import text, update
from sqlalchemy.engine import URL

from dal import Database, MemoryCache, RedisCache, TieredCache, UnsupportedError
from dal.cache import shapes
from tests.cache.conftest import Reader, eventually, stats
from tests.cache.models import Author, authors
from tests.database.doors import Door
from tests.redis import RedisServer

PREFIX = f"dal-test-{uuid.uuid4().hex}"
"""The server may be somebody's: only keys that begin with this are touched."""


@pytest.fixture
def raw(redis_url: str) -> Iterator[Any]:
    """The server, looked at directly."""
    with redis.Redis.from_url(redis_url) as client:
        yield client
        forget(client)


def forget(client: Any) -> None:
    """Remove the keys of these tests."""
    for key in client.keys(f"{PREFIX}:*"):
        client.delete(key)


def tiered(url: str, **options: Any) -> TieredCache:
    return TieredCache(MemoryCache(), RedisCache(url, **{"prefix": PREFIX, **options}))


@pytest.fixture
def two(opened: Callable[..., Door], redis_url: str, raw: Any) -> tuple[Door, Door]:
    """Two that share one Redis; both listen before anything is read."""
    pair = opened(cache=tiered(redis_url)), opened(cache=tiered(redis_url))
    for number, door in enumerate(pair):
        # What a process has kept objects of, it can read.
        Reader(door, authors, f"warm {number}")()
    forget(raw)
    return pair


def test_what_one_has_read_the_other_finds(two: tuple[Door, Door]) -> None:
    here, there = (Reader(door, authors) for door in two)
    here()
    found = there()
    assert there.loads == 0
    assert stats(two[1]).shared_hits == 1
    assert [(author.name, author.born, author.token, author.options) for author in found] == [
        (author.name, author.born, author.token, author.options) for author in here()
    ]
    assert there(form=shapes)[0].name == "a1"
    assert there.kept


def test_what_was_written_since_is_not_used(two: tuple[Door, Door]) -> None:
    here, there = (Reader(door, authors) for door in two)
    here()
    two[0].run(lambda session: session.execute(update(Author).values(name="changed")))
    assert there()[0].name == "changed"
    assert here()[0].name == "changed"
    eventually(lambda: fresh(there)[0].name == "changed" and fresh(here)[0].name == "changed")


def fresh(read: Reader) -> Any:
    """Read past what is kept in memory."""
    core: Any = read.door.db.cache  # type: ignore[attr-defined]
    getattr(core, "core", core).forget(read.key)
    return read()


def test_what_was_read_before_this_process_listened_is_not_used(url: URL, redis_url: str, raw: Any) -> None:
    with Database(url, cache=tiered(redis_url)) as early:
        early.cache.fetch("key", authors)
        with early.transaction() as session:
            session.execute(update(Author).values(name="moved on"))
        with Database(url, cache=tiered(redis_url)) as late:
            assert late.cache.fetch("key", authors)[0].name == "moved on"
            assert late.cache.stats().shared_hits == 0


def test_another_database_of_the_same_server_has_values_of_its_own(url: URL, dal_database: URL, redis_url: str) -> None:
    count = lambda session: session.scalar(text("SELECT current_database()"))  # noqa: E731
    with Database(url, cache=tiered(redis_url)) as one, Database(dal_database, cache=tiered(redis_url)) as other:
        for _ in range(2):
            assert one.cache.fetch("which", count) == url.database
            assert other.cache.fetch("which", count) == dal_database.database
            one.cache.forget("which")
            other.cache.forget("which")
        assert one.cache.stats().shared_hits == other.cache.stats().shared_hits == 1


def test_garbage_is_read_anew(two: tuple[Door, Door], raw: Any) -> None:
    here, there = (Reader(door, authors) for door in two)
    here()
    (name,) = raw.keys(f"{PREFIX}:*")
    whole = raw.get(name)
    for garbage in (b"", b"garbage", whole[:-1], whole[:40] + b"\0" + whole[41:], b"\x80\x04N."):
        raw.set(name, garbage)
        assert [author.name for author in fresh(there)] == ["a1", "a2", "a3", "a4"]
    assert there.loads == 5
    raw.delete(name)
    raw.lpush(name, "a list")
    assert len(fresh(there)) == 4


def test_values_stay_for_their_time_and_no_longer(url: URL, redis_url: str, raw: Any) -> None:
    with Database(url, cache=tiered(redis_url, ttl="10s")) as db:
        db.cache.fetch("key", authors)
        (name,) = raw.keys(f"{PREFIX}:*")
        assert 0 < raw.pttl(name) <= 10_000


def test_large_values_and_values_without_encoding_stay_here(url: URL, redis_url: str, raw: Any) -> None:
    with Database(url, cache=tiered(redis_url, max_value=1000)) as db:
        db.cache.fetch("large", lambda session: "x" * 2000)
        db.cache.fetch("strange", lambda session: [Strange()])
        db.cache.fetch(Strange(), lambda session: 5)
        assert db.cache.has("large")
        assert db.cache.has("strange")
        assert raw.keys(f"{PREFIX}:*") == []
        assert db.cache.stats().unshared == 3


class Strange:
    pass


def test_redis_alone(opened: Callable[..., Door], redis_url: str, raw: Any) -> None:
    door = opened(cache=RedisCache(redis_url, prefix=PREFIX))
    read = Reader(door, authors)
    assert [len(read()), len(read()), read.loads] == [4, 4, 1]
    door.run(lambda session: session.execute(update(Author).values(name="changed")))
    assert read()[0].name == "changed"


def test_other_databases_have_no_snapshots(redis_url: str) -> None:
    with pytest.raises(UnsupportedError, match="needs PostgreSQL"):
        Database("sqlite://", cache=RedisCache(redis_url))


def reads_right(read: Reader, name: str, seconds: float) -> None:
    """Read past memory again and again: right, without an error, and in time."""
    for _ in range(10):
        began = time.monotonic()
        assert {author.name for author in fresh(read)} == {name}
        assert time.monotonic() - began < seconds


def test_killed_paused_and_started_again(opened: Callable[..., Door], redis_server: RedisServer) -> None:
    door = opened(cache=tiered(redis_server.url))
    read = Reader(door, authors)

    def write(name: str) -> None:
        door.run(lambda session: session.execute(update(Author).values(name=name)))

    for number, trouble in enumerate((redis_server.pause, redis_server.kill)):
        write(f"before {number}")
        reads_right(read, f"before {number}", 5)
        trouble()
        reads_right(read, f"before {number}", 5)
        write(f"during {number}")
        reads_right(read, f"during {number}", 5)
        redis_server.kill()
        redis_server.start()
        reads_right(read, f"during {number}", 5)
        eventually(lambda: answers(read, door), 20)
    assert stats(door).shared_errors > 0


def answers(read: Reader, door: Door) -> bool:
    """Tell whether a value comes from Redis again."""
    before = stats(door).shared_hits
    fresh(read)
    fresh(read)
    time.sleep(0.05)
    found: bool = stats(door).shared_hits > before
    return found


def test_a_server_that_hangs_is_waited_for_once_and_then_left_alone(url: URL, redis_server: RedisServer) -> None:
    with Database(url, cache=tiered(redis_server.url, timeout="200ms")) as db:
        db.cache.fetch("first", authors)
        redis_server.pause()
        began = time.monotonic()
        for number in range(50):
            db.cache.fetch(("key", number), authors)
        # Each of them would have waited twice.
        assert time.monotonic() - began < 10
        assert db.cache.stats().shared_errors < 10
        redis_server.resume()
