"""Open the cache of a database: what its settings, its engine and its surroundings come to."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.orm import Session

from dal._extras import require
from dal.cache.bus import Bus
from dal.cache.cache import Cache
from dal.cache.runtime import Runtime
from dal.cache.settings import MemoryCache, RedisCache, TieredCache, tiers
from dal.cache.shelf import Shelf
from dal.cache.watch import Watch
from dal.errors import UnsupportedError, UsageError

__all__ = ["open_cache"]

_open: weakref.WeakSet[Cache] = weakref.WeakSet()
_registered = False


def open_cache(
    settings: MemoryCache | RedisCache | TieredCache | None,
    engine: Engine,
    *,
    sessions: Callable[[], Session],
    trying: Callable[[Callable[[], Any]], Any],
    runtime: Runtime,
    connect_args: Mapping[str, Any],
    pooled: bool,
) -> Cache:
    """Open a cache; it connects at first use.

    Args:
        settings: What to cache in; None makes a cache that keeps nothing.
        engine: The database's engine; the sync one behind an async engine.
        sessions: Makes a session to fetch with.
        trying: Runs a read, and runs it again after a transient fault.
        runtime: Threads or tasks.
        connect_args: What the engine's driver is connected with beyond the URL.
        pooled: Whether a pooler is in between, through which nothing can be heard.

    Returns:
        The cache.

    Raises:
        ConfigError: What was given is no cache.
        UnsupportedError: Redis beside another database than PostgreSQL.
        UsageError: A pooler is in between, and no way around it is given.
        MissingExtra: redis-py, msgspec or psycopg is not installed.
    """
    if settings is None:
        return Cache(Shelf(None, None), None, None, sessions=sessions, trying=trying, runtime=runtime)
    memory, redis = tiers(settings)
    postgresql = engine.dialect.name == "postgresql"
    if redis is not None and not postgresql:
        raise UnsupportedError(
            f"a cache in Redis needs PostgreSQL, whose snapshots tell what is still right; this is {engine.dialect.name}",
            hint="cache=MemoryCache(...), which serves one process",
        )
    listen_url = next((part.listen_url for part in (memory, redis) if part is not None and part.listen_url), None)
    if postgresql and pooled and listen_url is None:
        raise UsageError(
            "the cache cannot hear the writes of other processes through PgBouncer",
            hint='give it a way around: MemoryCache(listen_url="postgresql://host:5432/shop")',
        )
    connect = _connector(engine, listen_url, connect_args) if postgresql else None
    shelf = Shelf(memory, None if connect is None else lambda listener: Bus(connect, listener))
    second = None
    if redis is not None:
        require("msgspec", extra="redis", purpose="RedisCache")
        from dal.cache.redis import RemoteStore
        from dal.cache.second import SecondLevel

        second = SecondLevel(RemoteStore(redis, is_async=runtime.is_async), redis.prefix, shelf)
    cache = Cache(shelf, second, Watch(engine, shelf), sessions=sessions, trying=trying, runtime=runtime)
    _remember(cache)
    return cache


def _connector(engine: Engine, listen_url: str | URL | None, connect_args: Mapping[str, Any]) -> Callable[[], Any]:
    psycopg: Any = require("psycopg", extra="binary", purpose="the cache")
    url = (engine.url if listen_url is None else make_url(listen_url)).set(drivername="postgresql+psycopg")
    own = engine.dialect.driver.startswith("psycopg")

    def connect() -> Any:
        arguments, options = url.get_dialect()().create_connect_args(url)
        given = {**options, **(connect_args if own else {})}
        bounds = {"connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
        fixed = {"autocommit": True, "prepare_threshold": None, "application_name": "dal cache"}
        return psycopg.connect(*arguments, **{**bounds, **given, **fixed})

    return connect


def _remember(cache: Cache) -> None:
    """Have a cache begin anew in a forked child, and say its goodbye when the interpreter ends."""
    global _registered
    _open.add(cache)
    if not _registered:
        _registered = True
        atexit.register(_at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_in_child)


def _in_child() -> None:
    for cache in list(_open):
        cache.reset()


def _at_exit() -> None:
    for cache in list(_open):
        cache.hang_up()
