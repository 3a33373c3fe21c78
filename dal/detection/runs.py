"""Which statement an object came from: results are numbered by the ORM, and objects carry the number of theirs."""

from __future__ import annotations

from bisect import bisect_right

from dal.detection import _internals
from dal.detection.groups import Group

__all__ = ["Runs"]

_MOST = 20_000


class Runs:
    """The results of one scope in order, each with the group of the statement that fetched it.

    Attributes:
        last: The group of the last result.
    """

    __slots__ = ("_groups", "_numbers", "last")

    def __init__(self) -> None:
        self.last: Group | None = None
        self._numbers: list[int] = []
        self._groups: list[Group] = []

    def add(self, group: Group) -> None:
        """Note that the next result belongs to a group, up to the one noted after it."""
        if len(self._numbers) > _MOST:
            del self._numbers[: _MOST // 2], self._groups[: _MOST // 2]
        self._numbers.append(_internals.next_run())
        self._groups.append(group)
        self.last = group

    def group_of(self, run: int) -> Group | None:
        """Return the group that loaded the objects of a result.

        Args:
            run: The number the objects carry.
        """
        at = bisect_right(self._numbers, run) - 1
        return self._groups[at] if at >= 0 else None
