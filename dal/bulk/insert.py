"""Insert on PostgreSQL: COPY straight into the table, or into the tables of joined inheritance.

Where rows are to come back, or several tables share an id, the ids are taken from their sequence first: then every row is
known before it is written, and nothing depends on the order in which a statement returns rows.
"""

from __future__ import annotations

from collections.abc import Iterator

from dal.bulk.ahead import TOGETHER, ahead, asks
from dal.bulk.aside import Aside
from dal.bulk.context import Context
from dal.bulk.filling import allocated, filled, lacking
from dal.bulk.rejecting import Rejecting
from dal.bulk.returning import Returning
from dal.bulk.rows import Group
from dal.bulk.sending import Destination
from dal.bulk.stream import Stream, Taken
from dal.bulk.tally import Tally
from dal.bulk.trying import Trying

__all__ = ["insert"]


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
    aside = Aside(context, rejecting, returning)
    ready = _ready(context, chunks, returning)
    alone = at_hand and returning is None and not asks(context.target)
    one_table = len(context.target.parts) == 1
    if rejecting.isolates and one_table and returning is None and not context.facts().deferred:
        _tried(context, ahead(ready, alone=alone), rejecting, aside, alone=alone)
    elif rejecting.isolates or not one_table:
        for group in ready:
            aside.write(group, None)
    else:
        _streamed(context, ahead(ready, alone=alone), tally, aside, returning, alone=alone)


def _tried(context: Context, parts: Iterator[list[Group]], rejecting: Rejecting, aside: Aside, *, alone: bool) -> None:
    """Write rows of which some may be bad."""
    with Trying(context, rejecting, aside) as trying:
        for groups in parts:
            for group in groups:
                if group.batch is None and lacking(group, context.target, context.facts()) is None:
                    trying.write(group)
                else:
                    trying.settle()
                    aside.write(group, None)
            if not alone:
                trying.settle()


def _streamed(
    context: Context, parts: Iterator[list[Group]], tally: Tally, aside: Aside, returning: Returning | None, *, alone: bool
) -> None:
    """Write rows that are expected to be good."""
    stream = Stream(context, lambda names: Destination(context.table(), context.plan(names)))
    with stream:
        for groups in parts:
            for group in groups:
                if stream.groups and (stream.rows >= TOGETHER or not stream.fits(group)):
                    _end(stream, tally, aside, returning)
                try:
                    if lacking(group, context.target, context.facts()) is None:
                        stream.write(group)
                    else:
                        _end(stream, tally, aside, returning)
                        aside.write(group, None)
                except Taken:
                    _again(stream, aside)
            if not alone:
                _end(stream, tally, aside, returning)
        _end(stream, tally, aside, returning)


def _ready(context: Context, chunks: Iterator[list[Group]], returning: Returning | None) -> Iterator[Group]:
    """Return the groups with all that Python gives them."""
    known = returning is not None or len(context.target.parts) > 1
    for groups in chunks:
        for given in groups:
            group = filled(given, context.target, context.connection)
            # A COPY of no column at all is none.
            needed = known or not group.names
            yield allocated(group, context.target, context.facts(), context.wire) if needed else group


def _end(stream: Stream, tally: Tally, aside: Aside, returning: Returning | None) -> None:
    try:
        written = stream.end()
    except Taken:
        _again(stream, aside)
        return
    for group in written:
        tally.inserted += len(group.values)
        if returning is not None:
            returning.take(group, (), tally)


def _again(stream: Stream, aside: Aside) -> None:
    """Go over groups of which a row was refused: it is found, and ends the call."""
    for group in stream.forget():
        aside.write(group, None)
