"""Where results are written: a CSV, JSON lines or Parquet file, a writer with `insert`, or a function.

A file takes its columns from the statement, or from the first result: a row, an object of a mapped class, a dataclass or a
dict. It is put in its place when all is written, so that half a file is never taken for a whole one. `dump` of a BulkWriter
lets the server make the file, on one connection; this is for what Python has a hand in.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from sqlalchemy import Row, inspect

from dal._extras import require
from dal.bulk.files.arrow_out import ArrowOut
from dal.bulk.files.row_out import csv_of, json_of
from dal.bulk.files.sink import Sink, opened, wanted_format
from dal.errors import UsageError
from dal.parallel.remote import Column

__all__ = ["as_mapping", "writer_for"]

Write = Callable[[Sequence[Any]], object]


@contextmanager
def writer_for(target: Any, columns: Sequence[Column] | None) -> Iterator[Write]:
    """Open what a caller wants results to be written to.

    Args:
        target: A path, something with `insert`, or a function.
        columns: The names and types of what is written, where they are known.

    Yields:
        A function that takes rows.

    Raises:
        UsageError: It is none of them, or the file's ending is not known.
        MissingExtra: Parquet without pyarrow.
    """
    if isinstance(target, (str, os.PathLike)):
        kind = wanted_format(target, None)
        with ExitStack() as stack:
            file = File(stack.enter_context(opened(target)), kind, columns, stack)
            yield file.write
            file.end()
    elif callable(getattr(target, "insert", None)):
        yield target.insert
    elif callable(target):
        yield target
    else:
        raise UsageError(f"{target!r} cannot be written to", hint="give a path, a BulkWriter, or a function that takes a list")


class File:
    """A file that is written, row by row.

    Args:
        sink: Where its bytes go.
        kind: Its format.
        columns: Its columns, where they are known before the first row.
        stack: Closes what it opens.
    """

    def __init__(self, sink: Sink, kind: str, columns: Sequence[Column] | None, stack: ExitStack) -> None:
        self._sink, self._kind, self._stack = sink, kind, stack
        self._names: list[str] | None = None
        self._single = columns is not None and len(columns) == 1
        self._put: Callable[[list[list[Any]]], object] | None = None
        if columns is not None:
            self._begin([name for name, _ in columns], columns)

    def write(self, rows: Sequence[Any]) -> None:
        """Write rows."""
        if not rows:
            return
        if self._names is None:
            self._begin(list(as_mapping(rows[0])), None)
        names = self._names or []
        if self._is_value(rows[0]):
            values = [[row] for row in rows]
        else:
            values = [[each.get(name) for name in names] for each in map(as_mapping, rows)]
        if self._put is None:
            self._put = self._guessed(names, values)
        self._put(values)

    def _is_value(self, row: Any) -> bool:
        # A statement of one column gives its values, not rows.
        return self._single and not isinstance(row, (Row, Mapping)) and inspect(row, raiseerr=False) is None

    def end(self) -> None:
        """Write what a file without rows has to have."""
        if self._names is None and self._kind == "parquet":
            raise UsageError("there is no row that says which columns the file has", hint="end the name in .csv or .jsonl")

    def _begin(self, names: list[str], columns: Sequence[Column] | None) -> None:
        self._names = names
        if self._kind == "csv":
            self._sink.write(csv_of([names]))
            self._put = lambda values: self._sink.write(csv_of(values))
        elif self._kind == "jsonl":
            self._put = lambda values: self._sink.write(json_of(names, values))
        elif columns is not None:
            types = [kind for _, kind in columns]
            self._put = self._stack.enter_context(ArrowOut(self._kind, self._sink, names, types)).write_rows

    def _guessed(self, names: list[str], values: list[list[Any]]) -> Callable[[list[list[Any]]], object]:
        arrow: Any = require("pyarrow", extra="arrow", purpose="a Parquet file")
        parquet: Any = require("pyarrow.parquet", extra="arrow", purpose="a Parquet file")
        if self._kind != "parquet":
            raise UsageError("an Arrow file needs the types of its columns", hint="end the name in .parquet, .csv or .jsonl")
        guessed = arrow.Table.from_pylist([dict(zip(names, row, strict=True)) for row in values]).schema
        # What is not known from the first results is taken for text.
        fields = [arrow.field(each.name, arrow.string()) if arrow.types.is_null(each.type) else each for each in guessed]
        schema = arrow.schema(fields)
        writer = self._stack.enter_context(parquet.ParquetWriter(self._sink.file, schema))

        def put(rows: list[list[Any]]) -> None:
            columns = [arrow.array(column, kind) for column, kind in zip(zip(*rows, strict=True), schema.types, strict=True)]
            writer.write_table(arrow.table(columns, schema=schema))

        return put


def as_mapping(row: Any) -> Mapping[str, Any]:
    """Return a row's values by name.

    Raises:
        UsageError: It has no names.
    """
    if isinstance(row, Row):
        return dict(row._mapping)
    if isinstance(row, Mapping):
        return row
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    state = inspect(row, raiseerr=False)
    if state is not None and hasattr(state, "mapper"):
        loaded = state.dict
        return {each.key: loaded[each.key] for each in state.mapper.column_attrs if each.key in loaded}
    raise UsageError(f"{row!r} has no column names", hint="return a dict, a dataclass, a row or an object from the function")
