"""A unit of work: a function run in one transaction, again as a whole where that is safe; it joins the unit it is called in."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session

from dal.config import PoolConfig
from dal.deadlines import limit
from dal.durations import Duration, seconds
from dal.errors import UnsupportedError, UsageError
from dal.events import Observer, state

if TYPE_CHECKING:
    from dal.pool.retry import Retrying

__all__ = ["Isolation", "Trying", "Unit", "describe", "leave_no_mode"]

Isolation = Literal["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "READ UNCOMMITTED"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SQLSTATE = re.compile(r"[0-9A-Z]{5}", re.ASCII)

_running: ContextVar[tuple[tuple[object, Session, Unit], ...]] = ContextVar("dal_units", default=())


class Trying:
    """How the units of a database are tried, and who is told.

    Args:
        settings: Say how often, and with what pause.
        pause: Sleeps; under asyncio it suspends the task.
        elsewhere: Tells of an error whether another server may do it.
    """

    def __init__(
        self,
        settings: PoolConfig,
        pause: Callable[[float], None],
        *,
        elsewhere: Callable[[BaseException], bool] | None = None,
    ) -> None:
        self.pause = pause
        self._elsewhere = elsewhere
        self.observers: list[Observer] = []
        self.settings = settings

    @cached_property
    def retrying(self) -> Retrying:
        """What runs them again; made, and the pool's package imported, when the first unit runs."""
        from dal.pool.retry import Retrying

        return Retrying(
            self.settings.retry_attempts,
            self.settings.retry_delay,
            pause=self.pause,
            tell=self.tell,
            elsewhere=self._elsewhere,
        )

    def reading(self, work: Callable[[], Any]) -> Any:
        """Run what only reads, and again after a transient fault."""
        return self.retrying.run(work, read_only=True)

    def tell(self, fact: object) -> None:
        """State a fact to the observers."""
        for observer in list(self.observers):
            state(observer, fact)

    def observe(self, observer: Observer, pool: object) -> Callable[[], None]:
        """Tell an observer about units, and about the pool if it is dal's.

        Args:
            observer: Called with each fact.
            pool: The engine's pool.

        Returns:
            A function that ends it.
        """
        observe: Callable[[Observer], Callable[[], None]] | None = getattr(pool, "observe", None)
        end_of_pool = observe(observer) if observe is not None else None
        self.observers.append(observer)

        def end() -> None:
            if observer in self.observers:
                self.observers.remove(observer)
                if end_of_pool is not None:
                    end_of_pool()

        return end


