"""ArrowOut: rows into a Parquet or Arrow file, from the CSV of COPY or from Python values.

What Arrow has no type for is text: JSON, UUID, enums, intervals, NUMERIC without a precision. Times are in microseconds, those
with a zone in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    Time,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

from dal._extras import require
from dal.bulk.files.row_out import text_of
from dal.bulk.files.sink import Sink

__all__ = ["ArrowOut"]

_EPOCH = "(extract(epoch FROM {0}) * 1000000)::bigint"


class ArrowOut:
    """A Parquet or Arrow file that is written.

    Args:
        kind: "parquet" or "arrow".
        sink: Where it goes.
        names: The names of the columns.
        types: Their types.

    Raises:
        MissingExtra: pyarrow is not installed.
    """

    def __init__(self, kind: str, sink: Sink, names: Sequence[str], types: Sequence[TypeEngine[Any]]) -> None:
        self._arrow: Any = require("pyarrow", extra="arrow", purpose=f"a {kind} file")
        self._types = types
        self._schema = self._arrow.schema(
            [(name, _arrow_type(self._arrow, type_)) for name, type_ in zip(names, types, strict=True)]
        )
        if kind == "arrow":
            ipc: Any = require("pyarrow.ipc", extra="arrow", purpose="an Arrow file")
            self._writer = ipc.new_file(sink.file, self._schema)
        else:
            parquet: Any = require("pyarrow.parquet", extra="arrow", purpose="a Parquet file")
            self._writer = parquet.ParquetWriter(sink.file, self._schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()

    def select(self, statement: str) -> str:
        """Return a statement whose CSV `write_csv` reads.

        Args:
            statement: What is to be written, as SQL.
        """
        names = [f"c{at}" for at in range(len(self._types))]
        picked = [
            _EPOCH.format(name)
            if isinstance(type_, DateTime)
            else f"array_to_json({name})"
            if isinstance(type_, ARRAY)
            else name
            for name, type_ in zip(names, self._types, strict=True)
        ]
        return f"SELECT {', '.join(picked)} FROM ({statement}) AS r({', '.join(names)})"

    def write_csv(self, block: bytes) -> int:
        """Write rows that COPY has made of `select`, and return their number."""
        csv: Any = require("pyarrow.csv", extra="arrow", purpose="a columnar file")
        read = [self._read_type(field.type) for field in self._schema]
        names = self._schema.names
        called = [str(at) for at in range(len(names))]
        table = csv.read_csv(
            self._arrow.BufferReader(block),
            read_options=csv.ReadOptions(column_names=called, block_size=len(block) + 1),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict(zip(called, read, strict=True)),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["t"],
                false_values=["f"],
            ),
        )
        columns = [self._final(column, field.type) for column, field in zip(table.columns, self._schema, strict=True)]
        self._writer.write_table(self._arrow.table(columns, schema=self._schema))
        return int(table.num_rows)

    def write_rows(self, rows: Sequence[Sequence[Any]]) -> int:
        """Write rows of Python values, and return their number."""
        columns = zip(*rows, strict=True)
        arrays = [
            self._arrow.array(self._values(column, field.type), field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        if arrays:
            self._writer.write_table(self._arrow.table(arrays, schema=self._schema))
        return len(rows)

    def _values(self, column: Sequence[Any], kind: Any) -> Sequence[Any]:
        if not self._arrow.types.is_string(kind):
            return column
        return [None if value is None else text_of(value) for value in column]

    def _read_type(self, kind: Any) -> Any:
        types = self._arrow.types
        if types.is_timestamp(kind):
            return self._arrow.int64()
        return self._arrow.string() if types.is_binary(kind) else kind

    def _final(self, column: Any, kind: Any) -> Any:
        types = self._arrow.types
        if types.is_timestamp(kind):
            return column.cast(kind)
        if types.is_binary(kind):
            values = [None if text is None else bytes.fromhex(text[2:]) for text in column.to_pylist()]
            return self._arrow.array(values, kind)
        return column


def _arrow_type(arrow: Any, kind: TypeEngine[Any]) -> Any:
    if isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    made = next((make for known, make in _TYPES if isinstance(kind, known)), None)
    return arrow.string() if made is None else made(arrow, kind)


def _decimal(arrow: Any, kind: Any) -> Any:
    if kind.precision is None or kind.precision > 38 or not kind.asdecimal:
        return arrow.string() if kind.asdecimal else arrow.float64()
    return arrow.decimal128(kind.precision, kind.scale or 0)


_TYPES: tuple[tuple[type[TypeEngine[Any]], Callable[[Any, Any], Any]], ...] = (
    (Boolean, lambda arrow, kind: arrow.bool_()),
    (SmallInteger, lambda arrow, kind: arrow.int16()),
    (BigInteger, lambda arrow, kind: arrow.int64()),
    (Integer, lambda arrow, kind: arrow.int32()),
    (REAL, lambda arrow, kind: arrow.float32()),
    (Float, lambda arrow, kind: arrow.float64()),
    (Numeric, _decimal),
    (DateTime, lambda arrow, kind: arrow.timestamp("us", tz="UTC" if kind.timezone else None)),
    (Date, lambda arrow, kind: arrow.date32()),
    (Time, lambda arrow, kind: arrow.string() if kind.timezone else arrow.time64("us")),
    (LargeBinary, lambda arrow, kind: arrow.binary()),
)
