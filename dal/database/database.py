"""Database: the one object that owns an engine, its pool and its sessions, and closes them.

It hands out SQLAlchemy's own `Engine` and `Session`; nothing is wrapped. Nothing connects until first use.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Self, TypeVar, overload
from weakref import WeakSet

from sqlalchemy import ColumnElement, Engine, Select
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session, sessionmaker

from dal import deadlines
from dal._running import end_all
from dal.config import CursorConfig, DatabaseConfig, PoolConfig
from dal.database.engines import close_engine, make_engine
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
from dal.database.units import Isolation, Trying, Unit, describe
from dal.deadlines import Deadline
from dal.durations import Duration, seconds
from dal.errors import UsageError
from dal.events import Observer
from dal.loading import Policy

if TYPE_CHECKING:
    from dal.cache import Cache, MemoryCache, RedisCache, TieredCache
    from dal.cache.cache import Form
    from dal.database.health import Health
    from dal.database.replicas import Replica
    from dal.jobs import Jobs, Worker
    from dal.paging import Totals
    from dal.parallel import Parallel, Progress
    from dal.parallel.split import Split
    from dal.prefetch import Pager, Prefetcher, Strategy
    from dal.streams import Changes, Kind, Streams

__all__ = ["Database"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_A = TypeVar("_A")
_B = TypeVar("_B")
_C = TypeVar("_C")


class Database:
    """An engine, its pool and its sessions.

    Args:
        url: SQLAlchemy's URL, or a whole configuration.
        pool: The pool's settings.
        policy: The loading policy where nothing nearer is said, or the name of one of `policies`.
        policies: Loading policies by name.
        cursors: How the cursors of pages are signed.
        replicas: URLs of streaming replicas, for `db.replica`.
        staleness: How far a replica may be behind to be read from.
        pgbouncer: Whether the URL leads to PgBouncer in transaction mode; see `dal.database.pgbouncer`.
        engine_options: Further arguments of SQLAlchemy's `create_engine()`.
        session_options: Further arguments of SQLAlchemy's `sessionmaker()`, such as `expire_on_commit`.
        cache: What `db.cache` keeps values in, such as `MemoryCache(max_bytes=64_000_000)`.

    Raises:
        ConfigError: The URL cannot be read, its dialect is unknown, or an option is bad.
        MissingExtra: The driver is not installed.

    Example:
        >>> from sqlalchemy import text
        >>> with Database("sqlite://") as db, db.session() as session:
        ...     session.scalar(text("SELECT 1"))
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
        self.engine: Engine = make_engine(config.url, config.pool, given)
        self._trying = Trying(config.pool, time.sleep)
        options = merged_session_options(session_options, self.policies, config.cursors)
        kind = retrying_session(options.get("class_", Session), self._trying)
        self.sessions: sessionmaker[Session] = sessionmaker(self.engine, **{**options, "class_": kind})
        self._plan = planned(config, replicas, staleness, lambda url, pool: make_engine(url, pool, given))
        self._session_options = options
        self._lock = threading.Lock()
        self._replica: Replica | None = None
        self._streams: Streams | None = None
        self._jobs: Jobs | None = None
        self._workers: WeakSet[Worker] = WeakSet()
        self._server: Any = None
        self._closed = False
        self._pooled = pgbouncer
        self._connect_args: Mapping[str, Any] = (engine_options or {}).get("connect_args", {})
        self._cache = None if cache is None else self._open_cache(cache)
        self._prefetch: Prefetcher | None = None

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, policy: Policy | str | None = None) -> Self:
        """Open the database that a `.yaml` or `.toml` file describes.

        Args:
            path: The file.
            policy: The default loading policy, if the file shall not name it.

        Returns:
            The database.

        Raises:
            ConfigError: The file is missing or malformed; the message names key, value and accepted form.
        """
        return cls(DatabaseConfig.from_file(path), policy=policy)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *, policy: Policy | str | None = None) -> Self:
        """Open the database that `DAL_URL`, `DAL_POOL__MAX_POOL_SIZE` and so on describe.

        Args:
            environ: The environment; `os.environ` by default.
            policy: The default loading policy.

        Returns:
            The database.

        Raises:
            ConfigError: `DAL_URL` is not set, or a name or value is bad.
        """
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
        """Open a real PostgreSQL from PyPI, started for as long as somebody uses it.

        Args:
            data: Its folder; `./.dal/postgres` by default, shared by all processes that name it.
            settings: Server settings, such as `{"wal_level": "logical"}`.
            pool: The pool's settings.
            policy: The default loading policy.
            cursors: How the cursors of pages are signed.
            cache: What `db.cache` keeps values in.

        Returns:
            The database; `close()` lets go of the server, and the last to do so stops it.

        Raises:
            MissingExtra: `dal[embedded]` is not installed.
            ServerError: The server does not run on this platform, or did not start.
        """
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def url(self) -> URL:
        """The database's URL; its password is masked wherever it is shown."""
        return self.config.url

    @property
    def pool(self) -> Any:
        """The engine's pool."""
        return self.engine.pool

    @property
    def replica(self) -> Replica:
        """The replicas, to be read from: `db.replica.session()`, `.run(...)`, `.unit(...)`; without replicas, the primary."""
        from dal.database.replicas import Replica, elsewhere, replica_session

        self._open()
        with self._lock:
            if self._replica is None:
                trying = Trying(self.config.pool, time.sleep, elsewhere=elsewhere)
                replicas = self._plan.begin(self.engine)
                kind = replica_session(self._session_options.get("class_", Session), replicas, trying)
                sessions = sessionmaker(**{**self._session_options, "class_": kind})
                self._replica = Replica(sessions, replicas, trying, self.engine)
            return self._replica

    @property
    def cache(self) -> Cache:
        """What is kept of what was read; without `cache=` it keeps nothing. See `dal.cache`."""
        if self._cache is None:
            self._cache = self._open_cache(None)
        return self._cache

    @property
    def prefetch(self) -> Prefetcher:
        """What loads pages ahead for the pagers: `db.prefetch.stats()`, `db.prefetch.explain()`."""
        from dal.prefetch import Threads, open_prefetcher

        self._open()
        with self._lock:
            if self._prefetch is None:
                self._prefetch = open_prefetcher(self.engine, Threads())
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
    ) -> Pager[_A]: ...
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
    ) -> Pager[Any]: ...
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
    ) -> Pager[Any]:
        """Make a pager: pages out of the cache, with those that come next loaded ahead.

        Args:
            statement: The SELECT; `bindparam("shop")` in it is a parameter, given with each call.
            order_by: A column expression, or a list of them; what tells rows apart is added by itself.
            size: Rows of a page.
            policy: How related data is loaded; pages are kept with all of it.
            prefetch: `sequential()`, `predictive()`, `temporal()`, `spatial(...)`, or a list of them.
            total: "none", "exact", "bounded", "estimate", or a number to count to.
            form: `dal.cache.copies` (by default), `shapes` or `dictionaries`.
            key: What tells rows apart, where that cannot be seen.

        Returns:
            The pager. Where the database has no cache, one in memory is opened with the first pager.

        Raises:
            UsageError: The query cannot be paged or kept, or an argument cannot mean what was written.

        Example:
            `pager = db.pager(select(User), order_by=[User.name], size=50, policy=eager(User.profile), prefetch=sequential())`
        """
        from dal.prefetch import Pager

        cache = self._keeping()
        return Pager(
            statement,
            self.session(),
            cache,
            self.prefetch,
            order_by=order_by,
            size=size,
            policy=policy,
            prefetch=prefetch,
            total=total,
            form=form,
            key=key,
        )

    @property
    def jobs(self) -> Jobs:
        """Durable background work: `db.jobs.submit(...)`, `db.jobs.import_file(...)`; see `dal.jobs`."""
        from dal.jobs import Jobs

        self._open()
        with self._lock:
            if self._jobs is None:
                self._jobs = Jobs(self.engine, self.url, self.run)
            return self._jobs

    def worker(self, *, concurrency: int = 1, queues: Sequence[str] | None = None, grace: Duration = 30.0) -> Worker:
        """Make a worker for this process that runs background jobs inside a `with` block; `dal worker` is one of its own.

        Args:
            concurrency: How many jobs run at the same time, each in a thread.
            queues: The queues whose jobs it runs; all by default.
            grace: How long running jobs have to end when the block ends.

        Raises:
            UsageError: `concurrency` is no whole number from 1, `queues` no list of names, or the database is closed.
            MissingExtra: `dal[jobs]` is not installed.
        """
        from dal.jobs import Worker

        self._open()
        worker = Worker(self, self.engine, self.url, concurrency=concurrency, queues=queues, grace=grace)
        self._workers.add(worker)
        return worker

    def session(self, *, bulk_flush: bool = False) -> Session:
        """Make a session of SQLAlchemy's; the caller commits.

        Args:
            bulk_flush: Send many new objects by COPY when they are flushed; see `dal.bulk.flush`.

        Returns:
            A Session, to be used as a context manager.

        Raises:
            UsageError: The database is closed.
        """
        self._open()
        if deadlines.current() is not None:
            deadlines.keep_to(self.engine)
        return flushing(self.sessions(), in_bulk=bulk_flush)

    @contextmanager
    def transaction(self, *, bulk_flush: bool = False) -> Iterator[Session]:
        """Give a session in a transaction that commits at the end, or rolls back on an exception.

        Args:
            bulk_flush: As for `session`.

        Raises:
            UsageError: The database is closed.
        """
        with self.session(bulk_flush=bulk_flush) as session, session.begin():
            yield session

    def unit(
        self,
        *,
        read_only: bool = False,
        isolation: Isolation | None = None,
        deadline: Duration | None = None,
        retry_on: Collection[str] = (),
    ) -> Unit:
        """Describe a unit of work: one transaction, run as a whole, and run again after a transient fault.

        Args:
            read_only: Let the server refuse writes.
            isolation: The isolation level; the engine's own by default.
            deadline: How long all of it may take: waiting, connecting, every try and the pauses between, and the server's work.
            retry_on: SQLSTATEs to run it again on beyond those that are always safe, such as `["55P03"]`, no lock.

        Returns:
            The unit; `run(function, ...)` runs it.

        Raises:
            ConfigError: The deadline is no duration.
            UsageError: What is in `retry_on` is no SQLSTATE.
        """
        return describe(
            self.session,
            self._trying,
            self.engine,
            read_only=read_only,
            isolation=isolation,
            deadline=deadline,
            retry_on=retry_on,
        )

    def deadline(self, time: Duration) -> AbstractContextManager[Deadline | None]:
        """Set the time that a block has for its work with databases.

        Waiting for a connection, connecting, pauses between tries and the server's work all fit in it; a deadline set further
        out that ends sooner stays in force.

        Args:
            time: Such as `"2s"`.

        Returns:
            A context manager for a `with` block. In the block a `DeadlineExceeded` tells where the time went.

        Raises:
            ConfigError: It is no duration.
        """
        deadlines.keep_to(self.engine)
        return deadlines.limit(seconds(time, name="deadline"))

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Tell an observer what happens to units of work and, on PostgreSQL, in the pool; see `dal.events`.

        Args:
            observer: Called with each fact, such as `Retried`.

        Returns:
            A function that ends it.
        """
        return self._trying.observe(observer, self.engine.pool)

    def run(self, work: Callable[Concatenate[Session, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a function in one transaction, and run it again, whole, after a transient fault.

        Args:
            work: Called with a session and what follows. It joins the unit it is called in, if there is one.
            args: Its further arguments.
            kwargs: Its keyword arguments.

        Returns:
            What it returns.

        Example:
            >>> from sqlalchemy import text
            >>> with Database("sqlite://") as db:
            ...     db.run(lambda session, number: session.scalar(text("SELECT :n"), {"n": number}), 7)
            7
        """
        return self.unit().run(work, *args, **kwargs)

    @overload
    def transactional(self, work: Callable[Concatenate[Session, _P], _T], /) -> Callable[_P, _T]: ...
    @overload
    def transactional(
        self,
        /,
        *,
        read_only: bool = False,
        isolation: Isolation | None = None,
        deadline: Duration | None = None,
        retry_on: Collection[str] = (),
    ) -> Callable[[Callable[Concatenate[Session, _P], _T]], Callable[_P, _T]]: ...
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
        """Turn a function that takes a session into one that is called without and runs as a unit of work.

        Args:
            work: The function, when used without parentheses.
            read_only: Let the server refuse writes.
            isolation: The isolation level.
            deadline: How long a call may take.
            retry_on: SQLSTATEs to run it again on beyond those that are always safe.

        Returns:
            The function without its first parameter. Called inside another unit it joins that.
        """
        unit = self.unit(read_only=read_only, isolation=isolation, deadline=deadline, retry_on=retry_on)
        return unit.wrap if work is None else unit.wrap(work)

    @overload
    def gather(self, first: Select[_A], second: Select[_B], /) -> tuple[list[_A], list[_B]]: ...
    @overload
    def gather(self, first: Select[_A], second: Select[_B], third: Select[_C], /) -> tuple[list[_A], list[_B], list[_C]]: ...
    @overload
    def gather(self, *statements: Select[Any]) -> tuple[list[Any], ...]: ...
    def gather(self, *statements: Select[Any]) -> tuple[list[Any], ...]:
        """Run several statements at the same time, on as many connections, in one snapshot.

        They see the database at one moment. A transaction around the call is not joined: what it has not committed is not seen.
        On other databases than PostgreSQL they run one after the other.

        Args:
            statements: `select()` statements.

        Returns:
            A list for each, in their order: of what it selects where that is one thing (objects, or a column's values), else of
            rows. Objects are detached: what a policy does not load with them is not there.

        Raises:
            UsageError: One of them is no `select()`, or the database is closed.

        Example:
            >>> from sqlalchemy import literal, select
            >>> with Database("sqlite://") as db:
            ...     db.gather(select(literal(1)), select(literal("a"), literal("b")))
            ([1], [('a', 'b')])
        """
        from dal.database.gathering import Threads, gathered

        return gathered(statements, sessions=self.session, trying=self._trying, engine=self.engine, helpers=Threads)

    @overload
    def parallel(
        self,
        statement: Select[_A],
        /,
        *,
        by: Any = None,
        split: Split | None = None,
        workers: int = 4,
        parts: int | None = None,
        processes: bool = False,
        ordered: bool = True,
        progress: Callable[[Progress], object] | None = None,
    ) -> Parallel[_A]: ...
    @overload
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
    ) -> Parallel[Any]: ...
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
    ) -> Parallel[Any]:
        """Describe a pass over many rows, cut in parts that several workers read at the same time, all in one snapshot.

        Args:
            statement: A `select()`, of a mapped class or of columns.
            by: What it is cut by: a column or expression, or, for physical ranges, a class or table (by default the first).
            split: "range" of the key, evened by statistics; "hash" of it, which keeps equal keys together; "physical", where
                the rows lie. By default ranges where `by` is a column, else physical.
            workers: Threads or processes, and connections, `max_pool_size` of them at most; processes need one more.
            parts: How many to aim at; by default 8 a worker, and one a worker for a hash.
            processes: Give each worker a process: for functions that hold the interpreter, found there by their name.
            ordered: Give results in the order of the parts, rather than as they come.
            progress: Called after each part.

        Returns:
            What to map, fold, write or loop over; nothing runs before. On other databases than PostgreSQL the parts are read
            one after the other.

        Raises:
            UsageError: The statement cannot be cut: it has a limit, locks rows, or groups by something else.
            ConfigError: `workers` or `parts` is below 1.
        """
        from dal.parallel.parallel import Parallel, described
        from dal.parallel.runtime import Threads

        self._open()
        return Parallel(
            described(
                statement,
                by=by,
                split=split,
                workers=workers,
                parts=parts,
                processes=processes,
                ordered=ordered,
                progress=progress,
                sessions=self.session,
                engine=self.engine,
                runtime=Threads,
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
    ) -> Changes:
        """Read the changes of classes: inserts, updates and deletes, in commit order, at least once; see `dal.streams`.

        Args:
            entities: Mapped classes, or Tables.
            name: The stream's name, by which it is resumed; a consumer each. None: from now on, and not to be resumed.
            kinds: The kinds of changes wanted.
            old: What `change.old` has to have: the key, or "full", for which each table needs REPLICA IDENTITY FULL.
            via: "slot": the server's log, which needs wal_level=logical; "outbox": a table that triggers write.
            publication: A publication made by somebody else, where this role may not make one.
            takeover: How long to wait for another consumer of the same name to be gone.

        Returns:
            What to loop over, or to describe a flow with; nothing happens before that.

        Raises:
            UsageError: What is asked for is no class or Table, or the name cannot be one.
            UnsupportedError: The database is not PostgreSQL.

        Example:
            >>> for change in db.changes(Order, name="billing"):  # doctest: +SKIP
            ...     change.ack()
        """
        from dal.streams import Changes

        return Changes(
            self._known_streams().describe(
                entities, name=name, kinds=kinds, old=old, via=via, publication=publication, takeover=takeover
            )
        )

    def health(self) -> Health:
        """Look whether the database is well.

        Returns:
            Whether it answered and how fast, and what to do something about.

        Example:
            >>> with Database("sqlite://") as db:
            ...     db.health().ok
            True
        """
        from dal.database.health import Problem, look

        self._open()
        found = look(self.engine, self.config.pool, self.url)
        if self._streams is not None:
            found = replace(found, problems=(*found.problems, *(Problem(*told) for told in self._streams.problems())))
        return found if self._replica is None else replace(found, problems=(*found.problems, *self._replica.problems()))

    def bind(self, session: Session) -> Session:
        """Teach an application's own session this database's policies and their names, and its keys of cursors.

        Args:
            session: The session; it keeps its own engine.

        Returns:
            The same session.
        """
        session.info.update(known_to_sessions(self.policies, self.config.cursors))
        return session

    def close(self) -> None:
        """End the workers, the scans and the like, close the pool, and let go of the embedded server; again is nothing."""
        if self._closed:
            return
        for worker in list(self._workers):
            worker.close()
        self._closed = True
        end_all(self.engine)
        if self._prefetch is not None:
            self._prefetch.stop()
        if self._cache is not None:
            self._cache.close()
        if self._streams is not None:
            self._streams.close()
        if self._jobs is not None:
            self._jobs.close()
        if self._replica is not None:
            self._replica.close()
        close_engine(self.engine)
        if self._server is not None:
            self._server.stop()

    def _keeping(self) -> Cache:
        """Return the cache, one in memory where none was asked for."""
        from dal.cache import MemoryCache
        from dal.prefetch.opening import distrust

        self._open()
        with self._lock:
            if self._cache is None or not self._cache.keeps:
                self._cache = self._open_cache(MemoryCache())
                distrust(self.engine.pool)
            return self._cache

    def _open_cache(self, settings: MemoryCache | RedisCache | TieredCache | None) -> Cache:
        from dal.cache import Threads, open_cache

        trying, given, pooled = self._trying.reading, self._connect_args, self._pooled
        threads = Threads()
        return open_cache(
            settings, self.engine, sessions=self.session, trying=trying, runtime=threads, connect_args=given, pooled=pooled
        )

    def _known_streams(self) -> Streams:
        from dal.streams import streams_of

        self._open()
        with self._lock:
            if self._streams is None:
                self._streams = streams_of(self.engine, self.sessions, self._trying)
            return self._streams

    def _open(self) -> None:
        if self._closed:
            raise UsageError(f"{self!r} is closed", hint="open a new Database, or close it later")
