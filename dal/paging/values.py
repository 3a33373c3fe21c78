"""Key values as text and back, to the last bit and the last microsecond.

What JSON has stays as it is; everything else is a pair of a letter and a text. Values of other types are refused: a cursor
that would not give back the very same value would lose rows.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import math
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

__all__ = ["decoded", "encoded", "packed", "unpacked"]


def _time(text: str) -> dt.time:
    return dt.time.fromisoformat(text)


def _span(text: str) -> dt.timedelta:
    days, seconds, microseconds = (int(each) for each in text.split(","))
    return dt.timedelta(days, seconds, microseconds)


_READ: dict[str, Callable[[Any], Any]] = {
    "f": float,
    "n": Decimal,
    "s": dt.datetime.fromisoformat,
    "d": dt.date.fromisoformat,
    "t": _time,
    "i": _span,
    "u": lambda text: uuid.UUID(hex=text),
    "b": b64decode,
    "l": lambda values: [unpacked(each) for each in values],
    "a": ipaddress.ip_address,
    "w": ipaddress.ip_network,
    "x": ipaddress.ip_interface,
}

# Subclasses stand before their bases.
_WRITTEN: Sequence[tuple[type | tuple[type, ...], str, Callable[[Any], Any]]] = (
    (Decimal, "n", str),
    (dt.datetime, "s", dt.datetime.isoformat),
    (dt.date, "d", dt.date.isoformat),
    (dt.time, "t", dt.time.isoformat),
    (dt.timedelta, "i", lambda value: f"{value.days},{value.seconds},{value.microseconds}"),
    (uuid.UUID, "u", lambda value: value.hex),
    ((bytes, bytearray, memoryview), "b", lambda value: b64encode(bytes(value)).decode()),
    ((list, tuple), "l", lambda value: [packed(each) for each in value]),
    ((ipaddress.IPv4Interface, ipaddress.IPv6Interface), "x", str),
    ((ipaddress.IPv4Address, ipaddress.IPv6Address), "a", str),
    ((ipaddress.IPv4Network, ipaddress.IPv6Network), "w", str),
)


def packed(value: Any) -> Any:
    """Return a value as JSON has it.

    Raises:
        TypeError: It is of a type that has no exact text.
    """
    kind = type(value)
    if value is None or kind is bool or kind is int or kind is str:
        return value
    if kind is float:
        return value if math.isfinite(value) else ["f", repr(value)]
    for types, letter, write in _WRITTEN:
        if isinstance(value, types):
            return [letter, write(value)]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (int, float)):
        return packed(int(value) if isinstance(value, int) else float(value))
    raise TypeError(f"a value of the type {kind.__qualname__} has no exact text")


def unpacked(value: Any) -> Any:
    """Return the value that `packed` made this of."""
    return _READ[value[0]](value[1]) if isinstance(value, list) else value


def encoded(value: Any) -> str:
    """Return a value as a text; see `packed`."""
    return json.dumps(packed(value), separators=(",", ":"))


def decoded(text: str) -> Any:
    """Return the value that `encoded` made a text of."""
    return unpacked(json.loads(text))
