"""Dump: the rows of a `select()` into a file, the way back of `load`.

On PostgreSQL the server writes CSV and JSON itself, by COPY; Arrow and Parquet are made of its CSV. What Python converts
(a TypeDecorator) and what other databases give goes through rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, Enum, Select, TextClause
from sqlalchemy.exc import CompileError
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.types import TypeDecorator

from dal.bulk.arguments import checked_progress
from dal.bulk.files.arrow_out import ArrowOut
from dal.bulk.files.columns_out import columns_of
from dal.bulk.files.copy_out import CopyOut
from dal.bulk.files.progress import FileProgress, Tell, telling
from dal.bulk.files.row_out import csv_of, json_of
from dal.bulk.files.sink import Sink, Writable, opened, wanted_format
from dal.bulk.files.source import Format
from dal.bulk.wire import Wire, speaks_copy
from dal.errors import UnsupportedError, UsageError

__all__ = ["Writable", "dump"]

_ROWS = 10_000
# Characters that JSON never holds, so that no value has to be quoted for them.
_JSON_LINES = "(FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')"


Statement = Select[*tuple[Any, ...]] | TextClause


def dump(
    connection: Connection,
    statement: Statement,
    file: Writable,
    *,
    format: Format | None,  # noqa: A002
    progress: bool | Tell | None,
) -> int:
    """Write rows to a file; see `BulkWriter.dump`.

    Args:
        connection: Where they are read, in a transaction.
        statement: What to write.
        file: Where.
        format: The format.
        progress: As for `BulkWriter.load`.

    Returns:
        How many rows were written.
    """
    if not isinstance(statement, (Select, TextClause)):
        raise UsageError(f"a {type(statement).__name__} is no select()", hint="bulk.dump(select(Flight), 'flights.csv')")
    checked_progress(progress)
    wanted = wanted_format(file, format)
    with opened(file) as sink, telling(progress, "dump") as tell:
        return _Dump(connection, statement, wanted, sink, tell).run()


class _Dump:
    def __init__(self, connection: Connection, statement: Statement, kind: Format, sink: Sink, tell: Tell | None) -> None:
        self._connection, self._statement, self._kind = connection, statement, kind
        self._sink, self._tell = sink, tell
        self._names, self._types = columns_of(connection, statement)
        self._rows = 0

    def run(self) -> int:
        copied = speaks_copy(self._connection) and not any(map(_by_python, self._types))
        if self._kind in {"parquet", "arrow"}:
            with ArrowOut(self._kind, self._sink, self._names, self._types) as out:
                if copied:
                    for block in self._blocks(f"COPY ({out.select(self._sql())}) TO STDOUT (FORMAT csv)"):
                        self._told(out.write_csv(block))
                else:
                    for rows in self._partitions():
                        self._told(out.write_rows(rows))
        elif copied:
            self._copy()
        else:
            self._by_rows()
        return self._rows

    def _copy(self) -> None:
        if self._kind == "csv":
            self._sink.write(csv_of([self._names]))
            for block in self._blocks(f"COPY ({self._sql()}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')"):
                self._sink.write(block)
        else:
            names = ", ".join(self._quoted(name) for name in self._names)
            rows = f"SELECT row_to_json(r) FROM ({self._sql()}) AS r({names})"
            for block in self._blocks(f"COPY ({rows}) TO STDOUT {_JSON_LINES}"):
                self._sink.write(_unquoted(block) if b"\x01" in block else block)

    def _by_rows(self) -> None:
        names = self._names
        if self._kind == "csv":
            self._sink.write(csv_of([names]))
        for rows in self._partitions():
            self._sink.write(csv_of(rows) if self._kind == "csv" else json_of(names, rows))
            self._told(len(rows))

    def _blocks(self, copy: str) -> Iterator[bytes]:
        source = CopyOut(Wire(self._connection), copy)
        for block in source.blocks():
            yield block
            if self._kind in {"csv", "jsonl"}:
                self._told(block.count(b"\n"))
        # Line ends within quotes were counted too; the server knows.
        self._rows = source.rows

    def _partitions(self) -> Iterator[Sequence[Sequence[Any]]]:
        streamed = self._connection.execution_options(stream_results=True, yield_per=_ROWS)
        yield from streamed.execute(self._statement).partitions(_ROWS)

    def _told(self, rows: int) -> None:
        self._rows += rows
        if self._tell is not None:
            self._tell(FileProgress(done=self._sink.done, total=None, rows=self._rows))

    def _quoted(self, name: str) -> str:
        return self._connection.dialect.identifier_preparer.quote_identifier(name).replace("%%", "%")

    def _sql(self) -> str:
        open_ = next((one for one in iterate(self._statement) if isinstance(one, BindParameter) and one.required), None)
        if open_ is not None:
            raise UsageError(f"the parameter {open_.key!r} has no value", hint="statement.params(...) gives it one")
        try:
            compiled = self._statement.compile(dialect=self._connection.dialect, compile_kwargs={"literal_binds": True})
        except (CompileError, NotImplementedError) as error:
            raise UnsupportedError(
                f"COPY takes no parameters, and a value of this statement has no form as SQL text: {error}",
                hint="compare with a cast of a text: cast('...', SomeType)",
            ) from error
        return str(compiled).replace("%%", "%")


def _by_python(kind: Any) -> bool:
    return isinstance(kind, TypeDecorator) or (isinstance(kind, Enum) and not kind.native_enum)


def _unquoted(block: bytes) -> bytes:
    """Take the quotes off a row of JSON that holds line ends, which are white space there."""
    found: list[bytes] = []
    begun: list[bytes] = []
    for line in block.splitlines(keepends=True):
        begun.append(line)
        if b"".join(begun).count(b"\x01") % 2 == 0:
            row = b"".join(begun)
            found.append(row if b"\x01" not in row else row.strip(b"\n").replace(b"\x01", b"").replace(b"\n", b" ") + b"\n")
            begun = []
    return b"".join(found)