@dataclass(frozen=True, slots=True)
class Unit:
    """One transaction, run as a whole; made by `db.unit(...)`.

    Args:
        sessions: Makes a session; units of the same maker join each other.
        trying: How it is run again.
        read_only: Let the server refuse writes.
        isolation: The isolation level; the engine's own by default.
        deadline: Seconds for all of it: waiting, connecting, every try and the pauses between.
        retry_on: SQLSTATEs to be run again on, beyond dal's table.

    Example:
        >>> from dal import Database
        >>> from sqlalchemy import text
        >>> with Database("sqlite://") as db:
        ...     db.unit(read_only=True).run(lambda session: session.scalar(text("SELECT 1")))
        1
    """

    sessions: Callable[[], Session]
    trying: Trying
    read_only: bool = False
    isolation: Isolation | None = None
    deadline: float | None = None
    retry_on: tuple[str, ...] = ()

    def run(self, work: Callable[Concatenate[Session, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a function in this unit, or in the one it is called in.

        Args:
            work: Called with a session and what follows; commits when it returns, rolls back when it raises. After a transient
                fault it is called again with a new session, so what it does beside the database may happen more than once.
            args: Its further arguments.
            kwargs: Its keyword arguments.

        Returns:
            What it returns.

        Raises:
            UsageError: The unit it would join is weaker: read-only around a write, or another isolation level.
            DeadlineExceeded: It did not end in time; nothing was committed.
            CommitUnknown: The connection died during COMMIT and the server cannot say whether it was applied.
        """
        outer = next((entry for entry in reversed(_running.get()) if entry[0] == self.sessions), None)
        with limit(self.deadline):
            if outer is not None:
                self._fits(outer[2])
                return work(outer[1], *args, **kwargs)
            return self.trying.retrying.run(
                lambda: self._once(lambda session: work(session, *args, **kwargs)),
                read_only=self.read_only,
                asked=self.retry_on,
            )

    def wrap(self, work: Callable[Concatenate[Session, _P], _T]) -> Callable[_P, _T]:
        """Return the function without its first parameter; each call runs as this unit."""

        @wraps(work)
        def called(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            return self.run(work, *args, **kwargs)

        return called

    def _once(self, work: Callable[[Session], _T]) -> _T:
        from dal.pool.commit import Commit

        commit = Commit(read_only=self.read_only, pause=self.trying.pause, tell=self.trying.tell)
        results: list[_T] = []
        try:
            with self.sessions() as session, commit.of(session), session.begin():
                results.append(self._inside(session, work))
        except Exception as error:
            if not commit.in_doubt(error):
                raise
            commit.settle(error)
        return results[0]

    def _inside(self, session: Session, work: Callable[[Session], _T]) -> _T:
        with self._prepared(session):
            token = _running.set((*_running.get(), (self.sessions, session, self)))
            try:
                return work(session)
            finally:
                _running.reset(token)

    def _fits(self, outer: Unit) -> None:
        if outer.read_only and not self.read_only:
            raise UsageError(
                "a unit that writes is called inside a read-only one", hint="db.unit(read_only=True) for both, or for neither"
            )
        if self.isolation is not None and self.isolation != outer.isolation:
            raise UsageError(
                f"a unit with isolation={self.isolation!r} is called inside one with {outer.isolation or 'the default'!r}",
                hint="give the outermost unit the isolation level",
            )

    @contextmanager
    def _prepared(self, session: Session) -> Iterator[None]:
        options: dict[str, Any] = {} if self.isolation is None else {"isolation_level": self.isolation}
        backend = session.get_bind().dialect.name
        if self.read_only and backend == "postgresql":
            options["postgresql_readonly"] = True
        if options:
            session.connection(execution_options=options)
        if not self.read_only or backend == "postgresql":
            yield
        else:
            with _read_only(session.connection(), backend):
                yield


def describe(
    sessions: Callable[[], Session],
    trying: Trying,
    engine: Engine,
    *,
    read_only: bool,
    isolation: Isolation | None,
    deadline: Duration | None,
    retry_on: Collection[str],
) -> Unit:
    """Make the unit of what a caller said, and let the engine ask before it commits.

    Args:
        sessions: Makes a session.
        trying: How the database's units are tried.
        engine: The database's engine.
        read_only: As for `Unit`.
        isolation: As for `Unit`.
        deadline: A duration.
        retry_on: SQLSTATEs.

    Returns:
        The unit.

    Raises:
        ConfigError: The deadline is no duration.
        UsageError: What is in `retry_on` is no SQLSTATE, or the database has no such isolation level.
    """
    from dal.pool.commit import watch

    known = engine.dialect.get_isolation_level_values(None)  # type: ignore[arg-type]
    if isolation is not None and isolation not in known:
        raise UsageError(
            f"isolation={isolation!r} is no isolation level of {engine.dialect.name}", hint=f"write one of {', '.join(known)}"
        )

    for given in [retry_on] if isinstance(retry_on, str) else retry_on:
        if isinstance(retry_on, str) or not isinstance(given, str) or not _SQLSTATE.fullmatch(given):
            raise UsageError(f"retry_on: {given!r} is no list of SQLSTATEs", hint='retry_on=["55P03"]')
    watch(engine)
    if read_only:
        leave_no_mode(engine)
    bound = None if deadline is None else seconds(deadline, name="deadline")
    return Unit(sessions, trying, read_only=read_only, isolation=isolation, deadline=bound, retry_on=tuple(retry_on))


def leave_no_mode(engine: Engine) -> None:
    """Let a connection that was read-only go back to the server's default, once for each engine.

    SQLAlchemy resets it to READ WRITE, said with each BEGIN from then on: a primary that is demoted by its
    default_transaction_read_only would go on to take writes from such a connection.

    Args:
        engine: The engine.
    """
    if engine.dialect.name == "postgresql" and not event.contains(engine, "checkin", _leave_no_mode):
        event.listen(engine, "checkin", _leave_no_mode)


def _leave_no_mode(dbapi_connection: Any, record: object) -> None:
    if getattr(dbapi_connection, "read_only", None) is False:
        dbapi_connection.set_read_only(None)


@contextmanager
def _read_only(connection: Connection, backend: str) -> Iterator[None]:
    if backend != "sqlite":
        raise UnsupportedError(
            f"read_only units need PostgreSQL or SQLite; this is {backend}",
            hint="leave read_only out, or use a user without rights",
        )
    connection.exec_driver_sql("PRAGMA query_only = ON")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA query_only = OFF")
