"""Joined: rows of joined inheritance upserted on PostgreSQL, table by table, the root's first.

    UPDATE dal_bulk_1 AS s SET dal_todo = false FROM people AS p0 JOIN engineers AS p1 ... WHERE ... NOT (... differs ...)
    INSERT INTO people AS dal_target (...) SELECT ... FROM dal_bulk_1 AS s WHERE s.dal_todo ORDER BY email
      ON CONFLICT (email) DO UPDATE SET ...
    INSERT INTO engineers AS dal_target (id, ...) SELECT p0.id, ... FROM dal_bulk_1 AS s JOIN people AS p0 ON ...
      WHERE s.dal_todo ORDER BY p0.id ON CONFLICT (id) DO UPDATE SET ...

The key is one of the root's table: that is where a second writer of the same key has to wait. A row that differs in any of the
tables is written in the root's, so that its version counts. A key that is there as another class is refused: a row does not
change its class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dal.bulk.apply import Applied, changes, set_on_update, telling
from dal.bulk.keyed import of_another_class, refuse_key
from dal.bulk.ordering import order_by
from dal.bulk.staging import POSITION, Staging
from dal.errors import RowConflict

__all__ = ["Joined", "of_other_classes", "refuse_other_classes"]

_TODO = "dal_todo"


class Joined:
    """An upsert of several tables.

    Args:
        applied: What it is made of.

    Raises:
        UnsupportedError: The key is not in the root's table.
    """

    def __init__(self, applied: Applied) -> None:
        context, target = applied.context, applied.context.target
        refuse_key(target, applied.key)
        self._context = context
        self._stage = applied.stage
        self._duplicates = applied.duplicates
        written = [name for name in applied.written if name not in target.constants]
        self._parts = [
            replace(
                applied,
                part=at,
                key=applied.key if at == 0 else target.key,
                written=tuple(name for name in written if name in part.columns),
            )
            for at, part in enumerate(target.parts)
        ]
        self._root = f"{context.table()} AS p0"
        self._match = _staged_row(self._parts[0])

    def prepare(self, staging: Staging) -> None:
        """Refuse keys that are there as another class, and find the rows that are as they should be already.

        Args:
            staging: Where the rows are.

        Raises:
            RowError: A key is another class's, and rows are not set aside.
        """
        wire, stage = self._context.wire, self._stage
        refuse_other_classes(self._parts, staging)
        wire.run(f"ALTER TABLE {stage.name} ADD COLUMN {_TODO} bool NOT NULL DEFAULT true")
        wire.run(f"ANALYZE {stage.name}")
        if self._duplicates != "error":
            wire.run(self._leave_duplicates())
        wire.run(self._leave_same())

    def at_once(self) -> tuple[int, int]:
        """Write all rows; return how many are new, and how many were changed.

        Raises:
            RowConflict: Another transaction wrote a key of another class meanwhile.
        """
        wire = self._context.wire
        told, fresh = telling(self._parts[0])
        counts = f"SELECT count(*) FILTER (WHERE {fresh}), (SELECT count(*) FROM {self._stage.name} WHERE {_TODO})"
        new, written = wire.fetch(f"WITH written AS ({self._upsert_root('')} RETURNING {told}) {counts} FROM written")[0]
        for applied in self._parts[1:]:
            told, fresh = telling(applied)
            upsert = f"{self._upsert_below(applied, '')} RETURNING {told}"
            found = wire.fetch(f"WITH written AS ({upsert}) SELECT count(*) FILTER (WHERE {fresh}) FROM written")[0][0]
            if found != new:
                raise RowConflict(
                    f"another transaction wrote a key of {self._context.target.name} as another class, and nothing was written",
                    hint="run it again",
                    sqlstate="23505",
                )
        return new, written - new

    def some(self, within: str) -> list[str]:
        """Return statements that write the rows that meet a condition, and count them in `dal_counts`."""
        told, fresh = telling(self._parts[0])
        todo = f"(SELECT count(*) FROM {self._stage.name} AS s WHERE s.{_TODO} AND s.{within})"
        counts = f"SELECT count(*) FILTER (WHERE {fresh}), {todo} - count(*) FILTER (WHERE {fresh}) FROM written"
        root = f"WITH written AS ({self._upsert_root(within)} RETURNING {told}) INSERT INTO dal_counts {counts}"
        return [root, *(self._upsert_below(applied, within) for applied in self._parts[1:])]

    def _leave_duplicates(self) -> str:
        key = ", ".join(self._parts[0].columns(self._parts[0].key))
        direction = "DESC" if self._duplicates == "last" else "ASC"
        numbered = f"row_number() OVER (PARTITION BY {key} ORDER BY {POSITION} {direction}) AS n"
        others = f"SELECT {POSITION} FROM (SELECT {POSITION}, {numbered} FROM {self._stage.name}) AS r WHERE n > 1"
        return f"UPDATE {self._stage.name} SET {_TODO} = false WHERE {POSITION} IN ({others})"

    def _leave_same(self) -> str:
        source = self._root
        for at in range(1, len(self._parts)):
            source += f" JOIN {self._context.table(at)} AS p{at} ON {_same_row(self._parts, at)}"
        differing = [changes(applied, "s", f"p{applied.part}")[1] for applied in self._parts if applied.written]
        differs = f" AND NOT ({' OR '.join(differing)})" if differing else ""
        return f"UPDATE {self._stage.name} AS s SET {_TODO} = false FROM {source} WHERE {self._match}{differs}"

    def _upsert_root(self, within: str) -> str:
        applied = self._parts[0]
        names = [name for name in self._stage.names if name in self._context.target.root.columns]
        columns = applied.columns(names)
        order = order_by(self._context, applied.key, 0, "s.")
        rows = f"SELECT {', '.join(f's.{name}' for name in columns)} FROM {self._stage.name} AS s{self._where(within)}"
        sets = [f"{name} = excluded.{name}" for name in applied.columns(applied.written)]
        sets += set_on_update(self._context, applied.written, applied.key)
        doing = f"DO UPDATE SET {', '.join(sets)}" if sets else "DO NOTHING"
        head = f"INSERT INTO {self._context.table()} AS dal_target ({', '.join(columns)}) OVERRIDING SYSTEM VALUE"
        return f"{head} {rows} ORDER BY {order} ON CONFLICT ({', '.join(applied.columns(applied.key))}) {doing}"

    def _upsert_below(self, applied: Applied, within: str) -> str:
        context, key = self._context, applied.columns(applied.key)
        own = [
            name for name in self._stage.names if name in context.target.parts[applied.part].columns and name not in applied.key
        ]
        columns = [*key, *applied.columns(own)]
        staged = context.quoted(planned.column for planned in context.plan(own).columns)
        chosen = [*(f"p0.{name}" for name in self._parts[0].columns(applied.key)), *(f"s.{name}" for name in staged)]
        rows = (
            f"SELECT {', '.join(chosen)} FROM {self._stage.name} AS s JOIN {self._root} ON {self._match}{self._where(within)}"
        )
        doing = "DO NOTHING"
        if applied.written:
            sets, compared = changes(applied, "excluded")
            doing = f"DO UPDATE SET {', '.join(sets)} WHERE {compared}"
        head = f"INSERT INTO {context.table(applied.part)} AS dal_target ({', '.join(columns)}) OVERRIDING SYSTEM VALUE"
        return f"{head} {rows} ORDER BY {order_by(context, applied.key, 0, 'p0.')} ON CONFLICT ({', '.join(key)}) {doing}"

    def _where(self, within: str) -> str:
        return f" WHERE s.{_TODO} AND s.{within}" if within else f" WHERE s.{_TODO}"


def of_other_classes(parts: Sequence[Applied]) -> list[int]:
    """Return the positions of staged rows whose keys are there as rows of another class.

    Args:
        parts: What is done with each table, the root's first.
    """
    root, last = parts[0], len(parts) - 1
    kin = root.context.kin("p0")
    strange = [] if kin is None else [f"({kin}) IS NOT TRUE"]
    if last:
        there = f"SELECT FROM {root.context.table(last)} AS p{last} WHERE {_same_row(parts, last)}"
        strange.append(f"NOT EXISTS ({there})")
    rows = f"{root.stage.name} AS s JOIN {root.context.table()} AS p0 ON {_staged_row(root)}"
    found = root.context.wire.fetch(f"SELECT s.{POSITION} FROM {rows} WHERE {' OR '.join(strange)} ORDER BY s.{POSITION}")
    return [row[0] for row in found]


def refuse_other_classes(parts: Sequence[Applied], staging: Staging) -> None:
    """Refuse the staged rows whose keys are there as rows of another class.

    Args:
        parts: What is done with each table, the root's first.
        staging: Where the rows are.

    Raises:
        RowError: There is one, and rows are not set aside.
    """
    root = parts[0]
    foreign = of_other_classes(parts)
    for position in foreign:
        staging.reject(root.stage, position, of_another_class(root.context.target, root.key))
    staging.forget(root.stage, foreign)


def _staged_row(root: Applied) -> str:
    return " AND ".join(f"p0.{name} = s.{name}" for name in root.columns(root.key))


def _same_row(parts: Sequence[Applied], at: int) -> str:
    names = parts[0].context.target.key
    pairs = zip(parts[0].columns(names), parts[at].columns(names), strict=True)
    return " AND ".join(f"p0.{one} = p{at}.{other}" for one, other in pairs)
