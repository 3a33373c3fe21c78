"""A unit of work: a function run in one transaction, that joins the unit it is called in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from dal.errors import UnsupportedError, UsageError

__all__ = ["Isolation", "Unit"]

Isolation = Literal["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "READ UNCOMMITTED"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_running: ContextVar[tuple[tuple[object, Session, Unit], ...]] = ContextVar("dal_units", default=())


@dataclass(frozen=True, slots=True)
class Unit:
    """One transaction, run as a whole; made by `db.unit(...)`.

    Args:
        sessions: Makes a session; units of the same maker join each other.
        read_only: Let the server refuse writes.
        isolation: The isolation level; the engine's own by default.

    Example:
        >>> from dal import Database
        >>> from sqlalchemy import text
        >>> with Database("sqlite://") as db:
        ...     db.unit(read_only=True).run(lambda session: session.scalar(text("SELECT 1")))
        1
    """

    sessions: Callable[[], Session]
    read_only: bool = False
    isolation: Isolation | None = None

    def run(self, work: Callable[Concatenate[Session, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a function in this unit, or in the one it is called in.

        Args:
            work: Called with a session and what follows; commits when it returns, rolls back when it raises.
            args: Its further arguments.
            kwargs: Its keyword arguments.

        Returns:
            What it returns.

        Raises:
            UsageError: The unit it would join is weaker: read-only around a write, or another isolation level.
        """
        outer = next((entry for entry in reversed(_running.get()) if entry[0] == self.sessions), None)
        if outer is not None:
            self._fits(outer[2])
            return work(outer[1], *args, **kwargs)
        with self.sessions() as session, session.begin(), self._prepared(session):
            token = _running.set((*_running.get(), (self.sessions, session, self)))
            try:
                return work(session, *args, **kwargs)
            finally:
                _running.reset(token)

    def wrap(self, work: Callable[Concatenate[Session, _P], _T]) -> Callable[_P, _T]:
        """Return the function without its first parameter; each call runs as this unit."""

        @wraps(work)
        def called(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            return self.run(work, *args, **kwargs)

        return called

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
