"""Insert on PostgreSQL: COPY straight into the table, or into the tables of joined inheritance.

Where rows are to come back, or several tables share an id, the ids are taken from their sequence first: then every row is
known before it is written, and nothing depends on the order in which a statement returns rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dal.bulk import apply
from dal.bulk.ahead import TOGETHER, ahead, asks
from dal.bulk.context import Context
from dal.bulk.filling import allocated, filled, lacking
from dal.bulk.isolate import isolate
from dal.bulk.keyed import picked
from dal.bulk.refusal import Refused
from dal.bulk.rejecting import Rejecting
from dal.bulk.returning import Returning
from dal.bulk.rows import Group
from dal.bulk.sending import Destination, Sending
from dal.bulk.sieve import sift
from dal.bulk.staging import Stage, Staging
from dal.bulk.stream import Stream, Taken
from dal.bulk.tally import Tally
from dal.bulk.trying import Trying

__all__ = ["insert"]

Write = Callable[[Group, Refused | None], None]
"""Writes a group so that bad rows are found, with what came of a try of the whole that was taken back."""


def insert(
    context: Context,
    chunks: Iterator[list[Group]],
    tally: Tally,
    rejecting: Rejecting,
    returning: Returning | None,
    *,
    at_hand: bool,
) -> None:
    """Insert rows.

    Args:
        context: The call.
        chunks: The rows.
        tally: Takes the counts.
        rejecting: What happens to a row that cannot be written.
        returning: What shall come back, or None.
        at_hand: Whether the rows are there already, and need nobody to make them.

    Raises:
        RowError: A row cannot be written, and `rejecting` does not take it.
    """

    def write(group: Group, first: Refused | None) -> None:
        _write(context, group, tally, rejecting, returning, first)

    ready = _ready(context, chunks, returning)
    alone = at_hand and returning is None and not asks(context.target)
    one_table = len(context.target.parts) == 1
    if rejecting.isolates and one_table and returning is None and not context.facts().deferred:
        _tried(context, ahead(ready, alone=alone), rejecting, write, alone=alone)
    elif rejecting.isolates or not one_table:
        for group in ready:
            write(group, None)
    else:
        _streamed(context, ahead(ready, alone=alone), tally, write, returning, alone=alone)


def _tried(context: Context, parts: Iterator[list[Group]], rejecting: Rejecting, write: Write, *, alone: bool) -> None:
    """Write rows of which some may be bad."""
    with Trying(context, rejecting, write) as trying:
        for groups in parts:
            for group in groups:
                if group.batch is None and lacking(group, context.target, context.facts()) is None:
                    trying.write(group)
                else:
                    trying.settle()
                    write(group, None)
            if not alone:
                trying.settle()


def _streamed(
    context: Context, parts: Iterator[list[Group]], tally: Tally, write: Write, returning: Returning | None, *, alone: bool
) -> None:
    """Write rows that are expected to be good."""
    stream = Stream(context, lambda names: Destination(context.table(), context.plan(names)))
    with stream:
        for groups in parts:
            for group in groups:
                if stream.groups and (stream.rows >= TOGETHER or not stream.fits(group)):
                    _end(stream, tally, write, returning)
                try:
                    if lacking(group, context.target, context.facts()) is None:
                        stream.write(group)
                    else:
                        _end(stream, tally, write, returning)
                        write(group, None)
                except Taken:
                    _again(stream, write)
            if not alone:
                _end(stream, tally, write, returning)
        _end(stream, tally, write, returning)


def _ready(context: Context, chunks: Iterator[list[Group]], returning: Returning | None) -> Iterator[Group]:
    """Return the groups with all that Python gives them."""
    known = returning is not None or len(context.target.parts) > 1
    for groups in chunks:
        for given in groups:
            group = filled(given, context.target, context.connection)
            yield allocated(group, context.target, context.facts(), context.wire) if known else group


def _end(stream: Stream, tally: Tally, write: Write, returning: Returning | None) -> None:
    try:
        written = stream.end()
    except Taken:
        _again(stream, write)
        return
    for group in written:
        tally.inserted += len(group.values)
        if returning is not None:
            returning.take(group, (), tally)


def _again(stream: Stream, write: Write) -> None:
    """Go over groups of which a row was refused: it is found, and ends the call."""
    for group in stream.forget():
        write(group, None)


def _write(
    context: Context, group: Group, tally: Tally, rejecting: Rejecting, returning: Returning | None, first: Refused | None
) -> None:
    lacks = lacking(group, context.target, context.facts())
    if lacks is not None:
        for index in range(len(group.values)):
            rejecting.lacks(group, index, lacks)
        return
    bad: set[int] = set()

    def reject(index: int, refused: Refused) -> None:
        rejecting.reject(group, index, refused)
        bad.add(index)

    deferred = rejecting.isolates and context.facts().deferred
    sending = Sending(context, destinations(context, group.names), group)

    def rest(left: Sequence[int]) -> None:
        _sift(context, picked(group, left), rejecting, deferred=deferred, bad=bad, left=left)

    isolate(context.wire, sending, reject, immediate=deferred, rest=rest if rejecting.isolates else None, first=first)
    tally.inserted += len(group.values) - len(bad)
    if returning is not None:
        returning.take(group, bad, tally)


def _sift(context: Context, group: Group, rejecting: Rejecting, *, deferred: bool, bad: set[int], left: Sequence[int]) -> None:
    """Write rows by way of a staging table, inside which the server finds the bad ones."""
    before = len(rejecting.tally.rejected)
    with Staging(context, rejecting, 1) as staging:
        staging.send(group.names, group)
    parts = range(len(context.target.parts))
    for stage in staging:

        def some(within: str, stage: Stage = stage) -> list[str]:
            return [apply.insert(apply.Applied(context, stage, (), (), part=at), within) for at in parts]

        plan = context.plan(stage.names)
        sifted = sift(context.wire, stage.name, some, plan, first_only=False, immediate=deferred)
        for position, refused in sifted.refused:
            staging.reject(stage, position, refused)
    staging.drop()
    places = {position: place for place, position in zip(left, group.positions, strict=True)}
    bad.update(places[rejected.position] for rejected in rejecting.tally.rejected[before:])


def destinations(context: Context, names: tuple[str, ...]) -> list[Destination]:
    """Return the COPY for each table of a target.

    Args:
        context: The call.
        names: The attributes that rows carry, in order.
    """
    parts = context.target.parts
    if len(parts) == 1:
        return [Destination(context.table(), context.plan(names))]
    found = []
    for at, part in enumerate(parts):
        own = [name for name in names if name in part.columns]
        found.append(Destination(context.table(at), context.plan(own, at), [names.index(name) for name in own]))
    return found
