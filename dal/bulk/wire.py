"""Wire: psycopg below a SQLAlchemy connection, in the same transaction: statements, rows, and COPY.

It works through both doors. On an asyncio connection it has to be used inside SQLAlchemy's greenlet bridge, where
`AsyncSession.run_sync` puts it; COPY is then awaited block by block.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Protocol, Self

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dal import deadlines

__all__ = ["BadRow", "Copying", "Wire", "bad_row", "prepared", "speaks_copy"]

Row = tuple[Any, ...]


def speaks_copy(connection: Connection) -> bool:
    """Tell whether a connection is psycopg's: only then there is COPY."""
    return connection.dialect.driver in {"psycopg", "psycopg_async"}


class BadRow(Exception):
    """A row that psycopg could not encode.

    Args:
        index: Its place among the rows of the call.
        error: What psycopg said.
    """

    def __init__(self, index: int, error: Exception) -> None:
        super().__init__(index, error)
        self.index = index
        self.error = error


class Copying(Protocol):
    """A COPY that is under way.

    Attributes:
        rows: How many rows it has written, once it has ended.
    """

    rows: int

    def write_rows(self, rows: list[Row]) -> None:
        """Encode and send rows.

        Raises:
            BadRow: One of them cannot be encoded.
        """
        ...

    def write(self, block: bytes | memoryview) -> None:
        """Send bytes as they are."""
        ...


