"""What a worker does with a part: read it over its connection and call the function, here or in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import Connection, Select
from sqlalchemy.orm import Session

from dal._processes import Child
from dal.parallel import _internals
from dal.parallel.part import Part
from dal.parallel.remote import Compiled, Reader, connect_arguments
from dal.parallel.runtime import Runtime

__all__ = ["Here", "InProcess", "Worker"]

Result = tuple[Any, int]


class Worker(Protocol):
    """One worker: does one part after the other."""

    def do(self, part: Part) -> Result:
        """Return what the function made of a part, and how many rows it has."""
        ...

    def cancel(self) -> None:
        """Break off what it is at; called from outside."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class Here:
    """Reads in a session and calls the function in this process."""

    def __init__(self, session: Session, statement: Select[Any], work: Callable[[list[Any]], Any], runtime: Runtime) -> None:
        self._session, self._statement, self._work, self._runtime = session, statement, work, runtime
        self._driver = session.connection().connection.driver_connection

    def do(self, part: Part) -> Result:
        """Read a part and call the function with its rows."""
        rows = read(self._session, part.of_statement(self._statement))
        result = self._runtime.call(self._work, rows)
        # Objects leave detached and do not pile up from part to part.
        self._session.expunge_all()
        return result, len(rows)

    def cancel(self) -> None:
        """Ask the server to end the statement; a function that is at work ends by itself."""
        self._runtime.interrupt(self._driver)

    def close(self) -> None:
        """The session is closed by who opened it."""


class InProcess:
    """Hands compiled parts to a process with a connection of its own."""

    def __init__(self, connection: Connection, snapshot: str, compiled: Compiled, work: Any, runtime: Runtime) -> None:
        self._compiled, self._runtime = compiled, runtime
        self._child = Child(Reader, connect_arguments(connection), snapshot, compiled.columns, work, name="dal-parallel")

    def do(self, part: Part) -> Result:
        """Let the process read a part and call the function."""
        result: Result = self._runtime.aside(self._child.call, self._compiled.part(part))
        return result

    def cancel(self) -> None:
        """End the process."""
        self._child.end(at_once=True)

    def close(self) -> None:
        """End the process, after what it is at."""
        self._runtime.aside(self._child.end)


def read(session: Session, statement: Select[Any]) -> list[Any]:
    """Return what a statement selects: things where that is one thing, else rows."""
    result = session.execute(statement)
    if len(statement.column_descriptions) != 1:
        return list(result.all())
    scalars = result.scalars()
    return list((scalars.unique() if _internals.needs_unique(scalars) else scalars).all())
