"""What reads the text of a field as a value of a column's type: on any database, by what the mapping says.

A TypeDecorator gets what its Python type is made of, and writes it as it always does. What the mapping cannot tell
(an interval, a range) is left as text, for the server to read.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

from sqlalchemy import JSON, Column
from sqlalchemy import Enum as EnumType
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.types import TypeEngine

from dal.bulk.target import Target

__all__ = ["Exact", "Read", "Readers", "is_text", "reader_of"]

Read = Callable[[str], Any]
"""Turns text into a value, or raises ValueError."""

_TRUE, _FALSE = ("t", "true", "y", "yes", "on", "1"), ("f", "false", "n", "no", "off", "0")
_TRUTH: dict[str, bool] = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}


def reader_of(column: Column[Any]) -> Read:
    """Return what reads the fields of a column.

    Args:
        column: The column.

    Example:
        >>> from sqlalchemy import Boolean
        >>> reader_of(Column("active", Boolean()))("yes")
        True
    """
    kind: TypeEngine[Any] = column.type
    if isinstance(kind, EnumType):
        return _member(kind)
    if isinstance(kind, JSON):
        return json.loads
    python = _python_type(kind)
    if isinstance(python, type) and issubclass(python, Enum):
        return lambda text: _named(python, text)
    return _READERS.get(python, _text)


def is_text(column: Column[Any]) -> bool:
    """Tell whether any text is a value of a column."""
    return reader_of(column) is _text


class Readers:
    """What reads the texts in rows whose other values have types already.

    Args:
        target: Where the rows go.
        nested: Whether a text of a JSON column is JSON, and not a value of it.
    """

    def __init__(self, target: Target, *, nested: bool) -> None:
        readers = {name: reader_of(column) for name, column in target.columns.items() if not is_text(column)}
        self._readers = {name: read for name, read in readers.items() if nested or read is not json.loads}
        self._numeric = {name for name, read in readers.items() if read is _number}

    def fault(self, row: dict[str, Any]) -> tuple[str, Any, Exception] | None:
        """Read the texts of a row in place; return the column, value and error of one that cannot be."""
        for name, value in row.items():
            if isinstance(value, Exact):
                row[name] = Decimal(value.text) if name in self._numeric else float(value)
            elif isinstance(value, str) and name in self._readers:
                try:
                    row[name] = self._readers[name](value)
                except (ValueError, TypeError, ArithmeticError, LookupError) as error:
                    return name, value, error
        return None


class Exact(float):
    """A number with the digits it was written with."""

    text: str

    def __new__(cls, text: str) -> Exact:
        """Make it of its digits."""
        made = super().__new__(cls, text)
        made.text = text
        return made


def _python_type(kind: TypeEngine[Any]) -> Any:
    try:
        return kind.python_type
    except NotImplementedError:
        return None


def _member(kind: EnumType) -> Read:
    processor: Any = kind.result_processor(DefaultDialect(), None)  # type: ignore[no-untyped-call]

    def read(text: str) -> Any:
        if text not in kind.enums:
            raise ValueError(f"{text!r} is none of {', '.join(map(str, kind.enums))}")
        return text if processor is None else processor(text)

    return read


def _named(members: type[Enum], text: str) -> Enum:
    try:
        return members[text]
    except KeyError:
        raise ValueError(f"{text!r} is none of {', '.join(members.__members__)}") from None


def _truth(text: str) -> bool:
    try:
        return _TRUTH[text.strip().lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither true nor false") from None


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is no number") from None


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("\\x"))


def _text(text: str) -> str:
    return text


_READERS: dict[Any, Read] = {
    int: int,
    float: float,
    Decimal: _number,
    bool: _truth,
    dt.datetime: dt.datetime.fromisoformat,
    dt.date: dt.date.fromisoformat,
    dt.time: dt.time.fromisoformat,
    uuid.UUID: uuid.UUID,
    bytes: _bytes,
    dict: json.loads,
    list: json.loads,
}
