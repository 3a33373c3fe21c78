"""AsyncDatabase: the async door to `Database`, with the same names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Self, TypeVar, overload

from sqlalchemy import ColumnElement, Select
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session

from dal import deadlines
from dal._running import end_all
from dal.asyncio._bridge import run_sync, wait
from dal.asyncio.engines import make_async_engine
from dal.asyncio.units import DOOR, AsyncUnit
from dal.config import CursorConfig, DatabaseConfig, PoolConfig
from dal.database.engines import close_engine
from dal.database.opening import (
    configured,
    embedded_server,
    flushing,
    given_options,
    known_policies,
    known_to_sessions,
    merged_session_options,
)
from dal.database.reads import retrying_session
from dal.database.replica_plan import planned
from dal.database.units import Isolation, Trying, describe
from dal.deadlines import Deadline
from dal.durations import Duration, seconds
from dal.errors import UsageError
from dal.events import Observer
from dal.loading import Policy

if TYPE_CHECKING:
    from dal.asyncio.cache import AsyncCache
    from dal.asyncio.changes import AsyncChanges
    from dal.asyncio.jobs import AsyncJobs
    from dal.asyncio.pager import AsyncPager, AsyncPrefetcher
    from dal.asyncio.parallel import AsyncParallel
    from dal.asyncio.replicas import AsyncReplica
    from dal.cache import MemoryCache, RedisCache, TieredCache
    from dal.cache.cache import Form
    from dal.database.health import Health
    from dal.paging import Totals
    from dal.parallel import Progress
    from dal.parallel.split import Split
    from dal.prefetch import Strategy
    from dal.streams import Kind, Streams

__all__ = ["AsyncDatabase"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_A = TypeVar("_A")
_B = TypeVar("_B")
_C = TypeVar("_C")


class AsyncDatabase:
    """An asyncio engine, its pool and its sessions; the arguments are those of `Database`.

    Args:
        url: SQLAlchemy's URL, or a whole configuration. `postgresql+psycopg:` and `sqlite:` work as they are.
        pool: The pool's settings.
        policy: The loading policy where nothing nearer is said, or the name of one of `policies`.
        policies: Loading policies by name.
        cursors: How the cursors of pages are signed.
        replicas: URLs of streaming replicas, for `db.replica`.
        staleness: How far a replica may be behind to be read from.
        pgbouncer: Whether the URL leads to PgBouncer in transaction mode; see `dal.database.pgbouncer`.
        engine_options: Further arguments of SQLAlchemy's `create_async_engine()`.
        session_options: Further arguments of SQLAlchemy's `async_sessionmaker()`.
        cache: What `db.cache` keeps values in, such as `MemoryCache(max_bytes=64_000_000)`.

    Raises:
        ConfigError: The URL cannot be read, its driver has no asyncio, or an option is bad.
        MissingExtra: The driver is not installed.

    Example:
        >>> import asyncio
        >>> from sqlalchemy import text
        >>> async def main():
        ...     async with AsyncDatabase("sqlite://") as db, db.session() as session:
        ...         return await session.scalar(text("SELECT 1"))
        >>> asyncio.run(main())
        1
    """

    def __init__(
        self,
        url: str | URL | DatabaseConfig,
        *,
        pool: PoolConfig | None = None,
        policy: Policy | str | None = None,
        policies: Mapping[str, Policy] | None = None,
        cursors: CursorConfig | None = None,
        replicas: Sequence[str | URL] = (),
        staleness: Duration = 5.0,
        pgbouncer: bool = False,
        engine_options: Mapping[str, Any] | None = None,
        session_options: Mapping[str, Any] | None = None,
        cache: MemoryCache | RedisCache | TieredCache | None = None,
    ) -> None:
        config = configured(url, pool, cursors)
        self.config = config
        self.policies = known_policies(config, policy, policies)
        given = given_options(config.url, engine_options, pgbouncer)
        self.engine: AsyncEngine = make_async_engine(config.url, config.pool, given)
        self._trying = Trying(config.pool, lambda seconds: wait(asyncio.sleep(seconds)))
        options = merged_session_options(session_options, self.policies, config.cursors)
        own_class = {"sync_session_class": retrying_session(options.get("sync_session_class", Session), self._trying)}
        self.sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(self.engine, **{**options, **own_class})
        self._plan = planned(config, replicas, staleness, lambda url, pool: make_async_engine(url, pool, given).sync_engine)
        self._session_options = options
        self._replica: AsyncReplica | None = None
        self._streams: Streams | None = None
        self._jobs: AsyncJobs | None = None
        self._server: Any = None
        self._closed = False
        self._pooled = pgbouncer
        self._connect_args: Mapping[str, Any] = (engine_options or {}).get("connect_args", {})
        self._cache = None if cache is None else self._open_cache(cache)
        self._prefetch: AsyncPrefetcher | None = None

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, policy: Policy | str | None = None) -> Self:
        """Open the database that a `.yaml` or `.toml` file describes; see `Database.from_file`."""
        return cls(DatabaseConfig.from_file(path), policy=policy)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *, policy: Policy | str | None = None) -> Self:
        """Open the database that the environment describes; see `Database.from_env`."""
        return cls(DatabaseConfig.from_env(environ), policy=policy)

    @classmethod
    def embedded(
        cls,
        data: str | Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        pool: PoolConfig | None = None,
        policy: Policy | str | None = None,
        cursors: CursorConfig | None = None,
        cache: MemoryCache | RedisCache | TieredCache | None = None,
    ) -> Self:
        """Open a real PostgreSQL from PyPI; see `Database.embedded`."""
        server = embedded_server(data, settings)
        try:
            opened = cls(server.url(), pool=pool, policy=policy, cursors=cursors, cache=cache)
        except BaseException:
            server.stop()
            raise
        opened._server = server
        return opened

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.config.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def url(self) -> URL:
        """The database's URL; its password is masked wherever it is shown."""
        return self.config.url

    @property
    def pool(self) -> Any:
        """The engine's pool."""
        return self.engine.pool

    @property
    def replica(self) -> AsyncReplica:
        """The replicas, to be read from; see `Database.replica`."""
        from dal.asyncio.replicas import AsyncReplica
        from dal.database.replicas import elsewhere, replica_session

        self._open()
        if self._replica is None:
            trying = Trying(self.config.pool, self._trying.pause, elsewhere=elsewhere)
            replicas = self._plan.begin(self.engine.sync_engine)
            kind = replica_session(self._session_options.get("sync_session_class", Session), replicas, trying)
            sessions = async_sessionmaker(**{**self._session_options, "sync_session_class": kind})
            self._replica = AsyncReplica(sessions, replicas, trying, self.engine.sync_engine)
        return self._replica

    @property
    def cache(self) -> AsyncCache:
        """What is kept of what was read; see `Database.cache`."""
        if self._cache is None:
            self._cache = self._open_cache(None)
        return self._cache

    @property
    def prefetch(self) -> AsyncPrefetcher:
        """What loads pages ahead for the pagers; see `Database.prefetch`."""
        from dal.asyncio.pager import AsyncPrefetcher
        from dal.prefetch import Tasks, open_prefetcher

        self._open()
        if self._prefetch is None:
            self._prefetch = AsyncPrefetcher(open_prefetcher(self.engine.sync_engine, Tasks()))
        return self._prefetch

    @overload
    def pager(
        self,
        statement: Select[_A],
        *,
        order_by: Any = None,
        size: int = 50,
        policy: Policy | str | None = None,
        prefetch: Strategy | Sequence[Strategy] | None = None,
        total: Totals = "none",
        form: Form[Any] | None = None,
        key: Sequence[ColumnElement[Any]] | None = None,
    ) -> AsyncPager[_A]: ...
    @overload
    def pager(
        self,
        statement: Select[*tuple[Any, ...]],
        *,
        order_by: Any = None,
        size: int = 50,
        policy: Policy | str | None = None,
        prefetch: Strategy | Sequence[Strategy] | None = None,
        total: Totals = "none",
        form: Form[Any] | None = None,
        key: Sequence[ColumnElement[Any]] | None = None,
    ) -> AsyncPager[Any]: ...
    def pager(
        self,
        statement: Select[*tuple[Any, ...]],
        *,
        order_by: Any = None,
        size: int = 50,
        policy: Policy | str | None = None,
        prefetch: Strategy | Sequence[Strategy] | None = None,
        total: Totals = "none",
        form: Form[Any] | None = None,
        key: Sequence[ColumnElement[Any]] | None = None,
    ) -> AsyncPager[Any]:
        """Make a pager: pages out of the cache, with those that come next loaded ahead; see `Database.pager`."""
        from dal.asyncio.pager import AsyncPager
        from dal.prefetch import Pager

        cache = self._keeping().core
        return AsyncPager(
            Pager(
                statement,
                self.session().sync_session,
                cache,
                self.prefetch.core,
                order_by=order_by,
                size=size,
                policy=policy,
                prefetch=prefetch,
                total=total,
                form=form,
                key=key,
            )
        )

    @property
    def jobs(self) -> AsyncJobs:
        """Durable background work; see `Database.jobs`."""
        from dal.asyncio.jobs import AsyncJobs
        from dal.jobs import Jobs

        if self._jobs is None:
            self._jobs = AsyncJobs(Jobs(self.engine.sync_engine, self.url, self._run_sync))
        return self._jobs

    @asynccontextmanager
    async def worker(
        self, *, concurrency: int = 1, queues: Sequence[str] | None = None, grace: Duration = 30.0
    ) -> AsyncIterator[None]:
        """Run background jobs inside an `async with` block, in threads on a `Database` of their own."""
        from dal.database import Database

        with Database(replace(self.config, url=self.url.set(drivername="postgresql+psycopg"))) as db:
            worker = db.worker(concurrency=concurrency, queues=queues, grace=grace)
            await asyncio.to_thread(worker.__enter__)
            try:
                yield
            finally:
                await asyncio.to_thread(worker.__exit__, None, None, None)

    def session(self, *, bulk_flush: bool = False) -> AsyncSession:
        """Make an AsyncSession of SQLAlchemy's; the caller commits. For `bulk_flush` see `Database.session`."""
        self._open()
        if deadlines.current() is not None:
            deadlines.keep_to(self.engine.sync_engine)
        return flushing(self.sessions(), in_bulk=bulk_flush)

    @asynccontextmanager
    async def transaction(self, *, bulk_flush: bool = False) -> AsyncIterator[AsyncSession]:
        """Give a session in a transaction that commits at the end, or rolls back on an exception."""
        async with self.session(bulk_flush=bulk_flush) as session, session.begin():
            yield session

    def unit(
        self,
        *,
        read_only: bool = False,
        isolation: Isolation | None = None,
        deadline: Duration | None = None,
        retry_on: Collection[str] = (),
    ) -> AsyncUnit:
        """Describe a unit of work; see `Database.unit`."""
        engine = self.engine.sync_engine
        return AsyncUnit(
            describe(
                self._sync_session,
                self._trying,
                engine,
                read_only=read_only,
                isolation=isolation,
                deadline=deadline,
                retry_on=retry_on,
            )
        )

    def deadline(self, time: Duration) -> AbstractContextManager[Deadline | None]:
        """Set the time that a `with` block has for its work with databases; see `Database.deadline`."""
        deadlines.keep_to(self.engine.sync_engine)
        return deadlines.limit(seconds(time, name="deadline"))

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Tell an observer what happens; see `Database.observe`."""
        return self._trying.observe(observer, self.engine.sync_engine.pool)

    async def run(
        self, work: Callable[Concatenate[AsyncSession, _P], Awaitable[_T]], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Run a coroutine function in one transaction; see `Database.run`."""
        return await self.unit().run(work, *args, **kwargs)

    @overload
    def transactional(self, work: Callable[Concatenate[AsyncSession, _P], Awaitable[_T]], /) -> Callable[_P, Awaitable[_T]]: ...
    @overload
    def transactional(
        self,
        /,
        *,
        read_only: bool = False,
        isolation: Isolation | None = None,
        deadline: Duration | None = None,
        retry_on: Collection[str] = (),
    ) -> Callable[[Callable[Concatenate[AsyncSession, _P], Awaitable[_T]]], Callable[_P, Awaitable[_T]]]: ...
    def transactional(
        self,
        work: Any = None,
        /,
        *,
        read_only: bool = False,
        isolation: Isolation | None = None,
        deadline: Duration | None = None,
        retry_on: Collection[str] = (),
    ) -> Any:
        """Turn a coroutine function that takes a session into one that is called without; see `Database.transactional`."""
        unit = self.unit(read_only=read_only, isolation=isolation, deadline=deadline, retry_on=retry_on)
        return unit.wrap if work is None else unit.wrap(work)

    @overload
    async def gather(self, first: Select[_A], second: Select[_B], /) -> tuple[list[_A], list[_B]]: ...
    @overload
    async def gather(
        self, first: Select[_A], second: Select[_B], third: Select[_C], /
    ) -> tuple[list[_A], list[_B], list[_C]]: ...
    @overload
    async def gather(self, *statements: Select[Any]) -> tuple[list[Any], ...]: ...
    async def gather(self, *statements: Select[Any]) -> tuple[list[Any], ...]:
        """Run several statements at the same time in one snapshot; see `Database.gather`."""
        from dal.database.gathering import Tasks, gathered

        engine = self.engine.sync_engine
        return await run_sync(
            lambda: gathered(statements, sessions=self._sync_session, trying=self._trying, engine=engine, helpers=Tasks)
        )

    def parallel(
        self,
        statement: Select[*tuple[Any, ...]],
        /,
        *,
        by: Any = None,
        split: Split | None = None,
        workers: int = 4,
        parts: int | None = None,
        processes: bool = False,
        ordered: bool = True,
        progress: Callable[[Progress], object] | None = None,
    ) -> AsyncParallel[Any]:
        """Describe a pass over many rows, read by several tasks at the same time; see `Database.parallel`."""
        from dal.asyncio.parallel import AsyncParallel
        from dal.parallel.parallel import described
        from dal.parallel.runtime import Tasks

        self._open()
        return AsyncParallel(
            described(
                statement,
                by=by,
                split=split,
                workers=workers,
                parts=parts,
                processes=processes,
                ordered=ordered,
                progress=progress,
                sessions=self._sync_session,
                engine=self.engine.sync_engine,
                runtime=Tasks,
                most=self.config.pool.max_pool_size,
            )
        )

    def changes(
        self,
        *entities: Any,
        name: str | None = None,
        kinds: Collection[Kind] = ("insert", "update", "delete", "truncate"),
        old: Literal["key", "full"] = "key",
        via: Literal["slot", "outbox"] = "slot",
        publication: str | None = None,
        takeover: Duration = 10.0,
    ) -> AsyncChanges:
        """Read the changes of classes, in commit order, at least once; see `Database.changes`."""
        from dal.asyncio.changes import AsyncChanges
        from dal.streams import streams_of

        self._open()
        if self._streams is None:
            self._streams = streams_of(self.engine.sync_engine, lambda: self.session().sync_session, self._trying)
        return AsyncChanges(
            self._streams.describe(
                entities, name=name, kinds=kinds, old=old, via=via, publication=publication, takeover=takeover
            )
        )

    async def health(self) -> Health:
        """Look whether the database is well; see `Database.health`."""
        from dal.database.health import Problem, look

        self._open()
        found = await run_sync(look, self.engine.sync_engine, self.config.pool, self.url)
        if self._streams is not None:
            found = replace(found, problems=(*found.problems, *(Problem(*told) for told in self._streams.problems())))
        return found if self._replica is None else replace(found, problems=(*found.problems, *self._replica.problems()))

    def bind(self, session: AsyncSession) -> AsyncSession:
        """Teach an application's own session what this database knows; see `Database.bind`."""
        session.info.update(known_to_sessions(self.policies, self.config.cursors))
        return session

    async def close(self) -> None:
        """End scans and the like, close the pool, and let go of the embedded server; again is nothing."""
        if self._closed:
            return
        self._closed = True
        end_all(self.engine.sync_engine)
        if self._prefetch is not None:
            await self._prefetch.stop()
        if self._cache is not None:
            await self._cache.close()
        if self._streams is not None:
            for each in self._streams.running():
                await each.close()
        if self._jobs is not None:
            await self._jobs.close()
        if self._replica is not None:
            await run_sync(self._replica.close)
        await run_sync(close_engine, self.engine.sync_engine)
        if self._server is not None:
            self._server.stop()

    def _keeping(self) -> AsyncCache:
        """Return the cache, one in memory where none was asked for."""
        from dal.cache import MemoryCache
        from dal.prefetch.opening import distrust

        self._open()
        if self._cache is None or not self._cache.core.keeps:
            self._cache = self._open_cache(MemoryCache())
            distrust(self.engine.sync_engine.pool)
        return self._cache

    def _open_cache(self, settings: MemoryCache | RedisCache | TieredCache | None) -> AsyncCache:
        from dal.asyncio.cache import open_async_cache

        trying, given, pooled = self._trying.reading, self._connect_args, self._pooled
        return open_async_cache(
            settings, self.engine.sync_engine, sessions=self._sync_session, trying=trying, connect_args=given, pooled=pooled
        )

    def _open(self) -> None:
        if self._closed:
            raise UsageError(f"{self!r} is closed", hint="open a new AsyncDatabase, or close it later")

    def _run_sync(self, work: Callable[[Session], _T]) -> _T:
        """Run a function as a unit of work, inside what `run_sync` runs."""
        return self.unit().unit.run(work)

    def _sync_session(self) -> Session:
        session = self.session()
        session.sync_session.info[DOOR] = session
        return session.sync_session