class Wire:
    """psycopg below a connection of SQLAlchemy's.

    Statements have each percent sign doubled, as SQLAlchemy quotes names for psycopg, with parameters and without.

    Args:
        connection: The connection, in a transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._proxied: Any = connection.connection
        self.driver: Any = self._proxied.driver_connection
        self._asyncio = connection.dialect.is_async

    def run(self, statement: str, values: Sequence[Any] | None = None) -> int:
        """Send a statement and return how many rows it reached.

        Raises:
            DBAPIError: It failed.
        """
        with self._cursor(statement) as cursor:
            cursor.execute(*prepared(statement, values))
            return int(cursor.rowcount)

    def fetch(self, statement: str, values: Sequence[Any] | None = None) -> list[Row]:
        """Send a statement and return its rows.

        Raises:
            DBAPIError: It failed.
        """
        with self._cursor(statement) as cursor:
            cursor.execute(*prepared(statement, values))
            return list(cursor.fetchall())

    @contextmanager
    def copy(self, statement: str, types: Sequence[str] = ()) -> Iterator[Copying]:
        """Begin a COPY ... FROM STDIN, and end it with the block.

        Args:
            statement: The COPY.
            types: psycopg's names of the types of its columns; for binary COPY by rows.

        Raises:
            DBAPIError: The server refused a row, or the connection was lost.
        """
        with self._cursor(statement) as cursor, self.copying(cursor, statement, types) as running:
            yield running

    @contextmanager
    def copying(self, cursor: Any, statement: str, types: Sequence[str] = ()) -> Iterator[Copying]:
        """Begin a COPY on a cursor, as `copy` does; what psycopg raises stays as it is."""
        statement, _ = prepared(statement, None)
        copying = _AsyncCopying(self._proxied, statement) if self._asyncio else _SyncCopying(cursor, statement)
        with copying as running:
            running.expect(types)
            yield running

    def wait(self, work: Generator[Any, Any, Any], statement: str) -> Any:
        """Run a generator of psycopg's libpq layer, through either door.

        Args:
            work: Yields what it waits for, as psycopg's own do.
            statement: What it is about, for errors.

        Returns:
            What the generator returns.

        Raises:
            DBAPIError: It raised an error of psycopg's.
        """
        dbapi: Any = self.connection.dialect.loaded_dbapi
        try:
            if self._asyncio:
                return self._proxied.dbapi_connection.run_async(lambda driver: driver.wait(work))
            return self.driver.wait(work)
        except dbapi.Error as error:
            raise self._told(error, statement) from error

    def announce(self) -> None:
        """Let the server know how much time is left, before a statement that SQLAlchemy does not see.

        A transaction that has failed takes no other statement than the one that takes it back, which needs no time.
        """
        from psycopg.pq import TransactionStatus

        if deadlines.current() is not None and self.driver.info.transaction_status != TransactionStatus.INERROR:
            self.connection.exec_driver_sql("SELECT 1")

    def savepoint(self, name: str = "dal_bulk") -> None:
        """Set a savepoint."""
        self.run(f"SAVEPOINT {name}")

    def release(self, name: str = "dal_bulk") -> None:
        """Keep what was done since a savepoint."""
        self.run(f"RELEASE {name}")

    def undo(self, name: str = "dal_bulk") -> None:
        """Take back what was done since a savepoint, and the savepoint."""
        self.run(f"ROLLBACK TO {name}")
        self.run(f"RELEASE {name}")

    @contextmanager
    def _cursor(self, statement: str) -> Iterator[Any]:
        dbapi: Any = self.connection.dialect.loaded_dbapi
        self.announce()
        cursor = self._proxied.cursor()
        try:
            yield cursor
        except dbapi.Error as error:
            raise self._told(error, statement) from error
        finally:
            cursor.close()

    def _told(self, error: Exception, statement: str) -> Exception:
        deadline = deadlines.current()
        if deadline is not None and deadline.left() <= 0 and getattr(error, "sqlstate", None) == "57014":
            return deadline.exceeded("the server stopped the statement")
        return self.translated(error, statement)

    def translated(self, error: Exception, statement: str) -> DBAPIError:
        """Return SQLAlchemy's error for one of psycopg's; a lost connection is invalidated."""
        dialect = self.connection.dialect
        dbapi: Any = dialect.loaded_dbapi
        lost = dialect.is_disconnect(error, self._proxied, None)  # type: ignore[arg-type]
        if lost:
            self.connection.invalidate(error)
        made: Any = DBAPIError.instance(statement, None, error, dbapi.Error, connection_invalidated=lost, dialect=dialect)
        found: DBAPIError = made
        return found


def prepared(statement: str, values: Sequence[Any] | None) -> tuple[str, Sequence[Any] | None]:
    """Return what psycopg is given: it reads percent signs where there are parameters only."""
    return (statement.replace("%%", "%") if values is None else statement), values


class _SyncCopying:
    rows = 0

    def __init__(self, cursor: Any, statement: str) -> None:
        self._cursor = cursor
        self._entered: AbstractContextManager[Any] = cursor.copy(statement)

    def __enter__(self) -> Self:
        self._copy = self._entered.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._entered.__exit__(kind, error, trace)
        self.rows = self._cursor.rowcount

    def expect(self, types: Sequence[str]) -> None:
        if types:
            self._copy.set_types(types)

    def write_rows(self, rows: list[Row]) -> None:
        # As write_row() does it, with a call less for each row.
        encoded, send, remaining = self._copy.formatter.write_row, self._copy.writer.write, iter(rows)
        try:
            for row in remaining:
                if block := encoded(row):
                    send(block)
        except Exception as error:
            raise bad_row(rows, remaining, error) from error

    def write(self, block: bytes | memoryview) -> None:
        self._copy.write(block)


class _AsyncCopying:
    rows = 0

    def __init__(self, proxied: Any, statement: str) -> None:
        self._adapted = proxied.dbapi_connection
        self._statement = statement
        self._cursor: Any = None
        self._entered: Any = None
        self._copy: Any = None

    def __enter__(self) -> Self:
        async def begin(driver: Any) -> None:
            self._cursor = driver.cursor()
            self._entered = self._cursor.copy(self._statement)
            self._copy = await self._entered.__aenter__()

        self._adapted.run_async(begin)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._adapted.run_async(lambda driver: self._entered.__aexit__(kind, error, trace))
        self.rows = self._cursor.rowcount

    def expect(self, types: Sequence[str]) -> None:
        if types:
            self._copy.set_types(types)

    def write_rows(self, rows: list[Row]) -> None:
        remaining = iter(rows)

        async def write(driver: Any) -> None:
            encoded, send = self._copy.formatter.write_row, self._copy.writer.write
            for row in remaining:
                if block := encoded(row):
                    await send(block)

        try:
            self._adapted.run_async(write)
        except Exception as error:
            raise bad_row(rows, remaining, error) from error

    def write(self, block: bytes | memoryview) -> None:
        self._adapted.run_async(lambda driver: self._copy.write(block))


def bad_row(rows: list[Row], remaining: Any, error: Exception) -> Exception:
    """Tell an error of encoding from one of sending: only the former names a row.

    Args:
        rows: The rows.
        remaining: The iterator over them that was being read.
        error: What came of it.
    """
    from psycopg import OperationalError

    if isinstance(error, OperationalError):
        return error
    return BadRow(len(rows) - remaining.__length_hint__() - 1, error)
