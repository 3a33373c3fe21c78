"""The groups of one scope, by what makes them one; a bounded number of them."""

from __future__ import annotations

from typing import Any

from dal.detection.groups import Group
from dal.detection.statement import Statement

__all__ = ["GroupTable"]

_MOST = 2_000
_LONGEST = 4_000


class GroupTable(dict[tuple[Any, ...], Group]):
    """Groups by key; when there are too many, those that were seen once go first.

    Attributes:
        dropped: How many groups went.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dropped = 0

    def find(self, kind: str, subject: Any, statement: Statement, key: tuple[Any, ...]) -> Group:
        """Return the group with a key, made from a statement where there is none yet.

        Args:
            kind: One of the kinds of `groups`.
            subject: What the group is about.
            statement: The statement to be counted.
            key: What makes statements one group.
        """
        group = self.get(key)
        if group is None:
            if len(self) >= _MOST:
                self._drop()
            trail = statement.trail
            group = self[key] = Group(kind, subject, statement.sql[:_LONGEST], statement.shape.text, trail.places)
            group.repository = trail.repository
            group.web = trail.in_request
        return group

    def _drop(self) -> None:
        keep = dict(list(self.items())[-_MOST // 4 :])
        keep |= {key: group for key, group in self.items() if group.count > 1}
        if len(keep) > _MOST * 3 // 4:
            keep = dict(sorted(keep.items(), key=lambda item: -item[1].count)[: _MOST // 2])
        self.dropped += len(self) - len(keep)
        self.clear()
        self.update(keep)
