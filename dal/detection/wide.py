"""Which columns of wide rows are read: asked for by `detect(wide=True)`, as it watches every column of wide entities."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy.orm import Mapper

from dal.detection import touches
from dal.detection.groups import Group

__all__ = ["WIDE", "WideRows"]

WIDE = 12
"""From how many loaded columns on a row is wide."""


class WideRows:
    """The wide entities that one scope loads.

    Attributes:
        groups: The groups that load them.
        used: Columns that were read or written.
    """

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.used: set[Any] = set()
        self._watched: set[Any] = set()

    def touched(self, prop: Any) -> None:
        """Take note that a column was read."""
        self.used.add(prop)

    def expect(self, group: Group) -> bool:
        """Watch the columns of a group's entity; say whether its rows are wide."""
        mapper = group.subject
        if not isinstance(mapper, Mapper) or len(loaded_columns(group)) < WIDE or len(self.groups) >= 100:
            return False
        self.groups.append(group)
        for column in loaded_columns(group):
            if column not in self.used and column not in self._watched:
                self._watched.add(column)
                touches.watch(column, self)
        return True

    def unused(self, group: Group) -> list[Any]:
        """Return the columns of a group's entity that nobody read; keys count as read."""
        keys = set(group.subject.primary_key)
        return [
            column
            for column in loaded_columns(group)
            if column not in self.used and not any(each in keys or each.foreign_keys for each in column.columns)
        ]

    def close(self) -> None:
        """Stop watching."""
        for column in self._watched:
            touches.unwatch(column, self)


def loaded_columns(group: Group) -> list[Any]:
    """Return the columns of its entity that a group's statement selects."""
    selected = set(re.findall(r"\w+", re.split(r"\bFROM\b", group.sql, maxsplit=1)[0]))
    return [
        column
        for column in group.subject.column_attrs
        if not column.deferred and any(getattr(each, "name", None) in selected for each in column.columns)
    ]
