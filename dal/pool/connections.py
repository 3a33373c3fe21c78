"""`ConnectionPool`: SQLAlchemy's pool for PostgreSQL, sync and async, that stays warm, fair and whole.

Use it as `create_engine(url, poolclass=ConnectionPool, max_pool_size=20)`, or let `Database` choose it. Statements, resets,
events and adapters stay SQLAlchemy's own; what differs is that borrowers never connect themselves, are served in the order they
came, and never meet a connection that is known or suspected to be dead. It is made for psycopg; with another driver the checks
are what its dialect offers. Not for SQLite: one file needs no pool of connections.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import event
from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection

from dal.config import PoolConfig
from dal.deadlines import within
from dal.durations import Duration, seconds
from dal.pool import connecting, control, eviction, sockets
from dal.pool.core import Core
from dal.pool.entry import Entry, Verdict
from dal.pool.hooks import Hooks, Lifetimes
from dal.pool.objects import check_sizes
from dal.pool.probe import DriverProbe, Probe
from dal.pool.runtime import Tasks, Threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from dal.events import Observer
    from dal.pool.stats import PoolStats

__all__ = ["ConnectionPool"]

_log = logging.getLogger("dal.pool")

_SITE_DEPTH = 4
_BYPASS = 0.5


class ConnectionPool(Pool):
    """Keep connections ready for an engine.

    The first ten arguments are those of `PoolConfig`; all of them can be given to `create_engine()` as they are.

    Args:
        creator: Makes a DBAPI connection; `create_engine()` gives it.
        min_pool_size: Connections kept open and ready.
        max_pool_size: Connections at most.
        connection_timeout: How long a borrower waits, connecting and checking included.
        idle_timeout: How long a connection above the minimum may lie idle.
        max_lifetime: How long a connection lives; it ends at a random moment of the last tenth.
        validation_query: The statement that proves a connection alive.
        test_on_borrow: Look at the socket at every borrow, and send `validation_query` if the connection showed no life for
            0.5 s; `"always"` sends it every time.
        test_while_idle: Look at idle connections in the background, and send `validation_query` every `keepalive`.
        retry_attempts: Kept for those who run units of work again.
        retry_delay: Kept for those who run units of work again.
        validation_timeout: How long a check may take; then every idle connection is distrusted.
        keepalive: How often an idle connection is proven in the background.
        leak_threshold: How long a connection may be out before that is logged; 0 is never.
        echo: As for every pool of SQLAlchemy (`echo_pool`).
        logging_name: As for every pool of SQLAlchemy (`pool_logging_name`); also the name in messages and facts.
        reset_on_return: As for every pool of SQLAlchemy (`pool_reset_on_return`).
        events: As for every pool of SQLAlchemy.
        dialect: `create_engine()` gives it.

    Raises:
        ConfigError: A setting is not accepted.

    Example:
        >>> from sqlalchemy import create_engine
        >>> engine = create_engine("postgresql+psycopg://", poolclass=ConnectionPool, min_pool_size=1, max_pool_size=4)
        >>> engine.pool.stats().max_size
        4
    """

    # SQLAlchemy finds the arguments of a pool class among the positional ones only.
    def __init__(
        self,
        creator: Callable[..., Any],
        min_pool_size: int = 5,
        max_pool_size: int = 20,
        connection_timeout: Duration = 30.0,
        idle_timeout: Duration = 600.0,
        max_lifetime: Duration = 3600.0,
        validation_query: str = "SELECT 1",
        test_on_borrow: bool | Literal["always"] = True,
        test_while_idle: bool = True,
        retry_attempts: int = 3,
        retry_delay: Duration = 1.0,
        validation_timeout: Duration = 1.0,
        keepalive: Duration = 30.0,
        leak_threshold: Duration = 0.0,
        echo: Any = None,
        logging_name: str | None = None,
        reset_on_return: Any = True,
        events: Any = None,
        dialect: Any = None,
        _dispatch: Any = None,
        _observers: list[Observer] | None = None,
    ) -> None:
        self.config = PoolConfig(
            min_pool_size=min_pool_size,
            max_pool_size=max_pool_size,
            connection_timeout=connection_timeout,
            idle_timeout=idle_timeout,
            max_lifetime=max_lifetime,
            validation_query=validation_query,
            test_on_borrow=test_on_borrow,
            test_while_idle=test_while_idle,
            retry_attempts=retry_attempts,
            retry_delay=retry_delay,
        )
        self._validation_timeout = seconds(validation_timeout, name="validation_timeout")
        self._query = validation_query.encode()
        self._bypass = {"always": 0.0, True: _BYPASS, False: float("inf")}[self.config.test_on_borrow]
        super().__init__(
            creator,
            echo=echo,
            logging_name=logging_name,
            reset_on_return=reset_on_return,
            events=events,
            dialect=dialect,
            _dispatch=_dispatch,
        )
        self._target = connecting.target(self._dialect)
        eviction.watch(self._dialect)
        if _dispatch is None:
            event.listen(self, "soft_invalidate", _retire)
        self._core = Core(
            logging_name or "connections",
            self._hooks(),
            Lifetimes(
                max_lifetime=self.config.max_lifetime,
                idle_timeout=self.config.idle_timeout,
                keepalive=seconds(keepalive, name="keepalive") if test_while_idle else float("inf"),
                leak_threshold=seconds(leak_threshold, name="leak_threshold"),
            ),
            min_size=min_pool_size,
            max_size=max_pool_size,
            runtime=Tasks() if self._dialect.is_async else Threads(),
            observers=[] if _observers is None else _observers,
        )
        self._take, self._patience = self._core.take, self.config.connection_timeout
        self._options: dict[str, Any] = {
            "validation_timeout": validation_timeout,
            "keepalive": keepalive,
            "leak_threshold": leak_threshold,
        }

    def stats(self) -> PoolStats:
        """Take a snapshot of the pool's numbers."""
        return self._core.stats()

    def spare(self) -> int:
        """Tell how many connections lie idle beside one for whoever comes next; 0 while anybody waits."""
        return self._core.shelf.spare

    def lent(self) -> list[ConnectionPoolEntry]:
        """Return the connections that are out now."""
        return [entry.thing for entry in list(self._core.shelf.entries) if entry.taken]

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Tell an observer what happens, see `dal.events`; also what happens in the pools that replace this one.

        Returns:
            A function that ends it.
        """
        self._core.observers.append(observer)
        return lambda: self._core.observers.remove(observer)

    def warm_up(self, timeout: Duration | None = None) -> bool:
        """Open the minimum now and wait for it, by default for `connection_timeout`.

        Returns:
            Whether the minimum was ready in time.

        Raises:
            ConnectFailed: The server refuses, and trying again is of no use.
        """
        return control.warm_up(
            self._core, self.config.connection_timeout if timeout is None else seconds(timeout, name="timeout")
        )

    def resize(self, *, min_pool_size: int, max_pool_size: int) -> None:
        """Change the sizes; what is over the maximum goes as soon as it is not in use."""
        check_sizes(min_pool_size, max_pool_size)
        control.resize(self._core, min_pool_size, max_pool_size)

    def drain(self) -> None:
        """Replace every connection: the idle ones now, the others when they come back."""
        self._core.retire()

    def suspend(self) -> None:
        """Let borrowers wait, within `connection_timeout`, until `resume()`."""
        control.suspend(self._core, True)

    def resume(self) -> None:
        """End `suspend()`."""
        control.suspend(self._core, False)

    def close(self, timeout: Duration = 10.0) -> None:
        """Refuse new borrowers, wait for what is out, then break it off.

        Args:
            timeout: How long to wait for connections in use; their statements fail after that.
        """
        for line in control.close(self._core, seconds(timeout, name="timeout")):
            _log.warning("closed the pool %r while a connection was out: %s", self._core.name, line)

    def dispose(self) -> None:
        """Close what is idle now and the rest when it comes back; a later borrow begins anew."""
        control.rest(self._core)

    def recreate(self) -> ConnectionPool:
        """Make a new pool with the same settings."""
        return type(self)(
            self._creator,
            **{**asdict(self.config), "min_pool_size": self._core.shelf.min_size, "max_pool_size": self._core.shelf.max_size},
            **self._options,
            echo=self.echo,
            logging_name=self._orig_logging_name,
            reset_on_return=self._reset_on_return,
            dialect=self._dialect,
            _dispatch=self.dispatch,
            _observers=self._core.observers,
        )

    def status(self) -> str:
        """Say in one line how full the pool is."""
        now = self.stats()
        return f"{now.size} of at most {now.max_size} connections: {now.in_use} in use, {now.idle} idle; {now.waiting} waiting"

    def _do_get(self) -> ConnectionPoolEntry:
        return self._take(within(self._patience), _SITE_DEPTH).thing

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        entry: Entry[ConnectionPoolEntry] = record.record_info[eviction.ENTRY]  # type: ignore[index]
        if record.dbapi_connection is not entry.probe.dbapi_connection:
            if record.dbapi_connection is None:
                self._core.drop(entry)
                return
            self._prepare(entry)
        self._core.give_back(entry)

    def _invalidate(
        self, connection: PoolProxiedConnection, exception: BaseException | None = None, _checkin: bool = True
    ) -> None:
        # SQLAlchemy would let borrowers reconnect one by one; here the dead are swept out before anyone meets them.
        if _checkin and connection.is_valid:
            connection.invalidate(exception)
        if eviction.concerns_all(exception):
            self._core.retire()
        else:
            self._core.sweep()

    def _hooks(self) -> Hooks[ConnectionPoolEntry]:
        return Hooks(
            make=self._create_connection,
            destroy=_end,
            bypass=self._bypass,
            check=self._check,
            prove=self._prove,
            alive=_seems_alive,
            prepare=self._prepare,
            transient=self._target.transient,
            failure=self._target.failure,
            abort=sockets.break_off,
            orphan=sockets.orphan,
        )

    def _prepare(self, entry: Entry[ConnectionPoolEntry]) -> None:
        record = entry.thing
        record.record_info[eviction.ENTRY] = entry  # type: ignore[index]
        self._target.reached = True
        pgconn = getattr(record.driver_connection, "pgconn", None)
        if pgconn is not None:
            entry.probe = Probe(record.dbapi_connection, pgconn, threads=not self._dialect.is_async)
        else:
            entry.probe = DriverProbe(record.dbapi_connection, self._dialect.do_ping)  # type: ignore[union-attr]
        if self.config.test_on_borrow:
            entry.peek = entry.probe.peek

    def _check(self, entry: Entry[ConnectionPoolEntry], now: float, deadline: float) -> Verdict:
        allowed = min(self._validation_timeout, deadline - now)
        verdict: Verdict = entry.probe.ping(self._query, self._core.runtime, allowed)
        if verdict is Verdict.ALIVE:
            entry.proven = now
        elif verdict is Verdict.SILENT and allowed < self._validation_timeout:
            # The borrower's own time ran out first: that says nothing about the other connections.
            verdict = Verdict.DEAD
        entry.complaint = entry.probe.complaint
        return verdict

    def _prove(self, entry: Entry[ConnectionPoolEntry]) -> Verdict:
        verdict: Verdict = entry.probe.ping(self._query, self._core.runtime, self._validation_timeout)
        return verdict


def _seems_alive(entry: Entry[ConnectionPoolEntry]) -> bool:
    return not entry.probe.hung_up()


def _end(record: ConnectionPoolEntry) -> None:
    record.close()


def _retire(dbapi_connection: object, record: ConnectionPoolEntry, error: BaseException | None) -> None:
    entry = (record.record_info or {}).get(eviction.ENTRY)
    if entry is not None:
        entry.retire_at = 0.0
