"""Rows as Arrow: tables, record batches and streams, and whatever offers them: polars, pandas, DuckDB.

On the way to COPY the columns are never turned into Python objects: Arrow's own kernels write the text of each column and join
them into lines, which are the text format of COPY as they stand. A text in a JSON column is JSON, not a JSON string.
Where a column cannot go that way (bytes, nested values, a TypeDecorator), its batch is read as rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from dal._extras import require
from dal.bulk.plan import ColumnPlan, PlannedColumn
from dal.bulk.rows import Group, Reader

__all__ = ["Lines", "extended", "is_arrow", "lines", "portions", "read_arrow"]

_INTEGERS = {"int2", "int4", "int8"}
_JSONS = {"json", "jsonb"}
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def is_arrow(rows: object) -> bool:
    """Tell whether rows are Arrow, or can be had as Arrow."""
    return hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__")


def _pyarrow(module: str = "") -> Any:
    return require(f"pyarrow{module}", extra="arrow", purpose="Reading Arrow data")


def read_arrow(rows: Any, reader: Reader, size: int, start: int = 0) -> Iterator[list[Group]]:
    """Read batches of rows.

    Args:
        rows: A table, record batch, reader or data frame.
        reader: What knows the names.
        size: Rows in a batch at most.
        start: The position of the first.

    Yields:
        Groups of one batch each.
    """
    source = _stream(rows)
    names = reader.named(source.schema.names)
    for whole in source:
        for offset in range(0, whole.num_rows, size):
            batch = whole.slice(offset, size)
            positions = range(start, start + batch.num_rows)
            yield [Group(names, positions, _Given(batch, names), _Values(batch, reader.json_columns(names)), batch)]
            start += batch.num_rows


def portions(rows: Any, every: int) -> Iterator[tuple[Any, int]]:
    """Cut a stream into parts.

    Args:
        rows: A table, record batch, reader or data frame.
        every: Rows in a part at most.

    Yields:
        A record batch, and how many rows it has.
    """
    for whole in _stream(rows):
        for offset in range(0, whole.num_rows, every):
            batch = whole.slice(offset, every)
            yield batch, batch.num_rows


def _stream(rows: Any) -> Any:
    pa = _pyarrow()
    if hasattr(rows, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(rows)
    batch = pa.record_batch(rows)
    return pa.RecordBatchReader.from_batches(batch.schema, [batch])


class _Given(Sequence[Any]):
    """The rows of a batch as dicts, made when one is looked at."""

    def __init__(self, batch: Any, names: tuple[str, ...]) -> None:
        self._batch = batch
        self._names = names

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return {name: column[index].as_py() for name, column in zip(self._names, self._batch.columns, strict=True)}


class _Values(Sequence[tuple[Any, ...]]):
    """The rows of a batch as tuples, made when they are asked for."""

    def __init__(self, batch: Any, documents: Sequence[int]) -> None:
        self._batch = batch
        self._documents = documents
        self._made: list[tuple[Any, ...]] | None = None

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def __getitem__(self, index: Any) -> Any:
        if self._made is None:
            columns = [column.to_pylist() for column in self._batch.columns]
            for place in self._documents:
                columns[place] = list(map(_parsed, columns[place]))
            self._made = list(zip(*columns, strict=True))
        return self._made[index]


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


class Lines:
    """The lines of a text COPY.

    Args:
        array: A string array, a line each with its newline.
    """

    def __init__(self, array: Any) -> None:
        _, offsets, data = array.buffers()
        self._offsets = memoryview(offsets).cast("i")[array.offset : array.offset + len(array) + 1]
        self._data = memoryview(data) if data is not None else memoryview(b"")

    def block(self, start: int, stop: int) -> memoryview:
        """Return the bytes of a range of lines."""
        return self._data[self._offsets[start] : self._offsets[stop]]


def lines(group: Group, plan: ColumnPlan, *, leading: Sequence[int] | None) -> Lines | None:
    """Write a batch as lines of a text COPY.

    Args:
        group: The rows, a batch among them.
        plan: Its columns.
        leading: What stands before each row: its position.

    Returns:
        The lines, or None where a column has to go through Python.
    """
    pa, pc = _pyarrow(), _pyarrow(".compute")
    batch = group.batch
    texts: list[Any] = [] if leading is None else [pa.array(leading, pa.int64()).cast(pa.string())]
    for planned in plan.columns:
        column = batch.column(group.names.index(planned.name))
        try:
            text = _text(column, planned)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            text = None
        if text is None:
            return None
        texts.append(text)
    *others, last = texts
    ended = pc.binary_join_element_wise(pc.fill_null(last, "\\N"), "", "\n")
    if not others:
        return Lines(ended)
    return Lines(pc.binary_join_element_wise(*others, ended, "\t", null_handling="replace", null_replacement="\\N"))


def _text(column: Any, planned: PlannedColumn) -> Any:
    """Return a column as PostgreSQL reads it, or None."""
    pa, pc, kinds = _pyarrow(), _pyarrow(".compute"), _pyarrow(".types")
    if kinds.is_dictionary(column.type):
        column = column.dictionary_decode()
    of, to = column.type, planned.facts.type
    if not _is_plain(planned) or planned.facts.element is not None:
        return None
    if kinds.is_string(of) or kinds.is_large_string(of) or kinds.is_string_view(of):
        return _escaped(column.cast(pa.string()))
    if to in _JSONS:
        return None
    if kinds.is_floating(of) and to in _INTEGERS:
        column, of = column.cast(pa.int64()), pa.int64()
    if kinds.is_timestamp(of):
        if of.tz is not None and to != "timestamptz":
            return None
        moment = pa.timestamp("us", "UTC" if of.tz is not None else None)
        return column.cast(moment, safe=False).cast(pa.string())
    known = kinds.is_integer(of) or kinds.is_floating(of) or kinds.is_boolean(of) or kinds.is_decimal(of)
    if known or kinds.is_date32(of) or kinds.is_time(of) or kinds.is_null(of):
        return pc.cast(column, pa.string())
    return None


def _is_plain(planned: PlannedColumn) -> bool:
    return planned.bind is None or planned.facts.type in _JSONS


def _escaped(column: Any) -> Any:
    pc = _pyarrow(".compute")
    if pc.any(pc.match_substring_regex(column, "[\\\\\n\t\r]")).as_py():
        for character, escaped in _ESCAPES.items():
            column = pc.replace_substring(column, character, escaped)
    return column


def extended(group: Group, name: str, values: Sequence[Any]) -> Group:
    """Return a group of a batch with one more column.

    Args:
        group: The rows, a batch among them.
        name: The attribute.
        values: One for each row.
    """
    pa = _pyarrow()
    names = (*group.names, name)
    try:
        batch = group.batch.append_column(name, pa.array(values))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        batch = None
    return replace(group, names=names, values=_Extended(group.values, values), batch=batch)


class _Extended(Sequence[tuple[Any, ...]]):
    """Rows and one more value each, made when they are asked for."""

    def __init__(self, rows: Sequence[tuple[Any, ...]], values: Sequence[Any]) -> None:
        self._rows = rows
        self._values = values

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [(*row, value) for row, value in zip(self._rows[index], self._values[index], strict=True)]
        return (*self._rows[index], self._values[index])
