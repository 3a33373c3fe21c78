"""The async door to the cache: `db.cache` of an AsyncDatabase.

What is kept is given without awaiting anything; only what has to be fetched goes through the bridge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Mapping
from time import monotonic
from typing import Any, TypeVar, overload

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from dal.asyncio._bridge import run_sync
from dal.cache import Cache, CacheStats, MemoryCache, RedisCache, Tasks, TieredCache, copies, open_cache
from dal.cache.cache import Form
from dal.cache.recording import current

__all__ = ["AsyncCache", "open_async_cache"]

T = TypeVar("T")
F = TypeVar("F")


class AsyncCache:
    """The cache of an AsyncDatabase; see `dal.cache.Cache`.

    Args:
        core: The cache, for code that runs inside `run_sync`.
    """

    def __init__(self, core: Cache) -> None:
        self.core = core
        self._get = core.look_up

    @overload
    async def fetch(self, key: Hashable, load: Callable[[Session], T], *, tables: Iterable[Any] = ()) -> T: ...
    @overload
    async def fetch(self, key: Hashable, load: Callable[[Session], Any], *, form: Form[F], tables: Iterable[Any] = ()) -> F: ...
    async def fetch(
        self, key: Hashable, load: Callable[[Session], Any], *, form: Form[Any] = copies, tables: Iterable[Any] = ()
    ) -> Any:
        """Return what is kept under a key, or fetch it; see `Cache.fetch`. `load` gets a sync session."""
        if current() is None:
            entry = self._get(key)
            if entry is not None:
                if entry.fresh_until > monotonic():
                    return entry.root if entry.plain else self.core.formed(key, entry, form)
                self.core.unused(key, entry)
        return await run_sync(self.core.fetch, key, load, form=form, tables=tables)

    def peek(self, key: Hashable, *, form: Form[Any] = copies, default: Any = None) -> Any:
        """Return what is kept in this process under a key, without fetching; see `Cache.peek`."""
        return self.core.peek(key, form=form, default=default)

    async def prime(self, key: Hashable, load: Callable[[Session], Any], *, tables: Iterable[Any] = ()) -> bool:
        """Fetch a value before it is asked for; see `Cache.prime`."""
        return await run_sync(self.core.prime, key, load, tables=tables)

    def has(self, key: Hashable) -> bool:
        """Tell whether something fresh is kept in this process under a key."""
        return self.core.has(key)

    async def spoil(self, *tables: Any, within: AsyncSession | AsyncConnection | None = None) -> None:
        """Say that tables were, or will be, written by a way that SQLAlchemy does not show; see `Cache.spoil`."""
        inner = within.sync_session if isinstance(within, AsyncSession) else within
        sync = inner.sync_connection if isinstance(inner, AsyncConnection) else inner
        await run_sync(self.core.spoil, *tables, within=sync)

    def forget(self, key: Hashable) -> None:
        """Drop one key from this process."""
        self.core.forget(key)

    def clear(self) -> None:
        """Drop everything from this process."""
        self.core.clear()

    def watch(self, engine: AsyncEngine | Engine) -> None:
        """Watch another engine of the same database for writes."""
        self.core.watch(engine.sync_engine if isinstance(engine, AsyncEngine) else engine)

    def stats(self) -> CacheStats:
        """Return what the cache did, in numbers."""
        return self.core.stats()

    async def close(self) -> None:
        """Stop watching and listening, and let go of everything; again is nothing."""
        await asyncio.to_thread(self.core.hang_up)
        await run_sync(self.core.close)


def open_async_cache(
    settings: MemoryCache | RedisCache | TieredCache | None,
    engine: Engine,
    *,
    sessions: Callable[[], Session],
    trying: Callable[[Callable[[], Any]], Any],
    connect_args: Mapping[str, Any],
    pooled: bool,
) -> AsyncCache:
    """Open a cache on an event loop; see `dal.cache.open_cache`."""
    core = open_cache(
        settings, engine, sessions=sessions, trying=trying, runtime=Tasks(), connect_args=connect_args, pooled=pooled
    )
    return AsyncCache(core)
