"""Emitting: the INSERTs of one mapper into one table, sent by COPY run by run, each whole or the ordinary way."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from sqlalchemy.exc import DBAPIError

from dal.bulk import _internals
from dal.bulk._internals import Emission, Record
from dal.bulk.context import Context
from dal.bulk.flush.completing import complete
from dal.bulk.flush.guards import refuse_mapping, refuse_table
from dal.bulk.flush.replay import Replay
from dal.bulk.flush.report import FlushReport, Ordinary
from dal.bulk.flush.sending import send
from dal.bulk.target import target_of
from dal.bulk.wire import BadRow
from dal.errors import UsageError
from dal.written import written

__all__ = ["BELOW", "emit"]

BELOW = 100
"""Rows from which on COPY costs less than SQLAlchemy's INSERT: where both cross in `benchmarks/bulk.py flush`."""
_ANSWERED_BY_INSERT = {"0A", "21", "22", "23", "25", "42", "44", "P0"}
"""Classes of errors that an INSERT of the same rows would have as well, or not have: it is tried, and tells."""
_SAVEPOINT = "dal_flush"


def emit(emission: Emission, report: FlushReport) -> None:
    """Send the INSERTs of a flush.

    Args:
        emission: What would be sent.
        report: Takes what became of it.
    """
    if not emission.is_known:
        report.fell_back(emission.mapper, emission.table, "SQLAlchemy describes INSERTs in another form", len(emission.records))
        emission.ordinary(emission.records)
        return
    for (_, expressions), found in groupby(emission.records, _kind):
        run = list(found)
        if len(run) < BELOW:
            report.few += len(run)
            emission.ordinary(run)
            continue
        try:
            if expressions:
                raise Ordinary("attributes are set to SQL expressions")
            replay = _copied(emission, run)
        except Ordinary as ordinary:
            report.fell_back(emission.mapper, emission.table, ordinary.reason, len(run))
            emission.ordinary(run)
        else:
            report.went(emission.table, len(run))
            emission.ordinary(_internals.on_connection(record, replay) for record in run)


def _kind(record: Record) -> tuple[int, bool]:
    return id(_internals.connection_of(record)), bool(_internals.has_expressions(record))


def _copied(emission: Emission, run: list[Record]) -> Replay:
    """Send a run by COPY, under a savepoint.

    Raises:
        Ordinary: Nothing was sent, or it was taken back.
    """
    connection = _internals.connection_of(run[0])
    params = list(map(_internals.params_of, run))
    refuse_mapping(connection, emission.table)
    context = Context(connection, target_of(emission.table), {})
    context.wire.savepoint(_SAVEPOINT)
    try:
        replay = _sent(context, emission, params)
    except (Ordinary, UsageError, BadRow, DBAPIError) as error:
        if isinstance(error, DBAPIError) and not _answered(error):
            raise
        context.wire.undo(_SAVEPOINT)
        raise Ordinary(_reason(error)) from error
    context.wire.release(_SAVEPOINT)
    return replay


def _sent(context: Context, emission: Emission, params: list[dict[str, Any]]) -> Replay:
    guards = refuse_table(context, emission.table, params)
    rows = complete(context, emission.table, params, guards)
    written(context.connection, [emission.table.name])
    send(context, rows)
    return Replay(context, emission.table, rows)


def _answered(error: DBAPIError) -> bool:
    state: str = getattr(error.orig, "sqlstate", None) or ""
    return not error.connection_invalidated and (state[:2] in _ANSWERED_BY_INSERT or not state)


def _reason(error: Exception) -> str:
    if isinstance(error, Ordinary):
        return error.reason
    if isinstance(error, BadRow):
        return f"psycopg has no binary form of a value: {error.error}"
    if isinstance(error, DBAPIError):
        said = getattr(getattr(error.orig, "diag", None), "message_primary", None)
        return f"the server refused the COPY: {said or error.orig}"
    return str(error)
