"""Call: one bulk call from its arguments to its result: which route, which transactions, how rows are read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from dal.bulk.arguments import checked_most, checked_rows
from dal.bulk.arrow import is_arrow, portions, read_arrow
from dal.bulk.catalog import TableFacts
from dal.bulk.context import Context
from dal.bulk.portable import Portable
from dal.bulk.postgres import Postgres
from dal.bulk.rejecting import Rejecting, checked_on_error
from dal.bulk.result import BulkResult, joined
from dal.bulk.returning import Returning
from dal.bulk.rows import Group, Reader, read
from dal.bulk.scope import Scope
from dal.bulk.sessions import expire
from dal.bulk.sinks import Rejects, Sink
from dal.bulk.tally import Tally
from dal.bulk.target import Attribute, Target
from dal.bulk.wire import speaks_copy
from dal.errors import RowError, UsageError

__all__ = ["CHUNK", "Call", "OnError", "Work", "readable_again", "run"]

OnError = Literal["raise", "reject"]
Work = Callable[["Postgres | Portable", Iterator[list[Group]]], None]

CHUNK = 2_000
"""Rows that are read and made ready at a time."""


@dataclass(frozen=True)
class Call:
    """What a caller asked for.

    Args:
        work: What is done with the rows.
        rows: The rows.
        columns: What the places of a tuple mean.
        returning: Columns, or the entity, or None.
        on_error: "raise" or "reject".
        rejects: Where rejected rows go as well.
        max_rejected: How many rows may be rejected.
        commit_every: Rows in a transaction; None for one transaction.
        fresh: Whether the rows are to become new ones.
        start: The position of the first row.
    """

    work: Work
    rows: Iterable[Any]
    columns: Sequence[Attribute] | None = None
    returning: Any = None
    on_error: OnError = "raise"
    rejects: Rejects | None = None
    max_rejected: int | None = None
    commit_every: int | None = None
    fresh: bool = False
    start: int = 0


def run(call: Call, scope: Scope, target: Target, known: dict[str, TableFacts]) -> BulkResult:
    """Do what a call asks for.

    Args:
        call: The call.
        scope: Where it is written.
        target: What is written.
        known: Facts about tables, kept from call to call.
    """
    checked_most(call.max_rejected)
    if call.commit_every is None:
        return _in_one(call, scope, target, known)
    if not scope.commits:
        raise UsageError(
            "commit_every= would commit a transaction that is its caller's",
            hint=f"leave it out, or write BulkWriter(db, {target.name})",
        )
    if isinstance(call.commit_every, bool) or not isinstance(call.commit_every, int) or call.commit_every < 1:
        raise UsageError(f"commit_every={call.commit_every!r} is no number of rows", hint="write commit_every=100_000")
    return _in_several(call, call.commit_every, scope, target, known)


def _in_several(call: Call, every: int, scope: Scope, target: Target, known: dict[str, TableFacts]) -> BulkResult:
    started, done, start = time.perf_counter(), BulkResult(), 0
    for rows, number in _parts(call.rows, every):
        most = None if call.max_rejected is None else call.max_rejected - len(done.rejected)
        try:
            part = _in_one(replace(call, rows=rows, start=start, max_rejected=most), scope, target, known)
        except RowError as error:
            error.args = (f"{error.args[0]} (of the rows from {start} on; those before are committed)",)
            raise
        done = joined(done, part)
        start += number
    return replace(done, seconds=time.perf_counter() - started)


def _parts(rows: Iterable[Any], every: int) -> Iterator[tuple[Iterable[Any], int]]:
    if is_arrow(rows):
        yield from portions(rows, every)
        return
    source = iter(checked_rows(rows))
    while part := list(islice(source, every)):
        yield part, len(part)


def _in_one(call: Call, scope: Scope, target: Target, known: dict[str, TableFacts]) -> BulkResult:
    started = time.perf_counter()
    isolates, sink = checked_on_error(call.on_error), Sink(call.rejects)
    names = None if call.columns is None else target.listed(call.columns, "columns")
    wanted = _wanted(call.returning, target)

    def once(connection: Connection, session: Session | None) -> Tally:
        tally = Tally()
        rejecting = Rejecting(target.name, tally, isolates, call.max_rejected)
        back = None
        if call.returning is not None:
            back = Returning(wanted, None if scope.commits else session, connection, target)
        route: Postgres | Portable
        if speaks_copy(connection):
            at_hand = readable_again(call.rows)
            route = Postgres(Context(connection, target, known), tally, rejecting, back, at_hand=at_hand)
        else:
            route = Portable(connection, target, tally, rejecting, back)
        reader = Reader(target, names, fresh=call.fresh, computed=route.computed)
        reading = read_arrow if is_arrow(call.rows) else read
        call.work(route, reading(call.rows, reader, CHUNK, call.start))
        sink.inside(tally.rejected, connection)
        if session is not None and not call.fresh:
            expire(session, target)
        return tally

    result = scope.run(once, again=readable_again(call.rows)).result(time.perf_counter() - started)
    sink.after(result.rejected)
    return result


def _wanted(returning: Any, target: Target) -> tuple[str, ...] | None:
    """Return the attributes that shall come back, or None for whole objects."""
    if returning is None or (target.mapper is not None and returning is target.mapper.class_):
        return None
    return target.listed(returning, "returning")


def readable_again(rows: object) -> bool:
    """Tell whether rows can be read a second time."""
    return isinstance(rows, Sequence) or (is_arrow(rows) and hasattr(rows, "__len__"))
