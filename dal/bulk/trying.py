"""Trying: rows of which some may be bad, sent by COPY in portions; the server is at one while Python encodes the next.

    RELEASE dal_bulk; SAVEPOINT dal_bulk; COPY users (...) FROM STDIN (FORMAT binary)

Each portion has a savepoint of its own, and one round trip to begin it. Where the server names the row that it refuses, the
portion is sent again without it; after a few of them in one portion, or where none is named, the portion is handed back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from sqlalchemy.exc import DBAPIError

from dal.bulk.aside import Aside
from dal.bulk.background import Background
from dal.bulk.context import Context
from dal.bulk.encoding import Encoded, Encoder
from dal.bulk.keyed import picked
from dal.bulk.plan import BadValue
from dal.bulk.refusal import Refused, of_error
from dal.bulk.rejecting import Rejecting
from dal.bulk.rows import Group
from dal.bulk.sending import Destination, copy_statement
from dal.bulk.wire import BadRow

__all__ = ["Trying"]

_PORTION = 2_000
"""Rows that are sent again where one of them is bad. A COPY costs the server 1 ms beside its rows."""
_CUTS = 3
"""Rows that are cut out of a portion before it is handed back."""


@dataclass(frozen=True)
class _Pending:
    """A portion under way."""

    group: Group
    encoder: Encoder
    encoded: Encoded
    copy: str
    cuts: int = 0


class Trying:
    """Inserts of groups into one table, portion by portion.

    Args:
        context: The call.
        rejecting: Takes rows that are refused; its tally takes the counts.
        aside: Takes a portion of which a row was refused and nothing is written.
    """

    def __init__(self, context: Context, rejecting: Rejecting, aside: Aside) -> None:
        self._context, self._rejecting, self._aside = context, rejecting, aside
        self._background = Background(context.wire)
        self._pending: _Pending | None = None
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
        encoder = Encoder(context.wire, destination.wire, binary=binary)
        try:
            encoded = encoder.encoded(destination.plan.converted(list(portion.values)), self._meanwhile)
        except (BadValue, BadRow):
            self.settle()
            self._aside.write(portion, None)
            return len(portion.values)
        self._finish()
        if not self._saved:
            context.wire.savepoint()
            self._saved = True
            before = ""
        else:
            before = "RELEASE dal_bulk; SAVEPOINT dal_bulk; "
        copy = copy_statement(context, destination, binary=binary)
        self._pending = _Pending(_part(portion, 0, len(encoded.rows)), encoder, encoded, copy)
        self._background.copy(f"{before}{copy}", encoded.blocks)
        return len(encoded.rows)

    def _meanwhile(self) -> None:
        if self._background.push():
            self._step()

    def _finish(self) -> None:
        while self._pending is not None:
            self._step()

    def _step(self) -> None:
        """Take the result of the portion under way, and send it again where it has to be."""
        pending, self._pending = self._pending, None
        assert pending is not None
        try:
            self._background.result()
        except DBAPIError as error:
            refused = of_error(error, self._context.plan(pending.group.names))
            if refused is None:
                raise
            self._pending = self._cut(pending, refused)
        else:
            self._rejecting.tally.inserted += len(pending.group.values)

    def _cut(self, pending: _Pending, refused: Refused) -> _Pending | None:
        """Send a portion again without the row that was refused, or hand it back."""
        group, index = pending.group, refused.index
        if index is None or index >= len(group.values) or pending.cuts == _CUTS or self._aside.dense:
            self._context.wire.undo()
            self._saved = False
            self._aside.write(group, refused)
            return None
        self._rejecting.reject(group, index, refused)
        encoded = pending.encoder.without(pending.encoded, index)
        self._background.copy(f"ROLLBACK TO dal_bulk; {pending.copy}", encoded.blocks)
        rest = picked(group, [each for each in range(len(group.values)) if each != index])
        return replace(pending, group=rest, encoded=encoded, cuts=pending.cuts + 1)


def _part(group: Group, start: int, stop: int) -> Group:
    if start == 0 and stop >= len(group.values):
        return group
    return replace(
        group, positions=group.positions[start:stop], given=group.given[start:stop], values=group.values[start:stop], batch=None
    )
