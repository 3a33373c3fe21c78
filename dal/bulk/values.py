"""Which Python values a column takes as they are, which are turned into one it takes, and what psycopg calls its type.

Binary COPY applies no cast: a str for an int8 would be refused, though an INSERT would let the server read it. So what is
clear is converted here, and everything else is refused with its row. A type that is not in the table below makes the whole
COPY a text one, where the server's own input functions read every type.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter
from types import NoneType
from typing import Any

from dal.bulk.catalog import ColumnFacts

__all__ = ["ANY", "Kind", "kind_of"]

ANY: frozenset[type] = frozenset()
"""Whatever comes is left to psycopg."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of a database type are sent.

    Args:
        wire: psycopg's name of the type they are encoded as.
        takes: Python types that are encoded as they are; `ANY` for all.
        turn: Turns another value into one of these, or raises TypeError or ValueError.
        read: Turns text, such as a field of a CSV file, into a value.
        binary: Whether psycopg encodes it in binary form.
        bounds: The least and the greatest value, where psycopg would cut off what is beyond.
        whole: Tells by the types of many values, and the values, that all go as they are, though `takes` does not say so.
    """

    wire: str
    takes: frozenset[type]
    turn: Callable[[Any], Any]
    read: Callable[[str], Any]
    binary: bool = True
    bounds: tuple[float, float] | None = None
    whole: Callable[[set[type], Sequence[Any]], bool] | None = None


def kind_of(facts: ColumnFacts, zone: dt.tzinfo) -> Kind:
    """Find how values of a column are sent.

    Args:
        facts: The column.
        zone: The session's time zone, in which the server would read a time without one.
    """
    if facts.element is not None:
        return _array(facts, zone)
    if facts.type in _ZONED:
        return _zoned(facts.type, zone)
    if facts.kind == "e" or facts.type in _TEXTS:
        return _TEXT
    return _KINDS.get(facts.type) or Kind("text", frozenset({str, NoneType}), str, str, binary=False)


def _array(facts: ColumnFacts, zone: dt.tzinfo) -> Kind:
    element = ColumnFacts(**{**_plain(facts), "type": str(facts.element), "element": None, "kind": "b"})
    inner = kind_of(element, zone)
    # The header of a binary array names the type of its elements, and the server compares it.
    known = inner.binary and (inner.wire == facts.element)

    def turn(value: Any) -> Any:
        if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
            raise TypeError(f"a {type(value).__name__} is no array")
        return [_element(each, inner, turn) for each in value]

    wire = f"{inner.wire}[]"
    takes = frozenset({NoneType}) if known else ANY
    return Kind(wire, takes, turn, json.loads, binary=known)


def _element(value: Any, inner: Kind, nested: Callable[[Any], Any]) -> Any:
    if value is None:
        return value
    if type(value) in inner.takes:
        if inner.bounds is not None and not inner.bounds[0] <= value <= inner.bounds[1] and math.isfinite(value):
            raise ValueError(f"{value} is out of range for {inner.wire}")
        return value
    return nested(value) if isinstance(value, (list, tuple)) and inner.wire not in _JSONS else inner.turn(value)


def _plain(facts: ColumnFacts) -> Mapping[str, Any]:
    return {name: getattr(facts, name) for name in ColumnFacts.__slots__}


def _zoned(name: str, zone: dt.tzinfo) -> Kind:
    """Times, which the server reads in the session's zone where they have none, and moves into it where the column has none."""

    def aware(value: Any) -> Any:
        if isinstance(value, str):
            value = dt.datetime.fromisoformat(value)
        elif isinstance(value, dt.date) and not isinstance(value, dt.datetime):
            value = dt.datetime(value.year, value.month, value.day)
        if not isinstance(value, dt.datetime):
            raise TypeError(f"a {type(value).__name__} is no datetime")
        return value if value.tzinfo is not None else value.replace(tzinfo=zone)

    def naive(value: Any) -> Any:
        found = aware(value)
        return found.astimezone(zone).replace(tzinfo=None)

    if name == "timestamptz":
        return Kind(name, frozenset({NoneType}), aware, aware, whole=_all_aware)
    return Kind(name, frozenset({NoneType}), naive, naive, whole=_all_naive)


def _all_aware(types: set[type], values: Sequence[Any]) -> bool:
    return types <= _MOMENTS and None not in map(_zone, _present(types, values))


def _all_naive(types: set[type], values: Sequence[Any]) -> bool:
    return types <= _MOMENTS and set(map(_zone, _present(types, values))) <= {None}


