"""What a read would send: its statements, those of its eager loads too, and the plan of each.

The read is rehearsed in a session of its own on the caller's connection: the caller's objects stay as they are, nothing
is flushed, and on PostgreSQL the rehearsal is read-only and rolled back to a savepoint. The rows are really read, since
the number of statements can depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, event
from sqlalchemy.orm import Session

from dal.repository import _internals
from dal.repository.entities import Entity

__all__ = ["Explanation", "PlannedStatement", "explain"]

_PREFIX = {"sqlite": "EXPLAIN QUERY PLAN "}


@dataclass(frozen=True, slots=True)
class PlannedStatement:
    """One statement and how the database would run it.

    Args:
        sql: The statement as the driver gets it.
        plan: The database's own description, a line a step.
        parameters: Its parameters; kept out of every printed form.
    """

    sql: str
    plan: str
    parameters: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The statements of a read, in the order they are sent.

    Example:
        >>> explained = Explanation((PlannedStatement("SELECT 1", "Result", None),))
        >>> explained.count
        1
        >>> print(explained)
        1 statement
        <BLANKLINE>
        [1] SELECT 1
            Result
    """

    statements: tuple[PlannedStatement, ...]

    @property
    def count(self) -> int:
        """How many statements there are."""
        return len(self.statements)

    def __str__(self) -> str:
        parts = [f"{self.count} statement{'' if self.count == 1 else 's'}"]
        for number, each in enumerate(self.statements, start=1):
            plan = "\n".join(f"    {line}" for line in each.plan.splitlines())
            parts.append(f"[{number}] {each.sql}\n{plan}")
        return "\n\n".join(parts)


def explain(session: Session, entity: Entity[Any], statement: Select[Any]) -> Explanation:
    """Rehearse a read and ask the database for the plans of its statements.

    Returns:
        The statements and their plans.
    """
    connection = session.connection(bind_arguments={"mapper": entity.mapper})
    with _read_only(connection):
        sent = _rehearse(session, connection, statement)
        prefix = _PREFIX.get(connection.dialect.name, "EXPLAIN ")
        return Explanation(
            tuple(PlannedStatement(sql, _plan(connection, prefix + sql, parameters), parameters) for sql, parameters in sent)
        )


def _rehearse(session: Session, connection: Connection, statement: Select[Any]) -> list[tuple[str, Any]]:
    sent: list[tuple[str, Any]] = []

    def record(_: Any, __: Any, sql: str, parameters: Any, *___: Any) -> None:
        sent.append((sql, parameters))

    event.listen(connection, "before_cursor_execute", record)
    try:
        with _double(session, connection) as double:
            result = double.scalars(statement)
            (result.unique() if _internals.needs_unique(result) else result).all()
    finally:
        event.remove(connection, "before_cursor_execute", record)
    return sent


@contextmanager
def _double(session: Session, connection: Connection) -> Iterator[Session]:
    # Of the caller's own class, so that what listens on it (a tenant filter, a policy) takes part; without its __init__,
    # whose arguments only the caller knows.
    kind: type[Session] = type("Rehearsal", (type(session),), {"get_bind": lambda *_, **__: connection})
    double = kind.__new__(kind)
    double.__dict__.update(session.__dict__)
    Session.__init__(double, bind=connection, autoflush=False, info=dict(session.info), join_transaction_mode="rollback_only")
    try:
        yield double
    finally:
        double.close()


@contextmanager
def _read_only(connection: Connection) -> Iterator[None]:
    if connection.dialect.name != "postgresql":
        yield
        return
    with connection.begin_nested() as savepoint:
        connection.exec_driver_sql("SET LOCAL transaction_read_only = on")
        try:
            yield
        finally:
            savepoint.rollback()


def _plan(connection: Connection, sql: str, parameters: Any) -> str:
    rows = connection.exec_driver_sql(sql, parameters)
    # SQLite: (id, parent, unused, detail); PostgreSQL: one text column; others: a table.
    at = slice(3, 4) if connection.dialect.name == "sqlite" else slice(None)
    return "\n".join(" | ".join(str(value) for value in row[at]) for row in rows)
