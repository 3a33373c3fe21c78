"""Settings are checked when made, and say what is accepted."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from dal import ConfigError, Database, MemoryCache, RedisCache, TieredCache


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_bytes": "64MB"}, "max_bytes"),
        ({"max_entries": -1}, "max_entries"),
        ({"ttl": 0}, "ttl"),
        ({"ttl": "soon"}, "ttl"),
        ({"stale": "-1s"}, "stale"),
        ({"jitter": 2}, "jitter"),
        ({"jitter": True}, "jitter"),
        ({"listen_url": "nowhere"}, "url"),
    ],
)
def test_what_memory_does_not_take(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        MemoryCache(**options)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("http://x",), "URL of a Redis"),
        ((5,), "URL of a Redis"),
        (("redis://x", ""), "prefix"),
        (("redis://x", "p", 0), "ttl"),
        (("redis://x", "p", 1, "x"), "timeout"),
        (("redis://x", "p", 1, 1, 0), "max_value"),
    ],
)
def test_what_redis_does_not_take(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RedisCache(*arguments)


def test_what_is_no_cache() -> None:
    wrong: Any = {"max_bytes": 5}
    with pytest.raises(ConfigError, match="not a cache"):
        Database("sqlite://", cache=wrong)
    with pytest.raises(ConfigError, match="TieredCache takes"):
        TieredCache(wrong, RedisCache("redis://x"))


def test_passwords_are_masked() -> None:
    assert "secret" not in repr(TieredCache(MemoryCache(), RedisCache("redis://me:secret@host:6379/0")))


def test_memory_needs_nothing_that_is_not_installed() -> None:
    program = """
import sys
sys.modules["msgspec"] = sys.modules["redis"] = None
from dal import Database, MemoryCache, MissingExtra, RedisCache
with Database("sqlite://", cache=MemoryCache()) as db:
    assert db.cache.fetch("key", lambda session: 5) == 5
try:
    Database("postgresql+psycopg://x/y", cache=RedisCache("redis://x"))
except MissingExtra as error:
    assert "dal[redis]" in error.hint
else:
    sys.exit(1)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_database_without_a_cache_imports_nothing_of_it() -> None:
    program = """
import sys
from dal import Database
with Database("sqlite://") as db, db.session() as session:
    session.connection()
sys.exit(any(name.startswith("dal.cache") for name in sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_other_databases_have_memory_alone() -> None:
    with Database("sqlite://", cache=MemoryCache()) as db:
        with db.engine.begin() as connection:
            connection.execute(text("CREATE TABLE things (id int)"))
        count = lambda session: session.scalar(text("SELECT count(*) FROM things"))  # noqa: E731
        assert [db.cache.fetch("count", count) for _ in range(2)] == [0, 0]
        assert not db.cache.stats().listening
        with db.transaction() as session:
            session.execute(text("INSERT INTO things VALUES (1)"))
            assert db.cache.has("count")
        assert db.cache.fetch("count", count) == 1


def test_mariadb_commits_with_ddl(mariadb: URL) -> None:
    with Database(mariadb, cache=MemoryCache()) as db:
        with db.engine.begin() as connection:
            connection.execute(text("CREATE OR REPLACE TABLE cached (id int) ENGINE=InnoDB"))
        count = lambda session: session.scalar(text("SELECT count(*) FROM cached"))  # noqa: E731
        assert db.cache.fetch("count", count) == 0
        with db.engine.connect() as connection:
            connection.execute(text("INSERT INTO cached VALUES (1)"))
            assert db.cache.has("count")
            connection.execute(text("CREATE OR REPLACE TABLE beside (id int)"))
            connection.rollback()
        assert db.cache.fetch("count", count) == 1


def test_one_connection_for_all_never_gives_what_is_not_committed() -> None:
    with Database("sqlite://", cache=MemoryCache()) as db:
        with db.engine.begin() as connection:
            connection.execute(text("CREATE TABLE things (id int)"))
        count = lambda session: session.scalar(text("SELECT count(*) FROM things"))  # noqa: E731
        with db.session() as session:
            session.execute(text("INSERT INTO things VALUES (1)"))
            # SQLite in memory has one connection in a thread: the reading is part of the transaction.
            db.cache.fetch("count", count)
            assert not db.cache.has("count")
            session.rollback()
        assert db.cache.fetch("count", count) == 0
