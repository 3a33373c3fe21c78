"""Rejecting: what happens to a row that cannot be written: the call ends, or the row is set aside."""

from __future__ import annotations

from dataclasses import dataclass

from dal.bulk.refusal import Refused, row_error
from dal.bulk.result import Rejected
from dal.bulk.rows import Group
from dal.bulk.tally import Tally
from dal.errors import UsageError

__all__ = ["Rejecting", "checked_on_error"]


@dataclass
class Rejecting:
    """What happens to rows that cannot be written.

    Args:
        target: What errors call the target.
        tally: Keeps the rejected rows.
        isolates: Whether rows are set aside; otherwise the first ends the call.
        most: How many are set aside before the call ends after all; None for any number.
    """

    target: str
    tally: Tally
    isolates: bool
    most: int | None = None

    def reject(self, group: Group, index: int, refused: Refused) -> None:
        """Take a refused row.

        Args:
            group: Its group.
            index: Its place in the group.
            refused: Why.

        Raises:
            RowError: Rows are not set aside, or too many were.
        """
        value = None
        if refused.column in group.names:
            value = group.values[index][group.names.index(refused.column)]
        self._take(refused.rejected(group.positions[index], group.given[index], value), refused.orig)

    def lacks(self, group: Group, index: int, name: str) -> None:
        """Take a row that has no value for a column that needs one.

        Raises:
            RowError: Rows are not set aside, or too many were.
        """
        reason = f"it has no {name}, which has no default and cannot be NULL"
        self._take(Rejected(group.positions[index], reason, column=name, row=group.given[index], sqlstate="23502"), None)

    def _take(self, rejected: Rejected, orig: BaseException | None) -> None:
        if not self.isolates:
            raise row_error(rejected, self.target, orig)
        self.tally.rejected.append(rejected)
        if self.most is not None and len(self.tally.rejected) > self.most:
            error = row_error(rejected, self.target, orig)
            error.args = (f"more than {self.most} rows were refused; the last: {error.args[0]}",)
            raise error


def checked_on_error(on_error: str) -> bool:
    """Return whether rows are set aside.

    Raises:
        UsageError: It is neither "raise" nor "reject".
    """
    if on_error not in ("raise", "reject"):
        raise UsageError(f"on_error={on_error!r} is neither 'raise' nor 'reject'", hint='write on_error="reject"')
    return on_error == "reject"
