"""Applying: the statements that write staged rows into their table, as SQL text.

    INSERT INTO t (...) SELECT ... FROM dal_bulk_1 ORDER BY key
      ON CONFLICT (key) DO UPDATE SET ... WHERE ... IS DISTINCT FROM ...
    UPDATE t SET ... FROM (SELECT ... FROM dal_bulk_1 ORDER BY key) AS s WHERE t.key = s.key AND ... IS DISTINCT FROM ...
    DELETE FROM t USING (SELECT ... FROM dal_bulk_1 ORDER BY key) AS s WHERE t.key = s.key

Rows are sorted by key, so that two writers of the same rows take their locks in the same order; see `ordering`. A row that is
as it should be already is not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column

from dal.bulk.context import Context
from dal.bulk.ordering import order_by
from dal.bulk.staging import POSITION, Stage

__all__ = [
    "Applied",
    "changes",
    "counted_upsert",
    "delete",
    "delete_into_counts",
    "differing",
    "duplicate_keys",
    "insert",
    "same_row",
    "telling",
    "twice",
    "update",
    "update_into_counts",
    "upsert",
    "upsert_into_counts",
]


@dataclass(frozen=True)
class Applied:
    """What a statement is made of.

    Args:
        context: The call.
        stage: The staged rows.
        key: The attributes that tell rows apart.
        written: The attributes that an update sets.
        duplicates: "error", or which of several rows with one key counts: "first" or "last".
        part: Which of the target's tables.
        lies_sorted: Whether the staged rows lie in the order of the key, each key once.
    """

    context: Context
    stage: Stage
    key: tuple[str, ...]
    written: tuple[str, ...]
    duplicates: str = "error"
    part: int = 0
    lies_sorted: bool = False

    def column(self, name: str) -> str:
        """Return a column's quoted name."""
        found: str = self.context.quoted([self.context.target.parts[self.part].columns[name]])[0]
        return found

    def columns(self, names: Sequence[str]) -> list[str]:
        """Return the quoted names of columns."""
        return [self.column(name) for name in names]


def _source(applied: Applied, within: str, names: Sequence[str]) -> str:
    """Return the staged rows, sorted; one for each key where duplicates are let pass."""
    stage, chosen = applied.stage, ", ".join(names)
    where = f" WHERE {within}" if within else ""
    if applied.lies_sorted:
        return f"SELECT {chosen} FROM {stage.name}{where}"
    order = order_by(applied.context, applied.key, applied.part)
    if applied.duplicates == "error":
        return f"SELECT {chosen} FROM {stage.name}{where} ORDER BY {order}"
    direction = "DESC" if applied.duplicates == "last" else "ASC"
    return f"SELECT DISTINCT ON ({order}) {chosen} FROM {stage.name}{where} ORDER BY {order}, {POSITION} {direction}"


def _joined(applied: Applied, within: str, names: Sequence[str]) -> tuple[str, str]:
    """Return the staged rows called "s", and the condition that they are those of the table."""
    columns = applied.columns(list(dict.fromkeys([*applied.key, *names])))
    match = same_row(applied)
    if not within or applied.duplicates == "error":
        return f"({_source(applied, within, columns)}) AS s", match
    # Which row of a key counts is found among all.
    return f"({_source(applied, '', [*columns, POSITION])}) AS s", f"{match} AND s.{within}"


def same_row(applied: Applied) -> str:
    """Return the condition that a row of the table, called "dal_target", is the one that a staged row, called "s", means.

    A row of another class is none: of several tables the caller has set those rows aside.
    """
    same = [f"dal_target.{name} = s.{name}" for name in applied.columns(applied.key)]
    return " AND ".join([*same, *_kin(applied)])


def _kin(applied: Applied) -> list[str]:
    kin = applied.context.kin("dal_target") if len(applied.context.target.parts) == 1 else None
    return [] if kin is None else [kin]


