"""Trying: rows of which some may be bad, sent by COPY in portions; the server is at one while Python encodes the next.

    RELEASE dal_bulk; SAVEPOINT dal_bulk; COPY users (...) FROM STDIN (FORMAT binary)

Each portion has a savepoint of its own, and one round trip to begin it. One that is refused is handed back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from sqlalchemy.exc import DBAPIError

from dal.bulk.background import Background, Encoder
from dal.bulk.context import Context
from dal.bulk.plan import BadValue
from dal.bulk.refusal import Refused, of_error
from dal.bulk.rows import Group
from dal.bulk.sending import Destination, copy_statement
from dal.bulk.tally import Tally
from dal.bulk.wire import BadRow

__all__ = ["Trying"]

_PORTION = 2_000
"""Rows that are sent again where one of them is bad."""


class Trying:
    """Inserts of groups into one table, portion by portion.

    Args:
        context: The call.
        tally: Takes the counts.
        again: Takes a portion of which a row was refused and nothing is written, with the refusal where the server made it.
    """

    def __init__(self, context: Context, tally: Tally, again: Callable[[Group, Refused | None], None]) -> None:
        self._context, self._tally, self._again = context, tally, again
        self._background = Background(context.wire)
        self._pending: Group | None = None
        self._saved = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.settle()
        else:
            self._background.leave()

    def write(self, group: Group) -> None:
        """Send a group.

        Args:
            group: The rows.
        """
        start = 0
        while start < len(group.values):
            start += self._sent(_part(group, start, start + _PORTION))

    def settle(self) -> None:
        """Wait for what is under way, so that other statements can be sent."""
        self._finish()
        if self._saved:
            self._context.wire.release()
            self._saved = False

    def _sent(self, portion: Group) -> int:
        context = self._context
        destination = Destination(context.table(), context.plan(portion.names))
        binary = destination.plan.binary
        try:
            rows = destination.plan.converted(list(portion.values))
            blocks, number = Encoder(context.wire, destination.wire, binary=binary).encoded(rows, self._background.push)
        except (BadValue, BadRow):
            self.settle()
            self._again(portion, None)
            return len(portion.values)
        self._finish()
        statement = copy_statement(context, destination, binary=binary)
        if self._saved:
            statement = f"RELEASE dal_bulk; SAVEPOINT dal_bulk; {statement}"
        else:
            context.wire.savepoint()
            self._saved = True
        self._pending = _part(portion, 0, number)
        self._background.copy(statement, blocks)
        return number

    def _finish(self) -> None:
        portion, self._pending = self._pending, None
        if portion is None:
            return
        try:
            self._background.result()
        except DBAPIError as error:
            refused = of_error(error, self._context.plan(portion.names))
            if refused is None:
                raise
            self._context.wire.undo()
            self._saved = False
            self._again(portion, refused)
        else:
            self._tally.inserted += len(portion.values)


def _part(group: Group, start: int, stop: int) -> Group:
    if start == 0 and stop >= len(group.values):
        return group
    return replace(
        group, positions=group.positions[start:stop], given=group.given[start:stop], values=group.values[start:stop], batch=None
    )
