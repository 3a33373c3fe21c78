"""Where results are written: a CSV, JSON lines or Parquet file, a writer with `insert`, or a function.

A file takes its columns from the first row: a row of a statement, an object of a mapped class, a dataclass or a dict. It is
written under another name and put in its place when all is done, so that half a file is never taken for a whole one.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Row, inspect

from dal._extras import require
from dal.errors import UsageError

__all__ = ["as_mapping", "writer_for"]

Write = Callable[[Sequence[Any]], object]


@contextmanager
def writer_for(target: Any) -> Iterator[Write]:
    """Open what a caller wants results to be written to.

    Args:
        target: A path, something with `insert`, or a function.

    Yields:
        A function that takes rows.

    Raises:
        UsageError: It is none of them, or the file's ending is not known.
        MissingExtra: Parquet without pyarrow.
    """
    if isinstance(target, (str, os.PathLike)):
        path = Path(target)
        opener = _OPENERS.get(path.suffix)
        if opener is None:
            raise UsageError(f"{path.name!r} has no ending that says its format", hint="end it in .csv, .jsonl or .parquet")
        partial = path.with_name(f".{path.name}.partial")
        try:
            with opener(partial) as write:
                yield write
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    elif callable(getattr(target, "insert", None)):
        yield target.insert
    elif callable(target):
        yield target
    else:
        raise UsageError(f"{target!r} cannot be written to", hint="give a path, a BulkWriter, or a function that takes a list")


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


@contextmanager
def _csv(path: Path) -> Iterator[Write]:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns: list[str] = []

        def write(rows: Sequence[Any]) -> None:
            if rows and not columns:
                columns.extend(as_mapping(rows[0]))
                writer.writerow(columns)
            writer.writerows([each.get(name) for name in columns] for each in map(as_mapping, rows))

        yield write


@contextmanager
def _jsonl(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:
        encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
        yield lambda rows: file.writelines(encode(dict(as_mapping(row))) + "\n" for row in rows)


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    arrow = require("pyarrow", extra="arrow", purpose="writing Parquet")
    parquet = require("pyarrow.parquet", extra="arrow", purpose="writing Parquet")
    opened: list[Any] = []

    def write(rows: Sequence[Any]) -> None:
        if not rows:
            return
        values = [dict(as_mapping(row)) for row in rows]
        if not opened:
            table = arrow.Table.from_pylist(values)
            opened.append(parquet.ParquetWriter(path, table.schema))
        else:
            table = arrow.Table.from_pylist(values, schema=opened[0].schema)
        opened[0].write_table(table)

    try:
        yield write
    finally:
        for each in opened:
            each.close()


_OPENERS: Mapping[str, Callable[[Path], Any]] = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