def upsert(applied: Applied, within: str = "") -> str:
    """Return the INSERT ... ON CONFLICT.

    Args:
        applied: What it is made of.
        within: A condition on the staged rows, such as a range of positions.
    """
    context, stage = applied.context, applied.stage
    key = applied.columns(applied.key)
    always = any(planned.facts.identity == "a" for planned in context.plan(stage.names).columns)
    override = " OVERRIDING SYSTEM VALUE" if always else ""
    head = (
        f"INSERT INTO {context.table()} AS dal_target ({', '.join(applied.columns(stage.names))}){override} "
        f"{_source(applied, within, applied.columns(stage.names))} ON CONFLICT ({', '.join(key)})"
    )
    if not applied.written:
        return f"{head} DO NOTHING"
    sets, compared = changes(applied, "excluded")
    return f"{head} DO UPDATE SET {', '.join(sets)} WHERE {' AND '.join([compared, *_kin(applied)])}"


def counted_upsert(applied: Applied, given: str = "") -> str:
    """Return an upsert that tells how many rows are new, how many were changed, and how many keys came more than once.

    Args:
        applied: What it is made of.
        given: The rows as a SELECT, where they are no staging table; only then keys are counted.
    """
    written, counts = _counting(applied, "")
    if not given:
        return f"WITH {written} {counts}, 0 FROM written"
    return f"WITH {applied.stage.name} AS MATERIALIZED ({given}), {written} {counts}, {twice(applied)} FROM written"


def twice(applied: Applied) -> str:
    """Return a query for how many keys came more than once."""
    key = ", ".join(applied.columns(applied.key))
    return f"(SELECT count(*) FROM (SELECT FROM {applied.stage.name} GROUP BY {key} HAVING count(*) > 1) AS t)"


def insert(applied: Applied, within: str = "") -> str:
    """Return the INSERT of staged rows."""
    context, stage = applied.context, applied.stage
    names = [name for name in stage.names if name in context.target.parts[applied.part].columns]
    always = any(planned.facts.identity == "a" for planned in context.plan(names, applied.part).columns)
    override = " OVERRIDING SYSTEM VALUE" if always else ""
    targets = ", ".join(applied.columns(names))
    staged = ", ".join(context.quoted(planned.column for planned in context.plan(names).columns))
    where = f" WHERE {within}" if within else ""
    return f"INSERT INTO {context.table(applied.part)} ({targets}){override} SELECT {staged} FROM {stage.name}{where}"


def upsert_into_counts(applied: Applied, within: str) -> str:
    """Return an upsert that adds to `dal_counts`."""
    written, counts = _counting(applied, within)
    return f"WITH {written} INSERT INTO dal_counts {counts} FROM written"


def _counting(applied: Applied, within: str) -> tuple[str, str]:
    """Return an upsert called "written", and what counts in it the new rows and the changed."""
    told, fresh = telling(applied)
    written = f"written AS ({upsert(applied, within)} RETURNING {told})"
    return written, f"SELECT count(*) FILTER (WHERE {fresh}), count(*) FILTER (WHERE NOT {fresh})"


def telling(applied: Applied) -> tuple[str, str]:
    """Return what an upsert called "written" returns of a row, and the condition that tells by it that the row is new.

    A new row has no xmax. Rows of a partition of its own form have none to show, before PostgreSQL 18 at least: there a row is
    new if the table, which the statement sees as it was before, has none with its key.
    """
    if not applied.context.facts(applied.part).partitioned:
        return "(xmax = 0) AS fresh", "fresh"
    key = applied.columns(applied.key)
    same = " AND ".join(f"dal_before.{name} = written.{name}" for name in key)
    table = applied.context.table(applied.part)
    return ", ".join(f"dal_target.{name}" for name in key), f"(NOT EXISTS (SELECT FROM {table} AS dal_before WHERE {same}))"


def update_into_counts(applied: Applied, within: str) -> str:
    """Return an update that adds to `dal_counts`."""
    return f"WITH written AS ({update(applied, within)} RETURNING 1) INSERT INTO dal_counts SELECT 0, count(*) FROM written"


