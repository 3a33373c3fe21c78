"""Checkpoint: how far a long load is, kept in the database in the transaction of each part.

A part of a file and the row that says so are committed together, so a process that is killed at any moment has either done both
or neither: who goes on with the same name loses nothing and doubles nothing. The rows are in the table `dal_checkpoints`,
which is made at the first use:

    name       what the caller called the load
    source     what tells the file from another: its size and a hash of its start
    position   how much of it is done, in bytes once unpacked (of Parquet and Arrow, in rows)
    line       the line that comes next, from 1
    rows       rows written
    rejected   rows refused
    finished   whether all of it is done

Two processes that go on with one name at once do not both write: a part locks the row first, and whoever finds that it has
moved stops with a `UsageError`. A finished load is not done again; delete its row to do so: `Checkpoint(name).forget(session)`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    MetaData,
    String,
    Table,
    delete,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from dal.bulk.scope import Scope
from dal.errors import FileError, UsageError

__all__ = ["CHECKPOINTS", "Checkpoint", "Place"]

CHECKPOINTS = Table(
    "dal_checkpoints",
    MetaData(),
    Column("name", String(200), primary_key=True),
    Column("source", String(200), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("finished", Boolean, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)
"""The table of checkpoints, for those who look into it or let a migration make it."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a load is.

    Args:
        position: How much is done: bytes once unpacked, or rows.
        line: The line that comes next, from 1.
        rows: Rows written.
        rejected: Rows refused.
        finished: Whether all is done.
    """

    position: int = 0
    line: int = 1
    rows: int = 0
    rejected: int = 0
    finished: bool = False


class Checkpoint:
    """How far the load of a name is.

    Args:
        name: The name; one load at a time.

    Raises:
        UsageError: It is empty or longer than 200 characters.

    Example:
        `bulk.load("flights.csv.gz", resume="flights of June")`
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not 0 < len(name) <= 200:
            raise UsageError(f"a checkpoint's name is not {name!r}", hint="resume='flights of June', up to 200 characters")
        self.name = name

    @staticmethod
    def prepare(scope: Scope) -> None:
        """Make the table where it is missing; again is nothing.

        Args:
            scope: Where the load runs.
        """
        try:
            scope.run(lambda connection, session: CHECKPOINTS.create(connection, checkfirst=True), again=True)
        except DBAPIError:
            # Two processes that make it at once: one of them fails, and finds it there.
            if not scope.run(lambda connection, session: inspect(connection).has_table(CHECKPOINTS.name), again=True):
                raise

    def start(self, session: Session | Connection, source: str) -> Place:
        """Find where to go on, or begin.

        Args:
            session: A session or connection; the caller commits.
            source: What tells the file from another.

        Returns:
            Where to go on.

        Raises:
            FileError: The checkpoint is of another file.
        """
        found = session.execute(select(CHECKPOINTS).where(CHECKPOINTS.c.name == self.name)).one_or_none()
        if found is None:
            place = Place()
            session.execute(insert(CHECKPOINTS).values(name=self.name, source=source, **_values(place)))
            return place
        if found.source != source:
            raise FileError(
                f"the checkpoint {self.name!r} is of another file, or the file has changed since",
                hint="give each file a name of its own, or forget the checkpoint: Checkpoint(name).forget(session)",
            )
        return Place(found.position, found.line, found.rows, found.rejected, found.finished)

    def hold(self, session: Session | Connection, place: Place) -> None:
        """Lock the row at the start of the transaction that writes a part.

        Args:
            session: The session that writes the part.
            place: Where the part begins.

        Raises:
            UsageError: Another process has gone on with this load, or its row is gone.
        """
        held = select(CHECKPOINTS.c.position, CHECKPOINTS.c.finished).where(CHECKPOINTS.c.name == self.name).with_for_update()
        found = session.execute(held).one_or_none()
        if found is None or tuple(found) != (place.position, place.finished):
            raise UsageError(
                f"another process has gone on with the load {self.name!r}, or its checkpoint was deleted",
                hint="let one process at a time load a file under one name",
            )

    def advance(self, session: Session | Connection, place: Place) -> None:
        """Note a part in the transaction that writes it.

        Args:
            session: The session that writes the part, and holds the row.
            place: Where the next part begins.
        """
        session.execute(update(CHECKPOINTS).where(CHECKPOINTS.c.name == self.name).values(_values(place)))

    def finish(self, session: Session | Connection, place: Place) -> None:
        """Note that all is done."""
        self.hold(session, place)
        self.advance(session, replace(place, finished=True))

    def forget(self, session: Session | Connection) -> None:
        """Delete the row, so that the load can be done again; the caller commits."""
        session.execute(delete(CHECKPOINTS).where(CHECKPOINTS.c.name == self.name))


def _values(place: Place) -> dict[str, object]:
    now = dt.datetime.now(dt.UTC)
    return {
        "position": place.position,
        "line": place.line,
        "rows": place.rows,
        "rejected": place.rejected,
        "finished": place.finished,
        "updated_at": now,
    }
