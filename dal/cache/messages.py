"""Messages: how processes tell each other what was written, in the payload of NOTIFY.

`{"from": ..., "tables": [...], "at": snapshot}`; without `at` from a commit that carries its message itself. Other programs
send names: `users,orders`. What cannot be read means any table.
"""

from __future__ import annotations

import json
import re
from typing import Any

from dal.written import DELETED, bare

__all__ = ["listed", "message", "read", "short", "unlisted"]

_MOST_BYTES = 7500
_NAMES = re.compile(r'\s*[\w."$*]+\s*(,\s*[\w."$*]+\s*)*')


def message(sender: str, tables: frozenset[str] | None) -> str:
    """Return the message of a commit that carries it itself."""
    return short(json.dumps({"from": sender, "tables": listed(tables)}), sender)


def short(told: str, sender: str) -> str:
    """Return a message, or one that names any table where it is longer than PostgreSQL takes."""
    return told if len(told.encode()) <= _MOST_BYTES else json.dumps({"from": sender, "tables": ["*"]})


def listed(tables: frozenset[str] | None) -> list[str]:
    """Return names as they are sent."""
    return ["*"] if tables is None else sorted(tables)


def unlisted(tables: Any) -> frozenset[str] | None:
    """Return names as they are meant; None is any table."""
    names = frozenset(bare(str(each)) for each in tables)
    return None if "*" in names else names


def read(payload: str) -> dict[str, Any]:
    """Read a message; one that is not dal's own is a list of table names, and means any table where it cannot be read."""
    try:
        told = json.loads(payload)
    except ValueError:
        told = payload.split(",") if _NAMES.fullmatch(payload) else None
    if isinstance(told, dict) and (told.keys() & {"tables", "bye", "hello"}):
        return told
    names = told if isinstance(told, list) and told else ["*"]
    return {"tables": [*names, *(f"{DELETED}{bare(str(name))}" for name in names)]}
