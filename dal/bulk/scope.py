"""Scope: the transaction that a bulk call runs in: the caller's, or its own.

In a caller's session or connection the call is a savepoint: what fails takes nothing else with it, and the caller goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from inspect import iscoroutinefunction
from typing import Any, Protocol, TypeVar, runtime_checkable

from sqlalchemy import Connection
from sqlalchemy.orm import Session, scoped_session

from dal.bulk.halving import begin_for_real
from dal.bulk.target import Target
from dal.errors import UsageError
from dal.own_statements import in_autocommit
from dal.written import written

__all__ = ["Scope", "Transactions"]

T = TypeVar("T")
Work = Callable[[Connection, Session | None], T]


@runtime_checkable
class Transactions(Protocol):
    """What a bulk writer needs of a Database."""

    def transaction(self) -> AbstractContextManager[Session]:
        """Give a session in a transaction that commits at the end."""
        ...

    def run(self, work: Callable[[Session], Any], /) -> Any:
        """Run a function in a transaction, and run it again after a transient fault."""
        ...


class Scope:
    """Where a bulk writer writes.

    Args:
        place: A Database, a Session or a Connection.
        target: Where rows go.

    Raises:
        UsageError: It is none of these.
    """

    def __init__(self, place: object, target: Target) -> None:
        self._place: Any = place() if isinstance(place, scoped_session) else place
        self._target = target
        if iscoroutinefunction(getattr(self._place, "run", None)):
            raise UsageError(
                f"BulkWriter got an {type(place).__name__}, whose door is the async one",
                hint=f"write AsyncBulkWriter(db, {target.name})",
            )
        if not isinstance(self._place, (Session, Connection, Transactions)):
            raise UsageError(
                f"a {type(place).__name__} is no database, session or connection",
                hint=f"write BulkWriter(db, {target.name}) or BulkWriter(session, {target.name})",
            )

    @property
    def commits(self) -> bool:
        """Whether the transaction is the writer's own."""
        return not isinstance(self._place, (Session, Connection))

    def transaction(self) -> AbstractContextManager[Session]:
        """Give a session in a transaction of the writer's own.

        Raises:
            UsageError: The writer writes into a caller's transaction.
        """
        if isinstance(self._place, (Session, Connection)):
            raise UsageError(
                "this writer writes into a transaction that is its caller's", hint=f"BulkWriter(db, {self._target.name})"
            )
        opened: AbstractContextManager[Session] = self._place.transaction()
        return opened

    def run(self, work: Work[T], *, again: bool, writes: bool = True) -> T:
        """Run something in the transaction.

        Args:
            work: Called with the connection, and the session where the caller gave one.
            again: Whether it may be run again, whole, after a transient fault.
            writes: Whether it writes to the target's tables.
        """
        place = self._place

        def announced(connection: Connection, session: Session | None) -> T:
            if writes:
                # COPY is seen by no event of SQLAlchemy.
                written(connection, (part.table.name for part in self._target.parts))
            return work(connection, session)

        if isinstance(place, Session):
            place.flush()
            return self._nested(place.connection(bind_arguments=self._bind()), place, announced)
        if isinstance(place, Connection):
            return self._nested(place, None, announced)
        if again:
            found: T = place.run(lambda session: announced(session.connection(bind_arguments=self._bind()), session))
            return found
        with place.transaction() as session:
            return announced(session.connection(bind_arguments=self._bind()), session)

    def _bind(self) -> Any:
        mapper = self._target.mapper
        return {"mapper": mapper} if mapper is not None else {"clause": self._target.table}

    def _nested(self, connection: Connection, session: Session | None, work: Work[T]) -> T:
        if in_autocommit(connection):
            raise UsageError(
                "a bulk write is a transaction, and this connection commits every statement on its own",
                hint="give a connection without isolation_level='AUTOCOMMIT'",
            )
        begin_for_real(connection)
        with connection.begin_nested():
            return work(connection, session)
