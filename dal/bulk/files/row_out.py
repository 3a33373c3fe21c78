"""Rows as text: CSV as COPY would write it, and JSON lines, of Python values."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

__all__ = ["csv_of", "json_of", "text_of"]

_QUOTED = re.compile(r'[",\r\n]|^$|^\\\.$')


def csv_of(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return rows as CSV; None is an empty field, and an empty text is quoted.

    Args:
        rows: The rows.

    Example:
        >>> csv_of([(1, None, "", "a,b")]).strip()
        b'1,,"","a,b"'
    """
    return "".join(",".join(map(_field, row)) + "\n" for row in rows).encode()


def json_of(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Return rows as JSON lines.

    Args:
        names: The names of the columns.
        rows: The rows.
    """
    return "".join(json.dumps(dict(zip(names, row, strict=True)), default=_plain) + "\n" for row in rows).encode()


def text_of(value: Any) -> str:
    """Return a value as text, as `load` reads it."""
    if isinstance(value, str) and not isinstance(value, Enum):
        return value
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, default=_plain)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "\\x" + bytes(value).hex()
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat(" ") if isinstance(value, dt.datetime) else value.isoformat()
    return str(value)


def _field(value: Any) -> str:
    if value is None:
        return ""
    text = text_of(value)
    if _QUOTED.search(text):
        return '"' + text.replace('"', '""') + '"'
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and value.is_finite() else float(value)
    return text_of(value)
