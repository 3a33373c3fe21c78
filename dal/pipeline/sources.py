"""Sources that read files and statements, item by item, in constant memory.

A file may be packed: by gzip or zstd. Any other iterable is a source as it is.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Engine, Select
from sqlalchemy.orm import Session
from sqlalchemy.util import greenlet_spawn

from dal._extras import require
from dal._interrupts import interrupt
from dal._reading import Reading
from dal.bulk.files.source import Source
from dal.errors import UsageError

__all__ = ["AsyncRows", "Rows", "read_csv", "read_jsonl", "read_parquet", "read_select"]


def read_csv(path: str | os.PathLike[str], *, delimiter: str = ",", encoding: str = "utf-8", null: str | None = None) -> Lines:
    """Read a CSV file with a header: a dict of strings for each line.

    Args:
        path: The file; `.gz` and `.zst` are unpacked.
        delimiter: What separates two values.
        encoding: The file's encoding.
        null: What stands for no value, such as "NA" or ""; it becomes None.

    Returns:
        A source for a Pipeline; each pass over it reads the file anew.

    Raises:
        UsageError: There is no such file.
    """
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        raise UsageError(f"delimiter={delimiter!r} is not one character", hint="write delimiter=';'")

    def read(file: IO[str]) -> Iterator[Any]:
        for row in csv.DictReader(file, delimiter=delimiter):
            yield row if null is None else {key: None if value == null else value for key, value in row.items()}

    return Lines(path, read, encoding)


def read_jsonl(path: str | os.PathLike[str], *, encoding: str = "utf-8") -> Lines:
    """Read a file of JSON lines: what each line says; empty lines are passed over.

    Args:
        path: The file; `.gz` and `.zst` are unpacked.
        encoding: The file's encoding.

    Returns:
        A source for a Pipeline.

    Raises:
        UsageError: There is no such file.
    """
    return Lines(path, lambda file: (json.loads(line) for line in file if line.strip()), encoding)


def read_parquet(path: str | os.PathLike[str], *, columns: list[str] | None = None, batch: int = 10_000) -> Parquet:
    """Read a Parquet file: a dict for each row.

    Args:
        path: The file.
        columns: Which columns; all by default.
        batch: Rows that are unpacked at a time.

    Returns:
        A source for a Pipeline.

    Raises:
        UsageError: There is no such file.
        MissingExtra: pyarrow is not installed.
    """
    return Parquet(path, columns, batch)


def read_select(db: Any, statement: Select[*tuple[Any, ...]], *, batch: int = 1000) -> Rows | AsyncRows:
    """Read what a statement selects, over a server-side cursor, in a transaction of its own.

    Args:
        db: A Database, or for an AsyncPipeline an AsyncDatabase.
        statement: A `select()`.
        batch: Rows that are fetched at a time.

    Returns:
        A source for a Pipeline: things where the statement selects one thing, else rows. Objects are detached.

    Raises:
        UsageError: It is no `select()`, or there is no database.
    """
    if not isinstance(statement, Select):
        raise UsageError(f"a {type(statement).__name__} is no select()", hint="read_select(db, select(Flight))")
    if not hasattr(db, "engine"):
        raise UsageError(f"{db!r} is no database", hint="read_select(db, select(Flight)), with a Database or an AsyncDatabase")
    return AsyncRows(db, statement, batch) if hasattr(db, "__aenter__") else Rows(db, statement, batch)


class Lines:
    """A text file, read in lines.

    Args:
        path: The file.
        read: Makes items of an open file.
        encoding: Its encoding.
    """

    def __init__(self, path: str | os.PathLike[str], read: Any, encoding: str) -> None:
        self._path, self._read, self._encoding = _existing(path), read, _known(encoding)

    def __iter__(self) -> Iterator[Any]:
        with Source(self._path) as source, io.TextIOWrapper(source.file, encoding=self._encoding, newline="") as file:
            yield from self._read(file)


class Parquet:
    """A Parquet file, read in batches."""

    def __init__(self, path: str | os.PathLike[str], columns: list[str] | None, batch: int) -> None:
        self._path, self._columns, self._batch = _existing(path), columns, batch
        self._parquet = require("pyarrow.parquet", extra="arrow", purpose="reading Parquet")

    def __iter__(self) -> Iterator[Any]:
        with self._parquet.ParquetFile(self._path) as file:
            for batch in file.iter_batches(self._batch, columns=self._columns):
                yield from batch.to_pylist()


class Selected:
    """What a statement selects, read in parts; either door says how one loops over it."""

    def __init__(self, db: Any, statement: Select[*tuple[Any, ...]], batch: int) -> None:
        self._db, self._statement, self._batch = db, statement, batch

    def _parts(self, engine: Engine, open_session: Callable[[], Session]) -> Reading[list[Any]]:
        at_work: list[Any] = []

        def break_off(closed: UsageError) -> None:
            for driver in at_work:
                interrupt(driver)

        return Reading(engine, "read_select", self._read(open_session, at_work), break_off=break_off)

    def _read(self, open_session: Callable[[], Session], at_work: list[Any]) -> Generator[list[Any], None, None]:
        statement = self._statement.execution_options(yield_per=self._batch)
        alone = len(statement.column_descriptions) == 1
        with open_session() as session:
            at_work.append(session.connection().connection.driver_connection)
            with closing(session.execute(statement)) as result:
                for rows in result.partitions():
                    _detach(session)
                    yield [row[0] for row in rows] if alone else list(rows)


class Rows(Selected):
    """What a statement selects from a Database."""

    def __iter__(self) -> Iterator[Any]:
        with closing(self._parts(self._db.engine, self._db.session)) as parts:
            for part in parts:
                for thing in part:
                    yield thing
                    parts.check()


class AsyncRows(Selected):
    """What a statement selects from an AsyncDatabase."""

    async def __aiter__(self) -> AsyncIterator[Any]:
        parts = self._parts(self._db.engine.sync_engine, lambda: self._db.session().sync_session)
        try:
            following: Any = partial(next, parts, None)
            while (part := await greenlet_spawn(following)) is not None:
                for thing in part:
                    yield thing
                    parts.check()
        finally:
            await greenlet_spawn(parts.close)


def _detach(session: Session) -> None:
    # Another thread goes on with the objects; it must not load anything over a session that is at work here.
    for each in list(session.identity_map.values()):
        session.expunge(each)


def _known(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except (LookupError, TypeError):
        raise UsageError(f"encoding={encoding!r} is not known", hint="write encoding='utf-8' or 'latin-1'") from None


def _existing(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(f"{path!r} is no path", hint="write read_csv('flights.csv'); any other iterable is a source as it is")
    found = Path(path)
    if not found.is_file():
        raise UsageError(f"there is no file {os.fspath(path)!r}", hint="the path is relative to the working directory")
    return found
