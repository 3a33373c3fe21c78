"""Staging: rows sent by COPY into a temporary table, from which one statement writes them, sorted by key.

    CREATE TEMP TABLE dal_bulk_1 ON COMMIT DROP AS SELECT 0::int8 AS dal_position, t.id, t.name FROM users AS t WITH NO DATA

The types are the table's own. Rows of different shapes have a staging table each.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from dal.bulk.ahead import TOGETHER
from dal.bulk.context import Context
from dal.bulk.isolate import isolate
from dal.bulk.refusal import Refused
from dal.bulk.rejecting import Rejecting
from dal.bulk.rows import Group
from dal.bulk.sending import Destination, Sending
from dal.bulk.stream import Stream, Taken

__all__ = ["POSITION", "Stage", "Staging", "created", "new_name"]

POSITION = "dal_position"
_numbers = itertools.count(1)


@dataclass
class Stage:
    """One temporary table.

    Args:
        name: Its name.
        carried: The attributes that its rows carried, in order.
        names: Those and what was filled in.
        groups: The groups that were sent, where rows have to be found again.
        rows: How many rows it has.
    """

    name: str
    carried: tuple[str, ...]
    names: tuple[str, ...]
    groups: list[Group] = field(default_factory=list)
    rows: int = 0


class Staging:
    """The staging tables of one call.

    Args:
        context: The call.
        rejecting: What happens to rows that cannot be sent.
        keep: How many chunks are kept, so that a row can be shown when it is refused later.
    """

    def __init__(self, context: Context, rejecting: Rejecting, keep: int) -> None:
        self._context = context
        self._rejecting = rejecting
        self._keep = keep
        self._stages: dict[tuple[str, ...], Stage] = {}
        self._stream: Stream | None = None
        self._streamed: Stage | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.settle()
        elif self._stream is not None:
            self._stream.leave(error)

    def __iter__(self) -> Iterator[Stage]:
        return iter(self._stages.values())

    def __len__(self) -> int:
        return len(self._stages)

    def send(self, carried: tuple[str, ...], group: Group) -> None:
        """Send a group to the table of its shape.

        Args:
            carried: What the rows carried before anything was filled in.
            group: The rows.

        Raises:
            RowError: A row cannot be sent, and `rejecting` does not take it.
        """
        shape = tuple(sorted(carried))
        if self._stream is not None and (self._stages.get(shape) is not self._streamed or self._stream.rows >= TOGETHER):
            self.settle()
        if shape not in self._stages:
            self._stages[shape] = self._made(carried, group.names)
        stage = self._stages[shape]
        if self._stream is None:
            self._streamed, self._stream = stage, Stream(self._context, lambda names: self._destination(stage), staged=True)
        stage.groups.append(group)
        del stage.groups[: -self._keep]
        try:
            self._stream.write(_ordered(group, stage.names))
        except Taken:
            self._again(self._stream, stage)

    def settle(self) -> None:
        """End the COPY that is under way: before a statement is sent, and before the caller is asked for something.

        Raises:
            RowError: A row cannot be sent, and `rejecting` does not take it.
        """
        stream, stage = self._stream, self._streamed
        self._stream = self._streamed = None
        if stream is None or stage is None:
            return
        try:
            stage.rows += sum(len(group.values) for group in stream.end())
        except Taken:
            self._again(stream, stage)

    def _again(self, stream: Stream, stage: Stage) -> None:
        for group in stream.forget():
            self._isolated(stage, group)

    def _destination(self, stage: Stage) -> Destination:
        return Destination(stage.name, self._context.plan(stage.names), leading=(POSITION,))

    def _isolated(self, stage: Stage, group: Group) -> None:
        """Send what can be sent of a group in which a row was refused."""
        bad = 0

        def reject(index: int, refused: Refused) -> None:
            nonlocal bad
            self._rejecting.reject(group, index, refused)
            bad += 1

        sending = Sending(self._context, [self._destination(stage)], group, staged=True)
        isolate(self._context.wire, sending, reject, immediate=False)
        stage.rows += len(group.values) - bad

    def reject(self, stage: Stage, position: int, refused: Refused) -> None:
        """Reject a row that was staged.

        Args:
            stage: Where it is.
            position: Its position.
            refused: Why.

        Raises:
            RowError: `rejecting` does not take it.
        """
        stage.rows -= 1
        for group in stage.groups:
            if position in group.positions:
                self._rejecting.reject(group, group.positions.index(position), refused)
                return
        names = ", ".join(self._context.quoted(planned.column for planned in self._context.plan(stage.names).columns))
        rows = self._context.wire.fetch(f"SELECT {names} FROM {stage.name} WHERE {POSITION} = {position}")
        values = rows[0] if rows else (None,) * len(stage.names)
        given = dict(zip(stage.names, values, strict=True))
        self._rejecting.reject(Group(stage.names, [position], [given], [values]), 0, refused)

    def holding(self, position: int) -> Stage:
        """Return the stage of a row."""
        query = "SELECT EXISTS (SELECT FROM {} WHERE {} = {})"
        for stage in self:
            if self._context.wire.fetch(query.format(stage.name, POSITION, position))[0][0]:
                return stage
        raise LookupError(position)

    def forget(self, stage: Stage, positions: Sequence[int]) -> None:
        """Take rejected rows out."""
        if positions:
            self._context.wire.run(f"DELETE FROM {stage.name} WHERE {POSITION} = ANY(%s)", (list(positions),))

    def drop(self) -> None:
        """Drop the tables, for the sake of those who go on in this transaction."""
        for stage in self:
            self._context.wire.run(f"DROP TABLE {stage.name}")

    def _made(self, carried: tuple[str, ...], names: tuple[str, ...]) -> Stage:
        stage = Stage(new_name(), carried, names)
        created(self._context, stage)
        return stage


def new_name() -> str:
    """Return a name that no staging table of this process has."""
    return f"dal_bulk_{next(_numbers)}"


def created(context: Context, stage: Stage, *, positions: bool = True) -> None:
    """Create a staging table.

    Args:
        context: The call.
        stage: The table.
        positions: Whether it has a column for the position of each row.
    """
    names_of = context.quoted(planned.column for planned in context.plan(stage.names).columns)
    columns = [f"p{context.home(name)}.{quoted}" for name, quoted in zip(stage.names, names_of, strict=True)]
    tables = ", ".join(f"{context.table(at)} AS p{at}" for at in range(len(context.target.parts)))
    position = [f"0::int8 AS {POSITION}"] if positions else []
    empty = f"SELECT {', '.join([*position, *columns])} FROM {tables} WITH NO DATA"
    context.wire.run(f"CREATE TEMP TABLE {stage.name} ON COMMIT DROP AS {empty}")


def _ordered(group: Group, names: tuple[str, ...]) -> Group:
    if group.names == names:
        return group
    places = [group.names.index(name) for name in names]
    return replace(group, names=names, values=[tuple(row[place] for place in places) for row in group.values], batch=None)
