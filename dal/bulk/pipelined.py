"""Pipelined: rows at hand, sorted here and upserted in portions: the server writes one while Python encodes the next.

    COPY dal_bulk_1 (...) FROM STDIN (FORMAT binary)
    WITH written AS (INSERT ... SELECT ... FROM dal_bulk_1 ON CONFLICT ...) SELECT count(*) ...; TRUNCATE dal_bulk_1

Nothing is sorted in the server, and no position is kept beside a row. It is tried under a savepoint: where a row is refused, or
two have the same key, nothing was written, and the caller goes on as for rows of unknown number, where such rows are found.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from sqlalchemy.exc import DBAPIError

from dal.bulk import apply
from dal.bulk.background import Background
from dal.bulk.context import Context
from dal.bulk.encoding import Encoder
from dal.bulk.key_order import in_key_order
from dal.bulk.keyed import Keyed
from dal.bulk.plan import BadValue
from dal.bulk.refusal import of_rows
from dal.bulk.rows import Group
from dal.bulk.sending import Destination, copy_statement
from dal.bulk.staging import Stage, created, new_name
from dal.bulk.tally import Tally
from dal.bulk.wire import BadRow, Row

__all__ = ["upsert"]

_PORTION = 10_000
"""Rows that are written by one statement."""


def upsert(context: Context, rows: Sequence[tuple[tuple[str, ...], Group]], keyed: Keyed, tally: Tally) -> bool:
    """Upsert rows in portions.

    Args:
        context: The call; its target is one table.
        rows: The groups, with what their rows carried before anything was filled in.
        keyed: What tells them apart.
        tally: Takes the counts.

    Returns:
        Whether they were written; if not, nothing was.
    """
    carried, first = rows[0]
    if any(group.batch is not None or group.names != first.names or other != carried for other, group in rows):
        return False
    try:
        ready = in_key_order(context, keyed.key, first.names, list(chain.from_iterable(group.values for _, group in rows)))
    except BadValue:
        return False
    if ready is None:
        return False
    stage = Stage(new_name(), carried, first.names)
    wire = context.wire
    wire.savepoint()
    try:
        created(context, stage, positions=False)
        fresh, changed = _written(context, stage, keyed, ready)
        wire.run(f"DROP TABLE {stage.name}")
    except (BadValue, BadRow):
        wire.undo()
        return False
    except DBAPIError as error:
        if not of_rows(error):
            raise
        wire.undo()
        return False
    wire.release()
    tally.inserted += fresh
    tally.updated += changed
    tally.unchanged += len(ready) - fresh - changed
    return True


def _written(context: Context, stage: Stage, keyed: Keyed, rows: list[Row]) -> tuple[int, int]:
    applied = apply.Applied(
        context, stage, keyed.key, keyed.columns_of(stage.carried, context.target), keyed.duplicates, lies_sorted=True
    )
    destination = Destination(stage.name, context.plan(stage.names))
    encoder = Encoder(context.wire, destination.wire, binary=destination.plan.binary)
    copy = copy_statement(context, destination, binary=destination.plan.binary)
    statement = f"{apply.counted_upsert(applied)}; TRUNCATE {stage.name}"
    background, start, counts = Background(context.wire), 0, [0, 0]

    def finish() -> None:
        if background.busy:
            result = background.result()
            for at in range(2):
                counts[at] += int(result.get_value(0, at))

    try:
        while start < len(rows):
            encoded = encoder.encoded(destination.plan.converted(rows[start : start + _PORTION]))
            start += len(encoded.rows)
            finish()
            background.copy(copy, encoded.blocks)
            background.result()
            background.start(statement)
        finish()
    finally:
        background.leave()
    return counts[0], counts[1]
