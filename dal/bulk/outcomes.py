"""What became of each item of a batch: its row, or its own error while the others are written.

The batch is first written as if nothing were wrong, in one transaction and without savepoints. Where the data are at fault
nothing of it remains, and it is written once more, under savepoints and cut in halves until the items at fault are alone.
A constraint that is deferred is checked item by item then, not at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from dal.bulk.halving import begin_for_real
from dal.bulk.item_error import error_of_item, item_error
from dal.bulk.keyed import of_another_class
from dal.bulk.operations import Operation, Operations
from dal.errors import CommitUnknown, ConnectFailed, DeadlineExceeded, NotFound, PoolTimeout

__all__ = ["Outcome", "Units", "outcomes"]

T = TypeVar("T")

# The server, the connection or another transaction are at fault, not the data.
_NOT_THE_DATA = ("08", "25", "40", "53", "55", "57", "58", "XX")


@dataclass(slots=True)
class Outcome:
    """A row or an error."""

    row: Any = None
    error: BaseException | None = None


class Unit(Protocol):
    """What runs a function in one transaction, as a `Unit` of a database does."""

    def run(self, work: Callable[[Session], T], /) -> T:
        """Run it."""
        ...


class Units(Protocol):
    """What makes units: a `Database`."""

    def unit(self) -> Unit:
        """Make one."""
        ...


def outcomes(db: Units, operations: Operations, batch: Sequence[Operation]) -> list[Outcome]:
    """Write a batch in one transaction.

    Args:
        db: The database.
        operations: Knows how to write them.
        batch: What to write, in order.

    Returns:
        An outcome for each, in order.
    """
    try:
        unit = db.unit()
        try:
            found = unit.run(lambda session: operations.write(session, batch))
        except Exception as error:
            if not of_the_data(error):
                raise
            found = unit.run(lambda session: list(_carefully(session, operations, batch)))
    except Exception as error:
        return [Outcome(error=error) for _ in batch]
    return [_outcome(operations, operation, values) for operation, values in zip(batch, found, strict=True)]


def of_the_data(error: BaseException) -> bool:
    """Tell whether an error is that of a row, so that other rows may be written."""
    if isinstance(error, (CommitUnknown, ConnectFailed, PoolTimeout, DeadlineExceeded)):
        return False
    if not isinstance(error, DBAPIError):
        return True
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return not error.connection_invalidated and not state.startswith(_NOT_THE_DATA) and not _locked(error)


def _locked(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlite_errorcode", 19) & 0xFF in {5, 6}


def _carefully(session: Session, operations: Operations, batch: Sequence[Operation]) -> Iterator[Any]:
    begin_for_real(session.connection())
    try:
        with session.begin_nested():
            found = operations.write(session, batch)
            if session.get_bind().dialect.name == "postgresql":
                session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    except Exception as error:
        if not of_the_data(error):
            raise
        if len(batch) == 1:
            (operation,) = batch
            yield error_of_item(error, operations.target, operation.item, operation.key)
            return
    else:
        yield from found
        return
    half = len(batch) // 2
    yield from _carefully(session, operations, batch[:half])
    yield from _carefully(session, operations, batch[half:])


def _outcome(operations: Operations, operation: Operation, found: Any) -> Outcome:
    if isinstance(found, BaseException):
        return Outcome(error=found)
    if found is None and operation.kind == "upsert":
        refused = of_another_class(operations.target, operation.key)
        return Outcome(error=item_error(refused, operations.target, operation.item))
    if found is None:
        return Outcome(error=NotFound(operations.missing(operation), hint="upsert() writes a row whether it is there or not"))
    try:
        return Outcome(row=operations.row(operation, found))
    except Exception as error:
        error.add_note(f"the row of this {operations.target.name} is written; only its object could not be filled")
        return Outcome(error=error)
