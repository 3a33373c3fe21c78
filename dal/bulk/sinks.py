"""Where rejected rows go beside `result.rejected`: a function, a file of JSON lines, or a table.

A table gets those of these columns that it has: position, line, column, value, sqlstate, constraint, reason, row. It is written
in the call's own transaction; a function and a file get the rows when that has ended well.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, insert

from dal.bulk.result import Rejected
from dal.bulk.target import Target, target_of
from dal.errors import UsageError

__all__ = ["Rejects", "Sink"]

Rejects = Callable[[Rejected], object] | str | os.PathLike[str] | Table | type
"""A function, a file, or a table or the class mapped to it."""

_NAMES = ("position", "line", "column", "value", "sqlstate", "constraint", "reason", "row")


class Sink:
    """Takes the rejected rows of one call.

    Args:
        to: Where they go, or None.

    Raises:
        UsageError: It is nothing of what is known, or a table with none of the columns.
    """

    def __init__(self, to: Rejects | None) -> None:
        self._to = to
        self._target: Target | None = None
        if isinstance(to, Table) or hasattr(to, "__mapper__"):
            self._target = target_of(to)
            if not set(_NAMES) & set(self._target.columns):
                raise UsageError(
                    f"the table of rejects {self._target.name} has none of the columns that say why",
                    hint=f"give it some of these: {', '.join(_NAMES)}",
                )
        elif to is not None and not isinstance(to, (str, os.PathLike)) and not callable(to):
            raise UsageError(f"rejects={to!r} is no place for rows", hint='write rejects="bad.jsonl", a table or a function')

    def inside(self, rejected: Sequence[Rejected], connection: Connection) -> None:
        """Write rejected rows to a table, in the transaction of the call."""
        if self._target is not None and rejected:
            names = [name for name in _NAMES if name in self._target.columns]
            rows = [{self._target.columns[name].key: _plain(name, getattr(each, name)) for name in names} for each in rejected]
            connection.execute(insert(self._target.table), rows)

    def after(self, rejected: Sequence[Rejected]) -> None:
        """Hand rejected rows to a function, or add them to a file."""
        if self._target is not None or self._to is None or not rejected:
            return
        if isinstance(self._to, (str, os.PathLike)):
            with Path(self._to).open("a", encoding="utf-8") as file:
                file.writelines(f"{json.dumps(_described(each))}\n" for each in rejected)
        elif callable(self._to):
            for each in rejected:
                self._to(each)


def _described(rejected: Rejected) -> dict[str, Any]:
    found = {name: getattr(rejected, name) for name in _NAMES}
    return {name: value if isinstance(value, (int, str, type(None))) else str(value) for name, value in found.items()}


def _plain(name: str, value: Any) -> Any:
    return str(value) if name in {"value", "row"} and value is not None else value
