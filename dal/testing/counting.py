"""Count the statements that reach the database: the expectation of a loading test is a number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session

__all__ = ["Statements", "count_statements"]


@dataclass
class Statements:
    """The statements seen so far, in the order sent.

    Args:
        statements: Their SQL, with placeholders.
    """

    statements: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many there are; an executemany is one."""
        return len(self.statements)

    def clear(self) -> None:
        """Forget them and count from zero."""
        self.statements.clear()

    def __str__(self) -> str:
        return "\n".join(f"{number}. {statement}" for number, statement in enumerate(self.statements, 1))


@contextmanager
def count_statements(
    bind: Engine | Connection | Session | AsyncEngine | AsyncConnection | AsyncSession,
) -> Iterator[Statements]:
    """Count what is sent through an engine, a connection or a session's bind, in this block.

    BEGIN, COMMIT and SAVEPOINT are not statements here; a statement that fails is one.

    Args:
        bind: Where to listen, sync or async.

    Yields:
        The statements so far.

    Example:
        >>> from sqlalchemy import create_engine, text
        >>> engine = create_engine("sqlite://")
        >>> with count_statements(engine) as seen, engine.connect() as connection:
        ...     connection.scalar(text("SELECT 1"))
        1
        >>> seen.count, seen.statements
        (1, ['SELECT 1'])
    """
    target = _listenable(bind)
    seen = Statements()

    # SQLAlchemy hands over all six by position.
    def note(_connection: Any, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool) -> None:
        seen.statements.append(statement)

    event.listen(target, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(target, "before_cursor_execute", note)


def _listenable(bind: Any) -> Engine | Connection:
    for attribute in ("sync_session", "sync_connection", "sync_engine"):
        bind = getattr(bind, attribute, bind)
    found = bind if isinstance(bind, (Engine, Connection)) else bind.get_bind()
    assert isinstance(found, (Engine, Connection))
    return found
