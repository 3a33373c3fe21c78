"""Items as JSON, for sinks that carry text."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import InstanceState

from dal.streams.change import UNCHANGED, Change

__all__ = ["json_text", "plain"]


def json_text(item: Any) -> str:
    """Write an item as one line of JSON: times as ISO 8601, decimals and UUIDs as text, bytes in hexadecimal.

    Args:
        item: A change, a dict, a dataclass, a mapped object, or what JSON knows.

    Example:
        >>> json_text({"total": Decimal("1.50")})
        '{"total":"1.50"}'
    """
    return json.dumps(plain(item), default=_other, separators=(",", ":"), ensure_ascii=False)


def plain(item: Any) -> Any:
    """Turn an item into a dict where it has fields.

    Args:
        item: The item.
    """
    if isinstance(item, Change):
        return {
            "kind": item.kind,
            "table": item.table,
            "key": item.key,
            "old": _told(item.old),
            "new": _told(item.new),
            "position": str(item.position),
            "committed_at": item.committed_at,
            "xid": item.xid,
        }
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    try:
        state = inspect(item)
    except NoInspectionAvailable:
        return item
    if not isinstance(state, InstanceState):
        return item
    return {name: value for name, value in state.dict.items() if name in state.mapper.column_attrs}


def _told(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Leave out what the server did not send."""
    return None if values is None else {name: value for name, value in values.items() if value is not UNCHANGED}


def _other(value: Any) -> Any:
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, Decimal):
        return str(value)
    found = plain(value)
    return str(value) if found is value else found
