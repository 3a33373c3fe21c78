"""What a flow remembers over a restart, as text: JSON, with the values that JSON does not know spelled out."""

from __future__ import annotations

import json
import math
import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from dal.errors import UsageError

__all__ = ["kept_text", "kept_value"]

_TYPE, _VALUE = "$", "v"
_TEXTS: dict[type, Any] = {Decimal: Decimal, UUID: UUID, datetime: datetime.fromisoformat, date: date.fromisoformat}
_TEXTS[time] = time.fromisoformat
_READ = {kind.__name__: read for kind, read in _TEXTS.items()}


def kept_text(value: Any) -> str:
    """Write a value.

    Args:
        value: Plain values, times, decimals, UUIDs, bytes, enums; and tuples, lists, sets and dicts of them.

    Raises:
        UsageError: There is something else in it.

    Example:
        >>> kept_value(kept_text((Decimal("1.50"), None)))
        (Decimal('1.50'), None)
    """
    return json.dumps(_plain(value), separators=(",", ":"))


def kept_value(text: str) -> Any:
    """Read what `kept_text` wrote.

    Args:
        text: What it wrote.
    """
    return _rich(json.loads(text))


def _plain(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in {bool, int, str} or (kind is float and math.isfinite(value)):
        return value
    if kind is list:
        return [_plain(each) for each in value]
    found = _spelled(value, kind)
    if found is None:
        raise UsageError(
            f"a {kind.__name__} cannot be kept with a stream's position: {value!r}",
            hint="group by and aggregate plain values: numbers, texts, times, UUIDs, enums",
        )
    return {_TYPE: found[0], _VALUE: found[1]}


def _spelled(value: Any, kind: type) -> tuple[str, Any] | None:
    if kind in {tuple, set, frozenset}:
        return kind.__name__, [_plain(each) for each in value]
    if kind is dict:
        return "dict", [[_plain(key), _plain(each)] for key, each in value.items()]
    if isinstance(value, Enum):
        return "enum", [kind.__module__, kind.__qualname__, value.name]
    if isinstance(value, timedelta):
        return "timedelta", [value.days, value.seconds, value.microseconds]
    if kind in {bytes, float}:
        return kind.__name__, value.hex() if isinstance(value, bytes) else repr(value)
    if kind in _TEXTS:
        return kind.__name__, str(value) if kind in {Decimal, UUID} else value.isoformat()
    return None


def _rich(value: Any) -> Any:
    if isinstance(value, list):
        return [_rich(each) for each in value]
    if not isinstance(value, dict):
        return value
    kind, held = value[_TYPE], value[_VALUE]
    if kind in {"tuple", "set", "frozenset"}:
        return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](_rich(each) for each in held)
    if kind == "dict":
        return {_rich(key): _rich(each) for key, each in held}
    if kind == "enum":
        return _enum(*held)
    if kind == "timedelta":
        return timedelta(*held)
    if kind in {"bytes", "float"}:
        return bytes.fromhex(held) if kind == "bytes" else float(held)
    return _READ[kind](held)


def _enum(module: str, name: str, member: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, Enum)):
        raise UsageError(f"the enum {module}.{name} of a kept window is not there any more", hint="import its module first")
    return found[member]
