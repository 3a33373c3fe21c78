"""Stream: one COPY kept open over many chunks, so that the server works while the next chunk is made ready.

It is for rows that are expected to be good. Rows that were sent are kept until their COPY has ended: where one of them is
refused, all of it is taken back, and the caller goes over the same groups again in smaller steps.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from sqlalchemy.exc import DBAPIError

from dal.bulk.arrow import lines
from dal.bulk.context import Context
from dal.bulk.plan import BadValue, ColumnPlan
from dal.bulk.refusal import of_error
from dal.bulk.rows import Group
from dal.bulk.sending import Destination, copy_statement, with_positions
from dal.bulk.wire import BadRow, Copying

__all__ = ["Stream", "Taken"]

_BLOCK = 256 * 1024


class Taken(Exception):
    """A row was refused; everything since the COPY began was taken back."""


class Stream:
    """A COPY that takes groups as they come; a new one is begun where their columns change.

    Args:
        context: The call.
        destination: Says where rows that carry some attributes go.
        staged: Whether the position of each row stands before it.
    """

    def __init__(
        self, context: Context, destination: Callable[[tuple[str, ...]], Destination], *, staged: bool = False
    ) -> None:
        self.groups: list[Group] = []
        self.rows = 0
        self._context = context
        self._destination = destination
        self._staged = staged
        self._begun: tuple[tuple[str, ...], bool] | None = None
        self._stack = ExitStack()
        self._copying: Copying | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.leave(error)

    def fits(self, group: Group) -> bool:
        """Tell whether a group goes into the COPY that is open, if one is."""
        return self._begun is None or self._begun[0] == group.names

    def write(self, group: Group) -> None:
        """Send a group.

        Args:
            group: Rows of the same columns as those before.

        Raises:
            Taken: A row was refused.
        """
        self.groups.append(group)
        self.rows += len(group.values)
        plan = self._context.plan(group.names)
        try:
            found = None if group.batch is None else lines(group, plan, leading=group.positions if self._staged else None)
            rows = [] if found is not None else self._rows(group, plan)
            self._open(group.names, binary=found is None and plan.binary)
            if self._copying is not None and found is None:
                self._copying.write_rows(rows)
            elif self._copying is not None and found is not None:
                block = found.block(0, len(group.values))
                for start in range(0, len(block), _BLOCK):
                    self._copying.write(block[start : start + _BLOCK])
        except (BadValue, BadRow) as error:
            self._take_back(error)
            raise Taken from error
        except BaseException as error:
            self.leave(error)
            raise

    def end(self) -> list[Group]:
        """End the COPY.

        Returns:
            The groups that were written.

        Raises:
            Taken: A row was refused.
        """
        if self._begun is not None:
            try:
                self._stack.close()
            except DBAPIError as error:
                if of_error(error, self._context.plan(self._begun[0])) is None:
                    raise
                self._take_back(None)
                raise Taken from error
            self._context.wire.release()
        return self.forget()

    def forget(self) -> list[Group]:
        """Return the groups, and begin anew."""
        groups, self.groups, self.rows, self._begun, self._copying = self.groups, [], 0, None, None
        return groups

    def leave(self, error: BaseException) -> None:
        """End an open COPY in failure."""
        self._stack.__exit__(type(error), error, error.__traceback__)

    def _open(self, names: tuple[str, ...], *, binary: bool) -> None:
        if self._begun == (names, binary):
            return
        if self._begun is not None:
            # The same columns in another format: what was sent stays in the savepoint that is open.
            self._stack.close()
        else:
            self._context.wire.savepoint()
        destination = self._destination(names)
        statement = copy_statement(self._context, destination, binary=binary)
        self._begun = (names, binary)
        types = destination.wire if binary or self._text(names) else ()
        self._copying = self._stack.enter_context(self._context.wire.copy(statement, types))

    def _rows(self, group: Group, plan: ColumnPlan) -> list[tuple[Any, ...]]:
        rows = plan.converted(list(group.values))
        return with_positions(group.positions, rows) if self._staged else rows

    def _text(self, names: tuple[str, ...]) -> bool:
        return not self._context.plan(names).binary

    def _take_back(self, error: BaseException | None) -> None:
        if error is not None:
            self.leave(error)
        if self._begun is not None:
            self._context.wire.undo()
