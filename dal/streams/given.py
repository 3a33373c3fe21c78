"""What a reader of an outbox has given out and is not done with, one look at the table after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from dal.streams.change import Change, Transaction

__all__ = ["Given"]


class Given:
    """The books of one reader: the snapshot of each look, and the transactions it brought."""

    def __init__(self) -> None:
        self._looks: deque[tuple[str, Sequence[Transaction]]] = deque()

    def clear(self) -> None:
        """Forget what was given out."""
        self._looks.clear()

    def add(self, snapshot: str, transactions: Sequence[Transaction]) -> None:
        """Note one look; one that brought nothing counts where nothing is waited for.

        Args:
            snapshot: What could be seen.
            transactions: What was new.
        """
        if transactions or not self._looks:
            self._looks.append((snapshot, transactions))

    def open(self) -> int:
        """Count the changes that are not done with."""
        return sum(each.count - each.acknowledged for _, given in self._looks for each in given)

    def acknowledge(self, change: Change) -> None:
        """Note that everything up to a change is done with.

        Args:
            change: The change.
        """
        own = change._transaction
        own.acknowledged = max(own.acknowledged, change._sequence)
        for _, given in self._looks:
            for each in given:
                if each is own:
                    return
                each.acknowledged = each.count

    def acknowledge_all(self) -> None:
        """Note that everything is done with."""
        for _, given in self._looks:
            for each in given:
                each.acknowledged = each.count

    def done(self) -> str | None:
        """Take out the looks whose transactions are all done with; return the snapshot of the last, if any."""
        done = None
        while self._looks and all(each.acknowledged >= each.count for each in self._looks[0][1]):
            done = self._looks.popleft()[0]
        return done
