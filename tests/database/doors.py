"""One suite for both doors: what a test needs of a database, called the same way."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from dal import AsyncDatabase, Database, PoolConfig

T = TypeVar("T")

DOORS = ("sync", "async")


class Door(Protocol):
    """A database seen through one of the doors; the work is written against the sync Session."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def run(self, work: Callable[[Session], T], **unit: Any) -> T:
        """Run a unit of work."""
        ...

    def session(self, work: Callable[[Session], T]) -> T:
        """Call something with a plain session."""
        ...

    def call(self, function: Callable[[Any], Any]) -> Any:
        """Call something with the database, and await it if need be."""
        ...

    def observe(self, observer: Callable[[object], None]) -> Callable[[], None]:
        """Listen to facts."""
        ...

    def deadline(self, time: Any) -> AbstractContextManager[Any]:
        """Set a deadline for a block."""
        ...


class SyncDoor:
    """Database."""

    def __init__(self, url: URL, pool: PoolConfig, **options: Any) -> None:
        self.db = Database(url, pool=pool, **options)
        self.observe, self.deadline = self.db.observe, self.db.deadline

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.db.close()

    def run(self, work: Callable[[Session], T], **unit: Any) -> T:
        return self.db.unit(**unit).run(work)

    def session(self, work: Callable[[Session], T]) -> T:
        with self.db.session() as session:
            return work(session)

    def call(self, function: Callable[[Any], Any]) -> Any:
        return function(self.db)


class AsyncDoor:
    """AsyncDatabase, each call run to its end in one event loop."""

    def __init__(self, url: URL, pool: PoolConfig, **options: Any) -> None:
        self.db = AsyncDatabase(url, pool=pool, **options)
        self.observe, self.deadline = self.db.observe, self.db.deadline
        self._loop = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._await(self.db.close())
        self._loop.close()

    def run(self, work: Callable[[Session], T], **unit: Any) -> T:
        found: T = self._await(self.db.unit(**unit).run(lambda session: session.run_sync(work)))
        return found

    def session(self, work: Callable[[Session], T]) -> T:
        async def call() -> T:
            async with self.db.session() as session:
                return await session.run_sync(work)

        found: T = self._await(call())
        return found

    def call(self, function: Callable[[Any], Any]) -> Any:
        return self._await(function(self.db))

    def _await(self, awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        # The context of the caller, so that a deadline set outside is in force inside.
        return self._loop.run(wait(), context=contextvars.copy_context())


def open_door(kind: str, url: URL, *, pool: PoolConfig | None = None, **options: Any) -> Door:
    """Open a database through one of the doors."""
    settings = pool or PoolConfig(min_pool_size=1, max_pool_size=4, retry_delay="20ms")
    door: Door = (SyncDoor if kind == "sync" else AsyncDoor)(url, settings, **options)
    return door