def update(applied: Applied, within: str = "") -> str:
    """Return the UPDATE ... FROM."""
    sets, compared = changes(applied, "s")
    source, match = _joined(applied, within, applied.written)
    head = f"UPDATE {applied.context.table(applied.part)} AS dal_target SET {', '.join(sets)}"
    return f"{head} FROM {source} WHERE {match} AND {compared}"


def delete(applied: Applied, within: str = "") -> str:
    """Return the DELETE ... USING."""
    source, match = _joined(applied, within, ())
    return f"DELETE FROM {applied.context.table(applied.part)} AS dal_target USING {source} WHERE {match}"


def delete_into_counts(applied: Applied, within: str) -> str:
    """Return a delete that adds to `dal_counts`."""
    return f"WITH written AS ({delete(applied, within)} RETURNING 1) INSERT INTO dal_counts SELECT 0, count(*) FROM written"


def differing(parts: Sequence[Applied]) -> str:
    """Return a query for the number of staged rows that an update of several tables would change."""
    first = parts[0]
    joins, conditions, source = [], [], first.stage.name
    if first.duplicates != "error":
        key, direction = ", ".join(first.columns(first.key)), "DESC" if first.duplicates == "last" else "ASC"
        source = f"(SELECT DISTINCT ON ({key}) * FROM {source} ORDER BY {key}, {POSITION} {direction})"
    for applied in parts:
        alias = f"dal_target_{applied.part}"
        match = " AND ".join(f"{alias}.{name} = s.{name}" for name in applied.columns(applied.key))
        joins.append(f" JOIN {applied.context.table(applied.part)} AS {alias} ON {match}")
        if applied.written:
            conditions.append(changes(applied, "s", alias)[1])
    return f"SELECT count(*) FROM {source} AS s{''.join(joins)} WHERE {' OR '.join(conditions)}"


def duplicate_keys(key: Sequence[str], stages: Sequence[Stage]) -> str:
    """Return a query for the positions of rows that share a key, the first of each key in front."""
    rows = " UNION ALL ".join(f"SELECT {POSITION}, {', '.join(key)} FROM {stage.name}" for stage in stages)
    return f"SELECT array_agg({POSITION} ORDER BY {POSITION}) FROM ({rows}) AS r GROUP BY {', '.join(key)} HAVING count(*) > 1"


def changes(applied: Applied, source: str, target: str = "dal_target") -> tuple[list[str], str]:
    """Return what an update sets, and the condition that it changes something."""
    plan = applied.context.plan(applied.written, applied.part)
    names = applied.columns(applied.written)
    sets = [f"{name} = {source}.{name}" for name in names]
    sets += set_on_update(applied.context, applied.written, applied.key, applied.part)
    differs = [
        _differs(f"{target}.{name}", f"{source}.{name}", planned.facts.comparable)
        for name, planned in zip(names, plan.columns, strict=True)
    ]
    return sets, f"({' OR '.join(differs)})"


def _differs(one: str, other: str, comparable: bool) -> str:
    return f"{one} IS DISTINCT FROM {other}" if comparable else f"{one}::text IS DISTINCT FROM {other}::text"


def set_on_update(context: Context, written: Sequence[str], key: Sequence[str], part: int = 0) -> list[str]:
    """Return what an ordinary UPDATE of SQLAlchemy's would set as well: `onupdate=` in SQL, and a version.

    Args:
        context: The call.
        written: The attributes that are set anyway.
        key: The attributes that tell rows apart.
        part: Which of the target's tables.
    """
    found = []
    mapper = context.target.mapper
    for name, column in context.target.parts[part].columns.items():
        if name in written or name in key:
            continue
        quoted = context.quoted([column])[0]
        if mapper is not None and mapper.version_id_col is column:
            found.append(f"{quoted} = dal_target.{quoted} + 1")
        elif column.onupdate is not None and column.onupdate.is_clause_element:
            found.append(f"{quoted} = {_compiled(context, column)}")
    return found


def _compiled(context: Context, column: Column[Any]) -> str:
    onupdate: Any = column.onupdate
    return str(onupdate.arg.compile(dialect=context.connection.dialect, compile_kwargs={"literal_binds": True}))