def _present(types: set[type], values: Sequence[Any]) -> Sequence[Any]:
    return [value for value in values if value is not None] if NoneType in types else values


_MOMENTS = {dt.datetime, NoneType}
_zone = attrgetter("tzinfo")


def _whole(value: Any) -> int:
    if isinstance(value, str):
        return int(value)
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"a {type(value).__name__} is no integer") from None
    if number != value:
        raise ValueError(f"{value} is no integer")
    return number


def _float(value: Any) -> float:
    if isinstance(value, (bytes, bytearray)):
        raise TypeError("bytes are no number")
    return float(value)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, str):
        return _decimal_text(value)
    number = float(value)
    # As the server reads a double: by the shortest text that means it.
    return Decimal(repr(number))


def _decimal_text(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        raise ValueError(f"{text!r} is no number") from None


_TRUTH = {"t": True, "true": True, "yes": True, "on": True, "1": True, "y": True}
_TRUTH |= {"f": False, "false": False, "no": False, "off": False, "0": False, "n": False}


def _truth(value: Any) -> bool:
    if isinstance(value, str):
        if value.strip().lower() not in _TRUTH:
            raise ValueError(f"{value!r} is neither true nor false")
        return _TRUTH[value.strip().lower()]
    if value in (0, 1):
        return bool(value)
    raise TypeError(f"a {type(value).__name__} is no truth value")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, Decimal, uuid.UUID)) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"a {type(value).__name__} is no text")


def _uuid(value: Any) -> uuid.UUID:
    if isinstance(value, str):
        return uuid.UUID(value)
    if isinstance(value, bytes) and len(value) == 16:
        return uuid.UUID(bytes=value)
    raise TypeError(f"a {type(value).__name__} is no UUID")


def _date(value: Any) -> dt.date:
    if isinstance(value, str):
        return dt.date.fromisoformat(value)
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    raise TypeError(f"a {type(value).__name__} is no date")


def _time(value: Any) -> dt.time:
    if isinstance(value, str):
        return dt.time.fromisoformat(value)
    if isinstance(value, dt.time):
        return value
    raise TypeError(f"a {type(value).__name__} is no time")


def _interval(value: Any) -> dt.timedelta:
    if isinstance(value, dt.timedelta):
        return value
    raise TypeError(f"a {type(value).__name__} is no timedelta")


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        raise TypeError("a str is no bytes")
    # psycopg's own wrapper, which SQLAlchemy's bind processor puts around it.
    return bytes(memoryview(getattr(value, "obj", value)))


def _bytes_text(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("\\x"))


def _as_is(value: Any) -> Any:
    return value


def _takes(*types: type) -> frozenset[type]:
    return frozenset({*types, NoneType})


_LARGEST_FLOAT4 = 3.4028235677973366e38
_TEXT = Kind("text", _takes(str), _text, str)
_TEXTS = {"text", "varchar", "bpchar", "name", "citext", "xml"}
_ZONED = {"timestamptz", "timestamp"}
_JSONS = {"json", "jsonb"}
_KINDS: dict[str, Kind] = {
    **{
        f"int{size}": Kind(
            f"int{size}", _takes(int, bool), _whole, int, bounds=(-(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1)
        )
        for size in (2, 4, 8)
    },
    "float4": Kind("float4", _takes(float, int), _float, float, bounds=(-_LARGEST_FLOAT4, _LARGEST_FLOAT4)),
    "float8": Kind("float8", _takes(float, int), _float, float),
    **{name: Kind(name, ANY, _as_is, json.loads) for name in _JSONS},
    **{
        name: Kind(name, ANY, _as_is, str)
        for base in ("int4", "int8", "num", "date", "ts", "tstz")
        for name in (f"{base}range", f"{base}multirange")
    },
    "numeric": Kind("numeric", _takes(Decimal, int), _decimal, _decimal_text),
    "bool": Kind("bool", _takes(bool), _truth, _truth),
    "uuid": Kind("uuid", _takes(uuid.UUID), _uuid, uuid.UUID),
    "bytea": Kind("bytea", _takes(bytes, bytearray, memoryview), _bytes, _bytes_text),
    "date": Kind("date", _takes(dt.date), _date, dt.date.fromisoformat),
    "time": Kind("time", _takes(dt.time), _time, dt.time.fromisoformat),
    "timetz": Kind("timetz", _takes(dt.time), _time, dt.time.fromisoformat),
    "interval": Kind("interval", _takes(dt.timedelta), _interval, str),
}
