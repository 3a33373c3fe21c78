"""Aside: inserts of a group in which a row was refused, or may be: the good rows are written, the bad ones set aside.

Rows are tried by COPY; once too many tries have failed the server sifts the rest behind a staging table. Where it found many,
it gets the next group at once: bad rows seldom come alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from dal.bulk import apply
from dal.bulk.context import Context
from dal.bulk.filling import lacking
from dal.bulk.isolate import BUDGET, isolate
from dal.bulk.keyed import picked
from dal.bulk.refusal import Refused
from dal.bulk.rejecting import Rejecting
from dal.bulk.returning import Returning
from dal.bulk.rows import Group
from dal.bulk.sending import Destination, Sending
from dal.bulk.sieve import sift
from dal.bulk.staging import Stage, Staging

__all__ = ["Aside"]


class Aside:
    """Writes groups of one insert.

    Args:
        context: The call.
        rejecting: Takes rows that are refused; its tally takes the counts.
        returning: What shall come back, or None.

    Attributes:
        dense: Whether many rows of the last group that was sifted were bad.
    """

    def __init__(self, context: Context, rejecting: Rejecting, returning: Returning | None) -> None:
        self._context, self._rejecting, self._returning = context, rejecting, returning
        self.dense = False

    def write(self, group: Group, first: Refused | None) -> None:
        """Write a group.

        Args:
            group: The rows.
            first: What came of a try of all of them, where one was made and taken back.

        Raises:
            RowError: A row cannot be written, and `rejecting` does not take it.
        """
        context, rejecting = self._context, self._rejecting
        lacks = lacking(group, context.target, context.facts())
        if lacks is not None:
            for index in range(len(group.values)):
                rejecting.lacks(group, index, lacks)
            return
        bad: set[int] = set()

        def reject(index: int, refused: Refused) -> None:
            rejecting.reject(group, index, refused)
            bad.add(index)

        def rest(left: Sequence[int]) -> None:
            found = self._sifted(picked(group, left))
            bad.update(left[place] for place in found)
            self.dense = len(found) > BUDGET

        isolate(
            context.wire,
            Sending(context, _destinations(context, group.names), group),
            reject,
            immediate=self._deferred,
            rest=rest if rejecting.isolates else None,
            first=first,
            budget=0 if self.dense else BUDGET,
        )
        rejecting.tally.inserted += len(group.values) - len(bad)
        if self._returning is not None:
            self._returning.take(group, bad, rejecting.tally)

    @property
    def _deferred(self) -> bool:
        return self._rejecting.isolates and self._context.facts().deferred

    def _sifted(self, group: Group) -> list[int]:
        """Write rows by way of a staging table, inside which the server finds the bad ones; return their places."""
        context, rejecting = self._context, self._rejecting
        before = len(rejecting.tally.rejected)
        with Staging(context, rejecting, 1) as staging:
            staging.send(group.names, group)
        parts = range(len(context.target.parts))
        for stage in staging:

            def some(within: str, stage: Stage = stage) -> list[str]:
                return [apply.insert(apply.Applied(context, stage, (), (), part=at), within) for at in parts]

            plan = context.plan(stage.names)
            sifted = sift(context.wire, stage.name, some, plan, first_only=False, immediate=self._deferred)
            for position, refused in sifted.refused:
                staging.reject(stage, position, refused)
        staging.drop()
        places = {position: place for place, position in enumerate(group.positions)}
        return [places[rejected.position] for rejected in rejecting.tally.rejected[before:]]


def _destinations(context: Context, names: tuple[str, ...]) -> list[Destination]:
    """Return the COPY for each table of a target, for rows that carry some attributes in this order."""
    parts = context.target.parts
    if len(parts) == 1:
        return [Destination(context.table(), context.plan(names))]
    found = []
    for at, part in enumerate(parts):
        own = [name for name in names if name in part.columns]
        found.append(Destination(context.table(at), context.plan(own, at), [names.index(name) for name in own]))
    return found
