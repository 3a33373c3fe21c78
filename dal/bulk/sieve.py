"""Sieve: write staged rows inside the server, block by block, and set aside those that their table refuses.

One DO block: each block of rows is a subtransaction; where it fails its rows are tried one by one, a subtransaction each but no
round trip. Every reason is the server's own, triggers and exclusion constraints included. It is used when rows cannot be found
by line: behind a staging table, and once COPY has been refused too often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dal.bulk.plan import ColumnPlan
from dal.bulk.refusal import Refused, of_report
from dal.bulk.wire import Wire

__all__ = ["Sifted", "sift"]

_BLOCK = 64
_POSITION = "dal_position"


@dataclass(frozen=True)
class Sifted:
    """What came of it.

    Args:
        fresh: Rows that are new, where the statements count them.
        changed: Rows that were changed.
        refused: The position of each bad row, and why.
    """

    fresh: int
    changed: int
    refused: Sequence[tuple[int, Refused]]


def sift(
    wire: Wire, stage: str, statements: Callable[[str], Sequence[str]], plan: ColumnPlan, *, first_only: bool, immediate: bool
) -> Sifted:
    """Write the staged rows that can be written.

    Args:
        wire: The connection.
        stage: The staging table.
        statements: Makes the statements that write the staged rows that meet a condition. They may count what they do
            in `dal_counts(fresh, changed)`.
        plan: The columns that were staged.
        first_only: Whether to stop at the first bad row.
        immediate: Whether there are constraints that would be checked at COMMIT only.
    """
    wire.run(f"CREATE INDEX ON {stage} ({_POSITION})")
    wire.run(f"ANALYZE {stage}")
    wire.run(
        "CREATE TEMP TABLE dal_refused (dal_position int8, state text, reason text, detail text, named text, constrained text) "
        "ON COMMIT DROP"
    )
    wire.run("CREATE TEMP TABLE dal_counts (fresh int8, changed int8) ON COMMIT DROP")
    wire.run(_block(stage, statements, first_only=first_only, immediate=immediate))
    fresh, changed = wire.fetch("SELECT coalesce(sum(fresh), 0)::int8, coalesce(sum(changed), 0)::int8 FROM dal_counts")[0]
    rows = wire.fetch("SELECT * FROM dal_refused ORDER BY dal_position")
    wire.run("DROP TABLE dal_refused, dal_counts")
    return Sifted(fresh, changed, [(row[0], of_report(*row[1:], plan=plan)) for row in rows])


def _block(stage: str, statements: Callable[[str], Sequence[str]], *, first_only: bool, immediate: bool) -> str:
    """Return the DO block."""
    check = "SET CONSTRAINTS ALL IMMEDIATE;" if immediate else ""
    many = _script(statements(f"{_POSITION} BETWEEN low AND high"))
    one = _script(statements(f"{_POSITION} = each"))
    enough = "RETURN;" if first_only else ""
    quote = _quote(many + one)
    return f"""DO {quote}
DECLARE
  low int8; high int8; each int8;
  state text; reason text; detail text; named text; constrained text;
BEGIN
  {check}
  FOR low, high IN
    SELECT min({_POSITION}), max({_POSITION}) FROM (
      SELECT {_POSITION}, (row_number() OVER (ORDER BY {_POSITION}) - 1) / {_BLOCK} AS block FROM {stage}) AS blocks
    GROUP BY block ORDER BY block
  LOOP
    BEGIN
      {many}
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR with_check_option_violation OR raise_exception THEN
      FOR each IN SELECT {_POSITION} FROM {stage} WHERE {_POSITION} BETWEEN low AND high ORDER BY {_POSITION} LOOP
        BEGIN
          {one}
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR with_check_option_violation OR raise_exception THEN
          GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, reason = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            named = COLUMN_NAME, constrained = CONSTRAINT_NAME;
          INSERT INTO dal_refused VALUES (each, state, reason, detail, named, constrained);
          {enough}
        END;
      END LOOP;
    END;
  END LOOP;
END {quote}"""


def _script(statements: Sequence[str]) -> str:
    return " ".join(f"{statement};" for statement in statements)


def _quote(script: str) -> str:
    """Return a dollar quote that is not in a script."""
    number: Any = 0
    while f"$dal{number}$" in script:
        number += 1
    return f"$dal{number}$"
